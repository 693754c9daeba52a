//! `backstay_fuzz::oplog_entry`.
#![no_main]
backstay_libfuzzer::program!(oplog_entry);
