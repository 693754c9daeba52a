//! Reporting progress, and being told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backstay_model::Tick;
use tokio::sync::Notify;

use crate::{Error, Result};

/// What a verb is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Reading the source's records.
    Scan,
    /// Following the source's changes.
    Capture,
    /// Comparing two states.
    Compare,
    /// Writing the target.
    Write,
    /// Building indexes in the target.
    Index,
    /// Reading the target back.
    Prove,
}

/// How far a verb is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// What it is doing.
    pub phase: Phase,
    /// Records or entries done in this phase.
    pub records: u64,
    /// Bytes done in this phase.
    pub bytes: u64,
    /// About how many bytes there are in all, if known.
    pub total_bytes: Option<u64>,
    /// Following a source: everything up to and with this tick is committed.
    pub through: Option<Tick>,
}

/// A verb's link to whoever started it. Cheap to clone.
#[derive(Clone)]
pub struct Monitor {
    report: Arc<dyn Fn(Status) + Send + Sync>,
    cancelled: Arc<AtomicBool>,
    wake: Arc<Notify>,
}

impl Default for Monitor {
    fn default() -> Monitor {
        Monitor::new(|_| {})
    }
}

impl Monitor {
    /// Hands every status to `report`, which must be quick.
    pub fn new(report: impl Fn(Status) + Send + Sync + 'static) -> Monitor {
        Monitor { report: Arc::new(report), cancelled: Arc::default(), wake: Arc::default() }
    }

    /// Asks the verb to stop at the next safe point.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        self.wake.notify_waiters();
    }

    /// True once asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// [`Error::Cancelled`] once asked to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    pub(crate) fn report(&self, status: Status) {
        (self.report)(status);
    }

    /// Waits, but no longer than until it is asked to stop.
    pub(crate) async fn sleep(&self, duration: std::time::Duration) {
        let woken = self.wake.notified();
        if !self.is_cancelled() {
            let _ = tokio::time::timeout(duration, woken).await;
        }
    }
}

/// Adds up what a phase has done and reports it.
pub(crate) struct Meter {
    monitor: Monitor,
    status: Status,
}

impl Meter {
    pub fn new(monitor: &Monitor, phase: Phase, total_bytes: Option<u64>) -> Meter {
        Meter { monitor: monitor.clone(), status: Status { phase, records: 0, bytes: 0, total_bytes, through: None } }
    }

    pub fn add(&mut self, records: u64, bytes: u64) {
        self.status.records += records;
        self.status.bytes += bytes;
        self.monitor.report(self.status);
    }

    /// Everything up to and with `through` is committed.
    pub fn reached(&mut self, through: Tick) {
        self.status.through = Some(through);
        self.monitor.report(self.status);
    }
}
