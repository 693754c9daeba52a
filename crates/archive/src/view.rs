//! The archive as of one instant.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_model::{Body, BodyRef, IdRange, Incarnation, InterpretError, NamespaceKind, Tenant, Tick, Version};
use backstay_segment::split_key;

use crate::lives::{lived, lived_up_to};
use crate::load::{Decoder, Loaded, Opener, TenantWork, gather};
use crate::merge::{State, fold_one, newest_first, state_at, with_tail};
use crate::partition::pieces;
use crate::snapshot::{Layers, Snapshot};
use crate::table::{Group, Op, OpTenant, Table, up_to};
use crate::{Error, Partition, Result, Selection};

/// A namespace as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Definition {
    /// Its identity.
    pub incarnation: Incarnation,
    /// Its name at that instant.
    pub name: String,
    /// What it is.
    pub kind: NamespaceKind,
    /// Why its records as of that instant cannot be told, if they cannot.
    pub lost: Option<String>,
    /// Options, indexes and the like in the source's own form.
    pub image: Vec<u8>,
}

/// What the tails say of one record as of an instant.
#[derive(Debug)]
pub(crate) enum TailState {
    /// Nothing yet.
    Untouched,
    /// It is gone, whatever lies below.
    Absent,
    /// It is this, whatever lies below.
    Present { tenant: Tenant, image: TailImage },
    /// Deltas to apply to what lies below; the owner stays the same.
    Deltas,
    /// Its changes do not follow on each other. That is damage where it is loaded, and nothing to anybody where it never is:
    /// what a gap hid of a namespace that was dropped before the gap was closed.
    Broken(Broken),
}

/// How the changes of a record fail to follow on each other.
#[derive(Clone, Debug)]
pub(crate) enum Broken {
    /// It was updated after it had been deleted.
    Deleted,
    /// An update does not fit what stands below it.
    Unfit(InterpretError),
}

/// Where a record's image is.
#[derive(Debug)]
pub(crate) enum TailImage {
    /// In the table: the position of the change that carries it among the record's changes.
    Op(usize),
    /// Put together from several changes.
    Folded(Vec<u8>),
}

/// The tails as of an instant: one state a record of the table.
pub(crate) struct TailView {
    pub table: Arc<Table>,
    pub states: Vec<TailState>,
}

impl TailView {
    /// The image of the record at position `group`.
    pub fn image<'a>(&'a self, group: usize, image: &'a TailImage) -> &'a [u8] {
        match image {
            TailImage::Folded(bytes) => bytes,
            TailImage::Op(op) => {
                let group = &self.table.groups()[group];
                match self.table.body(&self.table.ops(group)[*op]) {
                    BodyRef::Image(bytes) => bytes,
                    _ => &[],
                }
            }
        }
    }
}

/// What to make of a record that was updated upon something which is not archived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unknown {
    /// The archive is damaged: inside of what is covered this cannot be.
    IsDamage,
    /// It is not there, as far as the archive knows: in a gap that is the best that can be said.
    IsAbsent,
}

/// The archive as of one instant. Cheap to clone.
#[derive(Clone)]
pub struct View {
    snapshot: Snapshot,
    at: Tick,
    unknown: Unknown,
    tail: Arc<TailView>,
}

impl View {
    pub(crate) async fn new(snapshot: Snapshot, at: Tick, unknown: Unknown) -> Result<View> {
        let states = tail_states(&snapshot, at, unknown).await?;
        let tail = Arc::new(TailView { table: Arc::clone(&snapshot.table), states });
        Ok(View { snapshot, at, unknown, tail })
    }

    /// The instant.
    pub fn at(&self) -> Tick {
        self.at
    }

    /// The pinned state that this is a view of.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The namespaces as they were, ascending by name.
    pub async fn definitions(&self) -> Result<Vec<Definition>> {
        let system = Partition { namespace: Incarnation::SYSTEM, range: IdRange::all() };
        let loaded = self.load(&system, &Selection::default()).await?;
        let mut definitions = Vec::with_capacity(loaded.len());
        for (_, id, image) in loaded.iter() {
            let object = || "the system space".to_owned();
            let incarnation = Incarnation::from_record_id(id)
                .ok_or_else(|| Error::Damaged { object: object(), why: "a definition's id is not 8 bytes".into() })?;
            let info = self.snapshot.interpreter.describe(image).map_err(|e| Error::interpret(&object(), e))?;
            let (name, kind, lost) = (info.name, info.kind, info.lost);
            definitions.push(Definition { incarnation, name, kind, lost, image: image.to_vec() });
        }
        definitions.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(definitions)
    }

