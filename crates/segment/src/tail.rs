//! A tail: raw source entries, byte for byte, in the order in which they became visible.
//!
//! ```text
//!   block (256 KiB before compression): for each entry
//!     visible tick (8, LE) ‖ length (4, LE) ‖ the entry
//! ```

use backstay_model::Tick;
use backstay_seal::{DataKey, Sealer};
use zstd::bulk::{Compressor, Decompressor};

use crate::directory::{TailBlockEntry, TailDirectory};
use crate::error::{Error, Result, corrupt};
use crate::header::{Header, Purpose, Trailer};
use crate::inflate::inflate;

/// The kind of a tail's blocks among the sealed parts.
pub(crate) const TAIL_BLOCK: u8 = 4;

/// Bytes of entries in a block before it is closed. A tail is read from end to end, so larger blocks than a run's cost
/// nothing and compress better.
const TAIL_BLOCK_LEN: usize = 256 * 1024;

/// Writes a tail.
pub struct TailWriter {
    sealer: Sealer,
    compressor: Compressor<'static>,
    bytes: Vec<u8>,
    block: Vec<u8>,
    scratch: Vec<u8>,
    first: Tick,
    last: Tick,
    in_block: u64,
    entries: u64,
    raw_bytes: u64,
    span: Option<(Tick, Tick)>,
    directory: TailDirectory,
}

impl TailWriter {
    /// Starts a tail with this header.
    pub fn new(header: &Header, vault_key: &DataKey, level: i32) -> Result<TailWriter> {
        let sealer = vault_key
            .sealer(&header.scope(Purpose::Tail))
            .map_err(|source| Error::Sealed { part: "tail block", source })?;
        let compressor = Compressor::new(level).map_err(|source| Error::Compression { part: "tail block", source })?;
        Ok(TailWriter {
            sealer,
            compressor,
            bytes: header.to_bytes().to_vec(),
            block: Vec::with_capacity(TAIL_BLOCK_LEN),
            scratch: Vec::new(),
            first: Tick::ZERO,
            last: Tick::ZERO,
            in_block: 0,
            entries: 0,
            raw_bytes: 0,
            span: None,
            directory: TailDirectory { blocks: Vec::new() },
        })
    }

    /// Adds an entry that became visible at `visible`, at or after the one before.
    pub fn push(&mut self, visible: Tick, entry: &[u8]) -> Result<()> {
        let len = u32::try_from(entry.len()).map_err(|_| corrupt("tail block", "an entry is larger than 4 GiB"))?;
        if !self.block.is_empty() && self.block.len() + entry.len() + 12 > TAIL_BLOCK_LEN {
            self.close_block()?;
        }
        if self.in_block == 0 {
            self.first = visible;
        }
        self.last = visible;
        self.span = Some((self.span.map_or(visible, |(first, _)| first), visible));
        self.block.extend_from_slice(&visible.to_u64().to_le_bytes());
        self.block.extend_from_slice(&len.to_le_bytes());
        self.block.extend_from_slice(entry);
        self.in_block += 1;
        self.entries += 1;
        self.raw_bytes += u64::from(len);
        Ok(())
    }

    fn close_block(&mut self) -> Result<()> {
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(self.block.len()) + backstay_seal::TAG_LEN);
        self.compressor
            .compress_to_buffer(&self.block, &mut self.scratch)
            .map_err(|source| Error::Compression { part: "tail block", source })?;
        let raw_len = self.block.len() as u64;
        self.block.clear();
        // What an entry larger than a block took is given back.
        self.block.shrink_to(TAIL_BLOCK_LEN);
        self.sealer
            .seal(TAIL_BLOCK, &mut self.scratch)
            .map_err(|source| Error::Sealed { part: "tail block", source })?;
        self.directory.blocks.push(TailBlockEntry {
            offset: self.bytes.len() as u64,
            sealed_len: self.scratch.len() as u64,
            raw_len,
            entries: self.in_block,
            first: self.first.to_u64(),
            last: self.last.to_u64(),
        });
        self.bytes.extend_from_slice(&self.scratch);
        self.scratch.clear();
        self.scratch.shrink_to(2 * TAIL_BLOCK_LEN);
        self.in_block = 0;
        Ok(())
    }

    /// How many entries it holds.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of its entries.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// Bytes of the file so far.
    pub fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The first and the last visible tick in it; `None` without entries.
    pub fn span(&self) -> Option<(Tick, Tick)> {
        self.span
    }

    /// The file.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        if !self.block.is_empty() {
            self.close_block()?;
        }
        let directory = self.directory.seal(&mut self.sealer)?;
        let trailer = Trailer { offset: self.bytes.len() as u64, len: directory.len() as u64 };
        self.bytes.extend_from_slice(&directory);
        self.bytes.extend_from_slice(&trailer.to_bytes());
        Ok(self.bytes)
    }
}

/// The entries of one block of a tail, opened.
#[derive(Default)]
pub struct TailBlock {
    plain: Vec<u8>,
}

impl TailBlock {
    /// Opens the blocks of a whole tail one after the other and hands each to `sink`.
    pub fn open_all(file: &[u8], vault_key: &DataKey, mut sink: impl FnMut(&TailBlock) -> Result<()>) -> Result<()> {
        let header = Header::parse(file)?;
        let trailer = Trailer::parse(file, file.len() as u64)?;
        let in_file = |offset: u64, len: u64| {
            let from = usize::try_from(offset).ok()?;
            file.get(from..from.checked_add(usize::try_from(len).ok()?)?)
        };
        let sealed = in_file(trailer.offset, trailer.len).ok_or(corrupt("directory", "it lies outside the file"))?;
        let directory = TailDirectory::open(&header, vault_key, &mut sealed.to_vec())?;
        let key = vault_key
            .segment_key(&header.scope(Purpose::Tail))
            .map_err(|source| Error::Sealed { part: "tail block", source })?;
        let mut decompressor =
            Decompressor::new().map_err(|source| Error::Compression { part: "tail block", source })?;
        let mut block = TailBlock::default();
        let mut scratch = Vec::new();
        for (index, entry) in directory.blocks.iter().enumerate() {
            let sealed = in_file(entry.offset, entry.sealed_len)
                .ok_or(corrupt("tail block", "its place lies outside the file"))?;
            key.open_into(TAIL_BLOCK, index as u64, sealed, &mut scratch)
                .map_err(|source| Error::Sealed { part: "tail block", source })?;
            inflate(&mut decompressor, "tail block", &scratch, entry.raw_len, &mut block.plain)?;
            sink(&block)?;
        }
        Ok(())
    }

    /// What an opened block holds, for `fuzzing`.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn of(plain: Vec<u8>) -> TailBlock {
        TailBlock { plain }
    }

    /// Hands each entry, with the tick it became visible at, to `sink`.
    pub fn for_each<E: From<Error>>(
        &self,
        mut sink: impl FnMut(Tick, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut rest = self.plain.as_slice();
        while !rest.is_empty() {
            let (visible, entry) = take_entry(&mut rest).ok_or(corrupt("tail block", "an entry is cut"))?;
            sink(visible, entry)?;
        }
        Ok(())
    }
}

fn take_entry<'a>(rest: &mut &'a [u8]) -> Option<(Tick, &'a [u8])> {
    let (visible, after) = rest.split_first_chunk::<8>()?;
    let (len, after) = after.split_first_chunk::<4>()?;
    let (entry, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
    *rest = after;
    Some((Tick::from_u64(u64::from_le_bytes(*visible)), entry))
}

#[cfg(test)]
mod tests;
