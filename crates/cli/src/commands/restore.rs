//! `backstay restore`: data brought back as of an instant.
//!
//! ```text
//!   --preview                     walk, print the plan, write nothing
//!   --yes                         walk and write, read back, prove
//!   neither, on a terminal        walk, print the plan, ask, then as with --yes
//!   neither, elsewhere            refused
//! ```

mod names;
mod report;

use std::sync::Arc;

use backstay_archive::Vault;
use backstay_engine::{
    ConflictPolicy, Destination, Error, ProofScope, RestoreReport, RestoreRequest, is_refused, restore,
};
use backstay_model::Tick;
use backstay_mongodb::MongoDeployment;
use backstay_source::{Source, Target};

use super::Context;
use crate::args::{self, RestoreArgs};
use crate::confirm::Danger;
use crate::failure::{Exit, Failure};
use crate::installation::{Installation, connect_target};
use crate::standing::Standing;
use crate::time::{Moment, TimeSpec, show};
use crate::{protected, selecting};

/// Restores, or previews it.
///
/// # Errors
/// When the instant is not covered, a name is unknown, consent is missing, or the target or the repository fails.
pub async fn run(context: &Context, args: &RestoreArgs) -> Result<Exit, Failure> {
    let destination = args.target.destination(&context.environment)?;
    let scope = selecting::scope(&args.selection)?;
    let installation = Installation::open(context).await?;
    let mut place = Place::open(&installation, args, &destination).await?;
    let at = moment(&place.vault, &args.at, context).await?;
    protected::check(&args.selection, &place.vault, at, &context.output).await?;
    if let Some(then) = place.vault.state().await.protection_at(at) {
        place.target = place.target.as_protected_by(then)?;
    }
    let proof = match (args.target.proof, place.in_place) {
        (Some(args::Proof::Changed), _) | (None, true) => ProofScope::Changed,
        (Some(args::Proof::Full), _) | (None, false) => ProofScope::Full,
    };
    let request = RestoreRequest {
        at,
        scope,
        scope_words: args.selection.describe(),
        terms: args.selection.terms(),
        destination: place.destination(args),
        on_conflict: ConflictPolicy::from(args.target.on_conflict),
        proof,
        preview: args.preview,
        journal: !args.no_journal,
    };
    if selecting::is_doubtful(&args.selection, &place.vault)? {
        place.check_names(args, at, &installation).await?;
    }
    if args.preview {
        let report = place.run(context, args, &request, &installation).await?;
        report::print(context, args, &report, &place.location())?;
        return Ok(if is_refused(&report.refusals, request.on_conflict) { Exit::CheckFailed } else { Exit::Done });
    }
    if !args.yes {
        let preview = RestoreRequest { preview: true, ..request.clone() };
        if context.is_interactive() {
            let report = place.run(context, args, &preview, &installation).await?;
            report::print_plan(context, args, &report, &place.location())?;
            if is_refused(&report.refusals, request.on_conflict) {
                return Ok(Exit::CheckFailed);
            }
            if report.plan.writes() == 0 {
                context.output.text("nothing to do: everything stands as it did")?;
                return Ok(Exit::Done);
            }
        }
        let manner = if place.in_place { "in place on" } else { "into" };
        let at = show(at, context.now.time_zone());
        let undo = if args.no_journal { ", which cannot be taken back" } else { "" };
        let action = format!(
            "restore {} of {} as of {at} {manner} {}{undo}",
            request.scope_words,
            args.source,
            place.location()
        );
        context.confirm(Danger { action }, args.yes).await?;
    }
    let report = place.run(context, args, &request, &installation).await?;
    report::print(context, args, &report, &place.location())?;
    match report.proof {
        Some(proof) if !proof.equal => Ok(Exit::CheckFailed),
        _ if report.undecided > 0 => Ok(Exit::PartlyUnread),
        _ => Ok(Exit::Done),
    }
}

