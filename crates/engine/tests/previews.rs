//! A preview shows what a restore would do, and writes nothing anywhere; a restore without a journal does it, and writes
//! nothing to the archive.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_archive::{Error as ArchiveError, Limits};
use backstay_engine::{Destination, Error, RestoreRequest};
use backstay_model::Tick;
use backstay_sim::toy::{Toy, ToySource};
use rig::{Rig, block_on, everything, now, tenant};

/// Everything that the repository holds.
async fn objects(rig: &Rig) -> BTreeMap<String, Vec<u8>> {
    let store = rig.faulty.sound();
    let mut objects = BTreeMap::new();
    for object in store.list("").await.unwrap() {
        let bytes = store.get(&object.path).await.unwrap().to_vec();
        objects.insert(object.path, bytes);
    }
    objects
}

/// A preview of `request`, which must change nothing; then the restore, which must do what the preview said.
async fn previewed_and_done(rig: &Rig, request: &RestoreRequest) -> Vec<String> {
    let (archive, toy, clock) = (objects(rig).await, now(&rig.toy), rig.toy.now());
    let preview = rig.rewind(&RestoreRequest { preview: true, ..request.clone() }).await.unwrap();
    assert!(objects(rig).await == archive, "a preview writes nothing to the archive");
    assert_eq!((now(&rig.toy), rig.toy.now()), (toy, clock), "nor to the source");
    let done = rig.rewind(request).await.unwrap();
    assert_eq!((preview.plan, &preview.namespaces), (done.plan, &done.namespaces));
    assert!(done.proof.unwrap().equal && preview.plan.writes() > 0);
    preview.notes
}

async fn changed(rig: &Rig) -> Tick {
    rig.backup().await;
    rig.append("shop.orders", b"a", "1");
    rig.capture().await;
    // From here on nothing is captured: neither the instant nor what came after it.
    rig.append("shop.orders", b"a", "2");
    rig.give("shop.orders", b"b", "acme");
    let at = rig.toy.now();
    rig.append("shop.orders", b"a", "3");
    rig.give("shop.orders", b"b", "bolt");
    rig.delete("shop.users", b"c");
    rig.put("shop.users", b"new", "acme", "blue");
    at
}

#[test]
fn a_preview_follows_what_is_not_captured_yet_and_archives_nothing_of_it() {
    block_on(async {
        for request in [everything, |at| tenant("acme", at)] {
            let rig = Rig::with_shop().await;
            let at = changed(&rig).await;
            let notes = previewed_and_done(&rig, &request(at)).await;
            assert!(notes.is_empty(), "{notes:?}");
        }
    });
}

#[test]
fn a_preview_that_cannot_follow_compares_everything_and_says_so() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        let at = rig.toy.now();
        rig.append("shop.orders", b"a", "lost");
        rig.toy.roll_over(rig.toy.pass(5));
        rig.append("shop.orders", b"b", "1");
        let notes = previewed_and_done(&rig, &everything(at)).await;
        assert!(notes.iter().any(|note| note.contains("rolled over")), "{notes:?}");
    });
}

#[test]
fn a_preview_holds_no_more_than_its_budget() {
    block_on(async {
        let rig = Rig::with_limits(Limits { tail_budget: 60, ..Limits::default() }).await;
        rig.toy.create("shop.orders").unwrap();
        rig.put("shop.orders", b"a", "acme", "red");
        rig.backup().await;
        let at = rig.toy.now();
        for number in 0..40 {
            rig.append("shop.orders", b"a", &number.to_string());
        }
        let later = rig.toy.now();
        let archive = objects(&rig).await;
        match rig.rewind(&RestoreRequest { preview: true, ..everything(later) }).await {
            Err(Error::Archive(ArchiveError::NotCovered { why, before, .. })) => {
                assert!(why.contains("capture first") && before == Some(at), "{why} {before:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(objects(&rig).await == archive);
        let notes = previewed_and_done(&rig, &everything(at)).await;
        assert!(notes.iter().any(|note| note.contains("in memory")), "{notes:?}");
    });
}

#[test]
fn a_restore_without_a_journal_does_the_same_and_leaves_the_archive_as_it_is() {
    block_on(async {
        for request in [everything, |at| tenant("acme", at)] {
            let (journaled, unjournaled) = (Rig::with_shop().await, Rig::with_shop().await);
            let at = changed(&journaled).await;
            assert_eq!(changed(&unjournaled).await, at);
            let archive = objects(&unjournaled).await;
            let expected = journaled.rewind(&request(at)).await.unwrap();
            let done = unjournaled.rewind(&RestoreRequest { journal: false, ..request(at) }).await.unwrap();
            assert_eq!((&done.plan, done.written, &done.proof), (&expected.plan, expected.written, &expected.proof));
            assert!(done.written > 0 && done.id.is_empty());
            assert_eq!(now(&unjournaled.toy), now(&journaled.toy));

            let empty = ToySource::new(Arc::new(Toy::new()));
            let Destination::Into { rename } = everything(at).destination else { panic!("side by side") };
            let beside = RestoreRequest { journal: false, destination: Destination::Into { rename }, ..request(at) };
            // Side by side only what is archived can be had.
            assert!(matches!(
                unjournaled.restore_into(&empty, &beside).await,
                Err(Error::Archive(ArchiveError::NotCovered { .. }))
            ));
            let frontier = unjournaled.vault().await.coverage().await.spans().last().unwrap().to;
            let beside = RestoreRequest { at: frontier, ..beside };
            assert!(unjournaled.restore_into(&empty, &beside).await.unwrap().proof.unwrap().equal);
            assert!(objects(&unjournaled).await == archive, "nothing was written to the archive");
        }
    });
}
