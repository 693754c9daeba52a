//! Beside the source's own writers: how far capture is behind them, and what they notice of it.
//!
//! ```text
//!   10,000 updates/s    alone | capture | alone | base scan | alone | capture | …       a few rounds
//!                         └── p99 of the commands' latency, and of capture's lag ──┘
//! ```
//!
//! The writers update a fiftieth of the documents: a server on two cores bears so many updates only of what is hot.
//! The lag of a write is the time from its answer until capture said that its instant can be restored.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use backstay_testkit::{Backstay, Signal};
use bson::Timestamp;
use mongodb::Client;
use mongodb::options::ClientOptions;

use crate::program;
use crate::report::{Bar, Report, median};
use crate::writers::{Answered, Writers, p99_ms};
use crate::{Bench, bare};

const OPLOG_MB: u32 = 4096;
const LAG: &str = "p99 lag of capture at 10,000 updates/s ÷ 2 s";
const CAPTURED: &str = "p99 of the source's own writes, capture on ÷ off";
const SCANNED: &str = "p99 of the source's own writes, base scan on ÷ off";
const LAG_BAR_MS: f64 = 2000.0;
/// Until caches and connections are as they stay.
const WARM_UP: Duration = Duration::from_secs(3);

/// What one round found, in milliseconds.
struct Round {
    alone: f64,
    captured: f64,
    lag: f64,
    scanned: f64,
}

/// Measures all that is wanted.
pub async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let Some(program) = &bench.program else { return Ok(()) };
    let source = bare::server(OPLOG_MB).await?;
    let mut options = ClientOptions::parse(source.uri()).await?;
    options.max_pool_size = Some(64);
    let client = Client::with_options(options)?;
    println!("loading {} documents, then updates at {} a second", bench.inputs.documents, crate::writers::RATE);
    bare::insert_made(&client, &bench.inputs).await?;
    bare::settle(&client).await?;

    let home = program::home(program, &source.uri())?;
    program::timed(&home, &["backup", "shop", "--json"])?;
    let mut rounds = Vec::new();
    for number in 0..bench.options.repeats {
        match round(bench, program, &client, &home, &source.uri(), u64::from(number)).await {
            Ok(round) => rounds.push(round),
            Err(error) => {
                report.add_failure(LAG, &error);
                return Ok(());
            }
        }
    }
    let of = |pick: fn(&Round) -> f64| median(&rounds.iter().map(pick).collect::<Vec<_>>());
    let alone = of(|round| round.alone);
    report.add(LAG, "ms", LAG_BAR_MS, Some(of(|round| round.lag)), Bar::AtMost(1.0));
    report.add(CAPTURED, "ms", alone, Some(of(|round| round.captured)), Bar::AtMost(1.25));
    report.add(SCANNED, "ms", alone, Some(of(|round| round.scanned)), Bar::AtMost(1.5));
    Ok(())
}

async fn round(
    bench: &Bench,
    program: &Path,
    client: &Client,
    home: &Backstay,
    uri: &str,
    number: u64,
) -> Result<Round> {
    let for_a_while = Duration::from_secs(if bench.options.quick { 5 } else { 20 });
    let (seed, documents) = (bench.inputs.seed, bench.inputs.hot.documents);
    let mut lane = number * 3;
    let mut start = || {
        lane += 1;
        Writers::start(client, seed, documents, lane)
    };

    let writers = start();
    tokio::time::sleep(WARM_UP + for_a_while).await;
    let alone = without_warm_up(writers.stop().await?);

    let mut capture = home.spawn(["capture", "shop", "--json"])?;
    let writers = start();
    let commits = watch(&mut capture, WARM_UP + for_a_while).await?;
    let captured = writers.stop().await?;
    let commits = [commits, watch(&mut capture, Duration::from_secs(5)).await?].concat();
    capture.signal(Signal::Terminate)?;
    let ended = capture.wait(Duration::from_secs(60))?;
    ensure!(ended.code == 0 || ended.code == 130, "{ended}");
    let captured = without_warm_up(captured);
    let lags = lags(&captured, &commits)?;

    let scanned = {
        // A base of its own: the second of one source would store only differences.
        let first = program::home(program, uri)?;
        let writers = start();
        tokio::time::sleep(WARM_UP).await;
        let start = Instant::now();
        let backup = first.spawn(["backup", "shop", "--json"])?;
        let ended = tokio::task::spawn_blocking(move || backup.wait(Duration::from_secs(600))).await??;
        let end = Instant::now();
        ensure!(ended.code == 0, "{ended}");
        let during = writers.stop().await?.into_iter().filter(|answered| answered.at >= start && answered.at <= end);
        println!("  base scan beside the writers: {:.1} s", (end - start).as_secs_f64());
        during.collect::<Vec<_>>()
    };
    let p99 = |answered: &[Answered]| p99_ms(answered.iter().map(|answered| answered.latency));
    let round =
        Round { alone: p99(&alone), captured: p99(&captured), lag: p99_ms(lags.into_iter()), scanned: p99(&scanned) };
    println!(
        "  p99 of a command: alone {:.1} ms ({} commands), with capture {:.1} ms, with a base scan {:.1} ms; lag of capture {:.0} ms",
        round.alone,
        alone.len(),
        round.captured,
        round.scanned,
        round.lag
    );
    Ok(round)
}

fn without_warm_up(mut answered: Vec<Answered>) -> Vec<Answered> {
    let Some(first) = answered.iter().map(|answered| answered.at).min() else { return answered };
    answered.retain(|answered| answered.at >= first + WARM_UP);
    answered
}

/// When capture said how far it is.
async fn watch(capture: &mut backstay_testkit::Running, how_long: Duration) -> Result<Vec<(Timestamp, Instant)>> {
    let end = Instant::now() + how_long;
    let mut seen = capture.stdout().lines().count();
    let mut commits = Vec::new();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        ensure!(!capture.has_ended()?, "capture ended: {}{}", capture.stdout(), capture.stderr());
        let stdout = capture.stdout();
        let whole_lines = stdout.rfind('\n').map_or("", |end| stdout.get(..end).unwrap_or_default());
        let lines = whole_lines.lines().skip(seen);
        for line in lines {
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
