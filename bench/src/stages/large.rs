//! Seven times the data: every command once, for its memory only.

use anyhow::{Context as _, Result};

use crate::orders::{Inputs, ONE_PERCENT};
use crate::program;
use crate::report::Report;
use crate::{Bench, bare};

/// The name of this data set in the report.
pub const NAME: &str = "large";

/// Holds the whole data set.
const OPLOG_MB: u32 = 12_288;

/// Runs every command; one that fails ends the stage.
pub async fn run(bench: &Bench, inputs: &Inputs, report: &mut Report) -> Result<()> {
    let Some(program) = &bench.program else { return Ok(()) };
    if let Err(error) = commands(program, inputs, report).await {
        report.add_failure("commands on 5 GB of data", &error);
    }
    Ok(())
}

async fn commands(program: &std::path::Path, inputs: &Inputs, report: &mut Report) -> Result<()> {
    println!("loading {} documents", inputs.documents);
    let source = bare::server(OPLOG_MB).await?;
    let client = source.client().await?;
    let seconds = bare::insert_made(&client, inputs).await? + bare::build_indexes(&client).await?;
    println!("loaded in {seconds:.1} s");

    let home = program::home(program, &source.uri())?;
    let backup = program::timed(&home, &["backup", "shop", "--json"])?;
    report.add_peak(NAME, "backup", backup.peak_kib);
    let at = backup.summary["at"].as_str().context("backup's summary has no `at`")?;

    let target = bare::server(OPLOG_MB).await?;
    let uri = target.uri();
    let restore = program::timed_restore(&home, &["--at", at, "--into", &uri])?;
    report.add_peak(NAME, "restore", restore.peak_kib);
    drop(target);

    let target = bare::server(OPLOG_MB).await?;
    let uri = target.uri();
    let restore = program::timed_restore(&home, &["--at", at, "--tenant", ONE_PERCENT, "--into", &uri])?;
    report.add_peak(NAME, "restore --tenant", restore.peak_kib);
    drop(target);

    bare::damage(&client).await?;
    let capture = program::timed(&home, &["capture", "shop", "--until", "now", "--json"])?;
    report.add_peak(NAME, "capture", capture.peak_kib);
    let restore = program::timed_restore(&home, &["--at", at, "--in-place"])?;
    report.add_peak(NAME, "restore --in-place", restore.peak_kib);
    Ok(())
}
