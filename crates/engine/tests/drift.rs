//! Comparing much more of a source with the archive than fits in memory, on a server that gives its snapshots up.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use backstay_archive::Limits;
use backstay_model::{IdRange, Tick};
use backstay_sim::toy::ToySource;
use backstay_source::{Error, Namespace, RecordBatch, Records, Result, Source};
use rig::twisted::{Twist, Twisted};
use rig::{Rig, block_on};

const MANY: u16 = 300;
/// Batches that a snapshot lasts.
const LIFE: u64 = 7;

/// A source that gives a snapshot up after a few batches, while clients go on writing.
#[derive(Clone)]
struct Forgetful {
    inner: ToySource,
    given_up: Arc<AtomicU64>,
}

struct Fading {
    inner: Box<dyn Records>,
    left: u64,
    at: Tick,
    of: Forgetful,
}

#[async_trait]
impl Records for Fading {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        if self.left == 0 {
            let count = self.of.given_up.fetch_add(1, Ordering::SeqCst);
            let operation = backstay_sim::toy::Operation::Append {
                name: "shop.lost".to_owned(),
                id: key(u16::try_from(count * 37).unwrap() % MANY),
                field: "colour".to_owned(),
                more: count.to_string(),
            };
            self.of.inner.toy().apply(&[operation], false);
            return Err(Error::SnapshotTooOld(self.at));
        }
        self.left -= 1;
        self.inner.next(batch).await
    }
}

#[async_trait]
impl Twist for Forgetful {
    fn toy(&self) -> &ToySource {
        &self.inner
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        let inner = Source::scan(&self.inner, namespace, range, at).await?;
        Ok(Box::new(Fading { inner, left: LIFE, at, of: self.clone() }))
    }
}

fn key(number: u16) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

#[test]
fn a_namespace_that_a_gap_hid_is_read_in_pieces_and_at_as_many_ticks_as_it_takes() {
    block_on(async {
        let rig = Rig::with_limits(Limits { chunk: 500, ..Limits::default() }).await;
        rig.toy.create("shop.orders").unwrap();
        rig.put("shop.orders", b"a", "acme", "red");
        rig.backup().await;
        rig.toy.create("shop.lost").unwrap();
        for number in 0..MANY {
            rig.put("shop.lost", &key(number), if number % 3 == 0 { "acme" } else { "bolt" }, "green");
        }
        rig.toy.roll_over(rig.toy.pass(5));
        rig.append("shop.lost", &key(7), "1");
        let source = Twisted(Forgetful { inner: rig.source.clone(), given_up: Arc::default() });
        rig.capture_from(&source).await.unwrap();
        // Three records in a batch: what LIFE batches hold is read at one tick.
        assert!(source.0.given_up.load(Ordering::SeqCst) >= u64::from(MANY) / 3 / LIFE);
        let state = rig.vault().await.state().await;
        let runs: Vec<u64> = state.delta_runs().map(|run| run.raw_bytes).collect();
        assert!(runs.len() > 10, "{} segments", runs.len());
        assert!(runs.iter().all(|bytes| *bytes < 2_000), "{runs:?}");
        rig.check(state.coverage().through).await;
        rig.append("shop.lost", &key(8), "2");
        rig.capture().await;
        rig.check(rig.toy.now()).await;
        assert_eq!(rig.backup().await.drift, Some(0), "nothing was lost, nothing doubled");
    });
}
