//! `backstay_fuzz::store_names`.
#![no_main]
backstay_libfuzzer::program!(store_names);
