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

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay_model::{IdRange, Interpreter, Protection, Tick, World};
use backstay_source::{
    Capabilities, Namespace, Position, RecordBatch, Records, Result, Source, Start, Tail, Topology, WriteLatency,
};

use self::share::Share;
use crate::Monitor;

/// How often the source is asked how long its writes take.
const LOOK_MS: u64 = 250;
/// How long nothing is read after a look that found the ceiling exceeded.
const CEILING_PAUSE: Duration = Duration::from_secs(1);
/// With fewer writes than this between two looks there is nobody to be kind to.
const FEW_WRITES: u64 = 5;
/// Before the first scan, a reading this long after the one before it tells how long writes take in quiet.
const SHORT_LOOK_MS: u64 = 50;
/// How often a scan rests where it matters, and how long until the first half of a rest is over: what was asked for
/// before it must be answered before quiet is measured.
const REST_EVERY_MS: u64 = 10_000;
const HALF_REST: Duration = Duration::from_millis(250);
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
    /// Until when nothing is read, and when the next rest is due.
    rests_until_ms: u64,
    next_rest_ms: u64,
    /// When the last pause ended.
    resumed_ms: u64,
    /// When the source was last asked; `None` before the first scan.
    looked_ms: Option<u64>,
    last: Option<WriteLatency>,
    /// Until when the bytes that were read should have taken.
    paid_until_ms: f64,
}

impl Paced {
    /// Reads `source` at `pace`; `monitor` ends the pauses when it is cancelled.
    pub fn new(source: Arc<dyn Source>, pace: Pace, monitor: &Monitor, world: &Arc<dyn World>) -> Paced {
        let now = world.elapsed_ms();
        let state = State {
            share: Share::new(pace.target, pace.ceiling),
            has_begun: false,
            rests_until_ms: now,
            next_rest_ms: now + REST_EVERY_MS,
            resumed_ms: now,
            looked_ms: None,
            last: None,
            paid_until_ms: now as f64,
        };
        let governor = Governor {
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

    async fn begin(&self) {
        self.governor.wait_for_open_hours().await;
        self.governor.begin().await;
        // What passed since the last scan was no work of this one.
        self.governor.state().resumed_ms = self.governor.world.elapsed_ms();
    }

    fn paced(&self, records: Box<dyn Records>) -> Box<dyn Records> {
        Box::new(PacedRecords { records, governor: Arc::clone(&self.governor) })
    }
}

impl Governor {
    /// Waits as long as the batch of `bytes` that was just read makes necessary.
    async fn after_batch(&self, bytes: u64) {
        let due = self.due(bytes);
        self.wait_for_open_hours().await;
        match self.takes_a_rest() {
            true => self.rest().await,
            false => self.look().await,
        }
        while let now = self.world.elapsed_ms()
            && let due = due.max(self.rests_until_ms())
            && now < due
            && !self.monitor.is_cancelled()
        {
            self.pause(Duration::from_millis(due - now).min(LONGEST_PAUSE)).await;
        }
        self.state().resumed_ms = self.world.elapsed_ms();
    }

    /// Before a scan. Up to the first one nothing was read, and how long writes took is what they take in quiet.
    async fn begin(&self) {
        let now = self.world.elapsed_ms();
        let is_first = {
            let mut state = self.state();
            let is_known = state.looked_ms.is_some_and(|looked| now.saturating_sub(looked) >= SHORT_LOOK_MS);
            !std::mem::replace(&mut state.has_begun, true) && is_known
        };
        if !is_first {
            return self.look().await;
        }
        if let Some(mean) = self.mean_since_last().await {
            self.state().share.start(mean);
        }
    }

    /// True for the one who is to measure how long writes take in quiet; then nobody reads for a while.
    fn takes_a_rest(&self) -> bool {
        let now = self.world.elapsed_ms();
        let mut state = self.state();
        let is_due = now >= state.next_rest_ms && state.share.needs_quiet();
        if is_due {
            state.rests_until_ms = now + 2 * HALF_REST.as_millis() as u64;
            state.next_rest_ms = now + REST_EVERY_MS;
        }
        is_due
    }

    async fn rest(&self) {
        self.pause(HALF_REST).await;
        self.mean_since_last().await;
        self.pause(HALF_REST).await;
        if let Some(mean) = self.mean_since_last().await {
            self.state().share.rested(mean);
        }
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
    fn due(&self, bytes: u64) -> u64 {
        let now = self.world.elapsed_ms();
        let mut state = self.state();
        let worked = now.saturating_sub(state.resumed_ms) as f64;
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
        let now = self.world.elapsed_ms();
        let (is_early, is_first) = {
            let state = self.state();
            let is_early = state.looked_ms.is_some_and(|looked| now.saturating_sub(looked) < LOOK_MS);
            (is_early || now < state.rests_until_ms, state.looked_ms.is_none())
        };
        if is_early {
            return;
        }
        let mean = self.mean_since_last().await;
        if !is_first && self.state().share.worked(mean) {
            self.pause(CEILING_PAUSE).await;
        }
    }

    /// The mean time of the writes since the last reading; `None` when there were few, or it is not known.
    async fn mean_since_last(&self) -> Option<Duration> {
        if self.pace.target.is_none() && self.pace.ceiling.is_none() {
            return None;
        }
        self.state().looked_ms = Some(self.world.elapsed_ms());
        let latency = match self.source.write_latency().await {
            Ok(latency) => latency,
            Err(error) => {
                tracing::debug!(%error, "how long writes take is not known");
                return None;
            }
        };
        let last = std::mem::replace(&mut self.state().last, latency)?;
        let latency = latency?;
        let writes = latency.writes.saturating_sub(last.writes);
        let micros = latency.micros.saturating_sub(last.micros);
        (writes >= FEW_WRITES).then(|| Duration::from_micros(micros / writes.max(1)))
    }

    fn rests_until_ms(&self) -> u64 {
        self.state().rests_until_ms
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records that come with pauses.
struct PacedRecords {
    records: Box<dyn Records>,
    governor: Arc<Governor>,
}

#[async_trait]
impl Records for PacedRecords {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        let more = self.records.next(batch).await?;
        if more {
            self.governor.after_batch(batch.bytes() as u64).await;
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
        self.governor.look().await;
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
        self.begin().await;
        Ok(self.paced(self.governor.source.scan(namespace, range, at).await?))
    }

    async fn scan_unordered(&self, namespace: &Namespace, at: Tick) -> Result<Box<dyn Records>> {
        self.begin().await;
        Ok(self.paced(self.governor.source.scan_unordered(namespace, at).await?))
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.governor.source.tail(start).await
    }
}

#[cfg(test)]
mod tests;
