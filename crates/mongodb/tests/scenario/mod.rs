//! The whole way, on real servers: what a source shows at an instant is what a restore of that instant shows elsewhere.
//!
//! ```text
//!   source (rs0) ── deeds, and between them moments: what the server shows now, and its cluster time
//!      │ backup, then capture to the end
//!   archive ── each moment, from tails and again from sorted runs ──▶ target (rs1) ── what it shows ⟷ the moment
//! ```
//!
//! Compared are documents byte for byte (those of capped collections in their natural order), options and indexes as
//! `listCollections` and `listIndexes` give them. A server's own additions (UUIDs, defaults written out) are left out.
#![allow(
    dead_code,
    unused_macros,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test at the edge: real clock, real servers; each test uses some of it"
)]

/// Makes each function two tests: by the oplog, and by change streams.
macro_rules! by_both {
    ($($test:ident),+) => {
        mod by_the_oplog {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(backstay_mongodb::Feed::Oplog).await;
            })+
        }
        mod by_change_streams {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(backstay_mongodb::Feed::ChangeStreams).await;
            })+
        }
    };
}

mod shown;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use backstay_archive::{Limits, Repository, Selection, Vault};
use backstay_engine::{
    BackupOptions, BackupReport, CaptureOptions, ConflictPolicy, Destination, Monitor, ProofScope, RestoreReport,
    RestoreRequest, Scope, Terms, Until, backup, capture, restore,
};
use backstay_model::{Tick, World};
use backstay_mongodb::{Feed, MongoDeployment, Options};
use backstay_seal::Keyring;
use backstay_source::Source as _;
use backstay_store::Store;
use backstay_testkit::{ReplicaSet, require_mongod};
use bson::{Document, doc};
use mongodb::{Client, Database};
use tempfile::TempDir;

pub use shown::{Content, assert_same, show};

/// The machine's clock and chance.
struct Machine(Instant);

impl World for Machine {
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }

    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap();
    }
}

/// An instant, and what the source showed then.
pub struct Moment {
    pub label: String,
    pub at: Tick,
    pub content: Content,
}

/// A source, a target, and an archive between them.
pub struct Stage {
    pub source: ReplicaSet,
    pub target: ReplicaSet,
    pub client: Client,
    pub target_client: Client,
    pub from: MongoDeployment,
    pub into: MongoDeployment,
    pub repository: Repository,
    pub moments: Vec<Moment>,
    vault: Option<Vault>,
    monitor: Monitor,
    _folder: TempDir,
}

impl Stage {
    /// `None` where there is no server to test with. Everything is included.
    pub async fn open() -> Option<Stage> {
        Stage::with(&[], Options::default()).await
    }

    /// With everything included, followed by `feed`.
    pub async fn open_by(feed: Feed) -> Option<Stage> {
        Stage::with(&[], Options { feed, ..Options::default() }).await
    }

    /// With `parameters` of the source's server, and these options (but the URI) for reading it.
    pub async fn with(parameters: &[&str], options: Options) -> Option<Stage> {
        Stage::with_cache(0.25, parameters, options).await
    }

    /// With so many gigabytes for the cache of the source's server.
    pub async fn with_cache(cache_gb: f32, parameters: &[&str], options: Options) -> Option<Stage> {
        require_mongod()?;
        let args = parameters.iter().flat_map(|parameter| ["--setParameter".to_owned(), (*parameter).to_owned()]);
        let set = backstay_testkit::Options { args: args.collect(), cache_gb, ..Default::default() };
        let other = backstay_testkit::Options { name: "rs1".into(), cache_gb: 0.25, ..Default::default() };
        let (source, target) = tokio::try_join!(ReplicaSet::start(set), ReplicaSet::start(other)).unwrap();
        let from = MongoDeployment::connect(Options { uri: source.uri(), ..options.clone() }).await.unwrap();
        let into = Options { uri: target.uri(), include: Vec::new(), ..options };
        let into = MongoDeployment::connect(into).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let store = Store::local(&folder.path().join("archive")).unwrap();
        let world = Arc::new(Machine(Instant::now()));
        let keyring = Arc::new(Keyring::in_memory(world.now()).unwrap());
        let scratch = folder.path().join("scratch");
        let repository = Repository::create(store, "a test's archive", keyring, world, scratch).await.unwrap();
        Some(Stage {
            client: source.client().await.unwrap(),
            target_client: target.client().await.unwrap(),
            source,
            target,
            from,
            into,
            repository,
            moments: Vec::new(),
            vault: None,
            monitor: Monitor::default(),
            _folder: folder,
        })
    }

