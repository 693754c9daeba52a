//! Beside the source's own writers: how far capture is behind them, and what they notice of it.
//!
//! ```text
//!   10,000 updates/s        alone | capture | alone | capture | alone | …
//!   2,000, then 10,000      alone | base scan | alone | base scan | alone | …
//!                                   └── p99 of the commands' latency, phase by phase; the median of the phases ÷ that of the others
//!                                   └── p99 of capture's lag
//! ```
//!
//! A phase of capture begins when it has caught up with what was written before it was started; what the writers notice of
//! that is told apart.
//!
//! A server keeps each version of a record for five minutes. Under 10,000 updates a second on two cores that alone brings it
//! to its limits, beyond which commands queue up for seconds, whoever else is there: p99 was 15 times as long in one phase as
//! in the one before. So there it keeps them for five seconds beside capture, which needs none of them, and for two minutes
//! beside a base scan, which reads at an instant for up to one; at 2,000 a second as it does by default.
//! Even so a stall of a fifth of a second is the p99 of a phase, hence the medians; each phase is told.
//!
//! The writers update a fiftieth of the documents: a server on two cores bears so many updates only of what is hot.
//! The lag of a write is the time from its answer until capture said that its instant can be restored.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use backstay_testkit::{Backstay, Running, Signal};
use bson::Timestamp;
use mongodb::Client;
use mongodb::options::ClientOptions;

use crate::program;
use crate::report::{Bar, Report, median};
use crate::writers::{Answered, MANY, SOME, Writers, percentile_ms};
use crate::{Bench, bare};

const OPLOG_MB: u32 = 4096;
/// A third of the machine's memory; by itself the server would take half. With much less it stalls its writers to make room for
/// the versions that it keeps, whoever else is there.
const CACHE_GB: f32 = 8.0;
const LAG: &str = "p99 lag of capture at 10,000 updates/s ÷ 2 s";
const CAPTURED: &str = "p99 of the source's own writes, capture on ÷ off (10,000 updates/s, 5 s of versions)";
const SCANNED_SOME: &str = "p99 of the source's own writes, base scan on ÷ off (2,000 updates/s)";
const SCANNED_MANY: &str = "p99 of the source's own writes, base scan on ÷ off (10,000 updates/s, 120 s of versions)";
const LAG_BAR_MS: f64 = 2000.0;
/// Until caches and connections are as they stay, and capture follows what is written now.
const WARM_UP: Duration = Duration::from_secs(10);
/// How long the server keeps old versions by default, in seconds; and under many updates, beside capture and base scans.
const HISTORY: i32 = 300;
const HISTORY_CAPTURED: i32 = 5;
const HISTORY_SCANNED: i32 = 120;

/// The p99 of each phase in milliseconds: beside Backstay, and before and after that.
#[derive(Default)]
struct Phases {
    alone: Vec<f64>,
    beside: Vec<f64>,
}

/// A server with the data set, and who writes to it.
struct Scene<'a> {
    bench: &'a Bench,
    program: &'a Path,
    client: Client,
    uri: String,
    /// Updates in a second.
    rate: u64,
    lanes: u64,
}

/// Measures all that is wanted.
pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let Some(program) = &bench.program else { return Ok(()) };
    let source = bare::server_with(CACHE_GB, OPLOG_MB).await?;
    let mut options = ClientOptions::parse(source.uri()).await?;
    options.max_pool_size = Some(64);
    let client = Client::with_options(options)?;
    println!("loading {} documents", bench.inputs.documents);
    bare::insert_made(&client, &bench.inputs).await?;
    bare::settle(&client).await?;

    let home = program::home(program, &source.uri())?;
    program::timed(&home, &["backup", "shop", "--json"])?;
    let mut scene = Scene { bench, program, client, uri: source.uri(), rate: MANY, lanes: 0 };
    match scene.captured(&home).await {
        Ok((phases, lags)) => {
            let lag = percentile_ms(99, lags.into_iter());
            report.add(LAG, "ms", LAG_BAR_MS, Some(lag), Bar::AtMost(1.0));
            report.add(CAPTURED, "ms", median(&phases.alone), Some(median(&phases.beside)), Bar::AtMost(1.25));
        }
        Err(error) => [LAG, CAPTURED].iter().for_each(|measure| report.add_failure(measure, &error)),
    }
    for (measure, rate, history) in [(SCANNED_SOME, SOME, HISTORY), (SCANNED_MANY, MANY, HISTORY_SCANNED)] {
        match scene.scanned(rate, history).await {
            Ok(phases) => {
                report.add(measure, "ms", median(&phases.alone), Some(median(&phases.beside)), Bar::AtMost(1.5));
            }
            Err(error) => report.add_failure(measure, &error),
        }
    }
    Ok(())
}

