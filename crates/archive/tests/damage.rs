//! Damage of every kind to every kind of object: `verify` names it, and a read fails naming it or is exactly right.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use backstay_archive::{Error, Vault, VerifyOptions, VerifyReport};
use backstay_model::Tick;
use backstay_sim::{Chance, Truth};
use backstay_store::Store;
use bytes::Bytes;
use rig::{NAME, Rig, block_on, furnished, overwrite, read_all, reopen};

/// How many places of a large object are damaged; a small one is damaged everywhere.
const PLACES: usize = 40;

struct Subject {
    rig: Rig,
    store: Store,
    at: Tick,
    truth: Vec<Truth>,
    objects: Vec<(String, Bytes)>,
}

async fn subject() -> Subject {
    let rig = furnished().await;
    // Segments that compaction has replaced are nobody's loss.
    rig.vault.sweep(u64::MAX).await.unwrap();
    let (store, at) = (rig.faulty.sound(), rig.toy.now());
    let truth = read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap();
    assert_eq!(truth.len(), 5);
    let mut objects = Vec::new();
    for object in store.list("").await.unwrap() {
        objects.push((object.path.clone(), store.get(&object.path).await.unwrap()));
    }
    Subject { rig, store, at, truth, objects }
}

impl Subject {
    async fn verify(&self) -> Result<VerifyReport, Error> {
        let repository = reopen(&self.rig, Arc::clone(&self.rig.keyring)).await?;
        Vault::verify(&repository, NAME, VerifyOptions { content: true, sample: None }, |_, _| {}).await
    }

    /// The damage to the object at `path` is found, and no read gives a wrong answer.
    async fn expect_found(&self, path: &str, damage: &str) {
        match self.verify().await {
            Ok(report) => {
                assert!(report.problems.iter().any(|p| p.object == path), "{damage}: {path}: {:?}", report.problems);
            }
            Err(error) => assert!(error.to_string().contains(path), "{damage}: {path}: {error}"),
        }
        self.expect_no_wrong_answer(path, damage).await;
    }

    async fn expect_no_wrong_answer(&self, path: &str, damage: &str) {
        match read_all(&self.rig, Arc::clone(&self.rig.keyring), self.at).await {
            Ok(records) => assert!(records == self.truth, "{damage} of {path}: a wrong answer"),
            Err(Error::NoRepository { .. }) => assert_eq!(path, "backstay.json"),
            Err(error) => assert!(error.to_string().contains(path), "{damage} of {path}: {error}"),
        }
    }
}

/// All places of a small object; of a large one its ends and some between.
fn places(len: usize, chance: &mut Chance) -> Vec<usize> {
    if len <= PLACES {
        return (0..len).collect();
    }
    let mut places: Vec<usize> = (0..PLACES).map(|_| chance.below(len)).collect();
    places.extend([0, 8, 10, 11, 16, 32, 48, 79, 80, len - 25, len - 24, len - 16, len - 8, len - 1]);
    places.retain(|place| *place < len);
    places
}

#[test]
fn a_flipped_bit_is_found() {
    block_on(async {
        let subject = subject().await;
        let chance = &mut Chance::new(11);
        for (path, sound) in &subject.objects {
            for place in places(sound.len(), chance) {
                let mut bytes = sound.to_vec();
                bytes[place] ^= 1 << chance.below(8);
                overwrite(&subject.store, path, bytes.into()).await;
                subject.expect_found(path, &format!("a flipped bit at {place} of {}", sound.len())).await;
            }
            overwrite(&subject.store, path, sound.clone()).await;
        }
        assert_eq!(subject.verify().await.unwrap().problems, Vec::new());
    });
}

#[test]
fn a_cut_object_is_found() {
    block_on(async {
        let subject = subject().await;
        let chance = &mut Chance::new(12);
        for (path, sound) in &subject.objects {
            for len in places(sound.len(), chance).into_iter().step_by(3) {
                overwrite(&subject.store, path, sound.slice(..len)).await;
                subject.expect_found(path, &format!("cut to {len} of {}", sound.len())).await;
            }
            let longer: Vec<u8> = sound.iter().copied().chain([0]).collect();
            overwrite(&subject.store, path, longer.into()).await;
            subject.expect_found(path, "one byte more").await;
            overwrite(&subject.store, path, sound.clone()).await;
        }
    });
}

#[test]
fn a_missing_object_is_found() {
    block_on(async {
        let subject = subject().await;
        let commits: Vec<&String> =
            subject.objects.iter().map(|(path, _)| path).filter(|p| p.contains("/chain/")).collect();
        let newest = (*commits.last().unwrap()).clone();
        for (path, sound) in &subject.objects {
            // That the newest commits were cut off cannot be seen in the chain itself.
            if *path == newest {
                continue;
            }
            subject.store.delete(path).await.unwrap();
            if path == "backstay.json" {
                assert!(matches!(subject.verify().await, Err(Error::NoRepository { .. })));
            } else {
                subject.expect_found(path, "missing").await;
            }
            subject.store.create(path, sound.clone()).await.unwrap();
        }
    });
}

#[test]
fn exchanged_objects_are_found() {
    block_on(async {
        let subject = subject().await;
        // A second tail of the same length, so that not even the length tells.
        for colour in ["SECRET-1", "SECRET-2"] {
            rig::append(&subject.rig, "shop.a", b"a", colour);
            subject.rig.capture().await;
        }
        let at = subject.rig.toy.now();
        let truth = read_all(&subject.rig, Arc::clone(&subject.rig.keyring), at).await.unwrap();
        let subject = Subject { at, truth, ..subject };
        let state = subject.rig.vault.state().await;
        let paths: Vec<String> =
            state.segments().map(|info| format!("vaults/{NAME}/segments/{}", hex(&info.id))).collect();
        for (number, one) in paths.iter().enumerate() {
            for other in &paths[number + 1..] {
                let (first, second) = (subject.store.get(one).await.unwrap(), subject.store.get(other).await.unwrap());
                overwrite(&subject.store, one, second.clone()).await;
                overwrite(&subject.store, other, first.clone()).await;
                let report = subject.verify().await.unwrap();
                for path in [one, other] {
                    assert!(report.problems.iter().any(|p| p.object == *path), "{path}: {:?}", report.problems);
                }
                let read = read_all(&subject.rig, Arc::clone(&subject.rig.keyring), at).await;
                match read {
                    Ok(records) => assert!(records == subject.truth, "a wrong answer"),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(text.contains(one) || text.contains(other), "{text}");
                    }
                }
                overwrite(&subject.store, one, first).await;
                overwrite(&subject.store, other, second).await;
            }
        }
    });
}

#[test]
fn the_objects_of_another_vault_are_found() {
    block_on(async {
        let subject = subject().await;
        // The same life in another repository; its objects have the same kinds in the same order.
        let other = furnished().await;
        let store = other.faulty.sound();
        for (path, sound) in &subject.objects {
            let mut replaced = false;
            for object in store.list("").await.unwrap() {
                let same_kind = object.path.split('/').nth(2) == path.split('/').nth(2);
                if same_kind && object.size.abs_diff(sound.len() as u64) < 400 && !replaced {
                    overwrite(&subject.store, path, store.get(&object.path).await.unwrap()).await;
                    replaced = true;
                }
            }
            if replaced {
                subject.expect_found(path, "another vault's").await;
            }
            overwrite(&subject.store, path, sound.clone()).await;
        }
    });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
