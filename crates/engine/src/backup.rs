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

mod base;
mod drift;
mod lane;
mod ranges;

use std::ops::Bound;
use std::time::Duration;

use backstay_archive::{BaseWriter, Duty, Repository, Vault};
use backstay_ledger::{Fact, VaultState};
use backstay_model::{IdRange, Incarnation, NamespaceKind, Protection, Tick, crash_point};
use backstay_source::{Error as SourceError, Namespace, Source};

use self::base::BaseJob;
use self::drift::DriftJob;
use self::lane::Piece;
use self::ranges::without;
use crate::breaks::{open_gap, open_gap_before, open_gap_unshown};
use crate::capture::{CaptureOptions, Until, capture, capture_only, only_stream};
use crate::monitor::Meter;
use crate::protection::{fact, take_up};
use crate::scan::Clock;
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
    /// After the first backup, and not over a gap: how many records differed from what the archive said they were.
    pub drift: Option<u64>,
}

/// How often a scan begins anew because the feed rolled over beneath it, or could not be followed.
const SCANS: u32 = 3;

/// How long to wait between looks at an idle source that has nothing newer to read yet.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(250);

/// About how many bytes a range holds that is read in one go.
const RANGE_LEN: u64 = 256 << 20;

/// A namespace of at most this many bytes is read whole: it costs seconds to read it anew after an interruption, and
/// reading it in order would cost half again as much every time.
const WHOLE_LEN: u64 = 2 << 30;

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
    let vault = repository.vault_known_by(name, kind, &topology.identity, topology.stand_in.as_deref()).await?;
    let report = backup_into(&vault, source, options, monitor).await?;
    Ok((vault, report))
}

/// Brings the base image of `source` in its vault up to date, under the claims of this handle.
pub async fn backup_into(
    vault: &Vault,
    source: &dyn Source,
    options: BackupOptions,
    monitor: &Monitor,
) -> Result<BackupReport> {
    let state = vault.state().await;
    let first = state.completed_scans().is_empty();
    if !first || state.protection().is_some() {
        take_up(vault, source).await?;
    }
    scan(vault, source, options, monitor, first).await
}

/// Scans the source over an open gap, and closes it. Whatever scan was going on when the gap opened counts for nothing
/// any more, so whoever is at it is fenced.
pub(crate) async fn scan_over_gap(vault: &Vault, source: &dyn Source, monitor: &Monitor) -> Result<()> {
    vault.take_over(&Duty::Scan).await?;
    let first = vault.state().await.completed_scans().is_empty();
    let scanned = scan(vault, source, BackupOptions::default(), monitor, first).await.map(drop);
    let given_back = vault.give_back(&Duty::Scan).await;
    scanned.and(given_back.map_err(Error::from))
}

/// Scans the source. When the feed rolls over beneath the scan, or cannot be followed, that is a gap like any other, and
/// the scan begins anew.
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
        let mut begun = None;
        let done = match first {
            true => first_backup(vault, source, options, monitor, &mut begun).await,
            false => again(vault, source, monitor, &mut begun).await,
        };
        match done {
            Err(Error::Source(SourceError::RolledOver { wanted, oldest })) if left > 0 => {
                if !first {
                    open_gap(vault, &only_stream(source).await?, wanted, oldest).await?;
                }
            }
            Err(Error::Source(SourceError::Unshown { after, why })) if left > 0 => {
                if !first {
                    open_gap_unshown(vault, &only_stream(source).await?, after, &why).await?;
                }
            }
            Err(Error::Unfollowable { at, cause }) if left > 0 => {
                open_gap_before(vault, &only_stream(source).await?, at, &cause).await?;
            }
            Err(Error::Archive(error)) => {
                return Err(Error::Archive(match (error, begun) {
                    (error @ backstay_archive::Error::Fenced { .. }, _) => error,
                    (_, Some(scan)) if was_ended_by_another(vault, scan).await => taken_over(vault),
                    (error, _) => error,
                }));
            }
            done => return done,
        }
    }
}

/// Whether a scan that this process began or took up was ended by somebody else.
async fn was_ended_by_another(vault: &Vault, scan: [u8; 16]) -> bool {
    vault.refresh().await.is_ok_and(|state| {
        let completed = state.completed_scans().iter().any(|done| done.id == scan);
        !completed && state.running_scans().all(|running| running.id != scan)
    })
}

fn taken_over(vault: &Vault) -> backstay_archive::Error {
    backstay_archive::Error::Conflict(format!(
        "another backup or capture of `{}` has begun a scan of its own while this one was at work, and only one counts: \
         let the other come to its end, then run this again",
        vault.name()
    ))
}

// ---------------------------------------------------------------------------------------------- the first time

