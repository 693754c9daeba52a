//! A2, A3: whatever happened, the archive answers as the oracle does, as of every instant. A1: and it answers the same
//! after its tails have been sorted.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_archive::Limits;
use backstay_sim::Chance;
use proptest::prelude::*;
use rig::{Rig, block_on, cases, compare, interpreter};

/// A life of a toy: before the capture, during the scan, and afterwards in several tails.
#[derive(Clone, Debug)]
struct Life {
    before: Vec<u64>,
    until_scan: Vec<u64>,
    during: Vec<u64>,
    after: Vec<Vec<u64>>,
    seed: u64,
}

fn lives() -> impl Strategy<Value = Life> {
    let actions = |max: usize| prop::collection::vec(any::<u64>(), 0..max);
    let after = prop::collection::vec(prop::collection::vec(any::<u64>(), 0..25), 1..5);
    (actions(60), actions(15), actions(30), after, any::<u64>())
        .prop_map(|(before, until_scan, during, after, seed)| Life { before, until_scan, during, after, seed })
}

/// Small enough that a few changes need scratch sorting, and a few records several partitions.
fn small() -> Limits {
    Limits { tail_budget: 700, chunk: 1 << 20, partition: 500 }
}

async fn archived(life: &Life, limits: Limits) -> Rig {
    let mut rig = Rig::new(limits).await;
    for name in ["shop.a", "shop.b"] {
        rig.toy.create(name);
    }
    rig.act(&life.before);
    rig.begin().await;
    rig.act(&life.until_scan);
    rig.base(&life.during, life.seed).await;
    for actions in &life.after {
        rig.act(actions);
        rig.capture().await;
    }
    rig
}

async fn check(rig: &Rig, chance: &mut Chance) {
    let oracle = rig.toy.oracle();
    let snapshot = rig.snapshot(rig.toy.now()).await;
    for at in rig.instants(chance, 4) {
        compare(&snapshot, &oracle, rig.consistent, at, chance).await;
    }
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn the_archive_answers_as_the_oracle(life in lives()) {
        block_on(async {
            let rig = archived(&life, Limits::default()).await;
            check(&rig, &mut Chance::new(life.seed)).await;
        });
    }

    #[test]
    fn small_memory_changes_no_answer(life in lives()) {
        block_on(async {
            let rig = archived(&life, small()).await;
            check(&rig, &mut Chance::new(life.seed)).await;
        });
    }

    #[test]
    fn sorting_changes_no_answer(life in lives()) {
        block_on(async {
            let limits = if life.seed % 2 == 0 { Limits::default() } else { small() };
            let mut rig = Rig::new(limits).await;
            rig.toy.create("shop.a");
            rig.act(&life.before);
            rig.begin().await;
            rig.act(&life.until_scan);
            rig.base(&life.during, life.seed).await;
            let chance = &mut Chance::new(life.seed);
            for actions in &life.after {
                if chance.once_in(2) {
                    rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
                }
                rig.act(actions);
                rig.capture().await;
                if chance.once_in(3) {
                    check(&rig, chance).await;
                }
            }
            check(&rig, &mut Chance::new(life.seed)).await;
            rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
            prop_assert_eq!(rig.vault.state().await.tails().len(), 0);
            check(&rig, &mut Chance::new(life.seed)).await;
            Ok(())
        })?;
    }
}
