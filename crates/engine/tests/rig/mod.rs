//! A toy to protect, a repository in memory, and the comparison of what comes back with the toy's own oracle.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

pub mod cutting;
pub mod meddling;
pub mod twisted;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backstay_archive::{Limits, Repository, Selection, Vault};
use backstay_engine::{
    BackupOptions, BackupReport, CaptureOptions, CaptureReport, ConflictPolicy, Destination, Monitor, ProofScope,
    RestoreReport, RestoreRequest, Result, Scope, Terms, Until,
};
use backstay_model::{Incarnation, Tick, World};
use backstay_seal::Keyring;
use backstay_sim::toy::{Operation, Record, Toy, ToyInterpreter, ToySource};
use backstay_sim::{FaultyStore, Oracle, SimWorld};
use backstay_source::{Source, Target};

pub const NAME: &str = "shop";

/// The records of a database by namespace and id.
pub type Content = BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>;

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

pub fn cases(quick: u32) -> proptest::test_runner::Config {
    let soak = std::env::var("BACKSTAY_SOAK").is_ok_and(|value| value == "1");
    proptest::test_runner::Config {
        cases: if soak { quick * 50 } else { quick },
        // Before the runner ends the test: then its seed and its smallest case would not be told.
        max_shrink_time: 120_000,
        failure_persistence: None,
        ..Default::default()
    }
}

/// A shop, and the instant before everything went wrong in it: records changed, deleted, made and given away.
pub async fn damaged() -> (Rig, Tick) {
    let rig = Rig::with_shop().await;
    rig.backup().await;
    rig.append("shop.orders", b"a", "1");
    let at = rig.toy.now();
    rig.append("shop.orders", b"a", "2");
    rig.append("shop.orders", b"b", "2");
    rig.append("shop.orders", b"d", "2");
    rig.delete("shop.orders", b"c");
    rig.delete("shop.users", b"d");
    rig.put("shop.orders", b"new-a", "acme", "blue");
    rig.put("shop.orders", b"new-b", "bolt", "blue");
    rig.give("shop.orders", b"e", "bolt");
    (rig, at)
}

pub struct Rig {
    pub toy: Arc<Toy>,
    pub source: ToySource,
    pub faulty: FaultyStore,
    pub world: Arc<SimWorld>,
    pub repository: Repository,
}

impl Rig {
    pub async fn new() -> Rig {
        Rig::with_limits(Limits::default()).await
    }

    /// One that holds no more in memory than this.
    pub async fn with_limits(limits: Limits) -> Rig {
        let toy = Arc::new(Toy::new());
        let source = ToySource::new(Arc::clone(&toy)).with_batch(3);
        let (faulty, world) = (FaultyStore::new(), Arc::new(SimWorld::new(1)));
        let keyring = Arc::new(Keyring::in_memory(world.now()).unwrap());
        let as_world: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
        let scratch = std::env::temp_dir();
        let repository = Repository::create(faulty.store(), "memory", keyring, as_world, scratch).await.unwrap();
        Rig { toy, source, faulty, world, repository: repository.with_limits(limits) }
    }

    /// One with a shop of two tenants in two namespaces.
    pub async fn with_shop() -> Rig {
        let rig = Rig::new().await;
        rig.toy.define("shop.orders", |definition| definition.with("indexes", "by-colour")).unwrap();
        rig.toy.create("shop.users").unwrap();
        for number in 0..20u8 {
            let tenant = if number % 2 == 0 { "acme" } else { "bolt" };
            rig.put("shop.orders", &[b'a' + number], tenant, "red");
            rig.put("shop.users", &[b'a' + number], tenant, "x");
        }
        rig
    }

    pub fn put(&self, name: &str, id: &[u8], tenant: &str, colour: &str) {
        let record = Record::new(id).with("tenant", tenant).with("colour", colour);
        self.toy.apply(&[Operation::Put { name: name.to_owned(), record }], false).unwrap();
    }

    pub fn append(&self, name: &str, id: &[u8], more: &str) {
        let (name, id, more) = (name.to_owned(), id.to_vec(), more.to_owned());
        self.toy.apply(&[Operation::Append { name, id, field: "colour".to_owned(), more }], false).unwrap();
    }

    pub fn delete(&self, name: &str, id: &[u8]) {
        self.toy.apply(&[Operation::Delete { name: name.to_owned(), id: id.to_vec() }], false).unwrap();
    }

    pub fn give(&self, name: &str, id: &[u8], tenant: &str) {
        let (name, id, tenant) = (name.to_owned(), id.to_vec(), tenant.to_owned());
        self.toy.apply(&[Operation::Move { name, id, tenant }], false).unwrap();
    }

    pub async fn vault(&self) -> Vault {
        self.repository.vault(NAME).await.unwrap()
    }

    pub async fn backup(&self) -> BackupReport {
        self.backup_from(&self.source).await.unwrap()
    }

    pub async fn backup_from(&self, source: &dyn Source) -> Result<BackupReport> {
        let options = BackupOptions { parallel: 2 };
        backstay_engine::backup(&self.repository, NAME, source, "toy", options, &Monitor::default())
            .await
            .map(|(_, report)| report)
    }

