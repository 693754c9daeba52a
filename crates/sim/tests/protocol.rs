//! The commit protocol of the ledger, walked through exhaustively in small: captures that claim a stream, compactors that
//! replace, a collector, an eraser that leaves delete markers, lost answers, crashes, everybody as slow as they like.
//!
//! The model (`protocol/model.rs`) says in some 300 lines what `backstay-ledger` does at each durable step. That the model
//! can fail is part of the tests: each rule of the protocol is taken away once, and the explorer must find the history
//! that breaks.
#![allow(clippy::unwrap_used)]

#[path = "protocol/model.rs"]
mod model;

use backstay_sim::explore::explore;
use model::{Protocol, Role, Rule};

const LIMIT: usize = 3_000_000;

/// Twice as much goes wrong in a long run.
fn soak() -> u8 {
    u8::from(std::env::var("BACKSTAY_SOAK").is_ok_and(|value| value == "1"))
}

/// Two captures of one stream that take it from one another, one of which may die, with names deleted behind them.
fn captures(without: Option<Rule>) -> Protocol {
    Protocol {
        roles: vec![Role::Capture, Role::Capture],
        rounds: 1 + soak(),
        lost: 2,
        crashes: soak(),
        erasures: 1 + soak(),
        without,
    }
}

/// A capture, and a collector that raises the floor as high as it can at the worst of moments.
fn collecting(without: Option<Rule>) -> Protocol {
    let roles = vec![Role::Capture, Role::Collector, Role::Compactor];
    Protocol { roles, rounds: 1, lost: 1, crashes: 1, erasures: 0, without }
}

/// Two compactors that want to replace the same segments.
fn compacting(without: Option<Rule>) -> Protocol {
    let roles = vec![Role::Compactor, Role::Compactor, Role::Capture];
    Protocol { roles, rounds: 1, lost: 1, crashes: soak(), erasures: soak(), without }
}

fn holds(protocol: &Protocol) {
    let explored = explore(protocol, LIMIT);
    println!("{} states", explored.states);
    if let Some((why, way)) = explored.broken {
        panic!("{why}, after {way:#?}");
    }
    assert!(explored.states > 1000, "{} states: the model does next to nothing", explored.states);
}

#[track_caller]
fn breaks(protocol: &Protocol, expected: &str) {
    let explored = explore(protocol, LIMIT);
    let (why, way) = explored.broken.expect("without this rule something breaks");
    assert!(why.starts_with(expected), "{why}, after {way:#?}");
}

#[test]
fn captures_that_take_over_from_one_another_lose_nothing() {
    holds(&captures(None));
}

#[test]
fn collecting_takes_nothing_that_is_needed() {
    holds(&collecting(None));
}

#[test]
fn one_compactor_replaces_and_the_other_finds_out() {
    holds(&compacting(None));
}

#[test]
fn without_looking_beyond_a_win_a_commit_is_lost() {
    breaks(&captures(Some(Rule::LookBeyond)), "L2");
}

#[test]
fn without_adding_only_once_a_lost_answer_doubles_a_commit() {
    breaks(&captures(Some(Rule::Once)), "L1");
}

#[test]
fn without_fencing_two_captures_interleave() {
    breaks(&captures(Some(Rule::Fence)), "fencing");
}

#[test]
fn without_the_floor_a_slow_writer_commits_what_was_collected() {
    breaks(&collecting(Some(Rule::Floor)), "R1");
}

#[test]
fn without_raising_the_floor_first_what_waits_for_its_commit_is_collected() {
    breaks(&collecting(Some(Rule::FloorBeforeDelete)), "R1");
}

#[test]
fn without_checking_the_inputs_anew_they_are_replaced_twice() {
    breaks(&compacting(Some(Rule::LiveInputs)), "L1");
}
