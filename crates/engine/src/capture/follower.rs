//! A feed that goes on, commit by commit.
//!
//! ```text
//!   tail ──▶ batches ──▶ (every second or few MiB) tail segment ──▶ commit: segment, frontier
//!                                                    one in flight while the next is collected
//! ```
//!
//! Each commit carries the tail and the frontier together, so that a change is either behind the frontier and held, or
//! ahead of it and read again. What shares a tick and is more than a tail holds (a large transaction) is stored in several
//! tails, which one commit names together with the frontier behind them: until then they are files that nobody knows.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backstay_archive::Vault;
use backstay_ledger::{Fact, Frontier, SegmentInfo};
use backstay_model::{Break, EntryBatch, Interpreter, Protection, Tick, crash_point};
use backstay_source::{Start, Tail, Topology};
use tokio::task::{JoinError, JoinSet};

use super::{CaptureOptions, still_protects};
use crate::Result;
use crate::breaks::before;
use crate::monitor::{Meter, Monitor};

/// Entries in one tail segment: enough to compress well and to make commits rare, little enough to hold twice.
const TAIL_LEN: usize = 16 << 20;

/// A frontier that moves without entries is committed this often at most.
const IDLE_COMMIT_MS: u64 = 30_000;

/// How following ended.
pub(super) enum Progress {
    /// What was asked for is held, or it was told to stop.
    Done,
    /// Everything before this tick is held; what comes then cannot be archived as it is.
    Broken(Tick, Break),
    /// Another process moved the frontier.
    Overtaken,
}

/// A tail that was stored, or none when there was nothing to store, and what belongs to it.
struct Stored {
    tail: Option<SegmentInfo>,
    /// The frontier to commit with it; `None` when its last tick goes on in the next tail.
    frontier: Option<Frontier>,
    /// How many entries of how many bytes it holds.
    held: (u64, u64),
}

/// Tails that wait for the rest of their tick.
#[derive(Default)]
struct Parts {
    tails: Vec<SegmentInfo>,
    /// Entries and bytes in them.
    held: (u64, u64),
}

/// One stretch of following, from a frontier on.
pub(super) struct Follower<'a> {
    pub(super) vault: &'a Vault,
    pub(super) stream: &'a str,
    /// What the entries were picked by.
    pub(super) protection: &'a Protection,
    pub(super) interpreter: &'a Arc<dyn Interpreter>,
    /// The records of what was renamed up to this tick are filed under their new tenants.
    pub(super) reassigned: Tick,
    pub(super) options: CaptureOptions,
    pub(super) until: Option<Tick>,
    pub(super) monitor: &'a Monitor,
    pub(super) meter: &'a mut Meter,
    /// The newest frontier that this follower has committed.
    pub(super) frontier: Frontier,
    /// Who the source is, to be recorded when what was read of it goes on from what is held.
    pub(super) found: Option<&'a Topology>,
    pub(super) course: Course,
}

/// How far a follower has come.
#[derive(Default)]
pub(super) struct Course {
    /// What was read goes on from what is held.
    has_joined: bool,
    /// The tail that is being stored.
    in_flight: JoinSet<Result<Stored, backstay_archive::Error>>,
    /// The tails before it that no commit names yet.
    parts: Parts,
    /// Entries and bytes that this follower has committed; what another was faster with is not among them.
    pub(super) committed: (u64, u64),
}

/// Entries that are in memory, to be stored as one tail.
struct Held {
    batches: Vec<EntryBatch>,
    bytes: usize,
    /// When the first of them came, or when the ones before were stored, in the world's milliseconds.
    since: u64,
}

impl Held {
    fn add(&mut self, batch: EntryBatch, now: u64) {
        if batch.is_empty() {
            return;
        }
        if self.batches.is_empty() {
            self.since = now;
        }
        self.bytes += batch.bytes();
        self.batches.push(batch);
    }

