//! Carrying out writes in batches, a few at a time, and dealing with conflicts.
//!
//! A write that another record's unique value stands in the way of is set aside until the end of the namespace (see
//! `waiting.rs`): the value may be given up by a write that is still to come.

use std::collections::BTreeSet;
use std::ops::{AddAssign, Range};

use backstay_source::{Conflict, Target, Write, WriteMode, WriteReport};
use futures::stream::{FuturesUnordered, StreamExt};

use crate::restore::ConflictPolicy;
use crate::restore::room::{Growth, Shortage};
use crate::restore::waiting::{MOST_BYTES, Waiting, bytes};
use crate::{Error, Result};

/// Writes in a batch.
const BATCH: usize = 1000;
/// Bytes in a batch.
const BATCH_LEN: usize = 8 << 20;
/// Batches on their way at the same time.
const LANES: usize = 4;

/// A write that owns its bytes.
pub(crate) enum OwnedWrite {
    Insert { id: Vec<u8>, image: Vec<u8> },
    Replace { id: Vec<u8>, expected: Vec<u8>, image: Vec<u8> },
    Delete { id: Vec<u8>, expected: Vec<u8> },
}

impl OwnedWrite {
    pub(super) fn borrow(&self) -> Write<'_> {
        match self {
            OwnedWrite::Insert { image, .. } => Write::Insert { image },
            OwnedWrite::Replace { expected, image, .. } => Write::Replace { expected, image },
            OwnedWrite::Delete { expected, .. } => Write::Delete { expected },
        }
    }

    pub(super) fn id(&self) -> &[u8] {
        match self {
            OwnedWrite::Insert { id, .. } | OwnedWrite::Replace { id, .. } | OwnedWrite::Delete { id, .. } => id,
        }
    }

    /// When it is carried out, among the writes of a partition.
    pub(super) fn turn(&self) -> u8 {
        match self {
            OwnedWrite::Delete { .. } => 0,
            OwnedWrite::Replace { .. } => 1,
            OwnedWrite::Insert { .. } => 2,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            OwnedWrite::Insert { image, .. } => image.len(),
            OwnedWrite::Replace { expected, image, .. } => expected.len() + image.len(),
            OwnedWrite::Delete { expected, .. } => expected.len(),
        }
    }
}

/// Gives a record's id in words.
pub(crate) type Display<'a> = &'a (dyn Fn(&[u8]) -> String + Sync);

/// What became of the writes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Written {
    pub written: u64,
    pub skipped: u64,
}

impl AddAssign for Written {
    fn add_assign(&mut self, other: Written) {
        self.written += other.written;
        self.skipped += other.skipped;
    }
}

/// A write that waits for a unique value, by its number, and what the target said.
pub(super) struct Refused {
    pub write: usize,
    pub why: String,
}

/// What became of a batch.
#[derive(Default)]
pub(super) struct Attempt {
    pub written: Written,
    /// Ascending.
    pub refused: Vec<Refused>,
}

/// Writes one namespace of the target. [`Writer::finish`] is part of it.
pub(crate) struct Writer<'a> {
    pub(super) target: &'a dyn Target,
    pub(super) name: String,
    pub(super) policy: ConflictPolicy,
    pub(super) aside: Vec<Waiting>,
    /// The ids of everything that ever was put off.
    late: BTreeSet<Vec<u8>>,
    /// Inserts that wait until everything that makes room for them is written, when there is a bound.
    held: Option<Vec<OwnedWrite>>,
}

impl<'a> Writer<'a> {
    pub fn new(target: &'a dyn Target, name: &str, policy: ConflictPolicy) -> Writer<'a> {
        Writer { target, name: name.to_owned(), policy, aside: Vec::new(), late: BTreeSet::new(), held: None }
    }

    /// For a namespace that removes its oldest records when it is full: inserts wait for [`Writer::finish`], until all that
    /// is to go is gone.
    pub fn inserting_last(mut self) -> Writer<'a> {
        self.held = Some(Vec::new());
        self
    }

    /// Carries out `writes`: deletes, then replacements, then inserts, so that a unique value is given up before another
    /// record takes it. Those that wait for a value are set aside.
    pub async fn carry_out(&mut self, mut writes: Vec<OwnedWrite>, display: Display<'_>) -> Result<Written> {
        if let Some(held) = &mut self.held {
            let start = held.len();
            held.extend(writes.extract_if(.., |write| matches!(write, OwnedWrite::Insert { .. })));
            self.late.extend(held.iter().skip(start).map(|write| write.id().to_vec()));
        }
        writes.sort_by_key(OwnedWrite::turn);
        let mut done = Written::default();
        let mut refused = Vec::new();
        let mut start = 0;
        for same in writes.chunk_by(|a, b| a.turn() == b.turn()) {
            let attempt = self.at_once(&writes, start..start + same.len(), display).await?;
            start += same.len();
            done += attempt.written;
            refused.extend(attempt.refused);
        }
        refused.sort_by_key(|refused| refused.write);
        let mut refused = refused.into_iter().peekable();
        for (number, write) in writes.into_iter().enumerate() {
            if let Some(Refused { why, .. }) = refused.next_if(|refused| refused.write == number) {
                self.late.insert(write.id().to_vec());
                self.aside.push(Waiting::new(write, why));
            }
        }
        if bytes(&self.aside) > MOST_BYTES {
            done += self.settle(display).await?;
            self.refuse_too_many(display)?;
        }
        Ok(done)
    }

