//! `backstay_fuzz::update_diff`.
#![no_main]
backstay_libfuzzer::program!(update_diff);
