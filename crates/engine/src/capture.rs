//! Following a source's changes.
//!
//! ```text
//!   tail ──▶ batches ──▶ (every few seconds or MiB) tail segment ──▶ commit: segment, frontier
//!                                                    one in flight while the next is collected
//! ```
//!
//! Each commit carries the tail and the frontier together, so that a change is either behind the frontier and held, or
//! ahead of it and read again. What shares a tick and is more than a tail holds (a large transaction) is stored in several
//! tails, which one commit names together with the frontier behind them: until then they are files that nobody knows. Two captures of one source do no harm: whoever commits second finds the frontier moved,
//! drops what it collected, and goes on from there.
//!
//! Before anything is followed, what the configuration protects is taken up; see [`crate::protection`].
//!
//! When the feed no longer reaches back to the frontier, changes are lost for good. That is committed first, as a gap
//! with its cause; then the source is scanned again, and the gap ends where the scan is consistent. The same where the feed
//! says that records change and not which, or where a namespace comes under protection by its new name: the gap begins just before
//! that entry, which is not archived. A rename after which other tenant rules hold is no gap: its records are filed under
//! their new tenants first, out of the archive.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backstay_archive::Vault;
use backstay_ledger::{Fact, Frontier, SegmentInfo, VaultState};
use backstay_model::{Break, EntryBatch, Interpreter, Protection, Tick, crash_point};
use backstay_source::{Source, Start, Tail, Topology};
use tokio::task::{JoinError, JoinSet};

use crate::backup::scan_over_gap;
use crate::breaks::{Passed, before, get_over, open_gap, open_gap_before, open_gap_unshown};
use crate::monitor::Meter;
use crate::protection::take_up;
use crate::{Error, Monitor, Phase, Result};

/// When to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// When everything that the source had committed at the start is held.
    Now,
    /// When everything up to and with this tick is held.
    Tick(Tick),
    /// When told to.
    Cancelled,
}

/// How long changes are held in memory at most, unless it is said otherwise: a write can be restored well within two seconds.
pub const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How to follow.
#[derive(Clone, Copy, Debug)]
pub struct CaptureOptions {
    /// When to stop.
    pub until: Until,
    /// How long changes may be held in memory before they are committed.
    pub tick: Duration,
}

impl Default for CaptureOptions {
    fn default() -> CaptureOptions {
        CaptureOptions { until: Until::Cancelled, tick: COMMIT_EVERY }
    }
}

/// What was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CaptureReport {
    /// How many entries of the feed were archived.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything up to and with this tick is held.
    pub through: Tick,
    /// How far that is behind the clock, in seconds.
    pub lag_seconds: u64,
    /// How many gaps were found.
    pub gaps: u64,
}

/// Entries in one tail segment: enough to compress well and to make commits rare, little enough to hold twice.
const TAIL_LEN: usize = 16 << 20;

/// A frontier that moves without entries is committed this often at most.
const IDLE_COMMIT_MS: u64 = 30_000;

/// How long a source may be out of reach before a capture that is to end by itself gives up.
const PATIENCE_MS: u64 = 60_000;

/// Follows `source` into `vault`.
pub async fn capture(
    vault: &Vault,
    source: &dyn Source,
    options: CaptureOptions,
    monitor: &Monitor,
) -> Result<CaptureReport> {
    if !vault.refresh().await?.frontiers().is_empty() && take_up(vault, source).await? {
        let mut report = follow(vault, source, options, monitor, true).await?;
        report.gaps += 1;
        return Ok(report);
    }
    follow(vault, source, options, monitor, true).await
}

/// Like [`capture`], for a scan that is going on: neither begins another, nor takes a feed that has rolled over, or that
/// cannot be followed, for more than an error.
pub(crate) async fn capture_only(
    vault: &Vault,
    source: &dyn Source,
    options: CaptureOptions,
    monitor: &Monitor,
) -> Result<CaptureReport> {
    follow(vault, source, options, monitor, false).await
}

