//! A pinned state of a vault, with its unsorted tails in memory.
//!
//! What a snapshot sees does not change while others commit. Its memory is bounded: tails beyond the budget are sorted
//! into runs in a scratch folder first, oldest first, and the folder goes when the snapshot goes.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;

use backstay_ledger::{SegmentInfo, VaultState};
use backstay_model::{Coverage, EntryBatch, IdRange, Incarnation, Interpreter, Tick};
use backstay_store::Store;
use tempfile::TempDir;

use crate::compact::sort_tails;
use crate::run::Run;
use crate::table::Table;
use crate::tails::{self, Ordinals};
use crate::vault::Inner;
use crate::view::{Unknown, View};
use crate::{Error, Result};

/// A run that can be opened: from the vault, or from a snapshot's scratch folder.
#[derive(Clone)]
pub(crate) struct RunRef {
    pub info: Arc<SegmentInfo>,
    pub store: Store,
    pub path: String,
}

/// The runs that a read merges.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    base: Vec<RunRef>,
    /// Which base runs hold records of a namespace, and of which stretch of it.
    covers: HashMap<Incarnation, Vec<(usize, IdRange)>>,
    pub deltas: Vec<RunRef>,
}

impl Layers {
    /// The base runs and delta runs of a state; base runs of scans that did not end are left out.
    pub fn of(inner: &Inner, state: &VaultState) -> Layers {
        let reference = |info: &Arc<SegmentInfo>| RunRef {
            info: Arc::clone(info),
            store: inner.store().clone(),
            path: inner.segment_path(&info.id),
        };
        let ended = |info: &&Arc<SegmentInfo>| {
            info.scan.is_none_or(|scan| state.completed_scans().iter().any(|completed| completed.id == scan))
        };
        let base: Vec<RunRef> = state.base_runs().filter(ended).map(reference).collect();
        let mut covers: HashMap<Incarnation, Vec<(usize, IdRange)>> = HashMap::new();
        for (number, run) in base.iter().enumerate() {
            for cover in &run.info.covers {
                covers.entry(cover.incarnation).or_default().push((number, cover.range.clone()));
            }
        }
        Layers { base, covers, deltas: state.delta_runs().map(reference).collect() }
    }

    /// Every run.
    pub fn all(&self) -> impl Iterator<Item = &RunRef> {
        self.base.iter().chain(&self.deltas)
    }

    /// Only these delta runs, and no base.
    pub fn only(deltas: Vec<RunRef>) -> Layers {
        Layers { deltas, ..Layers::default() }
    }

    /// Only the runs with versions after `after`.
    pub fn newer_than(&self, after: Tick) -> Layers {
        let mut newer = self.clone();
        newer.deltas.retain(|run| run.info.last > after);
        let base = &newer.base;
        newer.covers.values_mut().for_each(|covers| covers.retain(|(number, _)| base[*number].info.last > after));
        newer
    }

    /// The runs that may hold versions of this stretch up to and with `through`.
    pub fn relevant(&self, namespace: Incarnation, range: &IdRange, through: Tick) -> impl Iterator<Item = &RunRef> {
        let covers = self.covers.get(&namespace).into_iter().flatten();
        let mut base: Vec<usize> =
            covers.filter(|(_, cover)| overlap(cover, range)).map(|(number, _)| *number).collect();
        base.sort_unstable();
        base.dedup();
        let deltas = self.deltas.iter().filter(move |run| run.info.first <= through);
        base.into_iter().map(|number| &self.base[number]).chain(deltas)
    }

    /// The namespace cut where the stretches of its base runs begin: ascending, without holes, sharing nothing. No more
    /// than a few base runs have records of any one piece.
    pub fn stretches(&self, namespace: Incarnation) -> Vec<IdRange> {
        let covers = self.covers.get(&namespace).into_iter().flatten();
        let start = |range: &IdRange| match &range.from {
            Bound::Unbounded => None,
            Bound::Included(id) | Bound::Excluded(id) => Some(id.clone()),
        };
        let mut starts: Vec<Vec<u8>> = covers.filter_map(|(_, range)| start(range)).collect();
        starts.sort();
        starts.dedup();
        IdRange::all().split_at(&starts)
    }
}

/// True when two ranges may share an id.
pub(crate) fn overlap(a: &IdRange, b: &IdRange) -> bool {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let ends_before = |to: &std::ops::Bound<Vec<u8>>, from: &std::ops::Bound<Vec<u8>>| match (to, from) {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(to), Included(from)) => to < from,
        (Included(to) | Excluded(to), Included(from) | Excluded(from)) => to <= from,
    };
    !ends_before(&a.to, &b.from) && !ends_before(&b.to, &a.from)
}

/// Changes that no commit holds yet: all those between a state's frontier and a tick, for a look at what would be true once
/// they were captured.
#[derive(Clone, Copy)]
pub struct Ahead<'a> {
    /// The changes, in stream order.
    pub entries: &'a [EntryBatch],
    /// Every change after the frontier and up to and with this tick is among them.
    pub through: Tick,
}

