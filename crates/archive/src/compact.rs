//! Sorting tails into delta runs.
//!
//! A tail keeps changes in stream order under the vault key; many of them (deletes, updates) do not say whose record
//! they change. Sorting resolves that by looking below: each record that the tails touch is looked up in the runs, its
//! owner followed through its changes, and every change filed under the tenant who owned the record then. A change that
//! moves a record to another tenant becomes a tombstone with the old owner and an image with the new one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use backstay_ledger::{Fact, SegmentInfo, Shape};
use backstay_model::{BodyRef, IdRange, Incarnation, Interpreter, Tenant, Tick, Version, crash_point};
use backstay_segment::{Entry, PartBench, PartWriter, split_key};
use bytes::Bytes;

use crate::assemble::assemble;
use crate::load::{Opener, gather};
use crate::merge::{State, fold_one, state_at};
use crate::partition::pieces;
use crate::snapshot::{Layers, RunRef, take_within};
use crate::table::{Group, Op, OpTenant, Table};
use crate::tails::{self, Ordinals};
use crate::vault::Inner;
use crate::{Error, Result, Selection, Vault, parallel};

/// A sorted segment, not stored yet.
pub(crate) struct Sorted {
    pub info: SegmentInfo,
    pub file: Bytes,
}

impl Vault {
    /// Sorts all tails into delta runs and commits each exchange. Returns how many tails were replaced. The tails'
    /// files stay until [`Vault::sweep`].
    ///
    /// Nothing is sorted before the first scan has ended or while a gap is open: whose record a change belongs to is
    /// known only once a scan has told what the changes were made upon.
    pub async fn compact(&self, interpreter: &dyn Interpreter, progress: impl FnMut(u64, u64)) -> Result<u64> {
        let state = self.refresh().await?;
        if state.completed_scans().is_empty() || state.open_gap().is_some() {
            return Ok(0);
        }
        self.compact_through(interpreter, Tick::MAX, progress).await
    }

    /// Sorts the tails that end at `through` or before, as [`Vault::compact`] does. The caller knows that a scan has ended,
    /// and that no gap begins before `through` without having ended.
    pub async fn compact_through(
        &self,
        interpreter: &dyn Interpreter,
        through: Tick,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<u64> {
        self.forget_shredded()?;
        let state = self.refresh().await?;
        let tails: Vec<Arc<SegmentInfo>> = state.tails().filter(|tail| tail.last <= through).cloned().collect();
        let total = tails.len() as u64;
        let mut rest = tails.as_slice();
        let mut ordinals = Ordinals::default();
        let (mut facts, mut uncommitted) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            let (group, after) = rest.split_at(take_within(rest, self.inner.limits().tail_budget));
            let mut layers = Layers::of(&self.inner, self.state().await.as_ref());
            layers.deltas.extend(uncommitted.iter().cloned());
            facts.extend(group.iter().map(|tail| Fact::SegmentRemoved(tail.id)));
            if let Some(sorted) = sort_tails(&self.inner, &layers, group, interpreter, &mut ordinals).await? {
                let (info, path) = (Arc::new(sorted.info.clone()), self.inner.segment_path(&sorted.info.id));
                self.inner.store().create(&path, sorted.file).await?;
                crash_point("compact.run-stored");
                uncommitted.push(RunRef { info, store: self.inner.store().clone(), path });
                facts.push(Fact::SegmentAdded(sorted.info));
            }
            // Tails that share a tick are replaced together: without the first, the others' changes have no number.
            if !tails::goes_on(group, after) {
                self.commit(|_| Ok(facts.clone())).await?;
                crash_point("compact.run-committed");
                facts.clear();
                uncommitted.clear();
            }
            rest = after;
            progress(total - rest.len() as u64, total);
        }
        Ok(total)
    }
}

/// A change filed under its tenant.
pub(crate) struct Filed<'t> {
    pub key: &'t [u8],
    pub version: Version,
    pub body: FiledBody<'t>,
}

pub(crate) enum FiledBody<'t> {
    Borrowed(BodyRef<'t>),
    Image(Vec<u8>),
}