    /// The archive with other bounds on memory from now on.
    pub async fn limit(&mut self, limits: Limits) {
        self.repository = self.repository.clone().with_limits(limits);
        if self.vault.is_some() {
            self.vault = Some(self.repository.vault("source").await.unwrap());
        }
    }

    pub fn database(&self, name: &str) -> Database {
        self.client.database(name)
    }

    /// Runs a command on the source.
    #[track_caller]
    pub fn run(&self, database: &str, command: Document) -> impl Future<Output = Document> {
        let (database, shown, caller) = (self.database(database), command.to_string(), std::panic::Location::caller());
        async move { database.run_command(command).await.unwrap_or_else(|error| panic!("{caller}: {shown}: {error}")) }
    }

    /// Scans the source: the base at first, later what differs.
    pub async fn backup(&mut self) -> BackupReport {
        let options = BackupOptions::default();
        let done = backup(&self.repository, "source", &self.from, "mongodb", options, &self.monitor).await;
        let (vault, report) = done.unwrap();
        self.vault = Some(vault);
        report
    }

    pub fn vault(&self) -> &Vault {
        self.vault.as_ref().expect("a backup was made")
    }

    /// Archives everything that the source has done so far.
    pub async fn capture(&self) {
        let options = CaptureOptions { until: Until::Now, ..CaptureOptions::default() };
        capture(self.vault(), &self.from, options, &self.monitor).await.unwrap();
    }

