//! `backstay_fuzz::update_paths`.
#![no_main]
backstay_libfuzzer::program!(update_paths);
