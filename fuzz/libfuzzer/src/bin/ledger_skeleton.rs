//! `backstay_fuzz::ledger_skeleton`.
#![no_main]
backstay_libfuzzer::program!(ledger_skeleton);
