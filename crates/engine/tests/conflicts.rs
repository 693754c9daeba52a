//! Records that change while they are being restored: the restore stops, leaves them, or writes over them.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_engine::{ConflictPolicy, Error, RestoreRequest, RunState, runs};
use backstay_sim::toy::{Operation, Record};
use rig::meddling::Meddling;
use rig::{Rig, block_on, content, damaged, now, of_tenant, tenant};

/// A client that changes record `b"a"` between the plan and the write.
fn interfering(rig: &Rig) -> Meddling {
    Meddling::new(&rig.source).before_write(|source| {
        let (name, id, more) = ("shop.orders".to_owned(), b"a".to_vec(), "meanwhile".to_owned());
        source.toy().apply(&[Operation::Append { name, id, field: "colour".to_owned(), more }], false).unwrap();
    })
}

#[test]
fn a_record_that_changes_meanwhile_stops_the_restore() {
    block_on(async {
        let (rig, at) = damaged().await;
        match rig.rewind_through(&interfering(&rig), &tenant("acme", at)).await {
            Err(Error::Conflict { namespace, count, first, .. }) => {
                assert_eq!((namespace.as_str(), count, first.as_str()), ("shop.orders", 1, "a"));
            }
            other => panic!("{other:?}"),
        }
        let colour = colour(&rig, b"a");
        assert!(colour.ends_with("meanwhile"), "what the client wrote stays: {colour}");
        let run = runs(&rig.repository, rig::NAME).await.unwrap().pop().unwrap();
        assert!(run.state == RunState::Failed && run.error.is_some());
        // Run again, the restore sees what the client wrote, and finishes.
        assert!(rig.rewind(&tenant("acme", at)).await.unwrap().proof.unwrap().equal);
        assert_eq!(of_tenant(&now(&rig.toy), "acme"), of_tenant(&content(&rig.toy.oracle(), at), "acme"));
    });
}

#[test]
fn a_record_that_changes_meanwhile_is_skipped_and_counted() {
    block_on(async {
        let (rig, at) = damaged().await;
        let request = RestoreRequest { on_conflict: ConflictPolicy::Skip, ..tenant("acme", at) };
        let report = rig.rewind_through(&interfering(&rig), &request).await.unwrap();
        assert_eq!((report.skipped, report.written), (1, 3));
        assert!(!report.proof.unwrap().equal, "a proof tells the truth");
        assert!(colour(&rig, b"a").ends_with("meanwhile"));
        assert_eq!(runs(&rig.repository, rig::NAME).await.unwrap().pop().unwrap().state, RunState::Failed);
    });
}

#[test]
fn a_record_that_changes_meanwhile_is_overwritten_when_told_so() {
    block_on(async {
        let (rig, at) = damaged().await;
        let request = RestoreRequest { on_conflict: ConflictPolicy::Overwrite, ..tenant("acme", at) };
        let report = rig.rewind_through(&interfering(&rig), &request).await.unwrap();
        assert_eq!((report.skipped, report.written), (0, 4));
        assert!(report.proof.unwrap().equal);
        assert_eq!(colour(&rig, b"a"), "red1");
    });
}

fn colour(rig: &Rig, id: &[u8]) -> String {
    Record::parse(&now(&rig.toy)["shop.orders"][id]).unwrap().get("colour").unwrap().to_owned()
}
