//! `backstay status`: how the sources are protected at the moment. Asks the repository only; no database is needed.

use std::time::Duration;

use backstay_archive::{Duty, Repository, utc};
use backstay_engine::{Run, runs};
use backstay_mongodb::Feed;
use backstay_seal::KeyState;
use serde::Serialize;

use super::Context;
use super::timeline::feed_name;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::{Align, bytes, count, duration, plain, table};
use crate::time::{rfc3339, show};

/// How many restores of a source are shown.
const RESTORES: usize = 5;

#[derive(Serialize)]
struct Status {
    repository: String,
    sources: Vec<SourceStatus>,
    keys: Keys,
}

#[derive(Serialize)]
struct SourceStatus {
    source: String,
    /// False before the first backup; all that follows is empty then.
    archived: bool,
    identity: String,
    commits: u64,
    last_commit_seconds: Option<u64>,
    through: Option<String>,
    through_time: Option<String>,
    lag_seconds: Option<u64>,
    ranges: Vec<Range>,
    open_gap: Option<String>,
    /// How changes are followed, and what changes without that showing it.
    feed: String,
    hidden: &'static [&'static str],
    scan_running: bool,
    /// Who is at work on it.
    at_work: Vec<AtWork>,
    last_scan_records: Option<u64>,
    stored_bytes: u64,
    base: Shelf,
    deltas: Shelf,
    tails: Shelf,
    /// The last ones, oldest first.
    restores: Vec<Run>,
    #[serde(skip)]
    through_tick: Option<backstay_model::Tick>,
}

#[derive(Serialize)]
struct Range {
    from: String,
    to: String,
}

/// A process that has claimed something and was heard of lately.
#[derive(Serialize)]
struct AtWork {
    /// `capture` or `scan`.
    duty: &'static str,
    host: String,
    process: u64,
    since: String,
    seen: String,
}

#[derive(Serialize, Default)]
struct Shelf {
    segments: u64,
    bytes: u64,
    entries: u64,
}

#[derive(Serialize)]
struct Keys {
    keyring: String,
    active: u64,
    retired: u64,
    shredded: u64,
}

/// Shows it.
///
/// # Errors
/// When the repository does not open, or a vault of it is damaged.
pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let installation = Installation::open(context).await?;
    let known = installation.repository.vault_names().await?;
    let mut names: Vec<&String> = installation.config.sources.keys().chain(&known).collect();
    names.sort();
    names.dedup();
    let now = installation.world().now();
    let mut sources = Vec::with_capacity(names.len());
    for name in names {
        let found = source(&installation.repository, name, known.contains(name), now).await;
        sources.push(found.map_err(|failure| failure.of_source(name))?);
    }
    let entries = installation.repository.keyring().entries()?;
    let keys = |state| entries.iter().filter(|entry| entry.state == state).count() as u64;
    let status = Status {
        repository: installation.repository.place().to_owned(),
        sources,
        keys: Keys {
            keyring: installation.config.keyring.file.display().to_string(),
            active: keys(KeyState::Active),
            retired: keys(KeyState::Retired),
            shredded: keys(KeyState::Shredded),
        },
    };
    context.document(&status, || describe(&status, context))?;
    Ok(Exit::Done)
}

