//! Folding: one commit's facts into a state.

use backstay_model::{Gap, Protection, Tick};

use super::{
    Arc, BTreeMap, Books, Claim, Drift, Fact, Frontier, Head, Id, MARK_EVERY, Mark, RunningScan, Scan, SegmentInfo,
    Shape, Source, VaultState, born,
};
use crate::claim::Holder;
use backstay_model::hex;

/// Why facts do not fit a state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A segment to remove is not live, or one to add already is: somebody else was there before.
    #[error("{0}")]
    Conflict(String),
    /// The claim under which the commit was to be made is not the newest any more.
    #[error("`{stream}` has been taken over by {}", by.holder)]
    Fenced {
        /// The stream.
        stream: String,
        /// The newest claim.
        by: Claim,
    },
    /// The facts contradict the state or each other.
    #[error("{0}")]
    Nonsense(String),
}

/// When facts are committed.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) seq: u64,
    pub(crate) written_at: u64,
}

/// What it takes to go back to the state before some facts.
struct Undo {
    books: Books,
    moves: Vec<Move>,
}

enum Move {
    Added(Arc<SegmentInfo>),
    Removed(Arc<SegmentInfo>),
    Forgotten(Vec<(Id, u64)>),
    /// What it was known by before.
    Identified(String),
}

type Folded = Result<(), Refusal>;

/// Refuses with this message unless the condition holds.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Folded {
    if holds { Ok(()) } else { Err(Refusal::Nonsense(otherwise())) }
}

impl VaultState {
    /// The state after the first commit, whose facts begin with [`Fact::Opened`].
    pub fn open(vault: Id, facts: &[Fact], head: Head) -> Result<VaultState, Refusal> {
        let Some((Fact::Opened { name, kind, identity }, rest)) = facts.split_first() else {
            return Err(Refusal::Nonsense("the first commit of a vault must begin by naming its source".to_owned()));
        };
        let mut state = VaultState {
            vault,
            source: Source { name: name.clone(), kind: kind.clone(), identity: identity.clone() },
            head,
            segments: BTreeMap::new(),
            removed: BTreeMap::new(),
            marks: Vec::new(),
            tails: BTreeMap::new(),
            delta_runs: BTreeMap::new(),
            base_runs: BTreeMap::new(),
            books: Books::default(),
        };
        state.fold(rest, head)?;
        Ok(state)
    }

    /// Folds the facts of one commit in, and makes it the head. After a refusal the state is the one before.
    pub fn fold(&mut self, facts: &[Fact], head: Head) -> Folded {
        self.fold_undoable(facts, Moment { seq: head.seq, written_at: head.written_at })?;
        self.head = head;
        if self.marks.last().is_none_or(|last| last.written_at.saturating_add(MARK_EVERY) <= head.written_at) {
            self.marks.push(Mark { seq: head.seq, written_at: head.written_at });
        }
        // The newest one below the floor stays: what is to be pushed next is counted from it when it is the only one.
        let below = self.marks.partition_point(|mark| mark.seq < self.books.floor);
        self.marks.drain(..below.saturating_sub(1));
        Ok(())
    }

    /// Whether the facts fit. The state is the same afterwards; it is only borrowed mutably to save a copy.
    pub(crate) fn check(&mut self, facts: &[Fact], when: Moment) -> Folded {
        let undo = self.fold_undoable(facts, when)?;
        self.undo(undo);
        Ok(())
    }

    fn fold_undoable(&mut self, facts: &[Fact], when: Moment) -> Result<Undo, Refusal> {
        let mut undo = Undo { books: self.books.clone(), moves: Vec::new() };
        let folded = facts.iter().try_for_each(|fact| self.fold_one(fact, when, &mut undo.moves));
        if let Err(refusal) = folded.and_then(|()| self.tails_stay_below_their_frontier(facts)) {
            self.undo(undo);
            return Err(refusal);
        }
        Ok(undo)
    }

