//! A limit on requests or bytes a second.
//!
//! Each taker is told the instant from which its share may flow: the end of all shares before it. What was not used stays
//! good for a short burst, so that a pause is not lost to those who come in waves. Time is tokio's, which tests pause.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much of what was not used may be used at once.
const BURST: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    /// When everything promised so far has flowed.
    done: Mutex<Option<Instant>>,
}

impl Pace {
    /// `per_second` is above 0.
    pub fn new(per_second: f64) -> Pace {
        Pace { per_second, done: Mutex::new(None) }
    }

    /// The instant from which `amount` may flow.
    pub fn reserve(&self, amount: u64) -> Instant {
        let now = Instant::now();
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = done.map_or(earliest, |done| done.max(earliest));
        // Hours ahead are as good as never; the bound keeps a tiny limit from overflowing the clock.
        let takes = (amount as f64 / self.per_second).min(86_400.0);
        *done = Some(start + Duration::from_secs_f64(takes));
        start.max(now)
    }

    pub async fn take(&self, amount: u64) {
        tokio::time::sleep_until(self.reserve(amount)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_holds_over_time_and_lets_a_burst_pass() {
        let pace = Pace::new(100.0);
        let start = Instant::now();
        for _ in 0..25 {
            pace.take(1).await;
        }
        assert!(start.elapsed() <= Duration::from_millis(1), "the burst");
        for _ in 0..200 {
            pace.take(1).await;
        }
        let took = start.elapsed();
        assert!((1.95..2.05).contains(&took.as_secs_f64()), "{took:?}");
        // A pause gives no more than the burst.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..126 {
            pace.take(1).await;
        }
        let took = start.elapsed();
        assert!((0.95..1.05).contains(&took.as_secs_f64()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn takers_at_once_share() {
        let pace = Pace::new(1000.0);
        let start = Instant::now();
        futures::future::join_all((0..10).map(|_| pace.take(500))).await;
        let took = start.elapsed();
        assert!((4.2..4.6).contains(&took.as_secs_f64()), "the tenth waits for nine: {took:?}");
    }
}
