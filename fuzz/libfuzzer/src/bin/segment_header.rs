//! `backstay_fuzz::segment_header`.
#![no_main]
backstay_libfuzzer::program!(segment_header);
