//! Restoring: side by side and in place, selected, previewed, proved, twice.
#![allow(clippy::unwrap_used)]

mod rig;

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_archive::Selection;
use backstay_engine::{
    ConflictPolicy, Destination, Error, NamePattern, ProofScope, RestoreRequest, RunState, Scope, runs,
};
use backstay_sim::toy::{Record, Toy, ToyInterpreter, ToySource};
use backstay_sim::{Chance, workload};
use backstay_source::Target;
use proptest::collection::vec;
use proptest::prelude::*;
use rig::meddling::Meddling;
use rig::{Rig, block_on, cases, content, damaged, everything, now, of_tenant, tenant};

fn empty() -> ToySource {
    ToySource::new(Arc::new(Toy::new()))
}

#[test]
fn a_tenant_is_rewound_alone() {
    block_on(async {
        let (rig, at) = damaged().await;
        let before = now(&rig.toy);
        let preview = rig.rewind(&RestoreRequest { preview: true, ..tenant("acme", at) }).await.unwrap();
        assert_eq!(now(&rig.toy), before, "a preview writes nothing");
        assert!(preview.proof.is_none() && runs(&rig.repository, rig::NAME).await.unwrap().is_empty());
        let report = rig.rewind(&tenant("acme", at)).await.unwrap();
        assert_eq!(report.plan, preview.plan);
        assert_eq!((report.plan.insert, report.plan.replace, report.plan.delete), (1, 2, 1));
        assert_eq!((report.written, report.skipped), (4, 0));
        assert!(report.proof.unwrap().equal);
        let mut expected = content(&rig.toy.oracle(), at);
        let orders = expected.get_mut("shop.orders").unwrap();
        // What the other tenant did stays done.
        for id in [&b"b"[..], b"d", b"new-b"] {
            orders.insert(id.to_vec(), before["shop.orders"][id].clone());
        }
        expected.get_mut("shop.users").unwrap().remove(&b"d"[..]);
        assert_eq!(now(&rig.toy), expected);
        let calls = rig.toy.now();
        let again = rig.rewind(&tenant("acme", at)).await.unwrap();
        assert_eq!((again.plan.writes(), again.written, rig.toy.now()), (0, 0, calls), "twice is once (P2)");
        assert!(again.proof.unwrap().equal);
    });
}

#[test]
fn everything_selected_comes_back_in_every_way() {
    block_on(async {
        for proof in [ProofScope::Changed, ProofScope::Full] {
            let (rig, at) = damaged().await;
            let report = rig.rewind(&RestoreRequest { proof, ..everything(at) }).await.unwrap();
            assert!(report.proof.as_ref().is_some_and(|p| p.equal && p.scope == proof), "{report:?}");
            assert_eq!(now(&rig.toy), content(&rig.toy.oracle(), at));
        }
    });
}

#[test]
fn ids_and_predicates_pick_records_and_nothing_else_is_touched() {
    block_on(async {
        let (rig, at) = damaged().await;
        let ids = vec![b"b".to_vec(), b"c".to_vec(), b"new-b".to_vec()];
        let selection = Selection { ids: Some(Arc::new(ids)), ..Selection::default() };
        let orders: Arc<dyn Fn(&str) -> bool + Send + Sync> = Arc::new(|name| name == "shop.orders");
        let scope = Scope { namespaces: Some(Arc::clone(&orders)), selection, ..Scope::default() };
        let mut expected = now(&rig.toy);
        let then = content(&rig.toy.oracle(), at);
        let report = rig.rewind(&RestoreRequest { scope, ..everything(at) }).await.unwrap();
        let shop = expected.get_mut("shop.orders").unwrap();
        shop.insert(b"b".to_vec(), then["shop.orders"][&b"b"[..]].clone());
        shop.insert(b"c".to_vec(), then["shop.orders"][&b"c"[..]].clone());
        shop.remove(&b"new-b"[..]);
        assert_eq!(now(&rig.toy), expected);
        assert_eq!((report.plan.insert, report.plan.replace, report.plan.delete), (1, 1, 1));
        let blue = |image: &[u8]| Record::parse(image).unwrap().get("colour") == Some("blue");
        let selection = Selection { predicate: Some(Arc::new(blue)), ..Selection::default() };
        let scope = Scope { namespaces: Some(orders), selection, ..Scope::default() };
        rig.rewind(&RestoreRequest { scope, ..everything(at) }).await.unwrap();
        expected.get_mut("shop.orders").unwrap().remove(&b"new-a"[..]);
        assert_eq!(now(&rig.toy), expected, "only what was blue now and not there then is gone");
    });
}

