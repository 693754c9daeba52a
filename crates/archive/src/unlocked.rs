//! Whether the keyring opens everything that a vault holds, without reading what that is.

use std::collections::BTreeSet;

use backstay_seal::Error as SealError;

use crate::snapshot::Layers;
use crate::{Result, Vault};

impl Vault {
    /// The tenants of whom the vault holds records that are sealed under keys which the keyring does not have: as when an
    /// older keyring was put back. Shredded keys are none of them. Reads the directories of all runs.
    pub async fn tenants_without_keys(&self) -> Result<BTreeSet<String>> {
        let state = self.refresh().await?;
        let mut without = BTreeSet::new();
        for reference in Layers::of(&self.inner, &state).all() {
            let run = self.inner.open_run(reference).await?;
            let missing = run.directory.tenants.iter().filter(|tenant| {
                matches!(
                    self.inner.keys.key(tenant.key_id()),
                    Err(SealError::UnknownKey { .. } | SealError::NoKey { .. })
                )
            });
            without.extend(missing.map(|tenant| tenant.name.clone()));
        }
        Ok(without)
    }
}
