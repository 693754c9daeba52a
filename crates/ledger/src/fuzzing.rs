//! The decoders of this crate without seal and signature in front of them: for `fuzz/` only, behind the feature `fuzzing`.
//!
//! Each function decodes bytes that an attacker chose, and panics where what holds for a decoder does not: what decodes
//! encodes again to something that decodes to the same, and a state is what its facts say or what it was before.

use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::checkpoint;
use crate::commit::{Commit, Skeleton};
use crate::fact::Fact;
use crate::frame::{decode_cbor, encode_cbor};
use crate::path::{checkpoint_path, commit_path, parse_checkpoint, parse_seq};
use crate::state::{Head, VaultState, image};

/// A commit's object. A checkpoint's is taken apart by the same code, behind its signature.
pub fn object(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(commit) = Commit::parse("it", &bytes) {
        assert_eq!(commit.hash, *blake3::hash(&bytes).as_bytes());
    }
}

/// The public part of a commit or a checkpoint.
pub fn skeleton(bytes: &[u8]) {
    reads_back::<Skeleton>(bytes);
    reads_back::<checkpoint::Skeleton>(bytes);
}

fn reads_back<T: for<'b> Decode<'b, ()> + Encode<()> + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let value: T = decode_cbor(bytes).ok()?;
    let again = encode_cbor(&value).expect("what was read is written");
    assert_eq!(decode_cbor::<T>(&again).as_ref(), Ok(&value));
    Some(value)
}

/// The body of a commit, folded as the first commit and as a later one.
pub fn facts(bytes: &[u8]) {
    let Some(facts) = reads_back::<Vec<Fact>>(bytes) else { return };
    let head = |seq| Head { seq, hash: [7; 32], written_at: 1_700_000_000 + seq * 3600 };
    let opened = Fact::Opened { name: "shop".to_owned(), kind: "mongodb".to_owned(), identity: "rs0".to_owned() };
    if let Ok(state) = VaultState::open([1; 16], &facts, head(0)) {
        keeps(&state);
    }
    let mut state = VaultState::open([1; 16], &[opened], head(0)).expect("a vault can be opened");
    for (fact, seq) in facts.iter().zip(1..) {
        fold(&mut state, std::slice::from_ref(fact), head(seq));
    }
    fold(&mut state, &facts, head(1000));
    keeps(&state);
}

/// A refusal leaves the state as it was.
fn fold(state: &mut VaultState, facts: &[Fact], head: Head) {
    let before = state.clone();
    let checked = state.check(facts, crate::state::Moment { seq: head.seq, written_at: head.written_at });
    assert_eq!(*state, before);
    let folded = state.fold(facts, head);
    assert_eq!(folded.is_ok(), checked.is_ok());
    if let Err(refusal) = folded {
        assert_eq!(*state, before);
        assert!(!refusal.to_string().is_empty());
    }
}

/// A state outlasts being written, and can be asked.
fn keeps(state: &VaultState) {
    let written = image::encode(state).expect("a state is written");
    assert_eq!(image::decode(&written, state.vault(), state.head()).as_ref(), Ok(state));
    state.coverage().spans();
    checkpoint::is_due(state);
}

/// The body of a checkpoint.
pub fn image(bytes: &[u8]) {
    let head = Head { seq: 512, hash: [7; 32], written_at: 1_700_000_000 };
    let Ok(mut state) = image::decode(bytes, [1; 16], head) else { return };
    keeps(&state);
    let frontier = Fact::FloorRaised { floor: 500 };
    fold(&mut state, &[frontier], Head { seq: 513, ..head });
}

/// The names of objects, and times for people.
pub fn names(bytes: &[u8]) {
    if let Some(number) = bytes.first_chunk::<8>() {
        assert!(crate::utc(u64::from_le_bytes(*number)).ends_with('Z'));
    }
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    if let Some(seq) = parse_seq("shop", path) {
        assert_eq!(commit_path("shop", seq), path);
    }
    if let Some(seq) = parse_checkpoint("shop", path) {
        assert_eq!(checkpoint_path("shop", seq), path);
    }
}