    /// Cuts a namespace into stretches that can be loaded one at a time in bounded memory, ascending.
    pub async fn partitions(&self, namespace: Incarnation, selection: &Selection) -> Result<Vec<Partition>> {
        self.partitions_through(namespace, selection, self.at).await
    }

    /// The same for whoever loads what has changed since as well, up to and with `through`.
    pub async fn partitions_through(
        &self,
        namespace: Incarnation,
        selection: &Selection,
        through: Tick,
    ) -> Result<Vec<Partition>> {
        crate::partition::plan(&self.snapshot, namespace, selection, through.max(self.at)).await
    }

    /// An error when the changes of a record in the tails do not follow on each other.
    pub(crate) fn check_unbroken(&self, namespace: Incarnation) -> Result<()> {
        let table = &self.tail.table;
        table.namespace_groups(namespace).try_for_each(|number| match &self.tail.states[number] {
            TailState::Broken(broken) => Err(damage(&self.snapshot, table, &table.groups()[number], broken)),
            _ => Ok(()),
        })
    }

    /// The selected records of a partition, ascending by id.
    pub async fn load(&self, partition: &Partition, selection: &Selection) -> Result<Loaded> {
        let snapshot = &self.snapshot;
        let (namespace, range) = (partition.namespace, &partition.range);
        let mut work = gather(&snapshot.inner, &snapshot.layers, namespace, range, selection, self.at).await?;
        for number in self.tail.table.namespace_groups(namespace) {
            let group = &self.tail.table.groups()[number];
            let Some((_, id)) = split_key(self.tail.table.key(group)) else { continue };
            if !range.contains(id) || !selection.has_id(id) {
                continue;
            }
            match &self.tail.states[number] {
                TailState::Present { tenant, .. } if selection.has_tenant(tenant.as_str()) => {
                    let new = || TenantWork::new(tenant.clone());
                    work.entry(tenant.as_str().to_owned()).or_insert_with(new).add_fresh(number);
                }
                // Whose it was cannot be told either.
                TailState::Broken(broken) => return Err(damage(snapshot, &self.tail.table, group, broken)),
                _ => {}
            }
        }
        let decoder = Decoder {
            namespace,
            range: range.clone(),
            selection: selection.clone(),
            at: self.at,
            ended: snapshot.ended(namespace, self.at).await?,
            unknown: self.unknown,
            traces: snapshot.inner.keys.has_met_shredded(),
            interpreter: Arc::clone(&snapshot.interpreter),
            tail: Some(Arc::clone(&self.tail)),
        };
        decode(decoder, work).await
    }
}

