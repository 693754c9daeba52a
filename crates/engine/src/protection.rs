//! Taking up what the configuration says is protected.
//!
//! ```text
//!   what the ledger says ──┬─ the same ─▶ go on
//!                          ├─ nothing ──▶ record it
//!                          └─ another ──▶ sort what was captured so far, as it was captured
//!                                         record the change, and a gap from there on
//!                                         scan: what is new comes in, what is left out goes, records change tenants
//! ```
//!
//! Archived entries say neither whether they were protected nor whose they are; patterns and rules do. So at a change all
//! tails are sorted first, by the patterns and rules under which they were captured: no later reader needs those for
//! them, and every instant before the change stays what it was. From the change to the end of the scan the archive is
//! neither the old state nor the new one. That is a gap, with its cause, like any other.

use backstay_archive::Vault;
use backstay_ledger::{Fact, VaultState};
use backstay_model::{Protection, Tick, crash_point};
use backstay_source::Source;

use crate::Result;
use crate::capture::only_stream;

/// The fact that `protection` holds from `from` on.
pub(crate) fn fact(from: Tick, protection: &Protection) -> Fact {
    let Protection { include, tenants, feed } = protection.clone();
    match feed.is_empty() {
        true => Fact::Protected { from, include, tenants },
        false => Fact::ProtectedBy { from, include, tenants, feed },
    }
}

/// Makes what the source's configuration protects what the ledger says is protected. True when that was a change, which
/// leaves a gap open.
pub(crate) async fn take_up(vault: &Vault, source: &dyn Source) -> Result<bool> {
    let wanted = source.protection();
    let stream = only_stream(source).await?;
    loop {
        let state = vault.refresh().await?;
        let Some(before) = state.protection().cloned() else {
            // Whoever did not record it followed the first way there was.
            let assumed = Protection { feed: String::new(), ..wanted.clone() };
            let first = |state: &VaultState| match state.protection() {
                None => vec![fact(through(state, &stream), &assumed)],
                Some(_) => Vec::new(),
            };
            vault.commit(|state| Ok(first(state))).await?;
            continue;
        };
        let Some(change) = wanted.change_since(&before) else { return Ok(false) };
        if !state.completed_scans().is_empty() {
            let interpreter = source.interpreter_of(&before)?;
            vault.compact_through(interpreter.as_ref(), whole_until(&state), |_, _| {}).await?;
        }
        let mut changed = false;
        vault
            .commit(|state| {
                // Another process may have changed it meanwhile, or captured more.
                let whole = whole_until(state);
                let unsorted = !state.completed_scans().is_empty() && state.tails().any(|tail| tail.last <= whole);
                changed = state.protection() == Some(&before) && !unsorted;
                Ok(if changed { facts(state, &stream, &wanted, &change) } else { Vec::new() })
            })
            .await?;
        if changed {
            tracing::warn!(change, "what is protected has changed; scanning the source again");
            crash_point("capture.gap-opened");
            return Ok(true);
        }
    }
}

/// The instant up to which the tails are whole.
fn whole_until(state: &VaultState) -> Tick {
    state.open_gap().map_or(Tick::MAX, |gap| gap.after)
}

fn through(state: &VaultState, stream: &str) -> Tick {
    state.frontier(stream).map_or(Tick::ZERO, |frontier| frontier.through)
}

fn facts(state: &VaultState, stream: &str, wanted: &Protection, change: &str) -> Vec<Fact> {
    let mut facts = Vec::new();
    for scan in state.running_scans() {
        facts.extend(state.segments_of_scan(scan.id).map(|segment| Fact::SegmentRemoved(segment.id)));
        facts.push(Fact::ScanAbandoned { scan: scan.id, why: "what is protected has changed".to_owned() });
    }
    // What is left of the tails lies in a gap, where it is of no use but to the scan that is to end it.
    facts.extend(state.tails().map(|tail| Fact::SegmentRemoved(tail.id)));
    let from = through(state, stream);
    facts.push(fact(from, wanted));
    if !state.completed_scans().is_empty() && state.open_gap().is_none() {
        facts.push(Fact::GapOpened { after: from, cause: format!("what is protected has changed: {change}") });
    }
    facts
}
