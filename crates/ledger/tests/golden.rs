//! Commits and a checkpoint of format 1, as bytes: they must be read for ever, and written the same.
//!
//! After a change that is meant, `GOLDEN_WRITE=1 cargo test -p backstay-ledger --test golden` writes the files anew; a
//! change of what exists already needs a new format version instead.
#![allow(clippy::unwrap_used)]

mod rig;

use std::ops::Bound;
use std::path::PathBuf;

use backstay_ledger::{Chain, Cover, Draft, Fact, Holder, SegmentInfo, Shape, Writer, checkpoint_path, commit_path};
use backstay_model::{Gap, IdRange, Incarnation, Tick};
use backstay_store::Store;
use rig::{Dice, NAME, NOW, VAULT, at, load, tail};

/// How many commits are kept as files; the checkpoint is that of a later one.
const COMMITS: u64 = 4;
const CHECKPOINT: u64 = 256;

fn golden_checkpoint() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoint-v1.bin")
}

fn golden(seq: u64) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/commit-v1-{seq}.bin"))
}

fn base() -> SegmentInfo {
    let range = IdRange { from: Bound::Included(b"a".to_vec()), to: Bound::Excluded(b"m\0z".to_vec()) };
    SegmentInfo {
        shape: Shape::BaseRun,
        covers: vec![
            Cover { incarnation: Incarnation(0x0123_4567_89AB_CDEF), range },
            Cover { incarnation: Incarnation::SYSTEM, range: IdRange::all() },
        ],
        scan: Some([0xAA; 16]),
        stream: None,
        ..tail([0xB0; 16], 90, 95)
    }
}

/// Every kind of fact, over four commits.
fn drafts() -> [Vec<Fact>; 4] {
    let frontier = |second| Fact::Frontier { stream: "rs0".into(), through: at(second), resume: at(second).previous() };
    [
        vec![rig::opened(), frontier(80), Fact::ScanStarted { scan: [0xAA; 16], from: at(80) }],
        vec![
            Fact::SegmentAdded(base()),
            Fact::SegmentAdded(tail([0xC0; 16], 81, 99)),
            frontier(100),
            Fact::ScanCompleted { scan: [0xAA; 16], consistent: at(95), records: 1_000_000, source_bytes: 1 << 33 },
            Fact::ScanStarted { scan: [0xAB; 16], from: at(100) },
            Fact::ScanAbandoned { scan: [0xAB; 16], why: "the source went away".into() },
        ],
        vec![
            Fact::SegmentRemoved([0xC0; 16]),
            Fact::SegmentAdded(SegmentInfo { shape: Shape::DeltaRun, stream: None, ..tail([0xD0; 16], 81, 99) }),
            Fact::GapOpened { after: at(100), cause: "the oplog rolled over".into() },
            Fact::GapClosed { resumes: Tick::new(110, 7) },
            Fact::DriftFound { scan: [0xAA; 16], at: at(95), records: 3 },
        ],
        vec![
            Fact::Protected { from: at(110), include: vec!["shop.*".into()], tenants: vec!["*=shared".into()] },
            Fact::StreamClaimed {
                stream: "rs0".into(),
                epoch: 1,
                holder: Holder { host: "db1".into(), process: 4711, mark: 123_456 },
            },
            Fact::UnderClaim { stream: "rs0".into(), epoch: 1 },
            Fact::FloorRaised { floor: 2 },
            Fact::ScanStarted { scan: [0xAC; 16], from: at(110) },
            Fact::StreamReleased { stream: "rs0".into(), epoch: 1 },
        ],
    ]
}

/// The chain of all drafts, then one of small commits up to the first checkpoint.
async fn written() -> (Store, Chain<Writer>) {
    let store = Store::memory();
    let mut dice = Dice::new(1);
    let [genesis, rest @ ..] = drafts();
    let draft = Draft { facts: genesis };
    let mut chain =
        Chain::create(store.clone(), NAME, VAULT, rig::key(1), rig::writer(2), draft, NOW, &mut dice.chance())
            .await
            .unwrap();
    for facts in rest {
        chain.append(facts.into(), NOW + 1, &mut dice.chance()).await.unwrap();
    }
    for second in 4..=CHECKPOINT {
        let frontier = Fact::Frontier { stream: "rs0".into(), through: at(200), resume: at(200) };
        chain.append(vec![frontier].into(), NOW + second * 60, &mut dice.chance()).await.unwrap();
    }
    (store, chain)
}

#[tokio::test]
async fn writes_the_same_bytes() {
    let (store, _) = written().await;
    let commits = (0..COMMITS).map(|seq| (commit_path(NAME, seq), golden(seq)));
    for (path, file) in commits.chain([(checkpoint_path(NAME, CHECKPOINT), golden_checkpoint())]) {
        let written = store.get(&path).await.unwrap();
        if std::env::var_os("GOLDEN_WRITE").is_some() {
            std::fs::write(&file, &written).unwrap();
        }
        assert_eq!(written, std::fs::read(file).unwrap(), "{path}");
    }
}

#[tokio::test]
async fn a_checkpoint_reads_as_the_state_that_was_written() {
    let (store, chain) = written().await;
    let bare = Store::memory();
    for path in [commit_path(NAME, 0), commit_path(NAME, CHECKPOINT)] {
        bare.create(&path, store.get(&path).await.unwrap()).await.unwrap();
    }
    bare.create(&checkpoint_path(NAME, CHECKPOINT), std::fs::read(golden_checkpoint()).unwrap().into()).await.unwrap();
    assert_eq!(load(&bare).await.unwrap().state(), chain.state());
}

#[tokio::test]
async fn reads_what_was_written() {
    let store = Store::memory();
    for seq in 0..COMMITS {
        store.create(&commit_path(NAME, seq), std::fs::read(golden(seq)).unwrap().into()).await.unwrap();
    }
    let chain = load(&store).await.unwrap();
    let state = chain.state();
    assert_eq!((state.vault(), state.source().identity.as_str()), (VAULT, "rs0/6566"));
    assert_eq!((state.head().seq, state.head().written_at), (3, NOW + 1));
    assert_eq!(**state.base_runs().next().unwrap(), base());
    assert_eq!(state.delta_runs().next().unwrap().id, [0xD0; 16]);
    assert_eq!((state.tails().len(), state.running_scans().len()), (0, 1));
    let frontier = state.frontier("rs0").unwrap();
    assert_eq!((frontier.through, frontier.resume), (at(100), at(100).previous()));
    let coverage = state.coverage();
    assert_eq!((coverage.start, coverage.through), (Some(at(95)), at(100)));
    let gap = Gap { after: at(100), resumes: Some(Tick::new(110, 7)), cause: "the oplog rolled over".into() };
    assert_eq!(coverage.gaps, [gap]);
    let claim = state.claim("rs0").unwrap();
    assert_eq!((claim.epoch, claim.held, claim.holder.to_string().as_str()), (1, false, "process 4711 on db1"));
    assert_eq!((state.floor(), state.protected().len()), (2, 1));
    assert_eq!((state.drift()[0].records, state.completed_scans()[0].source_bytes), (3, 1 << 33));
}
