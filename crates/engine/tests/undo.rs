//! Taking restores back: in place and side by side, twice, interrupted, and when somebody changed something since.
#![allow(clippy::unwrap_used)]

mod rig;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use backstay_archive::{Limits, Selection};
use backstay_engine::{
    ConflictPolicy, Destination, Error, Monitor, RestoreRequest, Result, Run, RunState, Scope, UndoReport, UndoRequest,
    runs,
};
use backstay_sim::toy::{Record, Toy, ToyFault, ToyInterpreter, ToySource};
use backstay_sim::workload;
use backstay_source::{Source, Target};
use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use rig::meddling::Meddling;
use rig::{Rig, block_on, cases, damaged, everything, now, tenant};

/// The restore that was not taken back yet; the toy's clock does not tell which came last.
async fn last_run(rig: &Rig) -> Run {
    let all = runs(&rig.repository, rig::NAME).await.unwrap();
    let undone = |run: &Run| all.iter().any(|other| other.undoes.as_ref() == Some(&run.id));
    all.iter().rfind(|run| run.undoes.is_none() && !undone(run)).unwrap().clone()
}

/// What takes the last restore back.
async fn request(rig: &Rig, scope: &Scope) -> UndoRequest {
    let (run, scope) = (last_run(rig).await, scope.clone());
    UndoRequest { run, scope, on_conflict: ConflictPolicy::Abort, preview: false }
}

async fn undo_on(rig: &Rig, target: &dyn Target, request: &UndoRequest) -> Result<UndoReport> {
    let source = (request.run.target == "in-place").then_some(&rig.source as &dyn Source);
    let vault = rig.vault().await;
    backstay_engine::undo(&vault, source, target, Arc::new(ToyInterpreter), request, &Monitor::default()).await
}

async fn undo(rig: &Rig, request: &UndoRequest) -> Result<UndoReport> {
    undo_on(rig, &rig.source, request).await
}

#[test]
fn a_tenant_is_put_back_alone_and_once() {
    block_on(async {
        let (rig, at) = damaged().await;
        let before = now(&rig.toy);
        let restore = tenant("acme", at);
        rig.rewind(&restore).await.unwrap();
        assert_ne!(now(&rig.toy), before);
        // The other tenant goes on.
        rig.append("shop.orders", b"b", "9");
        let mut expected = before.clone();
        expected.get_mut("shop.orders").unwrap().insert(b"b".to_vec(), now(&rig.toy)["shop.orders"][&b"b"[..]].clone());
        let request = request(&rig, &restore.scope).await;
        let restored = now(&rig.toy);
        let preview = undo(&rig, &UndoRequest { preview: true, ..request.clone() }).await.unwrap();
        assert_eq!((now(&rig.toy), preview.id.as_str()), (restored, ""), "a preview writes nothing");
        let report = undo(&rig, &request).await.unwrap();
        assert_eq!((report.plan, report.written, report.conflicts), (preview.plan, 4, 0));
        assert_eq!((report.plan.insert, report.plan.replace, report.plan.delete), (1, 2, 1));
        assert!(report.proof.is_some_and(|proof| proof.equal));
        assert_eq!(now(&rig.toy), expected);
        let again = undo(&rig, &request).await.unwrap();
        assert_eq!((again.already, again.written), (Some(report.id.clone()), 0));
        let all = runs(&rig.repository, rig::NAME).await.unwrap();
        let own = all.iter().find(|run| run.id == report.id).unwrap();
        assert!(own.state == RunState::Proved && own.undoes.as_ref() == Some(&request.run.id));
        let back = UndoRequest { run: own.clone(), ..request };
        assert!(matches!(undo(&rig, &back).await, Err(Error::NotUndoable { .. })), "an undo is not undone");
    });
}

