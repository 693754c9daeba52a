//! Reading ranges of a source as of exact ticks, however long it takes.
//!
//! A server keeps its history for minutes. So a scan takes one tick for as long as it is fresh, and a new one for what
//! comes after; a range whose tick the server has given up goes on with a new one behind the last record it gave.

use backstay_model::{IdRange, RecordBatch, Tick, World};
use backstay_source::{Error as SourceError, Namespace, Records, Source};

use crate::{Monitor, Result};

/// How long a tick is used before a new one is taken: far below the five minutes that a server keeps by default.
const TICK_LIFE_MS: u64 = 60_000;

/// How often a passing fault is waited out before a scan gives up.
pub(crate) const ATTEMPTS: u32 = 8;

/// The tick that a scan reads at.
pub(crate) struct Clock {
    tick: Tick,
    taken_ms: u64,
    /// The highest tick taken so far.
    pub last: Tick,
}

impl Clock {
    pub async fn start(source: &dyn Source, world: &dyn World) -> Result<Clock> {
        let tick = source.snapshot().await?;
        Ok(Clock { tick, taken_ms: world.elapsed_ms(), last: tick })
    }

    /// A tick that is fresh enough to begin a range with.
    pub async fn fresh(&mut self, source: &dyn Source, world: &dyn World) -> Result<Tick> {
        if world.elapsed_ms().saturating_sub(self.taken_ms) > TICK_LIFE_MS {
            self.renew(source, world).await?;
        }
        Ok(self.tick)
    }

    /// Takes a new tick.
    pub async fn renew(&mut self, source: &dyn Source, world: &dyn World) -> Result<Tick> {
        self.tick = source.snapshot().await?.max(self.last);
        self.taken_ms = world.elapsed_ms();
        self.last = self.tick;
        Ok(self.tick)
    }
}

/// A range being read: batches in ascending order, each with the tick it was read at.
pub(crate) struct RangeScan<'a> {
    source: &'a dyn Source,
    world: &'a dyn World,
    namespace: &'a Namespace,
    /// What is left of the range.
    rest: IdRange,
    at: Tick,
    records: Option<Box<dyn Records>>,
    failures: u32,
}

impl<'a> RangeScan<'a> {
    pub fn new(
        source: &'a dyn Source,
        world: &'a dyn World,
        namespace: &'a Namespace,
        range: IdRange,
        at: Tick,
    ) -> RangeScan<'a> {
        RangeScan { source, world, namespace, rest: range, at, records: None, failures: 0 }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &IdRange {
        &self.rest
    }

    /// The tick that the last batch was read at.
    pub fn at(&self) -> Tick {
        self.at
    }

    /// Fills `batch` with what comes next; false at the end of the range. With `clock`, a tick that the server has given
    /// up is replaced by a new one; without, that is an error.
    pub async fn next(
        &mut self,
        batch: &mut RecordBatch,
        mut clock: Option<&mut Clock>,
        monitor: &Monitor,
    ) -> Result<bool> {
        loop {
            monitor.check()?;
            match self.try_next(batch).await {
                Ok(more) => {
                    self.failures = 0;
                    if let Some((id, _)) = batch.last() {
                        self.rest = self.rest.after(id);
                    }
                    return Ok(more);
                }
                Err(SourceError::SnapshotTooOld(_)) if clock.is_some() && self.failures < ATTEMPTS => {
                    self.failures += 1;
                    if let Some(clock) = clock.as_deref_mut() {
                        self.at = clock.renew(self.source, self.world).await?;
                    }
                }
                Err(error @ SourceError::Unavailable { .. }) if self.failures < ATTEMPTS => {
                    tracing::warn!(%error, namespace = self.namespace.name, "reading again from the last record");
                    self.failures += 1;
                    monitor.sleep(std::time::Duration::from_millis(250 << self.failures.min(5))).await;
                }
                Err(error) => return Err(error.into()),
            }
            self.records = None;
        }
    }

    async fn try_next(&mut self, batch: &mut RecordBatch) -> Result<bool, SourceError> {
        let records = match &mut self.records {
            Some(records) => records,
            None => self.records.insert(self.source.scan(self.namespace, &self.rest, self.at).await?),
        };
        records.next(batch).await
    }
}
