//! What is in a segment and where: sealed under the vault key.
//!
//! CBOR arrays and maps with integer keys; `docs/format.md` lists them. A reader ignores keys that it does not know.

use backstay_model::{Incarnation, Tick};
use backstay_seal::{DIGEST_LEN, DataKey, Digest, KeyId, Sealer};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::error::{Error, Result, corrupt};
use crate::header::{Header, Purpose, Shape};

/// The kind of a directory among the sealed parts.
const DIRECTORY: u8 = 3;

/// How much of a namespace a tenant has in a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub struct NamespaceSummary {
    /// The namespace incarnation.
    #[n(0)]
    pub namespace: u64,
    /// How many versions.
    #[n(1)]
    pub entries: u64,
    /// Bytes of their values.
    #[n(2)]
    pub bytes: u64,
}

impl NamespaceSummary {
    /// The namespace.
    pub fn incarnation(&self) -> Incarnation {
        Incarnation(self.namespace)
    }
}

/// One tenant's part of a run.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TenantEntry {
    /// The tenant's name.
    #[n(0)]
    pub name: String,
    /// The data key its blocks are sealed under.
    #[cbor(n(1), with = "minicbor::bytes")]
    key: [u8; 16],
    /// Where its blocks begin.
    #[n(2)]
    pub blocks_offset: u64,
    /// Where its index page begins.
    #[n(3)]
    pub index_offset: u64,
    /// The index page's sealed length.
    #[n(4)]
    pub index_len: u64,
    /// What it has of each namespace, ascending.
    #[n(5)]
    pub namespaces: Vec<NamespaceSummary>,
}

impl TenantEntry {
    pub(crate) fn new(name: String, key: KeyId, blocks_offset: u64, namespaces: Vec<NamespaceSummary>) -> TenantEntry {
        TenantEntry { name, key: key.0, blocks_offset, index_offset: 0, index_len: 0, namespaces }
    }

    /// The data key its blocks are sealed under.
    pub fn key_id(&self) -> KeyId {
        KeyId(self.key)
    }

    /// True when the tenant has versions of `namespace` here.
    pub fn has(&self, namespace: Incarnation) -> bool {
        self.namespaces.binary_search_by_key(&namespace.0, |summary| summary.namespace).is_ok()
    }
}

/// The directory of a delta run or a base run.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RunDirectory {
    /// The tenants, ascending by name.
    #[n(0)]
    pub tenants: Vec<TenantEntry>,
    /// Base runs: the digest of their records.
    #[n(1)]
    digest: Option<ByteVec>,
}

impl RunDirectory {
    pub(crate) fn new(tenants: Vec<TenantEntry>, digest: Option<&Digest>) -> RunDirectory {
        RunDirectory { tenants, digest: digest.map(|d| ByteVec::from(d.to_bytes().to_vec())) }
    }

    /// The digest of the records of a base run.
    pub fn digest(&self) -> Result<Option<Digest>> {
        let Some(bytes) = &self.digest else { return Ok(None) };
        if bytes.len() != DIGEST_LEN {
            return Err(corrupt("directory", "the digest has the wrong length"));
        }
        Digest::from_bytes(bytes).map(Some).map_err(|source| Error::Sealed { part: "directory", source })
    }

    /// The part of a tenant.
    pub fn tenant(&self, name: &str) -> Option<&TenantEntry> {
        let at = self.tenants.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        self.tenants.get(at)
    }

    /// Opens the directory of a run.
    pub fn open(header: &Header, vault_key: &DataKey, sealed: &mut [u8]) -> Result<RunDirectory> {
        if header.shape == Shape::Tail {
            return Err(corrupt("directory", "a tail stands where a run should"));
        }
        open(header, Purpose::Directory, vault_key, sealed)
    }

    pub(crate) fn seal(&self, sealer: &mut Sealer) -> Result<Vec<u8>> {
        seal(self, sealer)
    }
}

/// One block of a tail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct TailBlockEntry {
    #[n(0)]
    pub offset: u64,
    #[n(1)]
    pub sealed_len: u64,
    #[n(2)]
    pub raw_len: u64,
    #[n(3)]
    pub entries: u64,
    #[n(4)]
    pub first: u64,
    #[n(5)]
    pub last: u64,
}

/// The directory of a tail.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct TailDirectory {
    #[n(0)]
    pub(crate) blocks: Vec<TailBlockEntry>,
}

impl TailDirectory {
    /// Opens the directory of a tail.
    pub fn open(header: &Header, vault_key: &DataKey, sealed: &mut [u8]) -> Result<TailDirectory> {
        if header.shape != Shape::Tail {
            return Err(corrupt("directory", "a run stands where a tail should"));
        }
        open(header, Purpose::Tail, vault_key, sealed)
    }

    pub(crate) fn seal(&self, sealer: &mut Sealer) -> Result<Vec<u8>> {
        seal(self, sealer)
    }

    /// How many blocks.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// True without blocks.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many entries in all, as far as a number can say.
    pub fn entries(&self) -> u64 {
        self.blocks.iter().fold(0, |sum, block| sum.saturating_add(block.entries))
    }

    /// The first and last tick of a block.
    pub fn ticks(&self, block: usize) -> Option<(Tick, Tick)> {
        self.blocks.get(block).map(|b| (Tick::from_u64(b.first), Tick::from_u64(b.last)))
    }
}

pub(crate) fn to_bytes(directory: &impl Encode<()>) -> Vec<u8> {
    minicbor::to_vec(directory).expect("encoding to memory cannot fail")
}

pub(crate) fn from_bytes<'b, T: Decode<'b, ()>>(plain: &'b [u8]) -> Result<T> {
    minicbor::decode(plain).map_err(|_| corrupt("directory", "it does not decode"))
}

fn seal(directory: &impl Encode<()>, sealer: &mut Sealer) -> Result<Vec<u8>> {
    let mut bytes = to_bytes(directory);
    sealer.seal(DIRECTORY, &mut bytes).map_err(|source| Error::Sealed { part: "directory", source })?;
    Ok(bytes)
}

fn open<'b, T: Decode<'b, ()>>(
    header: &Header,
    purpose: Purpose,
    vault_key: &DataKey,
    sealed: &'b mut [u8],
) -> Result<T> {
    let sealed_error = |source| Error::Sealed { part: "directory", source };
    let key = vault_key.segment_key(&header.scope(purpose)).map_err(sealed_error)?;
    from_bytes(key.open(DIRECTORY, 0, sealed).map_err(sealed_error)?)
}

#[cfg(test)]
mod tests;
