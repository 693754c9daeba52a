//! What every source must do.

use std::collections::BTreeMap;

use backstay_model::{BodyRef, IdRange, Incarnation, Interpreter, Tick};
use backstay_source::{EntryBatch, Namespace, RecordBatch, Source, Start, Tail};

use super::Driver;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// How many empty answers of a feed are waited through.
const PATIENCE: usize = 60;

/// The source says who it is, twice the same, and lists its namespaces in order with definitions that can be read.
pub async fn source_describes_itself(source: &dyn Source, driver: &dyn Driver) {
    for number in [1, 0] {
        driver.create(&driver.name(number)).await;
    }
    let topology = source.discover().await.expect("a source tells what it is");
    assert!(!topology.identity.is_empty() && !topology.streams.is_empty(), "{topology:?}");
    assert_eq!(source.discover().await.expect("and again").identity, topology.identity);
    let namespaces = source.namespaces().await.expect("a source lists its namespaces");
    assert!(namespaces.windows(2).all(|pair| pair[0].name < pair[1].name), "ascending by name");
    for number in [0, 1] {
        let namespace = find(&namespaces, &driver.name(number));
        let info = source.interpreter().describe(&namespace.definition).expect("a definition can be read");
        assert_eq!((&info.name, info.kind), (&namespace.name, namespace.kind));
        assert_ne!(namespace.incarnation, Incarnation::SYSTEM);
    }
    let position = source.position().await.expect("a feed has a position");
    assert!(position.oldest.is_none_or(|oldest| oldest <= position.committed));
}

/// A scan reads exactly one instant: ascending, whole over any split, and untouched by what comes later.
pub async fn scans_read_one_instant(source: &dyn Source, driver: &dyn Driver) {
    let name = driver.name(0);
    driver.create(&name).await;
    for id in 0..200 {
        driver.put(&name, id, &format!("value {id}")).await;
    }
    let namespace = find(&source.namespaces().await.expect("a list"), &name).clone();
    let before = source.snapshot().await.expect("a tick to read at");
    for id in 0..50 {
        driver.update(&name, id, "later").await;
        driver.delete(&name, 100 + id).await;
    }
    driver.put(&name, 1000, "new").await;
    let whole = scan(source, &namespace, &IdRange::all(), before).await;
    let expected: Vec<Vec<u8>> = (0..200).map(|id| driver.id(id)).collect();
    assert_eq!(whole.keys().cloned().collect::<Vec<_>>(), expected, "the records of then, and no others");
    let mut pieces = Records::new();
    for range in source.split(&namespace, 500).await.expect("a split") {
        for (id, image) in scan(source, &namespace, &range, before).await {
            assert!(range.contains(&id), "a range yields only what lies in it");
            assert!(pieces.insert(id, image).is_none(), "ranges share nothing");
        }
    }
    assert!(pieces == whole, "ranges leave nothing out");
    let now = source.snapshot().await.expect("a tick to read at");
    assert!(before <= now);
    let after = scan(source, &namespace, &IdRange::all(), now).await;
    assert_eq!(after.len(), 151);
    assert!(after[&driver.id(0)] != whole[&driver.id(0)] && after[&driver.id(60)] == whole[&driver.id(60)]);
    let rest = IdRange::all().after(&driver.id(100));
    assert!(scan(source, &namespace, &rest, before).await.keys().all(|id| *id > driver.id(100)));
}

/// What a scan read, and the changes of the feed since, make what a later scan reads.
pub async fn feed_continues_a_scan(source: &dyn Source, driver: &dyn Driver) {
    let (name, other) = (driver.name(0), driver.name(1));
    driver.create(&name).await;
    for id in 0..20 {
        driver.put(&name, id, "first").await;
    }
    let namespace = find(&source.namespaces().await.expect("a list"), &name).clone();
    let from = source.snapshot().await.expect("a tick to read at");
    let mut records = scan(source, &namespace, &IdRange::all(), from).await;
    let mut tail = source.tail(Start { resume: from, through: from }).await.expect("a feed");
    make_changes(driver, &name).await;
    driver.create(&other).await;
    driver.put(&other, 1, "short life").await;
    driver.drop_namespace(&other).await;
    let to = source.snapshot().await.expect("a tick to read at");
    let feed = follow(tail.as_mut(), to).await;
    assert!(feed.iter().all(|(visible, _)| *visible > from), "only what came after");
    assert!(feed.windows(2).all(|pair| pair[0].0 <= pair[1].0), "in order");
    let names = fold(source.interpreter().as_ref(), &feed, namespace.incarnation, to, &mut records);
    assert!(records == scan(source, &namespace, &IdRange::all(), to).await, "folded up to {to}");
    let life: Vec<bool> = names.into_iter().filter(|(found, _)| *found == other).map(|(_, alive)| alive).collect();
    assert!(life.first() == Some(&true), "a new namespace is seen: {life:?}");
}

