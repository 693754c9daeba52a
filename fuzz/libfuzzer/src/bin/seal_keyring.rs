//! `backstay_fuzz::seal_keyring`.
#![no_main]
backstay_libfuzzer::program!(seal_keyring);
