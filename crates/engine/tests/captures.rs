//! Following a feed: two captures at once, being told to stop, stores that fail; what its source is known by.
#![allow(clippy::unwrap_used)]

mod rig;

use std::time::Duration;

use async_trait::async_trait;
use backstay_archive::Error as Archive;
use backstay_engine::{CaptureOptions, Error, Monitor, Until};
use backstay_model::EntryBatch;
use backstay_sim::toy::{Operation, ToySource};
use backstay_sim::{Fault, workload::Action};
use backstay_source::{Result as SourceResult, Source, Start, Tail, Topology};
use proptest::collection::vec;
use proptest::prelude::*;
use rig::meddling::Meddling;
use rig::twisted::{Twist, Twisted};
use rig::{Rig, block_on, cases};

#[test]
fn before_the_first_backup_there_is_nothing_to_follow_on_from() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.repository.vault_for(rig::NAME, "toy", "toy").await.unwrap();
        assert!(matches!(rig.capture_from(&rig.source).await, Err(Error::NoBase { .. })));
    });
}

#[test]
fn a_crash_at_any_step_of_a_capture_loses_and_doubles_nothing() {
    block_on(async {
        for step in 0..8 {
            let rig = Rig::with_shop().await;
            rig.backup().await;
            for number in 0..9u8 {
                rig.append("shop.orders", b"a", &number.to_string());
            }
            rig.faulty.crash_after(step);
            let _ = rig.capture_from(&rig.source).await;
            rig.faulty.revive();
            rig.append("shop.orders", b"a", "x");
            rig.capture().await;
            for at in rig.covered().await {
                rig.check(at).await;
            }
            assert!(rig.vault().await.coverage().await.gaps.is_empty());
        }
    });
}

#[test]
fn lost_answers_of_the_store_double_nothing() {
    block_on(async {
        for (step, fault) in (1..6).flat_map(|step| [(step, Fault::LostResponse), (step, Fault::SayExists)]) {
            let rig = Rig::with_shop().await;
            rig.backup().await;
            for number in 0..9u8 {
                rig.append("shop.orders", b"a", &number.to_string());
            }
            rig.faulty.fail_write(step, fault);
            let first = rig.capture_from(&rig.source).await;
            rig.capture().await;
            for at in rig.covered().await {
                rig.check(at).await;
            }
            assert!(rig.vault().await.coverage().await.gaps.is_empty(), "{first:?}");
        }
    });
}

#[test]
fn two_captures_at_once_hold_every_change_once() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        let second = backstay_archive::Repository::open(
            rig.faulty.sound(),
            "memory",
            std::sync::Arc::clone(rig.repository.keyring()),
            std::sync::Arc::clone(rig.repository.world()),
            std::env::temp_dir(),
        );
        let (one, two) = (rig.vault().await, second.await.unwrap().vault(rig::NAME).await.unwrap());
        let mut reported = 0;
        for round in 0..20u8 {
            for number in 0..10u8 {
                rig.append("shop.orders", b"a", &number.to_string());
                rig.put("shop.users", &[round, number], "acme", "new");
            }
            let options = CaptureOptions { until: Until::Now, tick: Duration::ZERO };
            let monitor = Monitor::default();
            let (first, second) = tokio::join!(
                backstay_engine::capture(&one, &rig.source, options, &monitor),
                backstay_engine::capture(&two, &rig.source, options, &monitor),
            );
            let (first, second) = (first.unwrap(), second.unwrap());
            assert_eq!((first.through, second.through), (rig.toy.now(), rig.toy.now()));
            reported += first.entries + second.entries;
        }
        let entries: u64 = rig.vault().await.state().await.tails().map(|tail| tail.entries).sum();
        assert_eq!(entries, 20 * 20);
        assert_eq!(reported, entries, "what another was faster with is not counted");
        let covered = rig.covered().await;
        for at in covered.iter().step_by(37) {
            rig.check(*at).await;
        }
        rig.check(rig.toy.now()).await;
    });
}

/// A feed that says nothing any more, once it has handed over an entry.
struct Silent(ToySource);

#[async_trait]
impl Twist for Silent {
    fn toy(&self) -> &ToySource {
        &self.0
    }