/// Sorts the changes of `tails` into at most one run. `ordinals` goes on from the tails before these.
pub(crate) async fn sort_tails(
    inner: &Arc<Inner>,
    layers: &Layers,
    tails: &[Arc<SegmentInfo>],
    interpreter: &dyn Interpreter,
    ordinals: &mut Ordinals,
) -> Result<Option<Sorted>> {
    let table = tails::read(inner, tails, &[], interpreter, Tick::MAX, ordinals).await?;
    if table.groups().is_empty() {
        return Ok(None);
    }
    let mut below = look_below(inner, layers, &table, interpreter).await?;
    for known in below.values_mut() {
        // At one version, who lost the record comes before who got it.
        known.sort_by(|a, b| a.version.cmp(&b.version).then(a.there.cmp(&b.there)));
    }
    let mut by_tenant: BTreeMap<Tenant, Vec<Filed<'_>>> = BTreeMap::new();
    for (number, group) in table.groups().iter().enumerate() {
        let known = below.get(&number).map_or(&[][..], Vec::as_slice);
        file_changes(&table, group, known, interpreter, &mut by_tenant);
    }
    let (first, last) = table
        .groups()
        .iter()
        .flat_map(|group| table.ops(group))
        .fold((Tick::MAX, Tick::ZERO), |(first, last), op| (first.min(op.version.tick), last.max(op.version.tick)));
    encode(inner, by_tenant, first, last).map(Some)
}

/// What the runs say of a record that the tails touch, at one version.
struct Known {
    version: Version,
    tenant: Tenant,
    /// False when the record is gone since, as far as this tenant is concerned.
    there: bool,
    /// Kept only for records that may move.
    image: Option<Vec<u8>>,
}

/// Looks up, in the runs, what was known of each record just before its first change in the table and since: a scan's
/// image may stand above changes that the scan already saw.
async fn look_below(
    inner: &Inner,
    layers: &Layers,
    table: &Table,
    interpreter: &dyn Interpreter,
) -> Result<HashMap<usize, Vec<Known>>> {
    let mut found = HashMap::new();
    let mut start = 0;
    while let Some(group) = table.groups().get(start) {
        let namespace = table.namespace(group);
        let end = table.namespace_groups(namespace).end;
        let ids = table.groups()[start..end].iter().filter_map(|g| split_key(table.key(g)).map(|(_, id)| id.to_vec()));
        let selection = Selection { ids: Some(Arc::new(ids.collect())), ..Selection::default() };
        for range in pieces(inner, layers, namespace, &selection, Tick::MAX).await? {
            look_below_in(inner, layers, table, interpreter, (namespace, &range, &selection), &mut found).await?;
        }
        start = end;
    }
    Ok(found)
}

