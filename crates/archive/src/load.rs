//! Loading the records of a partition as of an instant.
//!
//! Three steps: *gather* finds the blocks that matter, by covers, directories and index pages, and fetches their sealed
//! bytes; *decode* opens, decompresses and merges them, tenant by tenant on all cores, with the changes of the tails on
//! top; the result is ordered by record id over all tenants, which is the order in which the source scans.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_model::{IdRange, Incarnation, Interpreter, RecordBatch, Tenant, Tick, Version};
use backstay_seal::{DataKey, Digest};
use backstay_segment::{BlockOpener, Header, IndexPage, split_key};
use bytes::Bytes;

use crate::lives::{lived, lived_up_to};
use crate::merge::{Layer, Merge, State, state_at, with_tail};
use crate::run::{Run, place, reaches_back_to};
use crate::snapshot::Layers;
use crate::vault::Inner;
use crate::view::{TailState, TailView, Unknown};
use crate::{Error, Result, Selection, parallel};

/// One run's blocks of one tenant, still sealed.
pub(crate) struct SealedLayer {
    run: Arc<Run>,
    key: Arc<DataKey>,
    page: Arc<IndexPage>,
    blocks: Vec<(usize, Bytes)>,
}

/// All that is needed to decode one tenant's records of a partition.
pub(crate) struct TenantWork {
    pub tenant: Tenant,
    layers: Vec<SealedLayer>,
    /// Positions in the tail table of records that the tails alone determine and that belong to this tenant.
    fresh: Vec<usize>,
}

/// Finds and fetches the blocks of a stretch, by tenant. Blocks of delta runs without versions up to `through` are left
/// out, so are tenants and ids that are not selected.
pub(crate) async fn gather(
    inner: &Inner,
    layers: &Layers,
    namespace: Incarnation,
    range: &IdRange,
    selection: &Selection,
    through: Tick,
) -> Result<BTreeMap<String, TenantWork>> {
    let mut work: BTreeMap<String, TenantWork> = BTreeMap::new();
    for reference in layers.relevant(namespace, range, through) {
        let run = inner.open_run(reference).await?;
        let mut wanted = Vec::new();
        let mut places = Vec::new();
        for tenant in run.selected(namespace, selection, &inner.keys) {
            let page = run.page(tenant, &inner.keys).await?;
            let mut numbers = Vec::new();
            for (number, block) in page.blocks.iter().enumerate() {
                let (Some((first_ns, first)), Some((last_ns, last))) =
                    (split_key(&block.first_key), split_key(&block.last_key))
                else {
                    return Err(Error::Damaged { object: run.path.clone(), why: "an index key is too short".into() });
                };
                if last_ns < namespace || first_ns > namespace || !reaches_back_to(block, through) {
                    continue;
                }
                // A block may begin in the namespace before or end in the one after; then that side is open.
                let first = if first_ns == namespace { first } else { &[] };
                let inside = if last_ns == namespace {
                    range.overlaps(first, last) && selection.may_have_between(first, last)
                } else {
                    !range.ends_before(first)
                };
                if inside {
                    places.push(place(tenant, block));
                    numbers.push(number);
                }
            }
            if !numbers.is_empty() {
                let key = run.tenant_key(tenant, &inner.keys)?;
                wanted.push((tenant.name.clone(), key, page, numbers));
            }
        }
        let mut fetched = run.fetch(&places).await?.into_iter();
        for (name, key, page, numbers) in wanted {
            let blocks = numbers.into_iter().zip(fetched.by_ref()).collect();
            let entry = work.entry(name.clone()).or_insert_with(|| TenantWork::new(Tenant::new(&name)));
            entry.layers.push(SealedLayer { run: Arc::clone(&run), key, page, blocks });
        }
    }
    Ok(work)
}

impl TenantWork {
    pub fn new(tenant: Tenant) -> TenantWork {
        TenantWork { tenant, layers: Vec::new(), fresh: Vec::new() }
    }

    pub fn add_fresh(&mut self, group: usize) {
        self.fresh.push(group);
    }