    /// Carries out what was set aside; what still cannot be written is a conflict.
    pub async fn finish(&mut self, display: Display<'_>) -> Result<Written> {
        let held = self.held.take().unwrap_or_default();
        let mut growth = Growth::default();
        growth.add(&held);
        let mut done = Written::default();
        match (growth.shortage(self.target, &self.name).await?, self.policy) {
            (None, _) => done += self.carry_out(held, display).await?,
            (Some(_), ConflictPolicy::Skip) => done.skipped += held.len() as u64,
            (Some(Shortage { why, .. }), ConflictPolicy::Abort | ConflictPolicy::Overwrite) => {
                return Err(self.conflict(held.first(), held.len(), &why, display));
            }
        }
        done += self.settle(display).await?;
        let left = std::mem::take(&mut self.aside);
        match (left.first(), self.policy) {
            (None, _) => {}
            (Some(_), ConflictPolicy::Skip) => done.skipped += left.len() as u64,
            (Some(first), ConflictPolicy::Abort | ConflictPolicy::Overwrite) => {
                return Err(self.conflict(Some(&first.write), left.len(), &first.why, display));
            }
        }
        Ok(done)
    }

    /// True when the record's write was put off: it can only be proved after [`Writer::finish`].
    pub fn is_late(&self, id: &[u8]) -> bool {
        self.late.contains(id)
    }

    /// The ids of all records whose writes were put off, ascending.
    pub fn late(&self) -> impl Iterator<Item = &[u8]> {
        self.late.iter().map(Vec::as_slice)
    }

    /// Refuses when settling what was set aside left no room for more.
    fn refuse_too_many(&self, display: Display<'_>) -> Result<()> {
        match self.aside.first() {
            Some(first) if bytes(&self.aside) > MOST_BYTES / 2 => {
                let why = format!(
                    "more than {} MiB of records wait for unique values that others hold, which is the most; the first: {}",
                    MOST_BYTES >> 20,
                    first.why
                );
                Err(self.conflict(Some(&first.write), self.aside.len(), &why, display))
            }
            _ => Ok(()),
        }
    }

    async fn at_once(&self, writes: &[OwnedWrite], range: Range<usize>, display: Display<'_>) -> Result<Attempt> {
        let mut done = Attempt::default();
        let same = writes.get(range.clone()).unwrap_or_default();
        let batches = self.cut(same).into_iter();
        let mut batches = batches.map(|batch| range.start + batch.start..range.start + batch.end);
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < LANES
                && let Some(batch) = batches.next()
            {
                running.push(self.one_batch(writes, batch, display));
            }
            let Some(attempt) = running.next().await else { return Ok(done) };
            let attempt = attempt?;
            done.written += attempt.written;
            done.refused.extend(attempt.refused);
        }
    }

    /// Carries out some of `writes`.
    pub(super) async fn one_batch(
        &self,
        writes: &[OwnedWrite],
        range: Range<usize>,
        display: Display<'_>,
    ) -> Result<Attempt> {
        let batch = writes.get(range.clone()).unwrap_or_default();
        let borrowed: Vec<Write<'_>> = batch.iter().map(OwnedWrite::borrow).collect();
        let WriteReport { written, conflicts } = self.target.write(&self.name, &borrowed, WriteMode::Guarded).await?;
        let mut done = Attempt { written: Written { written, skipped: 0 }, refused: Vec::new() };
        let set_aside = |conflict: Conflict| Refused { write: range.start + conflict.write, why: conflict.why };
        let (taken, others): (Vec<_>, Vec<_>) = conflicts.into_iter().partition(|conflict| conflict.taken);
        done.refused.extend(taken.into_iter().map(set_aside));
        let Some(first) = others.first() else { return Ok(done) };
        match self.policy {
            ConflictPolicy::Skip => done.written.skipped += others.len() as u64,
            ConflictPolicy::Abort => {
                return Err(self.conflict(batch.get(first.write), others.len(), &first.why, display));
            }
            ConflictPolicy::Overwrite => {
                let again: Vec<usize> = others.iter().map(|conflict| conflict.write).collect();
                let borrowed: Vec<Write<'_>> = again.iter().filter_map(|place| borrowed.get(*place).copied()).collect();
                let report = self.target.write(&self.name, &borrowed, WriteMode::Overwrite).await?;
                done.written.written += report.written;
                let count = report.conflicts.len();
                for conflict in report.conflicts {
                    let Some(place) = again.get(conflict.write) else { continue };
                    match batch.get(*place) {
                        Some(write) if !conflict.taken => {
                            return Err(self.conflict(Some(write), count, &conflict.why, display));
                        }
                        _ => done.refused.push(set_aside(Conflict { write: *place, ..conflict })),
                    }
                }
            }
        }
        done.refused.sort_by_key(|refused| refused.write);
        Ok(done)
    }

    pub(super) fn conflict(&self, first: Option<&OwnedWrite>, count: usize, why: &str, display: Display<'_>) -> Error {
        let first = first.map_or(String::new(), |write| display(write.id()));
        Error::Conflict { namespace: self.name.clone(), count, first, why: why.to_owned() }
    }

    /// Cuts writes into batches.
    pub(super) fn cut(&self, writes: &[OwnedWrite]) -> Vec<Range<usize>> {
        let mut batches = Vec::new();
        let mut start = 0;
        let mut bytes = 0;
        for (at, write) in writes.iter().enumerate() {
            if at > start && (at - start >= BATCH || bytes + write.bytes() > BATCH_LEN) {
                batches.push(start..at);
                start = at;
                bytes = 0;
            }
            bytes += write.bytes();
        }
        if start < writes.len() {
            batches.push(start..writes.len());
        }
        batches
    }
}
