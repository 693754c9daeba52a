//! `backstay timeline`: which instants can be restored, and why others cannot.

use backstay_model::Tick;
use backstay_mongodb::Feed;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Context;
use crate::args::TimelineArgs;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::{Align, count, table};
use crate::time::{rfc3339, show};

#[derive(Serialize)]
struct Timeline<'a> {
    source: &'a str,
    through: String,
    ranges: Vec<Range>,
    gaps: Vec<Gap>,
    drift: Vec<Drift>,
    scans: Vec<Scan>,
    protected: Vec<Protected>,
}

/// What was protected from when on, until the next.
#[derive(Serialize)]
struct Protected {
    #[serde(serialize_with = "tick")]
    from: Tick,
    from_time: String,
    include: Vec<String>,
    tenants: Vec<String>,
    /// How changes were followed.
    feed: String,
    /// What changed without the feed showing it.
    hidden: &'static [&'static str],
}

#[derive(Serialize)]
struct Range {
    #[serde(serialize_with = "tick")]
    from: Tick,
    #[serde(serialize_with = "tick")]
    to: Tick,
    /// Every change with the source's own position: nothing is sampled.
    class: &'static str,
    from_time: String,
    to_time: String,
}

#[derive(Serialize)]
struct Gap {
    #[serde(serialize_with = "tick")]
    from: Tick,
    #[serde(serialize_with = "optional_tick")]
    to: Option<Tick>,
    cause: String,
    from_time: String,
    to_time: Option<String>,
}

#[derive(Serialize)]
struct Drift {
    #[serde(serialize_with = "tick")]
    at: Tick,
    at_time: String,
    records: u64,
}

#[derive(Serialize)]
struct Scan {
    #[serde(serialize_with = "tick")]
    consistent: Tick,
    consistent_time: String,
    records: u64,
    source_bytes: u64,
}

fn tick<S: serde::Serializer>(tick: &Tick, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(tick)
}

fn optional_tick<S: serde::Serializer>(tick: &Option<Tick>, serializer: S) -> Result<S::Ok, S::Error> {
    match tick {
        Some(tick) => serializer.collect_str(tick),
        None => serializer.serialize_none(),
    }
}

/// Shows it.
///
/// # Errors
/// When nothing of the source was backed up yet, or the repository fails.
pub async fn run(context: &Context, args: &TimelineArgs) -> Result<Exit, Failure> {
    let installation = Installation::open(context).await?;
    let state = installation.vault(&args.source).await?.state().await;
    let coverage = state.coverage();
    let timeline = Timeline {
        source: &args.source,
        through: coverage.through.to_string(),
        ranges: coverage
            .spans()
            .into_iter()
            .map(|span| Range {
                from: span.from,
                to: span.to,
                class: "exact",
                from_time: rfc3339(span.from),
                to_time: rfc3339(span.to),
            })
            .collect(),
        gaps: coverage
            .gaps
            .into_iter()
            .map(|gap| Gap {
                from: gap.after,
                to: gap.resumes,
                cause: gap.cause,
                from_time: rfc3339(gap.after),
                to_time: gap.resumes.map(rfc3339),
            })
            .collect(),
        drift: state
            .drift()
            .iter()
            .map(|drift| Drift { at: drift.at, at_time: rfc3339(drift.at), records: drift.records })
            .collect(),
        scans: state
            .completed_scans()
            .iter()
            .map(|scan| Scan {
                consistent: scan.consistent,
                consistent_time: rfc3339(scan.consistent),
                records: scan.records,
                source_bytes: scan.source_bytes,
            })
            .collect(),
        protected: state
            .protected()
            .iter()
            .map(|since| Protected {
                from: since.from,
                from_time: rfc3339(since.from),
                include: since.protection.include.clone(),
                tenants: since.protection.tenants.clone(),
                feed: feed_name(&since.protection.feed).to_owned(),
                hidden: Feed::hidden_by(&since.protection.feed),
            })
            .collect(),
    };
    context.document(&timeline, || describe(&timeline, context.now.time_zone()))?;
    Ok(Exit::Done)
}

/// The feed of this name in the ledger, as the configuration writes it.
pub fn feed_name(recorded: &str) -> &str {
    if recorded.is_empty() { "oplog" } else { recorded }
}

fn describe(timeline: &Timeline<'_>, zone: &TimeZone) -> String {
    let mut rows: Vec<(Tick, Vec<String>)> = Vec::new();
    for range in &timeline.ranges {
        let cells = vec![show(range.from, zone), show(range.to, zone), range.class.to_owned(), String::new()];
        rows.push((range.from, cells));
    }
    for gap in &timeline.gaps {
        let to = gap.to.map_or_else(|| "(still open)".to_owned(), |to| show(to, zone));
        rows.push((gap.from, vec![show(gap.from, zone), to, "gap".to_owned(), gap.cause.clone()]));
    }
    if rows.is_empty() {
        return format!("no instant of {} can be restored yet; run backstay backup {0} to its end", timeline.source);
    }
    // A gap begins where the range before it ends.
    rows.sort_by_key(|(from, cells)| (*from, cells.get(2).is_some_and(|class| class == "gap")));
    let header = [("from", Align::Left), ("to", Align::Left), ("class", Align::Left), ("cause", Align::Left)];
    let mut text = table(&header, rows.into_iter().map(|(_, cells)| cells));
    for drift in &timeline.drift {
        text.push_str(&format!(
            "\ndrift: {} records differed from the archive at {}",
            count(drift.records),
            show(drift.at, zone)
        ));
    }
    // What never changed is in the configuration.
    for protected in timeline.protected.iter().filter(|_| timeline.protected.len() > 1) {
        let include = match protected.include.as_slice() {
            [] => "everything".to_owned(),
            patterns => patterns.join(", "),
        };
        let rules = match protected.tenants.len() {
            0 => "no tenant rules".to_owned(),
            1 => "1 tenant rule".to_owned(),
            many => format!("{many} tenant rules"),
        };
        let feed = &protected.feed;
        text.push_str(&format!("\nprotected after {}: {include}; {rules}; by {feed}", show(protected.from, zone)));
    }
    if let Some(now) = timeline.protected.last().filter(|now| !now.hidden.is_empty()) {
        text.push_str(&format!("\nonly scans see: {} ({} do not show it)", now.hidden.join("; "), now.feed));
    }
    text
}
