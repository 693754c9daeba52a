//! Prints nanoseconds per record for the digest and for the ways of computing it that were considered.
//!
//! `cargo run --release -p backstay-seal --example digest_speed`

#![allow(clippy::disallowed_methods)] // Measuring needs the clock.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use backstay_seal::Digest;

const ROUNDS: u32 = 200_000;

fn measure(what: &str, mut work: impl FnMut()) {
    for _ in 0..ROUNDS / 10 {
        work();
    }
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..ROUNDS / 5 {
            work();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(ROUNDS / 5));
    }
    println!("{what:<44} {best:>8.0} ns");
}

fn main() {
    let mut lanes = [0u8; 2048];
    let seed = [7u8; 32];
    for size in [100, 700, 4000] {
        let value = vec![3u8; size];
        let mut digest_state = Digest::new();
        measure(&format!("Digest::add, {size}-byte record"), || {
            digest_state.add(1, b"twelve bytes", black_box(&value))
        });
        measure(&format!("  seed by BLAKE3, {size} bytes"), || {
            black_box(blake3::keyed_hash(&seed, black_box(&value)));
        });
        measure(&format!("  seed by SHA-256, {size} bytes (chosen)"), || {
            black_box(digest(&SHA256, black_box(&value)));
        });
    }
    measure("  lanes by BLAKE3 XOF", || {
        blake3::Hasher::new_keyed(black_box(&seed)).finalize_xof().fill(black_box(&mut lanes));
    });
    measure("  lanes by AES-256-CTR, one piece", || {
        let key = UnboundCipherKey::new(&AES_256, black_box(&seed)).and_then(EncryptingKey::ctr);
        let counter = EncryptionContext::Iv128([0; 16].into());
        let done = key.and_then(|key| key.less_safe_encrypt(black_box(&mut lanes), counter));
        assert!(done.is_ok(), "AES refused a 32-byte key");
    });
    let (zeros, mut stream) = ([0; 2048], [0; 2064]);
    for (what, algorithm, key) in [
        ("  lanes by AES-256-CTR, streaming", &AES_256, &seed[..]),
        ("  lanes by AES-128-CTR, streaming (chosen)", &AES_128, &seed[..16]),
    ] {
        measure(what, || {
            let counter = EncryptionContext::Iv128([0; 16].into());
            let key = UnboundCipherKey::new(algorithm, black_box(key));
            let key = key.and_then(|key| StreamingEncryptingKey::less_safe_ctr(key, counter));
            let done = key.and_then(|mut key| key.update(&zeros, black_box(&mut stream)).map(drop));
            assert!(done.is_ok(), "AES refused a key of its own length");
        });
    }
    let other = Digest::new();
    let mut sum = Digest::new();
    measure("  adding 1,024 lanes", || sum.combine(black_box(&other)));
}
