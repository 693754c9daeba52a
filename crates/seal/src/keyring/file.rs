//! The keyring file itself: its text, its permissions, its lock, and how it is replaced.
//!
//! Replacing writes `<name>.new` (mode 0600), syncs it, renames it over the old file and syncs the folder, all under an
//! exclusive lock on `<name>.lock`. A crash at any point leaves the old file or the new one, whole; a left-over
//! `<name>.new` is ignored by readers and removed by the next writer.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::entry::{Entry, KeyState};
use super::kek::{Header, Kek};
use super::ring::Ring;
use crate::text::Hex;
use crate::{Error, Result};

const FORMAT: u32 = 1;

/// Ten seconds: a change takes milliseconds, so a lock held longer belongs to a process that hangs.
const LOCK_ATTEMPTS: u32 = 500;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
}

/// The identity of a file's content: every change makes a new inode.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// Proof that the lock is held; released when dropped.
pub(super) struct Exclusive(File);

impl KeyFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> Error {
        let path = self.path.clone();
        move |source| match source.kind() {
            io::ErrorKind::NotFound if action == "read the keyring" => Error::Missing { path },
            _ => Error::Io { action, path, source },
        }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(self.path.as_os_str());
        name.push(suffix);
        PathBuf::from(name)
    }

    pub(super) fn stamp(&self) -> Result<Stamp> {
        let metadata = fs::metadata(&self.path).map_err(self.io("read the keyring"))?;
        Ok(Stamp::of(&metadata))
    }

    /// Reads under a shared lock, so that a writer does not wipe the file that is being read.
    pub(super) fn read(&self) -> Result<(Zeroizing<Vec<u8>>, Stamp)> {
        // A folder that cannot be written has no writers either, hence a missing lock file is no obstacle.
        let lock = OpenOptions::new().read(true).open(self.beside(".lock")).ok();
        if let Some(lock) = &lock {
            self.wait(|| lock.try_lock_shared())?;
        }
        self.read_unlocked()
    }

    pub(super) fn read_unlocked(&self) -> Result<(Zeroizing<Vec<u8>>, Stamp)> {
        let mut file = File::open(&self.path).map_err(self.io("read the keyring"))?;
        let metadata = file.metadata().map_err(self.io("read the keyring"))?;
        let mode = metadata.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(Error::Permissions { path: self.path.clone(), mode });
        }
        // Room from the start: a buffer that grows leaves copies of its content behind.
        let room = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.read_to_end(&mut bytes).map_err(self.io("read the keyring"))?;
        Ok((bytes, Stamp::of(&metadata)))
    }

    pub(super) fn lock_exclusive(&self) -> Result<Exclusive> {
        let path = self.beside(".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(self.io("lock the keyring"))?;
        self.wait(|| lock.try_lock())?;
        Ok(Exclusive(lock))
    }

    fn wait(&self, attempt: impl Fn() -> std::result::Result<(), TryLockError>) -> Result<()> {
        for _ in 0..LOCK_ATTEMPTS {
            match attempt() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(source)) => return Err(self.io("lock the keyring")(source)),
            }
        }
        Err(Error::Locked { path: self.path.clone() })
    }

    /// Puts `content` in place of the file, durably; with `wipe`, overwrites what the old file held.
    pub(super) fn replace(&self, _lock: &Exclusive, content: &[u8], wipe: bool) -> Result<Stamp> {
        let fresh = self.beside(".new");
        match fs::remove_file(&fresh) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(self.io("write the keyring")(source));
            }
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(&fresh).map_err(self.io("write the keyring"))?;
        file.write_all(content).map_err(self.io("write the keyring"))?;
        file.sync_all().map_err(self.io("sync the keyring"))?;
        let metadata = file.metadata().map_err(self.io("write the keyring"))?;
        let old = if wipe { OpenOptions::new().write(true).open(&self.path).ok() } else { None };
        fs::rename(&fresh, &self.path).map_err(self.io("replace the keyring"))?;
        self.sync_folder().map_err(self.io("sync the folder of the keyring"))?;
        if let Some(old) = old {
            overwrite(old).map_err(self.io("overwrite the old content of the keyring"))?;
        }
        Ok(Stamp::of(&metadata))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }
}