    fn take(&mut self, now: u64) -> Vec<EntryBatch> {
        (self.bytes, self.since) = (0, now);
        std::mem::take(&mut self.batches)
    }
}

impl Follower<'_> {
    /// Follows `tail` until what was asked for is held, or something comes between.
    pub(super) async fn follow(&mut self, mut tail: Box<dyn Tail>) -> Result<Progress> {
        let world = self.vault.repository().world().clone();
        let tick_ms = u64::try_from(self.options.tick.as_millis()).unwrap_or(u64::MAX);
        let mut held = Held { batches: Vec::new(), bytes: 0, since: world.elapsed_ms() };
        let mut reached = self.frontier;
        // The last tick of what is held goes on in the next batch; some of it is stored.
        let (mut continues, mut in_parts) = (false, false);
        loop {
            let mut batch = EntryBatch::default();
            let next = {
                let mut next = pin!(tail.next(&mut batch));
                // What is held must not wait for the next entry: a source that falls silent must not keep it from being
                // restorable.
                loop {
                    let is_whole = !continues && !in_parts && !held.batches.is_empty();
                    let is_due = is_whole && self.course.in_flight.is_empty();
                    let left = tick_ms.saturating_sub(world.elapsed_ms().saturating_sub(held.since));
                    tokio::select! {
                        biased;
                        next = &mut next => break next,
                        Some(stored) = self.course.in_flight.join_next() => {
                            if !self.commit(stored).await? {
                                return Ok(Progress::Overtaken);
                            }
                        }
                        () = tokio::time::sleep(Duration::from_millis(left)), if is_due => {
                            self.store(held.take(world.elapsed_ms()), Some(reached));
                        }
                    }
                }
            };
            if next.is_ok() {
                self.course.has_joined |= tail.has_joined();
                if let Some((at, found)) = self.break_in(&batch) {
                    if continues {
                        // Half of a tick is nothing.
                        held.take(world.elapsed_ms());
                    } else {
                        held.add(before(&batch, at), world.elapsed_ms());
                    }
                    let through = at.previous().max(reached.through);
                    let before = Start { resume: reached.resume, through: reached.through };
                    let frontier = Frontier { through, resume: tail.resume_before(at, before).min(through) };
                    let won = self.end_with(held.take(world.elapsed_ms()), frontier).await?;
                    return Ok(if won { Progress::Broken(at, found) } else { Progress::Overtaken });
                }
                if batch.continues && !continues {
                    // What came before need not wait for it.
                    if !self.commit_in_flight().await? {
                        return Ok(Progress::Overtaken);
                    }
                    self.store(held.take(world.elapsed_ms()), Some(reached));
                }
                continues = batch.continues;
                if !continues {
                    // A transaction that was open already when this follower began may reach back further; its entries are
                    // looked up again by whoever resumes, so the ledger's position need not move back.
                    let resume = batch.resume.max(self.frontier.resume);
                    reached = Frontier { through: batch.through.max(reached.through), resume };
                }
                self.meter.add(batch.len() as u64, batch.bytes() as u64);
                held.add(batch, world.elapsed_ms());
            }
            // Entries that come without a pause must not keep the ones before from being restorable either.
            if let Some(stored) = self.course.in_flight.try_join_next()
                && !self.commit(stored).await?
            {
                return Ok(Progress::Overtaken);
            }
            let finished = next.is_err()
                || self.monitor.is_cancelled()
                || self.until.is_some_and(|until| until <= reached.through);
            let age = world.elapsed_ms().saturating_sub(held.since);
            let due = match held.batches.is_empty() {
                true => age >= IDLE_COMMIT_MS,
                false => age >= tick_ms || held.bytes >= TAIL_LEN,
            };
            // The last tail of a tick ends with it.
            if finished || due || (in_parts && !continues) {
                if !self.commit_in_flight().await? {
                    return Ok(Progress::Overtaken);
                }
                match continues {
                    // Half of a tick is nothing; it is read again.
                    true if finished => {}
                    true => self.store(held.take(world.elapsed_ms()), None),
                    false => self.store(held.take(world.elapsed_ms()), Some(reached)),
                }
                in_parts = continues;
            }
            if finished {
                let won = self.commit_in_flight().await?;
                next?;
                return Ok(if won { Progress::Done } else { Progress::Overtaken });
            }
        }
    }

    /// The first entry of a batch that cannot be archived as it is.
    fn break_in(&self, batch: &EntryBatch) -> Option<(Tick, Break)> {
        batch.iter().find_map(|(visible, entry)| match self.interpreter.break_at(entry)? {
            Break::Renamed { .. } if visible <= self.reassigned => None,
            found => Some((visible, found)),
        })
    }

    /// Stores and commits what there is before a break; false when another process moved the frontier.
    async fn end_with(&mut self, batches: Vec<EntryBatch>, frontier: Frontier) -> Result<bool> {
        if !self.commit_in_flight().await? {
            return Ok(false);
        }
        self.course.parts = Parts::default();
        self.store(batches, Some(frontier));
        self.commit_in_flight().await
    }

    /// Starts storing a tail. Without a frontier it waits for what it is a part of.
    fn store(&mut self, batches: Vec<EntryBatch>, frontier: Option<Frontier>) {
        let (vault, stream) = (self.vault.clone(), self.stream.to_owned());
        let held = batches
            .iter()
            .fold((0, 0), |(entries, bytes), batch| (entries + batch.len() as u64, bytes + batch.bytes() as u64));
        let before = self.course.parts.tails.last().cloned();
        let in_parts = frontier.is_none() || before.is_some();
        self.course.in_flight.spawn(async move {
            let tail = match in_parts {
                true => vault.write_tail_part(&stream, batches, before.as_ref()).await?,
                false => vault.write_tail(&stream, batches).await?,
            };
            Ok(Stored { tail, frontier, held })
        });
    }

    /// Waits for the tail that is being stored and commits it; false when another process moved the frontier.
    async fn commit_in_flight(&mut self) -> Result<bool> {
        match self.course.in_flight.join_next().await {
            Some(stored) => self.commit(stored).await,
            None => Ok(true),
        }
    }

    /// Commits a tail that was stored; false when another process moved the frontier.
    async fn commit(&mut self, stored: Result<Result<Stored, backstay_archive::Error>, JoinError>) -> Result<bool> {
        let stored = stored.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let Stored { tail, frontier, held } = stored;
        crash_point("capture.tail-stored");
        self.course.parts.tails.extend(tail);
        self.course.parts.held = (self.course.parts.held.0 + held.0, self.course.parts.held.1 + held.1);
        let Some(reached) = frontier else { return Ok(true) };
        let Parts { tails, held } = std::mem::take(&mut self.course.parts);
        if tails.is_empty() && reached == self.frontier {
            return Ok(true);
        }
        let (stream, expected, protection) = (self.stream, self.frontier, self.protection);
        let mut won = true;
        self.vault
            .commit(|state| {
                won = state.frontier(stream) == Some(expected) && still_protects(state, protection);
                if !won {
                    return Ok(Vec::new());
                }
                let mut facts: Vec<Fact> = tails.iter().cloned().map(Fact::SegmentAdded).collect();
                let Frontier { through, resume } = reached;
                facts.push(Fact::Frontier { stream: stream.to_owned(), through, resume });
                Ok(facts)
            })
            .await?;
        crash_point("capture.tail-committed");
        if won {
            self.frontier = reached;
            self.course.committed = (self.course.committed.0 + held.0, self.course.committed.1 + held.1);
            self.meter.reached(reached.through);
            if let Some(found) = self.found.take_if(|_| self.course.has_joined) {
                self.vault.identify(&found.identity, found.stand_in.as_deref()).await?;
            }
        }
        Ok(won)
    }
}