#[test]
fn nothing_that_was_is_nothing_selected() {
    block_on(async {
        let (rig, at) = damaged().await;
        let scope = Scope { namespaces: Some(Arc::new(|name| name == "shop.none")), ..Scope::default() };
        let refused = rig.rewind(&RestoreRequest { scope, ..everything(at) }).await;
        assert!(matches!(refused, Err(Error::NothingSelected(_))), "{refused:?}");
        let report = rig.rewind(&tenant("nobody", at)).await.unwrap();
        assert_eq!((report.plan.writes(), report.written), (0, 0));
        let by_ids = |ids: &[&[u8]]| {
            let ids: BTreeSet<Vec<u8>> = ids.iter().map(|id| id.to_vec()).collect();
            let selection = Selection { ids: Some(Arc::new(ids.into_iter().collect())), ..Selection::default() };
            RestoreRequest { scope: Scope { selection, ..Scope::default() }, ..everything(at) }
        };
        let before = now(&rig.toy);
        for preview in [true, false] {
            let refused = rig.rewind(&RestoreRequest { preview, ..by_ids(&[b"nowhere", b"nor-here"]) }).await;
            assert!(matches!(refused, Err(Error::NothingSelected(_))), "{refused:?}");
            assert_eq!(now(&rig.toy), before);
        }
        let some = rig.rewind(&by_ids(&[b"nowhere", b"b"])).await.unwrap();
        assert!(some.notes.iter().any(|note| note.contains("nowhere")), "{some:?}");
        // Once it is gone, running it again is no mistake.
        for deleted in [1, 0] {
            let live_only = rig.rewind(&by_ids(&[b"new-b"])).await.unwrap();
            assert_eq!((live_only.plan.delete, live_only.notes.as_slice()), (deleted, &[][..]));
        }
    });
}

#[test]
fn a_restore_under_other_names_leaves_the_old_ones_alone() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.capture().await;
        let before = now(&rig.toy);
        let rename: backstay_engine::Rename = Arc::new(|name: &str| name.replace("shop.", "rescued."));
        let request = RestoreRequest { destination: Destination::Into { rename }, ..everything(at) };
        let report = rig.restore_into(&rig.source, &request).await.unwrap();
        assert!(report.proof.as_ref().is_some_and(|proof| proof.equal && proof.definitions.is_empty()), "{report:?}");
        let after = now(&rig.toy);
        let then = content(&rig.toy.oracle(), at);
        assert_eq!((&after["shop.orders"], &after["shop.users"]), (&before["shop.orders"], &before["shop.users"]));
        assert_eq!((&after["rescued.orders"], &after["rescued.users"]), (&then["shop.orders"], &then["shop.users"]));
        // Damage there is repaired by the same command: only the difference is written.
        rig.append("rescued.orders", b"a", "9");
        rig.put("rescued.users", b"zz", "acme", "extra");
        let again = rig.restore_into(&rig.source, &request).await.unwrap();
        assert_eq!((again.plan.replace, again.plan.delete, again.written), (1, 1, 2));
        assert_eq!(now(&rig.toy)["rescued.users"], then["shop.users"]);
    });
}

#[test]
fn a_selective_restore_that_was_cut_short_defines_what_it_created() {
    block_on(async {
        for call in 1.. {
            let (rig, at) = damaged().await;
            rig.capture().await;
            let target = empty();
            target.fail_call(call, backstay_sim::toy::ToyFault::Unavailable);
            let before = target.calls();
            let first = rig.restore_into(&target, &tenant("acme", at)).await;
            if target.calls() < before + call {
                assert!(call > 5 && first.is_ok());
                return;
            }
            let report = rig.restore_into(&target, &tenant("acme", at)).await.unwrap();
            assert!(report.proof.unwrap().equal, "call {call}: {first:?}");
            let view = rig.vault().await.snapshot(Arc::new(ToyInterpreter), at).await.unwrap().at(at).await.unwrap();
            for definition in view.definitions().await.unwrap() {
                let differences = target.definition_differences(&definition.name, &definition.image).await.unwrap();
                assert!(differences.is_empty(), "call {call}: {first:?} {differences:?}");
            }
        }
    });
}

