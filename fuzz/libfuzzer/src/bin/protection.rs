//! `backstay_fuzz::protection`.
#![no_main]
backstay_libfuzzer::program!(protection);
