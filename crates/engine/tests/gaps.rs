//! Changes that nobody can read any more: a gap is named, scanned over, and no instant inside it is covered.
#![allow(clippy::unwrap_used)]

mod rig;

use async_trait::async_trait;
use backstay_engine::Error;
use backstay_model::{IdRange, Tick};
use backstay_sim::toy::{Operation, ToySource};
use backstay_sim::workload::Action;
use backstay_source::{Namespace, Records, Result as SourceResult, Source};
use proptest::collection::vec;
use proptest::prelude::*;
use rig::meddling::Meddling;
use rig::twisted::{Twist, Twisted};
use rig::{Rig, block_on, cases, everything};

/// Changes are lost behind the frontier: the last whole instant, and one in the gap.
async fn with_a_gap(rig: &Rig) -> (Tick, Tick) {
    rig.backup().await;
    rig.append("shop.orders", b"a", "1");
    rig.capture().await;
    let whole = rig.toy.now();
    rig.append("shop.orders", b"a", "2");
    rig.delete("shop.orders", b"b");
    rig.toy.create("shop.lost").unwrap();
    rig.put("shop.lost", b"l", "acme", "red");
    rig.give("shop.orders", b"c", "bolt");
    let lost = rig.toy.pass(5);
    rig.toy.roll_over(lost);
    rig.append("shop.orders", b"a", "3");
    (whole, lost)
}

#[test]
fn a_feed_that_rolled_over_is_a_gap_with_its_cause_and_is_scanned_over() {
    block_on(async {
        let rig = Rig::with_shop().await;
        let (whole, lost) = with_a_gap(&rig).await;
        let report = rig.capture().await;
        assert_eq!(report.gaps, 1);
        let coverage = rig.vault().await.coverage().await;
        let [gap] = coverage.gaps.as_slice() else { panic!("{coverage:?}") };
        assert!(gap.after == whole && gap.resumes.is_some_and(|resumes| resumes > lost), "{coverage:?}");
        assert!(gap.cause.contains("rolled over"), "{}", gap.cause);
        let target = backstay_sim::toy::ToySource::new(std::sync::Arc::default());
        match rig.restore_into(&target, &everything(lost)).await {
            Err(Error::Archive(backstay_archive::Error::NotCovered { before, after, .. })) => {
                assert_eq!((before, after), (Some(whole), gap.resumes));
            }
            other => panic!("{other:?}"),
        }
        assert!(target.toy().namespaces().is_empty(), "nothing was written");
        rig.append("shop.orders", b"c", "4");
        rig.capture().await;
        for at in rig.covered().await {
            rig.check(at).await;
        }
        assert_eq!(rig.vault().await.coverage().await.spans().len(), 2);
    });
}

#[test]
fn a_crash_at_any_step_of_closing_a_gap_leaves_it_named_and_closable() {
    block_on(async {
        for step in 0..16 {
            let rig = Rig::with_shop().await;
            let (whole, lost) = with_a_gap(&rig).await;
            rig.faulty.crash_after(step);
            let first = rig.capture_from(&rig.source).await;
            rig.faulty.revive();
            let coverage = rig.vault().await.coverage().await;
            assert!(!coverage.contains(lost), "step {step}: {coverage:?}");
            rig.append("shop.orders", b"d", "5");
            rig.capture().await;
            let coverage = rig.vault().await.coverage().await;
            assert_eq!(coverage.gaps.len(), 1, "step {step} {first:?}: {coverage:?}");
            assert_eq!((coverage.gaps[0].after, coverage.through), (whole, rig.toy.now()), "step {step}");
            for at in rig.covered().await {
                rig.check(at).await;
            }
        }
    });
}

/// What clients do before a gap, in it, and while it is closed; and whether a backup closes it, not a capture.
type Round = (Vec<u64>, Vec<u64>, Vec<u64>, bool);

