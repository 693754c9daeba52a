//! From a scan to base runs.
//!
//! A scan arrives in id order over all tenants; a run stands in the order of tenants. So records are collected up to
//! [`Limits::chunk`](crate::Limits::chunk) bytes, sorted by tenant in memory, and written as one segment that covers exactly the stretches it was
//! collected from. Segments of one namespace therefore follow one another by id, and a reader merges nothing.

use std::collections::HashMap;
use std::sync::Arc;

use backstay_ledger::{Cover, SegmentInfo, Shape};
use backstay_model::{BodyRef, IdRange, Incarnation, RecordBatch, Tick, Version};
use backstay_segment::{Entry, PartBench, PartWriter, TenantPart};
use bytes::Bytes;

use crate::assemble::assemble;
use crate::vault::Inner;
use crate::{Error, Result, Vault, parallel};

/// A segment that has been encoded and waits to be stored.
pub struct EncodedBase {
    vault: Vault,
    info: SegmentInfo,
    file: Bytes,
}

impl EncodedBase {
    /// Stores it.
    pub async fn store(self) -> Result<BaseSegment> {
        let inner = &self.vault.inner;
        inner.store().create(&inner.segment_path(&self.info.id), self.file).await?;
        Ok(BaseSegment { info: self.info })
    }
}

/// A segment that has been stored and waits for its commit.
#[derive(Clone, Debug)]
pub struct BaseSegment {
    /// What the ledger is told of it.
    pub info: SegmentInfo,
}

/// Collects the records of a scan.
pub struct BaseWriter {
    vault: Vault,
    scan: [u8; 16],
    shape: Shape,
    chunk: Chunk,
}

/// Records of one segment to be.
#[derive(Default)]
struct Chunk {
    /// The version is that of the batch's first record; each next one's ordinal is higher by the step.
    batches: Vec<(Incarnation, Version, u32, RecordBatch)>,
    /// (tenant, batch, record; a record past the batch's end is a tombstone's place, see `tombstones`)
    records: Vec<(u32, u32, u32)>,
    tombstones: Vec<(u32, Incarnation, Version, Vec<u8>)>,
    tenants: Vec<String>,
    numbers: HashMap<String, u32>,
    covers: Vec<Cover>,
    first: Option<Tick>,
    last: Tick,
    bytes: usize,
}

impl Chunk {
    fn tenant(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.tenants.len() as u32;
        self.tenants.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    fn saw(&mut self, tick: Tick) {
        self.first = Some(self.first.map_or(tick, |first| first.min(tick)));
        self.last = self.last.max(tick);
    }
}

impl BaseWriter {
    /// Collects a complete base for the scan `scan`.
    pub fn new(vault: &Vault, scan: [u8; 16]) -> BaseWriter {
        BaseWriter { vault: vault.clone(), scan, shape: Shape::BaseRun, chunk: Chunk::default() }
    }

    /// Collects only the differences that the scan `scan` found.
    pub fn differences(vault: &Vault, scan: [u8; 16]) -> BaseWriter {
        BaseWriter { shape: Shape::DeltaRun, ..BaseWriter::new(vault, scan) }
    }

    /// Adds records of `namespace` read at `at`; `tenant` says whose each is.
    pub fn push(
        &mut self,
        namespace: Incarnation,
        at: Tick,
        batch: RecordBatch,
        tenant: impl FnMut(&[u8], &mut dyn FnMut(&str)),
    ) {
        self.push_batch(namespace, Version::snapshot(at), 0, batch, tenant);
    }

    /// Adds records of `namespace` read at `at` in the order in which they arrived in it; `position` of them came before
    /// in the same reading. See [`View::arrivals`](crate::View::arrivals).
    pub fn push_in_order(
        &mut self,
        namespace: Incarnation,
        at: Tick,
        position: u32,
        batch: RecordBatch,
        tenant: impl FnMut(&[u8], &mut dyn FnMut(&str)),
    ) {
        self.push_batch(namespace, Version::scanned(at, position), 1, batch, tenant);
    }

    fn push_batch(
        &mut self,
        namespace: Incarnation,
        first: Version,
        step: u32,
        batch: RecordBatch,
        mut tenant: impl FnMut(&[u8], &mut dyn FnMut(&str)),
    ) {
        let chunk = &mut self.chunk;
        let number = chunk.batches.len() as u32;
        for (record, (_, image)) in batch.iter().enumerate() {
            let mut owner = 0;
            tenant(image, &mut |name| owner = chunk.tenant(name));
            chunk.records.push((owner, number, record as u32));
        }
        chunk.saw(first.tick);
        chunk.bytes += batch.bytes();
        chunk.batches.push((namespace, first, step, batch));
    }

    /// Adds the fact that a record of `tenant` was not there at `at`. Only for differences: absent from a base run
    /// means absent.
    pub fn push_absent(&mut self, namespace: Incarnation, at: Tick, tenant: &str, id: &[u8]) {
        let owner = self.chunk.tenant(tenant);
        self.chunk.saw(at);
        self.chunk.bytes += id.len();
        self.chunk.tombstones.push((owner, namespace, Version::snapshot(at), id.to_vec()));
    }

    /// States that all records of this stretch have been pushed.
    pub fn cover(&mut self, namespace: Incarnation, range: IdRange) {
        self.chunk.covers.push(Cover { incarnation: namespace, range });
    }

