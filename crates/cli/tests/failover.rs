//! The failover soak: a random workload on a replica set of three whose members are stepped down, killed, frozen and cut off, while it is
//! backed up and captured by a program that is itself killed and started again. At instants in between the server is read
//! as of its cluster time; later each is restored from the archive and compared byte for byte: documents, definitions,
//! indexes. What was rolled back is nowhere to be found.
//!
//! ```text
//!   storm      one fault after the other                                               seeded
//!   main loop  documents of every kind, transactions, definitions; series, a ring      seeded
//!   beside it  two writers that wait for one member only; backup, capture, compact
//!   instants   what one primary of one term said, see `glimpse` ──▶ restored, compared
//! ```
//!
//! `BACKSTAY_SEED` runs one seed; `BACKSTAY_SOAK` the long form, and with a number as many seeds.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test takes a new seed each time")]

mod actions;
mod glimpse;
mod shop;
mod storm;
mod witness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actions::{Actions, NAMES};
use backstay_model::Tick;
use backstay_testkit::{
    Backstay, Options, ReplicaSet, Running, Signal, given_seed, require_mongod, seed, soak as soak_factor,
};
use bson::{DateTime, Document, doc};
use glimpse::{Moment, assert_same, moment};
use mongodb::Client;
use serde_json::{Value, json};
use storm::{LOST, Storm, alone};
use witness::text;

const DATABASES: &[&str] = &["shop", "tenant_a", "tenant_b"];
/// Instants and faults of the short form.
const SHORT: (usize, usize) = (15, 11);
/// Instants and faults for each seed of the long form.
const LONG: (usize, usize) = (56, 44);
/// How long a step is waited for. What becomes of one that a fault outlasts is the server's affair.
const STEP: Duration = Duration::from_secs(3);
/// How long the busy part may take before something is wrong.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How often a backup may be stopped by a fault that it does not outlast.
const BACKUPS: usize = 10;

struct Soak {
    actions: Actions,
    /// Clients that wait for a majority, and that wait for one member: what the latter are told may be rolled back.
    clients: [Client; 2],
    program: Backstay,
    capture: Option<Running>,
    /// Each by itself, past its door.
    members: Vec<Client>,
    moments: Vec<Moment>,
    /// How often capture was stopped, killed and started.
    restarts: usize,
    missed: usize,
    measured: i64,
}

impl Soak {
    fn json(&self, args: &[&str]) -> Value {
        self.program.run([args, &["--json"]].concat()).unwrap().ok().json()
    }

    async fn step(&mut self) {
        self.actions.client = self.clients[self.actions.chance.below(2)].clone();
        let step = async {
            match self.actions.chance.one_in(6) {
                true => drop(special(&mut self.actions, &mut self.measured).await),
                false => self.actions.step().await,
            }
        };
        let _ = tokio::time::timeout(STEP, step).await;
    }

    /// A backup while all goes on, again when a fault was too much for it; returns its report.
    async fn backup(&mut self) -> Value {
        for _ in 0..BACKUPS {
            let mut backup = self.program.spawn(["backup", "shop", "--json"]).unwrap();
            while !backup.has_ended().unwrap() {
                self.step().await;
            }
            let run = backup.wait(Duration::from_secs(60)).unwrap();
            if run.code == 0 {
                return run.json();
            }
            println!("a backup failed: {run}");
            assert_eq!(run.code, 1, "{run}");
        }
        panic!("no backup came to its end");
    }

    /// Starts capture, stops it or kills it, or compacts. It never ends by itself, unless it found no primary when it started:
    /// then whoever watches over it starts it again.
    fn operate(&mut self) {
        let kind = self.actions.chance.below(5);
        if let Some(running) = &mut self.capture
            && running.has_ended().unwrap()
        {
            let run = self.capture.take().unwrap().kill().unwrap();
            assert!(run.code == 1 && run.stderr.starts_with("error: connecting to "), "capture ended by itself: {run}");
        }
        self.capture = match (self.capture.take(), kind) {
            (None, _) => {
                self.restarts += 1;
                Some(self.program.spawn(["capture", "shop"]).unwrap())
            }
            (Some(mut running), 0) => {
                running.signal(Signal::Terminate).unwrap();
                // 143: the signal came before the program had begun to listen for it.
                let run = running.wait(Duration::from_secs(60)).unwrap();
                let found_no_primary = run.code == 1 && run.stderr.starts_with("error: connecting to ");
                assert!(run.code == 0 || run.code == 143 || found_no_primary, "{run}");
                None
            }
            (Some(running), 1 | 2) => {
                running.kill().unwrap();
                None
            }
            (Some(running), 3) => {
                self.json(&["compact", "shop"]);
                Some(running)
            }
            (running, _) => running,
        };
    }

