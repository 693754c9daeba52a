#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

type Record = (u64, Vec<u8>, Vec<u8>);

fn records() -> impl Strategy<Value = Vec<Record>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec((0u64..3, bytes(), bytes()), 0..20)
}

fn digest<'a>(records: impl IntoIterator<Item = &'a Record>) -> Digest {
    let mut digest = Digest::new();
    for (ns, id, value) in records {
        digest.add(*ns, id, value);
    }
    digest
}

proptest! {
    #[test]
    fn order_does_not_matter(records in records(), turn in 0usize..20) {
        let mut turned = records.clone();
        turned.reverse();
        let turn = turn.min(turned.len());
        turned.rotate_left(turn);
        prop_assert_eq!(digest(&records), digest(&turned));
    }

    #[test]
    fn removing_undoes_adding(kept in records(), passing in records()) {
        let mut all = digest(kept.iter().chain(&passing));
        for (ns, id, value) in &passing {
            all.remove(*ns, id, value);
        }
        prop_assert_eq!(&all, &digest(&kept));
        all.subtract(&digest(&kept));
        prop_assert!(all.is_empty());
    }

    #[test]
    fn combining_is_the_digest_of_the_union(left in records(), right in records()) {
        let mut both = digest(&left);
        both.combine(&digest(&right));
        prop_assert_eq!(&both, &digest(left.iter().chain(&right)));
        prop_assert_eq!(Digest::from_bytes(&both.to_bytes()).unwrap(), both);
    }

    #[test]
    fn different_multisets_differ(left in records(), right in records()) {
        let sorted = |records: &[Record]| { let mut sorted = records.to_vec(); sorted.sort(); sorted };
        prop_assert_eq!(digest(&left) == digest(&right), sorted(&left) == sorted(&right));
    }

    /// Where one field ends and the next begins is part of what is hashed.
    #[test]
    fn bytes_cannot_slide_between_id_and_value(joined in prop::collection::vec(any::<u8>(), 1..60), a in 0usize..60, b in 0usize..60) {
        let (a, b) = (a % (joined.len() + 1), b % (joined.len() + 1));
        let cut = |at: usize| digest(&[(1, joined[..at].to_vec(), joined[at..].to_vec())]);
        prop_assert_eq!(cut(a) == cut(b), a == b);
    }
}

#[test]
fn it_is_a_multiset() {
    let record = (1, vec![1], vec![2]);
    let once = digest([&record]);
    let twice = digest([&record, &record]);
    assert_ne!(once, twice);
    assert!(!twice.is_empty());
}

#[test]
fn the_namespace_counts() {
    assert_ne!(digest(&[(1, vec![1], vec![2])]), digest(&[(2, vec![1], vec![2])]));
}

#[test]
fn a_state_of_another_length_is_refused() {
    assert!(matches!(Digest::from_bytes(&[0; 7]), Err(Error::DigestLength { found: 7 })));
}

/// Small records take a shorter way through the hash than large ones; both give the documented seed.
#[test]
fn the_seed_is_as_documented() {
    for len in [0, 1, 700, STREAM_LEN - 34, STREAM_LEN - 33, STREAM_LEN - 32, 5000] {
        let value = vec![9; len];
        let mut plain = b"bs-rec-1".to_vec();
        plain.extend_from_slice(&7u64.to_le_bytes());
        plain.extend_from_slice(&1u64.to_le_bytes());
        plain.extend_from_slice(&(len as u64).to_le_bytes());
        plain.push(5);
        plain.extend_from_slice(&value);
        let expected = sha::digest(&SHA256, &plain);
        assert_eq!(seed(7, &[5], &value, &mut [0; STREAM_LEN]), expected.as_ref(), "{len}");
    }
}

/// The digest is stored in archives: its definition may not drift. The keystream is also checked against the
/// value of AES-128 for an all-zero key and block (the GCM specification, test case 1, where it is the hash key).
#[test]
fn the_definition_stands_still() {
    let mut lanes = [0; STREAM_LEN];
    keystream(&[0; 32], &mut lanes);
    let mut known = [0; 16];
    assert!(crate::text::read_hex("66e94bd4ef8a2c3b884cfa59ca342b2e", &mut known));
    assert_eq!(lanes[..16], known);

    let mut text = String::new();
    let sample = digest(&[(1, b"id".to_vec(), b"value".to_vec()), (2, vec![], vec![0; 3000])]);
    crate::text::write_hex(&sample.summary(), &mut text).unwrap();
    assert_eq!(text, "554e65522e7b89191d4663fa8c88960332b2dce2cbe811bcbcb7d8bf52939b5b");
}
