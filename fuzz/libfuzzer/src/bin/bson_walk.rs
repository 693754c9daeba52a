//! `backstay_fuzz::bson_walk`.
#![no_main]
backstay_libfuzzer::program!(bson_walk);
