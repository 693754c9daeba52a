//! `backstay_fuzz::segment_block`.
#![no_main]
backstay_libfuzzer::program!(segment_block);
