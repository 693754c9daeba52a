//! The state of a vault: its facts, folded.
//!
//! Folding is pure and total: any facts in any order give either a new state or a [`Refusal`], never a panic, and never
//! a state that breaks what holds here:
//! - after a refusal the state is the one before;
//! - a segment is live at most once, and only a live one can be removed, once and for all;
//! - nothing that was begun below the floor is added, and the floor never falls;
//! - a commit under a claim is refused once the stream was claimed again;
//! - a tail begins above the frontier that it continues and ends at or below the one of its own commit;
//! - a frontier never moves back; at most one gap is open; a scan ends only once, and only if it began.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_model::{Coverage, Gap, ProtectedSince, Protection, Tick};

use crate::birth::born;
use crate::claim::Claim;
use crate::commit::{Hash, Id};
use crate::fact::{Fact, SegmentInfo, Shape};

mod fold;
pub(crate) mod image;

pub(crate) use fold::Moment;
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
    /// When the commit that began it was written, by its writer's clock, in seconds since 1970-01-01T00:00:00Z.
    pub began: u64,
}

/// A completed scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Its id.
    pub id: Id,
    /// The stream had to be archived from this tick on.
    pub from: Tick,
    /// When the commit that began it was written, by its writer's clock, in seconds since 1970-01-01T00:00:00Z.
    pub began: u64,
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

/// How far apart the commits are, in seconds, of which a state remembers when they were written.
const MARK_EVERY: u64 = 3600;

/// When a commit was written, kept for about one commit an hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mark {
    seq: u64,
    written_at: u64,
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
    /// Those that were live once, with the number of the commit that removed them; forgotten below the floor.
    removed: BTreeMap<Id, u64>,
    /// Ascending.
    marks: Vec<Mark>,
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
    protected: Vec<ProtectedSince>,
    claims: BTreeMap<String, Claim>,
    floor: u64,
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

    /// The segments that were removed by a commit at or above the floor, by id, with that commit's number.
    pub fn removed(&self) -> &BTreeMap<Id, u64> {
        &self.removed
    }

    /// Nothing that was begun before this commit can be added any more.
    pub fn floor(&self) -> u64 {
        self.books.floor
    }

    /// The lowest floor that lets everything go that was removed, or begun and not added, before `unix` (seconds), as far
    /// as is known when commits were written; to within an hour.
    pub fn floor_before(&self, unix: u64) -> u64 {
        if self.head.written_at < unix {
            return self.head.seq.saturating_add(1);
        }
        let older = self.marks.iter().rev().find(|mark| mark.written_at < unix);
        older.map_or(0, |mark| mark.seq.saturating_add(1)).max(self.books.floor)
    }

    /// True when no commit names this segment, nor ever will: it was removed below the floor, or begun below the floor
    /// and never added. Its file may be deleted.
    pub fn is_garbage(&self, id: &Id) -> bool {
        let floor = self.books.floor;
        !self.segments.contains_key(id) && self.removed.get(id).map_or(born(id) < floor, |removed| *removed < floor)
    }

    /// The newest claim of a stream, held or released; `None` when it was never claimed.
    pub fn claim(&self, stream: &str) -> Option<&Claim> {
        self.books.claims.get(stream)
    }

    /// The newest claim of each stream, by the stream's name.
    pub fn claims(&self) -> &BTreeMap<String, Claim> {
        &self.books.claims
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

    /// What was protected from when on, ascending. Empty in a vault that was made before this was recorded.
    pub fn protected(&self) -> &[ProtectedSince] {
        &self.books.protected
    }

    /// What is protected now, as far as it was recorded.
    pub fn protection(&self) -> Option<&Protection> {
        self.books.protected.last().map(|since| &since.protection)
    }

    /// What was protected as of `at`; before the first record of it, what that says.
    pub fn protection_at(&self, at: Tick) -> Option<&Protection> {
        let since = self.books.protected.iter().rev().find(|since| since.from < at);
        since.or(self.books.protected.first()).map(|since| &since.protection)
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
