//! What it takes to open a vault with a long chain: one listing finds the head, and few reads the state.
//!
//! The chain is that of a capture beside a compaction: every commit adds a tail, every 50th replaces what there is by one run.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "how long opening takes is printed")]

mod counting;
mod rig;

use std::sync::Arc;
use std::time::Instant;

use backstay_ledger::{Chain, Draft, Fact, Shape, Writer, checkpoint_path};
use backstay_store::Store;
use counting::{Counting, Requests};
use rig::{Dice, NAME, NOW, VAULT, captured, create, load, tail};

/// A chain of this many commits, and the store that counts.
async fn long(commits: u32) -> (Arc<Counting>, Store, Chain<Writer>, Dice) {
    let counting = Arc::new(Counting::default());
    let store = Store::from_object_store(Arc::clone(&counting) as _);
    let mut dice = Dice::new(1);
    let mut chain = create(&store, NAME, VAULT, &mut dice).await;
    for number in 1..commits {
        let mut draft = captured(dice.id(), number, number);
        if number % 50 == 0 {
            draft.facts.extend(chain.state().tails().map(|tail| Fact::SegmentRemoved(tail.id)));
            let mut run = tail(dice.id(), number.saturating_sub(50), number - 1);
            (run.shape, run.stream) = (Shape::DeltaRun, None);
            draft.facts.push(Fact::SegmentAdded(run));
        }
        chain.append(draft, NOW + u64::from(number), &mut dice.chance()).await.unwrap();
    }
    (counting, store, chain, dice)
}

fn soak() -> u32 {
    if std::env::var("BACKSTAY_SOAK").is_ok_and(|value| value == "1") { 10 } else { 1 }
}

#[tokio::test]
async fn a_chain_of_ten_thousand_commits_is_opened_with_a_page_of_reads() {
    let commits = 10_000 * soak();
    let made = Instant::now();
    let (counting, store, chain, mut dice) = long(commits).await;
    let made = made.elapsed();

    counting.take();
    let begun = Instant::now();
    let loaded = load(&store).await.unwrap();
    let took = begun.elapsed();
    let requests = counting.take();
    assert_eq!(loaded.state(), chain.state());
    // The first commit, the checkpoint, the commit that it was made of, and what came after.
    let since = u64::from(commits - 1) % 256;
    assert_eq!(requests, Requests { lists: 2, reads: 3 + since, writes: 0, at_once: requests.at_once });
    assert!(requests.at_once <= 32, "{requests:?}");

    // The worst is to come just before a checkpoint, and the best just after.
    let mut chain = chain;
    let mut worst = 0;
    for number in commits..commits + 256 {
        chain.append(captured(dice.id(), number, number), NOW, &mut dice.chance()).await.unwrap();
        counting.take();
        if number % 64 > 61 || number % 64 < 2 {
            load(&store).await.unwrap();
            worst = worst.max(counting.take().reads);
        }
    }
    assert_eq!(worst, 3 + 255);

    // Without checkpoints everything is read: slow, and the same.
    for seq in (256..u64::from(commits) + 256).step_by(256) {
        let _ = store.delete(&checkpoint_path(NAME, seq)).await;
    }
    let begun = Instant::now();
    let folded = load(&store).await.unwrap();
    let without = begun.elapsed();
    assert_eq!(folded.state(), chain.state());
    assert!(counting.take().reads >= u64::from(commits));
    println!(
        "{commits} commits, {} live segments: made in {made:.1?}, opened by {} reads in {took:.1?}, without checkpoints {without:.1?}",
        chain.state().segments().len(),
        requests.reads,
    );
}

#[tokio::test]
async fn a_commit_and_a_look_for_news_take_a_listing_each_however_long_the_chain() {
    for commits in [10, 700] {
        let (counting, store, mut chain, mut dice) = long(commits).await;
        let mut reader = load(&store).await.unwrap();
        counting.take();
        chain.append(captured(dice.id(), commits, commits), NOW, &mut dice.chance()).await.unwrap();
        assert_eq!(counting.take(), Requests { lists: 1, reads: 0, writes: 1, at_once: 1 });
        assert!(reader.refresh().await.unwrap());
        assert_eq!(counting.take(), Requests { lists: 1, reads: 1, writes: 0, at_once: 1 });
        assert!(!reader.refresh().await.unwrap());
        assert_eq!(counting.take(), Requests { lists: 1, reads: 0, writes: 0, at_once: 1 });
        chain.confirm().await.unwrap();
        assert_eq!(counting.take(), Requests { lists: 1, reads: 0, writes: 0, at_once: 1 });
        let draft: Draft = vec![].into();
        chain.append(draft, NOW, &mut dice.chance()).await.unwrap();
        assert_eq!(counting.take(), Requests::default());
    }
}
