//! Watching a verb: its progress on the terminal, a signal turned into a request to stop.
//!
//! A verb reports anew for each namespace and phase; what is shown counts on within a phase, and starts again with the
//! next one.

use std::sync::{Arc, Mutex, PoisonError};

use backstay_engine::{Monitor, Phase, Status};
use backstay_model::Tick;
use tokio::task::JoinHandle;

use crate::output::{Output, Progress, Unit};
use crate::signals::Stop;

/// A verb being watched. Stops listening, and takes its progress off the terminal, when dropped.
pub struct Watch {
    monitor: Monitor,
    shown: Arc<Mutex<Shown>>,
    listener: JoinHandle<()>,
}

#[derive(Default)]
struct Shown {
    progress: Option<(Phase, Progress)>,
    /// What earlier parts of this phase have done.
    before: Amount,
    /// What the part at hand has done.
    part: Amount,
    /// How far the source was committed when that was last shown.
    through: Option<Tick>,
}

#[derive(Clone, Copy, Default)]
struct Amount {
    records: u64,
    bytes: u64,
}

impl Watch {
    /// Starts to show progress and to listen for `stop`.
    pub fn start(output: &Arc<Output>, stop: &Stop) -> Watch {
        let shown = Arc::new(Mutex::new(Shown::default()));
        let monitor = {
            let (shown, output) = (Arc::clone(&shown), Arc::clone(output));
            Monitor::new(move |status| shown.lock().unwrap_or_else(PoisonError::into_inner).take(status, &output))
        };
        let listener = {
            let (monitor, mut stop) = (monitor.clone(), stop.clone());
            tokio::spawn(async move {
                stop.asked().await;
                monitor.cancel();
            })
        };
        Watch { monitor, shown, listener }
    }

    /// What the verb reports to.
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.listener.abort();
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).progress = None;
    }
}

impl Shown {
    fn take(&mut self, status: Status, output: &Arc<Output>) {
        let (action, unit) = words(status.phase);
        if self.progress.as_ref().is_none_or(|(phase, _)| *phase != status.phase) {
            self.progress = Some((status.phase, Progress::start(output, action, unit)));
            (self.before, self.part) = (Amount::default(), Amount::default());
        }
        if status.records < self.part.records || status.bytes < self.part.bytes {
            self.before.records += self.part.records;
            self.before.bytes += self.part.bytes;
        }
        self.part = Amount { records: status.records, bytes: status.bytes };
        let through = status.through.filter(|through| self.through.replace(*through) != Some(*through));
        let done = Amount { records: self.before.records + status.records, bytes: self.before.bytes + status.bytes };
        let Some((_, progress)) = &self.progress else { return };
        match unit {
            Unit::Bytes => {
                progress.set_total(status.total_bytes.unwrap_or(0));
                progress.set_done(done.bytes);
            }
            _ => progress.set_done(done.records),
        }
        if let Some(through) = through {
            progress.reached(through);
        }
    }
}

fn words(phase: Phase) -> (&'static str, Unit) {
    match phase {
        Phase::Scan => ("scan", Unit::Bytes),
        Phase::Capture => ("capture", Unit::Entries),
        Phase::Compare => ("compare", Unit::Records),
        Phase::Write => ("write", Unit::Records),
        Phase::Index => ("index", Unit::Objects),
        Phase::Prove => ("prove", Unit::Records),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_phase_add_up() {
        let (output, _) = Output::captured(true);
        let output = Arc::new(output);
        let mut shown = Shown::default();
        let status =
            |records| Status { phase: Phase::Capture, records, bytes: records * 10, total_bytes: None, through: None };
        for records in [3, 7, 2, 4] {
            shown.take(status(records), &output);
        }
        let (before, part) = (shown.before, shown.part);
        assert_eq!((before.records + part.records, before.bytes + part.bytes), (11, 110));
    }
}
