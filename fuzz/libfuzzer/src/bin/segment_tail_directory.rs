//! `backstay_fuzz::segment_tail_directory`.
#![no_main]
backstay_libfuzzer::program!(segment_tail_directory);