#[test]
fn what_a_selective_restore_finds_it_does_not_define() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.capture().await;
        let target = empty();
        target.toy().create("shop.orders").unwrap();
        for _ in 0..2 {
            let report = rig.restore_into(&target, &tenant("acme", at)).await.unwrap();
            assert!(report.proof.unwrap().equal);
        }
        let view = rig.vault().await.snapshot(Arc::new(ToyInterpreter), at).await.unwrap().at(at).await.unwrap();
        let orders = view.definitions().await.unwrap().into_iter().find(|known| known.name == "shop.orders").unwrap();
        assert!(!target.definition_differences("shop.orders", &orders.image).await.unwrap().is_empty());
    });
}

#[test]
fn definitions_that_differ_are_no_proof() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.toy.alter("shop.orders", |definition| definition.with("validator", "strict")).unwrap();
        let report = rig.rewind(&everything(at)).await.unwrap();
        let proof = report.proof.unwrap();
        assert!(!proof.equal && proof.has_equal_records() && !proof.definitions.is_empty(), "{proof:?}");
        let run = runs(&rig.repository, rig::NAME).await.unwrap().pop().unwrap();
        assert_eq!(run.state, RunState::Failed);
        // Of one tenant nobody asked for definitions.
        assert!(rig.rewind(&tenant("acme", at)).await.unwrap().proof.unwrap().equal);
    });
}

#[test]
fn a_renamed_namespace_is_named_whatever_is_selected() {
    block_on(async {
        for selective in [false, true] {
            let (rig, at) = damaged().await;
            rig.toy.rename("shop.orders", "shop.old").unwrap();
            let only: Arc<dyn Fn(&str) -> bool + Send + Sync> = Arc::new(|name| name == "shop.orders");
            let RestoreRequest { scope, .. } = if selective { tenant("acme", at) } else { everything(at) };
            let scope = Scope { namespaces: Some(only), ..scope };
            let request = RestoreRequest { scope, preview: true, ..everything(at) };
            let report = rig.rewind(&request).await.unwrap();
            let told = |note: &&String| note.starts_with("shop.old was called shop.orders then");
            assert_eq!(report.notes.iter().filter(told).count(), 1, "{report:?}");
        }
    });
}

#[test]
fn a_name_that_looks_like_a_pattern_means_the_namespace_of_that_name() {
    block_on(async {
        let rig = Rig::with_shop().await;
        for name in ["shop.o?[x]", "shop.o?x"] {
            rig.toy.create(name).unwrap();
            rig.put(name, b"a", "acme", "red");
        }
        rig.backup().await;
        let at = rig.toy.now();
        let pattern = |text: &str| NamePattern {
            text: text.to_owned(),
            matches: Arc::new(|name| name.starts_with("shop.o") && name.ends_with('x')),
        };
        let restored = async |text: &str| {
            let scope = Scope { patterns: vec![pattern(text)], ..Scope::default() };
            let report = rig.restore_into(&empty(), &RestoreRequest { scope, ..everything(at) }).await.unwrap();
            report.namespaces.into_iter().map(|plan| plan.namespace).collect::<Vec<_>>()
        };
        assert_eq!(restored("shop.o?[x]").await, ["shop.o?[x]"]);
        assert_eq!(restored("shop.o?[xy]").await, ["shop.o?x"]);
        // What is there now is not passed over for another that was there then.
        rig.toy.create("shop.o*[x]").unwrap();
        let scope = Scope { patterns: vec![pattern("shop.o*[x]")], ..Scope::default() };
        let refused = rig.rewind(&RestoreRequest { scope, ..everything(at) }).await;
        assert!(matches!(refused, Err(Error::NothingSelected(_))), "{refused:?}");
    });
}

