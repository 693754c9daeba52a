//! `backstay_fuzz::ledger_facts`.
#![no_main]
backstay_libfuzzer::program!(ledger_facts);