    fn undo(&mut self, undo: Undo) {
        self.books = undo.books;
        for moved in undo.moves.into_iter().rev() {
            match moved {
                Move::Added(segment) => self.take_off(&segment),
                Move::Removed(segment) => {
                    self.removed.remove(&segment.id);
                    self.put_up(segment);
                }
                Move::Forgotten(removed) => self.removed.extend(removed),
                Move::Identified(before) => self.source.identity = before,
            }
        }
    }

    pub(super) fn put_up(&mut self, segment: Arc<SegmentInfo>) {
        self.shelf(segment.shape).insert((segment.first, segment.last, segment.id), Arc::clone(&segment));
        self.segments.insert(segment.id, segment);
    }

    fn take_off(&mut self, segment: &SegmentInfo) {
        self.segments.remove(&segment.id);
        self.shelf(segment.shape).remove(&(segment.first, segment.last, segment.id));
    }

    fn fold_one(&mut self, fact: &Fact, when: Moment, moves: &mut Vec<Move>) -> Folded {
        match fact {
            Fact::Opened { .. } => Err(Refusal::Nonsense("the vault is opened a second time".to_owned())),
            Fact::SegmentAdded(segment) => self.add(segment, moves),
            Fact::SegmentRemoved(id) => self.remove(id, when.seq, moves),
            Fact::Frontier { stream, through, resume } => self.advance(stream, *through, *resume),
            Fact::ScanStarted { scan, from } => self.start_scan(*scan, *from, when.written_at),
            Fact::ScanCompleted { scan, consistent, records, source_bytes } => {
                let begun = self.end_scan(scan)?;
                ensure(begun.from <= *consistent, || {
                    format!("the scan {} began at {} and cannot be consistent at {consistent}", hex(scan), begun.from)
                })?;
                let (records, source_bytes) = (*records, *source_bytes);
                self.books.completed.push(Scan {
                    id: *scan,
                    from: begun.from,
                    began: begun.began,
                    consistent: *consistent,
                    records,
                    source_bytes,
                });
                Ok(())
            }
            Fact::ScanAbandoned { scan, .. } => self.end_scan(scan).map(|_| ()),
            Fact::GapOpened { after, cause } => self.open_gap_after(*after, cause),
            Fact::GapClosed { resumes } => self.close_gap(*resumes),
            Fact::DriftFound { scan, at, records } => {
                let known =
                    self.books.running.contains_key(scan) || self.books.completed.iter().any(|done| done.id == *scan);
                ensure(known, || format!("drift was found by the scan {}, which never began", hex(scan)))?;
                self.books.drift.push(Drift { scan: *scan, at: *at, records: *records });
                Ok(())
            }
            Fact::Protected { from, include, tenants } => {
                let (include, tenants) = (include.clone(), tenants.clone());
                self.protect(*from, Protection { include, tenants, feed: String::new() })
            }
            Fact::ProtectedBy { from, include, tenants, feed } => {
                let (include, tenants, feed) = (include.clone(), tenants.clone(), feed.clone());
                self.protect(*from, Protection { include, tenants, feed })
            }
            Fact::Identified { identity } => {
                moves.push(Move::Identified(std::mem::replace(&mut self.source.identity, identity.clone())));
                Ok(())
            }
            Fact::StreamClaimed { stream, epoch, holder } => self.take_claim(stream, *epoch, holder, when),
            Fact::StreamReleased { stream, epoch } => {
                self.under_claim(stream, *epoch, when)?.held = false;
                Ok(())
            }
            Fact::UnderClaim { stream, epoch } => self.under_claim(stream, *epoch, when).map(|_| ()),
            Fact::FloorRaised { floor } => self.raise_floor(*floor, when, moves),
        }
    }

