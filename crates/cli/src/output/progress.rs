//! How far long work has come.
//!
//! ```text
//!   terminal          a bar on stderr with rate and time left
//!   elsewhere         a line on stderr every 30 s
//!   --json            a `status` line on stdout, at most one a second, and one for each commit of what is followed
//! ```
//!
//! Counting is cheap and may be done from many threads; call it once a batch, not once a record.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backstay_model::Tick;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;

use super::{Output, human};

const LINE_EVERY: Duration = Duration::from_secs(30);
const STATUS_EVERY: Duration = Duration::from_secs(1);
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bytes of the source or the archive.
    Bytes,
    /// Records.
    Records,
    /// Entries of a change feed.
    Entries,
    /// Objects of the archive.
    Objects,
}

impl Unit {
    fn show(self, amount: u64) -> String {
        match self {
            Unit::Bytes => human::bytes(amount),
            Unit::Records => format!("{} records", human::count(amount)),
            Unit::Entries => format!("{} entries", human::count(amount)),
            Unit::Objects => format!("{} objects", human::count(amount)),
        }
    }
}

/// How far one piece of work has come. Disappears from the terminal when it is dropped.
pub struct Progress {
    output: Arc<Output>,
    action: &'static str,
    unit: Unit,
    done: AtomicU64,
    total: AtomicU64,
    through: Mutex<Option<Tick>>,
    started: Instant,
    look: Look,
}

enum Look {
    Bar(ProgressBar),
    Lines(Mutex<Pace>),
    Status(Mutex<Pace>),
}

impl Progress {
    /// Starts to show `action` (such as `backup`), counted in `unit`. The total may become known later.
    pub fn start(output: &Arc<Output>, action: &'static str, unit: Unit) -> Progress {
        let look = if output.is_json() {
            Look::Status(Mutex::new(Pace::new(STATUS_EVERY)))
        } else if io::stderr().is_terminal() {
            Look::Bar(output.bars().add(bar(action, unit)))
        } else {
            Look::Lines(Mutex::new(Pace::new(LINE_EVERY)))
        };
        let (done, total) = (AtomicU64::new(0), AtomicU64::new(0));
        let through = Mutex::default();
        Progress { output: Arc::clone(output), action, unit, done, total, through, started: Instant::now(), look }
    }

    /// Sets how much there is in all; zero means that nobody knows.
    pub fn set_total(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
        if let (Look::Bar(bar), true) = (&self.look, total > 0) {
            bar.set_length(total);
        }
    }

    /// Counts so much more as done.
    pub fn advance(&self, amount: u64) {
        let done = self.done.fetch_add(amount, Ordering::Relaxed).saturating_add(amount);
        self.show(done);
    }

    /// Sets how much is done.
    pub fn set_done(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.show(done);
    }

    /// Says that everything up to and with `through` is committed.
    pub fn reached(&self, through: Tick) {
        *self.through.lock().unwrap_or_else(PoisonError::into_inner) = Some(through);
        match &self.look {
            Look::Bar(bar) => bar.set_message(format!("{}, {}", self.action, behind(through))),
            Look::Lines(_) => {}
            Look::Status(_) => {
                let standing = self.standing(self.done.load(Ordering::Relaxed));
                drop(self.output.message("status", &standing.status()));
            }
        }
    }

    fn standing(&self, done: u64) -> Standing {
        let total = match self.total.load(Ordering::Relaxed) {
            0 => None,
            total => Some(total.max(done)),
        };
        let through = *self.through.lock().unwrap_or_else(PoisonError::into_inner);
        Standing { action: self.action, unit: self.unit, done, total, through, elapsed: self.started.elapsed() }
    }

    fn show(&self, done: u64) {
        let (Look::Lines(pace) | Look::Status(pace)) = &self.look else {
            if let Look::Bar(bar) = &self.look {
                bar.set_position(done);
            }
            return;
        };
        // Whoever holds the lock is about to show the same.
        let Ok(mut pace) = pace.try_lock() else { return };
        if !pace.is_due(self.started.elapsed()) {
            return;
        }
        let standing = self.standing(done);
        match &self.look {
            // The work goes on when nobody reads its status any more; its summary will tell.
            Look::Status(_) => drop(self.output.message("status", &standing.status())),
            _ => self.output.note(&standing.line()),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Look::Bar(bar) = &self.look {
            bar.finish_and_clear();
        }
    }
}

fn bar(action: &'static str, unit: Unit) -> ProgressBar {
    let standing = move |state: &ProgressState| Standing {
        action,
        unit,
        done: state.pos(),
        total: state.len(),
        through: None,
        elapsed: state.elapsed(),
    };
    let style = ProgressStyle::with_template("{msg} {wide_bar:.cyan/blue} {standing}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("standing", move |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            // Formatting into indicatif's buffer does not fail.
            let _ = to.write_str(&standing(state).counts());
        });
    let bar = ProgressBar::no_length().with_style(style).with_message(action);
    bar.enable_steady_tick(DRAW_EVERY);
    bar
}

