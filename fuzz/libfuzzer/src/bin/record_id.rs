//! `backstay_fuzz::record_id`.
#![no_main]
backstay_libfuzzer::program!(record_id);
