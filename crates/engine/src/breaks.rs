//! Where a feed cannot simply be followed.
//!
//! ```text
//!   … entries ──▶ tail ─┤ a break
//!                       ├─ renamed, other tenant rules ─▶ its records are filed anew out of the archive ─▶ go on with the entry
//!                       └─ anything else ───────────────▶ a gap, and a scan over it; the entry is not archived
//! ```
//!
//! What comes before a break is committed first, so that a gap begins just before it, and so that records can be filed anew as
//! of then. A break that another process has got past meanwhile is none.

use std::sync::Arc;

use backstay_archive::Vault;
use backstay_ledger::{Fact, SegmentInfo, VaultState};
use backstay_model::{Break, EntryBatch, Interpreter, Protection, Tick, crash_point};

use crate::Result;
use crate::capture::still_protects;

/// What became of a break.
pub(crate) enum Passed {
    /// Records were filed under their new tenants: the entry can be archived.
    Reassigned,
    /// Only a scan gets past it; why, in words.
    Not(String),
}

/// Does what can be done about a break at `at` without asking the source. Everything before it is committed.
pub(crate) async fn get_over(
    vault: &Vault,
    stream: &str,
    protection: &Protection,
    interpreter: &Arc<dyn Interpreter>,
    at: Tick,
    found: Break,
) -> Result<Passed> {
    let (namespace, name) = match found {
        Break::Untold(cause) => return Ok(Passed::Not(cause)),
        Break::Renamed { namespace, name } => (namespace, name),
    };
    let state = vault.state().await;
    if state.completed_scans().is_empty() || state.open_gap().is_some() {
        // The archive does not tell which records it has.
        return Ok(Passed::Not(format!(
            "while the source was scanned, a namespace was renamed to {name}, for which other tenant rules hold"
        )));
    }
    if !is_filed(&state, at) {
        let segments = vault.reassign(interpreter, namespace, &name, at).await?;
        commit_reassigned(vault, stream, protection, at, segments).await?;
    }
    Ok(Passed::Reassigned)
}

/// Whether records were filed anew at `at`, which is ahead of the frontier: nothing else is filed there without a scan.
fn is_filed(state: &VaultState, at: Tick) -> bool {
    state.delta_runs().any(|run| run.scan.is_none() && run.first >= at)
}

async fn commit_reassigned(
    vault: &Vault,
    stream: &str,
    protection: &Protection,
    at: Tick,
    segments: Vec<SegmentInfo>,
) -> Result<()> {
    vault
        .commit(|state| {
            let ahead = state.frontier(stream).is_some_and(|frontier| frontier.through < at);
            let wanted = ahead && !is_filed(state, at) && still_protects(state, protection);
            Ok(if wanted { segments.iter().cloned().map(Fact::SegmentAdded).collect() } else { Vec::new() })
        })
        .await?;
    crash_point("capture.reassigned");
    Ok(())
}

/// Commits that changes were lost.
pub(crate) async fn open_gap(vault: &Vault, stream: &str, wanted: Tick, oldest: Tick) -> Result<()> {
    let cause = format!(
        "the change feed had rolled over: it was to be read from {wanted} on, but reached back to {oldest} only"
    );
    commit_gap(vault, stream, Tick::MAX, &cause).await
}

/// Commits that the feed went on without showing what came after `after`.
pub(crate) async fn open_gap_unshown(vault: &Vault, stream: &str, after: Tick, why: &str) -> Result<()> {
    let cause = format!("the change feed could not show what came after {after}: {why}");
    commit_gap(vault, stream, Tick::MAX, &cause).await
}

/// Commits that the feed cannot be followed past `at`. Not when another process has got past it meanwhile.
pub(crate) async fn open_gap_before(vault: &Vault, stream: &str, at: Tick, cause: &str) -> Result<()> {
    commit_gap(vault, stream, at, cause).await
}

async fn commit_gap(vault: &Vault, stream: &str, before: Tick, cause: &str) -> Result<()> {
    tracing::warn!(cause, "changes were lost; scanning the source again");
    vault
        .commit(|state| {
            let after = state.frontier(stream).map_or(Tick::ZERO, |frontier| frontier.through);
            Ok(match state.open_gap() {
                None if after < before => vec![Fact::GapOpened { after, cause: cause.to_owned() }],
                _ => Vec::new(),
            })
        })
        .await?;
    crash_point("capture.gap-opened");
    Ok(())
}

/// The entries of a batch that became visible before `at`.
pub(crate) fn before(batch: &EntryBatch, at: Tick) -> EntryBatch {
    let mut first = EntryBatch::default();
    for (visible, entry) in batch.iter().take_while(|(visible, _)| *visible < at) {
        first.push(visible, entry);
    }
    first
}
