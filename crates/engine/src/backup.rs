//! Bringing the base image of a source up to date.
//!
//! ```text
//!   first time   ScanStarted(from) ─ scan ranges ─▶ base runs, committed one by one ─ tail to the last tick ─ ScanCompleted
//!   later        tail to T ─ scan ranges at T ⟷ archive as of T ─▶ only differences ─ ScanCompleted (+ drift)
//!   over a gap   the same as later; the differences are what the gap lost, and the gap is closed
//! ```
//!
//! The feed is archived from a tick at or before the first range's on, so that a backup leaves no instant uncovered
//! between itself and the capture that follows. A backup that was interrupted goes on with what its committed segments
//! do not cover, as long as the feed still reaches back to its start.

use std::ops::Bound;
use std::sync::Arc;

use backstay_archive::{BaseSegment, BaseWriter, Partition, Repository, Selection, Snapshot, Vault};
use backstay_ledger::{Fact, VaultState};
use backstay_model::{IdRange, Incarnation, Interpreter, RecordBatch, Tenant, Tick, crash_point};
use backstay_source::{Error as SourceError, Namespace, Source};
use tokio::task::JoinSet;

use crate::capture::{CaptureOptions, Until, capture, capture_only, only_stream, open_gap};
use crate::compare::{Comparison, Pair};
use crate::monitor::Meter;
use crate::scan::{Clock, RangeScan};
use crate::{Error, Monitor, Phase, Result};

/// How to back up.
#[derive(Clone, Copy, Debug)]
pub struct BackupOptions {
    /// How many ranges are read at the same time.
    pub parallel: usize,
}

impl Default for BackupOptions {
    fn default() -> BackupOptions {
        BackupOptions { parallel: std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).clamp(1, 4)) }
    }
}

/// What was backed up.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BackupReport {
    /// How many records were read.
    pub records: u64,
    /// Bytes of their images.
    pub source_bytes: u64,
    /// Bytes added to the archive.
    pub stored_bytes: u64,
    /// From this tick on the archive can restore.
    pub at: Tick,
    /// How many namespaces were read.
    pub namespaces: u64,
    /// True when it went on with an interrupted backup.
    pub resumed: bool,
    /// After the first backup: how many records differed from what the archive said they were.
    pub drift: Option<u64>,
}

/// How often a scan begins anew because the feed rolled over beneath it.
const SCANS: u32 = 3;

/// About how many bytes a range holds that is read in one go.
const RANGE_LEN: u64 = 256 << 20;

/// Brings the base image of `source` up to date. The vault is made when there is none.
pub async fn backup(
    repository: &Repository,
    name: &str,
    source: &dyn Source,
    kind: &str,
    options: BackupOptions,
    monitor: &Monitor,
) -> Result<(Vault, BackupReport)> {
    let topology = source.discover().await?;
    let vault = repository.vault_for(name, kind, &topology.identity).await?;
    let state = vault.state().await;
    let report = scan(&vault, source, options, monitor, state.completed_scans().is_empty()).await?;
    Ok((vault, report))
}

/// Scans the source over an open gap, and closes it.
pub(crate) async fn scan_over_gap(vault: &Vault, source: &dyn Source, monitor: &Monitor) -> Result<()> {
    let first = vault.state().await.completed_scans().is_empty();
    scan(vault, source, BackupOptions::default(), monitor, first).await.map(drop)
}

/// Scans the source. When the feed rolls over beneath the scan, that is a gap like any other, and the scan begins anew.
async fn scan(
    vault: &Vault,
    source: &dyn Source,
    options: BackupOptions,
    monitor: &Monitor,
    first: bool,
) -> Result<BackupReport> {
    let mut left = SCANS;
    loop {
        left -= 1;
        let done = match first {
            true => first_backup(vault, source, options, monitor).await,
            false => again(vault, source, monitor).await,
        };
        match done {
            Err(Error::Source(SourceError::RolledOver { wanted, oldest })) if left > 0 => {
                if !first {
                    open_gap(vault, &only_stream(source).await?, wanted, oldest).await?;
                }
            }
            done => return done,
        }
    }
}

// ---------------------------------------------------------------------------------------------- the first time

