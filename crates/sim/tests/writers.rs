//! Many writers on one vault over a network that loses, doubles, delays and reorders, with processes that die and stall at
//! every step and a stranger who deletes commits: the real ledger and vault, moved request by request by a seed.
//!
//! ```text
//!   captures that claim · one that claims nothing · scans · compactor · collector · reader      processes.rs
//!                │ each request waits for its turn; its fate is drawn
//!   Wire ────────┴─▶ effects, in order ──▶ witness: L1, L2, R1, fences                           witness.rs
//!   at rest ──▶ the chain as it was made, every record as the oracle says (A1, A2)               run.rs
//! ```
//!
//! 200 seeds, or 10,000 with `BACKSTAY_SOAK=1`; `BACKSTAY_SEED` repeats one. What a run does is decided by its seed alone.
#![allow(clippy::unwrap_used)]

#[path = "writers/processes.rs"]
mod processes;
#[path = "writers/reading.rs"]
mod reading;
#[path = "writers/run.rs"]
mod run;
#[path = "writers/witness.rs"]
mod witness;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backstay_sim::Wire;
use processes::Tally;
use run::Run;

const NAME: &str = "shop";
const STREAM: &str = "toy";

fn seeds() -> std::ops::Range<u64> {
    let given = std::env::var("BACKSTAY_SEED").ok().and_then(|seed| seed.parse().ok());
    let soak = std::env::var("BACKSTAY_SOAK").is_ok_and(|value| value == "1");
    given.map_or(0..if soak { 10_000 } else { 200 }, |seed: u64| seed..seed + 1)
}

/// The first seed of these that goes wrong, and how; tries them on all cores.
fn first_wrong(seeds: std::ops::Range<u64>, wire: fn() -> Wire, tally: &Arc<Tally>) -> Option<(u64, String)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let next = AtomicU64::new(seeds.start);
    let wrong: Mutex<Option<(u64, String)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let _inside = runtime.enter();
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= seeds.end || wrong.lock().unwrap().is_some() {
                        return;
                    }
                    let run = std::panic::AssertUnwindSafe(|| Run::of(seed, wire(), Arc::clone(tally)));
                    let why = match std::panic::catch_unwind(run) {
                        Ok(Ok(_)) => continue,
                        Ok(Err(why)) => why,
                        Err(_) => "it panicked".to_owned(),
                    };
                    wrong.lock().unwrap().get_or_insert((seed, why));
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

#[test]
fn many_writers_lose_nothing() {
    let tally = Arc::new(Tally::default());
    if let Some((seed, why)) = first_wrong(seeds(), Wire::new, &tally) {
        panic!("BACKSTAY_SEED={seed} repeats it: {why}");
    }
    let counts = tally.counts();
    println!("{counts:?}");
    // What never happens is not tested.
    if seeds().count() >= 200 {
        for (what, count) in counts {
            assert!(count > 0, "{what} never happened in {} runs", seeds().count());
        }
    }
}

#[test]
fn a_store_that_writes_over_what_is_there_is_caught() {
    let (_, why) = first_wrong(0..50, Wire::that_overwrites, &Arc::default()).expect("50 seeds find it");
    assert!(why.starts_with("L1") || why.starts_with("L2") || why.contains("written over"), "{why}");
}
