//! Whole random workloads on a real replica set, followed while they run, and brought back as of random instants: what
//! comes back is what the server itself answered at that cluster time, byte for byte, and what it said of its
//! collections and indexes right then.
//!
//! ```text
//!   main loop   documents of every kind, transactions, definitions, moves between tenants       seeded
//!   beside it   two writers; backup in the middle; capture, killed and started again; compact
//!   instants    a cluster time, the server's snapshot read at it, its definitions
//! ```
//!
//! `BACKSTAY_SEED` runs one seed, `BACKSTAY_SOAK` many more.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test takes a new seed each time")]

mod actions;
mod shop;
mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actions::{Actions, NAMES, TENANTS};
use backstay_testkit::{Backstay, Options, ReplicaSet, Running, Signal, given_seed, require_mongod, seed, soak};
use bson::{Bson, Document, Timestamp};
use serde_json::Value;
use witness::{Content, as_of, assert_same, definitions, instant, text};

const DATABASES: &[&str] = &["shop", "tenant_a", "tenant_b"];
/// The writers beside the main loop: each writes documents of its own tenant, which the main loop leaves to it.
const WRITERS: &[&str] = &["w1", "w2"];
const STEPS: usize = 260;
/// Instants that are brought back, for each seed.
const RESTORED: usize = 5;

type Definitions = BTreeMap<String, (Document, Vec<Document>)>;

/// An instant, and what the server said of it.
struct Moment {
    at: Timestamp,
    content: Content,
    definitions: Definitions,
}

struct Workload {
    actions: Actions,
    uri: String,
    program: Backstay,
    capture: Option<Running>,
    backed_up: bool,
    moments: Vec<Moment>,
    rewinds: usize,
}

impl Workload {
    // ------------------------------------------------------------------------------------- what runs beside it

    fn json(&self, args: &[&str]) -> Value {
        self.program.run([args, &["--json"]].concat()).unwrap().ok().json()
    }

    /// Starts capture, stops it or kills it, or compacts.
    fn operate(&mut self) {
        let running = self.capture.take();
        self.capture = match (running, self.actions.chance.below(4)) {
            (None, _) => Some(self.program.spawn(["capture", "shop"]).unwrap()),
            (Some(mut running), 0) => {
                running.signal(Signal::Terminate).unwrap();
                // 143: the signal came before the program had begun to listen for it.
                let run = running.wait(Duration::from_secs(60)).unwrap();
                assert!(run.code == 0 || run.code == 143, "{run:?}");
                None
            }
            (Some(running), 1) => {
                running.kill().unwrap();
                None
            }
            (Some(mut running), 2) => {
                assert!(!running.has_ended().unwrap(), "capture ended by itself: {}", running.stderr());
                self.json(&["compact", "shop"]);
                Some(running)
            }
            (running, _) => running,
        };
    }

    async fn remember(&mut self) {
        // The writers make a collection by writing into it: an instant counts when nothing was made or dropped around it.
        let (now, at) = loop {
            let before = definitions(&self.actions.client, DATABASES).await;
            let at = instant(&self.actions.client).await;
            if definitions(&self.actions.client, DATABASES).await == before {
                break (before, at);
            }
        };
        let collections: Vec<String> = now
            .iter()
            .filter(|(_, (entry, _))| entry.get_str("type").unwrap() == "collection")
            .map(|(name, _)| name.clone())
            .collect();
        let content = as_of(&self.actions.client, &collections, at).await;
        self.moments.push(Moment { at, content, definitions: now });
    }

