//! Comparing the source with what the archive says of it: a later scan, or one over a gap.
//!
//! ```text
//!   partition of the archive as of a tick ⟷ the same stretch of the source at that tick ─▶ differences ─▶ segments
//! ```
//!
//! What the archive holds of a partition fits in memory; what the source holds of it may not, as when a gap has hidden
//! where it came from. So the source is read batch by batch, and differences are stored as soon as they fill a segment.
//! Each is true by itself at its own tick: when the server gives a tick up, the comparison goes on at a new one behind
//! the last record that it has seen, with what the archive says as of then.

use std::collections::HashSet;
use std::sync::Arc;

use backstay_archive::{BaseWriter, Partition, Selection, Snapshot, Vault};
use backstay_ledger::Fact;
use backstay_model::{IdRange, Incarnation, Interpreter, NamespaceKind, RecordBatch, Tenant, Tick, crash_point};
use backstay_source::{Error as SourceError, Namespace, Source};

use crate::backup::{BackupReport, find_again, follow_through};
use crate::compare::{Comparison, Pair};
use crate::monitor::Meter;
use crate::scan::{Clock, RangeScan};
use crate::{Error, Monitor, Phase, Result};

/// How often a tick may be given up before anything was read at it.
const STALLS: u32 = 5;

/// Comparing the source with the archive.
pub(super) struct DriftJob<'a> {
    pub vault: &'a Vault,
    pub source: &'a dyn Source,
    pub monitor: &'a Monitor,
    pub interpreter: Arc<dyn Interpreter>,
    pub writer: BaseWriter,
    pub meter: Meter,
    pub report: BackupReport,
    pub differences: u64,
    /// A gap is to be closed: differences are expected, and instants before the end of the scan are not covered.
    pub in_gap: bool,
}

