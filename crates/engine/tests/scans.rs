//! Scans that meet: only one counts, and the other says why it ends.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use backstay_archive::Repository;
use backstay_engine::{BackupOptions, Error, Monitor};
use backstay_model::{IdRange, Tick};
use backstay_sim::toy::ToySource;
use backstay_source::{Namespace, Records, Result, Source};
use rig::twisted::{Twist, Twisted};
use rig::{NAME, Rig, block_on};

/// A toy of which somebody else makes a whole backup while its first range is read.
struct Met {
    inner: ToySource,
    repository: Repository,
    met: AtomicBool,
}

#[async_trait]
impl Twist for Met {
    fn toy(&self) -> &ToySource {
        &self.inner
    }

    async fn scan(&self, namespace: &Namespace, range: &IdRange, at: Tick) -> Result<Box<dyn Records>> {
        if !self.met.swap(true, Ordering::SeqCst) {
            let (options, monitor) = (BackupOptions { parallel: 1 }, Monitor::default());
            let other = backstay_engine::backup(&self.repository, NAME, &self.inner, "toy", options, &monitor);
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(other)).unwrap();
        }
        Source::scan(&self.inner, namespace, range, at).await
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
        let met = || {
            let (inner, repository) = (rig.source.clone(), rig.repository.clone());
            Twisted(Met { inner, repository, met: AtomicBool::new(false) })
        };
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
