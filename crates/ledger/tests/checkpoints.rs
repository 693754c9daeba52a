//! Checkpoints: opening reads one and little more, and loses nothing when they are damaged, lost or forged.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_ledger::{
    Chain, Draft, Error, Fact, ProblemKind, VaultState, checkpoint_path, checkpoint_prefix, commit_path, verify_chain,
};
use backstay_store::Store;
use rig::{Dice, NAME, NOW, VAULT, captured, create, filled, key, load, trusted, writer};

/// More commits than lie between two checkpoints.
const COMMITS: u32 = 300;
const CHECKPOINT: u64 = 256;

async fn checkpoints(store: &Store) -> Vec<String> {
    store.list(&checkpoint_prefix(NAME)).await.unwrap().into_iter().map(|object| object.path).collect()
}

async fn put(store: &Store, path: &str, bytes: &[u8]) {
    let _ = store.delete(path).await;
    store.create(path, bytes.to_vec().into()).await.unwrap();
}

/// The state that the chain alone gives.
async fn folded(store: &Store) -> VaultState {
    let bare = Store::memory();
    for object in store.list(&backstay_ledger::chain_prefix(NAME)).await.unwrap() {
        bare.create(&object.path, store.get(&object.path).await.unwrap()).await.unwrap();
    }
    load(&bare).await.unwrap().state().clone()
}

async fn blamed(store: &Store) -> Vec<(ProblemKind, String)> {
    let report = verify_chain(store, NAME, &trusted()).await.unwrap();
    report.problems.into_iter().map(|problem| (problem.kind, problem.object)).collect()
}

#[tokio::test]
async fn opening_reads_no_commit_below_the_newest_checkpoint() {
    let (store, chain, _) = filled(COMMITS).await;
    assert_eq!(checkpoints(&store).await, [checkpoint_path(NAME, CHECKPOINT)], "one, and only one");
    assert_eq!(blamed(&store).await, []);
    assert_eq!(&folded(&store).await, chain.state());
    for seq in 1..CHECKPOINT {
        store.delete(&commit_path(NAME, seq)).await.unwrap();
    }
    assert_eq!(load(&store).await.unwrap().state(), chain.state());
}

#[tokio::test]
async fn a_reader_that_is_far_behind_takes_the_checkpoint() {
    let (store, mut chain, mut dice) = filled(3).await;
    let mut reader = load(&store).await.unwrap();
    for second in 3..=1040 {
        chain.append(captured(dice.id(), second, second), NOW, &mut dice.chance()).await.unwrap();
    }
    for seq in 3..1000 {
        store.delete(&commit_path(NAME, seq)).await.unwrap();
    }
    assert!(reader.refresh().await.unwrap());
    assert_eq!(reader.state(), chain.state());
}

#[tokio::test]
async fn a_damaged_checkpoint_is_passed_over_and_named() {
    let (store, chain, _) = filled(600).await;
    let [newest, older] = <[String; 2]>::try_from(checkpoints(&store).await).unwrap();
    assert_eq!((&newest, &older), (&checkpoint_path(NAME, 512), &checkpoint_path(NAME, 256)));
    let sound = store.get(&newest).await.unwrap();
    let elsewhere = store.get(&older).await.unwrap();
    let mut broken: Vec<Vec<u8>> = [0, sound.len() / 2, sound.len() - 1].map(|cut| sound[..cut].to_vec()).into();
    broken.push([&sound[..], b"x"].concat());
    broken.push(elsewhere.to_vec());
    broken.push(store.get(&commit_path(NAME, 512)).await.unwrap().to_vec());
    // Magic, signer, length, skeleton, signature, salt, body, tag.
    let places = [0, 9, 20, 43, 60, 5000, sound.len() / 2, sound.len() - 200, sound.len() - 1];
    for at in places.into_iter().chain((0..sound.len()).step_by(9973)) {
        let mut altered = sound.to_vec();
        altered[at] ^= 1;
        broken.push(altered);
    }
    for bytes in broken {
        put(&store, &newest, &bytes).await;
        assert_eq!(load(&store).await.unwrap().state(), chain.state());
        let blamed = blamed(&store).await;
        assert_eq!(blamed.iter().map(|(_, object)| object).collect::<Vec<_>>(), [&newest]);
    }
    put(&store, &older, b"").await;
    assert_eq!(load(&store).await.unwrap().state(), chain.state(), "all are damaged: the chain has it all");
    assert_eq!(blamed(&store).await.len(), 2);
    for path in [&newest, &older] {
        store.delete(path).await.unwrap();
    }
    assert_eq!(load(&store).await.unwrap().state(), chain.state());
    assert_eq!(blamed(&store).await, [], "a checkpoint that was taken away is no damage");
}

#[tokio::test]
async fn a_checkpoint_of_another_signer_or_vault_is_foreign() {
    for (vault, signer) in [(VAULT, 5), ([0x22; 16], 2)] {
        let (store, chain, _) = filled(COMMITS).await;
        let other = Store::memory();
        let mut dice = Dice::new(9);
        let draft = Draft::from(vec![rig::opened()]);
        let mut forged =
            Chain::create(other.clone(), NAME, vault, key(1), writer(signer), draft, NOW, &mut dice.chance())
                .await
                .unwrap();
        for second in 1..=256 {
            forged.append(captured(dice.id(), second, second), NOW, &mut dice.chance()).await.unwrap();
        }
        let path = checkpoint_path(NAME, CHECKPOINT);
        put(&store, &path, &other.get(&path).await.unwrap()).await;
        assert_eq!(load(&store).await.unwrap().state(), chain.state());
        assert_eq!(blamed(&store).await, [(ProblemKind::Foreign, path)]);
    }
}

