//! `backstay_fuzz::engine_journal`.
#![no_main]
backstay_libfuzzer::program!(engine_journal);
