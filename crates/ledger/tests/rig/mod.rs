//! A vault with fixed keys in memory, and a source of fixed randomness: the same bytes in every run.
#![allow(dead_code, clippy::unwrap_used)]

use std::sync::Arc;

use backstay_ledger::{Chain, Draft, Fact, Id, SegmentInfo, Shape, Writer, commit_path};
use backstay_model::Tick;
use backstay_seal::{DataKey, KeyId, Secret, Signer};
use backstay_store::Store;
use bytes::Bytes;

pub const NAME: &str = "shop";
pub const VAULT: Id = [0x11; 16];
pub const NOW: u64 = 1_700_000_000;

/// Bytes that count, hashed: different at each call, the same in each run.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed << 32)
    }

    pub fn chance(&mut self) -> impl FnMut(&mut [u8]) + Send + '_ {
        |bytes| {
            self.0 += 1;
            blake3::Hasher::new().update(&self.0.to_le_bytes()).finalize_xof().fill(bytes);
        }
    }

    pub fn id(&mut self) -> Id {
        let mut id = [0; 16];
        self.chance()(&mut id);
        id
    }
}

pub fn key(seed: u8) -> Arc<DataKey> {
    Arc::new(DataKey::new(KeyId([seed; 16]), Secret::take(&mut [seed; 32])))
}

pub fn signer(seed: u8) -> Arc<Signer> {
    Arc::new(Signer::from_seed(&Secret::take(&mut [seed; 32])).unwrap())
}

pub fn writer(seed: u8) -> Writer {
    Writer { signer: signer(seed), id: [0x77; 16] }
}

pub fn trusted() -> [u8; 32] {
    signer(2).public_key()
}

pub fn opened() -> Fact {
    Fact::Opened { name: NAME.into(), kind: "toy".into(), identity: "rs0/6566".into() }
}

pub fn at(second: u32) -> Tick {
    Tick::new(second, 0)
}

pub fn tail(id: Id, first: u32, last: u32) -> SegmentInfo {
    SegmentInfo {
        id,
        shape: Shape::Tail,
        bytes: 1000,
        raw_bytes: 4000,
        entries: 10,
        first: at(first),
        last: at(last),
        hash: [id[0]; 32],
        covers: Vec::new(),
        scan: None,
        stream: Some("rs0".into()),
    }
}

/// A tail from `first` to `last`, and the frontier that it reaches.
pub fn captured(id: Id, first: u32, last: u32) -> Draft {
    let frontier = Fact::Frontier { stream: "rs0".into(), through: at(last), resume: at(last) };
    Draft { facts: vec![Fact::SegmentAdded(tail(id, first, last)), frontier] }
}

/// The vault of the fixed keys, in a store, with its first commit.
pub async fn create(store: &Store, name: &str, vault: Id, dice: &mut Dice) -> Chain<Writer> {
    let draft = Draft { facts: vec![opened()] };
    Chain::create(store.clone(), name, vault, key(1), writer(2), draft, NOW, &mut dice.chance()).await.unwrap()
}

pub async fn load(store: &Store) -> backstay_ledger::Result<Chain> {
    Chain::load(store.clone(), NAME, key(1), trusted()).await
}

/// A vault with `commits` commits in all; the later ones are tails of one second each.
pub async fn filled(commits: u32) -> (Store, Chain<Writer>, Dice) {
    let store = Store::memory();
    let mut dice = Dice::new(1);
    let mut chain = create(&store, NAME, VAULT, &mut dice).await;
    for second in 1..commits {
        let draft = captured(dice.id(), second, second);
        chain.append(draft, NOW + u64::from(second), &mut dice.chance()).await.unwrap();
    }
    (store, chain, dice)
}

/// Puts other bytes where a commit is, as a thief with the run of the disk would.
pub async fn overwrite(store: &Store, seq: u64, bytes: Bytes) {
    let path = commit_path(NAME, seq);
    let _ = store.delete(&path).await;
    store.create(&path, bytes).await.unwrap();
}