/// The checkpoint of the same vault with another history, by the same signer.
async fn other_history() -> (Store, String) {
    let other = Store::memory();
    let mut dice = Dice::new(7);
    let mut chain = create(&other, NAME, VAULT, &mut dice).await;
    for second in 1..=256 {
        chain.append(captured(dice.id(), second, second), NOW, &mut dice.chance()).await.unwrap();
    }
    (other, checkpoint_path(NAME, CHECKPOINT))
}

#[tokio::test]
async fn a_checkpoint_of_another_history_is_an_error_and_no_shortcut() {
    let (store, ..) = filled(COMMITS).await;
    let (other, path) = other_history().await;
    put(&store, &path, &other.get(&path).await.unwrap()).await;
    match load(&store).await {
        Err(Error::Corrupt { object, why }) => {
            assert!(object == commit_path(NAME, CHECKPOINT) && why.contains(&path), "{object}: {why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(blamed(&store).await, [(ProblemKind::Corrupt, path)]);
}

#[tokio::test]
async fn a_chain_that_was_cut_off_below_a_checkpoint_is_seen() {
    let (store, ..) = filled(COMMITS).await;
    for seq in 200..u64::from(COMMITS) {
        store.delete(&commit_path(NAME, seq)).await.unwrap();
    }
    assert!(matches!(load(&store).await, Err(Error::Missing { object }) if object == commit_path(NAME, CHECKPOINT)));
    assert_eq!(blamed(&store).await, [(ProblemKind::Missing, commit_path(NAME, 200))]);
}

#[tokio::test]
async fn a_wrong_vault_key_is_named_as_such() {
    let (store, ..) = filled(COMMITS).await;
    let opened = Chain::load(store, NAME, key(3), trusted()).await;
    assert!(matches!(opened, Err(Error::WrongKey { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_state_with_everything_in_it_comes_back_whole() {
    let (store, mut chain, mut dice) = filled(250).await;
    let holder = backstay_ledger::Holder { host: "db1".into(), process: 7, mark: 8 };
    let claimed = Fact::StreamClaimed { stream: "rs0".into(), epoch: 1, holder };
    let removed = chain.state().tails().take(5).map(|tail| Fact::SegmentRemoved(tail.id)).collect::<Vec<_>>();
    let scan = Fact::ScanStarted { scan: [9; 16], from: rig::at(2) };
    for facts in [vec![claimed, scan], removed, vec![Fact::FloorRaised { floor: 100 }]] {
        chain.append(facts.into(), NOW + 100_000, &mut dice.chance()).await.unwrap();
    }
    for second in 253..300 {
        chain.append(captured(dice.id(), second, second), NOW + 200_000, &mut dice.chance()).await.unwrap();
    }
    let loaded = load(&store).await.unwrap();
    assert_eq!(loaded.state(), chain.state());
    assert_eq!((loaded.state().floor(), loaded.state().claim("rs0").unwrap().holder.process), (100, 7));
}

// ------------------------------------------------------------------------------------------ winning is not enough

#[tokio::test]
async fn a_writer_that_slept_cannot_take_a_name_that_was_deleted() {
    for deleted in [vec![3], vec![3, 4], (3..=9).collect::<Vec<_>>()] {
        let (store, mut slow, mut dice) = filled(3).await;
        let mut fast = load(&store).await.unwrap().into_writer(writer(2)).unwrap();
        for second in 3..=10 {
            fast.append(captured(dice.id(), second, second), NOW, &mut dice.chance()).await.unwrap();
        }
        // As over a delete marker, or below what was collected: the create succeeds.
        for seq in deleted {
            store.delete(&commit_path(NAME, seq)).await.unwrap();
        }
        let lost = slow.append(captured(dice.id(), 3, 4), NOW, &mut dice.chance()).await;
        assert!(matches!(lost, Err(Error::Beside { ref object, .. }) if *object == commit_path(NAME, 3)), "{lost:?}");
        assert_eq!(slow.state().head().seq, 2, "it was not acknowledged");
    }
}

#[tokio::test]
async fn a_superseded_writer_is_told_who_holds_the_stream() {
    let (store, mut old, mut dice) = filled(2).await;
    let holder = |process| backstay_ledger::Holder { host: "db1".into(), process, mark: 0 };
    let claimed = |epoch| Fact::StreamClaimed { stream: "rs0".into(), epoch, holder: holder(epoch) };
    let under = |epoch| Fact::UnderClaim { stream: "rs0".into(), epoch };
    old.append(vec![claimed(1)].into(), NOW, &mut dice.chance()).await.unwrap();
    let mut new = load(&store).await.unwrap().into_writer(writer(2)).unwrap();
    new.append(vec![claimed(2)].into(), NOW + 60, &mut dice.chance()).await.unwrap();

    let id = dice.id();
    let decide = |_: &VaultState| {
        let mut facts = vec![under(1)];
        facts.extend(captured(id, 2, 2).facts);
        Ok::<_, Error>(Draft::from(facts))
    };
    match old.append_with(NOW + 61, &mut dice.chance(), decide).await {
        Err(Error::Fenced { stream, by }) => {
            assert_eq!((stream.as_str(), by.holder.process, by.since), ("rs0", 2, NOW + 60));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(load(&store).await.unwrap().state().through(), rig::at(1), "nothing was written");
}