async fn gaps_are_closed(rounds: &[Round], picks: u64) {
    let rig = Rig::with_shop().await;
    rig.backup().await;
    let busy = Meddling::new(&rig.source);
    for (held, lost, meanwhile, by_backup) in rounds {
        for numbers in [held, lost] {
            let mut open = Vec::new();
            for number in numbers {
                Action::of(*number).carry_out(&rig.toy, &mut open);
            }
            for transaction in open {
                rig.toy.commit(transaction);
            }
            if numbers == held {
                rig.capture().await;
            }
        }
        let before = rig.vault().await.coverage().await.through;
        let lost = rig.toy.beat();
        rig.toy.roll_over(rig.toy.beat());
        let busy = busy.clone().busy_with(meanwhile);
        match by_backup {
            true => drop(rig.backup_from(&busy).await.unwrap()),
            false => drop(rig.capture_from(&busy).await.unwrap()),
        }
        busy.settle();
        let coverage = rig.vault().await.coverage().await;
        assert!(coverage.gaps.iter().any(|gap| gap.after == before), "{before}: {coverage:?}");
        assert!(!coverage.contains(lost) && coverage.contains(coverage.through));
    }
    rig.capture().await;
    let mut chance = backstay_sim::Chance::new(picks);
    for span in rig.vault().await.coverage().await.spans() {
        rig.check(span.from).await;
        rig.check(span.to).await;
    }
    let covered = rig.covered().await;
    for _ in 0..3 {
        rig.check(if covered.is_empty() { rig.toy.now() } else { *chance.pick(&covered) }).await;
    }
    assert_eq!(rig.backup().await.drift, Some(0));
}

proptest! {
    #![proptest_config(cases(40))]

    /// Gaps are closed while clients go on; every covered instant comes back, and none inside a gap is covered (C1).
    #[test]
    fn gaps_of_a_busy_source_are_closed(
        rounds in vec((vec(any::<u64>(), 0..20), vec(any::<u64>(), 0..20), vec(any::<u64>(), 0..40), any::<bool>()), 1..4),
        picks in any::<u64>(),
    ) {
        block_on(gaps_are_closed(&rounds, picks));
    }
}

/// A shop of which one record was deleted, which was captured, and made again, which nobody will ever see.
async fn made_again_unseen() -> Rig {
    let rig = Rig::with_shop().await;
    rig.backup().await;
    rig.delete("shop.orders", b"a");
    rig.capture().await;
    rig.put("shop.orders", b"a", "bolt", "blue");
    rig.toy.roll_over(rig.toy.beat());
    rig
}

/// Found by the property above: the changes of a record on both sides of a gap do not follow on each other.
#[test]
fn a_record_deleted_before_a_gap_made_in_it_and_changed_after_it_is_whole() {
    block_on(async {
        for compact in [false, true] {
            let rig = made_again_unseen().await;
            rig.capture().await;
            rig.append("shop.orders", b"a", "1");
            rig.capture().await;
            if compact {
                rig.compact().await;
            }
            for at in rig.covered().await {
                rig.check(at).await;
            }
            let report = rig.rewind(&rig::tenant("bolt", rig.toy.now())).await.unwrap();
            assert_eq!(report.plan.writes(), 0);
        }
    });
}

/// Drops `shop.orders` just before it is scanned, and updates a record of it before that.
struct Dropping(ToySource);

#[async_trait]
impl Twist for Dropping {
    fn toy(&self) -> &ToySource {
        &self.0
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> SourceResult<Box<dyn Records>> {
        let append = Operation::Append {
            name: "shop.orders".to_owned(),
            id: b"a".to_vec(),
            field: "colour".to_owned(),
            more: "1".to_owned(),
        };
        if self.0.toy().apply(&[append], false).is_some() {
            self.0.toy().drop_namespace("shop.orders").unwrap();
        }
        Source::scan(&self.0, namespace, range, at).await
    }
}

/// Found by the property above: what a gap hid of a namespace that was dropped before the gap was closed is held nowhere,
/// and nobody needs it.
#[test]
fn a_record_of_a_namespace_that_is_dropped_while_a_gap_is_closed_stands_in_nobodys_way() {
    block_on(async {
        for compact in [false, true] {
            let rig = made_again_unseen().await;
            rig.capture_from(&Twisted(Dropping(rig.source.clone()))).await.unwrap();
            if compact {
                rig.compact().await;
            }
            for at in rig.covered().await {
                rig.check(at).await;
            }
            rig.check(rig.vault().await.coverage().await.through).await;
        }
    });
}