#[test]
fn two_namespaces_never_share_a_name() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.capture().await;
        let rename: backstay_engine::Rename = Arc::new(|_: &str| "rescued.all".to_owned());
        for preview in [true, false] {
            let destination = Destination::Into { rename: Arc::clone(&rename) };
            let target = empty();
            let refused = rig.restore_into(&target, &RestoreRequest { destination, preview, ..everything(at) }).await;
            assert!(
                matches!(&refused, Err(Error::WrongNames { why, .. }) if why.contains("shop.users")),
                "{refused:?}"
            );
            assert!(now(target.toy()).is_empty());
        }
        assert!(runs(&rig.repository, rig::NAME).await.unwrap().is_empty());
    });
}

#[test]
fn a_dropped_namespace_comes_back_in_place() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.toy.drop_namespace("shop.orders").unwrap();
        let report = rig.rewind(&everything(at)).await.unwrap();
        assert!(report.proof.unwrap().equal);
        assert_eq!(now(&rig.toy), content(&rig.toy.oracle(), at));
    });
}

#[test]
fn a_namespace_that_was_dropped_and_made_again_is_compared() {
    block_on(async {
        let (rig, at) = damaged().await;
        rig.toy.drop_namespace("shop.orders").unwrap();
        rig.toy.create("shop.orders").unwrap();
        rig.put("shop.orders", b"a", "acme", "other");
        rig.put("shop.orders", b"zz", "bolt", "other");
        let report = rig.rewind(&everything(at)).await.unwrap();
        assert!(report.proof.unwrap().equal);
        assert_eq!(now(&rig.toy), content(&rig.toy.oracle(), at));
        let then = content(&rig.toy.oracle(), at);
        rig.toy.drop_namespace("shop.users").unwrap();
        rig.toy.create("shop.users").unwrap();
        rig.put("shop.users", b"a", "bolt", "other");
        rig.put("shop.users", b"b", "bolt", "other");
        rig.put("shop.users", b"zz", "acme", "other");
        let report = rig.rewind(&tenant("acme", at)).await.unwrap();
        assert!(report.proof.unwrap().equal);
        assert_eq!(of_tenant(&now(&rig.toy), "acme"), of_tenant(&then, "acme"));
        assert!(now(&rig.toy)["shop.users"].contains_key(&b"b"[..]), "the other tenant's record stays");
    });
}

#[test]
fn a_target_that_lies_is_found_out() {
    block_on(async {
        for proof in [ProofScope::Changed, ProofScope::Full] {
            let (rig, at) = damaged().await;
            rig.capture().await;
            let report = rig.restore_into(&Meddling::new(&empty()).lying("mauve"), &everything(at)).await.unwrap();
            let found = report.proof.unwrap();
            assert!(!found.equal && found.archive != found.target);
            let request = RestoreRequest { proof, on_conflict: ConflictPolicy::Skip, ..everything(at) };
            let report = rig.rewind_through(&Meddling::new(&rig.source).lying("mauve"), &request).await.unwrap();
            assert!(!report.proof.unwrap().equal);
        }
    });
}

#[test]
fn a_rewind_that_was_killed_is_finished_by_the_next() {
    block_on(async {
        for call in 1.. {
            let (rig, at) = damaged().await;
            rig.capture().await;
            rig.source.fail_call(call, backstay_sim::toy::ToyFault::Unavailable);
            let before = rig.source.calls();
            let first = rig.rewind(&tenant("acme", at)).await;
            if rig.source.calls() < before + call {
                assert!(call > 5 && first.is_ok());
                return;
            }
            let report = rig.rewind(&tenant("acme", at)).await.unwrap();
            assert!(report.proof.unwrap().equal, "call {call}: {first:?}");
            assert_eq!(of_tenant(&now(&rig.toy), "acme"), of_tenant(&content(&rig.toy.oracle(), at), "acme"));
        }
    });
}

#[test]
fn a_record_that_the_tenant_has_since_been_given_stays_and_does_not_spoil_the_proof() {
    block_on(async {
        for proof in [ProofScope::Changed, ProofScope::Full] {
            let (rig, at) = damaged().await;
            rig.give("shop.orders", b"f", "acme");
            let before = now(&rig.toy)["shop.orders"][&b"f"[..]].clone();
            let report = rig.rewind(&RestoreRequest { proof, ..tenant("acme", at) }).await.unwrap();
            assert_eq!(now(&rig.toy)["shop.orders"][&b"f"[..]], before, "it was another's then");
            assert!(report.proof.unwrap().equal, "{proof:?}");
        }
    });
}