async fn first_backup(
    vault: &Vault,
    source: &dyn Source,
    options: BackupOptions,
    monitor: &Monitor,
) -> Result<BackupReport> {
    let stream = only_stream(source).await?;
    let state = vault.refresh().await?;
    let position = source.position().await?;
    let (scan, from, resumed) = match resumable(&state, position.oldest) {
        Some((scan, from)) => (scan, from, true),
        None => {
            let scan = vault.repository().world().id();
            start_scan(vault, &stream, scan, position.committed).await?;
            (scan, position.committed, false)
        }
    };
    crash_point("backup.started");
    let world = vault.repository().world().clone();
    let namespaces = source.namespaces().await?;
    let mut clock = Clock::start(source, world.as_ref()).await?;
    let covered = covered(vault.state().await.as_ref(), scan);

    let mut job = BaseJob {
        vault,
        source,
        interpreter: source.interpreter(),
        scan,
        monitor,
        meter: Meter::new(monitor, Phase::Scan, Some(namespaces.iter().map(|ns| ns.bytes).sum())),
        report: BackupReport { resumed, namespaces: namespaces.len() as u64, ..BackupReport::default() },
    };
    let mut work = Vec::new();
    for namespace in &namespaces {
        for range in source.split(namespace, RANGE_LEN).await? {
            work.extend(without(range, &covered, namespace.incarnation).into_iter().map(|rest| (namespace, rest)));
        }
    }
    let lanes = options.parallel.clamp(1, work.len().max(1));
    job.run(&namespaces, work, from, &mut clock, lanes).await?;
    crash_point("backup.scanned");
    let mut report = job.report;

    // The ranges were read at ticks up to the clock's last: only with the changes up to there is the base consistent.
    let last = clock.last;
    follow_through(vault, source, last, monitor).await?;
    let (records, source_bytes) = (report.records, report.source_bytes);
    vault.commit(|_| Ok(vec![Fact::ScanCompleted { scan, consistent: last, records, source_bytes }])).await?;
    if vault.state().await.open_gap().is_some() {
        vault.commit(|_| Ok(vec![Fact::GapClosed { resumes: last }])).await?;
    }
    crash_point("backup.completed");
    report.at = last;
    Ok(report)
}

/// The scan to go on with, and from where the feed must be held for it.
fn resumable(state: &VaultState, oldest: Tick) -> Option<([u8; 16], Tick)> {
    if state.open_gap().is_some() {
        return None;
    }
    state.running_scans().find(|scan| scan.from >= oldest).map(|scan| (scan.id, scan.from))
}

async fn start_scan(vault: &Vault, stream: &str, scan: [u8; 16], from: Tick) -> Result<()> {
    vault
        .commit(|state| {
            let mut facts = Vec::new();
            for old in state.running_scans() {
                let segments: Vec<[u8; 16]> = state.segments_of_scan(old.id).map(|segment| segment.id).collect();
                facts.extend(segments.into_iter().map(Fact::SegmentRemoved));
                facts.push(Fact::ScanAbandoned { scan: old.id, why: "it cannot be resumed any more".to_owned() });
            }
            facts.push(Fact::ScanStarted { scan, from });
            let through = state.frontier(stream).map_or(from, |frontier| frontier.through.max(from));
            let resume = state.frontier(stream).map_or(from, |frontier| frontier.resume.max(from));
            facts.push(Fact::Frontier { stream: stream.to_owned(), through, resume });
            Ok(facts)
        })
        .await?;
    Ok(())
}

/// What the committed segments of a scan cover.
fn covered(state: &VaultState, scan: [u8; 16]) -> Vec<(Incarnation, IdRange)> {
    state
        .segments_of_scan(scan)
        .flat_map(|segment| segment.covers.iter().map(|cover| (cover.incarnation, cover.range.clone())))
        .collect()
}

/// The parts of `range` that none of `covered` covers, ascending.
fn without(range: IdRange, covered: &[(Incarnation, IdRange)], namespace: Incarnation) -> Vec<IdRange> {
    let mut rest = vec![range];
    for (_, hole) in covered.iter().filter(|(incarnation, _)| *incarnation == namespace) {
        rest = rest.iter().flat_map(|range| cut_out(range, hole)).collect();
    }
    rest
}

fn cut_out(range: &IdRange, hole: &IdRange) -> Vec<IdRange> {
    let before = IdRange { from: range.from.clone(), to: lower(&range.to, &end_before(&hole.from)) };
    let after = IdRange { from: higher(&range.from, &start_after(&hole.to)), to: range.to.clone() };
    let mut left = Vec::new();
    if hole.from != Bound::Unbounded && !is_empty(&before) {
        left.push(before);
    }
    if hole.to != Bound::Unbounded && !is_empty(&after) {
        left.push(after);
    }
    left
}

