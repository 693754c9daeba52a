//! What a restore makes of records that nobody can read any more, because the keys of their tenants were shredded.
//!
//! ```text
//!   as of T     not found, and none can be hidden ─▶ it was not there: what stands now is deleted
//!               not found, and some may be hidden ─▶ undecided: what stands now is left as it is, and counted
//! ```
//!
//! Hiding is a matter of a namespace and an instant, not of who is being restored: a live record of any tenant may have
//! been another's then. From the first whole scan after a shredding on nothing is hidden any more, see `Snapshot::hidden`.

use std::collections::BTreeSet;
use std::sync::Arc;

use backstay_archive::{Definition, Selection, Shredded, Vault};

use super::Job;
use crate::{Error, Result};

impl Job<'_> {
    /// Finds out in which namespaces records may be hidden as of T. [`Error::Shredded`] when a tenant is named of whom
    /// nothing else is left.
    pub(super) async fn look_for_hidden(&mut self, vault: &Vault, definitions: &[Definition]) -> Result<()> {
        let shreddings = vault.shreddings()?;
        if shreddings.is_empty() {
            return Ok(());
        }
        self.selection.shredded = Shredded::Gone;
        for definition in definitions {
            let hidden = self.snapshot.hidden(&shreddings, definition.incarnation, self.request.at).await?;
            if !hidden.is_empty() {
                self.hidden.insert(definition.incarnation, hidden);
            }
        }
        let tenants: BTreeSet<String> = self.hidden.values().flatten().cloned().collect();
        for tenant in self.selection.tenants.iter().flatten().filter(|tenant| tenants.contains(*tenant)) {
            if !self.has_readable(tenant, definitions).await? {
                return Err(Error::Shredded { tenant: tenant.clone() });
            }
        }
        if !tenants.is_empty() {
            let names: Vec<&str> = tenants.iter().map(String::as_str).collect();
            self.report.notes.push(format!(
                "left out, because their keys were shredded: {}; what may have been theirs then is left as it is (a backup \
                 that is begun after the shredding settles that, as of any time after it)",
                names.join(", ")
            ));
        }
        Ok(())
    }

    /// True when some record of the tenant, as of T, can be read: it came back after the shredding.
    async fn has_readable(&self, tenant: &str, definitions: &[Definition]) -> Result<bool> {
        let tenants = Some([tenant.to_owned()].into());
        let selection = Selection { tenants, shredded: Shredded::Gone, ..Selection::default() };
        for definition in definitions {
            for partition in self.view.partitions(definition.incarnation, &selection).await? {
                self.monitor.check()?;
                if !self.view.load(&partition, &selection).await?.is_empty() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Makes the selection that of this namespace.
    pub(super) fn turn_to(&mut self, definition: &Definition) {
        if self.selection.shredded != Shredded::Refused {
            let may_hide = self.hidden.contains_key(&definition.incarnation);
            self.selection.shredded = if may_hide { Shredded::Hidden } else { Shredded::Gone };
        }
    }

    /// Says which records of the namespace at hand are left as they are, and why.
    pub(super) async fn note_left(&mut self, definition: &Definition, name: &str) -> Result<()> {
        let left = std::mem::take(&mut self.left);
        let mut outside = left.len();
        if let Some(hidden) = self.hidden.get(&definition.incarnation).filter(|_| !left.is_empty()) {
            let by_id = Selection { ids: Some(Arc::new(left)), ..Selection::default() };
            let mut found = 0;
            for partition in self.view.partitions(definition.incarnation, &by_id).await? {
                found += self.view.load(&partition, &by_id).await?.len();
            }
            let undecided = outside.saturating_sub(found);
            outside = found;
            if undecided > 0 {
                let tenants: Vec<&str> = hidden.iter().map(String::as_str).collect();
                self.report.undecided += undecided as u64;
                self.report.notes.push(format!(
                    "{undecided} records of {name} may have belonged to a tenant whose key was shredded ({}), so that nobody \
                     can tell whether they were there then; they are left as they are",
                    tenants.join(", ")
                ));
            }
        }
        if outside > 0 {
            self.report.notes.push(format!(
                "{outside} records of {name} were outside of the selection then; they are left as they are"
            ));
        }
        Ok(())
    }
}
