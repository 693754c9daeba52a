//! Does this storage keep the promises that Backstay needs?
//!
//! ```text
//!   checks ──► promises ──► usable?        creates, races, reads, lists, deletes under probe/<id>, and cleans up
//! ```
//!
//! What a product's page says about its S3 counts for nothing here: a release of a well-known server let every racing
//! writer win. So each promise is tried. A race that is won by one writer a hundred times may still be won by two the next
//! time: a check can show that a promise is broken, and only suggest that it is kept.

mod checks;

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::{Result, Store};

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The storage does it.
    Kept,
    /// The storage does otherwise.
    Broken,
    /// The storage does not offer it.
    Absent,
    /// It could not be found out.
    Unknown,
}

/// One thing that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Its name, for programs.
    pub check: &'static str,
    /// What was found.
    pub verdict: Verdict,
    /// The same in words.
    pub detail: String,
}

/// What Backstay may promise on this storage.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Promise {
    /// The promise in words.
    pub promise: &'static str,
    /// Backstay cannot do without.
    pub needed: bool,
    /// Whether it may be given.
    pub kept: bool,
    /// The checks that decide.
    pub checks: &'static [&'static str],
}

/// All that was found.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The storage.
    pub place: String,
    /// Every promise that Backstay cannot do without is kept.
    pub usable: bool,
    /// What Backstay may promise here.
    pub promises: Vec<Promise>,
    /// What was tried.
    pub checks: Vec<Check>,
    /// What the storage does not let be removed, for instance because it locks every new object.
    pub left_behind: Vec<String>,
}

/// How much is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effort {
    /// How many tasks race for one name.
    pub racers: usize,
    /// How often.
    pub rounds: usize,
    /// How long the object is locked that tries the lock.
    pub lock: Duration,
}

impl Default for Effort {
    /// A few seconds and some three hundred requests: a tenth of a cent.
    fn default() -> Effort {
        Effort { racers: 16, rounds: 8, lock: Duration::from_secs(4) }
    }
}

/// Clocks further apart than this make a lock, or "two hours ago", mean something else there than here.
const CLOCKS_APART: Duration = Duration::from_secs(5);

/// Which checks stand behind which promise. All that apply to this kind of storage must be kept.
struct Rule {
    promise: &'static str,
    needed: bool,
    checks: &'static [&'static str],
}

const RULES: &[Rule] = &[
    Rule {
        promise: "several processes may write to one archive at once, and none overwrites another",
        needed: true,
        checks: &["create", "race"],
    },
    // Only segments are so large, and their names are random: nobody races for them.
    Rule {
        promise: "that holds for objects of more than 64 MiB too, which are uploaded in parts",
        needed: false,
        checks: &["create", "race", "race_parts"],
    },
    Rule { promise: "what was acknowledged is there for everybody at once", needed: true, checks: &["read", "list"] },
    Rule { promise: "any part of an object can be read exactly", needed: true, checks: &["ranges"] },
    Rule {
        promise: "a write whose answer was lost is recognised without reading it back",
        needed: false,
        checks: &["marks"],
    },
    Rule {
        promise: "bytes that are altered on their way are noticed at once",
        needed: false,
        checks: &["sums", "marks"],
    },
    Rule {
        promise: "what somebody deletes can be brought back from older versions",
        needed: false,
        checks: &["versions"],
    },
    Rule {
        promise: "what is locked cannot be deleted before its time, not with stolen keys either",
        needed: false,
        checks: &["versions", "lock"],
    },
    Rule { promise: "times mean the same here and there", needed: false, checks: &["clock"] },
];

/// Tries the storage below `probe/` and a part made of `id`, and removes what it made. `now` is the clock here.
///
/// # Errors
/// When nothing can be written at all: the storage does not answer, the bucket is missing, or access is denied.
pub async fn probe(
    store: &Store,
    id: [u8; 16],
    effort: Effort,
    now: &(dyn Fn() -> SystemTime + Sync),
) -> Result<Report> {
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let prober = checks::Prober { store, root: format!("probe/{id}"), effort, now };
    let checks = prober.run().await;
    let left_behind = prober.clean_up().await;
    let (checks, left_behind) = (checks?, left_behind?);
    let promises: Vec<Promise> = RULES
        .iter()
        .map(|rule| Promise {
            promise: rule.promise,
            needed: rule.needed,
            kept: is_kept(rule, &checks),
            checks: rule.checks,
        })
        .collect();
    let usable = promises.iter().all(|promise| promise.kept || !promise.needed);
    Ok(Report { place: store.to_string(), usable, promises, checks, left_behind })
}

/// Every check that was made must be kept, and at least one was made.
fn is_kept(rule: &Rule, checks: &[Check]) -> bool {
    let mut made = checks.iter().filter(|check| rule.checks.contains(&check.check)).peekable();
    made.peek().is_some() && made.all(|check| check.verdict == Verdict::Kept)
}

#[cfg(test)]
mod tests;
