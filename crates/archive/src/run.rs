//! Reading one delta run or base run: its directory, its index pages, its blocks.
//!
//! A run is opened with two small reads: the header, and the end of the file, which holds the trailer, the directory
//! and as a rule all index pages. Index pages are opened one tenant at a time, when first asked for.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_ledger::SegmentInfo;
use backstay_model::{Incarnation, Tick};
use backstay_seal::DataKey;
use backstay_segment::{BlockEntry, HEADER_LEN, Header, IndexPage, RunDirectory, TRAILER_LEN, TenantEntry, Trailer};
use backstay_store::Store;
use bytes::Bytes;

use crate::keys::Keys;
use crate::{Error, Result, Selection};

/// How much of a run's end is read at once, hoping that the directory and the index pages are in it.
const END_LEN: u64 = 512 * 1024;

/// A run at hand.
pub(crate) struct Run {
    pub path: String,
    pub header: Header,
    pub directory: RunDirectory,
    store: Store,
    /// The last bytes of the file, from `end_offset` on.
    end: Bytes,
    end_offset: u64,
    pages: Mutex<HashMap<String, Arc<IndexPage>>>,
}

impl Run {
    pub async fn open(store: &Store, path: String, info: &SegmentInfo, vault_key: &DataKey) -> Result<Run> {
        let damaged = |why: String| Error::Damaged { object: path.clone(), why };
        let size = store.size(&path).await?;
        if size != info.bytes {
            return Err(damaged(format!("it has {size} bytes, the ledger says {}", info.bytes)));
        }
        let mut end_offset = size.saturating_sub(END_LEN);
        let ranges = [0..HEADER_LEN.min(size as usize) as u64, end_offset..size];
        let [head, mut end] = <[Bytes; 2]>::try_from(store.get_ranges(&path, &ranges).await?)
            .map_err(|_| damaged("it could not be read".to_owned()))?;
        let header = Header::parse(&head).map_err(|e| Error::segment(&path, e))?;
        if header.segment != info.id {
            return Err(damaged("another segment stands under this name".to_owned()));
        }
        let trailer = Trailer::parse(&end, size).map_err(|e| Error::segment(&path, e))?;
        if trailer.offset < end_offset {
            end_offset = trailer.offset;
            end = store.get_range(&path, end_offset..size).await?;
        }
        let at = (trailer.offset - end_offset) as usize;
        let mut sealed = end.get(at..at + trailer.len as usize).unwrap_or_default().to_vec();
        let directory = RunDirectory::open(&header, vault_key, &mut sealed).map_err(|e| Error::segment(&path, e))?;
        // What stands before the index pages is blocks, and not worth its memory.
        let pages = directory.tenants.iter().map(|tenant| tenant.index_offset).min().unwrap_or(end_offset);
        if let Some(blocks) = pages.checked_sub(end_offset) {
            end = Bytes::copy_from_slice(end.get(blocks as usize..).unwrap_or_default());
            end_offset = pages;
        }
        debug_assert!(size >= (HEADER_LEN + TRAILER_LEN) as u64);
        Ok(Run { path, header, directory, store: store.clone(), end, end_offset, pages: Mutex::default() })
    }

    /// The tenants that have versions of `namespace` here.
    pub fn tenants_of(&self, namespace: Incarnation) -> impl Iterator<Item = &TenantEntry> {
        self.directory.tenants.iter().filter(move |tenant| tenant.has(namespace))
    }

    /// The tenants that have versions of `namespace` here and are selected. Parts whose keys were shredded are left out
    /// where the selection passes over them: nobody can read them any more.
    pub fn selected<'a>(
        &'a self,
        namespace: Incarnation,
        selection: &'a Selection,
        keys: &'a Keys,
    ) -> impl Iterator<Item = &'a TenantEntry> {
        self.tenants_of(namespace).filter(move |tenant| {
            selection.has_tenant(&tenant.name)
                && (!selection.passes_over_shredded() || !keys.is_shredded(tenant.key_id()))
        })
    }

    /// The index page of a tenant.
    pub async fn page(&self, tenant: &TenantEntry, keys: &Keys) -> Result<Arc<IndexPage>> {
        if let Some(page) = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant.name) {
            return Ok(Arc::clone(page));
        }
        let key = self.tenant_key(tenant, keys)?;
        let end = tenant.index_offset.saturating_add(tenant.index_len);
        let mut sealed = match tenant.index_offset.checked_sub(self.end_offset) {
            Some(at) => self.end.get(at as usize..(at + tenant.index_len) as usize).unwrap_or_default().to_vec(),
            None => self.store.get_range(&self.path, tenant.index_offset..end).await?.to_vec(),
        };
        let page =
            Arc::new(IndexPage::open(&self.header, &key, &mut sealed).map_err(|e| Error::segment(&self.path, e))?);
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.insert(tenant.name.clone(), Arc::clone(&page));
        Ok(page)
    }

    /// The key of a tenant's part.
    pub fn tenant_key(&self, tenant: &TenantEntry, keys: &Keys) -> Result<Arc<DataKey>> {
        let object = || format!("{} (tenant `{}`)", self.path, tenant.name);
        keys.key(tenant.key_id()).map_err(|source| Error::Key { object: object(), source })
    }

    /// The sealed bytes at these places of the file, in the same order.
    pub async fn fetch(&self, places: &[Range<u64>]) -> Result<Vec<Bytes>> {
        Ok(self.store.get_ranges(&self.path, places).await?)
    }
}

/// Where a block stands in its file.
pub(crate) fn place(tenant: &TenantEntry, block: &BlockEntry) -> Range<u64> {
    let from = tenant.blocks_offset.saturating_add(block.offset);
    from..from.saturating_add(u64::from(block.sealed_len))
}

/// True when a block may hold versions up to and with `through`.
pub(crate) fn reaches_back_to(block: &BlockEntry, through: Tick) -> bool {
    block.oldest <= through
}