impl Scene<'_> {
    /// Phases of capture, and how long after its answer each write could be restored.
    async fn captured(&mut self, home: &Backstay) -> Result<(Phases, Vec<Duration>)> {
        let (mut phases, mut lags) = (Phases::default(), Vec::new());
        bare::keep_history(&self.client, HISTORY_CAPTURED).await?;
        phases.alone.push(self.alone().await?);
        for _ in 0..self.bench.options.repeats {
            let (captured, behind) = self.with_capture(home).await?;
            phases.beside.push(captured);
            lags.extend(behind);
            phases.alone.push(self.alone().await?);
        }
        Ok((phases, lags))
    }

    /// Phases of base scans, beside writers of this rate.
    async fn scanned(&mut self, rate: u64, history: i32) -> Result<Phases> {
        let mut phases = Phases::default();
        bare::keep_history(&self.client, history).await?;
        self.rate = rate;
        phases.alone.push(self.alone().await?);
        for _ in 0..self.bench.options.repeats {
            phases.beside.push(self.with_base_scan().await?);
            phases.alone.push(self.alone().await?);
        }
        Ok(phases)
    }

    fn phase(&self) -> Duration {
        Duration::from_secs(if self.bench.options.quick { 5 } else { 20 })
    }

    fn writers(&mut self) -> Writers {
        self.lanes += 1;
        let inputs = &self.bench.inputs;
        Writers::start(&self.client, inputs.seed, inputs.hot.documents, self.rate, self.lanes)
    }

    /// The p99 of the writers' commands when nobody else is there.
    async fn alone(&mut self) -> Result<f64> {
        let writers = self.writers();
        tokio::time::sleep(WARM_UP + self.phase()).await;
        let (_, answered) = apart(writers.stop().await?);
        Ok(told("alone", &answered))
    }

    /// The same beside `capture`, and how far that was behind.
    async fn with_capture(&mut self, home: &Backstay) -> Result<(f64, Vec<Duration>)> {
        let mut capture = home.spawn(["capture", "shop", "--json"])?;
        let phase = WARM_UP + self.phase();
        let writers = self.writers();
        let answered = async {
            tokio::time::sleep(phase).await;
            writers.stop().await
        };
        // The last writes are committed a moment later.
        let commits = watch(&mut capture, phase + Duration::from_secs(10));
        let (answered, commits) = tokio::try_join!(answered, commits)?;
        capture.signal(Signal::Terminate)?;
        let ended = capture.wait(Duration::from_secs(60))?;
        ensure!(ended.code == 0 || ended.code == 130, "{ended}");
        let (catching_up, answered) = apart(answered);
        told("while capture catches up", &catching_up);
        let lags = lags(&answered, &commits)?;
        println!("  lag of capture: p99 {:.0} ms", percentile_ms(99, lags.iter().copied()));
        Ok((told("with capture", &answered), lags))
    }

    /// The same while a first backup reads all documents.
    async fn with_base_scan(&mut self) -> Result<f64> {
        // An archive of its own: the second backup of a source would store only differences.
        let home = program::home(self.program, &self.uri)?;
        let writers = self.writers();
        tokio::time::sleep(WARM_UP).await;
        let start = Instant::now();
        let backup = home.spawn(["backup", "shop", "--json"])?;
        let ended = tokio::task::spawn_blocking(move || backup.wait(Duration::from_secs(1200))).await??;
        let end = Instant::now();
        ensure!(ended.code == 0, "{ended}");
        let answered: Vec<_> = writers.stop().await?;
        let during: Vec<_> =
            answered.into_iter().filter(|answered| answered.at >= start && answered.at <= end).collect();
        println!("  base scan beside the writers: {:.1} s", (end - start).as_secs_f64());
        Ok(told("with a base scan", &during))
    }
}

/// Says how long the commands took; their p99 in milliseconds.
fn told(phase: &str, answered: &[Answered]) -> f64 {
    let latencies = || answered.iter().map(|answered| answered.latency);
    let [p50, p90, p99] = [50, 90, 99].map(|percent| percentile_ms(percent, latencies()));
    println!("  {phase}: {} commands, p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms", answered.len());
    p99
}

/// What was answered before the phase began, and in it.
fn apart(answered: Vec<Answered>) -> (Vec<Answered>, Vec<Answered>) {
    let Some(first) = answered.iter().map(|answered| answered.at).min() else { return Default::default() };
    answered.into_iter().partition(|answered| answered.at < first + WARM_UP)
}

/// When capture said how far it is, from its start on.
async fn watch(capture: &mut Running, how_long: Duration) -> Result<Vec<(Timestamp, Instant)>> {
    let end = Instant::now() + how_long;
    let mut commits = Vec::new();
    let mut seen = 0;
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        ensure!(!capture.has_ended()?, "capture ended: {}{}", capture.stdout(), capture.stderr());
        let stdout = capture.stdout();
        let whole_lines = stdout.rfind('\n').map_or("", |end| stdout.get(..end).unwrap_or_default());
        for line in whole_lines.lines().skip(seen) {
            seen += 1;
            let status: serde_json::Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            if let Some(through) = status["through"].as_str() {
                commits.push((tick(through)?, Instant::now()));
            }
        }
    }
    Ok(commits)
}

/// `SECONDS:ORDINAL`.
fn tick(text: &str) -> Result<Timestamp> {
    let (time, increment) = text.split_once(':').with_context(|| format!("{text} is no tick"))?;
    Ok(Timestamp { time: time.parse()?, increment: increment.parse()? })
}

/// How long after its answer each write could be restored.
fn lags(answered: &[Answered], commits: &[(Timestamp, Instant)]) -> Result<Vec<Duration>> {
    answered
        .iter()
        .map(|answered| {
            let held = commits.iter().find(|(through, _)| *through >= answered.tick);
            let (_, at) = held.context("capture did not say that it holds the last writes")?;
            Ok(at.saturating_duration_since(answered.at))
        })
        .collect()
}