fn end_before(from: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    match from {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(id) => Bound::Excluded(id.clone()),
        Bound::Excluded(id) => Bound::Included(id.clone()),
    }
}

fn start_after(to: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    end_before(to)
}

fn lower(a: &Bound<Vec<u8>>, b: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    use Bound::{Excluded, Included, Unbounded};
    match (a, b) {
        (Unbounded, other) | (other, Unbounded) => other.clone(),
        (Included(x), Excluded(y)) | (Excluded(y), Included(x)) => {
            if y <= x {
                Excluded(y.clone())
            } else {
                Included(x.clone())
            }
        }
        (Included(x), Included(y)) => Included(x.min(y).clone()),
        (Excluded(x), Excluded(y)) => Excluded(x.min(y).clone()),
    }
}

fn higher(a: &Bound<Vec<u8>>, b: &Bound<Vec<u8>>) -> Bound<Vec<u8>> {
    use Bound::{Excluded, Included, Unbounded};
    match (a, b) {
        (Unbounded, other) | (other, Unbounded) => other.clone(),
        (Included(x), Excluded(y)) | (Excluded(y), Included(x)) => {
            if y >= x {
                Excluded(y.clone())
            } else {
                Included(x.clone())
            }
        }
        (Included(x), Included(y)) => Included(x.max(y).clone()),
        (Excluded(x), Excluded(y)) => Excluded(x.max(y).clone()),
    }
}

fn is_empty(range: &IdRange) -> bool {
    use Bound::{Excluded, Included, Unbounded};
    match (&range.from, &range.to) {
        (Unbounded, _) | (_, Unbounded) => false,
        (Included(from), Included(to)) => from > to,
        (Included(from) | Excluded(from), Included(to) | Excluded(to)) => from >= to,
    }
}

/// Writing a complete base.
struct BaseJob<'a> {
    vault: &'a Vault,
    source: &'a dyn Source,
    interpreter: Arc<dyn Interpreter>,
    scan: [u8; 16],
    monitor: &'a Monitor,
    meter: Meter,
    report: BackupReport,
}

