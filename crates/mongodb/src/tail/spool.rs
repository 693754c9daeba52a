//! Where entries wait that are not visible yet: in memory up to a budget, beyond it in a file without a name.
//!
//! ```text
//!   a strand (one a transaction)     front │ page page page page │ back
//!   first in, first out            being taken    in the file      newest, in memory
//!
//!   the file    │ slot │ slot │ free │ slot │ …     64 KiB each; free ones are used again
//! ```
//!
//! The entries are users' data in plain text, and their keys are not for a scratch folder: the file has no name from the
//! beginning (another process cannot open it, and nothing is left of it when this one dies), and every page in it is sealed
//! with a key that is drawn when the file is made and never leaves memory.
//!
//! A strand is emptied, or given to [`Spool::discard`]; one that is merely dropped keeps its slots until the spool goes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use backstay_seal::{DataKey, Scope, Sealer, TAG_LEN};
use backstay_source::{Error, Result};

/// Plain bytes of a page.
const PAGE: usize = 64 << 10;
/// What a page takes in the file.
const SLOT: u64 = (PAGE + TAG_LEN) as u64;
const PAGE_KIND: u8 = 1;

/// Something done with the file, or why it failed.
type Attempt<T> = std::result::Result<T, String>;

/// What is kept of all strands of a tail.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    /// Bytes in memory beyond which strands go to the file.
    budget: usize,
    in_memory: usize,
    disk: Option<Disk>,
    scratch: Vec<u8>,
    prefix: Vec<u8>,
}

#[derive(Debug)]
struct Disk {
    file: File,
    sealer: Sealer,
    /// Slots that were used at some time.
    slots: u64,
    free: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Page {
    slot: u64,
    /// The index that it was sealed at.
    index: u64,
    len: usize,
}

/// Byte strings, first in, first out.
#[derive(Debug, Default)]
pub(super) struct Strand {
    front: Vec<u8>,
    /// How much of the front was taken.
    taken: usize,
    pages: VecDeque<Page>,
    back: Vec<u8>,
    len: u64,
}

impl Strand {
    /// Bytes that it holds, with a few for each string.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// True when everything was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that could go to the file.
    pub(super) fn spillable(&self) -> usize {
        self.back.len()
    }
}

impl Spool {
    /// `folder` is where the file is made, once it is needed.
    pub(super) fn new(folder: PathBuf, budget: usize) -> Spool {
        Spool { folder, budget, in_memory: 0, disk: None, scratch: Vec::new(), prefix: Vec::new() }
    }

    /// True when strands hold more in memory than they should: the longest is to be spilled.
    pub(super) fn is_over(&self) -> bool {
        self.in_memory > self.budget
    }

    /// True when no strand holds anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.in_memory == 0 && self.disk.is_none()
    }

