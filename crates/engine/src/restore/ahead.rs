//! What a preview, or a restore without a journal, knows of the changes that no capture has archived yet.
//!
//! ```text
//!   … archived ──▶ frontier ──▶ followed in memory ──▶ what the source has committed by now
//! ```
//!
//! A restore in place captures first. A preview must write nothing, to the archive as little as to the source, and is to
//! show the same plan: so it follows the feed from the frontier in memory, and reads the archive as if that had been
//! captured. It holds no more than an archive's reader holds of tails. Where it cannot follow (the feed has rolled over, a
//! gap is open, too much has changed, or what comes cannot simply be archived) it reads at the frontier, compares what is
//! there now with that, and says so. An archive that cannot be written is read in the same way.

use std::sync::Arc;

use backstay_archive::{Ahead, Error as ArchiveError, Snapshot, Vault};
use backstay_model::{EntryBatch, Interpreter, Tick};
use backstay_source::{Error as SourceError, Source, Start};

use crate::capture::{only_stream, still_protects};
use crate::{Error, Monitor, Result};

/// What a preview reads.
pub(crate) struct Sight {
    pub snapshot: Snapshot,
    /// Up to where every change is known.
    pub through: Tick,
    /// Why it does not reach up to now, if it does not.
    pub short: Option<String>,
}

impl Sight {
    /// Why an instant cannot be shown: with what a capture would have to do first.
    pub fn explain(&self, error: ArchiveError) -> Error {
        match (error, &self.short) {
            (ArchiveError::NotCovered { at, before, after, .. }, Some(short)) if at > self.through => {
                let through = self.through;
                let why = format!("the archive holds every change through {through} only, and {short}; capture first");
                Error::Archive(ArchiveError::NotCovered { at, why, before, after })
            }
            (error, _) => Error::Archive(error),
        }
    }
}

/// Reads the archive as it would be if everything that `source` has committed were captured. Writes nothing.
pub(crate) async fn look(
    vault: &Vault,
    source: &dyn Source,
    interpreter: Arc<dyn Interpreter>,
    monitor: &Monitor,
) -> Result<Sight> {
    let stream = only_stream(source).await?;
    let state = vault.refresh().await?;
    let Some(frontier) = state.frontier(&stream) else {
        return Err(Error::NoBase { source_name: vault.name().to_owned() });
    };
    let mut followed = Followed { entries: Vec::new(), through: frontier.through, short: None };
    if state.open_gap().is_some() {
        followed.short = Some("a gap is open that only a scan of the source can close".to_owned());
    } else if !still_protects(&state, &source.protection()) {
        // Its feed is followed by what is protected now: of the rest it would show nothing.
        followed.short =
            Some("other namespaces are protected now than are archived, or by other tenant rules".to_owned());
    } else {
        let start = Start { resume: frontier.resume, through: frontier.through };
        followed.follow(source, interpreter.as_ref(), start, vault.limits().tail_budget, monitor).await?;
    }
    let Followed { entries, through, short } = followed;
    let snapshot = vault.snapshot_ahead(state, interpreter, Ahead { entries: &entries, through }).await?;
    Ok(Sight { snapshot, through, short })
}

const ROLLED_OVER: &str = "the change feed has rolled over, or cannot show all that changed since";

struct Followed {
    entries: Vec<EntryBatch>,
    through: Tick,
    short: Option<String>,
}

impl Followed {
    /// Follows the feed up to what is committed now, or falls short of it and forgets what it followed.
    async fn follow(
        &mut self,
        source: &dyn Source,
        interpreter: &dyn Interpreter,
        start: Start,
        budget: u64,
        monitor: &Monitor,
    ) -> Result<()> {
        let committed = source.position().await?.committed;
        if committed <= self.through {
            return Ok(());
        }
        let mut tail = match source.tail(start).await {
            Err(SourceError::RolledOver { .. } | SourceError::Unshown { .. }) => {
                return self.give_up(start, ROLLED_OVER);
            }
            tail => tail?,
        };
        let mut bytes = 0;
        while self.through < committed {
            monitor.check()?;
            let mut batch = EntryBatch::default();
            match tail.next(&mut batch).await {
                Err(SourceError::RolledOver { .. } | SourceError::Unshown { .. }) => {
                    return self.give_up(start, ROLLED_OVER);
                }
                next => next?,
            }
            if batch.iter().any(|(_, entry)| interpreter.break_at(entry).is_some()) {
                return self.give_up(start, "what was renamed or changed since has to be scanned or filed anew");
            }
            bytes += batch.bytes() as u64;
            if bytes > budget {
                return self.give_up(start, "more has changed since than is held in memory");
            }
            self.through = self.through.max(batch.through);
            if !batch.is_empty() {
                self.entries.push(batch);
            }
        }
        Ok(())
    }

    fn give_up(&mut self, start: Start, why: &str) -> Result<()> {
        *self = Followed { entries: Vec::new(), through: start.through, short: Some(why.to_owned()) };
        Ok(())
    }
}
