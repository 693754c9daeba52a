//! Committing: what was appended is read back, racers lose nothing, a lost answer is not a lost commit.
#![allow(clippy::unwrap_used)]

mod forgetful;
mod rig;

use std::sync::Arc;

use backstay_ledger::{Chain, Draft, Error, Fact, Shape, commit_path, verify_chain};
use backstay_store::Store;
use forgetful::{Forgetful, Lie};
use rig::{Dice, NAME, NOW, VAULT, at, captured, create, filled, key, load, signer, tail, trusted, writer};

#[tokio::test]
async fn what_was_appended_is_loaded() {
    let (store, chain, _) = filled(20).await;
    let loaded = load(&store).await.unwrap();
    assert_eq!(loaded.state(), chain.state());
    let state = loaded.state();
    assert_eq!((state.vault(), state.head().seq), (VAULT, 19));
    assert_eq!((state.source().name.as_str(), state.source().kind.as_str()), (NAME, "toy"));
    assert_eq!(state.tails().map(|tail| tail.first).collect::<Vec<_>>(), (1..20).map(at).collect::<Vec<_>>());
    assert_eq!(state.frontier("rs0").unwrap().through, at(19));
    assert_eq!(Chain::identify(&store, NAME, &trusted()).await.unwrap(), VAULT);

    let report = verify_chain(&store, NAME, &trusted()).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!((report.checked, report.live.len()), (20, 19));
    assert_eq!(report.head, Some(state.head()));
}

#[tokio::test]
async fn a_reader_sees_what_is_new_and_a_snapshot_stays() {
    let (store, mut chain, mut dice) = filled(3).await;
    let mut reader = load(&store).await.unwrap();
    assert!(!reader.refresh().await.unwrap());
    let before = reader.snapshot();
    chain.append(captured(dice.id(), 3, 5), NOW, &mut dice.chance()).await.unwrap();
    assert!(reader.refresh().await.unwrap());
    assert_eq!(reader.state(), chain.state());
    assert_eq!(before.head().seq, 2);
}

#[tokio::test]
async fn segments_are_replaced_in_one_commit() {
    let (store, mut chain, mut dice) = filled(4).await;
    let mut run = tail(dice.id(), 1, 3);
    run.shape = Shape::DeltaRun;
    run.stream = None;
    let mut facts: Vec<Fact> = chain.state().tails().map(|tail| Fact::SegmentRemoved(tail.id)).collect();
    facts.push(Fact::SegmentAdded(run.clone()));
    chain.append(Draft { facts: facts.clone() }, NOW, &mut dice.chance()).await.unwrap();
    let state = chain.state();
    assert_eq!((state.tails().len(), state.delta_runs().len(), state.segments().len()), (0, 1, 1));
    assert_eq!(load(&store).await.unwrap().state(), state);

    // Its inputs are not live any more.
    let again = chain.append(Draft { facts }, NOW, &mut dice.chance()).await;
    assert!(matches!(again, Err(Error::Conflict { .. })), "{again:?}");
    let twice = chain.append(vec![Fact::SegmentAdded(run)].into(), NOW, &mut dice.chance()).await;
    assert!(matches!(twice, Err(Error::Conflict { .. })), "{twice:?}");
    assert_eq!(chain.state().head().seq, 4);
}

#[tokio::test]
async fn a_draft_without_facts_is_not_written() {
    let (store, mut chain, mut dice) = filled(2).await;
    assert_eq!(chain.append(Draft::default(), NOW, &mut dice.chance()).await.unwrap(), 1);
    assert_eq!(load(&store).await.unwrap().state().head().seq, 1);
}

#[tokio::test]
async fn nonsense_is_refused_before_it_is_written() {
    let (store, mut chain, mut dice) = filled(5).await;
    let overlapping = chain.append(captured(dice.id(), 4, 9), NOW, &mut dice.chance()).await;
    assert!(matches!(overlapping, Err(Error::Nonsense { .. })), "{overlapping:?}");
    assert_eq!(chain.state(), load(&store).await.unwrap().state());
    let path = tempfile::tempdir().unwrap();
    let unopened = Draft { facts: vec![] };
    let store = Store::local(path.path()).unwrap();
    let created = Chain::create(store, NAME, VAULT, key(1), writer(2), unopened, NOW, &mut dice.chance()).await;
    assert!(matches!(created, Err(Error::Nonsense { .. })));
}

