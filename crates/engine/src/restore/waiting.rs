//! Writes that were refused because another record holds a unique value of theirs, and what becomes of them.
//!
//! ```text
//!   refused ─▶ set aside ─┬─ the holder gives the value up by a write of its own ─▶ tried again, after the holder's
//!                         ├─ they wait for each other ─▶ exchanged, all of them at one instant
//!                         └─ the holder is no part of the restore ─▶ a conflict
//! ```
//!
//! The order comes from what the target says about unique values. Where that is not enough (an index that compares by
//! other rules) they are tried again as long as some succeed, and in the end all at once. A record that is set aside stands
//! as it stood: whatever happens, nobody's value is gone before its new one is there.

use backstay_model::crash_point;
use backstay_source::{UniqueValues, Write, WriteMode};

use crate::Result;
use crate::restore::ConflictPolicy;
use crate::restore::order::{Claims, groups};
use crate::restore::writer::{Display, OwnedWrite, Refused, Writer, Written};

/// The most bytes of writes that are set aside in one namespace.
pub(super) const MOST_BYTES: usize = 64 << 20;
/// How much is exchanged in one go when there is a choice: what MongoDB's makers recommend for a transaction.
const EXCHANGED: Limit = Limit { records: 1000, bytes: 12 << 20 };
/// How much is exchanged in one go when there is none.
const MOST_EXCHANGED: Limit = Limit { records: 10_000, bytes: 48 << 20 };
/// How often writes that nobody knows the order of are exchanged without the one that was refused.
const TRIES: usize = 100;

#[derive(Clone, Copy)]
struct Limit {
    records: usize,
    bytes: usize,
}

impl Limit {
    fn holds(self, writes: &[Waiting]) -> bool {
        writes.len() <= self.records && bytes(writes) <= self.bytes
    }
}

/// A write that waits for a value.
pub(super) struct Waiting {
    pub write: OwnedWrite,
    /// What the target said.
    pub why: String,
    /// It was refused even together with those that it waits for.
    stuck: bool,
}

impl Waiting {
    pub fn new(write: OwnedWrite, why: String) -> Waiting {
        Waiting { write, why, stuck: false }
    }

    fn claims(&self, values: &UniqueValues) -> Claims {
        let (holds, wants) = match &self.write {
            _ if self.stuck => (Vec::new(), Vec::new()),
            OwnedWrite::Insert { image, .. } => (Vec::new(), values(image)),
            OwnedWrite::Replace { expected, image, .. } => (values(expected), values(image)),
            OwnedWrite::Delete { expected, .. } => (values(expected), Vec::new()),
        };
        Claims { holds, wants }
    }
}

pub(super) fn bytes(writes: &[Waiting]) -> usize {
    writes.iter().map(|waiting| waiting.write.bytes()).sum()
}