impl BaseJob<'_> {
    async fn run(
        &mut self,
        namespaces: &[Namespace],
        work: Vec<(&Namespace, IdRange)>,
        from: Tick,
        clock: &mut Clock,
        lanes: usize,
    ) -> Result<()> {
        let mut writer = BaseWriter::new(self.vault, self.scan);
        self.push_definitions(&mut writer, namespaces, from);
        let mut storing: JoinSet<Result<Option<BaseSegment>, backstay_archive::Error>> = JoinSet::new();
        let mut queue = work.into_iter();
        let mut open: Vec<Lane<'_>> = Vec::new();
        loop {
            while open.len() < lanes
                && let Some((namespace, range)) = queue.next()
            {
                let at = clock.fresh(self.source, self.vault.repository().world().as_ref()).await?;
                open.push(Lane::new(self, namespace, range, at));
            }
            if open.is_empty() {
                break;
            }
            // The lanes take turns; each has its own cursor, which fetches ahead while the others are served.
            let mut still_open = Vec::with_capacity(open.len());
            for mut lane in open {
                let mut batch = RecordBatch::default();
                match lane.scan.next(&mut batch, Some(clock), self.monitor).await {
                    Ok(more) => {
                        self.push(&mut writer, lane.namespace, lane.scan.at(), batch);
                        if more {
                            still_open.push(lane);
                        } else {
                            writer.cover(lane.namespace.incarnation, lane.rest_uncovered());
                        }
                    }
                    // Whoever dropped or renamed it left an event in the feed, which is archived from before the scan.
                    Err(Error::Source(SourceError::NamespaceChanged { name })) => {
                        tracing::info!(name, "dropped or renamed while it was read");
                        self.read_moved(&mut writer, lane.namespace, lane.scan.rest().clone(), clock).await?;
                        writer.cover(lane.namespace.incarnation, lane.rest_uncovered());
                    }
                    Err(error) => return Err(error),
                }
            }
            open = still_open;
            if writer.is_full() {
                for lane in &mut open {
                    if let Some(range) = lane.read_uncovered() {
                        writer.cover(lane.namespace.incarnation, range);
                    }
                }
                self.store(&mut writer, &mut storing).await?;
            }
        }
        self.store(&mut writer, &mut storing).await?;
        self.commit_stored(&mut storing).await
    }

    /// Definitions are kept as of the tick from which the feed is held: changes after it are applied on top, and applying
    /// one that the definition has already makes no difference.
    fn push_definitions(&self, writer: &mut BaseWriter, namespaces: &[Namespace], from: Tick) {
        let mut batch = RecordBatch::default();
        for namespace in namespaces {
            batch.push(&namespace.incarnation.record_id(), &namespace.definition);
        }
        writer.push(Incarnation::SYSTEM, from, batch, |_, owner| owner(Tenant::SYSTEM_NAME));
        writer.cover(Incarnation::SYSTEM, IdRange::all());
    }

    fn push(&mut self, writer: &mut BaseWriter, namespace: &Namespace, at: Tick, batch: RecordBatch) {
        let bytes: u64 = batch.iter().map(|(_, image)| image.len() as u64).sum();
        self.report.records += batch.len() as u64;
        self.report.source_bytes += bytes;
        self.meter.add(batch.len() as u64, bytes);
        let mut scratch = String::new();
        writer.push(namespace.incarnation, at, batch, |image, owner| {
            owner(self.interpreter.tenant(&namespace.name, image, &mut scratch));
        });
    }

    /// Reads the rest of a range of a namespace that was dropped or renamed, under its new name if it has one. When it
    /// has none, its records are held for no instant before the drop: the clock moves on, and with it the instant from
    /// which the base is consistent.
    async fn read_moved(
        &mut self,
        writer: &mut BaseWriter,
        namespace: &Namespace,
        mut rest: IdRange,
        clock: &mut Clock,
    ) -> Result<()> {
        let world = self.vault.repository().world().clone();
        loop {
            let moved = find_again(self.source, namespace).await?;
            let at = clock.renew(self.source, world.as_ref()).await?;
            let Some(moved) = moved else { return Ok(()) };
            let mut scan = RangeScan::new(self.source, world.as_ref(), &moved, rest.clone(), at);
            loop {
                let mut batch = RecordBatch::default();
                match scan.next(&mut batch, Some(clock), self.monitor).await {
                    Ok(more) => {
                        self.push(writer, &moved, scan.at(), batch);
                        if !more {
                            return Ok(());
                        }
                    }
                    Err(Error::Source(SourceError::NamespaceChanged { .. })) => break,
                    Err(error) => return Err(error),
                }
            }
            rest = scan.rest().clone();
        }
    }

    /// Hands what was collected over to be stored, after the segment before has been committed.
    async fn store(
        &mut self,
        writer: &mut BaseWriter,
        storing: &mut JoinSet<Result<Option<BaseSegment>, backstay_archive::Error>>,
    ) -> Result<()> {
        self.commit_stored(storing).await?;
        storing.spawn(writer.write());
        Ok(())
    }

    async fn commit_stored(
        &mut self,
        storing: &mut JoinSet<Result<Option<BaseSegment>, backstay_archive::Error>>,
    ) -> Result<()> {
        while let Some(stored) = storing.join_next().await {
            let stored = stored.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
            crash_point("backup.segment-stored");
            if let Some(segment) = stored {
                self.report.stored_bytes += segment.info.bytes;
                self.vault.commit(|_| Ok(vec![Fact::SegmentAdded(segment.info.clone())])).await?;
                crash_point("backup.segment-committed");
            }
        }
        Ok(())
    }
}

/// The namespace under the name that it has now, if it still exists.
async fn find_again(source: &dyn Source, namespace: &Namespace) -> Result<Option<Namespace>> {
    let now = source.namespaces().await?;
    Ok(now.into_iter().find(|found| found.incarnation == namespace.incarnation))
}

/// A range that is being read.
struct Lane<'a> {
    namespace: &'a Namespace,
    scan: RangeScan<'a>,
    /// Where the part that no segment covers yet begins.
    uncovered_from: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
}

impl<'a> Lane<'a> {
    fn new(job: &BaseJob<'a>, namespace: &'a Namespace, range: IdRange, at: Tick) -> Lane<'a> {
        let (uncovered_from, end) = (range.from.clone(), range.to.clone());
        let world: &'a dyn backstay_model::World = job.vault.repository().world().as_ref();
        let scan = RangeScan::new(job.source, world, namespace, range, at);
        Lane { namespace, scan, uncovered_from, end }
    }

    /// What was read and no segment covers yet: for the segment being collected. `None` when nothing was.
    fn read_uncovered(&mut self) -> Option<IdRange> {
        let from = &self.scan.rest().from;
        if *from == self.uncovered_from {
            return None;
        }
        let to = end_before(from);
        let from = std::mem::replace(&mut self.uncovered_from, from.clone());
        Some(IdRange { from, to })
    }

    /// All that no segment covers yet, when the range has been read to its end.
    fn rest_uncovered(&self) -> IdRange {
        IdRange { from: self.uncovered_from.clone(), to: self.end.clone() }
    }
}

