//! Folding: one commit's facts into a state.

use backstay_model::{Gap, Tick};

use super::{
    Arc, BTreeMap, BTreeSet, Books, Drift, Fact, Frontier, Head, Id, RunningScan, Scan, SegmentInfo, Shape, Source,
    VaultState,
};
use crate::text::hex;

/// Why facts do not fit a state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// A segment to remove is not live, or one to add already is: somebody else was there before.
    #[error("{0}")]
    Conflict(String),
    /// The facts contradict the state or each other.
    #[error("{0}")]
    Nonsense(String),
}

/// What it takes to go back to the state before some facts.
struct Undo {
    books: Books,
    moves: Vec<Move>,
}

enum Move {
    Added(Arc<SegmentInfo>),
    /// With whether it was removed for the first time.
    Removed(Arc<SegmentInfo>, bool),
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
            removed: BTreeSet::new(),
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
        self.fold_undoable(facts)?;
        self.head = head;
        Ok(())
    }

    /// Whether the facts fit. The state is the same afterwards; it is only borrowed mutably to save a copy.
    pub(crate) fn check(&mut self, facts: &[Fact]) -> Folded {
        let undo = self.fold_undoable(facts)?;
        self.undo(undo);
        Ok(())
    }

    fn fold_undoable(&mut self, facts: &[Fact]) -> Result<Undo, Refusal> {
        let mut undo = Undo { books: self.books.clone(), moves: Vec::new() };
        let folded = facts.iter().try_for_each(|fact| self.fold_one(fact, &mut undo.moves));
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
                Move::Removed(segment, first) => {
                    if first {
                        self.removed.remove(&segment.id);
                    }
                    self.put_up(segment);
                }
            }
        }
    }

    fn put_up(&mut self, segment: Arc<SegmentInfo>) {
        self.shelf(segment.shape).insert((segment.first, segment.last, segment.id), Arc::clone(&segment));
        self.segments.insert(segment.id, segment);
    }

    fn take_off(&mut self, segment: &SegmentInfo) {
        self.segments.remove(&segment.id);
        self.shelf(segment.shape).remove(&(segment.first, segment.last, segment.id));
    }

    fn fold_one(&mut self, fact: &Fact, moves: &mut Vec<Move>) -> Folded {
        match fact {
            Fact::Opened { .. } => Err(Refusal::Nonsense("the vault is opened a second time".to_owned())),
            Fact::SegmentAdded(segment) => self.add(segment, moves),
            Fact::SegmentRemoved(id) => self.remove(id, moves),
            Fact::Frontier { stream, through, resume } => self.advance(stream, *through, *resume),
            Fact::ScanStarted { scan, from } => self.start_scan(*scan, *from),
            Fact::ScanCompleted { scan, consistent, records, source_bytes } => {
                let begun = self.end_scan(scan)?;
                ensure(begun.from <= *consistent, || {
                    format!("the scan {} began at {} and cannot be consistent at {consistent}", hex(scan), begun.from)
                })?;
                let (records, source_bytes) = (*records, *source_bytes);
                self.books.completed.push(Scan {
                    id: *scan,
                    from: begun.from,
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
        }
    }

    fn add(&mut self, segment: &SegmentInfo, moves: &mut Vec<Move>) -> Folded {
        let id = segment.id;
        if self.segments.contains_key(&id) {
            return Err(Refusal::Conflict(format!("the segment {} is already in the vault", hex(&id))));
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

    fn remove(&mut self, id: &Id, moves: &mut Vec<Move>) -> Folded {
        let Some(segment) = self.segments.get(id).map(Arc::clone) else {
            return Err(Refusal::Conflict(format!("the segment {} is not in the vault any more", hex(id))));
        };
        self.take_off(&segment);
        let first = self.removed.insert(*id);
        moves.push(Move::Removed(segment, first));
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

    fn start_scan(&mut self, scan: Id, from: Tick) -> Folded {
        let known = self.books.running.contains_key(&scan) || self.books.completed.iter().any(|done| done.id == scan);
        ensure(!known, || format!("the scan {} begins a second time", hex(&scan)))?;
        self.books.running.insert(scan, RunningScan { id: scan, from });
        Ok(())
    }

    fn end_scan(&mut self, scan: &Id) -> Result<RunningScan, Refusal> {
        let running = self.books.running.remove(scan);
        running.ok_or_else(|| Refusal::Nonsense(format!("the scan {} ends, but is not running", hex(scan))))
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