    async fn remember(&mut self) {
        match tokio::time::timeout(STEP, moment(&self.members, DATABASES)).await {
            Ok(Some(moment)) => self.moments.push(moment),
            _ => self.missed += 1,
        }
    }

    /// Restores every instant and compares.
    async fn compare(&self, target: &ReplicaSet) {
        let client = target.client().await.unwrap();
        for Moment { at, content } in &self.moments {
            let at = text(*at);
            witness::clear(&client, DATABASES).await;
            let args = ["restore", "shop", "--at", &at, "--into", &target.uri(), "--yes", "--json"];
            let run = self.program.run(args).unwrap();
            assert!([0, 15].contains(&run.code), "{run}");
            assert_same(&glimpse::now(&client, DATABASES).await, content, &format!("as of {at}"));
            let restored = run.ok().json();
            assert_eq!(restored["proof"]["equal"], true, "{restored}");
            assert_eq!(restored["proof"]["definitions"], json!([]), "{restored}");
        }
    }

    /// Nothing that was rolled back was ever archived, in any version of anything.
    fn look_for_what_was_lost(&self, lost: &[usize]) {
        for number in lost {
            let (id, name) = (format!("\"{LOST}-{number}\""), format!("shop.{LOST}_{number}"));
            for namespace in ["shop.c0", &name] {
                let got = self.program.run(["get", "shop", namespace, &id, "--history", "--json"]).unwrap();
                let message = got.clone().expect_code(1).json_error()["message"].to_string();
                assert!(message.contains("has no record"), "it was rolled back: {got}");
            }
        }
        for Moment { at, content } in &self.moments {
            let shown = content.iter().find(|(name, shown)| {
                let holds = |document: &Vec<u8>| document.windows(LOST.len()).any(|window| window == LOST.as_bytes());
                name.contains(LOST) || shown.documents.iter().any(holds)
            });
            assert!(shown.is_none(), "the server itself shows what was rolled back at {}", text(*at));
        }
    }
}

/// A time series, and a collection that keeps its last twenty documents.
async fn special(actions: &mut Actions, measured: &mut i64) -> mongodb::error::Result<()> {
    let shop = actions.client.database("shop");
    match actions.chance.below(24) {
        0 => shop.run_command(doc! { "create": "ring", "capped": true, "size": 100_000, "max": 20 }).await.map(drop),
        1 => {
            let series = doc! { "timeField": "t", "metaField": "m" };
            shop.run_command(doc! { "create": "series", "timeseries": series }).await.map(drop)
        }
        2 => shop.run_command(doc! { "drop": "ring" }).await.map(drop),
        3 => shop.run_command(doc! { "drop": "series" }).await.map(drop),
        4..=13 => {
            let documents = (0..1 + actions.chance.below(5)).map(|_| {
                *measured += 1;
                doc! { "_id": *measured, "tenant": "t1", "n": actions.chance.small() }
            });
            let documents: Vec<Document> = documents.collect();
            shop.collection::<Document>("ring").insert_many(documents).await.map(drop)
        }
        _ => {
            let documents = (0..1 + actions.chance.below(9)).map(|_| {
                *measured += 1;
                let at = DateTime::from_millis(1_700_000_000_000 + *measured * 60_000);
                doc! { "t": at, "m": { "n": actions.chance.small() }, "v": actions.chance.small() }
            });
            let documents: Vec<Document> = documents.collect();
            shop.collection::<Document>("series").insert_many(documents).await.map(drop)
        }
    }
}

