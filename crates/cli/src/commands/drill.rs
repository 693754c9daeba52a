//! `backstay drill`: a restore as an exercise.
//!
//! ```text
//!   archive as of T ─▶ backstay_drill_<id>_<database> on a scratch deployment ─▶ read back, digests compared ─▶ dropped
//! ```
//!
//! The scratch deployment is named by flag or by configuration, never guessed, and may not be the source itself. What is
//! dropped are only databases whose names carry this drill's own id, so that a drill can harm nothing that stands there.
//! It runs in the journal like any restore: past drills are listed with their proofs.

use std::sync::Arc;
use std::time::Duration;

use backstay_archive::Error as ArchiveError;
use backstay_engine::{
    ConflictPolicy, Destination, Error, NamespacePlan, Proof, ProofScope, Rename, RestoreReport, RestoreRequest,
    restore,
};
use backstay_model::{Tick, hex};
use backstay_mongodb::MongoDeployment;
use backstay_source::{Source, Target};
use serde::Serialize;

use super::Context;
use crate::args::DrillArgs;
use crate::commands::restore::moment;
use crate::config::Secret;
use crate::failure::{Exit, Failure};
use crate::installation::{Installation, connect_target};
use crate::output::{count, duration, plain};
use crate::selecting;
use crate::standing::Standing;
use crate::time::{rfc3339, show};

/// How the names of all drills' databases begin.
const PREFIX: &str = "backstay_drill_";
/// The longest name of a database: <https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions>.
const LONGEST_NAME: usize = 63;

#[derive(Serialize)]
struct Summary<'a> {
    id: &'a str,
    source: &'a str,
    target: &'a str,
    at: String,
    at_time: String,
    passed: bool,
    records: u64,
    /// From the start of the restore to the end of the comparison.
    seconds: f64,
    records_per_second: f64,
    proof: Option<&'a Proof>,
    namespaces: &'a [NamespacePlan],
    notes: &'a [String],
    /// What was kept, or could not be dropped.
    left: &'a [String],
}

/// Exercises.
///
/// # Errors
/// When no scratch deployment is named, or it is the source; when the instant is not covered, a name is unknown, or the
/// target fails. [`Exit::CheckFailed`] when the archive does.
pub async fn run(context: &Context, args: &DrillArgs) -> Result<Exit, Failure> {
    let scope = selecting::scope(&args.selection)?;
    let installation = Installation::open(context).await?;
    let uri = destination(args, &installation)?;
    let vault = installation.vault(&args.source).await?;
    let at = moment(&vault, &args.at.time, context).await?;
    let interpreter = installation.interpreter(&vault).await?;
    let target = connect_target(&uri, installation.config.source(&args.source)?).await?;
    let found = target.discover().await?;
    match Standing::of(&vault, &found).await? {
        Standing::Other => {}
        Standing::Unknown(error) => {
            let why = format!("{} may be the source itself: a drill needs another deployment", target.location());
            return Err(Failure { message: why, ..Failure::from(error) });
        }
        Standing::Source => {
            let why = format!("{} is the source itself: a drill needs another deployment", target.location());
            return Err(Failure::usage(why).hint("name a deployment whose content is of no account"));
        }
    }
    if selecting::is_doubtful(&args.selection, &vault)? && vault.coverage().await.contains(at) {
        let snapshot = vault.snapshot(Arc::clone(&interpreter), at).await?;
        selecting::check_names(&args.selection, &snapshot, &vault, &[at]).await?;
    }
    let [a, b, c, d, ..] = installation.world().id();
    let own = format!("{PREFIX}{}_", hex(&[a, b, c, d]));
    let rename: Rename = {
        let own = own.clone();
        Arc::new(move |name: &str| scratch_name(&own, name))
    };
    let request = RestoreRequest {
        at,
        scope,
        scope_words: format!("drill of {}", args.selection.describe()),
        terms: args.selection.terms(),
        destination: Destination::Into { rename },
        on_conflict: ConflictPolicy::Abort,
        proof: ProofScope::Full,
        preview: false,
        journal: true,
    };
    let watch = context.watch();
    let done = restore(&vault, None, &target, interpreter, &request, watch.monitor()).await;
    drop(watch);
    let left = clear(&target, &own, args.keep).await;
    let report = done.map_err(|error| failed(error, at))?;
    let left = left?;
    let passed = report.proof.as_ref().is_some_and(|proof| proof.equal);
    print(context, args, &report, &target, passed, &left)?;
    Ok(if passed { Exit::Done } else { Exit::CheckFailed })
}

