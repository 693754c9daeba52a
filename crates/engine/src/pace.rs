//! Reading a source no faster than it bears.
//!
//! ```text
//!   records.next ──▶ batch ──▶ closed hours? wait ──▶ bytes ahead of the limit? wait ──▶ writes slow? wait ──▶ next batch
//! ```
//!
//! A [`Paced`] source is the source itself, with a pause behind each batch of a scan. The feed is not paced: what it does
//! not read in time is lost. How long the source's users wait for their writes is looked at four times a second, and
//! decides which share of the time the scan may read:
//!
//! ```text
//!   mean since the last look  at most the target     above the target      above the ceiling
//!   share of the time         grows, up to all       falls by a third      the least, and one second's pause
//! ```
//!
//! So the share rises slowly and falls fast, as networks do it (additive increase, multiplicative decrease). It never
//! falls to nothing: a scan that stands still loses its snapshot, and in the end the feed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backstay_model::{IdRange, Interpreter, Protection, Tick, World};
use backstay_source::{
    Capabilities, Namespace, Position, RecordBatch, Records, Result, Source, Start, Tail, Topology, WriteLatency,
};

use crate::Monitor;

/// How often the source is asked how long its writes take.
const LOOK_MS: u64 = 250;
/// How long nothing is read after a look that found the ceiling exceeded.
const CEILING_PAUSE: Duration = Duration::from_secs(1);
/// With fewer writes than this between two looks there is nobody to be kind to.
const FEW_WRITES: u64 = 5;
/// The least share of the time that a scan reads.
const LEAST_SHARE: f64 = 0.05;
/// How much the share grows at each look that finds nothing wrong.
const GROWTH: f64 = 0.02;
/// What is left of it when the target is missed.
const DECAY: f64 = 2.0 / 3.0;
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
    share: f64,
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
        let state = State { share: 1.0, resumed_ms: now, looked_ms: None, last: None, paid_until_ms: now as f64 };
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

    /// Before a scan: the first reading of how long writes take is what the next one is compared with.
    async fn begin(&self) {
        self.governor.wait_for_open_hours().await;
        self.governor.look().await;
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
        self.look().await;
        while let now = self.world.elapsed_ms()
            && now < due
            && !self.monitor.is_cancelled()
        {
            self.pause(Duration::from_millis(due - now).min(LONGEST_PAUSE)).await;
        }
        self.state().resumed_ms = self.world.elapsed_ms();
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
        let by_share = now as f64 + worked * (1.0 / state.share - 1.0);
        let by_limit = self.pace.bytes_per_second.map_or(0.0, |limit| {
            let from = state.paid_until_ms.max(now as f64 - worked);
            state.paid_until_ms = from + bytes as f64 * 1000.0 / limit.max(1.0);
            state.paid_until_ms
        });
        by_share.max(by_limit) as u64
    }

    /// Asks how long writes take, when it is time to.
    async fn look(&self) {
        if self.pace.target.is_none() && self.pace.ceiling.is_none() {
            return;
        }
        let now = self.world.elapsed_ms();
        {
            let mut state = self.state();
            if state.looked_ms.is_some_and(|looked| now.saturating_sub(looked) < LOOK_MS) {
                return;
            }
            state.looked_ms = Some(now);
        }
        match self.source.write_latency().await {
            Ok(latency) => {
                let mean = self.take_note(latency);
                if mean.zip(self.pace.ceiling).is_some_and(|(mean, ceiling)| mean > ceiling) {
                    self.pause(CEILING_PAUSE).await;
                }
            }
            Err(error) => tracing::debug!(%error, "how long writes take is not known"),
        }
    }

    /// Sets the share by the mean time of the writes since the last look, and returns it; `None` when there were few.
    fn take_note(&self, latency: Option<WriteLatency>) -> Option<Duration> {
        let mut state = self.state();
        let last = std::mem::replace(&mut state.last, latency)?;
        let latency = latency?;
        let writes = latency.writes.saturating_sub(last.writes);
        let mean = (writes >= FEW_WRITES)
            .then(|| Duration::from_micros(latency.micros.saturating_sub(last.micros) / writes.max(1)));
        let is_above = |bound: Option<Duration>| mean.zip(bound).is_some_and(|(mean, bound)| mean > bound);
        state.share = if is_above(self.pace.ceiling) {
            LEAST_SHARE
        } else if is_above(self.pace.target) {
            (state.share * DECAY).max(LEAST_SHARE)
        } else {
            (state.share + GROWTH).min(1.0)
        };
        mean
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
        self.governor.source.discover().await
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