async fn run(seed: u64, (instants, faults): (usize, usize), target: &ReplicaSet) {
    println!("BACKSTAY_SEED={seed}");
    let begun = Instant::now();
    let args = ["minSnapshotHistoryWindowInSeconds=3600", "maxNumberOfTransactionOperationsInSingleOplogEntry=3"];
    let args = args.iter().flat_map(|parameter| ["--setParameter".to_owned(), (*parameter).to_owned()]).collect();
    let options = Options { members: 3, cache_gb: 0.25, doors: true, args, ..Options::default() };
    let set = ReplicaSet::start(options).await.unwrap();
    let patience = "serverSelectionTimeoutMS=1000&connectTimeoutMS=1000&heartbeatFrequencyMS=500";
    let client = async |concern: &str| {
        let uri = format!("{}&{patience}&{concern}", set.uri());
        Client::with_uri_str(uri).await.unwrap()
    };
    let (patient, hasty) = (client("w=majority&wtimeoutMS=3000").await, client("w=1").await);
    let mut soak = Soak {
        actions: Actions::new(patient.clone(), seed),
        clients: [patient, hasty.clone()],
        program: shop::program(&set.uri()),
        capture: None,
        members: alone(&set).await.unwrap(),
        moments: Vec::new(),
        restarts: 0,
        missed: 0,
        measured: 0,
    };
    soak.json(&["init"]);
    for name in NAMES {
        soak.actions.client.database("shop").create_collection(*name).await.unwrap();
    }
    for _ in 0..20 {
        soak.step().await;
    }
    let (stop, struck) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writers =
        ["w1", "w2"].map(|tenant| tokio::task::spawn(actions::write(hasty.clone(), tenant, Arc::clone(&stop))));
    let storm = Storm::over(set, seed).await.unwrap();
    let storm = tokio::task::spawn(storm.rage(faults, Arc::clone(&struck)));
    soak.backup().await;
    let mut steps = 0;
    let mut drifted = 0;
    // Instants are spread over the faults.
    while !storm.is_finished() || soak.moments.len() < instants {
        assert!(begun.elapsed() < LIMIT, "{} instants after {LIMIT:?}", soak.moments.len());
        steps += 1;
        soak.step().await;
        if soak.actions.chance.one_in(8) {
            soak.operate();
        }
        let due = instants * (struck.load(Ordering::SeqCst) + 1) / (faults + 1);
        if soak.moments.len() < due.max(1) || storm.is_finished() {
            soak.remember().await;
        }
        if soak.actions.chance.one_in(400) {
            drifted += soak.backup().await["drift"].as_u64().unwrap();
        }
    }
    let storm = storm.await.unwrap().unwrap();
    storm.calm().await.unwrap();
    soak.remember().await;
    stop.store(true, Ordering::SeqCst);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    if let Some(capture) = soak.capture.take() {
        capture.kill().unwrap();
    }
    println!(
        "seed {seed}: {steps} steps, {} documents, {written} writes beside, {} steps refused, capture started {} times, \
         {:?}, writes lost {} times; {} instants ({} that could not be told) after {:?}",
        soak.actions.next,
        soak.actions.refused,
        soak.restarts,
        storm.struck,
        storm.lost.len(),
        soak.moments.len(),
        soak.missed,
        begun.elapsed()
    );
    soak.json(&["capture", "shop", "--until", "now"]);
    let timeline = soak.json(&["timeline", "shop"]);
    let ranges = timeline["ranges"].as_array().unwrap();
    assert_eq!((ranges.len(), &timeline["gaps"]), (1, &json!([])), "{timeline}");
    let first: Tick = ranges[0]["from"].as_str().unwrap().parse().unwrap();
    soak.moments.retain(|moment| Tick::new(moment.at.time, moment.at.increment) >= first);
    assert!(soak.moments.len() >= instants, "too few instants are covered");
    soak.look_for_what_was_lost(&storm.lost);
    soak.compare(target).await;
    assert_eq!(soak.json(&["backup", "shop"])["drift"], 0);
    assert_eq!(drifted, 0);
    let verified = soak.json(&["verify", "shop", "--content"]);
    assert_eq!(verified["problems"], json!([]), "{verified}");
    println!("seed {seed}: {} instants compared after {:?}", soak.moments.len(), begun.elapsed());
}

#[test]
fn what_a_failing_replica_set_said_at_an_instant_comes_back() {
    shop::runtime().block_on(async {
        if require_mongod().is_none() {
            return;
        }
        let options = Options { name: "rs1".into(), cache_gb: 0.25, ..Options::default() };
        let target = ReplicaSet::start(options).await.unwrap();
        let (size, seeds) = match soak_factor() {
            1 => (SHORT, 1),
            times => (LONG, times),
        };
        for _ in 0..seeds {
            run(given_seed().unwrap_or_else(seed), size, &target).await;
            if given_seed().is_some() {
                return;
            }
        }
    });
}
