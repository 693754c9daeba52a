//! `backstay_fuzz::filter`.
#![no_main]
backstay_libfuzzer::program!(filter);