    fn add(&mut self, segment: &SegmentInfo, moves: &mut Vec<Move>) -> Folded {
        let id = segment.id;
        if self.segments.contains_key(&id) {
            return Err(Refusal::Conflict(format!("the segment {} is already in the vault", hex(&id))));
        }
        if self.removed.contains_key(&id) {
            return Err(Refusal::Conflict(format!("the segment {} was removed before; ids are used once", hex(&id))));
        }
        let floor = self.books.floor;
        if born(&id) < floor {
            return Err(Refusal::Conflict(format!(
                "the segment {} was begun before commit {floor}, and what was left over from then has been collected",
                hex(&id)
            )));
        }
        ensure(segment.first <= segment.last, || {
            format!("the segment {} ends at {} before it begins at {}", hex(&id), segment.last, segment.first)
        })?;
        if let Some(scan) = &segment.scan {
            ensure(self.books.running.contains_key(scan), || {
                format!("the segment {} belongs to the scan {}, which is not running", hex(&id), hex(scan))
            })?;
        }
        ensure(segment.shape == Shape::BaseRun || segment.covers.is_empty(), || {
            format!("the segment {} is no base run, and yet covers a stretch completely", hex(&id))
        })?;
        match (segment.shape, &segment.stream) {
            (Shape::Tail, Some(stream)) => {
                if let Some(frontier) = self.books.frontiers.get(stream) {
                    let (first, through) = (segment.first, frontier.through);
                    ensure(first > through, || {
                        format!("the tail {} begins at {first}, but `{stream}` is archived through {through}", hex(&id))
                    })?;
                }
            }
            (Shape::Tail, None) => {
                return Err(Refusal::Nonsense(format!("the tail {} does not name its stream", hex(&id))));
            }
            _ => {}
        }
        let segment = Arc::new(segment.clone());
        self.put_up(Arc::clone(&segment));
        moves.push(Move::Added(segment));
        Ok(())
    }

    fn remove(&mut self, id: &Id, seq: u64, moves: &mut Vec<Move>) -> Folded {
        let Some(segment) = self.segments.get(id).map(Arc::clone) else {
            return Err(Refusal::Conflict(format!("the segment {} is not in the vault any more", hex(id))));
        };
        self.take_off(&segment);
        self.removed.insert(*id, seq);
        moves.push(Move::Removed(segment));
        Ok(())
    }

    fn take_claim(&mut self, stream: &str, epoch: u64, holder: &Holder, when: Moment) -> Folded {
        let before = self.books.claims.get(stream).map_or(0, |claim| claim.epoch);
        if before.checked_add(1) != Some(epoch) {
            return Err(Refusal::Conflict(format!(
                "`{stream}` has been claimed {before} times, not {}",
                epoch.saturating_sub(1)
            )));
        }
        let (since, seen) = (when.written_at, when.written_at);
        self.books.claims.insert(stream.to_owned(), Claim { epoch, holder: holder.clone(), since, seen, held: true });
        Ok(())
    }

    /// The claim, if it is the newest and held.
    fn under_claim(&mut self, stream: &str, epoch: u64, when: Moment) -> Result<&mut Claim, Refusal> {
        let never = || Refusal::Nonsense(format!("`{stream}` was never claimed"));
        let claim = self.books.claims.get_mut(stream).ok_or_else(never)?;
        if claim.epoch > epoch {
            return Err(Refusal::Fenced { stream: stream.to_owned(), by: claim.clone() });
        }
        ensure(claim.epoch == epoch && claim.held, || {
            format!("the claim {epoch} of `{stream}` is not held: the newest is {}", claim.epoch)
        })?;
        claim.seen = claim.seen.max(when.written_at);
        Ok(claim)
    }