/// The instant that is meant; `latest` is the last one that can be had.
///
/// # Errors
/// When nothing can be had, or the time does not exist.
pub async fn moment(vault: &Vault, time: &TimeSpec, context: &Context) -> Result<Tick, Failure> {
    match time.resolve(&context.now)? {
        Moment::At(tick) => Ok(tick),
        Moment::Latest => {
            let coverage = vault.refresh().await?.coverage();
            let last = coverage.spans().last().map(|span| span.to);
            last.ok_or_else(|| {
                Failure::new(
                    Exit::Unrestorable,
                    format!("nothing of {} can be restored yet: no backup has been completed", vault.name()),
                )
                .hint(format!("run backstay backup {} to its end", vault.name()))
            })
        }
    }
}

/// Where data comes from and goes to.
struct Place {
    vault: Vault,
    in_place: bool,
    /// Whether what is written is the source, in place or not.
    standing: Standing,
    /// The source, in place: it is captured by what the configuration says.
    source: Option<MongoDeployment>,
    /// The deployment that is written; the source itself in place. Whose its records are is decided by the rules as of
    /// the instant, as with those in the archive.
    target: MongoDeployment,
}

impl Place {
    async fn open(
        installation: &Installation,
        args: &RestoreArgs,
        destination: &args::Destination,
    ) -> Result<Place, Failure> {
        match destination {
            args::Destination::InPlace => {
                let (vault, target) = installation.live(&args.source).await?;
                Ok(Place { vault, in_place: true, standing: Standing::Source, source: Some(target.clone()), target })
            }
            args::Destination::Into(uri) => {
                let vault = installation.vault(&args.source).await?;
                let target = connect_target(uri, installation.config.source(&args.source)?).await?;
                let found = target.discover().await?;
                let standing = Standing::of(&vault, &found).await?;
                Ok(Place { vault, in_place: false, standing, source: None, target })
            }
        }
    }

    fn location(&self) -> String {
        self.target.location()
    }

    fn destination(&self, args: &RestoreArgs) -> Destination {
        if self.in_place {
            return Destination::InPlace;
        }
        let names = names::Names { renames: args.target.renames.clone(), target: names::Target::from(&self.standing) };
        Destination::Into { rename: Arc::new(names) }
    }

    async fn check_names(&self, args: &RestoreArgs, at: Tick, installation: &Installation) -> Result<(), Failure> {
        let interpreter = installation.interpreter(&self.vault).await?;
        let coverage = self.vault.coverage().await;
        // The verb says better than we can why an instant cannot be had, and may catch up with it first.
        let Some(last) = coverage.spans().last().map(|span| span.to).filter(|_| coverage.contains(at)) else {
            return Ok(());
        };
        let snapshot = self.vault.snapshot(interpreter, last).await?;
        selecting::check_names(&args.selection, &snapshot, &self.vault, &[at, last]).await
    }

    async fn run(
        &self,
        context: &Context,
        args: &RestoreArgs,
        request: &RestoreRequest,
        installation: &Installation,
    ) -> Result<RestoreReport, Failure> {
        let watch = context.watch();
        let source = self.source.as_ref().map(|source| source as &dyn Source);
        let interpreter = installation.interpreter_at(&self.vault, request.at).await?;
        match restore(&self.vault, source, &self.target, interpreter, request, watch.monitor()).await {
            Ok(report) => Ok(report),
            Err(error @ Error::NothingSelected(_)) => {
                self.check_names(args, request.at, installation).await?;
                Err(error.into())
            }
            Err(error) if request.journal && cannot_write(&error) => Err(Failure::from(error).hint(
                "if the archive can be read and not be written: --no-journal restores all the same, and then nobody can \
                 list this restore or take it back",
            )),
            Err(error) => Err(error.into()),
        }
    }
}

/// True when the store refuses what a restore writes there: the journal, and in place what the source has changed since.
fn cannot_write(error: &Error) -> bool {
    use backstay_store::Error as Store;
    matches!(error, Error::Archive(backstay_archive::Error::Store(Store::Denied { .. } | Store::Full { .. })))
}
