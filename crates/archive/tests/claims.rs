//! One capture of a stream at a time: who holds it is said, and one that was superseded is refused.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_archive::{Duty, Error, Holder};
use backstay_ledger::Fact;
use rig::{NAME, Rig, STREAM, block_on};

#[test]
fn a_second_claim_is_refused_and_taking_over_fences_the_first() {
    block_on(async {
        let rig = Rig::new(backstay_archive::Limits::default()).await;
        rig.begin().await;
        let duties = [Duty::Capture(STREAM.to_owned())];
        let nobody = |_: &Holder| false;
        let holder = |process| Holder { host: "db1".into(), process, mark: 0 };
        let forward = |vault: &backstay_archive::Vault| {
            let (vault, at) = (vault.clone(), rig.toy.pass(1));
            async move {
                let frontier = Fact::Frontier { stream: STREAM.into(), through: at, resume: at };
                vault.commit(|_| Ok(vec![frontier.clone()])).await
            }
        };
        let first = rig.vault.claim(&duties, &holder(1), nobody).await.unwrap();
        forward(&first).await.unwrap();

        let other = rig.repository.vault(NAME).await.unwrap();
        match other.claim(&duties, &holder(2), nobody).await.map(drop) {
            Err(Error::Held { duty, holder, lapses, seen, .. }) => {
                assert_eq!((&duty, holder.process, lapses - seen), (&duties[0], 1, backstay_ledger::LEASE));
            }
            other => panic!("{other:?}"),
        }
        let second = other.claim(&duties, &holder(2), |held_by| held_by.process == 1).await.unwrap();
        forward(&second).await.unwrap();
        match forward(&first).await {
            Err(Error::Fenced { holder, .. }) => assert_eq!(holder.process, 2),
            other => panic!("{other:?}"),
        }
        first.release().await.unwrap();
        forward(&second).await.unwrap();
        second.release().await.unwrap();
        let third = rig.vault.claim(&duties, &holder(3), nobody).await.unwrap();
        forward(&third).await.unwrap();

        // Silent for longer than a lease: anybody may take it.
        rig.world.advance_ms(backstay_ledger::LEASE * 1000);
        other.claim(&duties, &holder(4), nobody).await.unwrap();
        assert!(matches!(forward(&third).await, Err(Error::Fenced { .. })));
    });
}

#[test]
fn a_process_that_has_nothing_to_commit_keeps_its_claims() {
    block_on(async {
        let rig = Rig::new(backstay_archive::Limits::default()).await;
        rig.begin().await;
        let holder = |process| Holder { host: "db1".into(), process, mark: 0 };
        let first = rig.vault.claim(&[Duty::Scan], &holder(1), |_| false).await.unwrap();
        let other = rig.repository.vault(NAME).await.unwrap();
        let commits = || async { rig.vault.refresh().await.unwrap().head().seq };
        let before = commits().await;
        for _ in 0..40 {
            rig.world.advance_ms(10_000);
            first.renew().await.unwrap();
            let second = other.claim(&[Duty::Scan], &holder(2), |_| false).await;
            assert!(matches!(second.map(drop), Err(Error::Held { .. })));
        }
        assert!(commits().await - before <= 8, "it says so every 50 seconds, not each time it is asked to");

        // A capture is another matter, and takes the scan over where it needs to.
        let capture = other.claim(&[Duty::Capture(STREAM.to_owned())], &holder(2), |_| false).await.unwrap();
        capture.take_over(&Duty::Scan).await.unwrap();
        assert!(matches!(first.renew().await, Ok(())), "it was heard of just now");
        rig.world.advance_ms(60_000);
        match first.renew().await {
            Err(Error::Fenced { duty, holder, .. }) => assert_eq!((duty, holder.process), (Duty::Scan, 2)),
            other => panic!("{other:?}"),
        }
        capture.give_back(&Duty::Scan).await.unwrap();
        let third = rig.vault.claim(&[Duty::Scan], &holder(3), |_| false).await.unwrap();
        capture.renew().await.unwrap();
        third.release().await.unwrap();
        capture.release().await.unwrap();
    });
}

#[test]
fn a_writer_that_slept_over_a_sweep_must_write_again() {
    block_on(async {
        let rig = Rig::new(backstay_archive::Limits::default()).await;
        rig.begin().await;
        let slow = rig.repository.vault(NAME).await.unwrap();
        let mut batch = backstay_model::EntryBatch::default();
        let at = rig.toy.pass(1);
        batch.push(at, b"entry");
        let tail = slow.write_tail(STREAM, vec![batch]).await.unwrap().unwrap();
        assert_eq!(rig.vault.sweep(u64::MAX).await.unwrap().0, 1);
        let facts = vec![Fact::SegmentAdded(tail), Fact::Frontier { stream: STREAM.into(), through: at, resume: at }];
        let committed = slow.commit(|_| Ok(facts.clone())).await;
        assert!(matches!(committed, Err(Error::Conflict(_))), "{committed:?}");
        assert_eq!(rig.vault.refresh().await.unwrap().tails().len(), 0);
    });
}
