//! Dying anywhere: at every named crash point and at random moments. Whatever was running is run again, and then nothing
//! is lost, nothing is doubled, and no instant is uncovered.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a client writes beside the test")]

mod shop;
mod witness;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backstay_testkit::{Backstay, Chance, Options, ReplicaSet, require_mongod, soak};
use bson::{Document, Timestamp, doc};
use mongodb::Client;
use serde_json::Value;
use witness::{as_of, assert_same, die_at, instant, text};

const RECORDS: i32 = 1000;
/// Who kills, and how often in the short form: more than a hundred times in all.
const BACKUPS_KILLED: usize = 60;
const CAPTURES_KILLED: usize = 60;

/// One server for all; each test protects a database of its own.
struct Stage {
    set: ReplicaSet,
    client: Client,
}

struct Case {
    uri: String,
    client: Client,
    database: String,
    program: Backstay,
    /// The first instant that is covered, once there is one.
    start: Option<String>,
}

impl Stage {
    async fn open() -> Option<Stage> {
        require_mongod()?;
        let args = ["--setParameter", "minSnapshotHistoryWindowInSeconds=3600"].map(str::to_owned).to_vec();
        let set = ReplicaSet::start(Options { args, ..Options::default() }).await.unwrap();
        let client = set.client().await.unwrap();
        Some(Stage { set, client })
    }

    async fn case(&self, name: &str) -> Case {
        let database = format!("shop_{}", name.replace(['.', '-', ':'], "_"));
        let uri = self.set.uri();
        let program = shop::program(&uri);
        let yaml = shop::yaml(&uri).replace("\"shop.*\", \"tenant_*.*\"", &format!("\"{database}.*\""));
        program.configure(&yaml.replace("ns: \"shop.*\"", &format!("ns: \"{database}.*\""))).unwrap();
        let case = Case { uri, client: self.client.clone(), database, program, start: None };
        let records =
            (0..RECORDS).map(|n| doc! { "_id": n, "tenant": format!("t{}", n % 7), "n": n, "pad": "x".repeat(200) });
        case.orders().insert_many(records).await.unwrap();
        case.orders().create_index(mongodb::IndexModel::builder().keys(doc! { "tenant": 1 }).build()).await.unwrap();
        case.json(&["init"]);
        case
    }
}

impl Case {
    fn orders(&self) -> mongodb::Collection<Document> {
        self.client.database(&self.database).collection("orders")
    }

    fn namespace(&self) -> String {
        format!("{}.orders", self.database)
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        self.program.run([args, &["--json"]].concat()).unwrap().ok().json()
    }

    async fn write(&self, chance: &mut Chance) {
        let id = i32::try_from(chance.below(RECORDS as usize + 50)).unwrap();
        let orders = self.orders();
        match chance.below(5) {
            0 => drop(orders.delete_one(doc! { "_id": id }).await.unwrap()),
            1 => {
                let tenant = format!("t{}", chance.below(7));
                let change = doc! { "$set": { "tenant": tenant }, "$inc": { "n": 1 } };
                orders.update_many(doc! { "_id": { "$gte": id, "$lt": id + 20 } }, change).await.unwrap();
            }
            2 => drop(
                orders.replace_one(doc! { "_id": id }, doc! { "tenant": "t1", "new": id }).upsert(true).await.unwrap(),
            ),
            _ => drop(
                orders.update_one(doc! { "_id": id }, doc! { "$inc": { "n": 1 }, "$push": { "l": id } }).await.unwrap(),
            ),
        }
    }

    async fn writes(&self, seed: u64, count: usize) {
        let mut chance = Chance(seed);
        for _ in 0..count {
            self.write(&mut chance).await;
        }
    }

    fn backup(&mut self) {
        let report = self.json(&["backup", "shop"]);
        self.start.get_or_insert_with(|| report["at"].as_str().unwrap().to_owned());
    }

    /// Nothing lost, nothing doubled, no gap; the archive is sound, and gives back what the server says was true.
    async fn check(&self, instants: &[Timestamp]) {
        let through = self.json(&["capture", "shop", "--until", "now"])["through"].clone();
        let timeline = self.json(&["timeline", "shop"]);
        let ranges = timeline["ranges"].as_array().unwrap();
        assert_eq!((ranges.len(), &timeline["gaps"]), (1, &serde_json::json!([])), "{timeline}");
        assert_eq!(ranges[0]["to"], through, "{timeline}");
        if let Some(start) = &self.start {
            let tick = |text: &str| text.parse::<backstay_model::Tick>().unwrap();
            assert!(tick(ranges[0]["from"].as_str().unwrap()) <= tick(start), "{timeline}");
        }
        let verified = self.json(&["verify", "shop", "--content"]);
        assert_eq!(verified["problems"], serde_json::json!([]), "{verified}");
        let namespaces = [self.namespace()];
        for at in instants {
            let expected = as_of(&self.client, &namespaces, *at).await;
            self.client.database("restored").collection::<Document>(&self.database).drop().await.unwrap();
            self.restore(*at);
            let into = format!("restored.{}", self.database);
            let found = as_of(&self.client, std::slice::from_ref(&into), instant(&self.client).await).await;
            let renamed = found.into_values().map(|documents| (namespaces[0].clone(), documents)).collect();
            assert_same(&renamed, &expected, &format!("{} as of {}", self.database, text(*at)));
        }
        // What differs from the source now would have been lost or doubled.
        assert_eq!(self.json(&["backup", "shop"])["drift"], 0);
    }

