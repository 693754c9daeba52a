//! What shredding has hidden: records that stood at an instant and that nobody can read any more.
//!
//! ```text
//!   records of t2 under its key ──── the key is shredded ──── a whole scan begins ──── it ends ────▶
//!   as of any instant here: some may be hidden                                         none are
//! ```
//!
//! A part of a run that was sealed under a shredded key may hold any id: nobody can tell which. So as of an instant that
//! it reaches back to, a record that is not found is not known to be absent. A scan that began after the shredding ends
//! that: it found unreadable what the key had sealed, and archived anew, under the keys of then, all that still lived. As
//! of its end, and of any instant after it, what is not found was not there.
//!
//! Keys are told apart by their ids, not by their tenants: one who came back has a new key and is read like any other.
//! The times compared are those that the machines gave which shredded and scanned, to the second; a scan that began in
//! the very second of the shredding does not count.

use std::collections::{BTreeSet, HashMap};

use backstay_ledger::Scan;
use backstay_model::{IdRange, Incarnation, Tick};
use backstay_seal::KeyId;

use crate::{Error, Result, Snapshot, Vault};

/// The keys of a vault's tenants that were shredded.
#[derive(Clone, Debug, Default)]
pub struct Shreddings {
    /// When each was, in Unix seconds.
    keys: HashMap<KeyId, u64>,
    tenants: BTreeSet<String>,
}

impl Shreddings {
    /// True when no key ever was.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// True when a key of this tenant was.
    pub fn has_tenant(&self, name: &str) -> bool {
        self.tenants.contains(name)
    }
}

impl Vault {
    /// The keys of tenants that were shredded, by what the keyring says now.
    pub fn shreddings(&self) -> Result<Shreddings> {
        let key_error = |source| Error::Key { object: format!("the vault of `{}`", self.name()), source };
        let mut shreddings = Shreddings::default();
        for entry in self.repository().keyring().entries().map_err(key_error)? {
            let (Some(when), Some(tenant)) = (entry.shredded, entry.tenant) else { continue };
            if entry.vault == Some(self.id()) {
                shreddings.keys.insert(entry.id, when);
                shreddings.tenants.extend(String::from_utf8(tenant).ok());
            }
        }
        Ok(shreddings)
    }
}

impl Snapshot {
    /// The tenants of which records of `namespace` may have stood at `at` that nobody can read any more. Empty when
    /// everything that stood can be read.
    pub async fn hidden(&self, shreddings: &Shreddings, namespace: Incarnation, at: Tick) -> Result<BTreeSet<String>> {
        let mut hidden = BTreeSet::new();
        if shreddings.is_empty() {
            return Ok(hidden);
        }
        for reference in self.layers.relevant(namespace, &IdRange::all(), at) {
            let run = self.open(reference).await?;
            for tenant in run.tenants_of(namespace) {
                let Some(when) = shreddings.keys.get(&tenant.key_id()) else { continue };
                let last = reference.info.last;
                let settles = |scan: &Scan| scan.began > *when && last <= scan.consistent && scan.consistent <= at;
                if !self.state().completed_scans().iter().any(settles) {
                    hidden.insert(tenant.name.clone());
                }
            }
        }
        Ok(hidden)
    }
}
