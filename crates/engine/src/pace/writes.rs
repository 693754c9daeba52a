//! How long the users of a source wait for their writes, from one reading of its counters to the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backstay_model::World;
use backstay_source::{Source, WriteLatency};

/// So many writes tell how long they take. With fewer in [`NOBODY_MS`] there is nobody to be kind to.
const FEW_WRITES: u64 = 5;
const NOBODY_MS: u64 = 2000;

/// What is known of the writes since a reading.
pub(super) enum Writes {
    /// How long they took on average.
    Took(Duration),
    /// Too few have ended to tell; how many, and in how many milliseconds.
    Few(u64, u64),
    /// Next to nobody writes, or it cannot be known.
    Nobody,
}

/// Reads the counters of a source.
pub(super) struct Readings {
    source: Arc<dyn Source>,
    world: Arc<dyn World>,
    state: Mutex<State>,
}

/// Times are those of [`World::elapsed_ms`].
#[derive(Default)]
struct State {
    /// When the source was last asked what came of the writes since a reading, or somebody took his turn to, if ever.
    asked_ms: Option<u64>,
    /// The reading that the next one is compared with, and when it was taken.
    last: Option<(u64, WriteLatency)>,
}

impl Readings {
    pub(super) fn new(source: &Arc<dyn Source>, world: &Arc<dyn World>) -> Readings {
        Readings { source: Arc::clone(source), world: Arc::clone(world), state: Mutex::default() }
    }

    /// True when there is no reading to compare the next one with.
    pub(super) fn is_empty(&self) -> bool {
        self.state().last.is_none()
    }

    /// True when the source was asked so before, but not in the last `ms` milliseconds.
    pub(super) fn are_older_than(&self, ms: u64) -> bool {
        let now = self.world.elapsed_ms();
        self.state().asked_ms.is_some_and(|asked| now.saturating_sub(asked) > ms)
    }

    /// True for the one who is to ask, `ms` milliseconds after it was last done.
    pub(super) fn takes_turn_after(&self, ms: u64) -> bool {
        let now = self.world.elapsed_ms();
        let mut state = self.state();
        let is_due = state.asked_ms.is_none_or(|asked| now.saturating_sub(asked) >= ms);
        if is_due {
            state.asked_ms = Some(now);
        }
        is_due
    }

    /// Takes the reading that the next one is compared with.
    pub(super) async fn begin_anew(&self) {
        let latency = self.read().await;
        let now = self.world.elapsed_ms();
        self.state().last = latency.map(|latency| (now, latency));
    }

    /// What was written since the last reading; when that is enough to tell, the next is compared with this one.
    pub(super) async fn since_last(&self) -> Writes {
        let Some(latency) = self.read().await else { return Writes::Nobody };
        let now = self.world.elapsed_ms();
        let mut state = self.state();
        state.asked_ms = Some(now);
        let Some((taken, last)) = state.last else {
            state.last = Some((now, latency));
            return Writes::Few(0, 0);
        };
        let writes = latency.writes.saturating_sub(last.writes);
        let passed = now.saturating_sub(taken);
        // Writes that nobody has ended yet may be the slowest of all.
        if writes < FEW_WRITES && passed < NOBODY_MS {
            return Writes::Few(writes, passed);
        }
        state.last = Some((now, latency));
        if writes < FEW_WRITES {
            return Writes::Nobody;
        }
        Writes::Took(Duration::from_micros(latency.micros.saturating_sub(last.micros) / writes))
    }

    async fn read(&self) -> Option<WriteLatency> {
        match self.source.write_latency().await {
            Ok(latency) => latency,
            Err(error) => {
                tracing::debug!(%error, "how long writes take is not known");
                None
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
