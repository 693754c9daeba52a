//! One tenant's part of a run, on its way to a file.
//!
//! Parts of different tenants share nothing, so they are compressed and sealed side by side on as many threads as there
//! are; [`crate::RunWriter`] then lays them one behind the other.

use backstay_model::BodyRef;
use backstay_seal::{DataKey, Digest, KeyId, Sealer};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use crate::block::{BlockBuilder, Entry};
use crate::directory::NamespaceSummary;
use crate::error::{Error, Result, corrupt};
use crate::header::{Header, Purpose};
use crate::index::{BlockEntry, IndexPage};
use crate::{BLOCK_LEN, split_key};

/// The kind of a run's blocks among the sealed parts.
pub(crate) const BLOCK: u8 = 1;

/// A tenant's sealed blocks and sealed index page.
pub struct TenantPart {
    pub(crate) name: String,
    pub(crate) key: KeyId,
    pub(crate) blocks: Vec<u8>,
    pub(crate) index: Vec<u8>,
    pub(crate) namespaces: Vec<NamespaceSummary>,
    pub(crate) digest: Option<Digest>,
    pub(crate) entries: u64,
    pub(crate) raw_bytes: u64,
}

impl TenantPart {
    /// How many bytes it takes in the file.
    pub fn stored_bytes(&self) -> usize {
        self.blocks.len() + self.index.len()
    }
}

/// What a thread uses for one part after the other: the compressor's tables and a block's buffers.
pub struct PartBench {
    compressor: Compressor<'static>,
    block: BlockBuilder,
    packed: Vec<u8>,
}

impl PartBench {
    /// For any number of parts.
    pub fn new() -> Result<PartBench> {
        let packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(BLOCK_LEN) + backstay_seal::TAG_LEN);
        Ok(PartBench { compressor: compressor()?, block: BlockBuilder::default(), packed })
    }
}

/// Fast, with small tables that stay in the processor's first cache, and without short matches: in blocks of this size
/// they cost more time than they save bytes. `docs/decisions/0015` has the measurement.
fn compressor() -> Result<Compressor<'static>> {
    let parameters = [CParameter::HashLog(13), CParameter::MinMatch(7)];
    let set = |mut compressor: Compressor<'static>| {
        parameters.into_iter().try_for_each(|parameter| compressor.set_parameter(parameter))?;
        Ok(compressor)
    };
    Compressor::new(1).and_then(set).map_err(|source| Error::Compression { part: "block", source })
}

/// Compresses and seals the versions of one tenant, which arrive in the order of keys, newest version first.
pub struct PartWriter<'b> {
    name: String,
    key: KeyId,
    sealer: Sealer,
    bench: &'b mut PartBench,
    blocks: Vec<u8>,
    index: IndexPage,
    namespaces: Vec<NamespaceSummary>,
    digest: Option<Digest>,
    entries: u64,
    raw_bytes: u64,
}

impl<'b> PartWriter<'b> {
    /// Starts the part of the tenant `name` in the segment of `header`. With `digested`, images are summed up into the
    /// segment's digest: for base runs.
    pub fn new(
        header: &Header,
        name: &str,
        tenant_key: &DataKey,
        bench: &'b mut PartBench,
        digested: bool,
    ) -> Result<PartWriter<'b>> {
        let sealer = tenant_key
            .sealer(&header.scope(Purpose::TenantPart))
            .map_err(|source| Error::Sealed { part: "block", source })?;
        bench.block.clear();
        Ok(PartWriter {
            name: name.to_owned(),
            key: tenant_key.id(),
            sealer,
            bench,
            blocks: Vec::new(),
            index: IndexPage::default(),
            namespaces: Vec::new(),
            digest: digested.then(Digest::default),
            entries: 0,
            raw_bytes: 0,
        })
    }

    /// Adds a version.
    pub fn push(&mut self, entry: &Entry<'_>) -> Result<()> {
        let (namespace, id) = split_key(entry.key).ok_or(corrupt("block", "a key without a namespace"))?;
        debug_assert!(
            self.bench.block.is_empty() || self.bench.block.keys().1 <= entry.key,
            "versions arrive in order"
        );
        let value = match entry.body {
            BodyRef::Image(image) => {
                if let Some(digest) = &mut self.digest {
                    digest.add(namespace.0, id, image);
                }
                image.len()
            }
            BodyRef::Delta(_, delta) => delta.len(),
            BodyRef::Tombstone => 0,
        };
        if !self.bench.block.is_empty() && self.bench.block.len() + value + entry.key.len() > BLOCK_LEN {
            self.close_block()?;
        }
        self.bench.block.push(entry);
        self.entries += 1;
        self.raw_bytes += value as u64;
        match self.namespaces.last_mut() {
            Some(last) if last.namespace == namespace.0 => {
                last.entries += 1;
                last.bytes += value as u64;
            }
            _ => self.namespaces.push(NamespaceSummary { namespace: namespace.0, entries: 1, bytes: value as u64 }),
        }
        Ok(())
    }

    fn close_block(&mut self) -> Result<()> {
        let PartBench { compressor, block, packed } = &mut *self.bench;
        let raw = block.bytes();
        packed.clear();
        packed.reserve(zstd::zstd_safe::compress_bound(raw.len()) + backstay_seal::TAG_LEN);
        compressor.compress_to_buffer(raw, packed).map_err(|source| Error::Compression { part: "block", source })?;
        self.sealer.seal(BLOCK, packed).map_err(|source| Error::Sealed { part: "block", source })?;
        let too_large = |_| corrupt("block", "a record is larger than 4 GiB");
        let (first_key, last_key) = block.keys();
        let (oldest, newest) = block.ticks();
        self.index.blocks.push(BlockEntry {
            offset: self.blocks.len() as u64,
            sealed_len: u32::try_from(packed.len()).map_err(too_large)?,
            raw_len: u32::try_from(raw.len()).map_err(too_large)?,
            entries: block.entries(),
            first_key: first_key.to_vec(),
            last_key: last_key.to_vec(),
            oldest,
            newest,
        });
        self.blocks.extend_from_slice(packed);
        block.clear();
        Ok(())
    }

    /// Closes the last block and seals the index page.
    pub fn finish(mut self) -> Result<TenantPart> {
        if !self.bench.block.is_empty() {
            self.close_block()?;
        }
        let index = self.index.seal(&mut self.sealer)?;
        Ok(TenantPart {
            name: self.name,
            key: self.key,
            blocks: self.blocks,
            index,
            namespaces: self.namespaces,
            digest: self.digest,
            entries: self.entries,
            raw_bytes: self.raw_bytes,
        })
    }
}
