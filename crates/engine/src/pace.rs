//! Reading a source no faster than it bears.
//!
//! ```text
//!   records.next ──▶ batch ──▶ closed hours? wait ──▶ bytes ahead of the limit? wait ──▶ writes slow? wait ──▶ next batch
//! ```
//!
//! A [`Paced`] source is the source itself, with a pause behind each batch of a scan. The feed is not paced: what it does
//! not read in time is lost. How long the source's users wait for their writes is looked at four times a second, and
//! decides which [`Share`] of the time the scan may read.
//!
//! ```text
//!   discover ─ quiet ─▶ scan: slow start ─ look ─ look ─ … ─ rest (quiet again) ─ look ─ …
//! ```
//!
//! Where others write and wait for it, a scan rests for half a second in ten, so that what writes take without it stays known.

mod share;
mod writes;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay_model::{IdRange, Interpreter, Protection, Tick, World};
use backstay_source::{
    Capabilities, Namespace, Position, RecordBatch, Records, Result, Source, Start, Tail, Topology, WriteLatency,
};

use self::share::Share;
use self::writes::{Readings, Writes};
use crate::Monitor;

/// How often the source is asked how long its writes take.
const LOOK_MS: u64 = 250;
/// How long nothing is read after a look that found the ceiling exceeded.
const CEILING_PAUSE: Duration = Duration::from_secs(1);
/// In quiet, this long without any write shows that nobody is there.
const SILENCE_MS: u64 = 50;
/// How often a scan rests where it matters, and how long until the first half of a rest is over: what was asked for
/// before it must be answered before quiet is measured.
const REST_EVERY_MS: u64 = 10_000;
const HALF_REST: Duration = Duration::from_millis(250);
/// How often somebody who waits for the end of a rest looks.
const POLL: Duration = Duration::from_millis(20);
/// The longest pause at a time, so that a change of mind is noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Tells how long reading has to wait for hours in which it is allowed; zero when it may go on.
pub type ClosedFor = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How fast a source may be read. The default is as fast as it goes.
#[derive(Clone, Default)]
pub struct Pace {
    /// At most this many bytes of records a second.
    pub bytes_per_second: Option<f64>,
    /// Up to this mean time the source's users may wait for a write.
    pub target: Option<Duration>,
    /// Above this the scan all but stops.
    pub ceiling: Option<Duration>,
    /// The hours in which scans read.
    pub closed_for: Option<ClosedFor>,
}

/// A source whose scans keep a pace.
pub struct Paced {
    governor: Arc<Governor>,
}

/// What all scans of a source share.
struct Governor {
    source: Arc<dyn Source>,
    writes: Readings,
    pace: Pace,
    monitor: Monitor,
    world: Arc<dyn World>,
    state: Mutex<State>,
    waited_ms: AtomicU64,
}

/// Times are those of [`World::elapsed_ms`].
struct State {
    share: Share,
    has_begun: bool,
    /// Somebody measures how long writes take in quiet: nobody reads.
    rests: bool,
    next_rest_ms: u64,
    /// Until when the bytes that were read should have taken.
    paid_until_ms: f64,
}

/// Ends a rest, however it ends.
struct Rest<'a>(&'a Governor);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.state().rests = false;
    }
}

impl Paced {
    /// Reads `source` at `pace`; `monitor` ends the pauses when it is cancelled.
    pub fn new(source: Arc<dyn Source>, pace: Pace, monitor: &Monitor, world: &Arc<dyn World>) -> Paced {
        let now = world.elapsed_ms();
        let state = State {
            share: Share::new(pace.target, pace.ceiling),
            has_begun: false,
            rests: false,
            next_rest_ms: now + REST_EVERY_MS,
            paid_until_ms: now as f64,
        };
        let governor = Governor {
            writes: Readings::new(&source, world),
            source,
            pace,
            monitor: monitor.clone(),
            world: Arc::clone(world),
            state: Mutex::new(state),
            waited_ms: AtomicU64::default(),
        };
        Paced { governor: Arc::new(governor) }
    }

    /// How long its scans have waited so far.
    pub fn waited(&self) -> Duration {
        Duration::from_millis(self.governor.waited_ms.load(Ordering::Relaxed))
    }

    fn paced(&self, records: Box<dyn Records>) -> Box<dyn Records> {
        let resumed_ms = self.governor.world.elapsed_ms();
        Box::new(PacedRecords { records, governor: Arc::clone(&self.governor), resumed_ms })
    }
}

impl Governor {
    /// Waits as long as the batch of `bytes` makes necessary whose reading began at `resumed_ms`.
    async fn after_batch(&self, bytes: u64, resumed_ms: u64) {
        let due = self.due(bytes, resumed_ms);
        self.wait_for_open_hours().await;
        match self.takes_a_rest() {
            true => self.rest().await,
            false => self.look().await,
        }
        self.wait_until(due).await;
    }

    /// Waits until then, and for the end of a rest.
    async fn wait_until(&self, due: u64) {
        while let now = self.world.elapsed_ms()
            && (now < due || self.rests())
            && !self.monitor.is_cancelled()
        {
            let left = Duration::from_millis(due.saturating_sub(now));
            self.pause(if left.is_zero() { POLL } else { left.min(LONGEST_PAUSE) }).await;
        }
    }