// ------------------------------------------------------------------------------------------------- once more

/// Scans again and archives only what differs from what the archive says.
async fn again(vault: &Vault, source: &dyn Source, monitor: &Monitor) -> Result<BackupReport> {
    let stream = only_stream(source).await?;
    let world = vault.repository().world().clone();
    let in_gap = vault.refresh().await?.open_gap().is_some();
    let scan = world.id();
    let committed = source.position().await?.committed;
    match in_gap {
        true => start_scan(vault, &stream, scan, committed).await?,
        false => {
            let from = vault.state().await.frontier(&stream).map_or(committed, |frontier| frontier.through);
            let abandoned = |state: &VaultState| -> Vec<Fact> {
                let why = "another scan began".to_owned();
                state.running_scans().map(|old| Fact::ScanAbandoned { scan: old.id, why: why.clone() }).collect()
            };
            vault.commit(|state| Ok([abandoned(state), vec![Fact::ScanStarted { scan, from }]].concat())).await?;
        }
    }
    crash_point("backup.started");
    let mut job = DriftJob {
        vault,
        source,
        monitor,
        interpreter: source.interpreter(),
        writer: BaseWriter::differences(vault, scan),
        meter: Meter::new(monitor, Phase::Scan, None),
        report: BackupReport::default(),
        differences: 0,
    };
    let last = job.run().await?;
    crash_point("backup.scanned");
    let mut report = job.report;
    report.at = last;
    report.drift = Some(job.differences);
    let (records, source_bytes, drift) = (report.records, report.source_bytes, job.differences);
    vault
        .commit(|state| {
            let mut facts = Vec::new();
            if state.open_gap().is_some() {
                facts.push(Fact::GapClosed { resumes: last });
            } else if drift > 0 {
                facts.push(Fact::DriftFound { scan, at: last, records: drift });
            }
            facts.push(Fact::ScanCompleted { scan, consistent: last, records, source_bytes });
            Ok(facts)
        })
        .await?;
    crash_point("backup.completed");
    Ok(report)
}

/// Comparing the source with the archive.
struct DriftJob<'a> {
    vault: &'a Vault,
    source: &'a dyn Source,
    monitor: &'a Monitor,
    interpreter: Arc<dyn Interpreter>,
    writer: BaseWriter,
    meter: Meter,
    report: BackupReport,
    differences: u64,
}