/// Small real inputs, with the names of their targets.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    use crate::{Cover, Holder, ObjectRef, SegmentInfo, Shape};
    use backstay_model::{IdRange, Incarnation, Tick};

    let at = |second| Tick::new(second, 1);
    let segment = |id: u8, shape, covers: Vec<Cover>, scan, stream| SegmentInfo {
        id: [id; 16],
        shape,
        bytes: 4096,
        raw_bytes: 9000,
        entries: 12,
        first: at(90),
        last: at(95),
        hash: [id; 32],
        covers,
        scan,
        stream,
    };
    let range =
        IdRange { from: std::ops::Bound::Included(b"a".to_vec()), to: std::ops::Bound::Excluded(b"m".to_vec()) };
    let covers = [range, IdRange::all()].map(|range| Cover { incarnation: Incarnation(7), range });
    let stream = || "rs0".to_owned();
    let holder = Holder { host: "db1".to_owned(), process: 4711, mark: 9 };
    let frontier = |second| Fact::Frontier { stream: stream(), through: at(second), resume: at(second) };
    let opened = Fact::Opened { name: "shop".to_owned(), kind: "mongodb".to_owned(), identity: "rs0".to_owned() };
    let facts = vec![
        opened,
        frontier(80),
        Fact::ScanStarted { scan: [0xAA; 16], from: at(80) },
        Fact::SegmentAdded(segment(1, Shape::BaseRun, covers.to_vec(), Some([0xAA; 16]), None)),
        Fact::SegmentAdded(segment(2, Shape::Tail, Vec::new(), None, Some(stream()))),
        frontier(100),
        Fact::ScanCompleted { scan: [0xAA; 16], consistent: at(95), records: 9, source_bytes: 1 << 33 },
        Fact::ScanStarted { scan: [0xAB; 16], from: at(100) },
        Fact::ScanAbandoned { scan: [0xAB; 16], why: "gone".to_owned() },
        Fact::SegmentRemoved([2; 16]),
        Fact::SegmentAdded(segment(3, Shape::DeltaRun, Vec::new(), None, None)),
        Fact::GapOpened { after: at(100), cause: "rolled over".to_owned() },
        Fact::GapClosed { resumes: at(110) },
        Fact::DriftFound { scan: [0xAA; 16], at: at(95), records: 3 },
        Fact::Protected { from: at(110), include: vec!["shop.*".to_owned()], tenants: vec!["{}".to_owned()] },
        Fact::ProtectedBy { from: at(110), include: Vec::new(), tenants: Vec::new(), feed: "f".to_owned() },
        Fact::Identified { identity: "65ab".to_owned() },
        Fact::StreamClaimed { stream: stream(), epoch: 1, holder },
        Fact::UnderClaim { stream: stream(), epoch: 1 },
        Fact::StreamReleased { stream: stream(), epoch: 1 },
    ];
    let encode = |facts: &[Fact]| encode_cbor(facts).expect("they are small");
    let head = Head { seq: 7, hash: [7; 32], written_at: 1_700_000_000 };
    let state = VaultState::open([1; 16], &facts, head).expect("they fit together");
    let live: Vec<ObjectRef> = state.segments().map(|segment| segment.as_ref().into()).collect();
    let commit = Skeleton {
        vault: [1; 16],
        seq: 7,
        prev: [2; 32],
        writer: [3; 16],
        commit: [4; 16],
        written_at: 1_700_000_000,
        added: live.clone(),
        removed: vec![[2; 16]],
        body: [5; 32],
        key: [6; 16],
        name: Some("shop".to_owned()),
    };
    let checkpoint = checkpoint::Skeleton {
        vault: [1; 16],
        seq: 7,
        commit: [2; 32],
        written_at: 1_700_000_000,
        writer: [3; 16],
        id: [4; 16],
        live,
        body: [5; 32],
        key: [6; 16],
        name: "shop".to_owned(),
    };
    let skeletons = [encode_cbor(&commit), encode_cbor(&checkpoint)].map(|bytes| bytes.expect("they are small"));
    let mut samples = vec![
        ("ledger_facts", encode(&facts)),
        ("ledger_facts", encode(&facts[1..])),
        ("ledger_facts", encode(&[Fact::FloorRaised { floor: 2 }])),
        ("ledger_image", image::encode(&state).expect("it is small")),
    ];
    for (skeleton, magic) in skeletons.into_iter().zip([b"BKSTAYC1", b"BKSTAYK1"]) {
        let length = u32::try_from(skeleton.len()).expect("it is small").to_le_bytes();
        let object = [&magic[..], &[1, 0], &[9; 32], &length, &skeleton, &[8; 64], &[7; 32], b"body"].concat();
        samples.extend([("ledger_object", object), ("ledger_skeleton", skeleton)]);
    }
    samples
}
