//! `backstay_fuzz::segment_index_page`.
#![no_main]
backstay_libfuzzer::program!(segment_index_page);
