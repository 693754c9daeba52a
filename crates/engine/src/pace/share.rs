//! Which share of the time a scan may read, by how long the source's users wait for their writes. Pure.
//!
//! ```text
//!   mean of a look   at most the target, and     above either    above the ceiling
//!                    not much above quiet
//!   share            grows, up to all            falls a third   the least
//! ```
//!
//! So it rises slowly and falls fast, as networks do it (additive increase, multiplicative decrease). What writes take when
//! nobody scans, *quiet*, is measured before the scan and in its rests; a write that was quick anyhow may take longer.
//! The share never falls to nothing: a scan that stands still loses its snapshot, and in the end the feed.

use std::time::Duration;

/// The least share: what slows writes down may be the source's own doing, and the scan must end some day.
const LEAST: f64 = 0.05;
/// The share that a scan begins with where others write.
const SLOW_START: f64 = 0.1;
/// How much the share grows at each look that finds nothing wrong.
const GROWTH: f64 = 0.02;
/// What is left of it when there is something.
const DECAY: f64 = 2.0 / 3.0;
/// How much longer than in quiet writes may take.
const RISE: f64 = 1.25;
/// Writes that take less are quick, whatever they took before.
const QUICK: Duration = Duration::from_millis(5);
/// How much the latest mean counts: of a busy time, and of a quiet one.
const WEIGHT: f64 = 0.4;

/// The share, and what it is decided by.
pub(super) struct Share {
    target: Option<Duration>,
    ceiling: Option<Duration>,
    fraction: f64,
    /// Seconds that a write takes when nothing is read, smoothed.
    quiet: Option<f64>,
    /// The same beside the scan.
    busy: Option<f64>,
}

impl Share {
    /// All of the time, until a mean is known.
    pub(super) fn new(target: Option<Duration>, ceiling: Option<Duration>) -> Share {
        Share { target, ceiling, fraction: 1.0, quiet: None, busy: None }
    }

    /// Above 0, at most 1.
    pub(super) fn fraction(&self) -> f64 {
        self.fraction
    }

    /// True when what writes take in quiet matters for the share.
    pub(super) fn needs_quiet(&self) -> bool {
        self.target.is_some() && self.busy.is_some_and(|busy| busy > QUICK.as_secs_f64())
    }

    /// Before a scan, others write: it begins slowly.
    pub(super) fn start(&mut self, mean: Duration) {
        self.rested(mean);
        self.fraction = self.fraction.min(SLOW_START);
    }

    /// The mean of a time in which nothing was read.
    pub(super) fn rested(&mut self, mean: Duration) {
        self.quiet = Some(smoothed(self.quiet, mean));
    }

    /// The mean of a time in which there was reading; `None` when next to nobody wrote. True when it is above the ceiling.
    pub(super) fn worked(&mut self, mean: Option<Duration>) -> bool {
        self.busy = mean.map(|mean| smoothed(self.busy, mean));
        let is_above = |bound: Option<Duration>| mean.zip(bound).is_some_and(|(mean, bound)| mean > bound);
        let has_risen =
            self.needs_quiet() && self.busy.zip(self.quiet).is_some_and(|(busy, quiet)| busy > quiet * RISE);
        self.fraction = if is_above(self.ceiling) {
            LEAST
        } else if is_above(self.target) || has_risen {
            (self.fraction * DECAY).max(LEAST)
        } else {
            (self.fraction + GROWTH).min(1.0)
        };
        is_above(self.ceiling)
    }
}

fn smoothed(before: Option<f64>, mean: Duration) -> f64 {
    let mean = mean.as_secs_f64();
    before.map_or(mean, |before| before + WEIGHT * (mean - before))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn after(share: &mut Share, looks: usize, mean: Duration) -> f64 {
        (0..looks).for_each(|_| _ = share.worked(Some(mean)));
        share.fraction()
    }

    #[test]
    fn writes_that_take_longer_than_in_quiet_slow_it_down_below_the_target_too() {
        let mut share = Share::new(Some(ms(50)), None);
        share.start(ms(10));
        assert!(after(&mut share, 1, ms(10)) < 0.2, "it begins slowly");
        assert!(after(&mut share, 60, ms(11)) >= 1.0, "a little longer is nothing");
        assert_eq!(after(&mut share, 60, ms(30)), LEAST);
        (0..20).for_each(|_| share.rested(ms(30)));
        assert!(after(&mut share, 60, ms(30)) >= 1.0, "it is not the scan that makes them slow");
        assert_eq!(after(&mut share, 60, ms(60)), LEAST, "the target is a bound for all that");
    }

    #[test]
    fn quick_writes_may_take_several_times_as_long() {
        let mut share = Share::new(Some(ms(50)), None);
        share.start(ms(1));
        assert!(after(&mut share, 60, ms(4)) >= 1.0);
        assert!(!share.needs_quiet());
    }

    #[test]
    fn without_a_target_only_the_ceiling_counts() {
        let mut share = Share::new(None, Some(ms(100)));
        share.start(ms(1));
        assert!(after(&mut share, 60, ms(99)) >= 1.0);
        assert!(share.worked(Some(ms(101))));
        assert_eq!(share.fraction(), LEAST);
    }

    #[test]
    fn where_nobody_writes_it_grows() {
        let mut share = Share::new(Some(ms(50)), None);
        after(&mut share, 60, ms(60));
        (0..60).for_each(|_| _ = share.worked(None));
        assert_eq!(share.fraction(), 1.0);
    }
}