#[test]
fn what_somebody_changed_since_is_told_left_or_overwritten() {
    block_on(async {
        for policy in [ConflictPolicy::Abort, ConflictPolicy::Skip, ConflictPolicy::Overwrite] {
            let (rig, at) = damaged().await;
            let before = now(&rig.toy);
            rig.rewind(&everything(at)).await.unwrap();
            rig.append("shop.orders", b"a", "since");
            rig.delete("shop.orders", b"c");
            let changed = now(&rig.toy);
            let request = UndoRequest { on_conflict: policy, ..request(&rig, &Scope::default()).await };
            let done = undo(&rig, &request).await;
            // Record c had been deleted before the restore too: it stands as it did.
            match policy {
                ConflictPolicy::Abort => {
                    let Err(Error::ChangedSince { count, first, .. }) = done else { panic!("{done:?}") };
                    assert_eq!((count, first.is_empty()), (1, false));
                    assert_eq!(now(&rig.toy), changed, "nothing was written");
                }
                ConflictPolicy::Skip => {
                    let report = done.unwrap();
                    assert_eq!((report.conflicts, report.skipped), (1, 1));
                    let mut expected = before;
                    let kept = changed["shop.orders"][&b"a"[..]].clone();
                    expected.get_mut("shop.orders").unwrap().insert(b"a".to_vec(), kept);
                    assert_eq!(now(&rig.toy), expected);
                }
                ConflictPolicy::Overwrite => {
                    assert_eq!(done.unwrap().conflicts, 1);
                    assert_eq!(now(&rig.toy), before);
                }
            }
        }
    });
}

#[test]
fn what_was_written_while_the_restore_was_on_its_way_comes_back() {
    block_on(async {
        let (rig, at) = damaged().await;
        let restore = RestoreRequest { on_conflict: ConflictPolicy::Overwrite, ..tenant("acme", at) };
        let meanwhile = |source: &ToySource| {
            let record = Record::new(b"a").with("tenant", "acme").with("colour", "meanwhile");
            let put = backstay_sim::toy::Operation::Put { name: "shop.orders".to_owned(), record };
            source.toy().apply(&[put], false).unwrap();
        };
        let target = Meddling::new(&rig.source).before_write(meanwhile);
        rig.rewind_through(&target, &restore).await.unwrap();
        undo(&rig, &request(&rig, &restore.scope).await).await.unwrap();
        let stands = Record::parse(&now(&rig.toy)["shop.orders"][&b"a"[..]]).unwrap();
        assert_eq!(stands.get("colour"), Some("meanwhile"));
    });
}

#[test]
fn what_a_restore_created_is_dropped_unless_somebody_changed_it() {
    block_on(async {
        let rename: backstay_engine::Rename = Arc::new(|name: &str| name.replace("shop.", "rescued."));
        for change in [false, true] {
            let (rig, at) = damaged().await;
            rig.capture().await;
            let before = now(&rig.toy);
            let into = Destination::Into { rename: Arc::clone(&rename) };
            rig.restore_into(&rig.source, &RestoreRequest { destination: into, ..everything(at) }).await.unwrap();
            if change {
                rig.put("rescued.users", b"zz", "acme", "mine");
            }
            let request = request(&rig, &Scope::default()).await;
            assert!(request.run.namespaces.iter().all(|namespace| namespace.create));
            let skip = UndoRequest { on_conflict: ConflictPolicy::Skip, ..request.clone() };
            match change {
                false => {
                    let report = undo(&rig, &request).await.unwrap();
                    assert_eq!(report.dropped.len(), 2);
                    assert_eq!(now(&rig.toy), before);
                    assert!(undo(&rig, &request).await.unwrap().already.is_some());
                }
                true => {
                    assert!(matches!(undo(&rig, &request).await, Err(Error::ChangedSince { count: 1, .. })));
                    let report = undo(&rig, &skip).await.unwrap();
                    assert_eq!((report.dropped, report.conflicts), (vec!["rescued.orders".to_owned()], 1));
                    assert!(now(&rig.toy).contains_key("rescued.users"), "what somebody works with stays");
                }
            }
        }
    });
}

#[test]
fn a_record_that_somebody_added_to_what_a_restore_of_one_id_created_keeps_it() {
    block_on(async {
        let rig = Rig::with_limits(Limits { chunk: 500, ..Limits::default() }).await;
        rig.toy.create("shop.orders").unwrap();
        for number in 0..100_u16 {
            rig.put("shop.orders", &number.to_be_bytes(), "acme", "red");
        }
        rig.backup().await;
        let at = rig.toy.now();
        rig.toy.drop_namespace("shop.orders").unwrap();
        let selection = Selection { ids: Some(Arc::new(vec![1_u16.to_be_bytes().to_vec()])), ..Selection::default() };
        let scope = Scope { selection, ..Scope::default() };
        assert_eq!(rig.rewind(&RestoreRequest { scope: scope.clone(), ..everything(at) }).await.unwrap().written, 1);
        // Far from the one that came back.
        rig.put("shop.orders", &90_u16.to_be_bytes(), "bolt", "new");
        let request = request(&rig, &scope).await;
        assert!(matches!(undo(&rig, &request).await, Err(Error::ChangedSince { count: 1, .. })));
        assert_eq!(now(&rig.toy)["shop.orders"].len(), 2);
    });
}

