//! `backstay_fuzz::segment_run_directory`.
#![no_main]
backstay_libfuzzer::program!(segment_run_directory);
