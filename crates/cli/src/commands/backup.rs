//! `backstay backup`: the base image of a source, brought up to date.

use std::time::{Duration, Instant};

use backstay_engine::{BackupOptions, BackupReport, backup};
use serde::Serialize;

use super::Context;
use crate::args::BackupArgs;
use crate::failure::{Exit, Failure};
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
    at: String,
    at_time: String,
    namespaces: u64,
    drift: Option<u64>,
    resumed: bool,
}

/// Backs up.
///
/// # Errors
/// When the source or the repository fails; what was committed stays.
pub async fn run(context: &Context, args: &BackupArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    let installation = Installation::open(context).await?;
    let source = installation.config.source(&args.source)?;
    let deployment = connect(source).await?;
    let watch = context.watch();
    let done = backup(
        &installation.repository,
        &args.source,
        &deployment,
        source.kind.name(),
        BackupOptions::default(),
        watch.monitor(),
    )
    .await;
    drop(watch);
    let (_, report) = done?;
    let elapsed = started.elapsed();
    let summary = Summary {
        source: &args.source,
        records: report.records,
        source_bytes: report.source_bytes,
        stored_bytes: report.stored_bytes,
        seconds: elapsed.as_secs_f64(),
        at: report.at.to_string(),
        at_time: rfc3339(report.at),
        namespaces: report.namespaces,
        drift: report.drift,
        resumed: report.resumed,
    };
    context.summary(&summary, || describe(context, &args.source, &report, elapsed))?;
    Ok(Exit::Done)
}

fn describe(context: &Context, source: &str, report: &BackupReport, elapsed: Duration) -> String {
    let mut text = format!(
        "backed up {source}: {} records in {} namespaces, {}, stored as {}, in {}",
        count(report.records),
        count(report.namespaces),
        bytes(report.source_bytes),
        bytes(report.stored_bytes),
        duration(elapsed),
    );
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
    let at = show(report.at, context.now.time_zone());
    text.push_str(&format!("\nany instant from {at} on can be restored, as far as capture has come"));
    text
}
