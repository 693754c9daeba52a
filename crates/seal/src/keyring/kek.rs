//! The key-encryption key: wraps every entry and seals the file. Stored beside the entries, or derived from a pass phrase
//! with Argon2id (RFC 9106).

use std::fmt;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use crate::derive::expand;
use crate::secret::draw;
use crate::text::{Base64, Hex, SecretHex};
use crate::{Error, Result, Secret};

const NONCE_LEN: usize = 12;

/// How dear it is to try one pass phrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PassphraseCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Lanes computed side by side.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes): it fits beside a running backup.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl PassphraseCost {
    /// A keyring that asks for more than this is refused, so that a planted file cannot exhaust the machine.
    const MOST_MEMORY_KIB: u32 = 4 * 1024 * 1024;
    const MOST_PASSES: u32 = 64;
    const MOST_LANES: u32 = 64;

    fn params(self) -> Result<Params, String> {
        if self.memory_kib > Self::MOST_MEMORY_KIB || self.passes > Self::MOST_PASSES || self.lanes > Self::MOST_LANES {
            return Err("the cost of its pass phrase is out of bounds".to_owned());
        }
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32))
            .map_err(|cause| format!("the cost of its pass phrase is out of bounds: {cause}"))
    }
}

/// What protects the keys in a keyring file.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// The file's own permissions: the key-encryption key stands in it.
    File,
    /// A pass phrase that is asked for at every start.
    Passphrase {
        /// The pass phrase's bytes.
        words: &'a [u8],
        /// What a guess costs.
        cost: PassphraseCost,
    },
}

impl<'a> Protection<'a> {
    /// A pass phrase at the default cost.
    pub fn passphrase(words: &'a [u8]) -> Self {
        Self::Passphrase { words, cost: PassphraseCost::default() }
    }
}

impl fmt::Debug for Protection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "File",
            Self::Passphrase { .. } => "Passphrase(..)",
        })
    }
}

/// How the file says to get at the key-encryption key.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Header {
    File {
        key: SecretHex,
    },
    Passphrase {
        memory_kib: u32,
        passes: u32,
        lanes: u32,
        salt: Hex<16>,
        /// An empty message sealed under the key: tells a wrong pass phrase from a damaged file.
        check: Base64,
    },
}

impl Header {
    /// Whether the same key comes out of both.
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { key }, Self::File { key: other }) => key.0.expose() == other.0.expose(),
            (
                Self::Passphrase { memory_kib: m1, passes: t1, lanes: p1, salt: s1, check: c1 },
                Self::Passphrase { memory_kib: m2, passes: t2, lanes: p2, salt: s2, check: c2 },
            ) => (m1, t1, p1, s1, c1) == (m2, t2, p2, s2, c2),
            _ => false,
        }
    }
}

pub(super) struct Kek {
    header: Header,
    wrapping: LessSafeKey,
    sealing: hmac::Key,
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek(..)")
    }
}

impl Kek {
    pub(super) fn create(protection: Protection<'_>) -> Result<Self> {
        match protection {
            Protection::File => {
                let key = Secret::generate()?;
                let (wrapping, sealing) = split(&key)?;
                Ok(Self { header: Header::File { key: SecretHex(key) }, wrapping, sealing })
            }
            Protection::Passphrase { words, cost } => {
                let unusable = |why: String| Error::UnusablePassphrase { why };
                if words.is_empty() {
                    return Err(unusable("it is empty".to_owned()));
                }
                let salt = *Secret::<16>::generate()?.expose();
                let key = stretch(words, &salt, cost).map_err(unusable)?;
                let (wrapping, sealing) = split(&key)?;
                let check = Base64(seal(&wrapping, CHECK, &[])?);
                let PassphraseCost { memory_kib, passes, lanes } = cost;
                let header = Header::Passphrase { memory_kib, passes, lanes, salt: Hex(salt), check };
                Ok(Self { header, wrapping, sealing })
            }
        }
    }

