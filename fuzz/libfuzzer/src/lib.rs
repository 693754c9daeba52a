//! What each libFuzzer program is made of: one target of [`backstay_fuzz`], and an allocator with a limit.

use std::alloc::System;

pub use libfuzzer_sys;

/// As much as a target may hold at a time. Beyond it allocation fails, which ends the program: a decoder that believes a
/// length is a finding, also where the memory would never be touched and so never show as resident.
const LIMIT: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: cap::Cap<System> = cap::Cap::new(System, LIMIT);

/// The program of one target.
#[macro_export]
macro_rules! program {
    ($target:ident) => {
        use $crate::libfuzzer_sys::fuzz_target;
        fuzz_target!(|bytes: &[u8]| backstay_fuzz::$target(bytes));
    };
}
