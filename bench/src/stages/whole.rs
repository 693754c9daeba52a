//! The standard data set in one collection: backup, full restore, repair in place, one tenant.

use anyhow::{Context as _, Result, ensure};
use backstay_testkit::{Backstay, ReplicaSet};
use mongodb::Client;

use crate::options::Measure;
use crate::orders::{Held, ONE_PERCENT};
use crate::program::{self, Timed};
use crate::report::{Bar, Report, median};
use crate::{Bench, bare};

/// The name of this data set in the report.
pub const NAME: &str = "standard";

/// Holds the whole data set and the damage done to it.
const OPLOG_MB: u32 = 4096;

/// Measures all that is wanted on this data set.
pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let held = bench.inputs.hold(bench.inputs.documents);
    describe(&held, report)?;

    let source = bare::server(OPLOG_MB).await?;
    let client = source.client().await?;
    println!("loading the source");
    bare::insert(&client, &held).await?;
    bare::build_indexes(&client).await?;
    bare::settle(&client).await?;

    let home = backup(bench, &source, &client, &held, report).await?;
    let Some((home, at)) = restorable(home, bench, report) else {
        if bench.program.is_none() && bench.options.wants(Measure::Restore) {
            let seconds = bare_inserts(bench, &held).await?;
            report.add(RESTORE, "s", seconds, None, Bar::AtMost(1.5));
        }
        return Ok(());
    };

    let full = restore(bench, &home, &at, &held, report).await?;
    drop(held);
    if bench.options.wants_any(&[Measure::Tenant, Measure::Memory]) {
        let measured = tenant(bench, &home, &at, report).await;
        add(report, TENANT, full, measured, Bar::AtMost(0.08));
    }
    if bench.options.wants_any(&[Measure::InPlace, Measure::Memory]) {
        let measured = in_place(bench, &home, &at, &client, report).await;
        add(report, IN_PLACE, full, measured, Bar::AtMost(0.15));
    }
    Ok(())
}

const BACKUP: &str = "backup ÷ bare scan";
const STORED: &str = "stored bytes ÷ BSON bytes";
const RESTORE: &str = "full restore ÷ bare inserts and index builds";
const TENANT: &str = "restore of a tenant with 1 % ÷ full restore";
const IN_PLACE: &str = "restore in place after 1 % was damaged ÷ full restore";

fn add(report: &mut Report, measure: &str, baseline: f64, measured: Result<f64>, bar: Bar) {
    match measured {
        Ok(seconds) => report.add(measure, "s", baseline, Some(seconds), bar),
        Err(error) => report.add_failure(measure, &error),
    }
}

/// Prints the size, and how far zstd alone takes the stream of documents.
fn describe(held: &Held, report: &mut Report) -> Result<()> {
    let sample: Vec<u8> = held
        .batches
        .iter()
        .take(100)
        .flat_map(|batch| batch.iter())
        .flat_map(|document| document.as_bytes())
        .copied()
        .collect();
    let ratio = |level| anyhow::Ok(zstd::bulk::compress(&sample, level)?.len() as f64 / sample.len() as f64);
    let text = format!(
        "{:.0} MB of BSON; zstd -1 takes it to {:.3}, -3 to {:.3} (of the first {} MB)",
        held.bytes as f64 / 1e6,
        ratio(1)?,
        ratio(3)?,
        sample.len() / 1_000_000,
    );
    println!("{text}");
    report.about.insert("data", text);
    Ok(())
}

/// Pairs of a bare scan and a backup into a new archive; the last archive, and the time it can be restored to.
async fn backup(
    bench: &Bench,
    source: &ReplicaSet,
    client: &Client,
    held: &Held,
    report: &mut Report,
) -> Result<Option<Result<(Backstay, Timed)>>> {
    let (mut scans, mut backups, mut last) = (Vec::new(), Vec::new(), None);
    // The first scan after the load only warms the server up.
    bare::scan(client).await?;
    // Later measures need one archive; only this one needs more.
    let wanted = bench.options.wants(Measure::Backup);
    for _ in 0..if wanted { bench.options.repeats } else { 1 } {
        let scan = bare::scan(client).await?;
        ensure!(scan.count == bench.inputs.documents, "the scan saw {} documents", scan.count);
        println!("bare scan: {:.2} s, {:.0} MB/s", scan.seconds, scan.bytes as f64 / 1e6 / scan.seconds);
        scans.push(scan.seconds);
        let Some(program) = &bench.program else { continue };
        let run = || {
            let home = program::home(program, &source.uri())?;
            let timed = program::timed(&home, &["backup", "shop", "--json"])?;
            anyhow::Ok((home, timed))
        };
        match run() {
            Ok((home, timed)) => {
                report.add_peak(NAME, "backup", timed.peak_kib);
                backups.push(timed.seconds);
                last = Some((home, timed));
            }
            Err(error) => return Ok(Some(Err(error))),
        }
    }
    if wanted {
        let measured = (!backups.is_empty()).then(|| median(&backups));
        report.add(BACKUP, "s", median(&scans), measured, Bar::AtMost(1.8));
    }
    let Some((home, timed)) = last else { return Ok(None) };
    if wanted {
        let stored = program::archive_bytes(&home)? as f64 / 1e6;
        report.add(STORED, "MB", held.bytes as f64 / 1e6, Some(stored), Bar::AtMost(0.40));
    }
    Ok(Some(Ok((home, timed))))
}