    pub(super) fn open(path: &Path, header: Header, passphrase: Option<&[u8]>) -> Result<Self> {
        let path = || path.to_path_buf();
        match &header {
            Header::File { key } => {
                let (wrapping, sealing) = split(&key.0)?;
                Ok(Self { header, wrapping, sealing })
            }
            Header::Passphrase { memory_kib, passes, lanes, salt, check } => {
                let words = passphrase.ok_or_else(|| Error::PassphraseNeeded { path: path() })?;
                let cost = PassphraseCost { memory_kib: *memory_kib, passes: *passes, lanes: *lanes };
                let key = stretch(words, &salt.0, cost).map_err(|why| Error::Corrupt { path: path(), why })?;
                let (wrapping, sealing) = split(&key)?;
                if open(&wrapping, CHECK, &check.0).is_none() {
                    return Err(Error::WrongPassphrase { path: path() });
                }
                Ok(Self { header, wrapping, sealing })
            }
        }
    }

    /// The key for a file that was read again: this one when the file still names it, the new one when it stands in the
    /// file as the old one did, and [`Error::Rekeyed`] when the owner has to be asked.
    pub(super) fn follow(&self, path: &Path, header: Header) -> Result<Option<Self>> {
        if self.header.agrees(&header) {
            return Ok(None);
        }
        match (&self.header, &header) {
            (Header::File { .. }, Header::File { .. }) => Self::open(path, header, None).map(Some),
            _ => Err(Error::Rekeyed { path: path.to_path_buf() }),
        }
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn wrap(&self, associated: &[u8], secret: &Secret<32>) -> Result<Vec<u8>> {
        seal(&self.wrapping, associated, secret.expose())
    }

    /// None when the wrapped key is not whole or belongs to another description.
    pub(super) fn unwrap(&self, associated: &[u8], wrapped: &[u8]) -> Option<Secret<32>> {
        let mut plain = zeroize::Zeroizing::new(open(&self.wrapping, associated, wrapped)?);
        let bytes: &mut [u8; 32] = plain.as_mut_slice().try_into().ok()?;
        Some(Secret::take(bytes))
    }

    pub(super) fn authenticate(&self, content: &[u8]) -> [u8; 32] {
        let mut tag = [0; 32];
        tag.copy_from_slice(hmac::sign(&self.sealing, content).as_ref());
        tag
    }

    pub(super) fn is_authentic(&self, content: &[u8], tag: &[u8; 32]) -> bool {
        hmac::verify(&self.sealing, content, tag).is_ok()
    }
}

const CHECK: &[u8] = b"backstay keyring check v1";

fn stretch(words: &[u8], salt: &[u8; 16], cost: PassphraseCost) -> Result<Secret<32>, String> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost.params()?);
    Secret::fill(|key| argon2.hash_password_into(words, salt, key)).map_err(|cause| cause.to_string())
}

/// One key for wrapping and one for sealing, so that neither use can help against the other.
fn split(key: &Secret<32>) -> Result<(LessSafeKey, hmac::Key)> {
    let wrapping = expand(key, &[], &[b"backstay keyring wrap v1"])?;
    let sealing = expand(key, &[], &[b"backstay keyring seal v1"])?;
    let wrapping =
        UnboundKey::new(&AES_256_GCM, wrapping.expose()).map_err(|_| Error::Cipher { action: "load a key" })?;
    Ok((LessSafeKey::new(wrapping), hmac::Key::new(hmac::HMAC_SHA256, sealing.expose())))
}

/// `nonce ‖ ciphertext ‖ tag`, the nonce random: a keyring sees nowhere near the 2^32 uses that random nonces allow.
fn seal(key: &LessSafeKey, associated: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    draw(&mut nonce)?;
    let mut sealed = nonce.to_vec();
    sealed.extend_from_slice(plain);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(associated),
            &mut sealed[NONCE_LEN..],
        )
        .map_err(|_| Error::Cipher { action: "wrap a key" })?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

fn open(key: &LessSafeKey, associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut body = body.to_vec();
    let len = key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(associated), &mut body).ok()?.len();
    body.truncate(len);
    Some(body)
}
