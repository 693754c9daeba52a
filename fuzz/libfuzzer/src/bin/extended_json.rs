//! `backstay_fuzz::extended_json`.
#![no_main]
backstay_libfuzzer::program!(extended_json);
