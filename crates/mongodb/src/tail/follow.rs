//! Opening a cursor on the oplog at a position, and making sure that it continues there.
//!
//! Members keep oplogs of different lengths: one that was synchronised anew holds nothing from before. So a position is
//! lost only when neither the primary nor any secondary that can be reached holds it any more.

use std::time::Duration;

use backstay_model::Tick;
use backstay_source::{Error, Result};
use bson::doc;
use futures::StreamExt as _;
use mongodb::options::{CursorType, SelectionCriteria};
use mongodb::raw_batch_cursor::RawBatch;

use super::line::{Opened, Way};
use super::{FOLLOWING, WAIT};
use crate::connect::Connection;
use crate::discover::timestamp;
use crate::failure::{is_position_lost, oplog_closed, translate, unexpected_reply};
use crate::interpret::oplog::header;
use crate::pipe::Pipe;

/// How many entries to ask for at once: at usual sizes a few MiB, which is where larger replies stop being faster.
const ENTRIES: u32 = 12_000;
/// How long a member may lag behind the position.
const LAG_LIMIT: u32 = 10;

/// The oplog from a position on; the first entry of the first reply is the one at the position.
pub(super) struct FromPosition {
    pub(super) connection: Connection,
    pub(super) position: Tick,
}

impl Way for FromPosition {
    fn doing(&self) -> &'static str {
        FOLLOWING
    }

    fn is_worth_reopening(&self, error: &mongodb::error::Error) -> bool {
        is_position_lost(error)
    }

    async fn open(self) -> Result<Opened> {
        open(&self.connection, self.position).await
    }
}

/// Opens the oplog at `position`, on the member that reads go to, or on any other that still holds it.
pub(super) async fn open(connection: &Connection, position: Tick) -> Result<Opened> {
    let lost = match open_on(connection, &connection.read, position).await {
        Err(lost @ Error::RolledOver { .. }) => lost,
        opened => return opened,
    };
    for (number, (member, criteria)) in connection.members().await?.into_iter().enumerate() {
        match open_on(connection, &criteria, position).await {
            Ok(opened) => {
                tracing::info!(%position, member, "another member's oplog reaches further back; reading from there");
                return Ok(opened);
            }
            Err(Error::RolledOver { .. }) => {}
            // A secondary may be gone for good: a gap that is named is better than a capture that waits for it for ever.
            Err(error @ Error::Unavailable { .. }) if number > 0 => {
                tracing::warn!(%error, member, "it cannot be asked whether its oplog reaches further back");
            }
            Err(error) => return Err(error),
        }
    }
    Err(lost)
}

async fn open_on(connection: &Connection, member: &SelectionCriteria, position: Tick) -> Result<Opened> {
    let find = doc! {
        "find": "oplog.rs",
        "filter": { "ts": { "$gte": timestamp(position) } },
        "tailable": true,
        "awaitData": true,
        "batchSize": i64::from(ENTRIES),
        "readConcern": { "level": "majority" },
    };
    for _ in 0..LAG_LIMIT {
        let cursor = connection
            .client
            .database("local")
            .run_cursor_command(find.clone())
            .cursor_type(CursorType::TailableAwait)
            .selection_criteria(member.clone())
            .batch_size(ENTRIES)
            .max_time(WAIT)
            .batch()
            .await;
        let mut cursor = match cursor {
            Ok(cursor) => cursor,
            // What was looked for was overwritten while it was looked for: the next attempt finds what is there.
            Err(error) if is_position_lost(&error) => continue,
            Err(error) => return Err(oplog_closed(translate(FOLLOWING, &error))),
        };
        // The first reply may be empty on a member that lags; the second waits for up to a second.
        for _ in 0..2 {
            match cursor.next().await {
                Some(Ok(first)) => {
                    if let Some(oldest) = first_tick(&first)? {
                        return match oldest == position {
                            true => Ok(Opened { pipe: Pipe::following(cursor), first, is_later: false }),
                            false => Err(Error::RolledOver { wanted: position, oldest }),
                        };
                    }
                }
                Some(Err(error)) if is_position_lost(&error) => break,
                Some(Err(error)) => return Err(translate(FOLLOWING, &error)),
                None => break,
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let why = format!("the member that is read has not reached the position {position} yet");
    Err(Error::Unavailable { what: FOLLOWING.to_owned(), why })
}

fn first_tick(reply: &RawBatch) -> Result<Option<Tick>> {
    let wrong = || unexpected_reply(FOLLOWING, "cursor");
    let Some(first) = reply.doc_slices().map_err(|_| wrong())?.into_iter().next() else { return Ok(None) };
    let raw = first.ok().and_then(|value| value.as_document()).ok_or_else(wrong)?;
    Ok(Some(header(raw.as_bytes())?.ts))
}
