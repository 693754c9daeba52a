//! Named crash points.
//!
//! A crash point is a place between two durable steps at which a process may die. `BACKSTAY_CRASH_AT=name` ends the
//! process there as `kill -9` would, `name:3` the third time it is passed. Tests enumerate [`CRASH_POINTS`] and die at
//! each; without the variable a point costs one look at a static.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// All crash points, in the order in which a backup followed by a capture passes them.
pub const CRASH_POINTS: &[&str] = &[
    "backup.started",
    "backup.segment-stored",
    "backup.segment-committed",
    "backup.scanned",
    "backup.completed",
    "capture.tail-stored",
    "capture.tail-committed",
    "capture.gap-opened",
    "capture.reassigned",
    "compact.run-stored",
    "compact.run-committed",
    "restore.journaled",
    "restore.partition-written",
    "restore.exchanged",
    "restore.indexes-built",
];

struct Trigger {
    name: String,
    passes_left: AtomicU64,
}

/// Dies here if told to.
pub fn crash_point(name: &'static str) {
    static TRIGGER: OnceLock<Option<Trigger>> = OnceLock::new();
    debug_assert!(CRASH_POINTS.contains(&name), "the crash point {name} is listed");
    let trigger = TRIGGER.get_or_init(|| {
        let wanted = std::env::var("BACKSTAY_CRASH_AT").ok()?;
        let (name, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some(Trigger { name: name.to_owned(), passes_left: AtomicU64::new(count.parse().unwrap_or(1)) })
    });
    if let Some(trigger) = trigger
        && trigger.name == name
        && trigger.passes_left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}
