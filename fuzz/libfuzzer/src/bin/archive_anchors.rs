//! `backstay_fuzz::archive_anchors`.
#![no_main]
backstay_libfuzzer::program!(archive_anchors);
