#![allow(clippy::unwrap_used)]

use backstay_model::{IdRange, Incarnation, Tick};
use backstay_seal::Secret;
use minicbor::Encoder;
use proptest::prelude::*;

use super::*;
use crate::fact::Cover;

fn key() -> DataKey {
    DataKey::new(KeyId([1; 16]), Secret::take(&mut [1; 32]))
}

fn signer() -> Signer {
    Signer::from_seed(&Secret::take(&mut [2; 32])).unwrap()
}

fn parts(facts: &[Fact]) -> Parts<'_> {
    Parts {
        vault: [1; 16],
        seq: 7,
        prev: [2; 32],
        writer: [3; 16],
        commit: [4; 16],
        salt: [5; 32],
        written_at: 6,
        name: None,
        facts,
    }
}

fn base_run(range: IdRange) -> Fact {
    Fact::SegmentAdded(SegmentInfo {
        id: [8; 16],
        shape: Shape::BaseRun,
        bytes: 1,
        raw_bytes: 2,
        entries: 3,
        first: Tick::new(1, 1),
        last: Tick::new(1, 2),
        hash: [9; 32],
        covers: vec![Cover { incarnation: Incarnation(7), range }],
        scan: None,
        stream: None,
    })
}

#[test]
fn a_commit_reads_back() {
    let facts = [base_run(IdRange::only(b"x")), base_run(IdRange::all().after(b"")), Fact::SegmentRemoved([1; 16])];
    let bytes = encode(&parts(&facts), &key(), &signer()).unwrap();
    let commit = Commit::parse("c", &bytes).unwrap();
    commit.authenticate("c", &signer().public_key()).unwrap();
    assert_eq!(commit.open("c", &key()).unwrap(), facts);
    assert_eq!((commit.skeleton.added.len(), commit.skeleton.removed.len()), (2, 1));
    assert_eq!((commit.skeleton.seq, commit.skeleton.name), (7, None));
}

#[test]
fn the_body_tells_nothing_without_the_key() {
    let fact = Fact::GapOpened { after: Tick::ZERO, cause: "a very telling cause".into() };
    let bytes = encode(&parts(&[fact]), &key(), &signer()).unwrap();
    assert!(!bytes.windows(7).any(|window| window == b"telling"));
}

#[test]
fn fields_that_a_newer_version_adds_are_ignored() {
    let mut body = Vec::new();
    let mut e = Encoder::new(&mut body);
    // A frontier with two fields that are not known here.
    e.array(1).unwrap().array(2).unwrap().u8(3).unwrap().map(5).unwrap();
    e.u8(0).unwrap().str("rs0").unwrap().u8(1).unwrap().u64(9).unwrap().u8(2).unwrap().u64(8).unwrap();
    e.u8(3).unwrap().array(2).unwrap().str("what").unwrap().null().unwrap();
    e.u8(200).unwrap().map(1).unwrap().u8(1).unwrap().bytes(b"ever").unwrap();
    let facts: Vec<Fact> = decode_cbor(&body).unwrap();
    let expected = Fact::Frontier { stream: "rs0".into(), through: Tick::from_u64(9), resume: Tick::from_u64(8) };
    assert_eq!(facts, [expected]);
}

#[test]
fn a_kind_of_fact_that_is_not_known_is_refused() {
    let mut body = Vec::new();
    Encoder::new(&mut body).array(1).unwrap().array(2).unwrap().u8(99).unwrap().map(0).unwrap();
    assert!(decode_cbor::<Vec<Fact>>(&body).is_err());
}

#[test]
fn equal_facts_make_equal_bytes() {
    let facts = [base_run(IdRange::all()), Fact::GapClosed { resumes: Tick::MAX }];
    let once = encode(&parts(&facts), &key(), &signer()).unwrap();
    assert_eq!(once, encode(&parts(&facts), &key(), &signer()).unwrap());
}

#[test]
fn the_public_part_must_tell_of_the_same_segments_as_the_sealed_part() {
    let honest = [Fact::SegmentRemoved([1; 16])];
    let bytes = encode(&parts(&honest), &key(), &signer()).unwrap();
    let mut commit = Commit::parse("c", &bytes).unwrap();
    commit.skeleton.removed.push([2; 16]);
    assert!(matches!(commit.open("c", &key()), Err(Error::Corrupt { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands where a commit should: an error, never a panic.
    #[test]
    fn hostile_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400), length in 0u32..300) {
        let bare = Bytes::from(bytes.clone());
        prop_assert!(Commit::parse("c", &bare).is_err());
        let mut framed = KIND.magic.to_vec();
        framed.extend_from_slice(&FORMAT.to_le_bytes());
        framed.extend_from_slice(&[0; 32]);
        framed.extend_from_slice(&length.to_le_bytes());
        framed.extend_from_slice(&bytes);
        prop_assert!(Commit::parse("c", &framed.into()).is_err());
    }

    /// The same for what an authentic body might hold.
    #[test]
    fn hostile_facts_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_cbor::<Vec<Fact>>(&bytes);
        let _ = decode_cbor::<Skeleton>(&bytes);
    }
}
