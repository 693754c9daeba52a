//! `backstay_fuzz::ledger_object`.
#![no_main]
backstay_libfuzzer::program!(ledger_object);
