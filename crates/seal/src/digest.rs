//! An order-free hash of a set of records: equal digests, equal content.
//!
//! LtHash16 with 1,024 lanes (Bellare and Micciancio 1997; parameters and security estimate from Lewi, Kim, Maykov and
//! Weis, "Securing update propagation with homomorphic hashing", 2019). Each element is hashed to 1,024 integers of 16
//! bits, and the digest of a multiset is their lane-wise sum modulo 2^16. So elements can be added and removed in any
//! order, and digests of parts can be summed.
//!
//! ```text
//!   seed (32)     SHA-256( "bs-rec-1" ‖ ns u64 ‖ len(id) u64 ‖ len(value) u64 ‖ id ‖ value )          little-endian
//!   lanes (2048)  AES-128-CTR keystream, key = seed[0..16], first counter block = seed[16..32], as little-endian u16
//!   digest        Σ lanes
//! ```
//!
//! Key and counter together carry all 256 bits of the seed. In the ideal cipher model two records get related lanes only
//! when their keys are equal and their counters less than 128 blocks apart, so the expansion is as good as the random
//! function that LtHash asks for, down to the 2^128 work of a collision in SHA-256 itself.
//!
//! Every record of every backup goes through here, so the parts were chosen by measuring. `cargo run --release -p
//! backstay-seal --example digest_speed` on an AMD EPYC with SHA and AES instructions and without AVX-512, best of 5:
//!
//! | step, for a record of 700 bytes | ns |
//! |---|---|
//! | seed: SHA-256 (BLAKE3, which needs many KiB to show its speed: 803) | 516 |
//! | lanes: AES-128-CTR (AES-256-CTR: 504; BLAKE3 extended output: 2,150) | 423 |
//! | adding the lanes | 54 |
//! | all of `Digest::add` | 1,062 |
//!
//! It is a multiset: adding a record twice differs from adding it once. It is not keyed: whoever knows a record can
//! compute its hash, so a digest of few guessable records must be sealed like the records themselves.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{self as sha, SHA256};

use crate::{Error, Result};

const LANES: usize = 1024;

/// The length of a digest's state in bytes.
pub const DIGEST_LEN: usize = LANES * 2;

/// The library wants room for one block more than it writes; the lanes end where the digest does.
const STREAM_LEN: usize = DIGEST_LEN + 16;

/// The digest of a multiset of records. Starts empty.
#[derive(Clone)]
pub struct Digest {
    lanes: Box<[u16; LANES]>,
    /// Room for one record's lanes, kept so that it is not zeroed for each.
    stream: Box<[u8; STREAM_LEN]>,
}

impl Default for Digest {
    fn default() -> Self {
        Self { lanes: Box::new([0; LANES]), stream: Box::new([0; STREAM_LEN]) }
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        self.lanes == other.lanes
    }
}

impl Eq for Digest {}

impl Digest {
    /// The digest of no records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one record of namespace `ns`.
    pub fn add(&mut self, ns: u64, id: &[u8], value: &[u8]) {
        element(ns, id, value, &mut self.stream);
        for (lane, bytes) in self.lanes.iter_mut().zip(self.stream.as_chunks::<2>().0) {
            *lane = lane.wrapping_add(u16::from_le_bytes(*bytes));
        }
    }

    /// Takes one record out again. Removing what was never added gives the digest of no real set.
    pub fn remove(&mut self, ns: u64, id: &[u8], value: &[u8]) {
        element(ns, id, value, &mut self.stream);
        for (lane, bytes) in self.lanes.iter_mut().zip(self.stream.as_chunks::<2>().0) {
            *lane = lane.wrapping_sub(u16::from_le_bytes(*bytes));
        }
    }

    /// Adds all records of another digest.
    pub fn combine(&mut self, other: &Self) {
        for (lane, add) in self.lanes.iter_mut().zip(other.lanes.iter()) {
            *lane = lane.wrapping_add(*add);
        }
    }

    /// Takes all records of another digest out.
    pub fn subtract(&mut self, other: &Self) {
        for (lane, sub) in self.lanes.iter_mut().zip(other.lanes.iter()) {
            *lane = lane.wrapping_sub(*sub);
        }
    }

    /// Whether this is the digest of no records.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| *lane == 0)
    }

    /// 32 bytes that stand for the digest where it is only compared or shown.
    pub fn summary(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("backstay 2026 digest summary v1");
        hasher.update(&self.to_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The state: the lanes in order, little-endian.
    pub fn to_bytes(&self) -> [u8; DIGEST_LEN] {
        let mut bytes = [0; DIGEST_LEN];
        for (to, lane) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(self.lanes.iter()) {
            *to = lane.to_le_bytes();
        }
        bytes
    }

    /// Reads a state back; [`Error::DigestLength`] unless it has [`DIGEST_LEN`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() != DIGEST_LEN {
            return Err(Error::DigestLength { found: bytes.len() });
        }
        let mut digest = Self::new();
        for (lane, from) in digest.lanes.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *lane = u16::from_le_bytes(*from);
        }
        Ok(digest)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(")?;
        crate::text::write_hex(&self.summary()[..8], f)?;
        f.write_str("…)")
    }
}

/// Writes the hash of one record into `lanes`: the lanes, then a block that is not used.
fn element(ns: u64, id: &[u8], value: &[u8], lanes: &mut [u8; STREAM_LEN]) {
    let seed = seed(ns, id, value, lanes);
    keystream(&seed, lanes);
}

/// SHA-256 of the record; `scratch` saves small records the dearer incremental interface.
fn seed(ns: u64, id: &[u8], value: &[u8], scratch: &mut [u8; STREAM_LEN]) -> [u8; 32] {
    let mut head = [0; 32];
    head[..8].copy_from_slice(b"bs-rec-1");
    head[8..16].copy_from_slice(&ns.to_le_bytes());
    head[16..24].copy_from_slice(&(id.len() as u64).to_le_bytes());
    head[24..].copy_from_slice(&(value.len() as u64).to_le_bytes());
    let hash = if id.len() + value.len() <= STREAM_LEN - head.len() {
        let (start, end) = (head.len() + id.len(), head.len() + id.len() + value.len());
        scratch[..head.len()].copy_from_slice(&head);
        scratch[head.len()..start].copy_from_slice(id);
        scratch[start..end].copy_from_slice(value);
        sha::digest(&SHA256, &scratch[..end])
    } else {
        let mut hasher = sha::Context::new(&SHA256);
        hasher.update(&head);
        hasher.update(id);
        hasher.update(value);
        hasher.finish()
    };
    let mut seed = [0; 32];
    seed.copy_from_slice(hash.as_ref());
    seed
}

static ZEROS: [u8; DIGEST_LEN] = [0; DIGEST_LEN];

/// Fills `lanes` with the AES-128-CTR keystream of `seed`.
fn keystream(seed: &[u8; 32], lanes: &mut [u8; STREAM_LEN]) {
    let (key, counter) = seed.split_at(16);
    let mut start = [0; 16];
    start.copy_from_slice(counter);
    let key = UnboundCipherKey::new(&AES_128, key)
        .and_then(|key| StreamingEncryptingKey::less_safe_ctr(key, EncryptionContext::Iv128(start.into())));
    let written = key.and_then(|mut key| key.update(&ZEROS, lanes).map(|update| update.written().len()));
    assert_eq!(written, Ok(DIGEST_LEN), "AES-128-CTR takes every 16-byte key, 16-byte counter and length");
}

#[cfg(test)]
mod tests;
