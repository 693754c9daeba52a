//! Cutting a namespace into ranges of about equal size.
//!
//! `splitVector` walks the `_id` index and names every n-th id: exact and quick (0.3 s for 700 MB), but it needs a right of
//! its own. Without it the ids of a random sample, sorted, cut well enough. A collection with a collation is read
//! whole: its index is not in the order of ids (see `scan.rs`).

use backstay_model::IdRange;
use backstay_source::{Error, Namespace, Result};
use bson::{RawDocumentBuf, doc};

use crate::catalog::cut;
use crate::connect::Connection;
use crate::failure::translate;
use crate::interpret::id_of;

/// Samples for each range: enough that no range is likely to be twice as large as it should be.
const SAMPLES: u64 = 32;
/// Ranges are work items, not records: more than this would only cost.
const MOST_RANGES: u64 = 10_000;

impl Connection {
    /// Ranges of about `bytes` each, ascending and without holes.
    pub(crate) async fn split(&self, namespace: &Namespace, bytes: u64) -> Result<Vec<IdRange>> {
        let pieces = namespace.bytes.div_ceil(bytes.max(1)).min(MOST_RANGES);
        let Some(listed) = self.listed(&namespace.name).await? else {
            return Err(Error::NamespaceChanged { name: namespace.name.clone() });
        };
        if pieces < 2 || namespace.records < 2 || listed.is_collated() {
            return Ok(vec![IdRange::all()]);
        }
        let keys = match self.split_vector(&namespace.name, namespace.bytes / pieces).await {
            Ok(keys) => keys,
            Err(unavailable @ Error::Unavailable { .. }) => return Err(unavailable),
            Err(error) => {
                tracing::debug!(namespace = namespace.name, %error, "cutting by a sample of the ids");
                self.sample(&namespace.name, pieces).await?
            }
        };
        let mut points = Vec::with_capacity(keys.len());
        for key in &keys {
            let mut point = Vec::new();
            id_of(key.as_bytes(), &mut point)?;
            points.push(point);
        }
        points.sort();
        points.dedup();
        Ok(IdRange::all().split_at(&points))
    }

    async fn split_vector(&self, name: &str, bytes: u64) -> Result<Vec<RawDocumentBuf>> {
        let what = format!("splitting {name}");
        let (database, _) = cut(name)?;
        // The server fills each chunk to half of its limit, to leave room for growth; it takes limits up to 1 GiB, and
        // refuses those below 1 MiB.
        let limit = i64::try_from(bytes.saturating_mul(2).min(1 << 30)).unwrap_or(1 << 30);
        let command = doc! { "splitVector": name, "keyPattern": { "_id": 1 }, "maxChunkSizeBytes": limit };
        let reply = self
            .client
            .database(database)
            .run_command(command)
            .selection_criteria(self.read.clone())
            .await
            .map_err(|error| translate(&what, &error))?;
        let keys = reply.get_array("splitKeys").map_err(|_| crate::failure::unexpected_reply(&what, "splitKeys"))?;
        let documents = keys.iter().filter_map(bson::Bson::as_document);
        Ok(documents.filter_map(|key| RawDocumentBuf::try_from(key).ok()).collect())
    }

    async fn sample(&self, name: &str, pieces: u64) -> Result<Vec<RawDocumentBuf>> {
        let (database, collection) = cut(name)?;
        let size = i64::try_from(pieces * SAMPLES).unwrap_or(i64::MAX);
        let command = doc! {
            "aggregate": collection,
            "pipeline": [{ "$sample": { "size": size } }, { "$project": { "_id": 1 } }, { "$sort": { "_id": 1 } }],
            "allowDiskUse": true,
            "cursor": {},
        };
        let found = self.collect(database, command).await;
        let found = found.map_err(|error| translate(&format!("sampling {name}"), &error))?;
        let step = found.len().div_ceil(usize::try_from(pieces).unwrap_or(1).max(1)).max(1);
        Ok(found.into_iter().skip(step).step_by(step).collect())
    }
}
