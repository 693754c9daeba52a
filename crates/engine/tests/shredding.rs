//! Restoring after a tenant's keys were shredded: what became uncertain by that, for how long, and what did not.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use backstay_engine::{Error, ProofScope, RestoreReport, RestoreRequest, runs};
use backstay_model::{Tick, World};
use backstay_sim::toy::{Record, ToyInterpreter};
use rig::{Rig, block_on, content, everything, now, of_tenant, tenant};

/// Sorts what was captured, destroys the tenant's keys, and lets time pass.
async fn shred(rig: &Rig, name: &str) {
    rig.capture().await;
    rig.compact().await;
    rig.world.advance_ms(5000);
    let vault = rig.vault().await;
    assert_eq!(rig.repository.keyring().shred(vault.id(), name.as_bytes(), rig.world.now()).unwrap(), 1);
    rig.world.advance_ms(5000);
}

/// Deletes everything that a tenant has.
fn leave(rig: &Rig, name: &str) {
    for (namespace, records) in of_tenant(&now(&rig.toy), name) {
        records.keys().for_each(|id| rig.delete(&namespace, id));
    }
}

/// A shop that a tenant has left, its keys shredded: the instant at which it was still there.
async fn left_by_acme() -> (Rig, Tick) {
    let rig = Rig::with_shop().await;
    rig.backup().await;
    rig.append("shop.orders", b"a", "1");
    let earlier = rig.toy.now();
    leave(&rig, "acme");
    shred(&rig, "acme").await;
    (rig, earlier)
}

/// Records that an accident adds, and changes.
fn accident(rig: &Rig) {
    for number in 0..50u8 {
        rig.put("shop.orders", &[b'#', number], "bolt", "bogus");
    }
    rig.append("shop.orders", b"b", "9");
}

fn whole(report: &RestoreReport) {
    assert!(report.proof.as_ref().is_some_and(|proof| proof.equal) && report.undecided == 0, "{report:?}");
}

#[test]
fn from_a_scan_after_the_shredding_on_nothing_is_uncertain() {
    block_on(async {
        for compact in [false, true] {
            let (rig, _) = left_by_acme().await;
            assert_eq!(rig.backup().await.drift, Some(0));
            rig.append("shop.orders", b"d", "1");
            let at = rig.toy.now();
            accident(&rig);
            rig.capture().await;
            if compact {
                rig.compact().await;
            }
            let report = rig.rewind(&tenant("bolt", at)).await.unwrap();
            assert_eq!((report.plan.delete, report.plan.replace, report.written), (50, 1, 51), "{report:?}");
            whole(&report);
            assert!(report.notes.is_empty(), "{report:?}");
            assert_eq!(now(&rig.toy), content(&rig.toy.oracle(), at));
            accident(&rig);
            rig.append("shop.users", b"b", "2");
            whole(&rig.rewind(&everything(at)).await.unwrap());
            assert_eq!(now(&rig.toy), content(&rig.toy.oracle(), at));
            rig.check(at).await;
        }
    });
}

#[test]
fn before_that_scan_what_cannot_be_decided_stays_and_is_counted() {
    block_on(async {
        let (rig, earlier) = left_by_acme().await;
        for (at, scanned) in [(rig.toy.now(), false), (earlier, true)] {
            if scanned {
                rig.backup().await;
            }
            accident(&rig);
            let request = tenant("bolt", at);
            let preview = rig.rewind(&RestoreRequest { preview: true, ..request.clone() }).await.unwrap();
            assert_eq!(preview.undecided, 50);
            let report = rig.rewind(&request).await.unwrap();
            assert_eq!((report.plan.delete, report.plan.replace, report.undecided), (0, 1, 50), "{report:?}");
            assert!(report.notes.iter().any(|note| note.starts_with("50 records of shop.orders may have belonged")));
            assert!(!report.notes.iter().any(|note| note.contains("outside")), "{report:?}");
            let journal = runs(&rig.repository, rig::NAME).await.unwrap();
            assert!(journal.iter().any(|run| run.id == report.id && run.undecided == 50));
            assert!(now(&rig.toy)["shop.orders"].contains_key(&[b'#', 1][..]));
            // The same by comparing whole namespaces, and with everything read back.
            let full = RestoreRequest { proof: ProofScope::Full, ..request.clone() };
            let compared = rig.restore_into(&rig.source, &request).await.unwrap();
            for report in [compared, rig.rewind(&full).await.unwrap()] {
                assert_eq!((report.plan.writes(), report.undecided), (0, 50), "{report:?}");
                assert!(report.proof.is_some_and(|proof| proof.equal));
            }
            rig.world.advance_ms(5000);
        }
        // A namespace that no shredded key ever sealed anything of is certain at once.
        rig.toy.create("shop.new").unwrap();
        let at = rig.toy.now();
        rig.put("shop.new", b"x", "bolt", "bogus");
        let scope =
            backstay_engine::Scope { namespaces: Some(Arc::new(|name| name == "shop.new")), ..Default::default() };
        let report = rig.rewind(&RestoreRequest { scope, ..everything(at) }).await.unwrap();
        assert_eq!(report.plan.delete, 1);
        whole(&report);
    });
}

