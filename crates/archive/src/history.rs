//! All versions of one record.

use std::sync::Arc;

use backstay_model::{Body, BodyRef, IdRange, Tenant, Version};
use backstay_segment::record_key;

use crate::load::gather;
use crate::merge::fold_one;
use crate::snapshot::Snapshot;
use crate::table::up_to;
use crate::{Error, Partition, Result, Selection};

/// One version of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PastVersion {
    /// When.
    pub version: Version,
    /// What was archived.
    pub body: Body,
    /// The record after it; `None` when it was gone, or when no image below is archived.
    pub image: Option<Vec<u8>>,
}

impl Snapshot {
    /// The versions of a record that the archive holds, oldest first, with the tenants whose it was.
    pub async fn history(
        &self,
        partition: &Partition,
        id: &[u8],
        through: backstay_model::Tick,
    ) -> Result<Vec<PastVersion>> {
        let range = IdRange::only(id);
        let selection = Selection { ids: Some(Arc::new(vec![id.to_vec()])), ..Selection::default() };
        let work = gather(&self.inner, &self.layers, partition.namespace, &range, &selection, through).await?;
        let key = record_key(partition.namespace, id);
        let mut versions: Vec<(Version, Tenant, Body)> = Vec::new();
        for tenant in work.into_values() {
            tenant.for_each_key(|found, bodies| {
                if found == key {
                    versions.extend(bodies.iter().map(|(v, body)| (*v, tenant.tenant.clone(), body.to_owned())));
                }
                Ok(())
            })?;
        }
        if let Some(group) = self.table.find(&key) {
            let group = &self.table.groups()[group];
            for op in up_to(self.table.ops(group), through) {
                versions.push((op.version, Tenant::system(), self.table.body(op).to_owned()));
            }
        }
        // A move between tenants is a tombstone with one and an image with the other, at the same version: the image is
        // what happened to the record.
        versions.sort_by(|a, b| a.0.cmp(&b.0).then(rank(&a.2).cmp(&rank(&b.2))));
        versions.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same && rank(&later.2) > rank(&earlier.2) {
                std::mem::swap(later, earlier);
            }
            same
        });
        let mut image: Option<Vec<u8>> = None;
        let mut history = Vec::with_capacity(versions.len());
        for (version, _, body) in versions {
            if version.tick > through {
                break;
            }
            image = match (&body, image.take()) {
                (Body::Image(bytes), _) => Some(bytes.clone()),
                (Body::Tombstone, _) | (Body::Delta(..), None) => None,
                (Body::Delta(operator, delta), Some(below)) => {
                    let delta = BodyRef::Delta(*operator, delta);
                    let folded = fold_one(below.into(), &delta, self.interpreter.as_ref());
                    let object = || format!("record {}", self.interpreter.display_id(id));
                    Some(folded.map_err(|error| Error::interpret(&object(), error))?.into_owned())
                }
            };
            history.push(PastVersion { version, body, image: image.clone() });
        }
        Ok(history)
    }
}

fn rank(body: &Body) -> u8 {
    match body {
        Body::Tombstone => 0,
        Body::Delta(..) => 1,
        Body::Image(_) => 2,
    }
}