    /// Rewinds one tenant to an instant that is covered, while the writers go on.
    async fn rewind(&mut self) {
        let from = self.moments.len() - 1 - self.actions.chance.below(self.moments.len().min(3));
        let tenant = self.actions.chance.pick(TENANTS);
        let at = text(self.moments[from].at);
        let args =
            ["restore", "shop", "--at", &at, "--tenant", tenant, "--ns", "shop.*", "--in-place", "--yes", "--json"];
        let run = self.program.run(args).unwrap();
        let nothing = run.code == 1 && run.stdout.contains("no namespace that existed");
        if nothing || run.code == 2 && run.stdout.contains("tenant") {
            return;
        }
        let report = run.ok().json();
        assert_eq!(report["proof"]["equal"], true, "{report}");
        assert_eq!(report["skipped"], 0, "{report}");
        self.rewinds += 1;
        let moment = &self.moments[from];
        let names: Vec<String> = moment.definitions.keys().filter(|name| name.starts_with("shop.c")).cloned().collect();
        let now = as_of(&self.actions.client, &names, instant(&self.actions.client).await).await;
        let nobody = Vec::new();
        for name in &names {
            let (then, now) = (moment.content.get(name).unwrap_or(&nobody), now.get(name).unwrap_or(&nobody));
            let of = |documents: &[Vec<u8>]| -> Vec<Vec<u8>> {
                documents.iter().filter(|document| owner(document) == Some(tenant.to_owned())).cloned().collect()
            };
            let (wanted, found) = (of(then), of(now));
            for document in &wanted {
                assert!(found.contains(document), "{name}: {tenant} lacks {:?} of {at}", read(document));
            }
            // What is the tenant's now and was another's then is left as it is.
            let others: Vec<Bson> = then.iter().filter(|document| !wanted.contains(document)).map(|d| key(d)).collect();
            for document in found.iter().filter(|document| !wanted.contains(document)) {
                assert!(others.contains(&key(document)), "{name}: {tenant} has {:?} since {at}", read(document));
            }
        }
    }

    // ------------------------------------------------------------------------------------------ what comes back

    async fn compare(&mut self, target: &ReplicaSet) {
        let client = target.client().await.unwrap();
        let first = self.json(&["timeline", "shop"])["ranges"][0]["from"].as_str().unwrap().to_owned();
        let first: backstay_model::Tick = first.parse().unwrap();
        let mut moments = std::mem::take(&mut self.moments);
        moments.retain(|moment| backstay_model::Tick::new(moment.at.time, moment.at.increment) >= first);
        assert!(moments.len() > 3, "too few instants are covered");
        while moments.len() > RESTORED {
            moments.remove(self.actions.chance.below(moments.len()));
        }
        for moment in moments {
            let at = text(moment.at);
            witness::clear(&client, DATABASES).await;
            let run =
                self.program.run(["restore", "shop", "--at", &at, "--into", &target.uri(), "--yes", "--json"]).unwrap();
            assert!([0, 15].contains(&run.code), "{run}");
            assert_same(&witness::now(&client, DATABASES).await, &moment.content, &at);
            let found = definitions(&client, DATABASES).await;
            for (name, (entry, indexes)) in &moment.definitions {
                let Some((found_entry, found_indexes)) = found.get(name) else {
                    panic!("{name} is missing as of {at}")
                };
                assert_eq!((found_entry, found_indexes), (entry, indexes), "{name} as of {at}");
            }
            let names = |all: &Definitions| all.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(&found), names(&moment.definitions), "as of {at}");
            let restored = run.ok().json();
            assert_eq!(restored["proof"]["equal"], true, "{restored}");
            assert_eq!(restored["proof"]["definitions"], serde_json::json!([]), "{restored}");
            self.look(&moment, &at);
        }
    }

    /// `ls` and `get` say the same.
    fn look(&mut self, moment: &Moment, at: &str) {
        let listing = self.json(&["ls", "shop", "--at", at]);
        let namespaces = listing["namespaces"].as_array().unwrap();
        for (name, (entry, _)) in &moment.definitions {
            if entry.get_str("type").unwrap() == "view" {
                continue;
            }
            let found = namespaces.iter().find(|namespace| namespace["namespace"] == name.as_str()).unwrap();
            let documents = moment.content.get(name).map_or(&[][..], Vec::as_slice);
            assert_eq!(found["records"], documents.len(), "{name} as of {at}: {found}");
            assert_eq!(found["bytes"], documents.iter().map(Vec::len).sum::<usize>(), "{name} as of {at}");
            if documents.is_empty() || !self.actions.chance.one_in(3) {
                continue;
            }
            let document = &documents[self.actions.chance.below(documents.len())];
            let id = key(document).into_canonical_extjson().to_string();
            let got = self.json(&["get", "shop", name, &id, "--at", at]);
            let Ok(Bson::Document(got)) = Bson::try_from(got["document"].clone()) else { panic!("{got}") };
            assert!(bson::serialize_to_vec(&got).unwrap() == *document, "{name} {id} as of {at}: {got}");
        }
    }
}

