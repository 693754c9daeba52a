//! `backstay_fuzz::cli_config`.
#![no_main]
backstay_libfuzzer::program!(cli_config);
