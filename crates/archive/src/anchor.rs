//! The newest commit that this machine has seen of each vault, kept beside the keyring.
//!
//! ```text
//!   chain   0 ◄── 1 ◄── 2 ◄── 3 ◄── 4      a chain that was cut at 2 is a valid chain of three commits;
//!                             ▲            the note says that there was a commit 3, and its hash
//!   backstay.keys.anchors ────┘
//! ```
//!
//! Whoever can write the archive can cut the newest commits off, or put an older copy of it in place; no signature shows
//! that. The keyring lies elsewhere, and so does this note. It is never ahead of a commit that is durable, and may lag
//! behind by what a capture commits in [`PACE_MS`]; it never goes back. Without it nothing is wrong: it is made at the
//! first use on a machine.
//!
//! Replaced as the keyring is: written beside (mode 0600), synced, renamed, the folder synced, all under a lock.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use backstay_ledger::{Hash, Head, Id};
use backstay_seal::Keyring;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};
use backstay_model::hex;

/// How often a process that goes on committing renews its note, in milliseconds.
pub(crate) const PACE_MS: u64 = 10_000;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    format: u32,
    anchors: Vec<Note>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    vault: String,
    name: String,
    seq: u64,
    hash: String,
}

impl Notes {
    pub(crate) fn read(text: &[u8]) -> io::Result<Notes> {
        let notes: Notes = serde_json::from_slice(text)?;
        match notes.format {
            FORMAT => Ok(notes),
            other => Err(io::Error::other(format!("its format is {other}, and this version knows format {FORMAT}"))),
        }
    }

    pub(crate) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(self)?)
    }
}

/// The file of notes.
pub(crate) struct Anchors {
    path: PathBuf,
}

impl Anchors {
    /// The one beside this keyring; none for a keyring that is no file.
    pub fn beside(keyring: &Keyring) -> Option<Anchors> {
        keyring.path().map(|path| Anchors { path: with_suffix(path, ".anchors") })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the newest commit of a vault that was seen, and its hash in hexadecimal.
    pub fn of(&self, vault: &Id) -> Result<Option<(u64, String)>> {
        let wrong = |why: String| Error::Damaged { object: self.path.display().to_string(), why };
        let notes = self.read().map_err(|error| wrong(error.to_string()))?;
        let vault = hex(vault);
        Ok(notes.anchors.into_iter().find(|note| note.vault == vault).map(|note| (note.seq, note.hash)))
    }

    /// Whether commits of a vault of this name were ever seen.
    pub fn has_name(&self, name: &str) -> io::Result<bool> {
        Ok(self.read()?.anchors.iter().any(|note| note.name == name))
    }

    /// Notes that `head` was seen, unless a later commit is noted already.
    pub fn raise(&self, vault: &Id, name: &str, head: Head) -> io::Result<()> {
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(with_suffix(&self.path, ".lock"))?;
        lock.lock()?;
        let mut notes = self.read()?;
        let (vault, hash) = (hex(vault), hash_text(&head.hash));
        match notes.anchors.iter_mut().find(|note| note.vault == vault) {
            Some(note) if note.seq >= head.seq => return Ok(()),
            Some(note) => (note.seq, note.hash) = (head.seq, hash),
            None => notes.anchors.push(Note { vault, name: name.to_owned(), seq: head.seq, hash }),
        }
        notes.format = FORMAT;
        self.replace(&notes.to_bytes()?)
    }

    fn read(&self) -> io::Result<Notes> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Notes::default()),
            Err(error) => return Err(error),
        };
        Notes::read(&text)
    }

    fn replace(&self, content: &[u8]) -> io::Result<()> {
        let fresh = with_suffix(&self.path, ".new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// A commit's hash as the notes have it.
pub(crate) fn hash_text(hash: &Hash) -> String {
    hex(hash)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.as_os_str());
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_note_is_kept_for_each_vault_and_never_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let anchors = Anchors { path: folder.path().join("keys.anchors") };
        let head = |seq, byte| Head { seq, hash: [byte; 32], written_at: 0 };
        assert_eq!(anchors.of(&[1; 16]).unwrap(), None);
        for (vault, seq, byte) in [(1, 4, 0xA4), (2, 1, 0xB1), (1, 7, 0xA7), (1, 5, 0xA5)] {
            anchors.raise(&[vault; 16], "shop", head(seq, byte)).unwrap();
        }
        assert_eq!(anchors.of(&[1; 16]).unwrap(), Some((7, "a7".repeat(32))));
        assert_eq!(anchors.of(&[2; 16]).unwrap(), Some((1, "b1".repeat(32))));
        assert_eq!(fs::metadata(&anchors.path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&anchors.path, "{").unwrap();
        assert!(matches!(anchors.of(&[1; 16]), Err(Error::Damaged { .. })));
    }
}
