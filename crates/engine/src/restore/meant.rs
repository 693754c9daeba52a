//! Whether there is anything behind the ids that a restore was asked for.
//!
//! ```text
//!   an id       stood there at T                ─▶ meant
//!               stands in the target only       ─▶ meant: it is deleted
//!               came and went since T           ─▶ meant: a restore that is run again has deleted it already
//!               none of these                   ─▶ named in a note; an error when that is all of them
//! ```
//!
//! Side by side, and where the changes since T are not all known, nobody can tell an id that is nowhere from one that the
//! same restore has deleted before: then it is a note and never an error.
//!
//! Nothing would be written for such an id, and the proof of nothing always succeeds: a misspelt id would look restored.
//! Where records may be hidden behind a shredded key nobody can tell, and nothing is said.

use std::collections::BTreeSet;

use backstay_archive::Definition;

use super::Job;
use crate::{Error, Result};

/// How many ids are fetched from the target at a time.
const FETCHED: usize = 64;
/// How many ids are named.
const NAMED: usize = 8;

impl Job<'_> {
    /// Says which of the ids that were asked for are nowhere. [`Error::NothingSelected`] when none is anywhere.
    pub(super) async fn look_for_ids(&mut self, definitions: &[Definition]) -> Result<()> {
        let Some(ids) = self.request.scope.selection.ids.clone().filter(|ids| !ids.is_empty()) else { return Ok(()) };
        if !self.hidden.is_empty() {
            return Ok(());
        }
        let mut absent: BTreeSet<&[u8]> = ids.iter().map(Vec::as_slice).collect();
        for definition in definitions {
            self.turn_to(definition);
            for partition in self.view.partitions(definition.incarnation, self.selection()).await? {
                self.monitor.check()?;
                for (_, id, _) in self.view.load(&partition, self.selection()).await?.iter() {
                    absent.remove(id);
                }
            }
            let through = self.snapshot.through();
            for partition in self.view.partitions_through(definition.incarnation, self.selection(), through).await? {
                for id in self.snapshot.touched(&partition, self.selection(), self.request.at, through).await? {
                    absent.remove(id.as_slice());
                }
            }
            if absent.is_empty() {
                return Ok(());
            }
            let name = self.target_name(&definition.name);
            if !self.live.iter().any(|live| live.name == name) {
                continue;
            }
            let scope = self.live_scope(definition);
            let (wanted, mut scratch): (Vec<&[u8]>, _) = (absent.iter().copied().collect(), String::new());
            for some in wanted.chunks(FETCHED) {
                self.monitor.check()?;
                let found = self.target.fetch(&name, some).await?;
                for (id, _) in found.iter().filter(|(id, image)| scope.has(id, image, &mut scratch)) {
                    absent.remove(id);
                }
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        let mut named: Vec<String> = absent.iter().take(NAMED).map(|id| self.display_id(id)).collect();
        if absent.len() > NAMED {
            named.push(format!("and {} more", absent.len() - NAMED));
        }
        let named = named.join(", ");
        let at = self.request.at;
        if absent.len() == ids.len() && self.since.is_some() {
            let what = format!("no selected record has such an id, neither at {at} nor in the target now: {named}");
            return Err(Error::NothingSelected(what));
        }
        let note = format!("no selected record has these ids, neither at {at} nor in the target now: {named}");
        self.report.notes.push(note);
        Ok(())
    }
}