/// A feed that is started anew where any batch said so goes on without a loss and without repeating itself.
pub async fn feed_resumes_anywhere(source: &dyn Source, driver: &dyn Driver) {
    let name = driver.name(0);
    driver.create(&name).await;
    let from = source.snapshot().await.expect("a tick to read at");
    for id in 0..20 {
        driver.put(&name, id, "first").await;
    }
    make_changes(driver, &name).await;
    let to = source.snapshot().await.expect("a tick to read at");
    let start = Start { resume: from, through: from };
    let whole = follow(source.tail(start).await.expect("a feed").as_mut(), to).await;
    let (mut start, mut pieces) = (start, Vec::new());
    for _ in 0..PATIENCE * 10 {
        let mut batch = EntryBatch::default();
        let mut tail = source.tail(start).await.expect("a feed");
        tail.next(&mut batch).await.expect("entries");
        pieces.extend(batch.iter().map(|(visible, entry)| (visible, entry.to_vec())));
        // Half of a tick is nothing: whoever starts anew there gets it again.
        while batch.continues {
            tail.next(&mut batch).await.expect("entries");
            pieces.extend(batch.iter().map(|(visible, entry)| (visible, entry.to_vec())));
        }
        assert!(batch.resume <= batch.through.next(), "reading goes on before what is still missing");
        start = Start { resume: batch.resume, through: batch.through };
        if batch.through >= to {
            break;
        }
    }
    pieces.retain(|(visible, _)| *visible <= to);
    assert!(pieces == whole, "{} entries in pieces, {} at once", pieces.len(), whole.len());
}

async fn make_changes(driver: &dyn Driver, name: &str) {
    for id in 0..10 {
        driver.update(name, id, &format!("second {id}")).await;
    }
    driver.put_together(name, &[1, 30, 31, 32], "together").await;
    for id in 5..15 {
        driver.delete(name, id).await;
    }
    driver.put(name, 7, "back again").await;
    driver.update(name, 7, "and changed").await;
}

fn find<'n>(namespaces: &'n [Namespace], name: &str) -> &'n Namespace {
    namespaces.iter().find(|namespace| namespace.name == name).unwrap_or_else(|| panic!("{name} is not listed"))
}

async fn scan(source: &dyn Source, namespace: &Namespace, range: &IdRange, at: Tick) -> Records {
    let mut scan = source.scan(namespace, range, at).await.expect("a scan");
    let (mut records, mut batch) = (Records::new(), RecordBatch::default());
    while scan.next(&mut batch).await.expect("records") {
        for (id, image) in batch.iter() {
            assert!(records.last_key_value().is_none_or(|(last, _)| last.as_slice() < id), "ascending by id");
            records.insert(id.to_vec(), image.to_vec());
        }
    }
    records
}

/// The entries of a feed up to and with `to`.
async fn follow(tail: &mut dyn Tail, to: Tick) -> Vec<(Tick, Vec<u8>)> {
    let (mut entries, mut batch, mut empty) = (Vec::new(), EntryBatch::default(), 0);
    while batch.through < to {
        let before = batch.through;
        tail.next(&mut batch).await.expect("entries");
        assert!(batch.through >= before, "a feed does not go back");
        empty = if batch.is_empty() { empty + 1 } else { 0 };
        assert!(empty < PATIENCE, "the feed stands at {}, {to} was wanted", batch.through);
        let whole = batch.iter().all(|(visible, _)| visible <= batch.through);
        assert!(whole || batch.continues, "a batch ends where it says, or goes on in the next");
        entries.extend(batch.iter().map(|(visible, entry)| (visible, entry.to_vec())));
    }
    entries.retain(|(visible, _)| *visible <= to);
    entries
}

/// Applies a feed to the records of a namespace. Returns what it says of definitions: name, and whether it is there.
fn fold(
    interpreter: &dyn Interpreter,
    feed: &[(Tick, Vec<u8>)],
    namespace: Incarnation,
    to: Tick,
    records: &mut Records,
) -> Vec<(String, bool)> {
    let mut names: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut definitions = Vec::new();
    let (mut at, mut ordinal, mut last) = (Tick::ZERO, 0, None);
    for (visible, entry) in feed.iter().filter(|(visible, _)| *visible <= to) {
        if *visible != at {
            (at, ordinal) = (*visible, 0);
        }
        let used = interpreter.changes(entry, *visible, ordinal, &mut |change| {
            assert!(last.is_none_or(|last| last < change.version), "versions ascend");
            assert_eq!(change.version.tick, *visible, "a change is visible when its entry is");
            last = Some(change.version);
            if change.namespace == Incarnation::SYSTEM {
                if let BodyRef::Image(definition) = change.body {
                    let info = interpreter.describe(definition).expect("a definition can be read");
                    names.insert(change.id.to_vec(), info.name);
                }
                let name = names.get(change.id).cloned().unwrap_or_default();
                definitions.push((name, !matches!(change.body, BodyRef::Tombstone)));
            }
            if change.namespace != namespace {
                return;
            }
            match change.body {
                BodyRef::Image(image) => drop(records.insert(change.id.to_vec(), image.to_vec())),
                BodyRef::Tombstone => drop(records.remove(change.id)),
                BodyRef::Delta(operator, delta) => {
                    let image = records.get(change.id).expect("a delta has a record below it");
                    let mut folded = Vec::new();
                    interpreter.fold(operator, image, delta, &mut folded).expect("a delta can be folded");
                    records.insert(change.id.to_vec(), folded);
                }
            }
        });
        ordinal += used.expect("an entry can be interpreted");
    }
    definitions
}