fn overwrite(mut file: File) -> io::Result<()> {
    let mut left = file.metadata()?.len();
    let zeros = [0; 4096];
    file.rewind()?;
    while left > 0 {
        let step = left.min(zeros.len() as u64);
        file.write_all(zeros.get(..step as usize).unwrap_or(&zeros))?;
        left -= step;
    }
    file.sync_all()
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        // Closing the file releases the lock as well; an error here has no other remedy.
        let _ = self.0.unlock();
    }
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    id: Hex<16>,
    kek: &'a Header,
    #[serde(skip_serializing_if = "Option::is_none")]
    verifying: Option<Hex<32>>,
    entries: &'a [Entry],
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<Hex<32>>,
}

/// A file's content, well-formed but not yet authenticated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parsed {
    #[serde(rename = "format")]
    _format: u32,
    id: Hex<16>,
    kek: Option<Header>,
    #[serde(default)]
    verifying: Option<Hex<32>>,
    entries: Vec<Entry>,
    seal: Hex<32>,
}

/// Reads the text, and takes out how to get at the key-encryption key.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<(Parsed, Header)> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let corrupt = |why: String| Error::Corrupt { path: path.to_path_buf(), why };
    let Format { format } = serde_json::from_slice(bytes).map_err(|cause| corrupt(cause.to_string()))?;
    if format != FORMAT {
        return Err(Error::UnknownFormat { path: path.to_path_buf(), found: format, known: FORMAT });
    }
    let mut parsed: Parsed = serde_json::from_slice(bytes).map_err(|cause| corrupt(cause.to_string()))?;
    let header = parsed.kek.take().ok_or_else(|| corrupt("it has no `kek`".to_owned()))?;
    Ok((parsed, header))
}

impl Parsed {
    /// The ring without a look at the seal, for `fuzzing`.
    #[cfg(feature = "fuzzing")]
    pub(super) fn into_unsealed_ring(self) -> Ring {
        Ring::of(self.id.0, self.verifying.map(|key| key.0), self.entries)
    }

    /// Checks the seal and the shape of every entry.
    pub(super) fn into_ring(self, path: &Path, kek: &Kek) -> Result<Ring> {
        let corrupt = |why: &str| Error::Corrupt { path: path.to_path_buf(), why: why.to_owned() };
        let content = text(path, &self.id, kek, self.verifying, &self.entries, None)?;
        if !kek.is_authentic(&content, &self.seal.0) {
            return Err(corrupt("its seal does not match its content"));
        }
        if self.entries.iter().any(|entry| entry.wrapped.is_none() != (entry.state == KeyState::Shredded)) {
            return Err(corrupt("an entry has a key and is shredded, or has none and is not"));
        }
        Ok(Ring::of(self.id.0, self.verifying.map(|key| key.0), self.entries))
    }
}

/// The text of the file, sealed.
pub(super) fn render(path: &Path, ring: &Ring, kek: &Kek) -> Result<Zeroizing<Vec<u8>>> {
    let (id, verifying) = (Hex(ring.id), ring.verifying.map(Hex));
    let content = text(path, &id, kek, verifying, ring.entries(), None)?;
    let seal = Hex(kek.authenticate(&content));
    let mut content = text(path, &id, kek, verifying, ring.entries(), Some(seal))?;
    content.push(b'\n');
    Ok(content)
}

fn text(
    path: &Path,
    id: &Hex<16>,
    kek: &Kek,
    verifying: Option<Hex<32>>,
    entries: &[Entry],
    seal: Option<Hex<32>>,
) -> Result<Zeroizing<Vec<u8>>> {
    let written = Written { format: FORMAT, id: *id, kek: kek.header(), verifying, entries, seal };
    // Generous room from the start, for the same reason as in reading.
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024 + entries.len() * 640));
    serde_json::to_writer_pretty(&mut *bytes, &written).map_err(|cause| Error::Io {
        action: "write the keyring",
        path: path.to_path_buf(),
        source: cause.into(),
    })?;
    Ok(bytes)
}
