//! `backstay undo`: a restore taken back.

use std::time::Duration;

use backstay_engine::{
    ConflictPolicy, Plan, Proof, Refusal, Run, UndoConflict, UndoReport, UndoRequest, is_refused, undo,
};
use backstay_mongodb::MongoDeployment;
use backstay_source::{Source, Target};
use serde::Serialize;

use super::{Context, restores};
use crate::args::{SelectionArgs, UndoArgs};
use crate::confirm::Danger;
use crate::failure::{Exit, Failure};
use crate::installation::{Installation, connect_target};
use crate::output::{count, duration, plain};
use crate::{refused, selecting};

/// How the journal names a restore into the source itself.
const IN_PLACE: &str = "in-place";

#[derive(Serialize)]
struct Summary<'a> {
    id: &'a str,
    undoes: &'a str,
    source: &'a str,
    target: &'a str,
    preview: bool,
    /// The undo that had taken the restore back already.
    already: Option<&'a str>,
    plan: Plan,
    written: u64,
    skipped: u64,
    conflicts: u64,
    conflicting: Vec<Conflicting<'a>>,
    dropped: &'a [String],
    /// What stays as it is: what stood there before the restore is archived nowhere.
    left: &'a [String],
    proof: Option<&'a Proof>,
    /// What would be refused of that, by today's indexes and validators.
    refusals: &'a [Refusal],
    notes: &'a [String],
    seconds: f64,
}

#[derive(Serialize)]
struct Conflicting<'a> {
    namespace: &'a str,
    id: &'a str,
    why: &'a str,
}

impl Conflicting<'_> {
    fn of(conflict: &UndoConflict) -> Conflicting<'_> {
        Conflicting { namespace: &conflict.namespace, id: &conflict.id, why: &conflict.why }
    }
}

/// Takes a restore back, or previews that.
///
/// # Errors
/// When there is no such restore, it cannot be taken back, somebody changed since what it wrote, consent is missing, or
/// the target or the repository fails.
pub async fn run(context: &Context, args: &UndoArgs) -> Result<Exit, Failure> {
    let installation = Installation::open(context).await?;
    let all = restores::all(&installation).await?;
    let run = restores::find(&all, &args.id)?.clone();
    let source = run.source.clone();
    take_back(context, args, &installation, run).await.map_err(|failure| failure.of_source(&source))
}

async fn take_back(context: &Context, args: &UndoArgs, installation: &Installation, run: Run) -> Result<Exit, Failure> {
    let selection = run.terms.as_ref().map(SelectionArgs::of_terms).transpose();
    let selection = selection.map_err(|why| Failure::failed(format!("the journal entry of {}: {why}", run.id)))?;
    let scope = selecting::scope(&selection.unwrap_or_default())?;
    let request =
        UndoRequest { run, scope, on_conflict: ConflictPolicy::from(args.on_conflict), preview: args.preview };
    let place = Place::open(context, args, installation, &request.run).await?;
    if args.preview {
        let report = place.undo(context, installation, &request).await?;
        print(context, &request, &place, &report)?;
        return Ok(if is_refused(&report.refusals, request.on_conflict) { Exit::CheckFailed } else { Exit::Done });
    }
    if !args.yes {
        if context.is_interactive() {
            let preview = UndoRequest { preview: true, ..request.clone() };
            let report = place.undo(context, installation, &preview).await?;
            print(context, &request, &place, &report)?;
            if is_refused(&report.refusals, request.on_conflict) {
                return Ok(Exit::CheckFailed);
            }
            if report.already.is_some() || report.plan.writes() == 0 && report.dropped.is_empty() {
                return Ok(Exit::Done);
            }
        }
        let Run { id, selection, source, .. } = &request.run;
        let action = format!("take back the restore {id} ({selection} of {source}) on {}", place.target.location());
        context.confirm(Danger { action }, args.yes).await?;
    }
    let report = place.undo(context, installation, &request).await?;
    print(context, &request, &place, &report)?;
    match report.proof {
        Some(proof) if !proof.equal => Ok(Exit::CheckFailed),
        _ if !report.left.is_empty() => Ok(Exit::PartlyUnread),
        _ => Ok(Exit::Done),
    }
}

/// Where the restore had gone.
struct Place {
    vault: backstay_archive::Vault,
    in_place: bool,
    target: MongoDeployment,
}

