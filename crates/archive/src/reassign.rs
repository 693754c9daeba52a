//! Filing the records of a namespace under other tenants, because from an instant on its name is one for which other
//! rules hold.
//!
//! ```text
//!   a record as of just before `at`   old tenant … image ── † at `at`
//!                                     new tenant              └▶ image at `at`
//! ```
//!
//! The feed tells of the new name by one entry, and of no record: what a rename moves between tenants is written down here,
//! as sorting would have written it had each record been updated. Whatever was before stays as it was, under whom it was.
//!
//! Not for a namespace whose records the archive does not hold: that takes a scan.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay_ledger::SegmentInfo;
use backstay_model::{BodyRef, Incarnation, Interpreter, Tenant, Tick, Version};

use crate::compact::{Filed, FiledBody, encode};
use crate::{Loaded, Result, Selection, Vault};

impl Vault {
    /// Stores what it takes for the records of `namespace` to belong, from `at` on, to the tenants to whom they belong under
    /// its new `name`, and returns the segments, which the caller is to commit before anything from `at` on. Empty when
    /// nothing changes hands.
    ///
    /// Everything before `at` must be captured and restorable. Its tails are sorted first, and that is committed: they stand
    /// above all runs.
    pub async fn reassign(
        &self,
        interpreter: &Arc<dyn Interpreter>,
        namespace: Incarnation,
        name: &str,
        at: Tick,
    ) -> Result<Vec<SegmentInfo>> {
        let before = at.previous();
        self.compact_through(interpreter.as_ref(), before, |_, _| {}).await?;
        let view = self.snapshot(Arc::clone(interpreter), before).await?.at(before).await?;
        let everything = Selection::default();
        let mut segments = Vec::new();
        for partition in view.partitions(namespace, &everything).await? {
            let records = view.load(&partition, &everything).await?;
            segments.extend(self.store_moves(&records, interpreter.as_ref(), namespace, name, at).await?);
        }
        Ok(segments)
    }

    async fn store_moves(
        &self,
        records: &Loaded,
        interpreter: &dyn Interpreter,
        namespace: Incarnation,
        name: &str,
        at: Tick,
    ) -> Result<Vec<SegmentInfo>> {
        // No change of a record shares the tick of its namespace's rename.
        let version = Version::new(at, 0);
        let mut scratch = String::new();
        let mut moved: Vec<(&Tenant, Tenant, Vec<u8>, &[u8])> = Vec::new();
        for (tenant, id, image) in records.iter() {
            let owner = interpreter.tenant(name, image, &mut scratch);
            if owner != tenant.as_str() {
                let key = [&namespace.0.to_be_bytes()[..], id].concat();
                moved.push((tenant, Tenant::new(owner), key, image));
            }
        }
        let mut segments = Vec::new();
        let mut rest = moved.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let within = rest.iter().take_while(|(.., key, image)| {
                let fits = bytes < self.limits().chunk;
                bytes += key.len() * 2 + image.len();
                fits
            });
            let (group, after) = rest.split_at(within.count().max(1));
            let mut by_tenant: BTreeMap<Tenant, Vec<Filed<'_>>> = BTreeMap::new();
            for (old, new, key, image) in group {
                let mut file = |tenant: &Tenant, body| {
                    let filed = Filed { key, version, body: FiledBody::Borrowed(body) };
                    by_tenant.entry(tenant.clone()).or_default().push(filed);
                };
                file(old, BodyRef::Tombstone);
                file(new, BodyRef::Image(image));
            }
            let sorted = encode(&self.inner, by_tenant, at, at)?;
            self.inner.store().create(&self.inner.segment_path(&sorted.info.id), sorted.file).await?;
            segments.push(sorted.info);
            rest = after;
        }
        Ok(segments)
    }
}