async fn look_below_in(
    inner: &Inner,
    layers: &Layers,
    table: &Table,
    interpreter: &dyn Interpreter,
    (namespace, range, selection): (Incarnation, &IdRange, &Selection),
    found: &mut HashMap<usize, Vec<Known>>,
) -> Result<()> {
    let work = gather(inner, layers, namespace, range, selection, Tick::MAX).await?;
    let mut opener = Opener::default();
    for tenant in work.into_values() {
        tenant.for_each_key(&mut opener, |key, versions| {
            let Some(number) = table.find(key) else { return Ok(()) };
            let group = &table.groups()[number];
            // A block may hold keys of the namespaces beside this one, whose other layers were not fetched.
            if !split_key(key).is_some_and(|(found, id)| found == namespace && range.contains(id)) {
                return Ok(());
            }
            let Some(first) = table.ops(group).first() else { return Ok(()) };
            let moves = table.ops(group).iter().any(|op| op.tenant == OpTenant::MayMove);
            let since = versions.partition_point(|(version, _)| *version >= first.version);
            for (at, (version, _)) in versions.iter().enumerate().take(since + 1) {
                // What was made upon changes lost in a gap may not fold; a scan has told since what became of it.
                let state = state_at(&versions[at..], Tick::MAX, interpreter).unwrap_or(State::Baseless);
                let there = state != State::Absent;
                let image = match state {
                    State::Present(image) if moves => Some(image.into_owned()),
                    _ => None,
                };
                let known = Known { version: *version, tenant: tenant.tenant.clone(), there, image };
                found.entry(number).or_default().push(known);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Files the changes of one record under the tenants who owned it.
fn file_changes<'t>(
    table: &'t Table,
    group: &Group,
    known: &[Known],
    interpreter: &dyn Interpreter,
    by_tenant: &mut BTreeMap<Tenant, Vec<Filed<'t>>>,
) {
    let key = table.key(group);
    let ops = table.ops(group);
    let follow_image = ops.iter().any(|op| op.tenant == OpTenant::MayMove);
    let mut life = Life { owner: None, image: None };
    let mut known = known.iter().peekable();
    for (number, op) in ops.iter().enumerate() {
        while let Some(earlier) = known.next_if(|known| known.version < op.version) {
            life.learn(earlier);
        }
        let body = table.body(op);
        let next = if follow_image { next_image(life.image.take(), &body, interpreter) } else { None };
        let foretold = || next_owner(table, &ops[number + 1..], known.clone());
        let new_owner = owner_after(table, op, life.owner.as_ref(), next.as_deref(), interpreter, foretold);
        let mut file = |tenant: &Tenant, body| {
            by_tenant.entry(tenant.clone()).or_default().push(Filed { key, version: op.version, body });
        };
        let moved = life.owner.as_ref().is_some_and(|owner| *owner != new_owner);
        if moved && let Some(old) = &life.owner {
            file(old, FiledBody::Borrowed(BodyRef::Tombstone));
        }
        match (&body, moved, &next) {
            (BodyRef::Tombstone, true, _) => {}
            (BodyRef::Delta(..), true, Some(image)) => file(&new_owner, FiledBody::Image(image.clone())),
            _ => file(&new_owner, FiledBody::Borrowed(body)),
        }
        life.owner = (!matches!(body, BodyRef::Tombstone)).then_some(new_owner);
        life.image = next;
    }
}

/// A record on its way through its changes.
struct Life {
    owner: Option<Tenant>,
    image: Option<Vec<u8>>,
}

impl Life {
    fn learn(&mut self, known: &Known) {
        if known.there {
            self.owner = Some(known.tenant.clone());
            self.image.clone_from(&known.image);
        } else if self.owner.as_ref() == Some(&known.tenant) {
            self.owner = None;
            self.image = None;
        }
    }
}

/// Who is first said to own the record after a change whose own owner nobody knows: where capture began before the scan
/// that read the record, the scan tells.
fn next_owner<'k>(table: &Table, later: &[Op], mut known: impl Iterator<Item = &'k Known>) -> Option<Tenant> {
    let told = later.iter().find_map(|op| match op.tenant {
        OpTenant::Known(number) => Some((op.version, table.tenant(number))),
        OpTenant::Kept | OpTenant::MayMove => None,
    });
    match (told, known.find(|known| known.there)) {
        (Some((version, _)), Some(known)) if known.version < version => Some(known.tenant.clone()),
        (Some((_, tenant)), _) => Some(tenant.clone()),
        (None, known) => known.map(|known| known.tenant.clone()),
    }
}

/// Who owns the record after `op`; of a record that is gone, who owned it.
fn owner_after(
    table: &Table,
    op: &Op,
    owner: Option<&Tenant>,
    image: Option<&[u8]>,
    interpreter: &dyn Interpreter,
    foretold: impl FnOnce() -> Option<Tenant>,
) -> Tenant {
    let kept = || owner.cloned().or_else(foretold).unwrap_or_else(|| Tenant::new(Tenant::UNASSIGNED_NAME));
    match (op.tenant, table.body(op), image) {
        (_, BodyRef::Tombstone, _) if owner.is_some() => kept(),
        (OpTenant::Known(number), ..) => table.tenant(number).clone(),
        (OpTenant::MayMove, _, Some(image)) => {
            Tenant::new(interpreter.tenant(table.name(op), image, &mut String::new()))
        }
        _ => kept(),
    }
}

fn next_image(image: Option<Vec<u8>>, body: &BodyRef<'_>, interpreter: &dyn Interpreter) -> Option<Vec<u8>> {
    match body {
        BodyRef::Image(bytes) => Some(bytes.to_vec()),
        BodyRef::Tombstone => None,
        // A delta that does not fold is moved along unfolded; whoever reads it learns why.
        BodyRef::Delta(..) => Some(fold_one(image?.into(), body, interpreter).ok()?.into_owned()),
    }
}

/// One run of these changes, which lie between two ticks.
pub(crate) fn encode(
    inner: &Inner,
    by_tenant: BTreeMap<Tenant, Vec<Filed<'_>>>,
    first: Tick,
    last: Tick,
) -> Result<Sorted> {
    let header = inner.new_header(backstay_segment::Shape::Delta);
    let path = inner.segment_path(&header.segment);
    let names: Vec<&str> = by_tenant.keys().map(Tenant::as_str).collect();
    let keys =
        inner.keys.active(&names, inner.world().now()).map_err(|source| Error::Key { object: path.clone(), source })?;
    let work: Vec<_> = by_tenant.iter().zip(keys).collect();
    let parts = parallel::map_with(&work, PartBench::new, |bench, ((tenant, changes), key)| {
        let mut order: Vec<&Filed<'_>> = changes.iter().collect();
        order.sort_by(|a, b| a.key.cmp(b.key).then(b.version.cmp(&a.version)));
        let mut part = PartWriter::new(&header, tenant.as_str(), key, bench, false)?;
        for filed in order {
            let body = match &filed.body {
                FiledBody::Borrowed(body) => *body,
                FiledBody::Image(image) => BodyRef::Image(image),
            };
            part.push(&Entry { key: filed.key, version: filed.version, body })?;
        }
        part.finish()
    });
    let parts = parts.map_err(|error: backstay_segment::Error| Error::segment(&path, error))?;
    let (info, file) = assemble(inner, header, Shape::DeltaRun, parts, (first, last))?;
    Ok(Sorted { info, file })
}
