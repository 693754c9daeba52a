//! Filling the shop before it opens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use bson::{RawDocumentBuf, doc};
use mongodb::Client;
use tokio::task::JoinSet;

use crate::shop::{DATABASE, Kind};

/// Concurrent inserts; more gain nothing on two cores.
const LANES: usize = 4;
/// Documents in one insert.
const BATCH: u32 = 1000;

/// Inserts all documents at their first revision and builds the indexes.
pub async fn load(client: &Client) -> Result<()> {
    for kind in Kind::ALL {
        let next = Arc::new(AtomicU32::new(0));
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            let next = Arc::clone(&next);
            let collection = client.database(DATABASE).collection::<RawDocumentBuf>(kind.collection());
            lanes.spawn(async move {
                loop {
                    let start = next.fetch_add(BATCH, Ordering::Relaxed);
                    let numbers = start..kind.count().min(start.saturating_add(BATCH));
                    if numbers.is_empty() {
                        return Ok::<_, mongodb::error::Error>(());
                    }
                    let documents: Vec<RawDocumentBuf> = numbers.map(|number| kind.document(number, 1)).collect();
                    collection.insert_many(documents).ordered(false).await?;
                }
            });
        }
        while let Some(lane) = lanes.join_next().await {
            lane??;
        }
        let command = doc! { "createIndexes": kind.collection(), "indexes": kind.indexes() };
        client.database(DATABASE).run_command(command).await?;
    }
    Ok(())
}