proptest! {
    #![proptest_config(cases(60))]

    /// A rewind of some records leaves exactly those as they were, and every other as it is (P1, P2).
    #[test]
    fn rewinding_restores_what_is_selected_and_nothing_else(
        before in vec(any::<u64>(), 0..50), after in vec(any::<u64>(), 0..60), picks in any::<u64>(),
        full in any::<bool>(), compact in any::<bool>(),
    ) {
        block_on(async {
            let rig = Rig::with_shop().await;
            let mut open = Vec::new();
            let act = |numbers: &[u64], open: &mut Vec<_>| {
                for number in numbers {
                    workload::Action::of(*number).carry_out(&rig.toy, open);
                }
                for transaction in open.drain(..) {
                    rig.toy.commit(transaction);
                }
            };
            act(&before, &mut open);
            rig.backup().await;
            act(&after, &mut open);
            rig.capture().await;
            if compact {
                rig.compact().await;
            }
            let mut chance = Chance::new(picks);
            let covered = rig.covered().await;
            let at = if covered.is_empty() { rig.toy.now() } else { *chance.pick(&covered) };
            let oracle = rig.toy.oracle();
            let live_names = rig.toy.namespaces();
            let (then, live) = (content(&oracle, at), now(&rig.toy));
            let mut selection = Selection::default();
            if chance.once_in(2) {
                let tenants: BTreeSet<String> = (0..1 + chance.below(2)).map(|_| (*chance.pick(&workload::TENANTS)).to_owned()).collect();
                selection.tenants = Some(tenants);
            }
            if chance.once_in(3) {
                let ids: BTreeSet<Vec<u8>> = (0..chance.below(6)).map(|_| chance.pick(&workload::IDS).to_vec()).collect();
                selection.ids = Some(Arc::new(ids.into_iter().collect()));
            }
            if chance.once_in(4) {
                selection.predicate = Some(Arc::new(|image: &[u8]| image.len().is_multiple_of(2)));
            }
            let is_meant = |id: &[u8], image: &[u8]| {
                selection.tenants.as_ref().is_none_or(|t| t.contains(Record::parse(image).unwrap().tenant()))
                    && selection.ids.as_ref().is_none_or(|ids| ids.iter().any(|known| known == id))
                    && selection.predicate.as_ref().is_none_or(|p| p(image))
            };
            let mut expected = live.clone();
            for (name, records) in &then {
                let current = expected.entry(name.clone()).or_default();
                let now = current.clone();
                for (id, image) in &now {
                    if is_meant(id, image) && !records.contains_key(id) {
                        current.remove(id);
                    }
                }
                for (id, image) in records.iter().filter(|(id, image)| is_meant(id, image)) {
                    current.insert(id.clone(), image.clone());
                }
            }
            let proof = if full { ProofScope::Full } else { ProofScope::Changed };
            let scope = Scope { selection: selection.clone(), ..Scope::default() };
            let request = RestoreRequest { scope, proof, ..everything(at) };
            if then.is_empty() {
                return;
            }
            let preview = rig.rewind(&RestoreRequest { preview: true, ..request.clone() }).await;
            assert_eq!(rig.toy.namespaces(), live_names);
            if let Err(Error::NothingSelected(_)) = preview {
                let records = then.iter().flat_map(|(name, records)| records.iter().chain(live.get(name).into_iter().flatten()));
                assert!(!records.into_iter().any(|(id, image)| is_meant(id, image)), "something was meant");
                return;
            }
            let preview = preview.unwrap();
            let report = rig.rewind(&request).await.unwrap();
            assert_eq!(now(&rig.toy), expected, "as of {at}");
            assert_eq!((report.plan, report.written), (preview.plan, preview.plan.writes()));
            assert!(report.proof.as_ref().unwrap().equal, "{report:?}");
            let again = rig.rewind(&request).await.unwrap();
            assert_eq!((again.plan.writes(), again.written, now(&rig.toy)), (0, 0, expected));
            // The rewind itself is history like everything else: the past has not changed by it.
            rig.capture().await;
            rig.check(at).await;
            rig.check(rig.toy.now()).await;
        });
    }
}