impl DriftJob<'_> {
    /// Returns the tick from which the archive and the source agree.
    async fn run(&mut self) -> Result<Tick> {
        let world = self.vault.repository().world().clone();
        let before = self.source.namespaces().await?;
        let mut clock = Clock::start(self.source, world.as_ref()).await?;
        let mut snapshot = self.archive_at(clock.last).await?;
        let after = self.source.namespaces().await?;
        self.compare_definitions(&snapshot, &before, &after, clock.last).await?;
        self.meter = Meter::new(self.monitor, Phase::Scan, Some(after.iter().map(|ns| ns.bytes).sum()));
        self.report.namespaces = before.len() as u64;
        for mut namespace in before {
            let view = snapshot.believed(clock.last).await?;
            for partition in view.partitions(namespace.incarnation, &Selection::default()).await? {
                let mut attempts = 0;
                loop {
                    let at = clock.fresh(self.source, world.as_ref()).await?;
                    if at != snapshot.through() {
                        snapshot = self.archive_at(at).await?;
                    }
                    match self.compare(&snapshot, &namespace, &partition, at).await {
                        Ok(()) => break,
                        // The partition begins anew; what was found before is found again and counted once.
                        Err(Error::Source(SourceError::SnapshotTooOld(_))) if attempts < 5 => {
                            attempts += 1;
                            clock.renew(self.source, world.as_ref()).await?;
                        }
                        // What a gap did to it is held for no instant before it was dropped or renamed.
                        Err(Error::Source(SourceError::NamespaceChanged { .. })) => {
                            let moved = find_again(self.source, &namespace).await?;
                            clock.renew(self.source, world.as_ref()).await?;
                            match moved {
                                Some(moved) => namespace = moved,
                                None => break,
                            }
                        }
                        Err(error) => return Err(error),
                    }
                }
                if self.writer.is_full() {
                    self.store().await?;
                }
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

    async fn compare(
        &mut self,
        snapshot: &Snapshot,
        namespace: &Namespace,
        partition: &Partition,
        at: Tick,
    ) -> Result<()> {
        let world = self.vault.repository().world().clone();
        let archived = snapshot.believed(at).await?.load(partition, &Selection::default()).await?;
        let mut comparison = Comparison::new(&archived);
        let mut scan = RangeScan::new(self.source, world.as_ref(), namespace, partition.range.clone(), at);
        let mut changed = RecordBatch::default();
        let mut gone: Vec<(Tenant, Vec<u8>)> = Vec::new();
        let (mut records, mut bytes, mut moved) = (0, 0, 0);
        let mut sink = |pair: Pair<'_>| match pair {
            Pair::Archived { tenant, id, .. } => gone.push((tenant.clone(), id.to_vec())),
            Pair::Live { id, image } => changed.push(id, image),
            Pair::Different { tenant, id, live, .. } => {
                let mut scratch = String::new();
                if self.interpreter.tenant(&namespace.name, live, &mut scratch) != tenant.as_str() {
                    gone.push((tenant.clone(), id.to_vec()));
                    moved += 1;
                }
                changed.push(id, live);
            }
            Pair::Same => {}
        };
        loop {
            let mut batch = RecordBatch::default();
            let more = scan.next(&mut batch, None, self.monitor).await?;
            let batch_bytes: u64 = batch.iter().map(|(_, image)| image.len() as u64).sum();
            records += batch.len() as u64;
            bytes += batch_bytes;
            self.meter.add(batch.len() as u64, batch_bytes);
            comparison.batch(&batch, &mut sink);
            if !more {
                break;
            }
        }
        comparison.rest(&mut sink);
        self.report.records += records;
        self.report.source_bytes += bytes;
        self.differences += changed.len() as u64 + gone.len() as u64 - moved;
        for (tenant, id) in gone {
            self.writer.push_absent(namespace.incarnation, at, tenant.as_str(), &id);
        }
        let mut scratch = String::new();
        self.writer.push(namespace.incarnation, at, changed, |image, owner| {
            owner(self.interpreter.tenant(&namespace.name, image, &mut scratch));
        });
        Ok(())
    }

    /// A definition counts as different only when it stood still while the tick was taken: what changed around it is in
    /// the feed.
    async fn compare_definitions(
        &mut self,
        snapshot: &Snapshot,
        before: &[Namespace],
        after: &[Namespace],
        at: Tick,
    ) -> Result<()> {
        let archived = snapshot.believed(at).await?.definitions().await?;
        let mut batch = RecordBatch::default();
        for namespace in before.iter().filter(|namespace| after.iter().any(|a| a.definition == namespace.definition)) {
            let known = archived.iter().find(|definition| definition.incarnation == namespace.incarnation);
            if known.is_none_or(|definition| definition.image != namespace.definition) {
                batch.push(&namespace.incarnation.record_id(), &namespace.definition);
            }
        }
        for definition in archived {
            let exists = |list: &[Namespace]| list.iter().any(|n| n.incarnation == definition.incarnation);
            if !exists(before) && !exists(after) {
                let id = definition.incarnation.record_id();
                self.writer.push_absent(Incarnation::SYSTEM, at, Tenant::SYSTEM_NAME, &id);
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

/// Captures until everything up to and with `at` is held, by this process or another.
pub(crate) async fn capture_through(
    vault: &Vault,
    source: &dyn Source,
    options: CaptureOptions,
    monitor: &Monitor,
    at: Tick,
) -> Result<()> {
    let report = capture(vault, source, options, monitor).await?;
    monitor.check()?;
    debug_assert!(report.through >= at, "capture ends at or after what it was asked for");
    Ok(())
}

/// Captures up to `at` for a scan that is going on.
async fn follow_through(vault: &Vault, source: &dyn Source, at: Tick, monitor: &Monitor) -> Result<()> {
    let options = CaptureOptions { until: Until::Tick(at), ..CaptureOptions::default() };
    capture_only(vault, source, options, monitor).await?;
    monitor.check()
}
