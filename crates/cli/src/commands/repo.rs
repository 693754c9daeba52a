//! `backstay repo probe`: what the storage does, and what Backstay may therefore promise on it.
//!
//! Neither a repository nor a keyring is needed: one probes before one trusts.

use std::time::SystemTime;

use backstay_model::World;
use backstay_store::probe::{Effort, Report, Verdict};

use super::Context;
use crate::failure::{Exit, Failure};
use crate::installation::store;
use crate::world::SystemWorld;

/// Probes the configured storage.
///
/// # Errors
/// When nothing can be written there at all, or stdout cannot be written.
pub async fn probe(context: &Context) -> Result<Exit, Failure> {
    let config = context.config()?;
    let store = store(&config)?;
    let now = SystemTime::now;
    let report = backstay_store::probe::probe(&store, SystemWorld::new().id(), Effort::default(), &now).await?;
    context.document(&report, || describe(&report))?;
    Ok(if report.usable { Exit::Done } else { Exit::CheckFailed })
}

fn describe(report: &Report) -> String {
    let mut lines = vec![format!("{}, as far as trying can tell:", report.place), String::new()];
    for check in &report.checks {
        let verdict = match check.verdict {
            Verdict::Kept => "ok    ",
            Verdict::Broken => "BROKEN",
            Verdict::Absent => "no    ",
            Verdict::Unknown => "?     ",
        };
        lines.push(format!("{verdict}  {}: {}", check.check, check.detail));
    }
    lines.push(String::new());
    let listed = |wanted: fn(bool, bool) -> bool, title: &str, lines: &mut Vec<String>| {
        let chosen: Vec<_> = report.promises.iter().filter(|promise| wanted(promise.kept, promise.needed)).collect();
        if !chosen.is_empty() {
            lines.push(title.to_owned());
            lines.extend(chosen.iter().map(|promise| format!("  - {}", promise.promise)));
        }
    };
    listed(|kept, _| kept, "What Backstay may promise here:", &mut lines);
    listed(|kept, needed| !kept && !needed, "What it may not promise:", &mut lines);
    listed(|kept, needed| !kept && needed, "What it cannot do without, and is not kept:", &mut lines);
    if !report.left_behind.is_empty() {
        let count = report.left_behind.len();
        lines.push(format!("The storage does not let go of {count} objects below probe/ yet: they are locked."));
    }
    lines.push(match report.usable {
        true => "This storage can hold an archive.".to_owned(),
        false => "Do not keep an archive on this storage.".to_owned(),
    });
    lines.join("\n")
}
