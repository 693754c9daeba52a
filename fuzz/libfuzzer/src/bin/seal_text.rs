//! `backstay_fuzz::seal_text`.
#![no_main]
backstay_libfuzzer::program!(seal_text);
