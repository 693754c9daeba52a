//! Every way to damage a chain is found, by loading and by verifying, and the object is named.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_ledger::{Chain, Error, ProblemKind, Report, chain_prefix, commit_path, verify_chain};
use backstay_seal::{DataKey, KeyId, Secret};
use backstay_store::Store;
use bytes::Bytes;
use rig::{Dice, NAME, NOW, VAULT, captured, create, filled, key, load, overwrite, trusted, writer};
use std::sync::Arc;

async fn verify(store: &Store) -> Report {
    verify_chain(store, NAME, &trusted()).await.unwrap()
}

/// Both ways of looking find one problem of this kind at this commit.
async fn both_blame(store: &Store, seq: u64, kind: ProblemKind) {
    let object = commit_path(NAME, seq);
    let report = verify(store).await;
    let found: Vec<_> = report.problems.iter().map(|problem| (problem.kind, problem.object.clone())).collect();
    assert_eq!(found, [(kind, object.clone())], "{:?}", report.problems);
    let (named, loaded_kind) = match load(store).await.unwrap_err() {
        Error::Missing { object } => (object, ProblemKind::Missing),
        Error::Corrupt { object, .. } => (object, ProblemKind::Corrupt),
        Error::Foreign { object, .. } => (object, ProblemKind::Foreign),
        Error::Newer { object, .. } => (object, ProblemKind::Newer),
        other => panic!("{other}"),
    };
    assert_eq!((named, loaded_kind), (object, kind));
}

#[tokio::test]
async fn one_flipped_bit_in_any_byte_of_any_commit() {
    let (store, ..) = filled(3).await;
    for seq in 0..3 {
        let sound = store.get(&commit_path(NAME, seq)).await.unwrap();
        for at in 0..sound.len() {
            let mut altered = sound.to_vec();
            altered[at] ^= 1 << (at % 8);
            overwrite(&store, seq, altered.into()).await;
            // The two bytes of the format version make it look newer.
            let kind = if (8..10).contains(&at) { ProblemKind::Newer } else { ProblemKind::Corrupt };
            both_blame(&store, seq, kind).await;
        }
        overwrite(&store, seq, sound).await;
    }
    assert!(verify(&store).await.is_sound());
}

#[tokio::test]
async fn a_commit_cut_anywhere_or_made_longer() {
    let (store, ..) = filled(2).await;
    let sound = store.get(&commit_path(NAME, 1)).await.unwrap();
    for length in 0..sound.len() {
        overwrite(&store, 1, sound.slice(..length)).await;
        both_blame(&store, 1, ProblemKind::Corrupt).await;
    }
    let longer = [&sound[..], b"x"].concat();
    overwrite(&store, 1, longer.into()).await;
    both_blame(&store, 1, ProblemKind::Corrupt).await;
}

#[tokio::test]
async fn a_missing_commit() {
    let (store, ..) = filled(6).await;
    store.delete(&commit_path(NAME, 2)).await.unwrap();
    both_blame(&store, 2, ProblemKind::Missing).await;
    store.delete(&commit_path(NAME, 3)).await.unwrap();
    both_blame(&store, 2, ProblemKind::Missing).await;
    let detail = verify(&store).await.problems.remove(0).detail;
    assert!(detail.contains(&commit_path(NAME, 3)), "{detail}");
}

#[tokio::test]
async fn a_missing_first_commit_and_a_missing_vault() {
    let (store, ..) = filled(3).await;
    store.delete(&commit_path(NAME, 0)).await.unwrap();
    both_blame(&store, 0, ProblemKind::Missing).await;
    both_blame(&Store::memory(), 0, ProblemKind::Missing).await;
}

#[tokio::test]
async fn a_hole_is_seen_by_a_reader_that_goes_on() {
    let (store, mut chain, mut dice) = filled(3).await;
    let mut reader = load(&store).await.unwrap();
    for second in 3..6 {
        chain.append(captured(dice.id(), second, second), NOW, &mut dice.chance()).await.unwrap();
    }
    store.delete(&commit_path(NAME, 4)).await.unwrap();
    let refreshed = reader.refresh().await;
    assert!(matches!(refreshed, Err(Error::Missing { ref object }) if *object == commit_path(NAME, 4)));
    assert_eq!(reader.state().head().seq, 2, "after an error the state is the one before");
}