fn restorable(
    home: Option<Result<(Backstay, Timed)>>,
    bench: &Bench,
    report: &mut Report,
) -> Option<(Backstay, String)> {
    let at = |timed: &Timed| timed.summary["at"].as_str().map(str::to_owned);
    let found = home?.and_then(|(home, timed)| {
        let at = at(&timed).with_context(|| format!("backup's summary has no `at`: {}", timed.summary))?;
        Ok((home, at))
    });
    match found {
        Ok(found) => {
            let later = [Measure::Restore, Measure::InPlace, Measure::Tenant, Measure::Memory];
            bench.options.wants_any(&later).then_some(found)
        }
        Err(error) => {
            report.add_failure(BACKUP, &error);
            None
        }
    }
}

/// Bare inserts and index builds into new servers; the median.
async fn bare_inserts(bench: &Bench, held: &Held) -> Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..bench.options.repeats {
        seconds.push(bare_insert(held).await?);
    }
    Ok(median(&seconds))
}

async fn bare_insert(held: &Held) -> Result<f64> {
    let mut target = bare::server(OPLOG_MB).await?;
    let client = target.client().await?;
    let (insert, index) = (bare::insert(&client, held).await?, bare::build_indexes(&client).await?);
    println!("bare inserts: {insert:.2} s, index builds: {index:.2} s");
    client.shutdown().await;
    target.kill().await?;
    Ok(insert + index)
}

/// Pairs of bare inserts and a full restore, each into a new server; the median of the restores.
async fn restore(bench: &Bench, home: &Backstay, at: &str, held: &Held, report: &mut Report) -> Result<f64> {
    let (mut baselines, mut restores) = (Vec::new(), Vec::new());
    for _ in 0..bench.options.repeats {
        baselines.push(bare_insert(held).await?);
        match into_new_server(home, &["--at", at]).await {
            Ok(timed) => {
                report.add_peak(NAME, "restore", timed.peak_kib);
                restores.push(timed.seconds);
            }
            Err(error) => {
                report.add_failure(RESTORE, &error);
                return Ok(f64::NAN);
            }
        }
    }
    report.add(RESTORE, "s", median(&baselines), Some(median(&restores)), Bar::AtMost(1.5));
    Ok(median(&restores))
}

async fn into_new_server(home: &Backstay, args: &[&str]) -> Result<Timed> {
    let mut target = bare::server(OPLOG_MB).await?;
    let uri = target.uri();
    let timed = program::timed_restore(home, &[args, &["--into", &uri]].concat())?;
    target.kill().await?;
    Ok(timed)
}

async fn tenant(bench: &Bench, home: &Backstay, at: &str, report: &mut Report) -> Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..bench.options.repeats {
        let timed = into_new_server(home, &["--at", at, "--tenant", ONE_PERCENT]).await?;
        let written = timed.summary["plan"]["insert"].as_u64();
        ensure!(written == Some(bench.inputs.documents / 100), "the tenant has {written:?} documents");
        report.add_peak(NAME, "restore --tenant", timed.peak_kib);
        seconds.push(timed.seconds);
    }
    Ok(median(&seconds))
}

/// Damages the live data, lets capture see it (as it would have, running beside), and takes it back.
async fn in_place(bench: &Bench, home: &Backstay, at: &str, client: &Client, report: &mut Report) -> Result<f64> {
    let mut seconds = Vec::new();
    for _ in 0..bench.options.repeats {
        let (changed, deleted) = bare::damage(client).await?;
        let capture = program::timed(home, &["capture", "shop", "--until", "now", "--json"])?;
        report.add_peak(NAME, "capture", capture.peak_kib);
        bare::settle(client).await?;
        let timed = program::timed_restore(home, &["--at", at, "--in-place"])?;
        let plan = &timed.summary["plan"];
        let planned = (plan["replace"].as_u64(), plan["insert"].as_u64());
        ensure!(planned == (Some(changed), Some(deleted)), "{changed} changed, {deleted} deleted, but plan: {plan}");
        report.add_peak(NAME, "restore --in-place", timed.peak_kib);
        seconds.push(timed.seconds);
    }
    Ok(median(&seconds))
}
