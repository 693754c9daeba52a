//! From a long-lived data key to the key of one segment.
//!
//! ```text
//!   segment key = HKDF-SHA256( secret: data key, salt: 32 random bytes of this segment,
//!                              info:   label ‖ format ‖ vault ‖ segment ‖ purpose ‖ key id )      RFC 5869
//! ```
//!
//! The salt makes the key fresh even if a segment id were ever drawn twice; the info binds it to one place and use.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use crate::aead::{Sealer, SegmentKey};
use crate::text::{read_hex, write_hex};
use crate::{Error, Result, Secret};

/// The name of a data key: 16 random bytes, public, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// Draws a new id.
    pub(crate) fn generate() -> Result<Self> {
        Ok(Self(*Secret::<16>::generate()?.expose()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut id = [0; 16];
        if !read_hex(text, &mut id) {
            return Err(Error::NotAKeyId { text: text.to_owned() });
        }
        Ok(Self(id))
    }
}

/// Where and for what a segment key is used. Everything in it is public.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope {
    /// The format version of the sealed object.
    pub format: u16,
    /// The vault it belongs to.
    pub vault: [u8; 16],
    /// The object (a segment, a commit) it is in.
    pub segment: [u8; 16],
    /// Random bytes drawn once for this object. **Fresh for every object and for every retry**: K1 rests on it.
    pub salt: [u8; 32],
    /// What is sealed: the caller's own numbering (blocks, directory, commit body, …).
    pub purpose: u8,
}

/// A long-lived key of a tenant, a vault or the repository. It seals nothing itself; keys derived from it do.
#[derive(Debug)]
pub struct DataKey {
    id: KeyId,
    secret: Secret<32>,
}

impl DataKey {
    /// Puts a key together from its parts.
    pub fn new(id: KeyId, secret: Secret<32>) -> Self {
        Self { id, secret }
    }

    /// Draws a new key with a new id that no keyring knows; for tests and scratch data.
    pub fn generate() -> Result<Self> {
        Ok(Self { id: KeyId::generate()?, secret: Secret::generate()? })
    }

    /// Its public name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The key that opens what was sealed in this scope.
    pub fn segment_key(&self, scope: &Scope) -> Result<SegmentKey> {
        let format = scope.format.to_be_bytes();
        let purpose = [scope.purpose];
        let info: [&[u8]; 6] =
            [b"backstay segment key v1", &format, &scope.vault, &scope.segment, &purpose, &self.id.0];
        let key = expand(&self.secret, &scope.salt, &info)?;
        SegmentKey::new(&key, scope)
    }

    /// The handle that seals in this scope. Make one per scope, with a salt drawn for it.
    pub fn sealer(&self, scope: &Scope) -> Result<Sealer> {
        Ok(Sealer::new(self.segment_key(scope)?))
    }
}

/// HKDF-SHA256 to 32 bytes. All parts of `info` must have fixed lengths, because they are joined without separators.
pub(crate) fn expand(secret: &Secret<32>, salt: &[u8], info: &[&[u8]]) -> Result<Secret<32>> {
    let pseudo_random_key = Salt::new(HKDF_SHA256, salt).extract(secret.expose());
    let failed = |_| Error::Cipher { action: "derive a key" };
    let material = pseudo_random_key.expand(info, HKDF_SHA256).map_err(failed)?;
    Secret::fill(|bytes| material.fill(bytes)).map_err(failed)
}