async fn first_backup(
    vault: &Vault,
    source: &dyn Source,
    options: BackupOptions,
    monitor: &Monitor,
    begun: &mut Option<[u8; 16]>,
) -> Result<BackupReport> {
    let stream = only_stream(source).await?;
    let state = vault.refresh().await?;
    let position = source.position().await?;
    let (scan, from, resumed) = match resumable(&state, position.oldest) {
        Some((scan, from)) => (scan, from, true),
        None => {
            let scan = vault.repository().world().id();
            start_scan(vault, &stream, scan, position.committed, &source.protection()).await?;
            (scan, position.committed, false)
        }
    };
    *begun = Some(scan);
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
        if namespace.bytes <= WHOLE_LEN || namespace.kind == NamespaceKind::Ordered {
            let read = covered.iter().any(|(read, range)| *read == namespace.incarnation && *range == IdRange::all());
            work.extend((!read).then_some((namespace, Piece::Whole)));
            continue;
        }
        for range in source.split(namespace, RANGE_LEN).await? {
            let rest = without(range, &covered, namespace.incarnation);
            work.extend(rest.into_iter().map(|range| (namespace, Piece::Range(range))));
        }
    }
    let lanes = options.parallel.clamp(1, work.len().max(1));
    job.run(&namespaces, work, from, &mut clock, lanes).await?;
    if !source.capabilities().snapshot_scans {
        // All was read as it is now: the base is consistent from no earlier tick on.
        clock.renew(source, world.as_ref()).await?;
    }
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
fn resumable(state: &VaultState, oldest: Option<Tick>) -> Option<([u8; 16], Tick)> {
    if state.open_gap().is_some() {
        return None;
    }
    // Where the source does not tell, what was begun may have a hole behind it.
    let oldest = oldest?;
    state.running_scans().find(|scan| scan.from >= oldest).map(|scan| (scan.id, scan.from))
}

async fn start_scan(vault: &Vault, stream: &str, scan: [u8; 16], from: Tick, protection: &Protection) -> Result<()> {
    vault
        .commit(|state| {
            let mut facts = Vec::new();
            for old in state.running_scans() {
                let segments: Vec<[u8; 16]> = state.segments_of_scan(old.id).map(|segment| segment.id).collect();
                facts.extend(segments.into_iter().map(Fact::SegmentRemoved));
                facts.push(Fact::ScanAbandoned { scan: old.id, why: "it cannot be resumed any more".to_owned() });
            }
            if state.completed_scans().is_empty() {
                // Whatever was followed before this scan has a hole behind it; the new base is to stand on nothing else.
                let followed = state.tails().chain(state.delta_runs()).filter(|segment| segment.scan.is_none());
                facts.extend(followed.map(|segment| Fact::SegmentRemoved(segment.id)));
            }
            facts.push(Fact::ScanStarted { scan, from });
            if state.protection().is_none() {
                facts.push(fact(from, protection));
            }
            let through = state.frontier(stream).map_or(from, |frontier| frontier.through.max(from));
            let resume = state.frontier(stream).map_or(from, |frontier| frontier.resume.max(from));
            facts.push(Fact::Frontier { stream: stream.to_owned(), through, resume });
            Ok(facts)
        })
        .await?;
    Ok(())
}

/// The namespace under the name that it has now, if it still exists.
async fn find_again(source: &dyn Source, namespace: &Namespace) -> Result<Option<Namespace>> {
    let now = source.namespaces().await?;
    Ok(now.into_iter().find(|found| found.incarnation == namespace.incarnation))
}

/// What the committed segments of a scan cover. A cover with both ends inside may be of a namespace that was being read
/// whole, which names the ids that it holds and not all between them: such a stretch is read again.
fn covered(state: &VaultState, scan: [u8; 16]) -> Vec<(Incarnation, IdRange)> {
    state
        .segments_of_scan(scan)
        .flat_map(|segment| segment.covers.iter().map(|cover| (cover.incarnation, cover.range.clone())))
        .filter(|(_, range)| !matches!((&range.from, &range.to), (Bound::Included(_), Bound::Included(_))))
        .collect()
}

// ------------------------------------------------------------------------------------------------- once more

/// Scans again and archives only what differs from what the archive says.
async fn again(
    vault: &Vault,
    source: &dyn Source,
    monitor: &Monitor,
    begun: &mut Option<[u8; 16]>,
) -> Result<BackupReport> {
    let stream = only_stream(source).await?;
    let world = vault.repository().world().clone();
    let in_gap = vault.refresh().await?.open_gap().is_some();
    let scan = world.id();
    let committed = source.position().await?.committed;
    match in_gap {
        true => start_scan(vault, &stream, scan, committed, &source.protection()).await?,
        false => {
            let from = vault.state().await.frontier(&stream).map_or(committed, |frontier| frontier.through);
            let abandoned = |state: &VaultState| -> Vec<Fact> {
                let why = "another scan began".to_owned();
                state.running_scans().map(|old| Fact::ScanAbandoned { scan: old.id, why: why.clone() }).collect()
            };
            vault.commit(|state| Ok([abandoned(state), vec![Fact::ScanStarted { scan, from }]].concat())).await?;
        }
    }
    *begun = Some(scan);
    crash_point("backup.started");
    if let Some(after) = vault.state().await.open_gap().map(|gap| gap.after) {
        // What is scanned is not to change what was true before the gap.
        while source.snapshot().await? <= after {
            monitor.check()?;
            monitor.sleep(SNAPSHOT_PAUSE).await;
        }
    }
    let mut job = DriftJob {
        vault,
        source,
        monitor,
        interpreter: source.interpreter(),
        writer: BaseWriter::differences(vault, scan),
        meter: Meter::new(monitor, Phase::Scan, None),
        report: BackupReport::default(),
        differences: 0,
        in_gap,
    };
    let last = job.run().await?;
    crash_point("backup.scanned");
    let mut report = job.report;
    report.at = last;
    // Over a gap the source is not expected to be what the archive said.
    report.drift = (!in_gap).then_some(job.differences);
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