    /// Opens all blocks and hands each record's versions, newest first, to `sink`.
    pub fn for_each_key(
        &self,
        opener: &mut Opener,
        mut sink: impl FnMut(&[u8], &[(backstay_model::Version, backstay_model::BodyRef<'_>)]) -> Result<()>,
    ) -> Result<()> {
        let mut opened = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let segment_error = |error| Error::segment(&layer.run.path, error);
            let opener = opener.turn_to(&layer.run.header, &layer.key).map_err(segment_error)?;
            let mut blocks = Vec::with_capacity(layer.blocks.len());
            for (number, sealed) in &layer.blocks {
                let mut plain = Vec::new();
                opener.open(*number, &layer.page.blocks[*number], sealed, &mut plain).map_err(segment_error)?;
                blocks.push(plain);
            }
            opened.push(blocks);
        }
        let where_ = self.layers.first().map_or("the archive", |layer| layer.run.path.as_str());
        let decode_error = |error| Error::segment(where_, error);
        let layers = opened.iter().map(|blocks| Layer::new(blocks)).collect::<Result<Vec<_>, _>>();
        let mut merge = Merge::new(layers.map_err(decode_error)?);
        while let Some((key, versions)) = merge.next().map_err(decode_error)? {
            sink(key, versions)?;
        }
        Ok(())
    }
}

/// What opens blocks, made for the first of them: it is too dear to be made anew for every tenant.
#[derive(Default)]
pub(crate) struct Opener(Option<BlockOpener>);

impl Opener {
    /// For the blocks of the tenant of `key` in the run of `header`.
    pub fn turn_to(&mut self, header: &Header, key: &DataKey) -> Result<&mut BlockOpener, backstay_segment::Error> {
        match &mut self.0 {
            Some(opener) => opener.turn_to(header, key)?,
            None => self.0 = Some(BlockOpener::new(header, key)?),
        }
        Ok(self.0.as_mut().expect("it was made above"))
    }
}

/// The records of a partition as of an instant.
#[derive(Default)]
pub struct Loaded {
    parts: Vec<(Tenant, RecordBatch)>,
    /// (part, record), ascending by record id.
    order: Vec<(u32, u32)>,
    digest: Digest,
}

impl Loaded {
    /// The records, ascending by id: owner, id, image.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Tenant, &[u8], &[u8])> {
        self.order.iter().map(|(part, record)| {
            let (tenant, batch) = &self.parts[*part as usize];
            let (id, image) = batch.get(*record as usize).expect("the order was made from the parts");
            (tenant, id, image)
        })
    }

    /// The record with this id: its owner and image.
    pub fn get(&self, id: &[u8]) -> Option<(&Tenant, &[u8])> {
        let record = |(part, record): &(u32, u32)| {
            let (tenant, batch) = self.parts.get(*part as usize)?;
            batch.get(*record as usize).map(|(id, image)| (id, tenant, image))
        };
        let found = self.order.binary_search_by(|place| record(place).map(|(found, ..)| found).cmp(&Some(id))).ok()?;
        self.order.get(found).and_then(record).map(|(_, tenant, image)| (tenant, image))
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// True without records.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes of the records' images and ids.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|(_, batch)| batch.bytes() as u64).sum()
    }

    /// The digest of the records.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// What decoding needs besides the blocks.
pub(crate) struct Decoder {
    pub namespace: Incarnation,
    pub range: IdRange,
    pub selection: Selection,
    pub at: Tick,
    /// Versions up to and with this one do not count.
    pub ended: Option<Version>,
    pub unknown: Unknown,
    /// Keys were shredded: a change without a record below it is the trace of one that cannot be read any more.
    pub traces: bool,
    pub interpreter: Arc<dyn Interpreter>,
    pub tail: Option<Arc<TailView>>,
}

impl Decoder {
    /// Decodes everything in `work`, on all cores.
    pub fn decode(&self, work: &[TenantWork]) -> Result<Loaded> {
        let decoded =
            parallel::map_with(work, || Ok(Opener::default()), |opener, work| self.decode_tenant(opener, work))?;
        let mut digest = Digest::default();
        let mut parts = Vec::with_capacity(decoded.len());
        let mut matched = Vec::new();
        for (work, sink) in work.iter().zip(decoded) {
            digest.combine(&sink.digest);
            matched.extend(sink.matched);
            parts.push((work.tenant.clone(), sink.batch));
        }
        self.expect_all_matched(matched)?;
        let mut order: Vec<(u32, u32)> = Vec::with_capacity(parts.iter().map(|(_, batch)| batch.len()).sum());
        for (number, (_, batch)) in parts.iter().enumerate() {
            order.extend((0..batch.len()).map(|record| (number as u32, record as u32)));
        }
        let id = |(part, record): &(u32, u32)| parts[*part as usize].1.get(*record as usize).map(|(id, _)| id);
        order.sort_by(|a, b| id(a).cmp(&id(b)));
        Ok(Loaded { parts, order, digest })
    }

    fn decode_tenant(&self, opener: &mut Opener, work: &TenantWork) -> Result<Sink<'_>> {
        let blocks = work.layers.iter().flat_map(|layer| layer.blocks.iter().map(move |(number, _)| (layer, *number)));
        let raw = blocks.map(|(layer, number)| layer.page.blocks[number].raw_len as usize).sum();
        // A few records by their ids take next to nothing of the blocks that hold them.
        let batch = RecordBatch::with_capacity(if self.selection.ids.is_none() { raw } else { 0 });
        let mut out = Sink { decoder: self, batch, digest: Digest::default(), matched: Vec::new() };
        let mut overrides = self.tail.as_ref().map(|tail| Overrides::new(tail, self.namespace));
        let mut picked = self.selection.ids.as_deref().map(|ids| Picked { ids, next: 0 });
        work.for_each_key(opener, |key, versions| {
            let Some((namespace, id)) = split_key(key) else { return Ok(()) };
            if namespace != self.namespace
                || picked.as_mut().is_some_and(|picked| !picked.has(id))
                || !self.range.contains(id)
            {
                return Ok(());
            }
            let versions = lived(versions, self.ended);
            let group = overrides.as_mut().and_then(|overrides| overrides.find(key));
            match group.map(|(tail, group)| (tail, group, &tail.states[group])) {
                // What is broken was refused before anything was decoded.
                Some((_, _, TailState::Absent | TailState::Present { .. } | TailState::Broken(_))) => Ok(()),
                Some((tail, group, TailState::Deltas)) => {
                    // Below, at most one tenant has the record; with the others it may have been.
                    if !matches!(self.state(key, versions)?, State::Present(_)) {
                        return Ok(());
                    }
                    out.matched.push(group);
                    let ops = lived_up_to(tail.table.ops(&tail.table.groups()[group]), self.ended, self.at);
                    let changes = ops.iter().map(|op| (op.version, tail.table.body(op)));
                    out.put(id, self.state(key, &with_tail(versions, changes))?)
                }
                Some((_, _, TailState::Untouched)) | None => out.put(id, self.state(key, versions)?),
            }
        })?;
        if let Some(tail) = &self.tail {
            for &group in &work.fresh {
                if let TailState::Present { image, .. } = &tail.states[group] {
                    let key = tail.table.key(&tail.table.groups()[group]);
                    let (_, id) = split_key(key).expect("the table's keys begin with a namespace");
                    out.put(id, State::Present(Cow::Borrowed(tail.image(group, image))))?;
                }
            }
        }
        Ok(out)
    }

    fn state<'a>(
        &self,
        key: &[u8],
        versions: &[(backstay_model::Version, backstay_model::BodyRef<'a>)],
    ) -> Result<State<'a>> {
        match (state_at(versions, self.at, self.interpreter.as_ref()), self.unknown) {
            (Err(_) | Ok(State::Baseless), Unknown::IsAbsent) => Ok(State::Absent),
            (Err(error), Unknown::IsDamage) => Err(self.interpret_error(key, error)),
            (Ok(State::Baseless), Unknown::IsDamage) if self.traces => Ok(State::Absent),
            (Ok(State::Baseless), Unknown::IsDamage) => Err(self.baseless(key)),
            (Ok(state), _) => Ok(state),
        }
    }

    /// Changes of the tails that found no record below are a loss, and never a silent one.
    fn expect_all_matched(&self, mut matched: Vec<usize>) -> Result<()> {
        let expected = self.selection.tenants.is_none() && self.unknown == Unknown::IsDamage && !self.traces;
        let Some(tail) = self.tail.as_ref().filter(|_| expected) else { return Ok(()) };
        matched.sort_unstable();
        for number in tail.table.namespace_groups(self.namespace) {
            let key = tail.table.key(&tail.table.groups()[number]);
            let selected = split_key(key).is_some_and(|(_, id)| self.range.contains(id) && self.selection.has_id(id));
            if selected && matches!(tail.states[number], TailState::Deltas) && matched.binary_search(&number).is_err() {
                return Err(self.baseless(key));
            }
        }
        Ok(())
    }

    fn baseless(&self, key: &[u8]) -> Error {
        let id = split_key(key).map_or(String::new(), |(_, id)| self.interpreter.display_id(id));
        Error::Damaged {
            object: format!("record {id} of namespace {}", self.namespace),
            why: "it was updated, but the archive holds no image of it below the update".to_owned(),
        }
    }

    fn interpret_error(&self, key: &[u8], error: backstay_model::InterpretError) -> Error {
        let id = split_key(key).map_or(String::new(), |(_, id)| self.interpreter.display_id(id));
        Error::interpret(&format!("record {id} of namespace {}", self.namespace), error)
    }
}

struct Sink<'d> {
    decoder: &'d Decoder,
    batch: RecordBatch,
    digest: Digest,
    /// Positions in the tail table of the records whose deltas found an image below.
    matched: Vec<usize>,
}