/// Lets something through every so often.
#[derive(Debug)]
struct Pace {
    every: Duration,
    next: Duration,
}

impl Pace {
    fn new(every: Duration) -> Pace {
        Pace { every, next: every }
    }

    fn is_due(&mut self, elapsed: Duration) -> bool {
        if elapsed < self.next {
            return false;
        }
        self.next = elapsed + self.every;
        true
    }
}

/// How far work has come at one moment.
struct Standing {
    action: &'static str,
    unit: Unit,
    done: u64,
    total: Option<u64>,
    through: Option<Tick>,
    elapsed: Duration,
}

#[derive(Serialize)]
struct Status {
    action: &'static str,
    unit: Unit,
    done: u64,
    total: Option<u64>,
    seconds: f64,
    rate: u64,
    seconds_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_seconds: Option<u64>,
}

/// How far what is committed is behind the clock.
fn lag_seconds(through: Tick) -> u64 {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
    now.saturating_sub(u64::from(through.seconds()))
}

fn behind(through: Tick) -> String {
    format!("{} behind", human::duration(Duration::from_secs(lag_seconds(through))))
}

impl Standing {
    fn rate(&self) -> u64 {
        human::rate(self.done, self.elapsed)
    }

    fn seconds_left(&self) -> Option<u64> {
        let left = self.total?.saturating_sub(self.done);
        left.checked_div(self.rate())
    }

    fn counts(&self) -> String {
        let done = self.unit.show(self.done);
        let rate = self.unit.show(self.rate());
        let of = match self.total {
            Some(total) if total > 0 => {
                let percent = u128::from(self.done) * 100 / u128::from(total);
                format!(" of {}, {} %", self.unit.show(total), percent.min(100))
            }
            _ => String::new(),
        };
        let left = match self.seconds_left() {
            Some(seconds) => format!(", {} left", human::duration(Duration::from_secs(seconds))),
            None => String::new(),
        };
        format!("{done}{of}, {rate}/s{left}")
    }

    fn line(&self) -> String {
        let behind = self.through.map(|through| format!(", {}", behind(through)));
        format!("{}: {}{}", self.action, self.counts(), behind.unwrap_or_default())
    }

    fn status(&self) -> Status {
        Status {
            action: self.action,
            unit: self.unit,
            done: self.done,
            total: self.total,
            seconds: self.elapsed.as_secs_f64(),
            rate: self.rate(),
            seconds_left: self.seconds_left(),
            through: self.through.map(|through| through.to_string()),
            lag_seconds: self.through.map(lag_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn standing(total: Option<u64>) -> Standing {
        let elapsed = Duration::from_secs(20);
        Standing { action: "backup", unit: Unit::Bytes, done: 20 << 20, total, through: None, elapsed }
    }

    #[test]
    fn a_line_tells_amount_rate_and_time_left() {
        assert_eq!(standing(Some(100 << 20)).line(), "backup: 20.0 MiB of 100 MiB, 20 %, 1.00 MiB/s, 1 min 20 s left");
        assert_eq!(standing(None).line(), "backup: 20.0 MiB, 1.00 MiB/s");
    }

    #[test]
    fn a_pace_lets_the_first_through_only_after_its_time() {
        let mut pace = Pace::new(Duration::from_secs(30));
        let due: Vec<bool> = [1, 29, 30, 31, 59, 61].map(|s| pace.is_due(Duration::from_secs(s))).to_vec();
        assert_eq!(due, [false, false, true, false, false, true]);
    }

    #[test]
    fn a_status_line_carries_the_numbers() {
        let status = serde_json::to_value(standing(Some(100 << 20)).status()).unwrap();
        assert_eq!(
            status,
            serde_json::json!({"action": "backup", "unit": "bytes", "done": 20_971_520, "total": 104_857_600,
                "seconds": 20.0, "rate": 1_048_576, "seconds_left": 80})
        );
    }

    #[test]
    fn counting_shows_nothing_before_its_time() {
        let (output, written) = Output::captured(true);
        let progress = Progress::start(&Arc::new(output), "backup", Unit::Records);
        progress.set_total(10);
        progress.advance(5);
        progress.set_done(7);
        assert_eq!(written.text(), "");
    }
}