    /// Adds a byte string, given in parts.
    pub(super) fn push(&mut self, strand: &mut Strand, parts: &[&[u8]]) -> Result<()> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let prefix = u32::try_from(len).map_err(|_| self.trouble("keep an entry of more than 4 GiB"))?;
        let before = strand.back.len();
        strand.back.reserve(prefix.to_le_bytes().len() + len);
        strand.back.extend_from_slice(&prefix.to_le_bytes());
        parts.iter().for_each(|part| strand.back.extend_from_slice(part));
        let added = strand.back.len() - before;
        self.in_memory += added;
        strand.len += added as u64;
        Ok(())
    }

    /// Takes the oldest byte string and appends it to `out`; false when there is none.
    pub(super) fn pop(&mut self, strand: &mut Strand, out: &mut Vec<u8>) -> Result<bool> {
        if strand.is_empty() {
            return Ok(false);
        }
        let mut prefix = std::mem::take(&mut self.prefix);
        prefix.clear();
        self.take(strand, 4, &mut prefix)?;
        let len = prefix.first_chunk().map_or(0, |prefix| u32::from_le_bytes(*prefix)) as usize;
        self.prefix = prefix;
        // As much as was put in, and not more: what is read back was sealed here.
        out.reserve(len);
        self.take(strand, len, out)?;
        Ok(true)
    }

    /// Forgets what a strand holds.
    pub(super) fn discard(&mut self, strand: &mut Strand) {
        let in_memory = strand.front.len() - strand.taken + strand.back.len();
        self.in_memory = self.in_memory.saturating_sub(in_memory);
        for page in std::mem::take(strand).pages {
            self.free(page);
        }
    }

    /// Moves the newest part of a strand to the file.
    pub(super) fn spill(&mut self, strand: &mut Strand) -> Result<()> {
        if strand.back.is_empty() {
            return Ok(());
        }
        if self.disk.is_none() {
            self.disk = Some(self.make_file()?);
        }
        let back = std::mem::take(&mut strand.back);
        for plain in back.chunks(PAGE) {
            let page = self.write(plain)?;
            strand.pages.push_back(page);
            self.in_memory = self.in_memory.saturating_sub(plain.len());
        }
        Ok(())
    }

    fn take(&mut self, strand: &mut Strand, mut len: usize, out: &mut Vec<u8>) -> Result<()> {
        while len > 0 {
            if strand.taken == strand.front.len() {
                strand.taken = 0;
                match strand.pages.pop_front() {
                    Some(page) => {
                        self.read(page, &mut strand.front)?;
                        self.in_memory += strand.front.len();
                        self.free(page);
                    }
                    // Memory of what was taken is given back.
                    None => strand.front = std::mem::take(&mut strand.back),
                }
            }
            let ready = strand.front.get(strand.taken..).unwrap_or_default();
            let ready = ready.get(..len).unwrap_or(ready);
            if ready.is_empty() {
                return Err(self.trouble("read back what was put off"));
            }
            out.extend_from_slice(ready);
            len -= ready.len();
            strand.taken += ready.len();
            strand.len = strand.len.saturating_sub(ready.len() as u64);
            self.in_memory = self.in_memory.saturating_sub(ready.len());
        }
        if strand.is_empty() {
            (strand.front, strand.taken) = (Vec::new(), 0);
        }
        Ok(())
    }

    fn make_file(&self) -> Result<Disk> {
        let failed = |why: &dyn std::fmt::Display| self.trouble(&format!("make a file: {why}"));
        std::fs::create_dir_all(&self.folder).map_err(|error| failed(&error))?;
        let file = tempfile::tempfile_in(&self.folder).map_err(|error| failed(&error))?;
        // The key is new, so that the rest of the scope need not be.
        let scope = Scope { format: 0, vault: [0; 16], segment: [0; 16], salt: [0; 32], purpose: PAGE_KIND };
        let sealer = DataKey::generate().and_then(|key| key.sealer(&scope)).map_err(|error| failed(&error))?;
        Ok(Disk { file, sealer, slots: 0, free: Vec::new() })
    }

    fn write(&mut self, plain: &[u8]) -> Result<Page> {
        self.scratch.clear();
        self.scratch.extend_from_slice(plain);
        let written = self.disk.as_mut().map_or(Err("it is gone".to_owned()), |disk| disk.write(&mut self.scratch));
        let (slot, index) = written.map_err(|why| self.trouble(&format!("write: {why}")))?;
        Ok(Page { slot, index, len: plain.len() })
    }

    fn read(&mut self, page: Page, plain: &mut Vec<u8>) -> Result<()> {
        self.scratch.resize(page.len + TAG_LEN, 0);
        let read =
            self.disk.as_mut().map_or(Err("it is gone".to_owned()), |disk| disk.read(page, &mut self.scratch, plain));
        read.map_err(|why| self.trouble(&format!("read: {why}")))
    }

    fn free(&mut self, page: Page) {
        let Some(disk) = &mut self.disk else { return };
        disk.free.push(page.slot);
        if disk.free.len() as u64 == disk.slots {
            // Its room on disk goes with it.
            self.disk = None;
        }
    }

    fn trouble(&self, why: &str) -> Error {
        let what = format!("putting off transactions that are too large for memory, in {}", self.folder.display());
        Error::Scratch { what, why: format!("cannot {why}") }
    }
}

impl Disk {
    /// Seals and writes a page; returns its slot and the index that it was sealed at.
    fn write(&mut self, page: &mut Vec<u8>) -> Attempt<(u64, u64)> {
        let index = self.sealer.seal(PAGE_KIND, page).map_err(|error| error.to_string())?;
        let slot = self.free.last().copied().unwrap_or(self.slots);
        let written = self.file.seek(SeekFrom::Start(slot * SLOT)).and_then(|_| self.file.write_all(page));
        written.map_err(|error| error.to_string())?;
        match self.free.pop() {
            Some(_) => {}
            None => self.slots += 1,
        }
        Ok((slot, index))
    }

    fn read(&mut self, page: Page, sealed: &mut [u8], plain: &mut Vec<u8>) -> Attempt<()> {
        let read = self.file.seek(SeekFrom::Start(page.slot * SLOT)).and_then(|_| self.file.read_exact(sealed));
        read.map_err(|error| error.to_string())?;
        let opened = self.sealer.opener().open_into(PAGE_KIND, page.index, sealed, plain);
        opened.map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