    async fn tail(&self, start: Start) -> SourceResult<Box<dyn Tail>> {
        Ok(Box::new(SilentTail { inner: self.0.tail(start).await?, has_spoken: false }))
    }
}

struct SilentTail {
    inner: Box<dyn Tail>,
    has_spoken: bool,
}

#[async_trait]
impl Tail for SilentTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> SourceResult<()> {
        if self.has_spoken {
            std::future::pending::<()>().await;
        }
        self.inner.next(batch).await?;
        self.has_spoken = !batch.is_empty();
        Ok(())
    }
}

#[test]
fn what_is_held_is_committed_though_the_feed_falls_silent() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        rig.append("shop.orders", b"a", "1");
        let source = Twisted(Silent(rig.source.clone()));
        let options = CaptureOptions { until: Until::Cancelled, tick: Duration::from_millis(20) };
        let (vault, monitor) = (rig.vault().await, Monitor::default());
        let held = async {
            let reader = rig.vault().await;
            while reader.refresh().await.unwrap().frontiers().values().all(|held| held.through < rig.toy.now()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = backstay_engine::capture(&vault, &source, options, &monitor) => panic!("it ended: {ended:?}"),
            held = tokio::time::timeout(Duration::from_secs(60), held) => held.expect("it is committed"),
        }
        rig.check(rig.toy.now()).await;
    });
}

/// A source that is known by this, where it shows no more than its stand-in; its tails join the history of before, or do not tell.
struct Known(ToySource, &'static str, bool);

#[async_trait]
impl Twist for Known {
    fn toy(&self) -> &ToySource {
        &self.0
    }

    async fn discover(&self) -> SourceResult<Topology> {
        let found = self.0.discover().await?;
        Ok(Topology { identity: self.1.to_owned(), stand_in: Some("a name".to_owned()), ..found })
    }

    async fn tail(&self, start: Start) -> SourceResult<Box<dyn Tail>> {
        Ok(Box::new(JoinedTail(self.0.tail(start).await?, self.2)))
    }
}

struct JoinedTail(Box<dyn Tail>, bool);

#[async_trait]
impl Tail for JoinedTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> SourceResult<()> {
        self.0.next(batch).await
    }

    fn has_joined(&self) -> bool {
        self.1
    }
}

#[test]
fn a_name_gives_way_to_an_identity_only_where_the_history_goes_on() {
    block_on(async {
        let rig = Rig::with_shop().await;
        let known = |identity, joins| Twisted(Known(rig.source.clone(), identity, joins));
        let learned = async || rig.vault().await.state().await.source().identity.clone();
        rig.backup_from(&known("a name", true)).await.unwrap();
        rig.append("shop.orders", b"a", "1");
        rig.capture_from(&known("a name", true)).await.unwrap();
        assert_eq!(learned().await, "a name");
        // Another source of that name: what was to come next is not in its history, and a scan is no proof.
        rig.append("shop.orders", b"a", "2");
        rig.toy.roll_over(rig.toy.pass(5));
        rig.append("shop.orders", b"a", "3");
        assert_eq!(rig.capture_from(&known("another's id", true)).await.unwrap().gaps, 1);
        assert_eq!(learned().await, "a name");
        // Or it does not tell.
        rig.append("shop.orders", b"a", "4");
        rig.capture_from(&known("another's id", false)).await.unwrap();
        rig.backup_from(&known("another's id", false)).await.unwrap();
        assert_eq!(learned().await, "a name");
        rig.append("shop.orders", b"a", "5");
        rig.capture_from(&known("an id", true)).await.unwrap();
        assert_eq!(learned().await, "an id");
        // And for whoever is known by an id, a name is not enough: it may be the one, and may be another.
        let vault = rig.vault().await;
        let check = async |identity, stand_in| vault.check_source(identity, stand_in).await;
        assert!(check("an id", Some("a name")).await.is_ok());
        assert!(matches!(check("a name", Some("a name")).await, Err(Archive::Unidentified { .. })));
        assert!(matches!(check("another's id", Some("a name")).await, Err(Archive::OtherSource { .. })));
        assert!(matches!(check("another name", None).await, Err(Archive::OtherSource { .. })));
    });
}

