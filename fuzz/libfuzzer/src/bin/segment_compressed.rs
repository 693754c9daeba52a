//! `backstay_fuzz::segment_compressed`.
#![no_main]
backstay_libfuzzer::program!(segment_compressed);
