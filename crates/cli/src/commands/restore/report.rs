//! What a restore says of itself.

use std::time::Duration;

use backstay_engine::{NamespacePlan, Plan, Proof, ProofScope, Refusal, RestoreReport};
use serde::Serialize;

use crate::args::{OnConflict, RestoreArgs};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::{Align, count, duration, plain, table};
use crate::refused;
use crate::time::{rfc3339, show};

#[derive(Serialize)]
struct Summary<'a> {
    id: &'a str,
    source: &'a str,
    target: &'a str,
    at: String,
    at_time: String,
    preview: bool,
    plan: Plan,
    written: u64,
    skipped: u64,
    /// Records that stay as they are because they may have been of a tenant whose key was shredded.
    undecided: u64,
    proof: Option<&'a Proof>,
    seconds: f64,
    namespaces: &'a [NamespacePlan],
    /// What would be refused, by today's indexes and validators.
    refusals: &'a [Refusal],
    notes: &'a [String],
}

/// Prints the report of a restore or of a preview.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(context: &Context, args: &RestoreArgs, report: &RestoreReport, target: &str) -> Result<(), Failure> {
    let elapsed = Duration::from_millis(report.milliseconds);
    let summary = Summary {
        id: &report.id,
        source: &args.source,
        target,
        at: report.at.to_string(),
        at_time: rfc3339(report.at),
        preview: report.proof.is_none(),
        plan: report.plan,
        written: report.written,
        skipped: report.skipped,
        undecided: report.undecided,
        proof: report.proof.as_ref(),
        seconds: elapsed.as_secs_f64(),
        namespaces: &report.namespaces,
        refusals: &report.refusals,
        notes: &report.notes,
    };
    context.summary(&summary, || match &report.proof {
        None => format!("{}\nnothing was written", plan(context, args, report, target)),
        Some(proof) => done(context, args, report, proof, elapsed, target),
    })
}

/// Prints the plan for the person who is to agree to it.
///
/// # Errors
/// When stdout cannot be written.
pub fn print_plan(context: &Context, args: &RestoreArgs, report: &RestoreReport, target: &str) -> Result<(), Failure> {
    context.output.text(&plan(context, args, report, target))
}

fn plan(context: &Context, args: &RestoreArgs, report: &RestoreReport, target: &str) -> String {
    let at = show(report.at, context.now.time_zone());
    let manner = if args.target.in_place { "in place on" } else { "into" };
    let what = args.selection.describe();
    let mut text = format!("{} of {} as of {at}, {manner} {target}:\n", plain::line(&what), args.source);
    text.push_str(&namespaces(report));
    let skips = args.target.on_conflict == OnConflict::Skip;
    let refused = refused::lines(&report.refusals, skips).into_iter();
    for line in refused.chain(refused::way_out(&report.refusals, skips, true)) {
        text.push_str(&format!("\n{line}"));
    }
    for note in &report.notes {
        text.push_str(&format!("\nnote: {}", plain::line(note)));
    }
    text
}

fn namespaces(report: &RestoreReport) -> String {
    let header = [
        ("namespace", Align::Left),
        ("insert", Align::Right),
        ("replace", Align::Right),
        ("delete", Align::Right),
        ("unchanged", Align::Right),
        ("", Align::Left),
    ];
    let numbers = |name: String, plan: &Plan, remark: String| {
        vec![name, count(plan.insert), count(plan.replace), count(plan.delete), count(plan.unchanged), remark]
    };
    let mut rows: Vec<Vec<String>> = report
        .namespaces
        .iter()
        .map(|namespace| {
            let name = match namespace.target == namespace.namespace {
                true => namespace.namespace.clone(),
                false => format!("{} → {}", namespace.namespace, namespace.target),
            };
            let remark = if namespace.create { "is created" } else { "" };
            numbers(name, &namespace.plan, remark.to_owned())
        })
        .collect();
    if rows.len() > 1 {
        rows.push(numbers("in all".to_owned(), &report.plan, String::new()));
    }
    table(&header, rows)
}

fn done(
    context: &Context,
    args: &RestoreArgs,
    report: &RestoreReport,
    proof: &Proof,
    elapsed: Duration,
    target: &str,
) -> String {
    let mut text = plan(context, args, report, target);
    let run = if report.id.is_empty() { "in no journal".to_owned() } else { format!("run {}", report.id) };
    text.push_str(&format!("\nrestored: {} writes in {}, {run}", count(report.written), duration(elapsed)));
    if report.skipped > 0 {
        text.push_str(&format!("\nskipped: {} records that had changed meanwhile", count(report.skipped)));
    }
    let what = match proof.scope {
        ProofScope::Changed => "records that changed since",
        ProofScope::Full => "records",
    };
    let records = count(proof.records);
    match (proof.equal, proof.has_equal_records()) {
        (true, _) => text.push_str(&format!(
            "\nproved: {records} {what} were read back; their digest is the archive's, {}",
            shorten(&proof.archive)
        )),
        (false, true) => text.push_str(&format!(
            "\nNOT EQUAL: {records} {what} were read back and their digest is the archive's, {}, but definitions differ",
            shorten(&proof.archive)
        )),
        (false, false) => text.push_str(&format!(
            "\nNOT PROVED: {records} {what} were read back; their digest is {}, the archive's is {}",
            shorten(&proof.target),
            shorten(&proof.archive)
        )),
    }
    if report.undecided > 0 {
        text.push_str(&format!(
            "\nnot decided: {} records stay as they are, because a key was shredded under which they may have stood",
            count(report.undecided)
        ));
    }
    for difference in &proof.definitions {
        text.push_str(&format!("\ndiffers: {}", plain::line(difference)));
    }
    if !proof.has_equal_records() {
        text.push_str(
            "\nnext: stop whoever writes there and run the same restore again: it writes what differs and proves it anew",
        );
    } else if !proof.definitions.is_empty() {
        text.push_str(
            "\nnext: restores change no options and drop no indexes of collections that are there: set them back with \
             collMod, createIndexes or dropIndexes, then run the same restore again, or leave them if they are meant",
        );
    }
    text
}

/// Enough of a digest for people to compare.
fn shorten(digest: &str) -> &str {
    digest.get(..16).unwrap_or(digest)
}