/// Decodes off the asynchronous threads.
async fn decode(decoder: Decoder, work: BTreeMap<String, TenantWork>) -> Result<Loaded> {
    let work: Vec<TenantWork> = work.into_values().collect();
    let decoded = tokio::task::spawn_blocking(move || decoder.decode(&work)).await;
    decoded.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// What the tails say of every record as of `at`.
async fn tail_states(snapshot: &Snapshot, at: Tick, unknown: Unknown) -> Result<Vec<TailState>> {
    let table = &snapshot.table;
    let mut states = Vec::with_capacity(table.groups().len());
    let mut movers = Vec::new();
    let mut life = (Incarnation::SYSTEM, None);
    for (number, group) in table.groups().iter().enumerate() {
        let namespace = table.namespace(group);
        if life.0 != namespace {
            life = (namespace, snapshot.ended(namespace, at).await?);
        }
        let state = match own_state(snapshot, table, group, (life.1, at)) {
            Ok(state) => state,
            Err(_) if unknown == Unknown::IsAbsent => TailState::Absent,
            // Changes on both sides of a gap do not follow on each other; the scan between them tells what they stand on.
            Err(broken) => TailState::Broken(broken),
        };
        if matches!(state, TailState::Deltas) && may_move(table, group, at) {
            movers.push(number);
        }
        states.push(state);
    }
    look_below(snapshot, (at, unknown), &movers, &mut states).await?;
    let corrected = corrected_by_scans(snapshot, at, &states).await?;
    for number in &corrected {
        if matches!(states[*number], TailState::Broken(_)) {
            states[*number] = TailState::Deltas;
        }
    }
    look_below(snapshot, (at, unknown), &corrected, &mut states).await?;
    Ok(states)
}

/// The records of which a later scan found other content than the tails lead to: what it found counts.
async fn corrected_by_scans(snapshot: &Snapshot, at: Tick, states: &[TailState]) -> Result<Vec<usize>> {
    let table = &snapshot.table;
    let deltas = snapshot.layers.deltas.iter().filter(|run| run.info.scan.is_some()).cloned().collect();
    let scans = Layers::only(deltas);
    let mut corrected = Vec::new();
    let mut start = 0;
    while let Some(group) = table.groups().get(start).filter(|_| !scans.deltas.is_empty()) {
        let namespace = table.namespace(group);
        let end = table.namespace_groups(namespace).end;
        let numbers = (start..end).filter(|number| !matches!(states[*number], TailState::Untouched));
        let selection = ids_of(table, numbers);
        let mut opener = Opener::default();
        for range in pieces(&snapshot.inner, &scans, namespace, &selection, at).await? {
            for tenant in gather(&snapshot.inner, &scans, namespace, &range, &selection, at).await?.into_values() {
                tenant.for_each_key(&mut opener, |key, versions| {
                    if let Some(number) = table.find(key).filter(|number| (start..end).contains(number))
                        && let Some(first) = table.ops(&table.groups()[number]).first()
                        && versions.iter().any(|(version, _)| version.tick <= at && *version > first.version)
                    {
                        corrected.push(number);
                    }
                    Ok(())
                })?;
            }
        }
        start = end;
    }
    corrected.sort_unstable();
    corrected.dedup();
    Ok(corrected)
}

fn ids_of(table: &Table, numbers: impl Iterator<Item = usize>) -> Selection {
    let ids = numbers.filter_map(|number| split_key(table.key(&table.groups()[number])).map(|(_, id)| id.to_vec()));
    Selection { ids: Some(Arc::new(ids.collect())), ..Selection::default() }
}

fn may_move(table: &Table, group: &Group, at: Tick) -> bool {
    up_to(table.ops(group), at).iter().any(|op| op.tenant == OpTenant::MayMove)
}

/// What the changes of a record say of it without looking below.
fn own_state(
    snapshot: &Snapshot,
    table: &Table,
    group: &Group,
    (ended, at): (Option<Version>, Tick),
) -> Result<TailState, Broken> {
    let ops = lived_up_to(table.ops(group), ended, at);
    let earlier = up_to(table.ops(group), at).len() - ops.len();
    if ops.is_empty() {
        return Ok(TailState::Untouched);
    }
    let Some(base) = ops.iter().rposition(|op| !matches!(table.body(op), BodyRef::Delta(..))) else {
        return Ok(TailState::Deltas);
    };
    let above = &ops[base + 1..];
    let BodyRef::Image(image) = table.body(&ops[base]) else {
        return match above.is_empty() {
            true => Ok(TailState::Absent),
            false => Err(Broken::Deleted),
        };
    };
    let mut folded = std::borrow::Cow::Borrowed(image);
    for op in above {
        folded = fold_one(folded, &table.body(op), snapshot.interpreter.as_ref()).map_err(Broken::Unfit)?;
    }
    let last = &ops[ops.len() - 1];
    let moved = above.iter().any(|op| op.tenant == OpTenant::MayMove);
    let tenant = match ops[base].tenant {
        OpTenant::Known(number) if !moved => table.tenant(number).clone(),
        _ => Tenant::new(snapshot.interpreter.tenant(table.name(last), &folded, &mut String::new())),
    };
    let image = match folded {
        std::borrow::Cow::Borrowed(_) => TailImage::Op(earlier + base),
        std::borrow::Cow::Owned(bytes) => TailImage::Folded(bytes),
    };
    Ok(TailState::Present { tenant, image })
}

/// Settles the states of records by all that lies below them, at all tenants. `numbers` are positions in the table,
/// ascending.
async fn look_below(
    snapshot: &Snapshot,
    (at, unknown): (Tick, Unknown),
    numbers: &[usize],
    states: &mut [TailState],
) -> Result<()> {
    let (table, layers) = (&snapshot.table, &snapshot.layers);
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let namespace = table.namespace(&table.groups()[*first]);
        let count = rest.partition_point(|number| table.namespace(&table.groups()[*number]) == namespace);
        let ended = snapshot.ended(namespace, at).await?;
        let selection = ids_of(table, rest[..count].iter().copied());
        for range in pieces(&snapshot.inner, layers, namespace, &selection, at).await? {
            let work = gather(&snapshot.inner, layers, namespace, &range, &selection, at).await?;
            let mut below: BTreeMap<usize, Below> = BTreeMap::new();
            let mut opener = Opener::default();
            for tenant in work.into_values() {
                let name = tenant.tenant.clone();
                tenant.for_each_key(&mut opener, |key, versions| {
                    if let Some(number) = table.find(key).filter(|number| rest[..count].binary_search(number).is_ok())
                        && split_key(key).is_some_and(|(_, id)| range.contains(id))
                    {
                        let versions = lived(versions, ended);
                        let owned = versions.iter().map(|(version, body)| (*version, body.to_owned()));
                        let below = below.entry(number).or_default();
                        below.versions.extend(owned);
                        let image = |(version, body): &&(Version, BodyRef<'_>)| {
                            version.tick <= at && matches!(body, BodyRef::Image(_))
                        };
                        if let Some((version, _)) = versions.iter().find(image)
                            && below.image.as_ref().is_none_or(|(newest, _)| newest < version)
                        {
                            below.image = Some((*version, name.clone()));
                        }
                    }
                    Ok(())
                })?;
            }
            for (number, below) in below {
                let group = &table.groups()[number];
                match settle(snapshot, lived_up_to(table.ops(group), ended, at), below, at) {
                    Ok(Some(state)) => states[number] = state,
                    Ok(None) => {}
                    Err(_) if unknown == Unknown::IsAbsent => states[number] = TailState::Absent,
                    Err(error) => states[number] = TailState::Broken(Broken::Unfit(error)),
                }
            }
        }
        rest = &rest[count..];
    }
    Ok(())
}