    /// True when what was collected should be written now.
    pub fn is_full(&self) -> bool {
        self.chunk.bytes >= self.vault.inner.limits().chunk
    }

    /// True when nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.chunk.covers.is_empty() && self.chunk.records.is_empty() && self.chunk.tombstones.is_empty()
    }

    /// Writes what was collected: [`BaseWriter::encode`] and [`EncodedBase::store`] in one.
    pub fn write(&mut self) -> impl Future<Output = Result<Option<BaseSegment>>> + Send + use<> {
        let encoding = self.encode();
        async move {
            match encoding.await? {
                Some(encoded) => Ok(Some(encoded.store().await?)),
                None => Ok(None),
            }
        }
    }

    /// Starts encoding what was collected, in the background of the caller: the writer can collect the next segment
    /// while this future runs. `None` when nothing was collected.
    pub fn encode(&mut self) -> impl Future<Output = Result<Option<EncodedBase>>> + Send + use<> {
        let chunk = std::mem::take(&mut self.chunk);
        let (vault, scan, shape) = (self.vault.clone(), self.scan, self.shape);
        async move {
            let nothing = chunk.records.is_empty() && chunk.tombstones.is_empty();
            if nothing && (shape == Shape::DeltaRun || chunk.covers.is_empty()) {
                return Ok(None);
            }
            let inner = Arc::clone(&vault.inner);
            let encode = tokio::task::spawn_blocking(move || encode(&inner, chunk, scan, shape));
            let (info, file) = encode.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
            Ok(Some(EncodedBase { vault, info, file }))
        }
    }
}

/// A version on its way to a segment: namespace, record id, when, what.
type Row<'a> = (Incarnation, &'a [u8], Version, BodyRef<'a>);

fn encode(inner: &Inner, chunk: Chunk, scan: [u8; 16], shape: Shape) -> Result<(SegmentInfo, Bytes)> {
    let layout = if shape == Shape::BaseRun { backstay_segment::Shape::Base } else { backstay_segment::Shape::Delta };
    let header = inner.new_header(layout);
    let path = inner.segment_path(&header.segment);
    let mut by_tenant: Vec<Vec<Row<'_>>> = vec![Vec::new(); chunk.tenants.len()];
    for (owner, batch, record) in &chunk.records {
        let (namespace, first, step, batch) = &chunk.batches[*batch as usize];
        if let Some((id, image)) = batch.get(*record as usize) {
            let ordinal = first.ordinal.saturating_add(record.saturating_mul(*step));
            let version = Version::new(first.tick, ordinal);
            by_tenant[*owner as usize].push((*namespace, id, version, BodyRef::Image(image)));
        }
    }
    for (owner, namespace, version, id) in &chunk.tombstones {
        by_tenant[*owner as usize].push((*namespace, id, *version, BodyRef::Tombstone));
    }
    let mut tenants: Vec<(&String, Vec<_>)> = chunk.tenants.iter().zip(by_tenant).collect();
    tenants.sort_by_key(|(name, _)| *name);
    let names: Vec<&str> = tenants.iter().map(|(name, _)| name.as_str()).collect();
    let keys =
        inner.keys.active(&names, inner.world().now()).map_err(|source| Error::Key { object: path.clone(), source })?;
    let work: Vec<_> = tenants.into_iter().zip(keys).map(|((name, records), key)| (name, key, records)).collect();
    let parts = parallel::map_with(&work, PartBench::new, |bench, (name, key, records)| {
        let mut part = PartWriter::new(&header, name, key, bench, shape == Shape::BaseRun)?;
        push_all(&mut part, &in_order(records))?;
        part.finish()
    });
    let parts: Vec<TenantPart> = parts.map_err(|error| Error::segment(&path, error))?;
    let ticks = (chunk.first.unwrap_or(chunk.last), chunk.last);
    let (mut info, file) = assemble(inner, header, shape, parts, ticks)?;
    info.scan = Some(scan);
    // Differences are never complete.
    if shape == Shape::BaseRun {
        info.covers = chunk.covers;
    }
    Ok((info, file))
}

/// By namespace and id, the newest version first. Most ids differ in their first bytes, which are compared as numbers that
/// stand beside each other; the ids themselves are all over memory.
fn in_order<'r, 'a>(rows: &'r [Row<'a>]) -> Vec<(Incarnation, u128, &'r Row<'a>)> {
    let head = |id: &[u8]| {
        let mut head = [0; 16];
        head.iter_mut().zip(id).for_each(|(to, from)| *to = *from);
        u128::from_be_bytes(head)
    };
    let mut ordered: Vec<_> = rows.iter().map(|row| (row.0, head(row.1), row)).collect();
    ordered.sort_by(|(ns_a, head_a, a), (ns_b, head_b, b)| {
        (ns_a, head_a).cmp(&(ns_b, head_b)).then_with(|| a.1.cmp(b.1)).then_with(|| b.2.cmp(&a.2))
    });
    ordered
}

fn push_all(
    part: &mut PartWriter<'_>,
    ordered: &[(Incarnation, u128, &Row<'_>)],
) -> Result<(), backstay_segment::Error> {
    let mut record_key = Vec::new();
    for (_, _, (namespace, id, version, body)) in ordered {
        record_key.clear();
        record_key.extend_from_slice(&namespace.0.to_be_bytes());
        record_key.extend_from_slice(id);
        part.push(&Entry { key: &record_key, version: *version, body: *body })?;
    }
    Ok(())
}
