//! The keyring: a small file outside the archive that holds every long-lived key, wrapped.
//!
//! ```text
//!   backstay.keys (JSON, mode 0600)
//!     format, id
//!     kek        {"kind":"file","key":…}  or  {"kind":"passphrase", argon2id cost, salt, check}
//!     verifying  the repository's public signing key
//!     entries[]  {id, kind, vault?, tenant?, generation, created, state, shredded?, wrapped?}
//!     seal       HMAC-SHA256 over everything above, under a key derived from the KEK
//! ```
//!
//! Every entry is wrapped by AES-256-GCM under a random nonce with its own description as associated data, and the file
//! as a whole is sealed, so that neither a key nor its description can be exchanged, added or left out.
//!
//! - **A key that was handed out is on disk.** Creating waits for file and folder to be synced.
//! - **Several processes may share the file.** A change takes the lock beside it, reads it anew, and replaces it whole; a
//!   look-up notices by the file's identity that it was replaced and reads it again. So a shred elsewhere is seen here.
//! - **A shredded key is gone** from the file, and the bytes of the file it replaced are overwritten as far as the
//!   file system lets one do that. Copies of the keyring made earlier still hold the key: a copy is a key, treat it as one.
//!
//! It is not a cache of keys: keys are unwrapped when asked for (about a microsecond) and wiped when dropped.

mod change;
mod entry;
mod file;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod kek;
mod lookup;
mod ring;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use zeroize::Zeroizing;

use crate::{Error, Result, Secret, Signer};

pub use entry::{KeyInfo, KeyKind, KeyState};
pub use kek::{PassphraseCost, Protection};

use file::{KeyFile, Stamp};
use kek::Kek;
use ring::Ring;

/// An open keyring. Shared by reference between threads.
#[derive(Debug)]
pub struct Keyring {
    /// Absent for a keyring that lives in memory only.
    file: Option<KeyFile>,
    held: Mutex<Held>,
}

/// What the file said when it was last read.
#[derive(Debug)]
struct Held {
    ring: Ring,
    kek: Kek,
    stamp: Option<Stamp>,
}

impl Keyring {
    /// Makes a keyring with a repository key and a signing key at `path`, mode 0600, under `passphrase` when given.
    /// `now` is in Unix seconds. [`Error::Exists`] when there is a file already.
    pub fn create(path: &Path, passphrase: Option<&[u8]>, now: u64) -> Result<Self> {
        Self::create_protected(path, passphrase.map_or(Protection::File, Protection::passphrase), now)
    }

    /// Like [`Keyring::create`], with the cost of the pass phrase chosen by the caller.
    pub fn create_protected(path: &Path, protection: Protection<'_>, now: u64) -> Result<Self> {
        let (ring, kek) = Self::furnish(protection, now)?;
        Self::place(path, ring, kek)
    }

    /// A keyring without a file, for tests and simulations; its keys end with it.
    pub fn in_memory(now: u64) -> Result<Self> {
        let (ring, kek) = Self::furnish(Protection::File, now)?;
        Ok(Self { file: None, held: Mutex::new(Held { ring, kek, stamp: None }) })
    }

    /// Opens the keyring at `path`.
    ///
    /// [`Error::Missing`], [`Error::Permissions`], [`Error::PassphraseNeeded`], [`Error::WrongPassphrase`],
    /// [`Error::Corrupt`], [`Error::UnknownFormat`]. A pass phrase that is not needed is ignored.
    pub fn open(path: &Path, passphrase: Option<&[u8]>) -> Result<Self> {
        let file = KeyFile::new(path);
        let (bytes, stamp) = file.read()?;
        let (parsed, header) = file::parse(path, &bytes)?;
        let kek = Kek::open(path, header, passphrase)?;
        let ring = parsed.into_ring(path, &kek)?;
        Ok(Self { file: Some(file), held: Mutex::new(Held { ring, kek, stamp: Some(stamp) }) })
    }

    /// The file, unless the keyring lives in memory only.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(KeyFile::path)
    }

    fn furnish(protection: Protection<'_>, now: u64) -> Result<(Ring, Kek)> {
        let kek = Kek::create(protection)?;
        let mut ring = Ring::new()?;
        let seed = Secret::generate()?;
        ring.verifying = Some(Signer::from_seed(&seed)?.public_key());
        ring.insert(&kek, entry::Owner::Signing, &seed, now)?;
        ring.insert(&kek, entry::Owner::Repository, &Secret::generate()?, now)?;
        Ok((ring, kek))
    }

    /// Writes a new keyring where no file is.
    fn place(path: &Path, ring: Ring, kek: Kek) -> Result<Self> {
        let file = KeyFile::new(path);
        let bytes: Zeroizing<Vec<u8>> = file::render(path, &ring, &kek)?;
        let lock = file.lock_exclusive()?;
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(Error::Exists { path: PathBuf::from(path) });
        }
        let stamp = file.replace(&lock, &bytes, false)?;
        drop(lock);
        Ok(Self { file: Some(file), held: Mutex::new(Held { ring, kek, stamp: Some(stamp) }) })
    }
}

#[cfg(test)]
mod tests;
