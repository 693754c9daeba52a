//! One capture of a stream at a time: who holds it is said, and one that was superseded is refused.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_archive::{Error, Holder};
use backstay_ledger::Fact;
use rig::{NAME, Rig, STREAM, block_on};

#[test]
fn a_second_claim_is_refused_and_taking_over_fences_the_first() {
    block_on(async {
        let rig = Rig::new(backstay_archive::Limits::default()).await;
        rig.begin().await;
        let streams = [STREAM.to_owned()];
        let holder = |process| Holder { host: "db1".into(), process, mark: 0 };
        let forward = |vault: &backstay_archive::Vault| {
            let (vault, at) = (vault.clone(), rig.toy.pass(1));
            async move {
                let frontier = Fact::Frontier { stream: STREAM.into(), through: at, resume: at };
                vault.commit(|_| Ok(vec![frontier.clone()])).await
            }
        };
        let first = rig.vault.claim(&streams, &holder(1), false).await.unwrap();
        forward(&first).await.unwrap();

        let other = rig.repository.vault(NAME).await.unwrap();
        match other.claim(&streams, &holder(2), false).await.map(drop) {
            Err(Error::Held { stream, holder, .. }) => assert_eq!((stream.as_str(), holder.process), (STREAM, 1)),
            other => panic!("{other:?}"),
        }
        let second = other.claim(&streams, &holder(2), true).await.unwrap();
        forward(&second).await.unwrap();
        match forward(&first).await {
            Err(Error::Fenced { holder, .. }) => assert_eq!(holder.process, 2),
            other => panic!("{other:?}"),
        }
        first.release().await.unwrap();
        forward(&second).await.unwrap();
        second.release().await.unwrap();
        let third = rig.vault.claim(&streams, &holder(3), false).await.unwrap();
        forward(&third).await.unwrap();

        // Silent for longer than a lease: anybody may take it.
        rig.world.advance_ms(backstay_ledger::LEASE * 1000);
        other.claim(&streams, &holder(4), false).await.unwrap();
        assert!(matches!(forward(&third).await, Err(Error::Fenced { .. })));
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