async fn source(repository: &Repository, name: &str, archived: bool, now: u64) -> Result<SourceStatus, Failure> {
    let mut status = SourceStatus {
        source: name.to_owned(),
        archived,
        identity: String::new(),
        commits: 0,
        last_commit_seconds: None,
        through: None,
        through_time: None,
        lag_seconds: None,
        ranges: Vec::new(),
        open_gap: None,
        feed: String::new(),
        hidden: &[],
        scan_running: false,
        at_work: Vec::new(),
        last_scan_records: None,
        stored_bytes: 0,
        base: Shelf::default(),
        deltas: Shelf::default(),
        tails: Shelf::default(),
        restores: Vec::new(),
        through_tick: None,
    };
    if !archived {
        return Ok(status);
    }
    let vault = repository.vault(name).await?;
    let state = vault.state().await;
    let at_work = vault.held().await.into_iter().map(|held| AtWork {
        duty: match held.duty {
            Duty::Capture(_) => "capture",
            Duty::Scan => "scan",
        },
        host: held.holder.host,
        process: held.holder.process,
        since: utc(held.since),
        seen: utc(held.seen),
    });
    status.at_work = at_work.collect();
    let coverage = state.coverage();
    status.identity = format!("{} {}", state.source().kind, state.source().identity);
    status.commits = state.head().seq + 1;
    status.last_commit_seconds = Some(now.saturating_sub(state.head().written_at));
    status.ranges =
        coverage.spans().iter().map(|span| Range { from: span.from.to_string(), to: span.to.to_string() }).collect();
    if !state.frontiers().is_empty() {
        status.through = Some(coverage.through.to_string());
        status.through_time = Some(rfc3339(coverage.through));
        status.lag_seconds = Some(now.saturating_sub(u64::from(coverage.through.seconds())));
        status.through_tick = Some(coverage.through);
    }
    status.open_gap = state.open_gap().map(|gap| gap.cause.clone());
    if let Some(protection) = state.protection() {
        status.feed = feed_name(&protection.feed).to_owned();
        status.hidden = Feed::hidden_by(&protection.feed);
    }
    status.scan_running = state.running_scans().len() > 0;
    status.last_scan_records = state.completed_scans().last().map(|scan| scan.records);
    for info in state.base_runs() {
        status.base.add(info.bytes, info.entries);
    }
    for info in state.delta_runs() {
        status.deltas.add(info.bytes, info.entries);
    }
    for info in state.tails() {
        status.tails.add(info.bytes, info.entries);
    }
    status.stored_bytes = status.base.bytes + status.deltas.bytes + status.tails.bytes;
    let runs = runs(repository, name).await?;
    let earlier = runs.len().saturating_sub(RESTORES);
    status.restores = runs.into_iter().skip(earlier).collect();
    Ok(status)
}

impl Shelf {
    fn add(&mut self, bytes: u64, entries: u64) {
        self.segments += 1;
        self.bytes += bytes;
        self.entries += entries;
    }
}

fn describe(status: &Status, context: &Context) -> String {
    let ago = |seconds: Option<u64>| {
        seconds.map_or_else(|| "never".to_owned(), |s| format!("{} ago", duration(Duration::from_secs(s))))
    };
    let header = [
        ("source", Align::Left),
        ("complete through", Align::Left),
        ("behind", Align::Right),
        ("last commit", Align::Right),
        ("stored", Align::Right),
        ("tails", Align::Right),
        ("state", Align::Left),
    ];
    let rows = status.sources.iter().map(|source| {
        let through = source.through_tick.map_or_else(String::new, |tick| show(tick, context.now.time_zone()));
        let behind = source.lag_seconds.map_or_else(String::new, |s| duration(Duration::from_secs(s)));
        let tails = match source.tails.segments {
            0 => String::new(),
            segments => format!("{} ({})", count(segments), bytes(source.tails.bytes)),
        };
        let stored = bytes(source.stored_bytes);
        vec![source.source.clone(), through, behind, ago(source.last_commit_seconds), stored, tails, standing(source)]
    });
    let mut text = format!("repository {}\n{}", status.repository, table(&header, rows));
    for source in &status.sources {
        if let Some(cause) = &source.open_gap {
            text.push_str(&format!("\n{}: changes are being lost: {}", source.source, plain::line(cause)));
        }
        if !source.hidden.is_empty() {
            let (name, feed, hidden) = (&source.source, &source.feed, source.hidden.join("; "));
            text.push_str(&format!("\n{name}: only scans see, and {feed} do not: {hidden}"));
        }
        for AtWork { duty, host, process, since, seen } in &source.at_work {
            text.push_str(&format!(
                "\n{}: {duty} by process {process} on {} since {since}, last heard of at {seen}",
                source.source,
                plain::line(host)
            ));
        }
        if let Some(run) = source.restores.last() {
            let state = match run.state {
                backstay_engine::RunState::Begun => "begun",
                backstay_engine::RunState::Proved => "proved",
                backstay_engine::RunState::Failed => "failed",
            };
            let id = run.id.get(..8).unwrap_or(&run.id);
            text.push_str(&format!(
                "\n{}: last restore {id}, {} as of {}, {state}",
                source.source,
                plain::line(&run.selection),
                run.at
            ));
        }
    }
    let Keys { keyring, active, retired, shredded } = &status.keys;
    text.push_str(&format!("\nkeyring {keyring}: {active} active keys, {retired} retired, {shredded} shredded"));
    text
}

fn standing(source: &SourceStatus) -> String {
    match source {
        SourceStatus { archived: false, .. } => "not backed up yet".to_owned(),
        SourceStatus { open_gap: Some(_), .. } => "gap open".to_owned(),
        SourceStatus { ranges, scan_running: true, .. } if ranges.is_empty() => "first backup not finished".to_owned(),
        SourceStatus { scan_running: true, .. } => "scan not finished".to_owned(),
        _ => "protected".to_owned(),
    }
}
