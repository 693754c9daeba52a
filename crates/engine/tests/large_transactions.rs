//! What shares a tick and is more than a batch, a tail, or the memory for reading: all of it or none, and in its order.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;
use std::time::Duration;

use backstay_archive::Limits;
use backstay_engine::{CaptureOptions, Monitor, Until};
use backstay_model::Tick;
use backstay_sim::toy::{Operation, Record, ToyInterpreter};
use proptest::prelude::*;
use rig::cutting::Cutting;
use rig::twisted::Twisted;
use rig::{Rig, block_on, cases};

/// Readers and sorting hold a few entries at a time.
fn small() -> Limits {
    Limits { tail_budget: 200, chunk: 1 << 20, partition: 500 }
}

async fn begun(limits: Limits) -> Rig {
    let rig = Rig::with_limits(limits).await;
    rig.toy.define("shop.orders", |definition| definition.with("indexes", "by-colour")).unwrap();
    for number in 0..6u8 {
        rig.put("shop.orders", &[b'a' + number], if number % 2 == 0 { "acme" } else { "bolt" }, "red");
    }
    rig.backup().await;
    rig
}

fn cutting(rig: &Rig, entries: usize) -> Twisted<Cutting> {
    Twisted(Cutting { inner: rig.source.clone(), entries, lost_after: None })
}

/// Changes of few records at one tick, in an order that matters.
fn operations(numbers: &[u8]) -> Vec<Operation> {
    let operation = |(at, number): (usize, &u8)| {
        let (name, id) = ("shop.orders".to_owned(), vec![b'a' + number % 7]);
        match number / 7 % 6 {
            0 => Operation::Delete { name, id },
            1 => Operation::Move { name, id, tenant: if at % 2 == 0 { "acme" } else { "bolt" }.to_owned() },
            2 => {
                let record = Record::new(&id).with("tenant", "acme").with("colour", "new");
                Operation::Put { name, record }
            }
            _ => Operation::Append { name, id, field: "colour".to_owned(), more: format!("-{at}") },
        }
    };
    numbers.iter().enumerate().map(operation).collect()
}

fn large() -> Vec<Operation> {
    let numbers: Vec<u8> = (0..60u8).map(|number| number.wrapping_mul(37)).collect();
    operations(&numbers)
}

async fn tails_by_tick(rig: &Rig) -> BTreeMap<Tick, usize> {
    let mut tails = BTreeMap::new();
    for tail in rig.vault().await.state().await.tails() {
        *tails.entry(tail.last).or_default() += 1;
    }
    tails
}

async fn check_all(rig: &Rig) {
    for at in rig.covered().await {
        rig.check(at).await;
    }
    assert_eq!(rig.toy.now(), rig.vault().await.coverage().await.through);
}

#[test]
fn a_transaction_of_many_tails_is_read_and_sorted_as_one() {
    block_on(async {
        for limits in [Limits::default(), small()] {
            let rig = begun(limits).await;
            rig.append("shop.orders", b"a", "before");
            let at = rig.toy.apply(&large(), false).unwrap();
            rig.put("shop.orders", b"z", "bolt", "after");
            rig.capture_from(&cutting(&rig, 3)).await.unwrap();
            let tails = tails_by_tick(&rig).await;
            assert!(tails[&at] > 10, "{tails:?}");
            check_all(&rig).await;
            rig.compact().await;
            assert!(tails_by_tick(&rig).await.is_empty());
            check_all(&rig).await;
            assert_eq!(rig.backup().await.drift, Some(0));
        }
    });
}

#[test]
fn a_crash_at_any_step_of_storing_or_sorting_its_tails_leaves_all_of_it_or_none() {
    block_on(async {
        let (mut steps, mut parts) = (0, 0);
        for step in 0.. {
            let rig = begun(small()).await;
            rig.append("shop.orders", b"a", "before");
            let at = rig.toy.apply(&large(), false).unwrap();
            rig.put("shop.orders", b"z", "bolt", "after");
            rig.faulty.crash_after(step);
            let captured = rig.capture_from(&cutting(&rig, 8)).await;
            let sorted = match &captured {
                Ok(_) => rig.vault().await.compact(&ToyInterpreter, |_, _| {}).await.is_ok(),
                Err(_) => false,
            };
            rig.faulty.revive();
            let vault = rig.vault().await;
            let (covered, tails) = (vault.coverage().await.through >= at, tails_by_tick(&rig).await);
            let found = tails.get(&at).copied().unwrap_or(0);
            assert!(covered || found == 0, "step {step}: {found} tails, and the frontier stands before them");
            if parts == 0 {
                parts = found;
            }
            assert!([0, parts].contains(&found), "step {step}: {found} of {parts} tails");
            rig.capture_from(&cutting(&rig, 8)).await.unwrap();
            check_all(&rig).await;
            rig.compact().await;
            check_all(&rig).await;
            if sorted {
                steps = step;
                break;
            }
        }
        assert!(steps > 12 && parts > 2, "{steps} steps, {parts} tails");
    });
}

#[test]
fn a_feed_that_is_lost_within_it_is_read_again() {
    block_on(async {
        for lost_after in 0..12 {
            let rig = begun(Limits::default()).await;
            rig.append("shop.orders", b"a", "before");
            rig.toy.apply(&large(), false).unwrap();
            let losing = Twisted(Cutting { lost_after: Some(lost_after), ..cutting(&rig, 7).0 });
            let options = CaptureOptions { until: Until::Cancelled, tick: Duration::ZERO };
            let monitor = Monitor::default();
            let vault = rig.vault().await;
            let follow = backstay_engine::capture(&vault, &losing, options, &monitor);
            let stop = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                monitor.cancel();
            };
            tokio::join!(follow, stop).0.unwrap();
            let report = rig.capture_from(&cutting(&rig, 7)).await.unwrap();
            assert_eq!(report.through, rig.toy.now());
            check_all(&rig).await;
        }
    });
}

proptest! {
    #![proptest_config(cases(30))]

    /// However ticks are cut into batches, and whenever tails are sorted: what is read is what was true.
    #[test]
    fn where_a_feed_is_cut_changes_no_answer(
        rounds in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..30), 1..9usize, any::<bool>()), 1..5),
        is_small in any::<bool>(),
    ) {
        block_on(async {
            let rig = begun(if is_small { small() } else { Limits::default() }).await;
            for (numbers, entries, sort) in rounds {
                let (together, alone) = numbers.split_at(numbers.len() * 2 / 3);
                rig.toy.apply(&operations(together), false);
                for operation in operations(alone) {
                    rig.toy.apply(&[operation], false);
                }
                rig.capture_from(&cutting(&rig, entries)).await.unwrap();
                if sort {
                    rig.compact().await;
                }
            }
            check_all(&rig).await;
        });
    }
}
