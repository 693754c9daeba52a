//! `backstay_fuzz::store_answer`.
#![no_main]
backstay_libfuzzer::program!(store_answer);
