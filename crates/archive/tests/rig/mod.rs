//! A toy, a repository in memory and what captures the one into the other; and the comparison with the oracle.
#![allow(dead_code, clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)]

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_archive::{BaseWriter, Limits, Partition, Repository, Selection, Snapshot, Vault, View};
use backstay_ledger::Fact;
use backstay_model::{Body, EntryBatch, IdRange, Incarnation, Interpreter, RecordBatch, Tick, Version, World};
use backstay_seal::{Digest, Keyring};
use backstay_sim::source::{Source, Start};
use backstay_sim::toy::{Operation, Record, Toy, ToyInterpreter, ToySource, TransactionId};
use backstay_sim::workload::{Action, IDS, TENANTS};
use backstay_sim::{Chance, FaultyStore, Oracle, SimWorld, Truth};
use backstay_store::Store;
use bytes::Bytes;

pub const STREAM: &str = "toy";
pub const NAME: &str = "shop";

/// Cases of a property test: more with `BACKSTAY_SOAK=1`.
pub fn cases(quick: u32) -> proptest::test_runner::Config {
    let soak = std::env::var("BACKSTAY_SOAK").is_ok_and(|value| value == "1");
    proptest::test_runner::Config {
        cases: if soak { quick * 50 } else { quick },
        max_shrink_iters: 400,
        max_shrink_time: 120_000,
        ..Default::default()
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

pub struct Rig {
    pub toy: Arc<Toy>,
    pub source: ToySource,
    pub faulty: FaultyStore,
    pub world: Arc<SimWorld>,
    pub keyring: Arc<Keyring>,
    pub repository: Repository,
    pub vault: Vault,
    pub open: Vec<TransactionId>,
    pub consistent: Tick,
    pub scratch: tempfile::TempDir,
}

pub fn interpreter() -> Arc<dyn Interpreter> {
    Arc::new(ToyInterpreter)
}

impl Rig {
    pub async fn new(limits: Limits) -> Rig {
        let toy = Arc::new(Toy::new());
        let source = ToySource::new(Arc::clone(&toy)).with_batch(5);
        let (faulty, world) = (FaultyStore::new(), Arc::new(SimWorld::new(1)));
        let keyring = Arc::new(Keyring::in_memory(world.now()).unwrap());
        let scratch = tempfile::tempdir().unwrap();
        let place = scratch.path().to_owned();
        let as_world: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
        let repository =
            Repository::create(faulty.store(), "memory", Arc::clone(&keyring), as_world, place).await.unwrap();
        let repository = repository.with_limits(limits);
        let vault = repository.vault_for(NAME, "toy", "toy").await.unwrap();
        let consistent = Tick::ZERO;
        Rig { toy, source, faulty, world, keyring, repository, vault, open: Vec::new(), consistent, scratch }
    }

    /// Does what the numbers say.
    pub fn act(&mut self, numbers: &[u64]) {
        for number in numbers {
            Action::of(*number).carry_out(&self.toy, &mut self.open);
        }
    }

    /// Ends all open transactions.
    pub fn settle(&mut self) {
        for transaction in self.open.drain(..) {
            self.toy.commit(transaction);
        }
    }

    /// Begins to follow the log at the present.
    pub async fn begin(&self) {
        let now = self.toy.now();
        let frontier = Fact::Frontier { stream: STREAM.into(), through: now, resume: now };
        self.vault.commit(|_| Ok(vec![frontier.clone()])).await.unwrap();
    }

    /// Writes everything that happened since as one tail, reading the log from where the ledger says.
    pub async fn capture(&self) {
        let frontier = self.vault.state().await.frontier(STREAM).unwrap();
        let start = Start { resume: frontier.resume, through: frontier.through };
        let mut tail = self.source.tail(start).await.unwrap();
        let mut batches = Vec::new();
        let end = self.toy.now();
        loop {
            let mut batch = EntryBatch::default();
            tail.next(&mut batch).await.unwrap();
            let (through, resume) = (batch.through, batch.resume);
            let stuck = batch.is_empty() && batches.last().is_some_and(|last: &EntryBatch| last.through == through);
            batches.push(batch);
            if through >= end || stuck {
                let segment = self.vault.write_tail(STREAM, batches).await.unwrap();
                let mut facts: Vec<Fact> = segment.into_iter().map(Fact::SegmentAdded).collect();
                facts.push(Fact::Frontier { stream: STREAM.into(), through, resume });
                self.vault.commit(|_| Ok(facts.clone())).await.unwrap();
                return;
            }
        }
    }

    /// Takes a base: each range at its own tick, `numbers` acting between them, several segments, tails between.
    pub async fn base(&mut self, numbers: &[u64], seed: u64) {
        let mut chance = Chance::new(seed);
        let scan = self.world.id();
        let started = Fact::ScanStarted { scan, from: self.toy.now() };
        self.vault.commit(|_| Ok(vec![started.clone()])).await.unwrap();
        let mut writer = BaseWriter::new(&self.vault, scan);
        let mut actions = numbers.iter();
        let now = self.toy.now();
        let mut system = RecordBatch::default();
        for (namespace, image) in self.toy.oracle().definitions(now) {
            system.push(&namespace.record_id(), &image);
        }
        writer.push(Incarnation::SYSTEM, now, system, |_, sink| sink(""));
        writer.cover(Incarnation::SYSTEM, IdRange::all());
        self.consistent = now;
        for namespace in self.source.namespaces().await.unwrap() {
            for range in self.source.split(&namespace, 60).await.unwrap() {
                if chance.once_in(2) {
                    let next: Vec<u64> = actions.by_ref().take(1 + chance.below(4)).copied().collect();
                    self.act(&next);
                }
                if chance.once_in(3) {
                    self.capture().await;
                }
                let at = self.source.snapshot().await.unwrap();
                // A namespace that was dropped meanwhile was never read: the base is consistent only from then on.
                self.consistent = at;
                let mut current = namespace.clone();
                let names = self.toy.namespaces();
                match names.iter().find(|(_, incarnation)| **incarnation == namespace.incarnation) {
                    Some((name, _)) => current.name.clone_from(name),
                    None => continue,
                }
                let mut records = self.source.scan(&current, &range, at).await.unwrap();
                let mut batch = RecordBatch::default();
                while records.next(&mut batch).await.unwrap() {
                    let batch = std::mem::take(&mut batch);
                    writer.push(namespace.incarnation, at, batch, |image, sink| {
                        sink(Record::parse(image).unwrap().tenant());
                    });
                }
                writer.cover(namespace.incarnation, range);
                if chance.once_in(2) {
                    self.store(&mut writer).await;
                }
            }
        }
        self.act(&actions.copied().collect::<Vec<u64>>());
        self.store(&mut writer).await;
        self.capture().await;
        let completed = Fact::ScanCompleted { scan, consistent: self.consistent, records: 0, source_bytes: 0 };
        self.vault.commit(|_| Ok(vec![completed.clone()])).await.unwrap();
    }

    async fn store(&self, writer: &mut BaseWriter) {
        if let Some(segment) = writer.write().await.unwrap() {
            let fact = Fact::SegmentAdded(segment.info);
            self.vault.commit(|_| Ok(vec![fact.clone()])).await.unwrap();
        }
    }

    pub async fn snapshot(&self, through: Tick) -> Snapshot {
        self.vault.snapshot(interpreter(), through).await.unwrap()
    }

    /// Instants to ask for: the ends of what is covered, and some between.
    pub fn instants(&self, chance: &mut Chance, count: usize) -> Vec<Tick> {
        let oracle = self.toy.oracle();
        let mut ticks: BTreeSet<Tick> = BTreeSet::new();
        for namespace in oracle.namespaces() {
            for id in oracle.ids(namespace) {
                ticks.extend(oracle.history(namespace, id, Tick::MAX).iter().map(|(version, _)| version.tick));
            }
        }
        let end = self.toy.now();
        let inside: Vec<Tick> = ticks.into_iter().filter(|tick| *tick >= self.consistent && *tick <= end).collect();
        let mut instants = vec![self.consistent, end];
        for _ in 0..count.min(inside.len()) {
            let tick = *chance.pick(&inside);
            instants.push(tick);
            if tick.previous() >= self.consistent {
                instants.push(tick.previous());
            }
        }
        instants
    }
}

/// Compares all that the archive says as of `at` with the oracle.
pub async fn compare(snapshot: &Snapshot, oracle: &Oracle, consistent: Tick, at: Tick, chance: &mut Chance) {
    let view = snapshot.at(at).await.unwrap();
    let mut expected = oracle.definitions(at);
    let mut found: Vec<(Incarnation, Vec<u8>)> =
        view.definitions().await.unwrap().into_iter().map(|d| (d.incarnation, d.image)).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "definitions at {at}");
    for (namespace, _) in expected {
        let truth = oracle.records(namespace, at);
        let (all, digest) = load(&view, namespace, &Selection::default()).await;
        assert_eq!(brief(&all), brief(&truth), "records of {namespace} at {at}");
        assert!(all == truth, "images of {namespace} at {at}");
        assert!(digest == Oracle::digest(namespace, &truth), "digest of {namespace} at {at}");
        let selection = selection(chance);
        let (some, _) = load(&view, namespace, &selection).await;
        let wanted: Vec<Truth> = truth.into_iter().filter(|record| is_selected(&selection, record)).collect();
        assert_eq!(brief(&some), brief(&wanted), "selected records of {namespace} at {at}");
        history(snapshot, oracle, namespace, consistent, at, chance).await;
        touched(snapshot, oracle, namespace, consistent, at).await;
    }
}

pub async fn load(view: &View, namespace: Incarnation, selection: &Selection) -> (Vec<Truth>, Digest) {
    let mut records = Vec::new();
    let mut digest = Digest::new();
    for partition in view.partitions(namespace, selection).await.unwrap() {
        let loaded = view.load(&partition, selection).await.unwrap();
        digest.combine(loaded.digest());
        records.extend(loaded.iter().map(|(tenant, id, image)| Truth {
            tenant: tenant.as_str().to_owned(),
            id: id.to_vec(),
            image: image.to_vec(),
        }));
    }
    (records, digest)
}

fn brief(records: &[Truth]) -> Vec<String> {
    let cut = |image: &[u8]| String::from_utf8_lossy(&image[..image.len().min(80)]).into_owned();
    records.iter().map(|r| format!("{} {:?} {} bytes {}", r.tenant, r.id, r.image.len(), cut(&r.image))).collect()
}

pub fn selection(chance: &mut Chance) -> Selection {
    let mut selection = Selection::default();
    if chance.once_in(2) {
        selection.tenants = Some((0..1 + chance.below(2)).map(|_| (*chance.pick(&TENANTS)).to_owned()).collect());
    }
    if chance.once_in(2) {
        let ids: BTreeSet<Vec<u8>> = (0..chance.below(5)).map(|_| chance.pick(&IDS).to_vec()).collect();
        selection.ids = Some(Arc::new(ids.into_iter().collect()));
    }
    if chance.once_in(3) {
        selection.predicate = Some(Arc::new(|image: &[u8]| image.len().is_multiple_of(2)));
    }
    selection
}

fn is_selected(selection: &Selection, record: &Truth) -> bool {
    selection.tenants.as_ref().is_none_or(|tenants| tenants.contains(&record.tenant))
        && selection.ids.as_ref().is_none_or(|ids| ids.contains(&record.id))
        && selection.predicate.as_ref().is_none_or(|predicate| predicate(&record.image))
}

async fn history(
    snapshot: &Snapshot,
    oracle: &Oracle,
    namespace: Incarnation,
    consistent: Tick,
    at: Tick,
    chance: &mut Chance,
) {
    let id = *chance.pick(&IDS);
    let partition = Partition { namespace, range: IdRange::only(id) };
    let found = snapshot.history(&partition, id, at).await.unwrap();
    let found: Vec<(Version, Option<Vec<u8>>)> = found
        .into_iter()
        .filter(|past| past.version.tick > consistent)
        .map(|past| {
            // A move is kept as the image that it led to.
            assert!(!matches!(past.body, Body::Image(ref image) if Some(image) != past.image.as_ref()));
            (past.version, past.image)
        })
        .collect();
    let expected: Vec<(Version, Option<Vec<u8>>)> = oracle
        .history(namespace, id, at)
        .into_iter()
        .filter(|(version, _)| version.tick > consistent)
        .map(|(version, event)| (version, event.after.as_ref().map(|(_, image)| image.clone())))
        .collect();
    assert!(found == expected, "history of {id:?} of {namespace} up to {at}: {found:?} instead of {expected:?}");
}

async fn touched(snapshot: &Snapshot, oracle: &Oracle, namespace: Incarnation, after: Tick, through: Tick) {
    let partition = Partition { namespace, range: IdRange::all() };
    let found = snapshot.touched(&partition, &Selection::default(), after, through).await.unwrap();
    let expected = oracle.touched(namespace, after, through);
    assert_eq!(found, expected, "touched in {namespace} after {after} up to {through}");
    for tenant in TENANTS {
        let selection = Selection { tenants: Some([tenant.to_owned()].into()), ..Selection::default() };
        let found = snapshot.touched(&partition, &selection, after, through).await.unwrap();
        let of_tenant = |id: &&&[u8]| {
            let was = [after, through].map(|at| oracle.state(namespace, id, at));
            was.iter().flatten().any(|(owner, _)| *owner == tenant)
        };
        let missed = expected.iter().filter(of_tenant).find(|id| !found.iter().any(|found| found == **id));
        assert_eq!(missed, None, "touched of {tenant} in {namespace} after {after} up to {through}");
        assert!(found.iter().all(|id| expected.contains(&id.as_slice())), "touched names what was not");
    }
}

/// A small vault with everything in it: base runs, a delta run and a tail, of several tenants.
pub async fn furnished() -> Rig {
    let mut rig = Rig::new(Limits::default()).await;
    rig.toy.create("shop.a");
    rig.toy.create("shop.b");
    put(&rig, "shop.a", b"a", "acme", "colour", "SECRET-OF-ACME-1");
    put(&rig, "shop.a", b"ab", "b", "colour", "SECRET-OF-B-1");
    put(&rig, "shop.b", b"b", "b", "colour", "SECRET-OF-B-2");
    rig.begin().await;
    rig.base(&[], 3).await;
    put(&rig, "shop.a", b"aab", "b", "colour", "SECRET-OF-B-3");
    append(&rig, "shop.a", b"ab", "SECRET-OF-B-4");
    append(&rig, "shop.a", b"a", "SECRET-OF-ACME-2");
    rig.capture().await;
    rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
    append(&rig, "shop.a", b"aab", "SECRET-OF-B-5");
    put(&rig, "shop.b", b"\xFF", "acme", "size", "SECRET-OF-ACME-3");
    rig.capture().await;
    rig
}

pub fn put(rig: &Rig, name: &str, id: &[u8], tenant: &str, field: &str, value: &str) {
    let record = Record::new(id).with("tenant", tenant).with(field, value);
    rig.toy.apply(&[Operation::Put { name: name.into(), record }], false).unwrap();
}

pub fn append(rig: &Rig, name: &str, id: &[u8], more: &str) {
    let (name, id, field, more) = (name.to_owned(), id.to_vec(), "colour".to_owned(), more.to_owned());
    rig.toy.apply(&[Operation::Append { name, id, field, more }], false).unwrap();
}

/// The repository opened anew, with nothing at hand.
pub async fn reopen(rig: &Rig, keyring: Arc<Keyring>) -> backstay_archive::Result<Repository> {
    let world: Arc<dyn World> = Arc::clone(&rig.world) as Arc<dyn World>;
    Repository::open(rig.faulty.sound(), "memory", keyring, world, rig.scratch.path().to_owned()).await
}

/// Every record as of `at`, read from a repository opened anew.
pub async fn read_all(rig: &Rig, keyring: Arc<Keyring>, at: Tick) -> backstay_archive::Result<Vec<Truth>> {
    let vault = reopen(rig, keyring).await?.vault(NAME).await?;
    let view = vault.snapshot(interpreter(), at).await?.at(at).await?;
    let mut records = Vec::new();
    for definition in view.definitions().await? {
        for partition in view.partitions(definition.incarnation, &Selection::default()).await? {
            let loaded = view.load(&partition, &Selection::default()).await?;
            records.extend(loaded.iter().map(|(tenant, id, image)| Truth {
                tenant: tenant.as_str().to_owned(),
                id: id.to_vec(),
                image: image.to_vec(),
            }));
        }
    }
    Ok(records)
}

/// Puts other bytes where an object is, as a thief with the run of the disk would.
pub async fn overwrite(store: &Store, path: &str, bytes: Bytes) {
    store.delete(path).await.unwrap();
    store.create(path, bytes).await.unwrap();
}
