//! `backstay_fuzz::ledger_names`.
#![no_main]
backstay_libfuzzer::program!(ledger_names);
