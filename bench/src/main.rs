//! The benchmark: how much Backstay costs on top of moving the same bytes with the bare driver.
//!
//! ```text
//!   inputs/*.json ─> orders (generated, seeded) ─> mongod (source) ──bare scan──────────> nothing      baseline
//!                                                        └──────────backstay backup────> archive      measured
//!                                                  mongod (target) <──bare inserts────── memory       baseline
//!                                                        └──────────backstay restore──── archive      measured
//! ```
//!
//! Every bar is a ratio of two wall times of one run on one machine, server included, so that it means the same on a
//! slow machine and on a fast one. The release build of the `backstay` program is run as a child process, as a person
//! would run it, and its resident memory is watched. Pairs are repeated and the median counts.
//!
//! `stages` holds one file for each data set that is set up: `whole` for the standard one, `hot` for the small and
//! often updated one, `beside` for the standard one while others write to it, `large` for memory on 5 GB.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]

mod bare;
mod chance;
mod options;
mod orders;
mod program;
mod report;
mod stages;
mod words;
mod writers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::options::{Measure, Options};
use crate::orders::Inputs;
use crate::report::{Bar, Report};

/// The most memory that any command may need, in MiB.
const MEMORY_BAR: f64 = 384.0;
/// How much more it may need for much more data.
const GROWTH_BAR: f64 = 1.15;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let program = if options.baselines { None } else { Some(backstay_testkit::built_program()?) };
    let mut report = Report::default();
    let inputs = inputs(if options.quick { "quick" } else { "standard" })?;
    describe(&mut report, &inputs)?;

    let bench = Bench { options, program, inputs };
    if bench.options.wants_any(&[Measure::Backup, Measure::Restore, Measure::InPlace, Measure::Tenant, Measure::Memory])
    {
        stages::whole::run(&bench, &mut report).await?;
    }
    if bench.options.wants_any(&[Measure::Updates, Measure::Capture]) {
        stages::hot::run(&bench, &mut report).await?;
    }
    if bench.options.wants(Measure::Beside) && bench.program.is_some() {
        stages::beside::run(&bench, &mut report).await?;
    }
    if bench.options.large && bench.options.wants(Measure::Memory) && bench.program.is_some() {
        stages::large::run(&bench, &self::inputs("large")?, &mut report).await?;
    }
    judge_memory(&mut report);

    report.print();
    let path = folder().join("results/latest.json");
    report.write(&path)?;
    Ok(if report.all_pass() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What all stages share.
pub struct Bench {
    /// As given.
    pub options: Options,
    /// The `backstay` to measure; none when only baselines are wanted.
    pub program: Option<PathBuf>,
    /// The data set.
    pub inputs: Inputs,
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn inputs(name: &str) -> Result<Inputs> {
    let path = folder().join(format!("inputs/{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not an input", path.display()))
}

fn describe(report: &mut Report, inputs: &Inputs) -> Result<()> {
    let cores = std::thread::available_parallelism()?;
    let mongod = std::process::Command::new(backstay_testkit::mongod()?).arg("--version").output()?;
    let mongod = String::from_utf8_lossy(&mongod.stdout).lines().next().unwrap_or_default().to_owned();
    report.about.insert("machine", format!("{cores} cores, servers included"));
    report.about.insert("server", mongod);
    report.about.insert("inputs", inputs.about.clone());
    Ok(())
}

fn judge_memory(report: &mut Report) {
    let (small, large) = (report.peak_mib(stages::whole::NAME), report.peak_mib(stages::large::NAME));
    if let Some(small) = small {
        report.add("peak memory of any command ÷ 384 MiB", "MiB", MEMORY_BAR, Some(small), Bar::AtMost(1.0));
    }
    if let Some(large) = large {
        report.add("the same at 5 GB of data", "MiB", MEMORY_BAR, Some(large), Bar::AtMost(1.0));
    }
    if let (Some(small), Some(large)) = (small, large) {
        report.add("peak memory at 5 GB ÷ at 700 MB", "MiB", small, Some(large), Bar::AtMost(GROWTH_BAR));
    }
}