fn destination(args: &DrillArgs, installation: &Installation) -> Result<Secret, Failure> {
    match (&args.into, &installation.config.drill) {
        (Some(uri), _) => Ok(Secret::new(uri.clone())),
        (None, Some(origin)) => origin.read(),
        (None, None) => Err(Failure::usage("it is not said which deployment is for drills")
            .hint("add --into URI, or drill.into to the configuration; it must not be the source's")),
    }
}

/// The name that a namespace has during the drill. One that would be too long ends in a digest of the whole.
fn scratch_name(own: &str, name: &str) -> String {
    let (database, rest) = name.split_once('.').unwrap_or((name, ""));
    let room = LONGEST_NAME.saturating_sub(own.len());
    if database.len() <= room {
        return format!("{own}{database}.{rest}");
    }
    // FNV-1a, 32 bits: http://www.isthe.com/chongo/tech/comp/fnv/
    let digest =
        database.bytes().fold(0x811c_9dc5_u32, |digest, byte| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut end = room.saturating_sub(9);
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{own}{}_{digest:08x}.{rest}", database.get(..end).unwrap_or_default())
}

/// Drops what the drill made, and names what it leaves: of this drill when it is to be kept, and of earlier ones that
/// were killed.
async fn clear(target: &MongoDeployment, own: &str, keep: bool) -> Result<Vec<String>, Failure> {
    let mut left = Vec::new();
    for namespace in target.definitions().await? {
        if namespace.name.starts_with(own) && !keep {
            target.drop_namespace(&namespace.name).await?;
        } else if namespace.name.starts_with(PREFIX) {
            left.push(namespace.name);
        }
    }
    Ok(left)
}

/// An archive that cannot be read is what a drill is to find out.
fn failed(error: Error, at: Tick) -> Failure {
    let is_found = matches!(
        &error,
        Error::Archive(ArchiveError::Damaged { .. } | ArchiveError::Missing { .. } | ArchiveError::Interpret { .. })
    );
    let failure = Failure::from(error);
    match is_found {
        true => Failure {
            exit: Exit::CheckFailed,
            message: format!("the drill as of {} failed: {}", rfc3339(at), failure.message),
            ..failure
        },
        false => failure,
    }
}

fn print(
    context: &Context,
    args: &DrillArgs,
    report: &RestoreReport,
    target: &MongoDeployment,
    passed: bool,
    left: &[String],
) -> Result<(), Failure> {
    let elapsed = Duration::from_millis(report.milliseconds);
    let records = report.proof.as_ref().map_or(0, |proof| proof.records);
    let target = target.location();
    let summary = Summary {
        id: &report.id,
        source: &args.source,
        target: &target,
        at: report.at.to_string(),
        at_time: rfc3339(report.at),
        passed,
        records,
        seconds: elapsed.as_secs_f64(),
        // Counts of records are far below 2⁵³.
        records_per_second: records as f64 / elapsed.as_secs_f64().max(0.001),
        proof: report.proof.as_ref(),
        namespaces: &report.namespaces,
        notes: &report.notes,
        left,
    };
    context.summary(&summary, || {
        let at = show(report.at, context.now.time_zone());
        let verdict = if passed { "drill passed" } else { "DRILL FAILED" };
        let mut lines =
            vec![format!("{verdict}: {} of {} as of {at}, on {target}", args.selection.describe(), args.source)];
        lines.push(format!(
            "{} records in {} namespaces restored and compared in {}",
            count(records),
            count(report.namespaces.len() as u64),
            duration(elapsed)
        ));
        if let Some(proof) = report.proof.as_ref().filter(|proof| !proof.has_equal_records()) {
            lines.push(format!("the archive's digest is {}, the target's {}", proof.archive, proof.target));
        }
        let differences = report.proof.iter().flat_map(|proof| &proof.definitions);
        lines.extend(differences.map(|difference| format!("differs: {difference}")));
        lines.extend(report.notes.iter().map(|note| format!("note: {}", plain::line(note))));
        lines.extend(left.iter().map(|name| format!("left there: {}", plain::line(name))));
        lines.join("\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_what_the_server_takes_and_apart() {
        let own = "backstay_drill_0a1b2c3d_";
        assert_eq!(scratch_name(own, "shop.orders.old"), "backstay_drill_0a1b2c3d_shop.orders.old");
        let long = |end: &str| format!("{}{end}", "é".repeat(30));
        let (one, two) =
            (scratch_name(own, &format!("{}.c", long("1"))), scratch_name(own, &format!("{}.c", long("2"))));
        assert_ne!(one, two);
        for name in [&one, &two] {
            let (database, rest) = name.split_once('.').unwrap_or_default();
            assert!(database.len() <= LONGEST_NAME && database.starts_with(own) && rest == "c", "{name}");
        }
    }
}
