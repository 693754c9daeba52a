//! Deleting the files of segments that nothing needs any more.
//!
//! ```text
//!   list ──► raise the floor (a commit) ──► delete what was begun or removed below it and is not live
//! ```
//!
//! The floor makes that safe without a clock or a lock (R1): once it is committed, no writer, however long it slept, can add
//! a segment that was begun below it. So whoever sees a file that is garbage by the newest state may delete it, at any
//! time, twice, or after a crash in between. Clocks only choose how high the floor is raised: high enough to be of use,
//! low enough to spare who is still at work.

use std::collections::HashSet;
use std::time::UNIX_EPOCH;

use backstay_ledger::{Fact, VaultState};
use backstay_store::Object;

use crate::repository::unhex;
use crate::{Error, Result, Vault};

impl Vault {
    /// Deletes the files of segments that no commit names any more, or ever named, if that was so before `older_than_unix`
    /// (seconds), to within an hour: younger ones may still be read by a restore that began before, or be waiting for
    /// their commit. A writer that began before and commits only now is refused, and must write again. Returns how many
    /// were deleted and their bytes.
    pub async fn sweep(&self, older_than_unix: u64) -> Result<(u64, u64)> {
        let mut objects = self.segment_objects().await?;
        objects.retain(|object| written(object) < older_than_unix);
        // The state is read after the list: what was committed in between is live in it.
        let state = self.refresh().await?;
        let floor = state.floor_before(older_than_unix);
        let is_live = |state: &VaultState, object: &Object| match self.id_of(object) {
            Some(id) => state.segment(&id).is_some(),
            None => true,
        };
        objects.retain(|object| !is_live(&state, object));
        if !objects.iter().all(|object| self.is_garbage(&state, object)) {
            self.commit(|state| Ok(if state.floor() < floor { vec![Fact::FloorRaised { floor }] } else { Vec::new() }))
                .await?;
        }
        let state = self.state().await;
        self.delete(objects, |object| self.is_garbage(&state, object)).await
    }

    /// Deletes the files of all segments that a commit has replaced, however young: a restore that is still reading them
    /// fails. What waits for its commit stays. Returns how many were deleted and their bytes.
    pub async fn discard_replaced(&self) -> Result<(u64, u64)> {
        let objects = self.segment_objects().await?;
        let state = self.refresh().await?;
        let replaced: HashSet<String> = state.removed().keys().map(|id| self.inner.segment_path(id)).collect();
        self.delete(objects, |object| replaced.contains(&object.path) || self.is_garbage(&state, object)).await
    }

    fn id_of(&self, object: &Object) -> Option<[u8; 16]> {
        let name = object.path.strip_prefix(&self.inner.segment_prefix())?;
        unhex(name)
    }

    fn is_garbage(&self, state: &VaultState, object: &Object) -> bool {
        self.id_of(object).is_some_and(|id| state.is_garbage(&id))
    }

    async fn segment_objects(&self) -> Result<Vec<Object>> {
        Ok(self.inner.store().list(&self.inner.segment_prefix()).await?)
    }

    async fn delete(&self, objects: Vec<Object>, condemned: impl Fn(&Object) -> bool) -> Result<(u64, u64)> {
        let (mut count, mut bytes) = (0, 0);
        if objects.iter().any(&condemned) {
            // A commit that was made beside the chain may say that the floor was raised when it was not.
            self.confirm().await?;
        }
        for object in objects.iter().filter(|object| condemned(object)) {
            match self.inner.store().delete(&object.path).await.map_err(Error::from) {
                Ok(()) => {
                    count += 1;
                    bytes += object.size;
                }
                // Somebody else cleans up as well.
                Err(Error::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok((count, bytes))
    }
}

fn written(object: &Object) -> u64 {
    object.modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