#[test]
fn a_scan_that_began_before_the_shredding_settles_nothing() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        rig.capture().await;
        rig.compact().await;
        // In the same second, the scan may have read with the key.
        let vault = rig.vault().await;
        rig.repository.keyring().shred(vault.id(), b"acme", rig.world.now()).unwrap();
        rig.backup().await;
        let at = rig.toy.now();
        accident(&rig);
        let report = rig.rewind(&tenant("bolt", at)).await.unwrap();
        assert_eq!((report.plan.delete, report.undecided), (0, 50), "{report:?}");
    });
}

#[test]
fn what_still_lived_is_archived_anew_by_the_next_scan() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        shred(&rig, "acme").await;
        rig.append("shop.orders", b"c", "1");
        assert_eq!(rig.backup().await.drift, Some(20));
        let at = rig.toy.now();
        leave(&rig, "acme");
        accident(&rig);
        rig.capture().await;
        rig.compact().await;
        whole(&rig.rewind(&everything(at)).await.unwrap());
        assert_eq!(now(&rig.toy), content(&rig.toy.oracle(), at));
        rig.check(at).await;
    });
}

#[test]
fn a_tenant_that_came_back_is_restored_as_of_then_and_no_earlier() {
    block_on(async {
        for (compact, scan) in [(false, false), (true, false), (true, true)] {
            let (rig, earlier) = left_by_acme().await;
            for id in [b"a", b"back"] as [&[u8]; 2] {
                rig.put("shop.orders", id, "acme", "new");
            }
            if scan {
                rig.backup().await;
            }
            let at = rig.toy.now();
            rig.append("shop.orders", b"a", "2");
            rig.delete("shop.orders", b"back");
            rig.put("shop.orders", b"later", "acme", "new");
            rig.capture().await;
            if compact {
                rig.compact().await;
            }
            let report = rig.rewind(&tenant("acme", at)).await.unwrap();
            assert_eq!((report.plan.insert, report.plan.replace), (1, 1), "{report:?}");
            let certain = u64::from(scan);
            assert_eq!((report.plan.delete, report.undecided), (certain, 1 - certain), "{report:?}");
            let then = content(&rig.toy.oracle(), at);
            let mut found = of_tenant(&now(&rig.toy), "acme");
            found.get_mut("shop.orders").unwrap().remove(&b"later"[..]);
            assert_eq!(found, of_tenant(&then, "acme"));
            let refused = rig.rewind(&tenant("acme", earlier)).await;
            assert!(matches!(&refused, Err(Error::Shredded { tenant }) if tenant == "acme"), "{refused:?}");
        }
    });
}

#[test]
fn a_process_that_has_the_key_at_hand_seals_nothing_under_it() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        let vault = rig.vault().await;
        rig.append("shop.orders", b"a", "1");
        rig.capture().await;
        vault.compact(&ToyInterpreter, |_, _| {}).await.unwrap();
        shred(&rig, "acme").await;
        rig.put("shop.orders", b"back", "acme", "new");
        rig.capture().await;
        vault.compact(&ToyInterpreter, |_, _| {}).await.unwrap();
        let at = rig.toy.now();
        rig.delete("shop.orders", b"back");
        let report = rig.rewind(&tenant("acme", at)).await.unwrap();
        assert_eq!(report.plan.insert, 1, "{report:?}");
        let back = Record::parse(&now(&rig.toy)["shop.orders"][&b"back"[..]]).unwrap();
        assert_eq!(back.get("colour"), Some("new"));
    });
}