#[test]
fn what_was_there_before_a_restore_elsewhere_is_left_and_not_called_taken_back() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.capture().await;
        let other = ToySource::new(Arc::new(Toy::new()));
        rig.restore_into(&other, &everything(at)).await.unwrap();
        undo_on(&rig, &other, &request(&rig, &Scope::default()).await).await.unwrap();
        other.toy().create("shop.users").unwrap();
        rig.restore_into(&other, &everything(at)).await.unwrap();
        let restored = now(other.toy());
        // One was there, the other was not.
        let partly = request(&rig, &Scope::default()).await;
        let report = undo_on(&rig, &other, &partly).await.unwrap();
        assert_eq!((report.left, report.dropped), (vec!["shop.users".to_owned()], vec!["shop.orders".to_owned()]));
        assert_eq!(now(other.toy())["shop.users"], restored["shop.users"]);
        let own = runs(&rig.repository, rig::NAME).await.unwrap().into_iter().find(|run| run.id == report.id).unwrap();
        assert_eq!(own.state, RunState::Failed, "it was not taken back as a whole");
        assert!(own.error.unwrap().contains("shop.users"));
        // Both were there: nothing can be taken back.
        other.toy().create("shop.orders").unwrap();
        rig.restore_into(&other, &everything(at)).await.unwrap();
        let restored = now(other.toy());
        for preview in [true, false] {
            let whole = UndoRequest { preview, ..request(&rig, &Scope::default()).await };
            let refused = undo_on(&rig, &other, &whole).await;
            assert!(
                matches!(&refused, Err(Error::NotUndoable { why, .. }) if why.contains("shop.orders")),
                "{refused:?}"
            );
        }
        assert_eq!(now(other.toy()), restored);
    });
}

/// Somebody changes a record and changes it back, makes one and deletes it again, and repairs one in two steps.
fn others_work(rig: &Rig) {
    for colour in ["green", "red"] {
        rig.put("shop.orders", b"f", "bolt", colour);
        rig.put("shop.orders", b"b", "bolt", colour);
    }
    rig.put("shop.orders", b"tmp", "bolt", "blue");
    rig.delete("shop.orders", b"tmp");
}

#[test]
fn what_others_did_after_the_restore_is_theirs() {
    block_on(async {
        let (rig, at) = damaged().await;
        let before = now(&rig.toy);
        rig.rewind(&everything(at)).await.unwrap();
        others_work(&rig);
        let report = undo(&rig, &request(&rig, &Scope::default()).await).await.unwrap();
        assert_eq!(now(&rig.toy), before, "{report:?}");
        // A restore that wrote one record only.
        let rig = Rig::with_shop().await;
        rig.backup().await;
        let at = rig.toy.now();
        rig.append("shop.orders", b"a", "2");
        let before = now(&rig.toy);
        rig.rewind(&everything(at)).await.unwrap();
        others_work(&rig);
        let report = undo(&rig, &request(&rig, &Scope::default()).await).await.unwrap();
        assert_eq!((report.plan.writes(), report.written), (1, 1), "{report:?}");
        assert_eq!(now(&rig.toy), before);
    });
}

#[test]
fn what_a_killed_restore_or_others_may_have_written_is_a_conflict() {
    block_on(async {
        let (rig, at) = damaged().await;
        let target = Meddling::new(&rig.source).before_write(|_| panic!("killed"));
        let killed = AssertUnwindSafe(rig.rewind_through(&target, &everything(at))).catch_unwind().await;
        assert!(killed.is_err());
        others_work(&rig);
        let found = now(&rig.toy);
        let abort = request(&rig, &Scope::default()).await;
        assert_eq!((abort.run.state, abort.run.after.clone()), (RunState::Begun, None));
        let Err(Error::ChangedSince { count: 1, first, .. }) = undo(&rig, &abort).await else { panic!("no conflict") };
        assert_eq!(first, "b", "what is again as it was before the restore is none");
        let skip = UndoRequest { on_conflict: ConflictPolicy::Skip, ..abort };
        let report = undo(&rig, &skip).await.unwrap();
        assert_eq!((report.written, report.skipped, now(&rig.toy)), (0, 1, found));
    });
}

#[test]
fn a_dropped_namespace_that_came_back_in_place_goes_again() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.toy.drop_namespace("shop.orders").unwrap();
        let before = now(&rig.toy);
        rig.rewind(&everything(at)).await.unwrap();
        let report = undo(&rig, &request(&rig, &Scope::default()).await).await.unwrap();
        assert_eq!(report.dropped, ["shop.orders"]);
        assert_eq!(now(&rig.toy), before);
    });
}

