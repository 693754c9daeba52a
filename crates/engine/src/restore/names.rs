//! Under which names a restore writes, and which of them cannot be meant.
//!
//! All names are looked at before anything is written, and a preview refuses what the restore would refuse.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::journal::RunNamespace;
use crate::restore::Destination;
use crate::{Error, Result};

/// Maps a namespace's name at T to its name in the target. A plain function will do.
pub trait Renaming: Send + Sync {
    /// The name in the target.
    fn rename(&self, name: &str) -> String;

    /// Refuses names that cannot be meant. Asked once, with all that are to be restored.
    fn check(&self, _names: &[RunNamespace]) -> Result<(), WrongNames> {
        Ok(())
    }
}

impl<F: Fn(&str) -> String + Send + Sync> Renaming for F {
    fn rename(&self, name: &str) -> String {
        self(name)
    }
}

/// Maps a namespace's name at T to its name in the target.
pub type Rename = Arc<dyn Renaming>;

/// Why names were refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrongNames {
    /// What is wrong.
    pub why: String,
    /// What to give instead.
    pub instead: String,
}

/// Refuses names that two namespaces would share, and what the destination refuses.
pub(super) fn check(destination: &Destination, names: &[RunNamespace]) -> Result<()> {
    let Destination::Into { rename } = destination else { return Ok(()) };
    let wrong = |WrongNames { why, instead }: WrongNames| Error::WrongNames { why, instead };
    rename.check(names).map_err(wrong)?;
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for RunNamespace { namespace, target, .. } in names {
        if let Some(other) = taken.insert(target, namespace) {
            return Err(Error::WrongNames {
                why: format!("{other} and {namespace} would both be restored as {target}"),
                instead: "give each a name of its own, or restore one at a time".to_owned(),
            });
        }
    }
    Ok(())
}