/// What the runs say of a record.
#[derive(Default)]
struct Below {
    /// Of all tenants.
    versions: Vec<(Version, Body)>,
    /// The newest image, and whose it is.
    image: Option<(Version, Tenant)>,
}

/// The state of a record by its versions in the runs, of all tenants, and its changes in the tails; `None` when they do
/// not tell.
fn settle(snapshot: &Snapshot, ops: &[Op], below: Below, at: Tick) -> Result<Option<TailState>, InterpretError> {
    let table = &snapshot.table;
    let Below { mut versions, image: filed } = below;
    newest_first(&mut versions);
    let below: Vec<_> = versions.iter().map(|(version, body)| (*version, body.as_ref())).collect();
    let versions = with_tail(&below, ops.iter().map(|op| (op.version, table.body(op))));
    let image = match state_at(&versions, at, snapshot.interpreter.as_ref())? {
        State::Present(image) => image,
        State::Absent => return Ok(Some(TailState::Absent)),
        State::Baseless => return Ok(None),
    };
    let last = ops.last();
    let tenant = match filed {
        // A scan read it after its last change, and knew it by the name that it had by then.
        Some((version, tenant)) if last.is_none_or(|op| op.version < version) => tenant,
        _ => {
            let name = last.map_or("", |op| table.name(op));
            Tenant::new(snapshot.interpreter.tenant(name, &image, &mut String::new()))
        }
    };
    Ok(Some(TailState::Present { tenant, image: TailImage::Folded(image.into_owned()) }))
}

fn damage(snapshot: &Snapshot, table: &Table, group: &Group, broken: &Broken) -> Error {
    let id = split_key(table.key(group)).map_or(String::new(), |(_, id)| snapshot.interpreter.display_id(id));
    let object = format!("record {id} of namespace {}", table.namespace(group));
    match broken {
        Broken::Deleted => Error::Damaged { object, why: "it was updated after it had been deleted".to_owned() },
        Broken::Unfit(error) => Error::interpret(&object, error.clone()),
    }
}