/// The commit `seq` of a vault like ours that somebody else made with the same facts.
async fn counterfeit(seq: u64, vault: [u8; 16], signer: u8) -> Bytes {
    let store = Store::memory();
    let mut dice = Dice::new(9);
    let draft = vec![rig::opened()].into();
    let mut chain = Chain::create(store.clone(), NAME, vault, key(1), writer(signer), draft, NOW, &mut dice.chance())
        .await
        .unwrap();
    for second in 1..=u32::try_from(seq).unwrap() {
        chain.append(captured(dice.id(), second, second), NOW, &mut dice.chance()).await.unwrap();
    }
    store.get(&commit_path(NAME, seq)).await.unwrap()
}

#[tokio::test]
async fn a_commit_signed_with_another_key() {
    for seq in 0..4 {
        let (store, ..) = filled(4).await;
        overwrite(&store, seq, counterfeit(seq, VAULT, 5).await).await;
        both_blame(&store, seq, ProblemKind::Foreign).await;
    }
}

#[tokio::test]
async fn a_commit_of_another_vault_of_ours() {
    for seq in 1..4 {
        let (store, ..) = filled(4).await;
        overwrite(&store, seq, counterfeit(seq, [0x22; 16], 2).await).await;
        both_blame(&store, seq, ProblemKind::Foreign).await;
    }
}

#[tokio::test]
async fn a_whole_chain_moved_to_another_vaults_place() {
    let store = Store::memory();
    let mut dice = Dice::new(1);
    create(&store, "other", [0x22; 16], &mut dice).await;
    let moved = store.get(&commit_path("other", 0)).await.unwrap();
    store.create(&commit_path(NAME, 0), moved).await.unwrap();
    both_blame(&store, 0, ProblemKind::Foreign).await;
}

#[tokio::test]
async fn another_history_of_the_same_vault() {
    // Signed by us, for this vault and this number; only the next commit knows better.
    let (store, ..) = filled(4).await;
    overwrite(&store, 2, counterfeit(2, VAULT, 2).await).await;
    let report = verify(&store).await;
    let blamed: Vec<_> = report.problems.iter().map(|problem| problem.object.clone()).collect();
    assert_eq!(blamed, [commit_path(NAME, 1), commit_path(NAME, 2)], "{:?}", report.problems);
    assert!(matches!(load(&store).await, Err(Error::Corrupt { .. })));
}

#[tokio::test]
async fn two_commits_in_each_others_place() {
    let (store, ..) = filled(4).await;
    let one = store.get(&commit_path(NAME, 1)).await.unwrap();
    let two = store.get(&commit_path(NAME, 2)).await.unwrap();
    overwrite(&store, 1, two).await;
    overwrite(&store, 2, one).await;
    let report = verify(&store).await;
    let found: Vec<_> = report.problems.iter().map(|problem| (problem.kind, problem.object.clone())).collect();
    let expected = [1, 2].map(|seq| (ProblemKind::Foreign, commit_path(NAME, seq)));
    assert_eq!(found, expected);
    assert!(matches!(load(&store).await, Err(Error::Foreign { object, .. }) if object == commit_path(NAME, 1)));
}

#[tokio::test]
async fn one_report_names_all_problems() {
    let (store, ..) = filled(12).await;
    store.delete(&commit_path(NAME, 3)).await.unwrap();
    overwrite(&store, 6, Bytes::from_static(b"nothing like a commit")).await;
    overwrite(&store, 9, counterfeit(9, VAULT, 5).await).await;
    store.create(&format!("{}notes.txt", chain_prefix(NAME)), Bytes::from_static(b"hello")).await.unwrap();
    let report = verify(&store).await;
    let kinds: Vec<_> = report.problems.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, [ProblemKind::Stray, ProblemKind::Missing, ProblemKind::Corrupt, ProblemKind::Foreign]);
    assert_eq!(report.checked, 11);
    assert_eq!(report.head.unwrap().seq, 11);
}

#[tokio::test]
async fn a_wrong_vault_key() {
    let (store, ..) = filled(2).await;
    let other_id = key(3);
    let same_id = Arc::new(DataKey::new(KeyId([1; 16]), Secret::take(&mut [3; 32])));
    for wrong in [other_id, same_id] {
        let loaded = Chain::load(store.clone(), NAME, wrong, trusted()).await;
        assert!(matches!(loaded, Err(Error::WrongKey { object }) if object == commit_path(NAME, 0)));
    }
}

/// Not found, and documented so: the newest commits cut off leave a valid chain. Who must know keeps the head elsewhere.
#[tokio::test]
async fn the_newest_commits_cut_off_leave_a_shorter_chain() {
    let (store, chain, _) = filled(5).await;
    store.delete(&commit_path(NAME, 4)).await.unwrap();
    let report = verify(&store).await;
    assert!(report.is_sound());
    assert_ne!(report.head, Some(chain.state().head()));
    assert_eq!(load(&store).await.unwrap().state().head().seq, 3);
}