    fn raise_floor(&mut self, floor: u64, when: Moment, moves: &mut Vec<Move>) -> Folded {
        let old = self.books.floor;
        if floor <= old {
            return Err(Refusal::Conflict(format!("the floor stands at {old} already")));
        }
        ensure(floor <= when.seq, || format!("the floor {floor} lies above the commit {} that raises it", when.seq))?;
        self.books.floor = floor;
        // The floor itself keeps them out from now on.
        let forgettable = self.removed.iter().filter(|(id, removed)| **removed < floor && born(id) < floor);
        let forgotten: Vec<(Id, u64)> = forgettable.map(|(id, removed)| (*id, *removed)).collect();
        for (id, _) in &forgotten {
            self.removed.remove(id);
        }
        moves.push(Move::Forgotten(forgotten));
        Ok(())
    }

    fn advance(&mut self, stream: &str, through: Tick, resume: Tick) -> Folded {
        ensure(resume <= through.next(), || {
            format!("`{stream}` is archived through {through}, and yet reading is to go on later, at {resume}")
        })?;
        if let Some(old) = self.books.frontiers.get(stream) {
            ensure(through >= old.through, || {
                format!("the frontier of `{stream}` moves back from {} to {through}", old.through)
            })?;
            ensure(resume >= old.resume, || {
                format!("the place to go on reading `{stream}` moves back from {} to {resume}", old.resume)
            })?;
        }
        self.books.frontiers.insert(stream.to_owned(), Frontier { through, resume });
        Ok(())
    }

    fn start_scan(&mut self, scan: Id, from: Tick, began: u64) -> Folded {
        let known = self.books.running.contains_key(&scan) || self.books.completed.iter().any(|done| done.id == scan);
        ensure(!known, || format!("the scan {} begins a second time", hex(&scan)))?;
        self.books.running.insert(scan, RunningScan { id: scan, from, began });
        Ok(())
    }

    fn end_scan(&mut self, scan: &Id) -> Result<RunningScan, Refusal> {
        let running = self.books.running.remove(scan);
        running.ok_or_else(|| Refusal::Nonsense(format!("the scan {} ends, but is not running", hex(scan))))
    }

    fn protect(&mut self, from: Tick, protection: Protection) -> Folded {
        if let Some(last) = self.books.protected.last() {
            let known = last.from;
            ensure(from >= known, || format!("what is protected changes at {from}, before it changed at {known}"))?;
        }
        self.books.protected.push(super::ProtectedSince { from, protection });
        Ok(())
    }

    fn open_gap_after(&mut self, after: Tick, cause: &str) -> Folded {
        let through = self.through();
        ensure(self.books.frontiers.is_empty() || after <= through, || {
            format!("a gap begins after {after}, but only what is before {through} is archived")
        })?;
        if let Some(last) = self.books.gaps.last() {
            let Some(resumes) = last.resumes else {
                return Err(Refusal::Nonsense("a gap begins inside an open gap".to_owned()));
            };
            ensure(after >= resumes, || format!("a gap begins after {after}, before the last gap ended at {resumes}"))?;
        }
        self.books.gaps.push(Gap { after, resumes: None, cause: cause.to_owned() });
        Ok(())
    }

    fn close_gap(&mut self, resumes: Tick) -> Folded {
        let Some(gap) = self.books.gaps.last_mut().filter(|gap| gap.resumes.is_none()) else {
            return Err(Refusal::Nonsense("a gap ends, but none is open".to_owned()));
        };
        let after = gap.after;
        ensure(resumes > after, || format!("the gap after {after} cannot end at {resumes}"))?;
        gap.resumes = Some(resumes);
        Ok(())
    }

    /// A tail that reached beyond the frontier of its own commit would be followed by one that overlaps it.
    fn tails_stay_below_their_frontier(&self, facts: &[Fact]) -> Folded {
        for fact in facts {
            let Fact::SegmentAdded(segment) = fact else { continue };
            let (Shape::Tail, Some(stream)) = (segment.shape, &segment.stream) else { continue };
            let through = self.books.frontiers.get(stream).map(|frontier| frontier.through);
            ensure(through >= Some(segment.last), || {
                format!("the tail {} reaches {}, beyond the frontier of `{stream}`", hex(&segment.id), segment.last)
            })?;
        }
        Ok(())
    }
}