async fn follow(
    vault: &Vault,
    source: &dyn Source,
    options: CaptureOptions,
    monitor: &Monitor,
    close_gaps: bool,
) -> Result<CaptureReport> {
    let topology = source.discover().await?;
    let stream = stream_of(&topology)?;
    // What continues what is held is the source that it was captured of, also where that was not to be seen.
    let mut is_unbroken = true;
    let until = match options.until {
        Until::Now => Some(source.position().await?.committed),
        Until::Tick(tick) => Some(tick),
        Until::Cancelled => None,
    };
    let mut report = CaptureReport::default();
    let mut meter = Meter::new(monitor, Phase::Capture, None);
    let mut trouble_since: Option<u64> = None;
    let (protection, interpreter) = (source.protection(), source.interpreter());
    let mut reassigned = Tick::ZERO;
    let world = vault.repository().world().clone();
    loop {
        let state = vault.refresh().await?;
        let Some(frontier) = state.frontier(&stream) else {
            return Err(Error::NoBase { source_name: vault.name().to_owned() });
        };
        if !still_protects(&state, &protection) {
            return Err(other_protection(vault));
        }
        report.through = frontier.through;
        report.lag_seconds = world.now().saturating_sub(u64::from(frontier.through.seconds()));
        is_unbroken &= state.open_gap().is_none() && !state.completed_scans().is_empty();
        if close_gaps && state.open_gap().is_some() && !monitor.is_cancelled() {
            match Box::pin(scan_over_gap(vault, source, monitor)).await {
                // The next capture goes on with the gap; what was committed before it counts.
                Ok(()) | Err(Error::Cancelled) => continue,
                Err(error) => return Err(error),
            }
        }
        if monitor.is_cancelled() || until.is_some_and(|until| until <= frontier.through) {
            return Ok(report);
        }
        let start = Start { resume: frontier.resume, through: frontier.through };
        let followed = match source.tail(start).await {
            Ok(tail) => {
                let mut follower = Follower {
                    vault,
                    stream: &stream,
                    protection: &protection,
                    interpreter: &interpreter,
                    reassigned,
                    options,
                    until,
                    monitor,
                    meter: &mut meter,
                    frontier,
                    found: is_unbroken.then_some(&topology),
                    has_joined: false,
                    in_flight: JoinSet::new(),
                    parts: Parts::default(),
                    committed: (0, 0),
                };
                let followed = follower.follow(tail).await;
                report.entries += follower.committed.0;
                report.bytes += follower.committed.1;
                followed
            }
            Err(error) => Err(error.into()),
        };
        match followed {
            Ok(Progress::Done) => {}
            Ok(Progress::Overtaken) => tracing::info!("another capture moved the frontier; going on from there"),
            Ok(Progress::Broken(at, found)) => {
                match get_over(vault, &stream, &protection, &interpreter, at, found).await? {
                    Passed::Reassigned => reassigned = at,
                    Passed::Not(cause) if close_gaps => {
                        open_gap_before(vault, &stream, at, &cause).await?;
                        report.gaps += 1;
                    }
                    Passed::Not(cause) => return Err(Error::Unfollowable { at, cause }),
                }
            }
            Err(Error::Source(backstay_source::Error::RolledOver { wanted, oldest })) if close_gaps => {
                open_gap(vault, &stream, wanted, oldest).await?;
                report.gaps += 1;
            }
            Err(Error::Source(backstay_source::Error::Unshown { after, why })) if close_gaps => {
                open_gap_unshown(vault, &stream, after, &why).await?;
                report.gaps += 1;
            }
            Err(Error::Source(error @ backstay_source::Error::Unavailable { .. })) => {
                let moved = vault.state().await.frontier(&stream) != Some(frontier);
                let since = *trouble_since.get_or_insert(world.elapsed_ms());
                if moved {
                    trouble_since = None;
                } else if until.is_some() && world.elapsed_ms().saturating_sub(since) > PATIENCE_MS {
                    return Err(error.into());
                }
                tracing::warn!(%error, "the source is out of reach; trying again");
                monitor.sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        trouble_since = None;
    }
}

/// Whether the ledger still says that `protection` is what is protected, or has never said anything.
pub(crate) fn still_protects(state: &VaultState, protection: &Protection) -> bool {
    state.protection().is_none_or(|recorded| recorded == protection)
}

fn other_protection(vault: &Vault) -> Error {
    Error::Archive(backstay_archive::Error::Conflict(format!(
        "another process protects other namespaces of `{}` than this one, or by other tenant rules: stop one of the two, \
         or give both the same configuration",
        vault.name()
    )))
}

/// The one change feed of a source.
pub(crate) async fn only_stream(source: &dyn Source) -> Result<String> {
    stream_of(&source.discover().await?)
}

fn stream_of(topology: &Topology) -> Result<String> {
    match topology.streams.as_slice() {
        [stream] => Ok(stream.clone()),
        streams => Err(Error::Source(backstay_source::Error::Refused {
            what: format!("following {}", topology.product),
            why: format!("it has {} change feeds; this version follows exactly one", streams.len()),
        })),
    }
}

enum Progress {
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

struct Follower<'a> {
    vault: &'a Vault,
    stream: &'a str,
    /// What the entries were picked by.
    protection: &'a Protection,
    interpreter: &'a Arc<dyn Interpreter>,
    /// The records of what was renamed up to this tick are filed under their new tenants.
    reassigned: Tick,
    options: CaptureOptions,
    until: Option<Tick>,
    monitor: &'a Monitor,
    meter: &'a mut Meter,
    /// The newest frontier that this follower has committed.
    frontier: Frontier,
    /// Who the source is, to be recorded when what was read of it goes on from what is held.
    found: Option<&'a Topology>,
    /// What was read does.
    has_joined: bool,
    /// The tail that is being stored.
    in_flight: JoinSet<Result<Stored, backstay_archive::Error>>,
    /// The tails before it that no commit names yet.
    parts: Parts,
    /// Entries and bytes that this follower has committed; what another was faster with is not among them.
    committed: (u64, u64),
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
    async fn follow(&mut self, mut tail: Box<dyn Tail>) -> Result<Progress> {
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
                    let is_due = is_whole && self.in_flight.is_empty();
                    let left = tick_ms.saturating_sub(world.elapsed_ms().saturating_sub(held.since));
                    tokio::select! {
                        biased;
                        next = &mut next => break next,
                        Some(stored) = self.in_flight.join_next() => {
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
                self.has_joined |= tail.has_joined();
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
            if let Some(stored) = self.in_flight.try_join_next()
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
        self.parts = Parts::default();
        self.store(batches, Some(frontier));
        self.commit_in_flight().await
    }

    /// Starts storing a tail. Without a frontier it waits for what it is a part of.
    fn store(&mut self, batches: Vec<EntryBatch>, frontier: Option<Frontier>) {
        let (vault, stream) = (self.vault.clone(), self.stream.to_owned());
        let held = batches
            .iter()
            .fold((0, 0), |(entries, bytes), batch| (entries + batch.len() as u64, bytes + batch.bytes() as u64));
        let before = self.parts.tails.last().cloned();
        let in_parts = frontier.is_none() || before.is_some();
        self.in_flight.spawn(async move {
            let tail = match in_parts {
                true => vault.write_tail_part(&stream, batches, before.as_ref()).await?,
                false => vault.write_tail(&stream, batches).await?,
            };
            Ok(Stored { tail, frontier, held })
        });
    }

    /// Waits for the tail that is being stored and commits it; false when another process moved the frontier.
    async fn commit_in_flight(&mut self) -> Result<bool> {
        match self.in_flight.join_next().await {
            Some(stored) => self.commit(stored).await,
            None => Ok(true),
        }
    }

    /// Commits a tail that was stored; false when another process moved the frontier.
    async fn commit(&mut self, stored: Result<Result<Stored, backstay_archive::Error>, JoinError>) -> Result<bool> {
        let stored = stored.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        let Stored { tail, frontier, held } = stored;
        crash_point("capture.tail-stored");
        self.parts.tails.extend(tail);
        self.parts.held = (self.parts.held.0 + held.0, self.parts.held.1 + held.1);
        let Some(reached) = frontier else { return Ok(true) };
        let Parts { tails, held } = std::mem::take(&mut self.parts);
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
            self.committed = (self.committed.0 + held.0, self.committed.1 + held.1);
            self.meter.reached(reached.through);
            if let Some(found) = self.found.take_if(|_| self.has_joined) {
                self.vault.identify(&found.identity, found.stand_in.as_deref()).await?;
            }
        }
        Ok(won)
    }
}