    pub async fn capture(&self) -> CaptureReport {
        self.capture_from(&self.source).await.unwrap()
    }

    pub async fn capture_from(&self, source: &dyn Source) -> Result<CaptureReport> {
        let options = CaptureOptions { until: Until::Now, tick: Duration::ZERO };
        let vault = self.repository.vault(NAME).await?;
        backstay_engine::capture(&vault, source, options, &Monitor::default()).await
    }

    pub async fn compact(&self) {
        self.vault().await.compact(&ToyInterpreter, |_, _| {}).await.unwrap();
    }

    /// Rewinds the toy itself.
    pub async fn rewind(&self, request: &RestoreRequest) -> Result<RestoreReport> {
        self.rewind_through(&self.source, request).await
    }

    pub async fn rewind_through(&self, target: &dyn Target, request: &RestoreRequest) -> Result<RestoreReport> {
        let request = RestoreRequest { destination: Destination::InPlace, ..request.clone() };
        let monitor = Monitor::default();
        let vault = self.vault().await;
        backstay_engine::restore(&vault, Some(&self.source), target, Arc::new(ToyInterpreter), &request, &monitor).await
    }

    pub async fn restore_into(&self, target: &dyn Target, request: &RestoreRequest) -> Result<RestoreReport> {
        let monitor = Monitor::default();
        let vault = self.vault().await;
        backstay_engine::restore(&vault, None, target, Arc::new(ToyInterpreter), request, &monitor).await
    }

    /// Compares a restore of everything as of `at` with what the oracle says was true.
    pub async fn check(&self, at: Tick) {
        let target = ToySource::new(Arc::new(Toy::new()));
        let expected = content(&self.toy.oracle(), at);
        if expected.is_empty() {
            return;
        }
        let report = self.restore_into(&target, &everything(at)).await.unwrap();
        assert_eq!(now(target.toy()), expected, "as of {at}");
        let proof = report.proof.unwrap();
        assert!(proof.equal && proof.definitions.is_empty(), "{proof:?}");
        let again = self.restore_into(&target, &everything(at)).await.unwrap();
        assert_eq!((again.plan.writes(), again.written), (0, 0), "the second time changes nothing");
        assert!(again.proof.unwrap().equal);
    }

    /// Every instant at which something happened since the archive began, and which it covers.
    pub async fn covered(&self) -> Vec<Tick> {
        let coverage = self.vault().await.coverage().await;
        let oracle = self.toy.oracle();
        let mut ticks: Vec<Tick> = oracle
            .namespaces()
            .into_iter()
            .flat_map(|namespace| oracle.ids(namespace).map(move |id| (namespace, id.to_vec())).collect::<Vec<_>>())
            .flat_map(|(namespace, id)| {
                let history = oracle.history(namespace, &id, Tick::MAX);
                history.iter().map(|(version, _)| version.tick).collect::<Vec<_>>()
            })
            .filter(|tick| coverage.contains(*tick))
            .collect();
        ticks.sort_unstable();
        ticks.dedup();
        ticks
    }
}

/// Everything as of `at`, side by side, under the same names.
pub fn everything(at: Tick) -> RestoreRequest {
    RestoreRequest {
        at,
        scope: Scope::default(),
        scope_words: "everything".to_owned(),
        terms: Terms::default(),
        destination: Destination::Into { rename: Arc::new(str::to_owned) },
        on_conflict: ConflictPolicy::Abort,
        proof: ProofScope::Changed,
        preview: false,
        journal: true,
    }
}

/// What one tenant had as of `at`.
pub fn tenant(name: &str, at: Tick) -> RestoreRequest {
    let selection = Selection { tenants: Some([name.to_owned()].into()), ..Selection::default() };
    RestoreRequest { scope: Scope { selection, ..Scope::default() }, ..everything(at) }
}

/// What was true as of `at`.
pub fn content(oracle: &Oracle, at: Tick) -> Content {
    let names = oracle.definitions(at).into_iter();
    names.map(|(namespace, definition)| (name_of(&definition), records(oracle, namespace, at))).collect()
}

/// What is true in a toy now.
pub fn now(toy: &Toy) -> Content {
    content(&toy.oracle(), Tick::MAX)
}

pub fn name_of(definition: &[u8]) -> String {
    Record::parse(definition).unwrap().get("name").unwrap().to_owned()
}

pub fn records(oracle: &Oracle, namespace: Incarnation, at: Tick) -> BTreeMap<Vec<u8>, Vec<u8>> {
    oracle.records(namespace, at).into_iter().map(|record| (record.id, record.image)).collect()
}

/// The records of one tenant.
pub fn of_tenant(content: &Content, tenant: &str) -> Content {
    let has = |image: &[u8]| Record::parse(image).unwrap().tenant() == tenant;
    let keep = |records: &BTreeMap<Vec<u8>, Vec<u8>>| -> BTreeMap<Vec<u8>, Vec<u8>> {
        records.iter().filter(|(_, image)| has(image)).map(|(id, image)| (id.clone(), image.clone())).collect()
    };
    content.iter().map(|(name, records)| (name.clone(), keep(records))).collect()
}