impl Place {
    async fn open(
        context: &Context,
        args: &UndoArgs,
        installation: &Installation,
        run: &Run,
    ) -> Result<Place, Failure> {
        if run.target == IN_PLACE {
            let (vault, target) = installation.live(&run.source).await?;
            return Ok(Place { vault, in_place: true, target });
        }
        let vault = installation.vault(&run.source).await?;
        let source = installation.config.source(&run.source)?;
        let uri = match args.destination(&context.environment)? {
            Some(uri) => uri,
            None => source.uri.read()?,
        };
        let target = connect_target(&uri, source).await?;
        if target.location() != run.target {
            return Err(Failure::usage(format!(
                "the restore {} went into {}, not into {}",
                run.id,
                run.target,
                target.location()
            ))
            .hint("name the deployment that it went into with --into URI"));
        }
        Ok(Place { vault, in_place: false, target })
    }

    async fn undo(
        &self,
        context: &Context,
        installation: &Installation,
        request: &UndoRequest,
    ) -> Result<UndoReport, Failure> {
        let watch = context.watch();
        let source = self.in_place.then_some(&self.target as &dyn Source);
        let interpreter = installation.interpreter(&self.vault).await?;
        Ok(undo(&self.vault, source, &self.target, interpreter, request, watch.monitor()).await?)
    }
}

fn print(context: &Context, request: &UndoRequest, place: &Place, report: &UndoReport) -> Result<(), Failure> {
    let run = &request.run;
    let elapsed = Duration::from_millis(report.milliseconds);
    let target = place.target.location();
    let summary = Summary {
        id: &report.id,
        undoes: &run.id,
        source: &run.source,
        target: &target,
        preview: report.proof.is_none() && report.already.is_none(),
        already: report.already.as_deref(),
        plan: report.plan,
        written: report.written,
        skipped: report.skipped,
        conflicts: report.conflicts,
        conflicting: report.conflicting.iter().map(Conflicting::of).collect(),
        dropped: &report.dropped,
        left: &report.left,
        proof: report.proof.as_ref(),
        refusals: &report.refusals,
        notes: &report.notes,
        seconds: elapsed.as_secs_f64(),
    };
    let skips = request.on_conflict == ConflictPolicy::Skip;
    context.summary(&summary, || describe(run, report, skips, elapsed))
}

fn describe(run: &Run, report: &UndoReport, skips: bool, elapsed: Duration) -> String {
    let short = run.id.get(..8).unwrap_or(&run.id);
    if let Some(by) = &report.already {
        return format!("nothing to do: {short} was taken back already, by {by}");
    }
    let Plan { insert, replace, delete, unchanged } = report.plan;
    let mut lines = vec![format!("undo of {short}, {} of {}:", run.selection, run.source)];
    lines.push(format!(
        "{} to insert, {} to replace, {} to delete, {} as before already",
        count(insert),
        count(replace),
        count(delete),
        count(unchanged)
    ));
    lines.extend(report.dropped.iter().map(|name| format!("{name} is dropped: the restore had created it")));
    for UndoConflict { namespace, id, why } in &report.conflicting {
        let what = if id.is_empty() { namespace.clone() } else { format!("{namespace} {id}") };
        lines.push(plain::line(&format!("conflict: {what}: {why}")).into_owned());
    }
    let more = report.conflicts.saturating_sub(report.conflicting.len() as u64);
    if more > 0 {
        lines.push(format!("and {} more conflicts", count(more)));
    }
    lines.extend(refused::lines(&report.refusals, skips));
    lines.extend(refused::way_out(&report.refusals, skips, false));
    lines.extend(report.notes.iter().map(|note| format!("note: {}", plain::line(note))));
    match &report.proof {
        None => lines.push("nothing was written".to_owned()),
        Some(proof) => {
            let verdict = if report.left.is_empty() { "taken back" } else { "taken back in part" };
            lines.push(format!(
                "{verdict}: {} writes in {}, run {}",
                count(report.written),
                duration(elapsed),
                report.id
            ));
            if report.skipped > 0 {
                lines.push(format!("skipped: {}, because somebody changed them since", count(report.skipped)));
            }
            if !report.left.is_empty() {
                lines.push(format!("not taken back: {}", report.left.join(", ")));
            }
            lines.push(match proof.equal {
                true => {
                    format!("proved: {} records were read back and are as before the restore", count(proof.records))
                }
                false => {
                    "NOT PROVED: what was read back is not what stood there before the restore\nnext: stop whoever \
                          writes there and run the same undo again: it writes what differs and proves it anew"
                        .to_owned()
                }
            });
        }
    }
    lines.join("\n")
}
