//! `backstay backup`: the base image of a source, brought up to date.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backstay_archive::Duty;
use backstay_engine::{BackupOptions, BackupReport, Paced, backup_into};
use backstay_model::{Span, Tick};
use backstay_source::Source;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Context;
use crate::args::BackupArgs;
use crate::failure::{Exit, Failure};
use crate::holding::{claim, hold};
use crate::installation::{Installation, connect};
use crate::output::{bytes, count, duration};
use crate::time::{rfc3339, show};

#[derive(Serialize)]
struct Summary<'a> {
    source: &'a str,
    records: u64,
    source_bytes: u64,
    stored_bytes: u64,
    seconds: f64,
    /// Of these, for how long reading waited, to be kind to the source.
    waited_seconds: f64,
    at: String,
    at_time: String,
    /// From here on instants can be restored, but for the gaps.
    earliest: String,
    earliest_time: String,
    namespaces: u64,
    drift: Option<u64>,
    resumed: bool,
}

/// Backs up.
///
/// # Errors
/// When another backup is going on, or the source or the repository fails; what was committed stays.
pub async fn run(context: &Context, args: &BackupArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    let installation = Installation::open(context).await?;
    let source = installation.config.source(&args.source)?;
    let watch = context.watch();
    let pace = source.pace.pace(args.now, context.now.time_zone());
    let deployment = Arc::new(connect(source, installation.scratch.clone()).await?);
    let paced = Paced::new(deployment, pace, watch.monitor(), installation.world());
    let found = paced.discover().await?;
    let (kind, stand_in) = (source.kind.name(), found.stand_in.as_deref());
    let vault = installation.repository.vault_known_by(&args.source, kind, &found.identity, stand_in).await?;
    let vault = claim(&vault, &[Duty::Scan], args.take_over).await?;
    let done = hold(&vault, backup_into(&vault, &paced, BackupOptions::default(), watch.monitor())).await;
    drop(watch);
    let report = done?;
    let spans = vault.coverage().await.spans();
    let earliest = spans.first().map_or(report.at, |span| span.from);
    let elapsed = started.elapsed();
    let summary = Summary {
        source: &args.source,
        records: report.records,
        source_bytes: report.source_bytes,
        stored_bytes: report.stored_bytes,
        seconds: elapsed.as_secs_f64(),
        waited_seconds: paced.waited().as_secs_f64(),
        at: report.at.to_string(),
        at_time: rfc3339(report.at),
        earliest: earliest.to_string(),
        earliest_time: rfc3339(earliest),
        namespaces: report.namespaces,
        drift: report.drift,
        resumed: report.resumed,
    };
    let waited = paced.waited();
    context.summary(&summary, || describe(context, &args.source, &report, &spans, elapsed, waited))?;
    Ok(Exit::Done)
}

fn describe(
    context: &Context,
    source: &str,
    report: &BackupReport,
    spans: &[Span],
    elapsed: Duration,
    waited: Duration,
) -> String {
    let mut text = format!(
        "backed up {source}: {} records in {} namespaces, {}, stored as {}, in {}",
        count(report.records),
        count(report.namespaces),
        bytes(report.source_bytes),
        bytes(report.stored_bytes),
        duration(elapsed),
    );
    if waited >= Duration::from_secs(1) {
        text.push_str(&format!("\nwaited {} of that, to be kind to the source", duration(waited)));
    }
    if report.resumed {
        text.push_str("\nwent on with a backup that had been interrupted");
    }
    match report.drift {
        None => {}
        Some(0) => text.push_str("\nno drift: the source is what the archive said it is"),
        Some(drift) => {
            text.push_str(&format!("\ndrift: {} records were not what the archive said; corrected", count(drift)));
        }
    }
    text.push('\n');
    text.push_str(&restorable(source, spans, report.at, context.now.time_zone()));
    text
}

/// Which instants can be restored: from the first span on, which a later backup does not move.
fn restorable(source: &str, spans: &[Span], at: Tick, zone: &TimeZone) -> String {
    let earliest = show(spans.first().map_or(at, |span| span.from), zone);
    let gaps = match spans.len().saturating_sub(1) {
        0 => String::new(),
        1 => format!(", but for one gap that backstay timeline {source} shows"),
        gaps => format!(", but for {gaps} gaps that backstay timeline {source} shows"),
    };
    format!("any instant from {earliest} on can be restored, as far as capture has come{gaps}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_backup_does_not_move_the_first_instant() {
        let span = |from: u32, to: u32| Span { from: Tick::new(from, 1), to: Tick::new(to, 1) };
        let spans = [span(1_763_733_785, 1_763_733_790), span(1_763_733_795, 1_763_733_900)];
        let at = Tick::new(1_763_733_880, 1);
        assert_eq!(
            restorable("shop", &spans[1..], at, &TimeZone::UTC),
            "any instant from 2025-11-21 14:03:15 +00:00 (1763733795:1) on can be restored, as far as capture has come"
        );
        let text = restorable("shop", &spans, at, &TimeZone::UTC);
        assert!(text.contains("from 2025-11-21 14:03:05 +00:00 (1763733785:1) on"), "{text}");
        assert!(text.ends_with("but for one gap that backstay timeline shop shows"), "{text}");
    }
}
