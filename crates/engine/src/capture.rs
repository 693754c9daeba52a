//! Following a source's changes.
//!
//! ```text
//!   take up what is protected ──▶ close an open gap ──▶ follow the feed ──▶ until told to stop
//!                                         ▲                   │ what cannot be archived, or is lost
//!                                         └───────────────────┘
//! ```
//!
//! How a feed that goes on becomes commits is told in [`follower`]. Two captures of one source do no harm: whoever commits
//! second finds the frontier moved, drops what it collected, and goes on from there.
//!
//! Before anything is followed, what the configuration protects is taken up; see [`crate::protection`].
//!
//! When the feed no longer reaches back to the frontier, changes are lost for good. That is committed first, as a gap
//! with its cause; then the source is scanned again, and the gap ends where the scan is consistent. The same where the feed
//! says that records change and not which, or where a namespace comes under protection by its new name: the gap begins just before
//! that entry, which is not archived. A rename after which other tenant rules hold is no gap: its records are filed under
//! their new tenants first, out of the archive.

mod follower;

use std::time::Duration;

use backstay_archive::Vault;
use backstay_ledger::VaultState;
use backstay_model::{Protection, Tick};
use backstay_source::{Source, Start, Topology};

use self::follower::{Course, Follower, Progress};

use crate::backup::scan_over_gap;
use crate::breaks::{Passed, get_over, open_gap, open_gap_before, open_gap_unshown};
use crate::monitor::Meter;
use crate::protection::take_up;
use crate::{Error, Monitor, Phase, Result};

/// When to stop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// When everything that the source had committed at the start is held.
    Now,
    /// When everything up to and with this tick is held.
    Tick(Tick),
    /// When told to.
    Cancelled,
}

/// How long changes are held in memory at most, unless it is said otherwise: a write can be restored well within two seconds.
pub const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// How to follow.
#[derive(Clone, Copy, Debug)]
pub struct CaptureOptions {
    /// When to stop.
    pub until: Until,
    /// How long changes may be held in memory before they are committed.
    pub tick: Duration,
}

impl Default for CaptureOptions {
    fn default() -> CaptureOptions {
        CaptureOptions { until: Until::Cancelled, tick: COMMIT_EVERY }
    }
}

/// What was captured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CaptureReport {
    /// How many entries of the feed were archived.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything up to and with this tick is held.
    pub through: Tick,
    /// How far that is behind the clock, in seconds.
    pub lag_seconds: u64,
    /// How many gaps were found.
    pub gaps: u64,
}

/// How long a source may be out of reach before a capture that is to end by itself gives up.
const PATIENCE_MS: u64 = 60_000;

/// Follows `source` into `vault`.
pub async fn capture(
    vault: &Vault,
    source: &dyn Source,
    options: CaptureOptions,
    monitor: &Monitor,
) -> Result<CaptureReport> {
    if !vault.refresh().await?.frontiers().is_empty() && take_up(vault, source).await? {
        let mut report = follow(vault, source, options, monitor, true).await?;
        report.gaps += 1;
        return Ok(report);
    }
    follow(vault, source, options, monitor, true).await
}

/// Like [`capture`], for a scan that is going on: neither begins another, nor takes a feed that has rolled over, or that
/// cannot be followed, for more than an error.
pub(crate) async fn capture_only(
    vault: &Vault,
    source: &dyn Source,
    options: CaptureOptions,
    monitor: &Monitor,
) -> Result<CaptureReport> {
    follow(vault, source, options, monitor, false).await
}

