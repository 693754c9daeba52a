//! `backstay verify`: whether the archive is what its ledger says.

use std::time::{Duration, Instant};

use backstay_archive::{Problem, Vault, VerifyOptions, VerifyReport};
use backstay_engine::check_runs;
use serde::Serialize;

use super::Context;
use crate::args::VerifyArgs;
use crate::failure::{Exit, Failure};
use crate::installation::Installation;
use crate::output::{Progress, Unit, bytes, count, duration, plain};

#[derive(Serialize)]
struct Summary<'a> {
    source: &'a str,
    checked: u64,
    bytes: u64,
    records: u64,
    problems: &'a [Problem],
    content: bool,
    seconds: f64,
}

/// Verifies.
///
/// # Errors
/// When nothing of the source was backed up, or nothing can be checked at all.
pub async fn run(context: &Context, args: &VerifyArgs) -> Result<Exit, Failure> {
    let started = Instant::now();
    let installation = Installation::open_to_verify(context).await?;
    installation.config.source(&args.source)?;
    let options = VerifyOptions {
        sample: args.sample.map(|sample| (u64::from(sample.part), u64::from(sample.of))),
        content: args.content,
    };
    let progress = Progress::start(&context.output, "verify", Unit::Bytes);
    let mut report = Vault::verify(&installation.repository, &args.source, options, |done, total| {
        progress.set_total(total);
        progress.set_done(done);
    })
    .await?;
    drop(progress);
    // That there is not a single object is no damage, unless there were some.
    if matches!(report.problems.as_slice(), [only] if only.kind == "missing")
        && !installation.repository.vault_names().await?.contains(&args.source)
        && !installation.repository.has_seen(&args.source)?
    {
        return Err(backstay_archive::Error::NoVault { name: args.source.clone() }.into());
    }
    match check_runs(&installation.repository, &args.source).await {
        Ok((checked, unreadable)) => {
            report.checked += checked;
            let altered = |(object, detail)| Problem { kind: "altered".to_owned(), object, detail };
            report.problems.extend(unreadable.into_iter().map(altered));
        }
        // Without a sound chain there is no key to open them with; that is reported already.
        Err(_) if !report.problems.is_empty() => {}
        Err(error) => return Err(error.into()),
    }
    let elapsed = started.elapsed();
    let summary = Summary {
        source: &args.source,
        checked: report.checked,
        bytes: report.bytes,
        records: report.records,
        problems: &report.problems,
        content: args.content,
        seconds: elapsed.as_secs_f64(),
    };
    context.summary(&summary, || describe(&report, args.content, elapsed))?;
    Ok(if report.problems.is_empty() { Exit::Done } else { Exit::CheckFailed })
}

fn describe(report: &VerifyReport, content: bool, elapsed: Duration) -> String {
    let mut text =
        format!("checked {} objects, {}, in {}", count(report.checked), bytes(report.bytes), duration(elapsed));
    if content {
        text.push_str(&format!("; opened {} records and entries", count(report.records)));
    }
    for problem in &report.problems {
        text.push_str(&format!(
            "\n{}: {}: {}",
            problem.kind,
            plain::line(&problem.object),
            plain::line(&problem.detail)
        ));
    }
    match report.problems.len() {
        0 => text.push_str("\nall is well"),
        1 => text.push_str("\n1 problem"),
        many => text.push_str(&format!("\n{many} problems")),
    }
    text
}
