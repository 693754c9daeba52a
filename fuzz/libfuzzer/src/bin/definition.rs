//! `backstay_fuzz::definition`.
#![no_main]
backstay_libfuzzer::program!(definition);
