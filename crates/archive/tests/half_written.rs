//! What an interrupted writer left behind is inert: it is in no answer, and swept away when it is old.
#![allow(clippy::unwrap_used)]

mod rig;

use std::sync::Arc;

use backstay_archive::{BaseWriter, Vault, VerifyOptions};
use backstay_model::{EntryBatch, IdRange, Incarnation, RecordBatch, World};
use backstay_sim::toy::{Entry, Record};
use rig::{NAME, Rig, STREAM, block_on, furnished, interpreter, put, read_all};

/// Segments of each kind that no commit names.
async fn leave_orphans(rig: &Rig) {
    let mut batch = EntryBatch::default();
    let image = Record::new(b"ghost").with("tenant", "acme").image();
    let entry = Entry::Put { namespace: Incarnation(1), name: "shop.a".into(), id: b"ghost".to_vec(), image };
    batch.push(rig.toy.now(), &entry.to_bytes());
    rig.vault.write_tail(STREAM, vec![batch]).await.unwrap().unwrap();
    let mut writer = BaseWriter::new(&rig.vault, rig.world.id());
    let mut records = RecordBatch::default();
    records.push(b"ghost", &Record::new(b"ghost").with("tenant", "acme").image());
    writer.push(Incarnation(1), rig.consistent, records, |_, sink| sink("acme"));
    writer.cover(Incarnation(1), IdRange::all());
    writer.write().await.unwrap().unwrap();
}

#[test]
fn segments_without_a_commit_are_in_no_answer() {
    block_on(async {
        let rig = furnished().await;
        let at = rig.toy.now();
        let before = read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap();
        leave_orphans(&rig).await;
        assert_eq!(read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap(), before);
        let options = VerifyOptions { content: true, sample: None };
        let report = Vault::verify(&rig.repository, NAME, options, |_, _| {}).await.unwrap();
        assert_eq!(report.problems, Vec::new());
    });
}

#[test]
fn a_sweep_takes_old_orphans_only() {
    block_on(async {
        let rig = furnished().await;
        let at = rig.toy.now();
        rig.vault.sweep(u64::MAX).await.unwrap();
        let before = read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap();
        leave_orphans(&rig).await;
        assert_eq!(rig.vault.sweep(0).await.unwrap().0, 0, "they may still be waiting for their commit");
        let (count, bytes) = rig.vault.sweep(u64::MAX).await.unwrap();
        assert!(count == 2 && bytes > 0);
        assert_eq!(rig.vault.sweep(u64::MAX).await.unwrap().0, 0);
        assert_eq!(read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap(), before);
    });
}

#[test]
fn a_scan_that_did_not_end_is_in_no_answer() {
    block_on(async {
        let rig = furnished().await;
        let at = rig.toy.now();
        let before = read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap();
        let scan = rig.world.id();
        let mut writer = BaseWriter::new(&rig.vault, scan);
        let mut records = RecordBatch::default();
        records.push(b"ghost", &Record::new(b"ghost").with("tenant", "acme").image());
        writer.push(Incarnation(1), rig.consistent, records, |_, sink| sink("acme"));
        writer.cover(Incarnation(1), IdRange::all());
        let segment = writer.write().await.unwrap().unwrap().info;
        let facts = vec![
            backstay_ledger::Fact::ScanStarted { scan, from: rig.consistent },
            backstay_ledger::Fact::SegmentAdded(segment),
        ];
        rig.vault.commit(|_| Ok(facts.clone())).await.unwrap();
        assert_eq!(read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap(), before);
    });
}

#[test]
fn a_compaction_that_dies_at_any_step_changes_no_answer() {
    block_on(async {
        for steps in 0..4 {
            let rig = furnished().await;
            let at = rig.toy.now();
            let before = read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap();
            rig.faulty.crash_after(steps);
            let outcome = rig.vault.compact(interpreter().as_ref(), |_, _| {}).await;
            assert_eq!(
                outcome.is_ok(),
                steps == 3,
                "a run and a commit are two steps; the commit is looked at afterwards"
            );
            rig.faulty.revive();
            assert_eq!(read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap(), before);
            let vault = rig.repository.vault(NAME).await.unwrap();
            vault.compact(interpreter().as_ref(), |_, _| {}).await.unwrap();
            assert_eq!(read_all(&rig, Arc::clone(&rig.keyring), at).await.unwrap(), before);
            put(&rig, "shop.a", b"new", "acme", "size", "1");
        }
    });
}
