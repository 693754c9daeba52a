//! Lives that once gave a wrong answer, each told out.
#![allow(clippy::unwrap_used)]

mod rig;

use backstay_archive::{BaseWriter, Limits};
use backstay_ledger::Fact;
use backstay_model::{IdRange, RecordBatch, Tick, World};
use backstay_sim::Chance;
use backstay_sim::toy::{Operation, Record};
use rig::{Rig, append, block_on, compare, interpreter, put};

const NAME: &str = "shop.a";

async fn begun() -> Rig {
    let rig = Rig::new(Limits::default()).await;
    rig.toy.create(NAME);
    put(&rig, NAME, b"a", "acme", "colour", "red");
    rig.begin().await;
    rig
}

fn give(rig: &Rig, id: &[u8], tenant: &str) {
    let operation = Operation::Move { name: NAME.into(), id: id.to_vec(), tenant: tenant.into() };
    rig.toy.apply(&[operation], false).unwrap();
}

fn delete(rig: &Rig, id: &[u8]) {
    rig.toy.apply(&[Operation::Delete { name: NAME.into(), id: id.to_vec() }], false).unwrap();
}

/// Right now, and again after everything has been sorted.
async fn check(rig: &Rig) {
    let at = rig.toy.now();
    for round in 0..2 {
        let snapshot = rig.snapshot(at).await;
        for instant in rig.instants(&mut Chance::new(1), 8) {
            compare(&snapshot, &rig.toy.oracle(), rig.consistent, instant, &mut Chance::new(round)).await;
        }
        rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
    }
}

#[test]
fn a_change_that_the_scan_saw_is_not_applied_again() {
    block_on(async {
        let mut rig = begun().await;
        append(&rig, NAME, b"a", "-1");
        rig.base(&[], 0).await;
        append(&rig, NAME, b"a", "-2");
        rig.capture().await;
        check(&rig).await;
    });
}

#[test]
fn a_change_before_the_scan_belongs_to_whom_the_scan_names() {
    block_on(async {
        let mut rig = begun().await;
        append(&rig, NAME, b"a", "-1");
        rig.capture().await;
        rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
        append(&rig, NAME, b"a", "-2");
        rig.base(&[], 0).await;
        check(&rig).await;
    });
}

#[test]
fn a_record_that_moved_is_changed_with_its_new_owner() {
    block_on(async {
        let mut rig = begun().await;
        rig.base(&[], 0).await;
        give(&rig, b"a", "b");
        rig.capture().await;
        rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
        append(&rig, NAME, b"a", "-1");
        rig.capture().await;
        check(&rig).await;
    });
}

#[test]
fn a_record_that_moved_there_and_back_in_one_tail_stays() {
    block_on(async {
        let mut rig = begun().await;
        rig.base(&[], 0).await;
        give(&rig, b"a", "b");
        give(&rig, b"a", "acme");
        delete(&rig, b"a");
        put(&rig, NAME, b"a", "b", "size", "");
        give(&rig, b"a", "acme2");
        rig.capture().await;
        check(&rig).await;
    });
}

/// Blocks do not end where namespaces do: a look below in one must not take in half of what is below in the other.
#[test]
fn a_neighbouring_namespace_in_the_same_block_does_not_disturb_a_move() {
    block_on(async {
        let mut rig = begun().await;
        rig.toy.create("shop.b");
        put(&rig, "shop.b", b"a", "acme", "colour", "red");
        rig.base(&[], 0).await;
        for tenant in ["acme", "b"] {
            give(&rig, b"a", tenant);
            put(&rig, "shop.b", b"a", "acme", "size", tenant);
            rig.capture().await;
            rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
        }
        check(&rig).await;
    });
}

/// A scan finds a record otherwise than its changes lead to: a write that never reached the feed.
#[test]
fn what_a_later_scan_found_counts_from_then_on() {
    block_on(async {
        let mut rig = begun().await;
        rig.base(&[], 0).await;
        put(&rig, NAME, b"a", "acme", "colour", "green");
        put(&rig, NAME, b"b", "acme", "colour", "blue");
        rig.capture().await;
        let namespace = rig.toy.namespaces()[NAME];
        let (found_at, scan) = (rig.toy.beat(), rig.world.id());
        rig.capture().await;
        let mut writer = BaseWriter::differences(&rig.vault, scan);
        let mut batch = RecordBatch::default();
        let found = Record::new(b"a").with("tenant", "b").with("colour", "found").image();
        batch.push(b"a", &found);
        writer.push(namespace, found_at, batch, |_, sink| sink("b"));
        writer.push_absent(namespace, found_at, "acme", b"a");
        writer.push_absent(namespace, found_at, "acme", b"b");
        writer.cover(namespace, IdRange::all());
        let segment = writer.write().await.unwrap().unwrap().info;
        assert!(segment.covers.is_empty(), "differences are not complete");
        let facts = vec![Fact::ScanStarted { scan, from: found_at }, Fact::SegmentAdded(segment)];
        rig.vault.commit(|_| Ok(facts.clone())).await.unwrap();
        append(&rig, NAME, b"a", "-1");
        rig.capture().await;
        let at = rig.toy.now();
        for _ in 0..2 {
            for (at, text) in [(found_at.previous(), "green"), (found_at, "found"), (at, "found-1")] {
                let expected = match text {
                    "green" => vec![image("acme", b"a", "green"), image("acme", b"b", "blue")],
                    other => vec![image("b", b"a", other)],
                };
                assert_eq!(records(&rig, at).await, expected, "at {at}");
            }
            rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
        }
    });
}

