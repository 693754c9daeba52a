//! `backstay restores`: what was restored, with which plan, and how it ended.

use backstay_engine::{Run, RunState, runs};
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Context;
use crate::args::RestoresArgs;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::{Align, count, duration, plain, table};
use crate::selecting;
use crate::time::{rfc3339, show};

#[derive(Serialize)]
struct Restores<'a> {
    restores: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    run: &'a Run,
    began_time: String,
    at_time: Option<String>,
    seconds: f64,
}

impl Shown<'_> {
    fn of(run: &Run) -> Shown<'_> {
        Shown {
            run,
            began_time: began(run),
            at_time: run.at.parse().ok().map(rfc3339),
            seconds: std::time::Duration::from_millis(run.milliseconds).as_secs_f64(),
        }
    }
}

/// Shows all runs of all sources, or one in full.
///
/// # Errors
/// When the journal cannot be read, or there is no such run.
pub async fn run(context: &Context, args: &RestoresArgs) -> Result<Exit, Failure> {
    let installation = Installation::open(context).await?;
    let all = all(&installation).await?;
    let zone = context.now.time_zone();
    match &args.id {
        None => {
            let restores = Restores { restores: all.iter().map(Shown::of).collect() };
            context.document(&restores, || list(&all, zone))?;
        }
        Some(id) => {
            let run = find(&all, id)?;
            context.document(&Shown::of(run), || in_full(&all, run, zone))?;
        }
    }
    Ok(Exit::Done)
}

/// All runs of all sources, oldest first.
///
/// # Errors
/// When the journal cannot be read.
pub(super) async fn all(installation: &Installation) -> Result<Vec<Run>, Failure> {
    let mut all: Vec<Run> = Vec::new();
    for name in installation.repository.vault_names().await? {
        all.extend(runs(&installation.repository, &name).await?);
    }
    all.sort_by(|a, b| (a.began, a.commit, &a.id).cmp(&(b.began, b.commit, &b.id)));
    Ok(all)
}

/// The run with this id, or with the only id that begins like this.
pub(super) fn find<'a>(all: &'a [Run], id: &str) -> Result<&'a Run, Failure> {
    let mut found = all.iter().filter(|run| !id.is_empty() && run.id.starts_with(id));
    match (found.next(), found.next()) {
        (Some(run), None) => Ok(run),
        (Some(_), Some(_)) => Err(Failure::failed(format!("several restores have an id that begins with “{id}”"))
            .hint("give more of it; backstay restores lists them")),
        (None, _) => Err(selecting::unknown("restore", id, all.iter().map(|run| run.id.as_str()))),
    }
}

fn began(run: &Run) -> String {
    u32::try_from(run.began)
        .map_or_else(|_| run.began.to_string(), |second| rfc3339(backstay_model::Tick::new(second, 0)))
}

fn at(run: &Run, zone: &TimeZone) -> String {
    run.at.parse().map_or_else(|_| run.at.clone(), |tick| show(tick, zone))
}

fn state(run: &Run) -> &'static str {
    match run.state {
        RunState::Begun => "begun",
        RunState::Proved => "proved",
        RunState::Failed => "failed",
    }
}

fn list(all: &[Run], zone: &TimeZone) -> String {
    if all.is_empty() {
        return "nothing was restored yet".to_owned();
    }
    let header = [
        ("id", Align::Left),
        ("began", Align::Left),
        ("source", Align::Left),
        ("as of", Align::Left),
        ("what", Align::Left),
        ("where", Align::Left),
        ("written", Align::Right),
        ("state", Align::Left),
    ];
    let rows = all.iter().map(|run| {
        let id = run.id.get(..8).unwrap_or(&run.id).to_owned();
        let what = run.selection.clone();
        vec![
            id,
            began(run),
            run.source.clone(),
            at(run, zone),
            what,
            run.target.clone(),
            count(run.written),
            state(run).into(),
        ]
    });
    table(&header, rows)
}

fn in_full(all: &[Run], run: &Run, zone: &TimeZone) -> String {
    let mut lines = vec![
        format!("restore {}, {}", run.id, state(run)),
        format!("began     {}", began(run)),
        format!("what      {} of {}", plain::line(&run.selection), run.source),
        format!("as of     {}", at(run, zone)),
        format!("where     {}", run.target),
        format!("read from commit {} of the ledger", run.commit),
    ];
    if let Some(plan) = &run.plan {
        lines.push(format!(
            "plan      {} to insert, {} to replace, {} to delete, {} unchanged",
            count(plan.insert),
            count(plan.replace),
            count(plan.delete),
            count(plan.unchanged)
        ));
        let took = duration(std::time::Duration::from_millis(run.milliseconds));
        lines.push(format!("written   {} in {took}", count(run.written)));
    }
    if run.undecided > 0 {
        lines.push(format!(
            "undecided {} records, because a key was shredded: they stayed as they were",
            count(run.undecided)
        ));
    }
    if let Some(proof) = &run.proof {
        let verdict = match (proof.equal, proof.has_equal_records()) {
            (true, _) => "equal",
            (false, true) => "NOT EQUAL: definitions differ",
            (false, false) => "NOT EQUAL",
        };
        lines.push(format!("proof     {verdict}, {} records read back", count(proof.records)));
        lines.push(format!("          archive {}", proof.archive));
        lines.push(format!("          target  {}", proof.target));
        lines.extend(proof.definitions.iter().map(|difference| format!("differs   {}", plain::line(difference))));
    }
    if let Some(error) = &run.error {
        lines.push(format!("error     {}", plain::line(error)));
    }
    if run.state == RunState::Begun {
        let again = if run.undoes.is_some() { "undo" } else { "restore" };
        lines.push(format!("it is running, or was interrupted; run the same {again} again to finish it"));
    }
    if let Some(by) = all.iter().find(|other| other.undoes.as_ref() == Some(&run.id) && other.state == RunState::Proved)
    {
        lines.push(format!("taken back by {}", by.id));
    }
    lines.join("\n")
}