    /// Waits until a scan may begin. When nothing was read for a while, how long writes took is what they take in quiet.
    async fn begin(&self) {
        self.wait_for_open_hours().await;
        if !self.is_wanted() {
            return;
        }
        self.wait_until(0).await;
        let has_begun = std::mem::replace(&mut self.state().has_begun, true);
        if has_begun && !self.writes.are_older_than(REST_EVERY_MS) {
            return self.look().await;
        }
        loop {
            match self.writes.since_last().await {
                Writes::Took(mean) => return self.state().share.start(mean),
                Writes::Nobody => return,
                Writes::Few(0, passed) if passed >= SILENCE_MS => return,
                Writes::Few(_, passed) if passed >= LOOK_MS || self.monitor.is_cancelled() => return,
                Writes::Few(..) => self.pause(POLL).await,
            }
        }
    }

    /// True for the one who is to measure how long writes take in quiet; then nobody reads for a while.
    fn takes_a_rest(&self) -> bool {
        let now = self.world.elapsed_ms();
        let mut state = self.state();
        let is_due = !state.rests && now >= state.next_rest_ms && state.share.needs_quiet();
        if is_due {
            state.rests = true;
            state.next_rest_ms = now + REST_EVERY_MS;
        }
        is_due
    }

    async fn rest(&self) {
        let _rest = Rest(self);
        self.pause(HALF_REST).await;
        self.writes.begin_anew().await;
        self.pause(HALF_REST).await;
        if let Writes::Took(mean) = self.writes.since_last().await {
            self.state().share.rested(mean);
        }
        // What came of the end of the rest is no reading of a busy time.
        self.writes.begin_anew().await;
    }

    async fn wait_for_open_hours(&self) {
        let Some(closed_for) = &self.pace.closed_for else { return };
        let mut is_first = true;
        while let pause = closed_for()
            && !pause.is_zero()
            && !self.monitor.is_cancelled()
        {
            if std::mem::take(&mut is_first) {
                tracing::info!(seconds = pause.as_secs(), "waiting for the hours in which this source may be scanned");
            }
            self.pause(pause.min(LONGEST_PAUSE)).await;
        }
    }

    async fn pause(&self, duration: Duration) {
        let from = self.world.elapsed_ms();
        self.monitor.sleep(duration).await;
        self.waited_ms.fetch_add(self.world.elapsed_ms().saturating_sub(from), Ordering::Relaxed);
    }

    /// When reading may go on, by the limit in bytes and by the share of the time, whichever is later.
    fn due(&self, bytes: u64, resumed_ms: u64) -> u64 {
        let now = self.world.elapsed_ms();
        let mut state = self.state();
        let worked = now.saturating_sub(resumed_ms) as f64;
        let by_share = now as f64 + worked * (1.0 / state.share.fraction() - 1.0);
        let by_limit = self.pace.bytes_per_second.map_or(0.0, |limit| {
            let from = state.paid_until_ms.max(now as f64 - worked);
            state.paid_until_ms = from + bytes as f64 * 1000.0 / limit.max(1.0);
            state.paid_until_ms
        });
        by_share.max(by_limit) as u64
    }

    /// Asks how long writes take, when it is time to.
    async fn look(&self) {
        if !self.is_wanted() || self.rests() || !self.writes.takes_turn_after(LOOK_MS) {
            return;
        }
        let mean = match self.writes.since_last().await {
            Writes::Took(mean) => Some(mean),
            Writes::Nobody => None,
            Writes::Few(..) => return,
        };
        let is_above_ceiling = self.state().share.worked(mean);
        if is_above_ceiling {
            self.pause(CEILING_PAUSE).await;
        }
    }

    /// True when it matters how long writes take.
    fn is_wanted(&self) -> bool {
        self.pace.target.is_some() || self.pace.ceiling.is_some()
    }

    fn rests(&self) -> bool {
        self.state().rests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records that come with pauses.
struct PacedRecords {
    records: Box<dyn Records>,
    governor: Arc<Governor>,
    /// When its last pause ended.
    resumed_ms: u64,
}

#[async_trait]
impl Records for PacedRecords {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        let more = self.records.next(batch).await?;
        if more {
            self.governor.after_batch(batch.bytes() as u64, self.resumed_ms).await;
            self.resumed_ms = self.governor.world.elapsed_ms();
        }
        Ok(more)
    }
}

#[async_trait]
impl Source for Paced {
    fn interpreter(&self) -> Arc<dyn Interpreter> {
        self.governor.source.interpreter()
    }

    fn protection(&self) -> Protection {
        self.governor.source.protection()
    }

    fn interpreter_of(&self, protection: &Protection) -> Result<Arc<dyn Interpreter>> {
        self.governor.source.interpreter_of(protection)
    }

    fn capabilities(&self) -> Capabilities {
        self.governor.source.capabilities()
    }

    async fn discover(&self) -> Result<Topology> {
        let topology = self.governor.source.discover().await;
        if self.governor.is_wanted() && self.governor.writes.is_empty() {
            self.governor.writes.begin_anew().await;
        }
        topology
    }

    async fn position(&self) -> Result<Position> {
        self.governor.source.position().await
    }

    async fn snapshot(&self) -> Result<Tick> {
        self.governor.source.snapshot().await
    }

    async fn write_latency(&self) -> Result<Option<WriteLatency>> {
        self.governor.source.write_latency().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.governor.source.namespaces().await
    }

    async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>> {
        self.governor.source.split(namespace, bytes).await
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        self.governor.begin().await;
        Ok(self.paced(self.governor.source.scan(namespace, range, at).await?))
    }

    async fn scan_unordered(&self, namespace: &Namespace, at: Tick) -> Result<Box<dyn Records>> {
        self.governor.begin().await;
        Ok(self.paced(self.governor.source.scan_unordered(namespace, at).await?))
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.governor.source.tail(start).await
    }
}

#[cfg(test)]
mod tests;
