//! Trying again.

use std::time::Duration;

use super::Cloud;
use super::trouble::{Failure, Remedy};
use crate::{Chance, Patience, Result};

/// A service that asks for mercy gets at least this much.
const SHORTEST_MERCY: Duration = Duration::from_secs(1);
/// A service that asks for more mercy than this is taken at its word only so far.
const LONGEST_MERCY: Duration = Duration::from_secs(60);

/// The tries of one piece of work.
pub(super) struct Tries<'c> {
    patience: Patience,
    chance: &'c Chance,
    made: u32,
}

impl<'c> Tries<'c> {
    pub fn new(patience: Patience, chance: &'c Chance) -> Tries<'c> {
        Tries { patience, chance, made: 0 }
    }

    /// Something was gained: the tries count from the beginning.
    pub fn renew(&mut self) {
        self.made = 0;
    }

    /// Waits before the next try. The failure comes back as an error when it is final or the tries are used up.
    pub async fn pause(&mut self, failure: Failure) -> Result<()> {
        self.made += 1;
        if failure.remedy == Remedy::None || self.made >= self.patience.tries {
            return Err(failure.error);
        }
        let pause = self.next_pause(failure.remedy);
        tracing::info!(error = %failure.error, tries = self.made, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn next_pause(&self, remedy: Remedy) -> Duration {
        let Patience { first_pause, longest_pause, .. } = self.patience;
        let doubled = first_pause.saturating_mul(1 << (self.made - 1).min(16)).min(longest_pause);
        let mut random = [0; 2];
        (self.chance)(&mut random);
        // Those who failed together must not come back together.
        let part = 1.0 - f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX) / 2.0;
        let pause = doubled.mul_f64(part);
        match remedy {
            Remedy::Later(None) => pause.max(SHORTEST_MERCY.min(longest_pause)),
            Remedy::Later(Some(asked)) => pause.max(asked.min(LONGEST_MERCY)),
            Remedy::None | Remedy::Again => pause,
        }
    }
}

impl Cloud {
    pub(super) fn tries(&self) -> Tries<'_> {
        Tries::new(self.patience, &self.chance)
    }

    /// Does what can be done twice without harm, until it succeeds or fails for good.
    pub async fn retry<T, F: Future<Output = Result<T, Failure>>>(&self, work: impl Fn() -> F) -> Result<T> {
        let mut tries = self.tries();
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(failure) => tries.pause(failure).await?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::Error;

    async fn pauses(chance: u8, remedy: Remedy) -> Vec<f64> {
        let chance: Chance = Arc::new(move |bytes| bytes.fill(chance));
        let mut tries = Tries::new(Patience::default(), &chance);
        let mut pauses = Vec::new();
        loop {
            let start = Instant::now();
            let error = Error::Unavailable { path: "p".into(), source: "x".into() };
            match tries.pause(Failure { error, remedy }).await {
                Ok(()) => pauses.push((start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0),
                Err(_) => return pauses,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_with_jitter_up_to_a_bound() {
        assert_eq!(pauses(0, Remedy::Again).await, [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]);
        assert_eq!(pauses(255, Remedy::Again).await, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]);
        assert_eq!(pauses(0, Remedy::Later(None)).await[..3], [1.0, 1.0, 1.0]);
        let asked = Some(Duration::from_secs(7));
        assert_eq!(pauses(0, Remedy::Later(asked)).await[5..], [7.0, 10.0]);
        assert_eq!(pauses(0, Remedy::None).await, [0.0; 0]);
    }
}