    fn restore_args(&self, at: Timestamp) -> Vec<String> {
        let rename = format!("{}=restored.{}", self.namespace(), self.database);
        [
            "restore",
            "shop",
            "--at",
            &text(at),
            "--ns",
            &self.namespace(),
            "--into",
            &self.uri,
            "--rename",
            &rename,
            "--yes",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[track_caller]
    fn restore(&self, at: Timestamp) {
        let args = self.restore_args(at);
        let restored = self.json(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(restored["proof"]["equal"], true, "{restored}");
        assert_eq!(restored["proof"]["definitions"], serde_json::json!([]), "{restored}");
    }
}

#[test]
fn dying_at_every_crash_point_loses_nothing() {
    shop::runtime().block_on(async {
        let Some(stage) = Stage::open().await else { return };
        // The crash point of a gap needs an oplog that rolls over, and is died at in `tail_rollover`; that of records that are
        // filed anew needs a rename: `renames`; that of an exchange needs unique values that wait for each other: `unique`.
        let elsewhere = ["capture.gap-opened", "capture.reassigned", "restore.exchanged"];
        for point in backstay_model::CRASH_POINTS.iter().filter(|point| !elsewhere.contains(point)) {
            let mut case = stage.case(point).await;
            let mut instants = Vec::new();
            let verb = point.split('.').next().unwrap();
            let died = match verb {
                "backup" => !die_at(point, &case.program, &["backup", "shop"]),
                "capture" => {
                    case.backup();
                    case.writes(1, 30).await;
                    instants.push(instant(&case.client).await);
                    !die_at(point, &case.program, &["capture", "shop", "--until", "now"])
                }
                "compact" => {
                    case.backup();
                    case.writes(1, 30).await;
                    instants.push(instant(&case.client).await);
                    case.json(&["capture", "shop", "--until", "now"]);
                    !die_at(point, &case.program, &["compact", "shop"])
                }
                _ => {
                    case.backup();
                    case.writes(1, 30).await;
                    let at = instant(&case.client).await;
                    instants.push(at);
                    case.writes(2, 30).await;
                    case.json(&["capture", "shop", "--until", "now"]);
                    let args = case.restore_args(at);
                    let died = !die_at(point, &case.program, &args.iter().map(String::as_str).collect::<Vec<_>>());
                    case.restore(at);
                    died
                }
            };
            assert!(died, "{point} was not passed");
            case.writes(3, 30).await;
            match verb {
                "backup" => case.backup(),
                "compact" => drop(case.json(&["compact", "shop"])),
                _ => {}
            }
            case.writes(4, 30).await;
            instants.push(instant(&case.client).await);
            case.writes(5, 10).await;
            case.check(&instants).await;
            // A second backup dies the same way, over what is archived already.
            if verb == "backup" && die_at(point, &case.program, &["backup", "shop"]) {
                assert!(point.contains("segment"), "only differences are stored, and there are none");
            }
            case.writes(6, 10).await;
            let last = instant(&case.client).await;
            case.check(&[last]).await;
        }
    });
}

#[test]
fn a_backup_that_is_killed_at_any_moment_goes_on() {
    shop::runtime().block_on(async {
        let Some(stage) = Stage::open().await else { return };
        let mut chance = Chance(7);
        let mut kills = 0;
        let mut round = 0;
        while kills < BACKUPS_KILLED * soak() {
            round += 1;
            let mut case = stage.case(&format!("killed_{round}")).await;
            for _ in 0..6 {
                let running = case.program.spawn(["backup", "shop"]).unwrap();
                tokio::time::sleep(Duration::from_millis(u64::try_from(chance.below(350)).unwrap())).await;
                case.write(&mut chance).await;
                kills += usize::from(running.kill().unwrap().code != 0);
            }
            case.backup();
            case.writes(round, 20).await;
            let at = instant(&case.client).await;
            case.writes(round + 1, 5).await;
            case.check(&[at]).await;
        }
        println!("{kills} backups were killed");
    });
}

#[test]
fn a_capture_that_is_killed_at_any_moment_goes_on() {
    shop::runtime().block_on(async {
        let Some(stage) = Stage::open().await else { return };
        let mut case = stage.case("captures").await;
        case.backup();
        let case = Arc::new(case);
        let stop = Arc::new(AtomicBool::new(false));
        let (writing, writer) = (Arc::clone(&case), Arc::clone(&stop));
        let writing = tokio::task::spawn(async move {
            let mut chance = Chance(3);
            let mut instants = BTreeMap::new();
            while !writer.load(Ordering::SeqCst) {
                writing.write(&mut chance).await;
                if chance.one_in(200) {
                    instants.insert(instants.len(), instant(&writing.client).await);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            instants
        });
        let mut chance = Chance(11);
        let mut kills = 0;
        while kills < CAPTURES_KILLED * soak() {
            // A compaction is in nobody's way.
            let compacting = chance.one_in(6).then(|| case.program.spawn(["compact", "shop"]).unwrap());
            let running = case.program.spawn(["capture", "shop"]).unwrap();
            let wait = if chance.one_in(6) { 2500 } else { 400 };
            tokio::time::sleep(Duration::from_millis(u64::try_from(chance.below(wait)).unwrap())).await;
            running.kill().unwrap();
            kills += 1;
            if let Some(compacting) = compacting {
                match chance.one_in(2) {
                    true => drop(compacting.kill().unwrap()),
                    false => drop(compacting.wait(Duration::from_secs(60)).unwrap().ok()),
                }
            }
        }
        stop.store(true, Ordering::SeqCst);
        let mut instants: Vec<Timestamp> = writing.await.unwrap().into_values().collect();
        while instants.len() > 6 {
            instants.remove(chance.below(instants.len()));
        }
        instants.push(instant(&case.client).await);
        case.check(&instants).await;
        println!("{kills} captures were killed");
    });
}
