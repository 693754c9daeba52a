//! How long loading a chain takes: a day of captures, one commit every five seconds, in memory and in a local folder.
//!
//! `cargo run --release -p backstay-ledger --example load_time`
// A program that measures reads the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use backstay_ledger::{Chain, Fact, SegmentInfo, Shape, Writer, checkpoint_prefix, commit_path, verify_chain};
use backstay_model::Tick;
use backstay_seal::{DataKey, Secret, Signer};
use backstay_store::Store;

const COMMITS: u32 = 17_280;

#[tokio::main]
async fn main() {
    let mut count = 0u64;
    let mut chance = move |bytes: &mut [u8]| {
        count += 1;
        blake3::Hasher::new().update(&count.to_le_bytes()).finalize_xof().fill(bytes);
    };
    let key = Arc::new(DataKey::generate().unwrap());
    let signer = Arc::new(Signer::from_seed(&Secret::generate().unwrap()).unwrap());
    let trusted = signer.public_key();
    let store = Store::memory();
    let opened = Fact::Opened { name: "shop".into(), kind: "toy".into(), identity: "rs0".into() };
    let writer = Writer { signer: Arc::clone(&signer), id: [1; 16] };
    let draft = vec![opened].into();
    let mut chain =
        Chain::create(store.clone(), "shop", [2; 16], Arc::clone(&key), writer, draft, 0, &mut chance).await.unwrap();
    let start = Instant::now();
    for second in 1..COMMITS {
        let mut id = [0; 16];
        chance(&mut id);
        let at = Tick::new(second, 0);
        let tail = SegmentInfo {
            id,
            shape: Shape::Tail,
            bytes: 1 << 20,
            raw_bytes: 1 << 22,
            entries: 5000,
            first: at,
            last: at,
            hash: [3; 32],
            covers: Vec::new(),
            scan: None,
            stream: Some("rs0".into()),
        };
        let frontier = Fact::Frontier { stream: "rs0".into(), through: at, resume: at };
        let draft = vec![Fact::SegmentAdded(tail), frontier].into();
        chain.append(draft, u64::from(second), &mut chance).await.unwrap();
    }
    println!("append   memory  {COMMITS} commits  {:.2?}", start.elapsed());

    let folder = tempfile::tempdir().unwrap();
    let local = Store::local(folder.path()).unwrap();
    std::fs::create_dir_all(folder.path().join("vaults/shop/chain")).unwrap();
    std::fs::create_dir_all(folder.path().join("vaults/shop/checkpoints")).unwrap();
    let commits = (0..u64::from(COMMITS)).map(|seq| commit_path("shop", seq));
    let checkpoints = store.list(&checkpoint_prefix("shop")).await.unwrap();
    println!("checkpoints      {}  {} bytes", checkpoints.len(), checkpoints.iter().map(|c| c.size).sum::<u64>());
    for path in commits.chain(checkpoints.into_iter().map(|checkpoint| checkpoint.path)) {
        std::fs::write(folder.path().join(&path), store.get(&path).await.unwrap()).unwrap();
    }
    for (name, store) in [("memory", store), ("folder", local)] {
        let start = Instant::now();
        let loaded = Chain::load(store.clone(), "shop", Arc::clone(&key), trusted).await.unwrap();
        println!("load     {name}  {} commits  {:.2?}", loaded.state().head().seq + 1, start.elapsed());
        let mut writer = loaded.into_writer(Writer { signer: Arc::clone(&signer), id: [1; 16] }).unwrap();
        let start = Instant::now();
        for _ in 0..20 {
            let at = writer.state().through().next();
            let frontier = Fact::Frontier { stream: "rs0".into(), through: at, resume: at };
            writer.append(vec![frontier].into(), u64::from(COMMITS), &mut chance).await.unwrap();
        }
        println!("commit   {name}  each {:.2?}", start.elapsed() / 20);
        let start = Instant::now();
        let report = verify_chain(&store, "shop", &trusted).await.unwrap();
        println!("verify   {name}  {} commits  {:.2?}", report.checked, start.elapsed());
    }
}
