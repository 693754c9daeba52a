//! The state of a vault: its facts, folded.
//!
//! Folding is pure and total: any facts in any order give either a new state or a [`Refusal`], never a panic, and never
//! a state that breaks what holds here:
//! - after a refusal the state is the one before;
//! - a segment is live at most once, and only a live one can be removed;
//! - a tail begins above the frontier that it continues and ends at or below the one of its own commit;
//! - a frontier never moves back; at most one gap is open; a scan ends only once, and only if it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backstay_model::{Coverage, Gap, Tick};

use crate::commit::{Hash, Id};
use crate::fact::{Fact, SegmentInfo, Shape};

mod fold;

pub use fold::Refusal;

/// The source that a vault belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind, such as `mongodb`.
    pub kind: String,
    /// What makes it itself and no other, in its adapter's words.
    pub identity: String,
}

/// The newest commit that a state contains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// BLAKE3 of the whole object.
    pub hash: Hash,
    /// When its writer says it wrote it, in seconds since 1970-01-01T00:00:00Z.
    pub written_at: u64,
}

/// How far a stream is archived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frontier {
    /// Every change up to and with this tick is held, but for the gaps.
    pub through: Tick,
    /// Where reading must start to go on without a loss.
    pub resume: Tick,
}

/// A scan that has begun and not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunningScan {
    /// Its id.
    pub id: Id,
    /// The stream must be archived from this tick on.
    pub from: Tick,
}

/// A completed scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Its id.
    pub id: Id,
    /// The stream had to be archived from this tick on.
    pub from: Tick,
    /// From this tick on answers are complete.
    pub consistent: Tick,
    /// How many records it read.
    pub records: u64,
    /// How many bytes of records it read.
    pub source_bytes: u64,
}

/// Records that a scan found to differ from the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drift {
    /// The scan that found them.
    pub scan: Id,
    /// As of when.
    pub at: Tick,
    /// How many.
    pub records: u64,
}

/// Segments of one shape, by their first tick.
type Shelf = BTreeMap<(Tick, Tick, Id), Arc<SegmentInfo>>;

/// What a vault holds as of one commit. Cheap enough to clone: the segments are shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultState {
    vault: Id,
    source: Source,
    head: Head,
    segments: BTreeMap<Id, Arc<SegmentInfo>>,
    removed: BTreeSet<Id>,
    tails: Shelf,
    delta_runs: Shelf,
    base_runs: Shelf,
    books: Books,
}

/// What is known besides the segments. Small, however large the vault: cloned to try facts out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Books {
    frontiers: BTreeMap<String, Frontier>,
    running: BTreeMap<Id, RunningScan>,
    completed: Vec<Scan>,
    gaps: Vec<Gap>,
    drift: Vec<Drift>,
}

impl VaultState {
    /// The vault's id.
    pub fn vault(&self) -> Id {
        self.vault
    }

    /// The source that it belongs to.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The newest commit in this state.
    pub fn head(&self) -> Head {
        self.head
    }

    /// A live segment.
    pub fn segment(&self, id: &Id) -> Option<&Arc<SegmentInfo>> {
        self.segments.get(id)
    }

    /// All live segments, by id.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &Arc<SegmentInfo>> + Clone {
        self.segments.values()
    }

    /// The segments that were live once and are not any more, by id: their files may be deleted when nobody reads them.
    pub fn removed(&self) -> &BTreeSet<Id> {
        &self.removed
    }

    /// The live tails, by their first tick: stream order.
    pub fn tails(&self) -> impl DoubleEndedIterator<Item = &Arc<SegmentInfo>> + ExactSizeIterator + Clone {
        self.tails.values()
    }

    /// The live delta runs, by their first tick.
    pub fn delta_runs(&self) -> impl DoubleEndedIterator<Item = &Arc<SegmentInfo>> + ExactSizeIterator + Clone {
        self.delta_runs.values()
    }

    /// The live base runs, by their first tick.
    pub fn base_runs(&self) -> impl DoubleEndedIterator<Item = &Arc<SegmentInfo>> + ExactSizeIterator + Clone {
        self.base_runs.values()
    }

    /// The live segments that a scan wrote, by id.
    pub fn segments_of_scan(&self, scan: Id) -> impl Iterator<Item = &Arc<SegmentInfo>> {
        self.segments.values().filter(move |segment| segment.scan == Some(scan))
    }

    /// How far each stream is archived, by its name.
    pub fn frontiers(&self) -> &BTreeMap<String, Frontier> {
        &self.books.frontiers
    }

    /// How far a stream is archived; `None` before its first frontier.
    pub fn frontier(&self, stream: &str) -> Option<Frontier> {
        self.books.frontiers.get(stream).copied()
    }

    /// The scans that have begun and not ended, by id.
    pub fn running_scans(&self) -> impl ExactSizeIterator<Item = &RunningScan> {
        self.books.running.values()
    }

    /// The completed scans, in the order of their completion.
    pub fn completed_scans(&self) -> &[Scan] {
        &self.books.completed
    }

    /// What scans found to differ, in the order of the findings.
    pub fn drift(&self) -> &[Drift] {
        &self.books.drift
    }

    /// The gaps, ascending; only the last one can be open.
    pub fn gaps(&self) -> &[Gap] {
        &self.books.gaps
    }

    /// The gap that has no end yet.
    pub fn open_gap(&self) -> Option<&Gap> {
        self.books.gaps.last().filter(|gap| gap.resumes.is_none())
    }

    /// The tick up to which every stream is archived; [`Tick::ZERO`] before the first frontier.
    pub fn through(&self) -> Tick {
        self.books.frontiers.values().map(|frontier| frontier.through).min().unwrap_or(Tick::ZERO)
    }

    /// Which instants can be restored: from where the first completed scan is consistent to where every stream is
    /// archived, without the gaps.
    pub fn coverage(&self) -> Coverage {
        Coverage {
            start: self.books.completed.first().map(|scan| scan.consistent),
            through: self.through(),
            gaps: self.books.gaps.clone(),
        }
    }

    fn shelf(&mut self, shape: Shape) -> &mut Shelf {
        match shape {
            Shape::Tail => &mut self.tails,
            Shape::DeltaRun => &mut self.delta_runs,
            Shape::BaseRun => &mut self.base_runs,
        }
    }
}

#[cfg(test)]
mod tests;
