//! `backstay_fuzz::stream_event`.
#![no_main]
backstay_libfuzzer::program!(stream_event);
