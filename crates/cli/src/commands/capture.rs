//! `backstay capture`: the changes of a source, followed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backstay_archive::Duty;
use backstay_engine::{CaptureOptions, CaptureReport, Paced, Until, capture};
use backstay_source::Source;
use serde::Serialize;

use super::Context;
use crate::args::{self, CaptureArgs};
use crate::failure::{Exit, Failure};
use crate::holding::{claim, hold};
use crate::installation::Installation;
use crate::output::{bytes, count, duration};
use crate::time::{Moment, rfc3339, show};

#[derive(Serialize)]
struct Summary<'a> {
    source: &'a str,
    entries: u64,
    through: String,
    through_time: String,
    lag_seconds: u64,
    bytes: u64,
    gaps: u64,
    seconds: f64,
}

/// Follows until told to stop.
///
/// # Errors
/// When there is no base yet, another process follows the source, or the source or the repository fails; what was committed stays.
pub async fn run(context: &Context, args: &CaptureArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    let until = match &args.until {
        None => Until::Cancelled,
        Some(args::Until::Now) => Until::Now,
        Some(args::Until::Time(time)) => match time.resolve(&context.now)? {
            Moment::At(tick) => Until::Tick(tick),
            Moment::Latest => Until::Now,
        },
    };
    let installation = Installation::open(context).await?;
    let (vault, deployment) = installation.live(&args.source).await?;
    // Whoever ends by itself catches up beside whoever follows, and keeps nobody out.
    let claimed = match until == Until::Cancelled || args.take_over {
        true => {
            let duties: Vec<Duty> = deployment.discover().await?.streams.into_iter().map(Duty::Capture).collect();
            Some(claim(&vault, &duties, args.take_over).await?)
        }
        false => None,
    };
    if until == Until::Cancelled && !context.output.is_json() {
        context.output.note(&format!("following {}; SIGINT or SIGTERM stops", args.source));
    }
    let watch = context.watch();
    // A scan over a gap is paced as well, but waits for no hours: what a gap hides is not protected.
    let source = installation.config.source(&args.source)?;
    let pace = source.pace.pace(true, context.now.time_zone());
    let tick = Duration::from_millis(source.commit_every_ms);
    let deployment = Paced::new(Arc::new(deployment), pace, watch.monitor(), installation.world());
    let options = CaptureOptions { until, tick };
    let captured = match &claimed {
        Some(vault) => hold(vault, capture(vault, &deployment, options, watch.monitor())).await,
        None => capture(&vault, &deployment, options, watch.monitor()).await.map_err(Failure::from),
    };
    drop(watch);
    let report = captured?;
    let elapsed = started.elapsed();
    let summary = Summary {
        source: &args.source,
        entries: report.entries,
        through: report.through.to_string(),
        through_time: rfc3339(report.through),
        lag_seconds: report.lag_seconds,
        bytes: report.bytes,
        gaps: report.gaps,
        seconds: elapsed.as_secs_f64(),
    };
    context.summary(&summary, || describe(context, &args.source, &report, elapsed))?;
    Ok(Exit::Done)
}

fn describe(context: &Context, source: &str, report: &CaptureReport, elapsed: Duration) -> String {
    let mut text = format!(
        "captured {source}: {} entries, {}, in {}\ncomplete through {}, {} behind the clock",
        count(report.entries),
        bytes(report.bytes),
        duration(elapsed),
        show(report.through, context.now.time_zone()),
        duration(Duration::from_secs(report.lag_seconds)),
    );
    if report.gaps > 0 {
        text.push_str(&format!(
            "\nchanges were lost {}: backstay timeline {source} shows the gap and its cause",
            if report.gaps == 1 { "once".to_owned() } else { format!("{} times", report.gaps) }
        ));
    }
    text
}
