//! `backstay_fuzz::ledger_image`.
#![no_main]
backstay_libfuzzer::program!(ledger_image);
