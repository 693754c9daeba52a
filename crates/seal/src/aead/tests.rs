#![allow(clippy::unwrap_used)]
use crate::{DataKey, Error, Scope, TAG_LEN};

fn scope() -> Scope {
    Scope { format: 1, vault: [2; 16], segment: [3; 16], salt: [4; 32], purpose: 5 }
}

fn sealed(key: &DataKey, scope: &Scope) -> Vec<u8> {
    let mut block = b"a record of one tenant".to_vec();
    assert_eq!(key.sealer(scope).unwrap().seal(9, &mut block).unwrap(), 0);
    block
}

#[test]
fn what_was_sealed_opens() {
    let key = DataKey::generate().unwrap();
    let mut block = sealed(&key, &scope());
    assert_eq!(block.len(), 22 + TAG_LEN);
    let mut out = vec![1; 99];
    let opener = key.segment_key(&scope()).unwrap();
    opener.open_into(9, 0, &block, &mut out).unwrap();
    assert_eq!(out, b"a record of one tenant");
    assert_eq!(opener.open(9, 0, &mut block).unwrap(), b"a record of one tenant");
}

#[test]
fn an_empty_block_is_sealed_too() {
    let key = DataKey::generate().unwrap();
    let mut block = Vec::new();
    key.sealer(&scope()).unwrap().seal(0, &mut block).unwrap();
    assert_eq!(block.len(), TAG_LEN);
    assert!(key.segment_key(&scope()).unwrap().open(0, 0, &mut block).unwrap().is_empty());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let key = DataKey::generate().unwrap();
    let block = sealed(&key, &scope());
    let opener = key.segment_key(&scope()).unwrap();
    let mut out = Vec::new();
    for bit in 0..block.len() * 8 {
        let mut altered = block.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(opener.open_into(9, 0, &altered, &mut out), Err(Error::Tampered { kind: 9, index: 0 })));
        assert!(out.is_empty());
        assert!(opener.open(9, 0, &mut altered).is_err());
    }
    for len in 0..block.len() {
        assert!(opener.open_into(9, 0, &block[..len], &mut out).is_err());
        assert!(opener.open(9, 0, &mut block[..len].to_vec()).is_err());
    }
}

#[test]
fn a_moved_block_does_not_open() {
    let key = DataKey::generate().unwrap();
    let block = sealed(&key, &scope());
    let opens =
        |scope: Scope, kind, index| key.segment_key(&scope).unwrap().open(kind, index, &mut block.clone()).is_ok();
    assert!(opens(scope(), 9, 0));
    assert!(!opens(scope(), 8, 0));
    assert!(!opens(scope(), 9, 1));
    assert!(!opens(Scope { format: 2, ..scope() }, 9, 0));
    assert!(!opens(Scope { vault: [9; 16], ..scope() }, 9, 0));
    assert!(!opens(Scope { segment: [9; 16], ..scope() }, 9, 0));
    assert!(!opens(Scope { salt: [9; 32], ..scope() }, 9, 0));
    assert!(!opens(Scope { purpose: 9, ..scope() }, 9, 0));
}

#[test]
fn another_key_does_not_open() {
    let block = sealed(&DataKey::generate().unwrap(), &scope());
    let other = DataKey::generate().unwrap().segment_key(&scope()).unwrap();
    assert!(other.open(9, 0, &mut block.clone()).is_err());
}

#[test]
fn two_salts_give_unrelated_ciphertexts() {
    let key = DataKey::generate().unwrap();
    assert_ne!(sealed(&key, &scope()), sealed(&key, &Scope { salt: [9; 32], ..scope() }));
}

/// K1, in the type: indices only go up, per kind, however sealing and reserving mix.
#[test]
fn no_index_is_given_twice() {
    let key = DataKey::generate().unwrap();
    let mut sealer = key.sealer(&scope()).unwrap();
    let early = sealer.reserve(1);
    assert_eq!(sealer.seal(1, &mut vec![1]).unwrap(), 1);
    assert_eq!(sealer.seal(2, &mut vec![1]).unwrap(), 0);
    let mut block = vec![7; 3];
    let index = std::thread::scope(|scope| scope.spawn(|| early.seal(&mut block).unwrap()).join().unwrap());
    assert_eq!(index, 0);
    assert_eq!(sealer.opener().open(1, 0, &mut block).unwrap(), [7; 3]);
    assert_eq!((sealer.count(1), sealer.count(2), sealer.count(3)), (2, 1, 0));
}