async fn follow(
    vault: &Vault,
    source: &dyn Source,
    options: CaptureOptions,
    monitor: &Monitor,
    close_gaps: bool,
) -> Result<CaptureReport> {
    let topology = source.discover().await?;
    let stream = stream_of(&topology)?;
    // What continues what is held is the source that it was captured of, also where that was not to be seen.
    let mut is_unbroken = true;
    let until = match options.until {
        Until::Now => Some(source.position().await?.committed),
        Until::Tick(tick) => Some(tick),
        Until::Cancelled => None,
    };
    let mut report = CaptureReport::default();
    let mut meter = Meter::new(monitor, Phase::Capture, None);
    let mut trouble_since: Option<u64> = None;
    let (protection, interpreter) = (source.protection(), source.interpreter());
    let mut reassigned = Tick::ZERO;
    let world = vault.repository().world().clone();
    loop {
        let state = vault.refresh().await?;
        let Some(frontier) = state.frontier(&stream) else {
            return Err(Error::NoBase { source_name: vault.name().to_owned() });
        };
        if !still_protects(&state, &protection) {
            return Err(other_protection(vault));
        }
        report.through = frontier.through;
        report.lag_seconds = world.now().saturating_sub(u64::from(frontier.through.seconds()));
        is_unbroken &= state.open_gap().is_none() && !state.completed_scans().is_empty();
        if close_gaps && state.open_gap().is_some() && !monitor.is_cancelled() {
            match Box::pin(scan_over_gap(vault, source, monitor)).await {
                // The next capture goes on with the gap; what was committed before it counts.
                Ok(()) | Err(Error::Cancelled) => continue,
                Err(error) => return Err(error),
            }
        }
        if monitor.is_cancelled() || until.is_some_and(|until| until <= frontier.through) {
            return Ok(report);
        }
        let start = Start { resume: frontier.resume, through: frontier.through };
        let followed = match source.tail(start).await {
            Ok(tail) => {
                let mut follower = Follower {
                    vault,
                    stream: &stream,
                    protection: &protection,
                    interpreter: &interpreter,
                    reassigned,
                    options,
                    until,
                    monitor,
                    meter: &mut meter,
                    frontier,
                    found: is_unbroken.then_some(&topology),
                    course: Course::default(),
                };
                let followed = follower.follow(tail).await;
                report.entries += follower.course.committed.0;
                report.bytes += follower.course.committed.1;
                followed
            }
            Err(error) => Err(error.into()),
        };
        match followed {
            Ok(Progress::Done) => {}
            Ok(Progress::Overtaken) => tracing::info!("another capture moved the frontier; going on from there"),
            Ok(Progress::Broken(at, found)) => {
                match get_over(vault, &stream, &protection, &interpreter, at, found).await? {
                    Passed::Reassigned => reassigned = at,
                    Passed::Not(cause) if close_gaps => {
                        open_gap_before(vault, &stream, at, &cause).await?;
                        report.gaps += 1;
                    }
                    Passed::Not(cause) => return Err(Error::Unfollowable { at, cause }),
                }
            }
            Err(Error::Source(backstay_source::Error::RolledOver { wanted, oldest })) if close_gaps => {
                open_gap(vault, &stream, wanted, oldest).await?;
                report.gaps += 1;
            }
            Err(Error::Source(backstay_source::Error::Unshown { after, why })) if close_gaps => {
                open_gap_unshown(vault, &stream, after, &why).await?;
                report.gaps += 1;
            }
            Err(Error::Source(error @ backstay_source::Error::Unavailable { .. })) => {
                let moved = vault.state().await.frontier(&stream) != Some(frontier);
                let since = *trouble_since.get_or_insert(world.elapsed_ms());
                if moved {
                    trouble_since = None;
                } else if until.is_some() && world.elapsed_ms().saturating_sub(since) > PATIENCE_MS {
                    return Err(error.into());
                }
                tracing::warn!(%error, "the source is out of reach; trying again");
                monitor.sleep(Duration::from_secs(1)).await;
                continue;
            }
            Err(error) => return Err(error),
        }
        trouble_since = None;
    }
}

/// Whether the ledger still says that `protection` is what is protected, or has never said anything.
pub(crate) fn still_protects(state: &VaultState, protection: &Protection) -> bool {
    state.protection().is_none_or(|recorded| recorded == protection)
}

fn other_protection(vault: &Vault) -> Error {
    Error::Archive(backstay_archive::Error::Conflict(format!(
        "another process protects other namespaces of `{}` than this one, or by other tenant rules: stop one of the two, \
         or give both the same configuration",
        vault.name()
    )))
}

/// The one change feed of a source.
pub(crate) async fn only_stream(source: &dyn Source) -> Result<String> {
    stream_of(&source.discover().await?)
}

fn stream_of(topology: &Topology) -> Result<String> {
    match topology.streams.as_slice() {
        [stream] => Ok(stream.clone()),
        streams => Err(Error::Source(backstay_source::Error::Refused {
            what: format!("following {}", topology.product),
            why: format!("it has {} change feeds; this version follows exactly one", streams.len()),
        })),
    }
}
