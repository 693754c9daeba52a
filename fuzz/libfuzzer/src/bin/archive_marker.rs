//! `backstay_fuzz::archive_marker`.
#![no_main]
backstay_libfuzzer::program!(archive_marker);