    /// Archives what can be told by now: a transaction that is prepared keeps what comes after it open.
    pub async fn try_capture(&self) {
        let monitor = Monitor::default();
        let options = CaptureOptions { until: Until::Cancelled, ..CaptureOptions::default() };
        let follow = capture(self.vault(), &self.from, options, &monitor);
        let stop = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            monitor.cancel();
        };
        tokio::join!(follow, stop).0.unwrap();
    }

    /// Compares a collection with the server's own answer as of every tick between two instants.
    pub async fn compare_every_instant(&self, from: Tick, to: Tick, database: &str, name: &str) {
        let oplog = self.database("local").collection::<Document>("oplog.rs");
        let between = doc! { "ts": { "$gte": timestamp(from), "$lte": timestamp(to) } };
        let mut ticks = Vec::new();
        let mut cursor = oplog.find(between).projection(doc! { "ts": 1 }).await.unwrap();
        while cursor.advance().await.unwrap() {
            let at = cursor.current().get_timestamp("ts").unwrap();
            ticks.push(Tick::new(at.time, at.increment));
        }
        let snapshot = self.vault().snapshot(self.from.interpreter(), to).await.unwrap();
        for at in &ticks {
            let view = snapshot.at(*at).await.unwrap();
            let definitions = view.definitions().await.unwrap();
            let wanted = format!("{database}.{name}");
            let mut archived: Vec<Vec<u8>> = Vec::new();
            for definition in definitions.iter().filter(|definition| definition.name == wanted) {
                let everything = Selection::default();
                for partition in view.partitions(definition.incarnation, &everything).await.unwrap() {
                    let loaded = view.load(&partition, &everything).await.unwrap();
                    archived.extend(loaded.iter().map(|(_, _, image)| image.to_vec()));
                }
            }
            let find = doc! {
                "find": name, "batchSize": 100_000,
                "readConcern": { "level": "snapshot", "atClusterTime": timestamp(*at) },
            };
            let mut cursor = self.database(database).run_cursor_command(find).await.unwrap();
            let mut held = Vec::new();
            while cursor.advance().await.unwrap() {
                held.push(cursor.current().as_bytes().to_vec());
            }
            archived.sort();
            held.sort();
            assert!(archived == held, "as of {at}: {} records instead of {}", archived.len(), held.len());
        }
        println!("{} instants compared", ticks.len());
    }

    /// Remembers what the source shows now.
    pub async fn moment(&mut self, label: &str) {
        let (at, content) = (instant(&self.client).await, show(&self.client).await);
        self.moments.push(Moment { label: label.to_owned(), at, content });
    }

    /// Restores everything as of `at` into the target, which is left as it is then.
    pub async fn restore(&self, at: Tick, scope: Scope) -> Result<RestoreReport, backstay_engine::Error> {
        let request = RestoreRequest {
            at,
            scope,
            scope_words: "everything".to_owned(),
            terms: Terms::default(),
            destination: Destination::Into { rename: Arc::new(str::to_owned) },
            on_conflict: ConflictPolicy::Abort,
            proof: ProofScope::Full,
            preview: false,
            journal: true,
        };
        restore(self.vault(), None, &self.into, self.from.interpreter(), &request, &self.monitor).await
    }

    /// Rewinds the source itself.
    pub async fn rewind(&self, at: Tick, scope: Scope) -> Result<RestoreReport, backstay_engine::Error> {
        let request = RestoreRequest {
            at,
            scope,
            scope_words: "everything".to_owned(),
            terms: Terms::default(),
            destination: Destination::InPlace,
            on_conflict: ConflictPolicy::Abort,
            proof: ProofScope::Changed,
            preview: false,
            journal: true,
        };
        restore(self.vault(), Some(&self.from), &self.from, self.from.interpreter(), &request, &self.monitor).await
    }

    /// Sorts the archive's tails.
    pub async fn compact(&self) {
        self.vault().compact(self.from.interpreter().as_ref(), |_, _| {}).await.unwrap();
    }

    /// Restores one moment into an empty target and compares.
    pub async fn check(&self, moment: &Moment, state: &str) {
        clear(&self.target_client).await;
        let what = format!("“{}” ({}) from {state}", moment.label, moment.at);
        let report = match self.restore(moment.at, Scope::default()).await {
            Ok(report) => report,
            // At this moment there was nothing.
            Err(backstay_engine::Error::NothingSelected(_)) if moment.content.is_empty() => return,
            Err(error) => panic!("{what}: {error}"),
        };
        let proof = report.proof.unwrap();
        assert!(proof.equal, "{what}: the proof is not equal; {:?}", report.notes);
        assert_eq!(proof.definitions, Vec::<String>::new(), "{what}");
        assert_same(&show(&self.target_client).await, &moment.content, &what);
    }

    /// Captures to the end, and restores every moment: from the tails, and again when they are sorted.
    pub async fn check_all(&mut self) {
        self.capture().await;
        let begun = Instant::now();
        for moment in &self.moments {
            self.check(moment, "tails").await;
        }
        self.compact().await;
        for moment in &self.moments {
            self.check(moment, "sorted runs").await;
        }
        println!("{} moments restored twice in {:?}", self.moments.len(), begun.elapsed());
        assert_eq!(self.backup().await.drift, Some(0), "the archive knows all that the source holds");
    }
}

/// The cluster time of everything that was written so far; nothing that is written later shares it.
pub async fn instant(client: &Client) -> Tick {
    let note = doc! { "appendOplogNote": 1, "data": { "msg": "an instant" }, "writeConcern": { "w": "majority" } };
    let reply = client.database("admin").run_command(note).await.unwrap();
    let at = reply.get_timestamp("operationTime").unwrap();
    Tick::new(at.time, at.increment)
}

/// Removes everything.
pub async fn clear(client: &Client) {
    for name in client.list_database_names().await.unwrap() {
        if !matches!(name.as_str(), "admin" | "config" | "local") {
            client.database(&name).drop().await.unwrap();
        }
    }
}

/// The server's form of a tick.
pub fn timestamp(tick: Tick) -> bson::Timestamp {
    bson::Timestamp { time: tick.seconds(), increment: tick.ordinal() }
}
