//! A delta run or a base run as a whole: putting parts together, and opening their blocks.

use backstay_seal::{DataKey, Digest, SegmentKey};
use zstd::bulk::Decompressor;

use crate::directory::{RunDirectory, TenantEntry};
use crate::error::{Error, Result};
use crate::header::{Header, Purpose, Shape, Trailer};
use crate::index::BlockEntry;
use crate::inflate::inflate;
use crate::part::{BLOCK, TenantPart};

/// Lays the parts of a run one behind the other.
pub struct RunWriter {
    header: Header,
    bytes: Vec<u8>,
    indexes: Vec<Vec<u8>>,
    tenants: Vec<TenantEntry>,
    digest: Option<Digest>,
    entries: u64,
    raw_bytes: u64,
}

impl RunWriter {
    /// Starts a run with this header.
    pub fn new(header: Header) -> RunWriter {
        let digest = (header.shape == Shape::Base).then(Digest::default);
        let bytes = header.to_bytes().to_vec();
        RunWriter { header, bytes, indexes: Vec::new(), tenants: Vec::new(), digest, entries: 0, raw_bytes: 0 }
    }

    /// Makes room for `parts` and the directory, so that what is large is not moved again and again.
    pub fn reserve(&mut self, parts: &[TenantPart]) {
        self.bytes.reserve_exact(parts.iter().map(|part| part.stored_bytes() + 256).sum::<usize>() + 8192);
    }

    /// Adds a tenant's part. Parts arrive in the order of their tenants' names.
    pub fn push(&mut self, part: TenantPart) {
        debug_assert!(self.tenants.last().is_none_or(|last| last.name < part.name), "parts arrive in order");
        let offset = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&part.blocks);
        self.tenants.push(TenantEntry::new(part.name, part.key, offset, part.namespaces));
        self.indexes.push(part.index);
        self.entries += part.entries;
        self.raw_bytes += part.raw_bytes;
        if let (Some(sum), Some(digest)) = (&mut self.digest, &part.digest) {
            sum.combine(digest);
        }
    }

    /// How many versions it holds.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Bytes of their values.
    pub fn raw_bytes(&self) -> u64 {
        self.raw_bytes
    }

    /// The file.
    pub fn finish(mut self, vault_key: &DataKey) -> Result<Vec<u8>> {
        for (tenant, index) in self.tenants.iter_mut().zip(&self.indexes) {
            tenant.index_offset = self.bytes.len() as u64;
            tenant.index_len = index.len() as u64;
            self.bytes.extend_from_slice(index);
        }
        let mut sealer = vault_key
            .sealer(&self.header.scope(Purpose::Directory))
            .map_err(|source| Error::Sealed { part: "directory", source })?;
        let directory = RunDirectory::new(self.tenants, self.digest.as_ref()).seal(&mut sealer)?;
        let trailer = Trailer { offset: self.bytes.len() as u64, len: directory.len() as u64 };
        self.bytes.extend_from_slice(&directory);
        self.bytes.extend_from_slice(&trailer.to_bytes());
        Ok(self.bytes)
    }
}

/// Opens blocks of one tenant in one run, and then, with the same room to work in, those of another.
pub struct BlockOpener {
    key: SegmentKey,
    decompressor: Decompressor<'static>,
    scratch: Vec<u8>,
}

impl BlockOpener {
    /// For the blocks of the tenant of `tenant_key` in the run of `header`.
    pub fn new(header: &Header, tenant_key: &DataKey) -> Result<BlockOpener> {
        let key = part_key(header, tenant_key)?;
        let decompressor = Decompressor::new().map_err(|source| Error::Compression { part: "block", source })?;
        Ok(BlockOpener { key, decompressor, scratch: Vec::new() })
    }

    /// Turns to the blocks of the tenant of `tenant_key` in the run of `header`.
    pub fn turn_to(&mut self, header: &Header, tenant_key: &DataKey) -> Result<()> {
        self.key = part_key(header, tenant_key)?;
        Ok(())
    }

    /// Opens and decompresses the block that stands at `index` among the tenant's blocks into `plain`, replacing what
    /// was there.
    pub fn open(&mut self, index: usize, entry: &BlockEntry, sealed: &[u8], plain: &mut Vec<u8>) -> Result<()> {
        self.key
            .open_into(BLOCK, index as u64, sealed, &mut self.scratch)
            .map_err(|source| Error::Sealed { part: "block", source })?;
        inflate(&mut self.decompressor, "block", &self.scratch, u64::from(entry.raw_len), plain)
    }
}

fn part_key(header: &Header, tenant_key: &DataKey) -> Result<SegmentKey> {
    tenant_key.segment_key(&header.scope(Purpose::TenantPart)).map_err(|source| Error::Sealed { part: "block", source })
}
