//! Where one tenant's blocks are, and which keys and ticks each holds: sealed under the tenant's key.
//!
//! ```text
//!   for each block:
//!     sealed length v · raw length v · entries v · first key v+ · last key v+ · oldest tick v · newest − oldest v
//! ```
//! Blocks stand one after the other from the tenant's `blocks_offset` on, so offsets are sums of lengths.

use backstay_model::Tick;
use backstay_seal::{DataKey, Sealer};

use crate::error::{Error, Result, corrupt};
use crate::header::{Header, Purpose};
use crate::varint;

/// The kind of an index page among the sealed parts.
const INDEX_PAGE: u8 = 2;

/// One block of a tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockEntry {
    /// Where it begins, counted from the tenant's first block.
    pub offset: u64,
    /// Its length as stored.
    pub sealed_len: u32,
    /// Its length once opened and decompressed.
    pub raw_len: u32,
    /// How many versions it holds.
    pub entries: u32,
    /// The key of its first version.
    pub first_key: Vec<u8>,
    /// The key of its last version.
    pub last_key: Vec<u8>,
    /// The oldest tick in it.
    pub oldest: Tick,
    /// The newest tick in it.
    pub newest: Tick,
}

/// All blocks of one tenant in one run, ascending by key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IndexPage {
    /// The blocks.
    pub blocks: Vec<BlockEntry>,
}

impl IndexPage {
    pub(crate) fn seal(&self, sealer: &mut Sealer) -> Result<Vec<u8>> {
        let mut out = self.to_bytes();
        sealer.seal(INDEX_PAGE, &mut out).map_err(|source| Error::Sealed { part: "index page", source })?;
        Ok(out)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.blocks.len() * 64);
        for block in &self.blocks {
            varint::put(&mut out, u64::from(block.sealed_len));
            varint::put(&mut out, u64::from(block.raw_len));
            varint::put(&mut out, u64::from(block.entries));
            for key in [&block.first_key, &block.last_key] {
                varint::put(&mut out, key.len() as u64);
                out.extend_from_slice(key);
            }
            varint::put(&mut out, block.oldest.to_u64());
            varint::put(&mut out, block.newest.to_u64() - block.oldest.to_u64());
        }
        out
    }

    /// Opens a tenant's index page.
    pub fn open(header: &Header, tenant_key: &DataKey, sealed: &mut [u8]) -> Result<IndexPage> {
        let sealed_error = |source| Error::Sealed { part: "index page", source };
        let key = tenant_key.segment_key(&header.scope(Purpose::TenantPart)).map_err(sealed_error)?;
        IndexPage::from_bytes(key.open(INDEX_PAGE, 0, sealed).map_err(sealed_error)?)
    }

    pub(crate) fn from_bytes(plain: &[u8]) -> Result<IndexPage> {
        let mut rest = plain;
        let mut blocks = Vec::new();
        let mut offset = 0u64;
        while !rest.is_empty() {
            let block = take_block(&mut rest, offset).ok_or(corrupt("index page", "it does not decode"))?;
            offset += u64::from(block.sealed_len);
            blocks.push(block);
        }
        Ok(IndexPage { blocks })
    }
}

fn take_block(rest: &mut &[u8], offset: u64) -> Option<BlockEntry> {
    let sealed_len = u32::try_from(varint::take(rest)?).ok()?;
    let raw_len = u32::try_from(varint::take(rest)?).ok()?;
    let entries = u32::try_from(varint::take(rest)?).ok()?;
    let first_key = varint::take_bytes(rest)?.to_vec();
    let last_key = varint::take_bytes(rest)?.to_vec();
    let oldest = varint::take(rest)?;
    let newest = oldest.checked_add(varint::take(rest)?)?;
    let (oldest, newest) = (Tick::from_u64(oldest), Tick::from_u64(newest));
    Some(BlockEntry { offset, sealed_len, raw_len, entries, first_key, last_key, oldest, newest })
}

#[cfg(test)]
mod tests;
