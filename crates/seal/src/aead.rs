//! Sealing and opening blocks: AES-256-GCM with counter nonces (NIST SP 800-38D, section 8.2.1, deterministic).
//!
//! ```text
//!   nonce (12)            kind (1) ‖ 00 00 00 ‖ index (8, big-endian)
//!   associated data (44)  format (2) ‖ vault (16) ‖ segment (16) ‖ purpose (1) ‖ kind (1) ‖ index (8)
//!   sealed block          ciphertext (as long as the plaintext) ‖ tag (16)
//! ```
//!
//! **K1, no (key, nonce) pair repeats.** The key is fresh for every scope, because its salt is. Within a scope a nonce is
//! a kind and an index; [`Sealer`] counts the indices of each kind itself and gives each out once, as a [`Slot`] that
//! sealing consumes. There is no way to name an index when sealing.
//!
//! Sealing is by value of a slot and opening is by shared reference, so both spread over threads.

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::{Error, Result, Scope, Secret};

/// How many bytes sealing adds to a block.
pub const TAG_LEN: usize = 16;

const AAD_LEN: usize = 44;

/// Opens the blocks of one scope. Cheap to share between threads by reference.
#[derive(Debug)]
pub struct SegmentKey {
    key: LessSafeKey,
    aad: [u8; AAD_LEN],
}

impl SegmentKey {
    pub(crate) fn new(key: &Secret<32>, scope: &Scope) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| Error::Cipher { action: "load a key" })?;
        let mut aad = [0; AAD_LEN];
        aad[..2].copy_from_slice(&scope.format.to_be_bytes());
        aad[2..18].copy_from_slice(&scope.vault);
        aad[18..34].copy_from_slice(&scope.segment);
        aad[34] = scope.purpose;
        Ok(Self { key: LessSafeKey::new(key), aad })
    }

    /// Opens a block in place and returns its plaintext, which is [`TAG_LEN`] bytes shorter.
    ///
    /// [`Error::Tampered`] when the block was sealed under another key, for another place, or is not whole; the
    /// buffer's content is then undefined.
    pub fn open<'a>(&self, kind: u8, index: u64, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        let (nonce, aad) = self.place(kind, index);
        self.key.open_in_place(nonce, aad, sealed).map_err(|_| Error::Tampered { kind, index })
    }

    /// Opens a borrowed block into `plain`, replacing what was there; saves a copy when the source is shared memory.
    pub fn open_into(&self, kind: u8, index: u64, sealed: &[u8], plain: &mut Vec<u8>) -> Result<()> {
        let Some(split) = sealed.len().checked_sub(TAG_LEN) else { return Err(Error::Tampered { kind, index }) };
        let (ciphertext, tag) = sealed.split_at(split);
        let (nonce, aad) = self.place(kind, index);
        plain.resize(split, 0);
        let opened = self.key.open_separate_gather(nonce, aad, ciphertext, tag, plain);
        if opened.is_err() {
            plain.clear();
            return Err(Error::Tampered { kind, index });
        }
        Ok(())
    }

    fn seal(&self, kind: u8, index: u64, block: &mut Vec<u8>) -> Result<()> {
        let (nonce, aad) = self.place(kind, index);
        self.key.seal_in_place_append_tag(nonce, aad, block).map_err(|_| Error::Cipher { action: "seal a block" })
    }

    fn place(&self, kind: u8, index: u64) -> (Nonce, Aad<[u8; AAD_LEN]>) {
        let mut nonce = [0; 12];
        nonce[0] = kind;
        nonce[4..].copy_from_slice(&index.to_be_bytes());
        let mut aad = self.aad;
        aad[35] = kind;
        aad[36..].copy_from_slice(&index.to_be_bytes());
        (Nonce::assume_unique_for_key(nonce), Aad::from(aad))
    }
}

/// Seals the blocks of one scope, each kind counted from 0. Not `Clone`: two counters would break K1.
#[derive(Debug)]
pub struct Sealer {
    key: Arc<SegmentKey>,
    /// The next index of each kind in use; a handful at most, so a search beats a table.
    next: Vec<(u8, u64)>,
}

impl Sealer {
    pub(crate) fn new(key: SegmentKey) -> Self {
        Self { key: Arc::new(key), next: Vec::new() }
    }

    /// Encrypts `block` in place, appends its tag, and returns the index it was given among the blocks of `kind`.
    pub fn seal(&mut self, kind: u8, block: &mut Vec<u8>) -> Result<u64> {
        self.reserve(kind).seal(block)
    }

    /// Takes the next index of `kind` now, to seal the block later or on another thread.
    pub fn reserve(&mut self, kind: u8) -> Slot {
        let found = self.next.iter().position(|(known, _)| *known == kind);
        let at = found.unwrap_or_else(|| {
            self.next.push((kind, 0));
            self.next.len() - 1
        });
        let index = self.next[at].1;
        self.next[at].1 = index.checked_add(1).expect("nobody seals 2^64 blocks");
        Slot { key: Arc::clone(&self.key), kind, index }
    }

    /// How many blocks of `kind` have been sealed or reserved.
    pub fn count(&self, kind: u8) -> u64 {
        self.next.iter().find(|(known, _)| *known == kind).map_or(0, |(_, next)| *next)
    }

    /// Opens what this scope sealed, for instance to check it before it is published.
    pub fn opener(&self) -> &SegmentKey {
        &self.key
    }
}

/// The right to seal one block at one index, once.
#[derive(Debug)]
#[must_use = "an index that is taken and not used leaves a hole"]
pub struct Slot {
    key: Arc<SegmentKey>,
    kind: u8,
    index: u64,
}

impl Slot {
    /// The index that was taken.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Encrypts `block` in place, appends its tag, and returns the index.
    pub fn seal(self, block: &mut Vec<u8>) -> Result<u64> {
        self.key.seal(self.kind, self.index, block)?;
        Ok(self.index)
    }
}

#[cfg(test)]
mod tests;