/// A pinned state of a vault. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) inner: Arc<Inner>,
    pub(crate) state: Arc<VaultState>,
    pub(crate) interpreter: Arc<dyn Interpreter>,
    pub(crate) layers: Arc<Layers>,
    pub(crate) table: Arc<Table>,
    through: Tick,
    /// Every change between the frontier and this tick was handed over in memory.
    ahead: Option<Tick>,
    _scratch: Option<Arc<TempDir>>,
}

impl Snapshot {
    pub(crate) async fn take(
        inner: Arc<Inner>,
        state: Arc<VaultState>,
        interpreter: Arc<dyn Interpreter>,
        through: Tick,
        ahead: Option<Ahead<'_>>,
    ) -> Result<Snapshot> {
        let mut layers = Layers::of(&inner, &state);
        let tails: Vec<Arc<SegmentInfo>> = state.tails().filter(|tail| tail.first <= through).cloned().collect();
        let budget = inner.limits().tail_budget;
        let mut rest = tails.as_slice();
        let mut scratch = None;
        let mut ordinals = Ordinals::default();
        while rest.iter().map(|tail| tail.raw_bytes).sum::<u64>() > budget && rest.len() > 1 {
            let count = take_within(rest, budget);
            let (group, after) = rest.split_at(count);
            let folder = match &scratch {
                Some(folder) => Arc::clone(folder),
                None => Arc::clone(scratch.insert(Arc::new(scratch_folder(&inner)?))),
            };
            let store = Store::local(folder.path()).map_err(|error| scratch_error(&inner, &error))?;
            if let Some(sorted) = sort_tails(&inner, &layers, group, interpreter.as_ref(), &mut ordinals).await? {
                let path = inner.segment_path(&sorted.info.id);
                store.create(&path, sorted.file).await.map_err(|error| scratch_error(&inner, &error))?;
                layers.deltas.push(RunRef { info: Arc::new(sorted.info), store: store.clone(), path });
            }
            rest = after;
        }
        let entries = ahead.as_ref().map_or(&[][..], |ahead| ahead.entries);
        let table = tails::read(&inner, rest, entries, interpreter.as_ref(), through, &mut ordinals).await?;
        Ok(Snapshot {
            inner,
            state,
            interpreter,
            layers: Arc::new(layers),
            table: Arc::new(table),
            through,
            ahead: ahead.map(|ahead| ahead.through),
            _scratch: scratch,
        })
    }

    /// The state of the archive as of `at`. [`Error::NotCovered`] when that instant cannot be had.
    pub async fn at(&self, at: Tick) -> Result<View> {
        let coverage = self.coverage();
        if !coverage.contains(at) || at > self.through {
            return Err(not_covered(&coverage, at));
        }
        View::new(self.clone(), at, Unknown::IsDamage).await
    }

    /// What the archive would say as of `at` if it had missed nothing: for comparing with the source, also in a gap.
    pub async fn believed(&self, at: Tick) -> Result<View> {
        View::new(self.clone(), at, Unknown::IsAbsent).await
    }

    /// Changes up to and with this tick are seen.
    pub fn through(&self) -> Tick {
        self.through
    }

    /// Which instants this snapshot can show.
    pub fn coverage(&self) -> Coverage {
        let mut coverage = self.state.coverage();
        if let Some(ahead) = self.ahead
            && coverage.start.is_some()
            && coverage.gaps.iter().all(|gap| gap.resumes.is_some())
        {
            coverage.through = coverage.through.max(ahead);
        }
        coverage
    }

    /// The state of the ledger that this snapshot pins.
    pub fn state(&self) -> &VaultState {
        &self.state
    }

    /// Explains the source's bytes.
    pub fn interpreter(&self) -> &Arc<dyn Interpreter> {
        &self.interpreter
    }

    pub(crate) async fn open(&self, run: &RunRef) -> Result<Arc<Run>> {
        self.inner.open_run(run).await
    }
}

/// Why `at` cannot be restored, and what can.
pub(crate) fn not_covered(coverage: &Coverage, at: Tick) -> Error {
    let (before, after) = coverage.nearest(at);
    let why = if coverage.start.is_none() {
        "no backup has been completed yet".to_owned()
    } else if let Some(gap) = coverage.gaps.iter().find(|g| g.after < at && g.resumes.is_none_or(|r| at < r)) {
        format!("it lies in a gap: {}", gap.cause)
    } else if at > coverage.through {
        format!("the archive holds every change through {} only", coverage.through)
    } else {
        "it lies before the first complete base".to_owned()
    };
    Error::NotCovered { at, why, before, after }
}

/// How many of the first tails stay within `budget` together; at least one.
pub(crate) fn take_within(tails: &[Arc<SegmentInfo>], budget: u64) -> usize {
    let mut sum = 0;
    let fitting = tails.iter().take_while(|tail| {
        sum += tail.raw_bytes;
        sum <= budget
    });
    fitting.count().max(1)
}

fn scratch_folder(inner: &Inner) -> Result<TempDir> {
    let place = inner.scratch();
    std::fs::create_dir_all(place)
        .and_then(|()| tempfile::Builder::new().prefix("backstay-sort-").tempdir_in(place))
        .map_err(|error| scratch_error(inner, &error))
}

fn scratch_error(inner: &Inner, why: &dyn std::error::Error) -> Error {
    Error::Scratch { folder: inner.scratch().display().to_string(), why: why.to_string() }
}