#[test]
fn a_restore_that_was_cut_short_is_taken_back() {
    block_on(async {
        for call in 1.. {
            let (rig, at) = damaged().await;
            rig.toy.drop_namespace("shop.users").unwrap();
            rig.capture().await;
            let before = now(&rig.toy);
            let calls = rig.source.calls();
            rig.source.fail_call(call, ToyFault::Unavailable);
            let cut = rig.rewind(&everything(at)).await;
            if rig.source.calls() < calls + call {
                assert!(call > 5 && cut.is_ok());
                return;
            }
            if !runs(&rig.repository, rig::NAME).await.unwrap().is_empty() {
                let done = undo(&rig, &request(&rig, &Scope::default()).await).await;
                assert!(done.is_ok(), "call {call}: {cut:?} {done:?}");
                assert_eq!(now(&rig.toy), before, "call {call}: {cut:?}");
            }
        }
    });
}

#[test]
fn an_undo_that_was_cut_short_is_finished_by_the_next() {
    block_on(async {
        for call in 1.. {
            let (rig, at) = damaged().await;
            rig.toy.drop_namespace("shop.users").unwrap();
            rig.capture().await;
            let before = now(&rig.toy);
            rig.rewind(&everything(at)).await.unwrap();
            let request = request(&rig, &Scope::default()).await;
            let calls = rig.source.calls();
            rig.source.fail_call(call, ToyFault::Unavailable);
            let cut = undo(&rig, &request).await;
            let finished = rig.source.calls() < calls + call;
            let again = undo(&rig, &request).await;
            assert!(again.is_ok(), "call {call}: {cut:?} {again:?}");
            assert_eq!(now(&rig.toy), before, "call {call}: {cut:?}");
            if finished {
                assert!(call > 5 && again.unwrap().already.is_some());
                return;
            }
        }
    });
}

proptest! {
    #![proptest_config(cases(60))]

    /// Whatever was restored, its undo brings everything back as it stood before.
    #[test]
    fn an_undo_brings_back_what_stood_before(
        earlier in vec(any::<u64>(), 0..50), later in vec(any::<u64>(), 0..60), pick in any::<u64>(),
        of_tenant in any::<bool>(), compact in any::<bool>(),
    ) {
        block_on(async {
            let rig = Rig::with_shop().await;
            let act = |numbers: &[u64]| {
                let mut open = Vec::new();
                for number in numbers {
                    workload::Action::of(*number).carry_out(&rig.toy, &mut open);
                }
                for transaction in open.drain(..) {
                    rig.toy.commit(transaction);
                }
            };
            rig.backup().await;
            act(&earlier);
            rig.capture().await;
            if compact {
                rig.compact().await;
            }
            act(&later);
            rig.capture().await;
            let covered = rig.covered().await;
            let Some(at) = covered.get(usize::try_from(pick).unwrap_or(0) % covered.len().max(1)).copied() else {
                return;
            };
            let restore = if of_tenant { tenant("acme", at) } else { everything(at) };
            let before = now(&rig.toy);
            match rig.rewind(&restore).await {
                Ok(_) => {}
                // Unique values, names that are taken: the restore says so itself.
                Err(_) => return,
            }
            let report = undo(&rig, &request(&rig, &restore.scope).await).await.unwrap();
            assert_eq!(report.conflicts, 0, "{report:?}");
            assert_eq!(now(&rig.toy), before);
        });
    }
}

#[test]
fn ids_and_predicates_take_back_what_they_had_picked() {
    block_on(async {
        let (rig, at) = damaged().await;
        let before = now(&rig.toy);
        let blue = |image: &[u8]| Record::parse(image).unwrap().get("colour") == Some("blue");
        let by_colour = Selection { predicate: Some(Arc::new(blue)), ..Selection::default() };
        let by_id = Selection { ids: Some(Arc::new(vec![b"b".to_vec(), b"c".to_vec()])), ..Selection::default() };
        for selection in [by_colour, by_id] {
            let scope = Scope { selection, ..Scope::default() };
            let report = rig.rewind(&RestoreRequest { scope: scope.clone(), ..everything(at) }).await.unwrap();
            assert!(report.written > 0);
            let undone = undo(&rig, &request(&rig, &scope).await).await.unwrap();
            assert_eq!(undone.written, report.written);
            assert_eq!(now(&rig.toy), before);
        }
    });
}
