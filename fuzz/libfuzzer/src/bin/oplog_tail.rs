//! `backstay_fuzz::oplog_tail`.
#![no_main]
backstay_libfuzzer::program!(oplog_tail);
