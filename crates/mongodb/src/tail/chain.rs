//! The entries of a transaction that lie before the position a tail was started at, found by walking backward.
//!
//! ```text
//!   piece ◀──prevOpTime── piece ◀──prevOpTime── last or prepare      position ▲ somewhere in between
//! ```
//!
//! Only the entries' heads are read on that walk. The pieces are then fetched forward, one at a time: together they may be
//! more than fits in memory.

use backstay_model::Tick;
use backstay_source::{Error, Result};
use bson::{Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;

use super::FOLLOWING;
use super::assemble::Key;
use crate::connect::Connection;
use crate::discover::{tick, timestamp};
use crate::failure::translate;
use crate::interpret::oplog::{Part, header};
use crate::interpret::raw::malformed;

/// A transaction that is prepared and neither committed nor aborted.
pub(super) struct Prepared {
    pub(super) key: Key,
    pub(super) last: Tick,
}

/// The transactions prepared at or before `position` that are still open. Their commit may be given a tick from their
/// preparation on, so that a tail must know of them before it can tell how far it has come.
pub(super) async fn prepared(connection: &Connection, position: Tick) -> Result<Vec<Prepared>> {
    let collection = connection.client.database("config").collection::<RawDocumentBuf>("transactions");
    let found = async { collection.find(doc! { "state": "prepared" }).await?.try_collect::<Vec<_>>().await };
    let records = match found.await {
        Ok(records) => records,
        Err(error) => match translate("reading the open transactions", &error) {
            // Without this right such a transaction is still found when it commits.
            Error::Denied { .. } => return Ok(Vec::new()),
            other => return Err(other),
        },
    };
    let prepared = records.iter().filter_map(|record| {
        let session = record.get_document("_id").ok()?.as_bytes().to_vec();
        let number = record.get_i64("txnNum").ok()?;
        let last = tick(record.get_document("lastWriteOpTime").ok()?.get_timestamp("ts").ok()?);
        (last <= position).then_some(Prepared { key: Key { session, number }, last })
    });
    Ok(prepared.collect())
}

/// Where the pieces of a transaction lie.
pub(super) struct Trace {
    /// The ticks of its pieces, ascending.
    pub(super) pieces: Vec<Tick>,
    /// The position before its first entry.
    pub(super) before: Tick,
    /// The tick of its preparation.
    pub(super) prepared: Option<Tick>,
}

/// The pieces of a transaction from its first to the one at `last`. `fallback` is where to resume when its first piece
/// is the oldest entry that there is.
pub(super) async fn trace(connection: &Connection, last: Tick, fallback: Tick) -> Result<Trace> {
    // What it says of itself, and the name of its command, without what it holds.
    let head = doc! { "o.applyOps": { "$slice": 0 } };
    let mut pieces = Vec::new();
    let (mut at, mut first, mut prepared) = (last, last, None);
    while at > Tick::ZERO {
        let bytes = entry(connection, at, Some(&head)).await?;
        let entry = header(&bytes)?;
        first = at;
        if entry.prev_op_time >= at {
            let why = format!("the entry at {at} follows one of its transaction at {}", entry.prev_op_time);
            return Err(malformed("oplog", why).into());
        }
        pieces.push(at);
        at = if entry.part() == Part::Pending { entry.prev_op_time } else { Tick::ZERO };
        if entry.prepare {
            prepared = Some(entry.ts);
        }
    }
    pieces.reverse();
    let before = connection
        .oplog()
        .clone_with_type::<Document>()
        .find_one(doc! { "ts": { "$lt": timestamp(first) } })
        .sort(doc! { "$natural": -1 })
        .projection(doc! { "ts": 1 })
        .selection_criteria(connection.read.clone())
        .await
        .map_err(|error| translate(FOLLOWING, &error))?;
    let before = before.and_then(|entry| entry.get_timestamp("ts").ok()).map_or(fallback, tick);
    Ok(Trace { pieces, before, prepared })
}

/// The entry at `at`, as the server has it. [`Error::RolledOver`] when no member holds it any more.
pub(super) async fn piece(connection: &Connection, at: Tick) -> Result<Vec<u8>> {
    entry(connection, at, None).await
}

async fn entry(connection: &Connection, at: Tick, projection: Option<&Document>) -> Result<Vec<u8>> {
    let find = |criteria| {
        let oplog = connection.oplog();
        let projection = projection.cloned();
        async move {
            let found = oplog.find_one(doc! { "ts": timestamp(at) }).selection_criteria(criteria);
            let found = match projection {
                Some(projection) => found.projection(projection).await,
                None => found.await,
            };
            found.map_err(|error| translate(FOLLOWING, &error))
        }
    };
    if let Some(found) = find(connection.read.clone()).await? {
        return Ok(found.into_bytes());
    }
    for (number, (_, member)) in connection.members().await?.into_iter().enumerate() {
        match find(member).await {
            Ok(Some(found)) => return Ok(found.into_bytes()),
            Ok(None) => {}
            Err(Error::Unavailable { .. }) if number > 0 => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::RolledOver { wanted: at, oldest: connection.oldest().await? })
}
