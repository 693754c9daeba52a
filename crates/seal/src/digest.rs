//! An order-free hash of a set of records: equal digests, equal content.
//!
//! LtHash16 with 1,024 lanes (Bellare and Micciancio 1997; parameters and security estimate from Lewi, Kim, Maykov and
//! Weis, "Securing update propagation with homomorphic hashing", 2019). Each element is hashed to 1,024 integers of 16
//! bits, and the digest of a multiset is their lane-wise sum modulo 2^16. So elements can be added and removed in any
//! order, and digests of parts can be summed.
//!
//! ```text
//!   seed (32)     BLAKE3 keyed with a domain key ( ns u64 ‖ len(id) u64 ‖ id ‖ len(value) u64 ‖ value )  little-endian
//!   lanes (2048)  AES-256-CTR keystream under the seed, counter from 0, read as little-endian u16
//!   digest        Σ lanes
//! ```
//!
//! AES in counter mode under a key that is itself a hash output is a random function to anyone who cannot distinguish
//! AES from an ideal cipher; the seed is used for this one stream only, so its nonce may be constant.
//!
//! It is a multiset: adding a record twice differs from adding it once. It is not keyed: whoever knows a record can
//! compute its hash, so a digest of few guessable records must be sealed like the records themselves.

use std::fmt;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};

use crate::{Error, Result};

const LANES: usize = 1024;

/// The length of a digest's state in bytes.
pub const DIGEST_LEN: usize = LANES * 2;

/// The digest of a multiset of records. Starts empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest(Box<[u16; LANES]>);

impl Default for Digest {
    fn default() -> Self {
        Self(Box::new([0; LANES]))
    }
}

impl Digest {
    /// The digest of no records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one record of namespace `ns`.
    pub fn add(&mut self, ns: u64, id: &[u8], value: &[u8]) {
        let element = element(ns, id, value);
        for (lane, bytes) in self.0.iter_mut().zip(element.as_chunks::<2>().0) {
            *lane = lane.wrapping_add(u16::from_le_bytes(*bytes));
        }
    }

    /// Takes one record out again. Removing what was never added gives the digest of no real set.
    pub fn remove(&mut self, ns: u64, id: &[u8], value: &[u8]) {
        let element = element(ns, id, value);
        for (lane, bytes) in self.0.iter_mut().zip(element.as_chunks::<2>().0) {
            *lane = lane.wrapping_sub(u16::from_le_bytes(*bytes));
        }
    }

    /// Adds all records of another digest.
    pub fn combine(&mut self, other: &Self) {
        for (lane, add) in self.0.iter_mut().zip(other.0.iter()) {
            *lane = lane.wrapping_add(*add);
        }
    }

    /// Takes all records of another digest out.
    pub fn subtract(&mut self, other: &Self) {
        for (lane, sub) in self.0.iter_mut().zip(other.0.iter()) {
            *lane = lane.wrapping_sub(*sub);
        }
    }

    /// Whether this is the digest of no records.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|lane| *lane == 0)
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
        for (to, lane) in bytes.as_chunks_mut::<2>().0.iter_mut().zip(self.0.iter()) {
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
        for (lane, from) in digest.0.iter_mut().zip(bytes.as_chunks::<2>().0) {
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

fn element(ns: u64, id: &[u8], value: &[u8]) -> [u8; DIGEST_LEN] {
    let mut lanes = [0; DIGEST_LEN];
    keystream(&seed(ns, id, value), &mut lanes);
    lanes
}

fn seed(ns: u64, id: &[u8], value: &[u8]) -> [u8; 32] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&ns.to_le_bytes());
    head[8..].copy_from_slice(&(id.len() as u64).to_le_bytes());
    let mut hasher = blake3::Hasher::new_keyed(b"backstay digest of a record v1\0\0");
    hasher.update(&head).update(id).update(&(value.len() as u64).to_le_bytes()).update(value);
    *hasher.finalize().as_bytes()
}

/// Fills zeroed `lanes` with the AES-256-CTR keystream of `seed`.
fn keystream(seed: &[u8; 32], lanes: &mut [u8; DIGEST_LEN]) {
    let key = UnboundCipherKey::new(&AES_256, seed).and_then(EncryptingKey::ctr);
    let counter = EncryptionContext::Iv128([0; 16].into());
    let done = key.and_then(|key| key.less_safe_encrypt(lanes, counter));
    done.expect("AES-256-CTR takes every 32-byte key, 16-byte counter and length");
}

#[cfg(test)]
mod tests;