fn read(document: &[u8]) -> Document {
    bson::deserialize_from_slice(document).unwrap()
}

fn key(document: &[u8]) -> Bson {
    read(document).remove("_id").unwrap()
}

fn owner(document: &[u8]) -> Option<String> {
    bson::RawDocument::from_bytes(document).unwrap().get_str("tenant").ok().map(str::to_owned)
}

async fn run(seed: u64, set: &ReplicaSet, target: &ReplicaSet) {
    println!("BACKSTAY_SEED={seed}");
    let client = set.client().await.unwrap();
    witness::clear(&client, DATABASES).await;
    let program = shop::program(&set.uri());
    let mut work = Workload {
        actions: Actions::new(client, seed),
        uri: set.uri(),
        program,
        capture: None,
        backed_up: false,
        moments: Vec::new(),
        rewinds: 0,
    };
    work.json(&["init"]);
    for name in NAMES {
        work.actions.client.database("shop").create_collection(*name).await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = WRITERS
        .iter()
        .map(|tenant| tokio::task::spawn(actions::write(work.actions.client.clone(), tenant, Arc::clone(&stop))))
        .collect();
    for step in 0..STEPS {
        work.actions.step().await;
        if step == STEPS / 3 {
            // While it reads, documents and definitions change beneath it.
            let mut backup = work.program.spawn(["backup", "shop"]).unwrap();
            while !backup.has_ended().unwrap() {
                work.actions.step().await;
            }
            backup.wait(Duration::from_secs(60)).unwrap().ok();
            work.backed_up = true;
        }
        if work.backed_up && work.actions.chance.one_in(12) {
            work.operate();
        }
        if work.backed_up && work.actions.chance.one_in(14) {
            work.remember().await;
        }
        if work.moments.len() > 2 && work.actions.chance.one_in(60) {
            work.rewind().await;
        }
    }
    work.remember().await;
    work.rewind().await;
    work.remember().await;
    stop.store(true, Ordering::SeqCst);
    let mut written = 0;
    for writer in writers {
        written += writer.await.unwrap();
    }
    if let Some(capture) = work.capture.take() {
        capture.kill().unwrap();
    }
    work.json(&["capture", "shop", "--until", "now"]);
    let timeline = work.json(&["timeline", "shop"]);
    assert_eq!(
        (timeline["ranges"].as_array().unwrap().len(), &timeline["gaps"]),
        (1, &serde_json::json!([])),
        "{timeline}"
    );
    work.compare(target).await;
    assert_eq!(work.json(&["backup", "shop"])["drift"], 0, "of {}", work.uri);
    let verified = work.json(&["verify", "shop", "--content"]);
    assert_eq!(verified["problems"], serde_json::json!([]), "{verified}");
    println!(
        "{} documents, {written} writes beside, {} rewinds, {} steps refused, {:?}",
        work.actions.next, work.rewinds, work.actions.refused, work.actions.kinds
    );
    assert!(work.rewinds > 0 && work.actions.refused < STEPS / 2);
}

#[test]
fn a_random_workload_comes_back_as_of_random_instants() {
    shop::runtime().block_on(async {
        if require_mongod().is_none() {
            return;
        }
        let parameters =
            ["minSnapshotHistoryWindowInSeconds=3600", "maxNumberOfTransactionOperationsInSingleOplogEntry=3"];
        let args =
            parameters.iter().flat_map(|parameter| ["--setParameter".to_owned(), (*parameter).to_owned()]).collect();
        let set = ReplicaSet::start(Options { args, ..Options::default() }).await.unwrap();
        let target = ReplicaSet::start(Options { name: "rs1".into(), ..Options::default() }).await.unwrap();
        let seeds: Vec<u64> = match given_seed() {
            Some(seed) => vec![seed],
            None => [1, 2].into_iter().chain((0..soak()).map(|_| seed())).collect(),
        };
        for seed in seeds {
            run(seed, &set, &target).await;
        }
    });
}
