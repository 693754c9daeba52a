//! All versions of one record.

use std::sync::Arc;

use backstay_model::{Body, BodyRef, IdRange, Version};
use backstay_segment::record_key;

use crate::load::gather;
use crate::merge::{fold_one, newest_first};
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
    /// The versions of a record that the archive holds, oldest first.
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
        let mut versions: Vec<(Version, Body)> = Vec::new();
        for tenant in work.into_values() {
            tenant.for_each_key(|found, bodies| {
                if found == key {
                    versions.extend(bodies.iter().map(|(version, body)| (*version, body.to_owned())));
                }
                Ok(())
            })?;
        }
        if let Some(group) = self.table.find(&key) {
            let ops = up_to(self.table.ops(&self.table.groups()[group]), through);
            versions.extend(ops.iter().map(|op| (op.version, self.table.body(op).to_owned())));
        }
        newest_first(&mut versions);
        let mut image: Option<Vec<u8>> = None;
        let mut history = Vec::with_capacity(versions.len());
        for (version, body) in versions.into_iter().rev() {
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
