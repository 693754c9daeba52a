//! A small collection that is updated often: catching up, and restoring the middle of many updates.
//!
//! Tools that replay a log pay for each update; a sorted archive pays for each document.

use anyhow::{Result, ensure};
use bson::Timestamp;
use mongodb::Client;

use crate::options::Measure;
use crate::program::{self};
use crate::report::{Bar, Report, median};
use crate::{Bench, bare};

const OPLOG_MB: u32 = 2048;
const UPDATES: &str = "restore amid many updates ÷ scan of their entries and bare inserts";
const CAPTURE: &str = "catch-up of capture ÷ bare oplog scan";

/// Where the updates stand in the source's oplog.
struct Interval {
    start: Timestamp,
    middle: Timestamp,
    end: Timestamp,
}

/// Measures all that is wanted on this data set.
pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let hot = &bench.inputs.hot;
    let held = bench.inputs.hold(hot.documents);
    let source = bare::server(OPLOG_MB).await?;
    let client = source.client().await?;
    println!("loading {} documents, then {} updates", hot.documents, hot.updates);
    bare::insert(&client, &held).await?;

    // Each capture needs an archive that ends before the updates.
    let mut homes = Vec::new();
    if let Some(program) = &bench.program {
        let prepare = || {
            let first = program::home(program, &source.uri())?;
            program::timed(&first, &["backup", "shop", "--json"])?;
            let mut homes = vec![first];
            for _ in 1..bench.options.repeats {
                homes.push(program::copy(program, &homes[0])?);
            }
            anyhow::Ok(homes)
        };
        match prepare() {
            Ok(prepared) => homes = prepared,
            Err(error) => {
                report.add_failure(CAPTURE, &error);
                report.add_failure(UPDATES, &error);
                return Ok(());
            }
        }
    }

    let interval = update(bench, &client).await?;
    let (mut scans, mut inserts) = (Vec::new(), Vec::new());
    let mut entries = 0;
    for _ in 0..bench.options.repeats {
        let scan = bare::scan_oplog(&client, interval.start, interval.end).await?;
        println!("bare oplog scan: {} entries in {:.2} s", scan.count, scan.seconds);
        ensure!(scan.count >= hot.updates, "the oplog holds only {} of {} updates", scan.count, hot.updates);
        entries = scan.count;
        scans.push(scan.seconds);

        let mut target = bare::server(OPLOG_MB).await?;
        let seconds = bare::insert(&target.client().await?, &held).await?;
        println!("bare inserts: {seconds:.2} s");
        inserts.push(seconds);
        target.kill().await?;
    }
    let bare_rate = entries as f64 / median(&scans);
    let bare_restore = median(&scans) + median(&inserts);
    if homes.is_empty() {
        report.add(CAPTURE, "entries/s", bare_rate, None, Bar::AtLeast(0.5));
        report.add(UPDATES, "s", bare_restore, None, Bar::AtMost(2.0));
        return Ok(());
    }

    let mut rates = Vec::new();
    for home in &homes {
        match program::timed(home, &["capture", "shop", "--until", "now", "--json"]) {
            Ok(timed) => {
                let captured = timed.summary["entries"].as_f64().unwrap_or(0.0);
                if captured < hot.updates as f64 {
                    let error = anyhow::anyhow!("capture saw only {captured} entries: {}", timed.summary);
                    report.add_failure(CAPTURE, &error);
                }
                report.add_peak("hot", "capture", timed.peak_kib);
                rates.push(captured / timed.seconds);
            }
            Err(error) => {
                report.add_failure(CAPTURE, &error);
                return Ok(());
            }
        }
    }
    report.add(CAPTURE, "entries/s", bare_rate, Some(median(&rates)), Bar::AtLeast(0.5));

    if bench.options.wants(Measure::Updates) {
        let mut seconds = Vec::new();
        for home in &homes {
            match restore(bench, home, interval.middle, report).await {
                Ok(value) => seconds.push(value),
                Err(error) => {
                    report.add_failure(UPDATES, &error);
                    return Ok(());
                }
            }
        }
        report.add(UPDATES, "s", bare_restore, Some(median(&seconds)), Bar::AtMost(2.0));
    }
    Ok(())
}

async fn update(bench: &Bench, client: &Client) -> Result<Interval> {
    let (hot, seed) = (&bench.inputs.hot, bench.inputs.seed);
    let start = bare::newest_tick(client).await?;
    bare::update(client, seed, hot.documents, 0, hot.updates / 2).await?;
    let middle = bare::newest_tick(client).await?;
    bare::update(client, seed, hot.documents, hot.updates / 2, hot.updates).await?;
    let end = bare::newest_tick(client).await?;
    Ok(Interval { start, middle, end })
}

/// Restores the middle, and lets the server count that exactly half of the updates are in it.
async fn restore(
    bench: &Bench,
    home: &backstay_testkit::Backstay,
    middle: Timestamp,
    report: &mut Report,
) -> Result<f64> {
    let hot = &bench.inputs.hot;
    let mut target = bare::server(OPLOG_MB).await?;
    let at = format!("{}:{}", middle.time, middle.increment);
    let timed = program::timed_restore(home, &["--at", &at, "--into", &target.uri()])?;
    report.add_peak("hot", "restore", timed.peak_kib);
    let found = bare::sum_of_versions(&target.client().await?).await?;
    let expected = i64::try_from(hot.documents + hot.updates / 2)?;
    ensure!(found == expected, "the restored documents hold {found} versions, not {expected}");
    target.kill().await?;
    Ok(timed.seconds)
}