impl DriftJob<'_> {
    /// Returns the tick from which the archive and the source agree.
    pub async fn run(&mut self) -> Result<Tick> {
        let world = self.vault.repository().world().clone();
        let earlier = self.source.snapshot().await?;
        let before = self.source.namespaces().await?;
        let mut clock = Clock::start(self.source, world.as_ref()).await?;
        let mut snapshot = self.archive_at(clock.last).await?;
        self.compare_definitions(&snapshot, &before, earlier, clock.last).await?;
        self.meter = Meter::new(self.monitor, Phase::Scan, Some(before.iter().map(|ns| ns.bytes).sum()));
        self.report.namespaces = before.len() as u64;
        for mut namespace in before {
            let view = snapshot.believed(clock.last).await?;
            for partition in view.partitions(namespace.incarnation, &Selection::default()).await? {
                self.walk(&mut snapshot, &mut clock, &mut namespace, partition).await?;
            }
        }
        self.store().await?;
        if snapshot.through() < clock.last {
            self.archive_at(clock.last).await?;
        }
        Ok(clock.last)
    }

    /// What the archive says as of `at`, after everything up to there was captured.
    async fn archive_at(&self, at: Tick) -> Result<Snapshot> {
        follow_through(self.vault, self.source, at, self.monitor).await?;
        Ok(self.vault.snapshot(Arc::clone(&self.interpreter), at).await?)
    }

    /// Compares a partition to its end, at as many ticks as it takes.
    async fn walk(
        &mut self,
        snapshot: &mut Snapshot,
        clock: &mut Clock,
        namespace: &mut Namespace,
        mut rest: Partition,
    ) -> Result<()> {
        let world = self.vault.repository().world().clone();
        let mut attempts = 0;
        loop {
            let at = clock.fresh(self.source, world.as_ref()).await?;
            if at != snapshot.through() {
                *snapshot = self.archive_at(at).await?;
            }
            let before = rest.range.clone();
            let is_live = namespace.kind == NamespaceKind::Ordered || !self.source.capabilities().snapshot_scans;
            let compared = match is_live {
                true => self.compare_live(snapshot, clock, namespace, &rest, at).await,
                false => self.compare(snapshot, namespace, &mut rest, at).await,
            };
            attempts = if rest.range == before { attempts + 1 } else { 0 };
            match compared {
                Ok(()) => return Ok(()),
                Err(Error::Source(SourceError::SnapshotTooOld(_))) if attempts < STALLS => {
                    clock.renew(self.source, world.as_ref()).await?;
                }
                // What a gap did to it is held for no instant before it was dropped or renamed.
                Err(Error::Source(SourceError::NamespaceChanged { .. })) => {
                    let moved = find_again(self.source, namespace).await?;
                    clock.renew(self.source, world.as_ref()).await?;
                    match moved {
                        Some(moved) => *namespace = moved,
                        None => return Ok(()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Compares `rest` as of `at`; what is left of it after a failure has not been compared.
    async fn compare(
        &mut self,
        snapshot: &Snapshot,
        namespace: &Namespace,
        rest: &mut Partition,
        at: Tick,
    ) -> Result<()> {
        let world = self.vault.repository().world().clone();
        let archived = snapshot.believed(at).await?.load(rest, &Selection::default()).await?;
        let mut comparison = Comparison::new(&archived);
        let mut scan = RangeScan::new(self.source, world.as_ref(), namespace, rest.range.clone(), at);
        let mut batch = RecordBatch::default();
        loop {
            let more = scan.next(&mut batch, None, self.monitor).await?;
            let bytes: u64 = batch.iter().map(|(_, image)| image.len() as u64).sum();
            self.report.records += batch.len() as u64;
            self.report.source_bytes += bytes;
            self.meter.add(batch.len() as u64, bytes);
            let mut found = Differences::default();
            let mut sink = |pair: Pair<'_>| found.take(pair, namespace, self.interpreter.as_ref());
            comparison.batch(&batch, &mut sink);
            if !more {
                comparison.rest(&mut sink);
            }
            self.push(namespace, at, found);
            rest.range = scan.rest().clone();
            if self.writer.is_full() {
                self.store().await?;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Compares a namespace that can only be read as it is now: between `at` and the end of the reading. What changed
    /// meanwhile is in the feed, and no difference.
    async fn compare_live(
        &mut self,
        snapshot: &mut Snapshot,
        clock: &mut Clock,
        namespace: &Namespace,
        partition: &Partition,
        at: Tick,
    ) -> Result<()> {
        let world = self.vault.repository().world().clone();
        let archived = snapshot.believed(at).await?.load(partition, &Selection::default()).await?;
        let mut comparison = Comparison::new(&archived);
        let mut scan = RangeScan::new(self.source, world.as_ref(), namespace, partition.range.clone(), at);
        let mut batch = RecordBatch::default();
        let mut found = Differences::default();
        // Nobody knows what a change since `at` changed: what is read over a gap goes below it, and until the end of the reading
        // nothing is covered.
        let is_below = self.in_gap && namespace.kind != NamespaceKind::Ordered;
        let mut more = true;
        while more {
            more = scan.next(&mut batch, None, self.monitor).await?;
            self.report.records += batch.len() as u64;
            self.report.source_bytes += batch.bytes() as u64;
            self.meter.add(batch.len() as u64, batch.bytes() as u64);
            let mut sink = |pair: Pair<'_>| found.take(pair, namespace, self.interpreter.as_ref());
            comparison.batch(&batch, &mut sink);
            if !more {
                comparison.rest(&mut sink);
            }
            if is_below {
                self.push(namespace, at, std::mem::take(&mut found));
                if self.writer.is_full() {
                    self.store().await?;
                }
            }
        }
        let now = clock.renew(self.source, world.as_ref()).await?;
        if found.is_empty() {
            return Ok(());
        }
        *snapshot = self.archive_at(now).await?;
        let touched = snapshot.touched(partition, &Selection::default(), at, now).await?;
        found.leave_out(&touched);
        if self.in_gap {
            self.push(namespace, now, Differences { gone: found.gone, ..Differences::default() });
            return self.read_in_order(namespace, clock).await;
        }
        self.push(namespace, now, found);
        if self.writer.is_full() {
            self.store().await?;
        }
        Ok(())
    }

    /// Stores such a namespace whole and in its order: only one reading shows where among the others those stand that a
    /// gap hid.
    async fn read_in_order(&mut self, namespace: &Namespace, clock: &mut Clock) -> Result<()> {
        let world = self.vault.repository().world().clone();
        let at = clock.renew(self.source, world.as_ref()).await?;
        let mut records = self.source.scan_unordered(namespace, at).await?;
        let (mut position, mut scratch) = (0_u32, String::new());
        let mut more = true;
        while more {
            self.monitor.check()?;
            let mut batch = RecordBatch::default();
            more = records.next(&mut batch).await?;
            let count = u32::try_from(batch.len()).unwrap_or(u32::MAX);
            if !batch.is_empty() {
                self.writer.push_in_order(namespace.incarnation, at, position, batch, |image, owner| {
                    owner(self.interpreter.tenant(&namespace.name, image, &mut scratch));
                });
            }
            position = position.saturating_add(count);
            if self.writer.is_full() {
                self.store().await?;
            }
        }
        // It was read as it is now: what the archive says of it is consistent from no earlier tick on.
        clock.renew(self.source, world.as_ref()).await?;
        Ok(())
    }

    fn push(&mut self, namespace: &Namespace, at: Tick, found: Differences) {
        self.differences += found.changed.len() as u64 + found.gone.len() as u64 - found.moved;
        for (tenant, id) in found.gone {
            self.writer.push_absent(namespace.incarnation, at, tenant.as_str(), &id);
        }
        if !found.changed.is_empty() {
            let mut scratch = String::new();
            self.writer.push(namespace.incarnation, at, found.changed, |image, owner| {
                owner(self.interpreter.tenant(&namespace.name, image, &mut scratch));
            });
        }
    }

    /// A definition counts as different only when it stood still from `earlier` on, before the source was asked, to `at`,
    /// after: what changed meanwhile is in the feed. But over a gap, one that begins again and was not there ended in the gap: what
    /// is in the feed is its next life, and the end goes below that.
    async fn compare_definitions(
        &mut self,
        snapshot: &Snapshot,
        found: &[Namespace],
        earlier: Tick,
        at: Tick,
    ) -> Result<()> {
        let archived = snapshot.believed(at).await?.definitions().await?;
        let system = Partition { namespace: Incarnation::SYSTEM, range: IdRange::all() };
        let changed = snapshot.touched(&system, &Selection::default(), earlier, at).await?;
        let stood_still = |incarnation: Incarnation| {
            let id = incarnation.record_id();
            !changed.iter().any(|changed| changed.as_slice() == id.as_slice())
        };
        let mut batch = RecordBatch::default();
        for namespace in found.iter().filter(|namespace| stood_still(namespace.incarnation)) {
            let known = archived.iter().find(|definition| definition.incarnation == namespace.incarnation);
            if known.is_none_or(|definition| definition.image != namespace.definition) {
                batch.push(&namespace.incarnation.record_id(), &namespace.definition);
            }
        }
        for definition in archived.iter().filter(|definition| stood_still(definition.incarnation)) {
            if !found.iter().any(|namespace| namespace.incarnation == definition.incarnation) {
                let id = definition.incarnation.record_id();
                self.writer.push_absent(Incarnation::SYSTEM, at, Tenant::SYSTEM_NAME, &id);
                self.differences += 1;
            }
        }
        let began_again = |incarnation: Incarnation| {
            self.in_gap && self.interpreter.begins_again(incarnation) && !stood_still(incarnation)
        };
        for definition in archived.iter().filter(|definition| began_again(definition.incarnation)) {
            if !found.iter().any(|namespace| namespace.incarnation == definition.incarnation) {
                let id = definition.incarnation.record_id();
                self.writer.push_absent(Incarnation::SYSTEM, earlier, Tenant::SYSTEM_NAME, &id);
                self.differences += 1;
            }
        }
        self.differences += batch.len() as u64;
        self.writer.push(Incarnation::SYSTEM, at, batch, |_, owner| owner(Tenant::SYSTEM_NAME));
        Ok(())
    }

    async fn store(&mut self) -> Result<()> {
        if let Some(segment) = self.writer.write().await? {
            crash_point("backup.segment-stored");
            self.report.stored_bytes += segment.info.bytes;
            self.vault.commit(|_| Ok(vec![Fact::SegmentAdded(segment.info.clone())])).await?;
            crash_point("backup.segment-committed");
        }
        Ok(())
    }
}

/// The differences that one batch of the source shows.
#[derive(Default)]
struct Differences {
    changed: RecordBatch,
    gone: Vec<(Tenant, Vec<u8>)>,
    /// How many stand in both, because they changed hands.
    moved: u64,
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }

    /// Forgets these records, which are given in ascending order.
    fn leave_out(&mut self, ids: &[Vec<u8>]) {
        let stays = |id: &[u8]| ids.binary_search_by(|known| known.as_slice().cmp(id)).is_err();
        let mut changed = RecordBatch::default();
        for (id, image) in self.changed.iter().filter(|(id, _)| stays(id)) {
            changed.push(id, image);
        }
        self.gone.retain(|(_, id)| stays(id));
        let there: HashSet<&[u8]> = changed.iter().map(|(id, _)| id).collect();
        self.moved = self.gone.iter().filter(|(_, id)| there.contains(id.as_slice())).count() as u64;
        self.changed = changed;
    }

    fn take(&mut self, pair: Pair<'_>, namespace: &Namespace, interpreter: &dyn Interpreter) {
        match pair {
            Pair::Archived { tenant, id, .. } => self.gone.push((tenant.clone(), id.to_vec())),
            Pair::Live { id, image } => self.changed.push(id, image),
            Pair::Different { tenant, id, live, .. } => {
                let mut scratch = String::new();
                if interpreter.tenant(&namespace.name, live, &mut scratch) != tenant.as_str() {
                    self.gone.push((tenant.clone(), id.to_vec()));
                    self.moved += 1;
                }
                self.changed.push(id, live);
            }
            // Of the same content, and yet another tenant's: the rules may have changed in a gap, and an archive may be
            // of the time when a rename did not reassign records.
            Pair::Same { tenant, id, image } => {
                let mut scratch = String::new();
                if interpreter.tenant(&namespace.name, image, &mut scratch) != tenant.as_str() {
                    self.gone.push((tenant.clone(), id.to_vec()));
                    self.moved += 1;
                    self.changed.push(id, image);
                }
            }
        }
    }
}
