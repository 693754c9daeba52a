//! `backstay compact`: the changes captured so far, sorted, so that reading them is cheaper.
//!
//! What was replaced is deleted only once it is an hour old: a restore that began before may still be reading it.

use std::time::Instant;

use serde::Serialize;

use super::Context;
use crate::args::CompactArgs;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::{Progress, Unit, bytes, count, duration};

/// How long a replaced object stays, in seconds: longer than a restore keeps reading one.
const GRACE: u64 = 3_600;

#[derive(Serialize)]
struct Summary<'a> {
    source: &'a str,
    tails: u64,
    deleted: u64,
    deleted_bytes: u64,
    seconds: f64,
}

/// Compacts.
///
/// # Errors
/// When nothing of the source was backed up, or the repository fails; what was committed stays.
pub async fn run(context: &Context, args: &CompactArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    let installation = Installation::open(context).await?;
    let vault = installation.vault(&args.source).await?;
    let interpreter = installation.interpreter(&vault).await?;
    let progress = Progress::start(&context.output, "compact", Unit::Objects);
    let tails = vault
        .compact(interpreter.as_ref(), |done, total| {
            progress.set_total(total);
            progress.set_done(done);
        })
        .await?;
    drop(progress);
    let (deleted, deleted_bytes) = vault.sweep(installation.world().now().saturating_sub(GRACE)).await?;
    let elapsed = started.elapsed();
    let summary = Summary { source: &args.source, tails, deleted, deleted_bytes, seconds: elapsed.as_secs_f64() };
    context.summary(&summary, || {
        format!(
            "sorted {} tails in {}; deleted {} objects that nothing needs any more, {}",
            count(tails),
            duration(elapsed),
            count(deleted),
            bytes(deleted_bytes)
        )
    })?;
    Ok(Exit::Done)
}