#[tokio::test]
async fn a_vault_is_created_once_and_only_for_a_trusted_signer() {
    let (store, _, mut dice) = filled(2).await;
    let draft = Draft { facts: vec![rig::opened()] };
    let again =
        Chain::create(store.clone(), NAME, VAULT, key(1), writer(2), draft.clone(), NOW, &mut dice.chance()).await;
    assert!(matches!(again, Err(Error::Exists { .. })));
    // Not even when its first commit was lost.
    store.delete(&commit_path(NAME, 0)).await.unwrap();
    let again = Chain::create(store, NAME, VAULT, key(1), writer(2), draft, NOW, &mut dice.chance()).await;
    assert!(matches!(again, Err(Error::Exists { .. })));

    let (store, _, _) = filled(1).await;
    let stranger = load(&store).await.unwrap().into_writer(writer(9));
    assert!(matches!(stranger, Err(Error::WrongSigner { .. })));
    assert_ne!(signer(9).public_key(), trusted());
}

/// Appends 50 commits that each continue the frontier they find.
async fn race(store: Store, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut chain = load(&store).await.unwrap().into_writer(writer(2)).unwrap();
    for _ in 0..50 {
        let id = dice.id();
        let decide = |state: &backstay_ledger::VaultState| {
            let next = state.through().seconds() + 1;
            Ok::<_, Error>(captured(id, next, next))
        };
        chain.append_with(NOW, &mut dice.chance(), decide).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_racers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for store in [Store::memory(), Store::local(folder.path()).unwrap()] {
        create(&store, NAME, VAULT, &mut Dice::new(1)).await;
        let mut racers = tokio::task::JoinSet::new();
        racers.spawn(race(store.clone(), 2));
        racers.spawn(race(store.clone(), 3));
        while let Some(done) = racers.join_next().await {
            done.unwrap();
        }
        let loaded = load(&store).await.unwrap();
        assert_eq!(loaded.state().head().seq, 100);
        assert_eq!(loaded.state().tails().len(), 100);
        assert_eq!(loaded.state().through(), at(100));
        assert!(verify_chain(&store, NAME, &trusted()).await.unwrap().is_sound());
    }
}

#[tokio::test]
async fn whoever_is_overtaken_sees_the_new_state() {
    let (store, mut slow, mut dice) = filled(3).await;
    let mut fast = load(&store).await.unwrap().into_writer(writer(2)).unwrap();
    fast.append(captured(dice.id(), 3, 3), NOW, &mut dice.chance()).await.unwrap();
    let lost = slow.append(captured(dice.id(), 3, 4), NOW, &mut dice.chance()).await;
    assert!(matches!(lost, Err(Error::Overtaken { ref object }) if *object == commit_path(NAME, 3)), "{lost:?}");
    assert_eq!(slow.state(), fast.state());
}

#[tokio::test]
async fn a_lost_answer_is_not_a_lost_commit() {
    for lie in [Lie::Exists, Lie::Fail] {
        let forgetful = Arc::new(Forgetful::default());
        let store = Store::from_object_store(Arc::clone(&forgetful) as _);
        let mut dice = Dice::new(1);
        forgetful.next_create(lie);
        let mut chain = create(&store, NAME, VAULT, &mut dice).await;
        forgetful.next_create(lie);
        assert_eq!(chain.append(captured(dice.id(), 1, 1), NOW, &mut dice.chance()).await.unwrap(), 1);
        assert_eq!(chain.append(captured(dice.id(), 2, 2), NOW, &mut dice.chance()).await.unwrap(), 2);
        assert_eq!(load(&store).await.unwrap().state(), chain.state());
    }
}

#[tokio::test]
async fn a_commit_whose_fate_was_unknown_is_found_by_the_next_append() {
    let forgetful = Arc::new(Forgetful::default());
    let store = Store::from_object_store(Arc::clone(&forgetful) as _);
    let mut dice = Dice::new(1);
    let mut chain = create(&store, NAME, VAULT, &mut dice).await;
    let draft = captured(dice.id(), 1, 1);
    forgetful.next_create(Lie::FailAndHide);
    let unknown = chain.append(draft.clone(), NOW, &mut dice.chance()).await;
    assert!(matches!(unknown, Err(Error::Store(_))), "{unknown:?}");
    assert_eq!(chain.state().head().seq, 0);
    let found = chain.append(draft, NOW, &mut dice.chance()).await;
    assert!(matches!(found, Err(Error::Overtaken { .. })), "{found:?}");
    assert_eq!(chain.state().through(), at(1));
}
