//! Scans that meet: only one counts, and the other says why it ends.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use backstay_archive::Repository;
use backstay_engine::{BackupOptions, Error, Monitor};
use backstay_model::{IdRange, Interpreter, Tick};
use backstay_sim::toy::ToySource;
use backstay_source::{Capabilities, Namespace, Position, Records, Result, Source, Start, Tail, Topology};
use rig::{NAME, Rig, block_on};

/// A toy of which somebody else makes a whole backup while its first range is read.
struct Met {
    inner: ToySource,
    repository: Repository,
    met: AtomicBool,
}

#[async_trait]
impl Source for Met {
    fn interpreter(&self) -> Arc<dyn Interpreter> {
        self.inner.interpreter()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn discover(&self) -> Result<Topology> {
        self.inner.discover().await
    }

    async fn position(&self) -> Result<Position> {
        self.inner.position().await
    }

    async fn snapshot(&self) -> Result<Tick> {
        self.inner.snapshot().await
    }

    async fn namespaces(&self) -> Result<Vec<Namespace>> {
        self.inner.namespaces().await
    }

    async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>> {
        self.inner.split(namespace, bytes).await
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        if !self.met.swap(true, Ordering::SeqCst) {
            let (options, monitor) = (BackupOptions { parallel: 1 }, Monitor::default());
            let other = backstay_engine::backup(&self.repository, NAME, &self.inner, "toy", options, &monitor);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(other)).unwrap();
        }
        Source::scan(&self.inner, namespace, range, at).await
    }

    async fn tail(&self, start: Start) -> Result<Box<dyn Tail>> {
        self.inner.tail(start).await
    }
}

#[test]
fn a_scan_that_another_has_ended_says_so() {
    block_on(async {
        let rig = Rig::with_shop().await;
        rig.backup().await;
        rig.append("shop.orders", b"a", "lost");
        rig.toy.roll_over(rig.toy.pass(5));
        rig.append("shop.orders", b"b", "found");
        let met = || Met { inner: rig.source.clone(), repository: rig.repository.clone(), met: AtomicBool::new(false) };
        match rig.capture_from(&met()).await {
            Err(Error::Archive(backstay_archive::Error::Conflict(why))) => {
                assert!(why.contains("has begun a scan of its own") && why.contains("run this again"), "{why}");
            }
            other => panic!("{other:?}"),
        }
        // Nothing is lost by that: the other has closed the gap.
        rig.capture().await;
        assert_eq!(rig.vault().await.coverage().await.gaps.len(), 1);
        for at in rig.covered().await {
            rig.check(at).await;
        }
        assert!(matches!(rig.backup_from(&met()).await, Err(Error::Archive(backstay_archive::Error::Conflict(_)))));
        assert_eq!(rig.backup().await.drift, Some(0));
    });
}
