//! `backstay_fuzz::segment_tail_block`.
#![no_main]
backstay_libfuzzer::program!(segment_tail_block);