/// Inside a gap the archive knows less than it holds; a scan ends that, and nothing of it shows afterwards.
#[test]
fn a_gap_leaves_no_trace_once_a_scan_has_closed_it() {
    block_on(async {
        let mut rig = begun().await;
        put(&rig, NAME, b"ab", "acme", "colour", "blue");
        rig.base(&[], 0).await;
        let lost_after = rig.toy.now();
        put(&rig, NAME, b"c", "b", "colour", "white");
        append(&rig, NAME, b"a", "-lost");
        delete(&rig, b"ab");
        let now = rig.toy.now();
        let facts = vec![
            Fact::GapOpened { after: lost_after, cause: "the log rolled over".into() },
            Fact::Frontier { stream: rig::STREAM.into(), through: now, resume: now },
        ];
        rig.vault.commit(|_| Ok(facts.clone())).await.unwrap();
        append(&rig, NAME, b"c", "-1");
        give(&rig, b"c", "acme2");
        append(&rig, NAME, b"a", "-1");
        put(&rig, NAME, b"d", "b", "size", "");
        rig.capture().await;
        assert_eq!(rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap(), 0, "too little is known");
        let (found_at, scan, namespace) = (rig.toy.beat(), rig.world.id(), rig.toy.namespaces()[NAME]);
        rig.capture().await;
        let snapshot = rig.snapshot(found_at).await;
        assert!(snapshot.at(found_at).await.is_err(), "it lies in the gap");
        let (believed, _) =
            rig::load(&snapshot.believed(found_at).await.unwrap(), namespace, &Default::default()).await;
        let mut writer = BaseWriter::differences(&rig.vault, scan);
        let truth = rig.toy.oracle().records(namespace, found_at);
        for record in believed.iter().filter(|b| !truth.iter().any(|t| (&t.id, &t.tenant) == (&b.id, &b.tenant))) {
            writer.push_absent(namespace, found_at, &record.tenant, &record.id);
        }
        for record in truth.iter().filter(|record| !believed.contains(record)) {
            let mut batch = RecordBatch::default();
            batch.push(&record.id, &record.image);
            writer.push(namespace, found_at, batch, |_, sink| sink(&record.tenant));
        }
        let segment = writer.write().await.unwrap().unwrap().info;
        let facts = vec![
            Fact::ScanStarted { scan, from: now },
            Fact::SegmentAdded(segment),
            Fact::GapClosed { resumes: found_at },
            Fact::ScanCompleted { scan, consistent: found_at, records: 0, source_bytes: 0 },
        ];
        rig.vault.commit(|_| Ok(facts.clone())).await.unwrap();
        rig.consistent = found_at;
        append(&rig, NAME, b"c", "-2");
        append(&rig, NAME, b"a", "-2");
        rig.capture().await;
        check(&rig).await;
    });
}

fn image(tenant: &str, id: &[u8], colour: &str) -> Vec<u8> {
    Record::new(id).with("tenant", tenant).with("colour", colour).image()
}

async fn records(rig: &Rig, at: Tick) -> Vec<Vec<u8>> {
    let view = rig.snapshot(rig.toy.now()).await.at(at).await.unwrap();
    let (records, _) = rig::load(&view, rig.toy.namespaces()[NAME], &Default::default()).await;
    records.into_iter().map(|record| record.image).collect()
}

#[test]
fn a_change_of_a_record_that_is_not_archived_is_no_silent_loss() {
    block_on(async {
        let rig = begun().await;
        let scan = rig.world.id();
        let at = rig.toy.now();
        let mut writer = BaseWriter::new(&rig.vault, scan);
        writer.cover(rig.toy.namespaces()[NAME], IdRange::all());
        let segment = writer.write().await.unwrap().unwrap().info;
        append(&rig, NAME, b"a", "-1");
        rig.capture().await;
        let facts = vec![
            Fact::ScanStarted { scan, from: at },
            Fact::SegmentAdded(segment),
            Fact::ScanCompleted { scan, consistent: at, records: 0, source_bytes: 0 },
        ];
        rig.vault.commit(|_| Ok(facts.clone())).await.unwrap();
        for _ in 0..2 {
            let view = rig.snapshot(rig.toy.now()).await.at(rig.toy.now()).await.unwrap();
            let namespace = rig.toy.namespaces()[NAME];
            let partition = backstay_archive::Partition { namespace, range: IdRange::all() };
            let error = view.load(&partition, &Default::default()).await.err().unwrap();
            assert!(error.to_string().contains("no image of it below"), "{error}");
            rig.vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
        }
    });
}
