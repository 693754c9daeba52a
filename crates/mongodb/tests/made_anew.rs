//! A replica set that was put back to an earlier state, or made anew of its files: its history is another one, and what was
//! captured of the first is not what it holds.
//!
//! ```text
//!   history     ── a ── b ── (captured) ── c          the same files, without the oplog, and as they were after a
//!   another           ── a ── rs.initiate ── d        a gap over b, and a scan
//! ```
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test at the edge: real clock, real server")]

#[macro_use]
mod scenario;

use std::time::{Duration, Instant};

use backstay_engine::{BackupOptions, CaptureOptions, Monitor, Until, backup_into, capture};
use backstay_model::{Coverage, Gap};
use backstay_mongodb::{Feed, Options};
use bson::{Document, doc};
use mongodb::Client;
use scenario::Stage;

async fn open(feed: Feed) -> Option<Stage> {
    let mut stage = Stage::open_by(feed).await?;
    put(&stage.client, 0).await;
    stage.backup().await;
    stage.moment("the base").await;
    Some(stage)
}

async fn put(client: &Client, id: i32) {
    client.database("shop").collection("orders").insert_one(doc! { "_id": id }).await.unwrap();
}

/// Makes the set anew, as it was before this record.
async fn make_anew(stage: &mut Stage, without: i32) {
    let forget = async |client: &Client| {
        let orders = client.database("shop").collection::<Document>("orders");
        orders.delete_one(doc! { "_id": without }).await.unwrap();
    };
    stage.source.make_anew(forget).await.unwrap();
}

/// Restores every moment, and looks for what is not as the archive says. By its id the set is another one now, and a vault
/// is opened for it no more; this one is open.
async fn check_all(stage: &Stage) {
    stage.capture().await;
    for moment in &stage.moments {
        stage.check(moment, "tails").await;
    }
    stage.compact().await;
    for moment in &stage.moments {
        stage.check(moment, "sorted runs").await;
    }
    let again = backup_into(stage.vault(), &stage.from, BackupOptions::default(), &Monitor::default()).await;
    assert_eq!(again.unwrap().drift, Some(0));
}

async fn gaps(stage: &Stage) -> Vec<Gap> {
    stage.vault().state().await.coverage().gaps
}

async fn while_nobody_captures(feed: Feed) {
    let Some(mut stage) = open(feed).await else { return };
    put(&stage.client, 1).await;
    stage.moment("captured").await;
    stage.capture().await;
    make_anew(&mut stage, 1).await;
    put(&stage.client, 2).await;
    stage.capture().await;
    let found = gaps(&stage).await;
    assert!(found.len() == 1 && found[0].resumes.is_some(), "{found:?}");
    put(&stage.client, 3).await;
    stage.moment("after it").await;
    check_all(&stage).await;
}

async fn while_it_is_captured(feed: Feed) {
    let Some(mut stage) = open(feed).await else { return };
    put(&stage.client, 1).await;
    stage.moment("captured").await;
    let (vault, from) = (stage.vault().clone(), stage.from.clone());
    let monitor = Monitor::default();
    let options = CaptureOptions { until: Until::Cancelled, ..CaptureOptions::default() };
    let follow = capture(&vault, &from, options, &monitor);
    let until = async |what: &str, holds: &dyn Fn(&Coverage) -> bool| {
        let begun = Instant::now();
        while !holds(&vault.refresh().await.unwrap().coverage()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let work = async {
        let at = stage.moments[1].at;
        until("captured", &|covered| covered.through >= at).await;
        make_anew(&mut stage, 1).await;
        put(&stage.client, 2).await;
        until("a gap that ends", &|covered| covered.gaps.iter().any(|gap| gap.resumes.is_some())).await;
        put(&stage.client, 3).await;
        stage.moment("after it").await;
        let at = stage.moments[2].at;
        until("captured again", &|covered| covered.through >= at).await;
        monitor.cancel();
    };
    let (captured, ()) = tokio::join!(follow, work);
    assert_eq!(captured.unwrap().gaps, 1);
    check_all(&stage).await;
}

async fn a_set_that_only_stood_still_has_the_history_that_it_had(feed: Feed) {
    let Some(mut stage) = open(feed).await else { return };
    for round in 1..4 {
        put(&stage.client, round).await;
        stage.capture().await;
        // Nothing but what the server notes for itself lies between the change and the position, or not even that.
        if round == 2 {
            scenario::instant(&stage.client).await;
            stage.capture().await;
        }
        stage.source.restart().await.unwrap();
        stage.capture().await;
    }
    stage.moment("the end").await;
    stage.capture().await;
    assert_eq!(gaps(&stage).await, []);
    check_all(&stage).await;
}

by_both!(while_nobody_captures, while_it_is_captured, a_set_that_only_stood_still_has_the_history_that_it_had);

#[tokio::test(flavor = "multi_thread")]
async fn a_position_without_a_change_before_it_has_the_first_one_that_comes() {
    let Some(mut stage) = Stage::with(&[], Options { feed: Feed::ChangeStreams, ..Options::default() }).await else {
        return;
    };
    stage.backup().await;
    // Without waiting for what the server notes for itself every ten seconds, also where one tick follows the other.
    let idle = Instant::now();
    for _ in 0..10 {
        scenario::instant(&stage.client).await;
        stage.capture().await;
    }
    assert!(idle.elapsed() < Duration::from_secs(9), "{:?}", idle.elapsed());
    let frontier = async |stage: &Stage| stage.vault().state().await.frontiers()["rs0"];
    let begun = frontier(&stage).await;
    assert_eq!(begun.resume, begun.through);
    put(&stage.client, 1).await;
    stage.moment("one").await;
    stage.capture().await;
    let then = frontier(&stage).await;
    assert!(begun.through <= then.resume && then.resume < then.through, "{then:?}");
    scenario::instant(&stage.client).await;
    stage.capture().await;
    let now = frontier(&stage).await;
    assert!(now.resume == then.resume && now.through > then.through, "{now:?}");
}