#[test]
fn a_capture_that_is_told_to_stop_keeps_what_it_holds() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        rig.append("shop.orders", b"a", "1");
        let monitor = Monitor::default();
        // Longer than the test: only the stop can bring the change into the archive.
        let options = CaptureOptions { until: Until::Cancelled, tick: Duration::from_secs(3600) };
        let vault = rig.vault().await;
        let capture = backstay_engine::capture(&vault, &rig.source, options, &monitor);
        let stop = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            rig.append("shop.orders", b"a", "2");
            tokio::time::sleep(Duration::from_millis(50)).await;
            monitor.cancel();
        };
        let (report, ()) = tokio::join!(capture, stop);
        let report = report.unwrap();
        assert_eq!((report.entries, report.through), (2, rig.toy.now()));
        rig.check(rig.toy.now()).await;
    });
}

#[test]
fn a_transaction_that_is_open_over_a_restart_comes_whole() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        let set = |id: &[u8]| Operation::Append {
            name: "shop.orders".into(),
            id: id.to_vec(),
            field: "colour".into(),
            more: "in".into(),
        };
        let transaction = rig.toy.prepare(&[set(b"a"), set(b"b")]).unwrap();
        rig.append("shop.orders", b"c", "1");
        rig.capture().await;
        rig.append("shop.orders", b"c", "2");
        rig.capture().await;
        rig.toy.commit(transaction).unwrap();
        rig.capture().await;
        for at in rig.covered().await {
            rig.check(at).await;
        }
        assert_eq!(rig.backup().await.drift, Some(0));
    });
}

#[test]
fn a_transaction_that_is_open_while_the_base_is_read_comes_whole() {
    block_on(async {
        let rig = Rig::with_shop().await;
        let (name, id) = ("shop.orders".to_owned(), b"a".to_vec());
        let (field, more) = ("colour".to_owned(), "in".to_owned());
        let transaction = rig.toy.prepare(&[Operation::Append { name, id, field, more }]).unwrap();
        rig.backup().await;
        rig.append("shop.orders", b"c", "1");
        rig.toy.commit(transaction).unwrap();
        rig.capture().await;
        for at in rig.covered().await {
            rig.check(at).await;
        }
        assert_eq!(rig.backup().await.drift, Some(0));
    });
}

proptest! {
    #![proptest_config(cases(40))]

    /// Stores die at any step of captures of a busy source, compactions in between; nothing is lost or doubled (C1, L2).
    #[test]
    fn captures_that_die_anywhere_lose_nothing(
        rounds in vec((vec(any::<u64>(), 0..25), 0..9u64, 0..3u8), 1..5), picks in any::<u64>(),
    ) {
        block_on(async {
            let rig = Rig::with_shop().await;
            rig.backup().await;
            let busy = Meddling::new(&rig.source);
            let mut open = Vec::new();
            for (numbers, step, after) in rounds {
                let (now, meanwhile) = numbers.split_at(numbers.len() / 2);
                for number in now {
                    Action::of(*number).carry_out(&rig.toy, &mut open);
                }
                let busy = busy.clone().busy_with(meanwhile);
                rig.faulty.crash_after(step);
                let _ = match after {
                    0 => rig.backup_from(&busy).await.map(drop),
                    _ => rig.capture_from(&busy).await.map(drop),
                };
                rig.faulty.revive();
                if after == 2 {
                    rig.compact().await;
                }
            }
            busy.settle();
            for transaction in open {
                rig.toy.commit(transaction);
            }
            rig.capture().await;
            let coverage = rig.vault().await.coverage().await;
            assert!(coverage.gaps.is_empty() && coverage.through == rig.toy.now(), "{coverage:?}");
            let mut chance = backstay_sim::Chance::new(picks);
            let covered = rig.covered().await;
            for _ in 0..3 {
                rig.check(if covered.is_empty() { rig.toy.now() } else { *chance.pick(&covered) }).await;
            }
            rig.check(rig.toy.now()).await;
            assert_eq!(rig.backup().await.drift, Some(0));
        });
    }
}