impl Writer<'_> {
    /// Tries everything that was set aside again, until nothing more can be done. What is left stays set aside.
    pub(super) async fn settle(&mut self, display: Display<'_>) -> Result<Written> {
        let mut done = Written::default();
        let mut tries = TRIES;
        while !self.aside.is_empty() {
            let (before, stuck) = (self.aside.len(), self.stuck());
            self.in_order(display, &mut done).await?;
            // Far from done: their order is not known.
            if self.aside.len() * 2 > before {
                self.all_at_once(&mut tries, display, &mut done).await?;
            }
            if self.aside.len() == before && self.stuck() == stuck {
                break;
            }
        }
        Ok(done)
    }

    fn stuck(&self) -> usize {
        self.aside.iter().filter(|waiting| waiting.stuck).count()
    }

    /// Tries them in the order in which values are given up, and those that wait for each other together.
    async fn in_order(&mut self, display: Display<'_>, done: &mut Written) -> Result<()> {
        let values = self.target.unique_values(&self.name).await?;
        let mut waiting: Vec<Option<Waiting>> = std::mem::take(&mut self.aside).into_iter().map(Some).collect();
        let claims: Vec<Claims> = waiting.iter().flatten().map(|waiting| waiting.claims(&values)).collect();
        let (mut alone, mut together): (Vec<Waiting>, Vec<Waiting>) = (Vec::new(), Vec::new());
        for group in groups(&claims) {
            let members = group.iter().filter_map(|number| waiting.get_mut(*number)?.take());
            let members: Vec<Waiting> = members.collect();
            if members.len() == 1 {
                self.exchange(std::mem::take(&mut together), display, done).await?;
                alone.extend(members);
                continue;
            }
            self.one_by_one(std::mem::take(&mut alone), display, done).await?;
            let fits = EXCHANGED.records >= together.len() + members.len()
                && EXCHANGED.bytes >= bytes(&together) + bytes(&members);
            if !fits {
                self.exchange(std::mem::take(&mut together), display, done).await?;
            }
            together.extend(members);
        }
        self.exchange(together, display, done).await?;
        self.one_by_one(alone, display, done).await
    }

    /// Tries them again as the writes that they are, one batch after the other.
    async fn one_by_one(&mut self, waiting: Vec<Waiting>, display: Display<'_>, done: &mut Written) -> Result<()> {
        // What an exchange said of a write tells more than that it is refused again.
        let known = |waiting: Waiting| (waiting.write, waiting.stuck.then_some(waiting.why));
        let (writes, mut stuck): (Vec<OwnedWrite>, Vec<Option<String>>) = waiting.into_iter().map(known).unzip();
        let mut refused = Vec::new();
        // An insert frees nothing that another waits for: a batch of one kind keeps the order.
        for range in self.cut(&writes) {
            for kind in range.clone().collect::<Vec<_>>().chunk_by(|a, b| writes[*a].turn() == writes[*b].turn()) {
                let (Some(first), Some(last)) = (kind.first(), kind.last()) else { continue };
                let attempt = self.one_batch(&writes, *first..last + 1, display).await?;
                *done += attempt.written;
                refused.extend(attempt.refused);
            }
        }
        let mut refused = refused.into_iter().peekable();
        for (number, write) in writes.into_iter().enumerate() {
            if let Some(Refused { why, .. }) = refused.next_if(|refused| refused.write == number) {
                let known = stuck.get_mut(number).and_then(Option::take);
                self.aside.push(Waiting { write, stuck: known.is_some(), why: known.unwrap_or(why) });
            }
        }
        Ok(())
    }

    /// Exchanges what nobody knows the order of, without those that were refused even so.
    async fn all_at_once(&mut self, tries: &mut usize, display: Display<'_>, done: &mut Written) -> Result<()> {
        while *tries > 0 {
            let waiting = std::mem::take(&mut self.aside);
            let (stuck, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|waiting| waiting.stuck);
            let go_on = waiting.len() > 1 && EXCHANGED.holds(&waiting);
            self.aside = stuck;
            if !go_on {
                self.aside.extend(waiting);
                return Ok(());
            }
            *tries -= 1;
            self.exchange(waiting, display, done).await?;
        }
        Ok(())
    }

    /// Carries out all of them at one instant. When one of them is refused, all are set aside again, that one as stuck.
    async fn exchange(&mut self, mut waiting: Vec<Waiting>, display: Display<'_>, done: &mut Written) -> Result<()> {
        if waiting.is_empty() {
            return Ok(());
        }
        if !MOST_EXCHANGED.holds(&waiting) {
            let why = format!(
                "{} records exchange unique values with each other, more than one transaction holds",
                waiting.len()
            );
            waiting.iter_mut().for_each(|waiting| (waiting.stuck, waiting.why) = (true, why.clone()));
            self.aside.extend(waiting);
            return Ok(());
        }
        let mode = match self.policy {
            ConflictPolicy::Overwrite => WriteMode::Overwrite,
            ConflictPolicy::Abort | ConflictPolicy::Skip => WriteMode::Guarded,
        };
        let writes: Vec<Write<'_>> = waiting.iter().map(|waiting| waiting.write.borrow()).collect();
        let report = self.target.exchange(&self.name, &writes, mode).await?;
        done.written += report.written;
        crash_point("restore.exchanged");
        let mut conflicts = report.conflicts;
        conflicts.sort_by_key(|conflict| std::cmp::Reverse(conflict.write));
        for conflict in &conflicts {
            match waiting.get_mut(conflict.write) {
                Some(waiting) if conflict.taken => (waiting.stuck, waiting.why) = (true, conflict.why.clone()),
                Some(_) if self.policy == ConflictPolicy::Skip => {
                    waiting.remove(conflict.write);
                    done.skipped += 1;
                }
                Some(waiting) => return Err(self.conflict(Some(&waiting.write), 1, &conflict.why, display)),
                None => {}
            }
        }
        if !conflicts.is_empty() {
            self.aside.extend(waiting);
        }
        Ok(())
    }
}