impl Sink<'_> {
    fn put(&mut self, id: &[u8], state: State<'_>) -> Result<()> {
        if let State::Present(image) = state
            && self.decoder.selection.accepts(&image)
        {
            self.digest.add(self.decoder.namespace.0, id, &image);
            self.batch.push(id, &image);
        }
        Ok(())
    }
}

/// Walks the ids that are asked for beside the runs: both are ascending.
struct Picked<'s> {
    ids: &'s [Vec<u8>],
    next: usize,
}

impl Picked<'_> {
    /// True when this id is asked for. Ids must be offered in ascending order.
    fn has(&mut self, id: &[u8]) -> bool {
        self.next = first_not_below(self.next, self.ids.len(), |at| self.ids[at].as_slice() < id);
        self.ids.get(self.next).is_some_and(|next| next == id)
    }
}

/// Walks the tail table beside the runs: both are ascending by key.
struct Overrides<'t> {
    tail: &'t TailView,
    next: usize,
    end: usize,
}

impl<'t> Overrides<'t> {
    fn new(tail: &'t TailView, namespace: Incarnation) -> Overrides<'t> {
        let groups = tail.table.namespace_groups(namespace);
        Overrides { tail, next: groups.start, end: groups.end }
    }

    /// The record with this key in the table, if it is there. Keys must be asked for in ascending order.
    fn find(&mut self, key: &[u8]) -> Option<(&'t TailView, usize)> {
        let tail = self.tail;
        let key_at = |at: usize| tail.table.key(&tail.table.groups()[at]);
        self.next = first_not_below(self.next, self.end, |at| key_at(at) < key);
        (self.next < self.end && key_at(self.next) == key).then_some((tail, self.next))
    }
}

/// The first position from `from` on that is not `below`, or `end`. It is near by as a rule: steps that grow lead beyond it,
/// and halving finds it among what the last one skipped.
fn first_not_below(from: usize, end: usize, below: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high, mut step) = (from, from, 1);
    while high < end && below(high) {
        low = high + 1;
        high += step;
        step *= 2;
    }
    high = high.min(end);
    while low < high {
        let middle = low + (high - low) / 2;
        match below(middle) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_wherever_it_is() {
        for end in 0..70 {
            for from in 0..=end {
                for first in from..=end {
                    assert_eq!(first_not_below(from, end, |at| at < first), first, "{from}..{end}");
                }
            }
        }
    }
}
