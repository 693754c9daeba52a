//! Following a change stream over all databases: for servers that let nobody read the oplog.
//!
//! ```text
//!   $changeStream ──▶ Line ──▶ sieve (is it wanted?) ──▶ groups (is the tick all there?) ──▶ EntryBatch
//!   to the majority point      events as the server sent them, and after each reply its resume token
//! ```
//!
//! **Order.** Events come by cluster time, those of a transaction together, at the tick of its commit: no open transaction is
//! ever seen, and `resume` is `through`. One that cannot be read ends what can be told, and what came before it counts.
//!
//! **How far it has come.** The token of a reply (`postBatchResumeToken`) is that of its last event, or a *high-water mark*: a
//! cluster time alone. A replica set makes a mark when it has run out of events, out of the newest oplog entry that it looked
//! at, if that is newer than the last event (`PlanExecutorPipeline::_performChangeStreamsAccounting`): that entry gave no event,
//! or the event would have come first, so everything up to *and with* it has been seen. Only the mark that a stream begins
//! with is none: it repeats the cluster time that was asked for. An empty reply means the same of the last tick: the server looked
//! for more, and there was nothing. It counts on a cursor that has shown an event, since one that is new may still look for
//! its place.
//!
//! **Continuity.** The first cursor starts at a cluster time, and the server refuses one that its oplog does not reach
//! back to (`ChangeStreamHistoryLost`). Later ones resume after the last token, in the middle of a transaction if need be. That
//! the oplog has the very entry at the position, which a reader of the oplog sees, nobody shows: of a set that was put
//! back to an older state under the same id, only the set's clock tells.

use std::sync::Arc;

use async_trait::async_trait;
use backstay_model::Tick;
use backstay_source::{EntryBatch, Error, Result, Start, Tail};
use bson::{Bson, RawDocumentBuf, doc};
use futures::StreamExt as _;
use mongodb::error::Error as DriverError;
use mongodb::options::{CursorType, SelectionCriteria};
use mongodb::raw_batch_cursor::RawBatch;

use super::groups::{Fit, Groups};
use super::line::{Line, Opened, Way};
use super::sieve::Sieve;
use crate::connect::Connection;
use crate::discover::timestamp;
use crate::failure::{code, is_position_lost, translate, unexpected_reply, words};
use crate::interpret::MongoInterpreter;
use crate::interpret::event::Event;
use crate::pipe::Pipe;

const FOLLOWING: &str = "following the change stream";
/// How many events to ask for at once; a reply ends at 16 MiB before that.
const EVENTS: u32 = 12_000;
/// How long the server waits for an event before it answers that there was none.
const SERVER_WAIT: std::time::Duration = std::time::Duration::from_millis(500);
/// So many replies are read for one batch at most, as long as there is nothing in it but what is held back: the reply after
/// a change that came alone says that it is whole.
const REPLIES: usize = 3;
/// Half a tail, so that capture fills each with two batches.
const BATCH: usize = 8 << 20;

/// `BSONObjectTooLarge`: an event is more than a reply can hold.
const TOO_LARGE: i32 = 10334;
/// `ChangeStreamFatalError`: the token is not of this history.
const FATAL: i32 = 280;
/// What ends on a member that says of itself: the place is no longer there.
const HISTORY_LOST: i32 = 286;

/// A change stream, being followed.
pub(crate) struct EventTail {
    connection: Connection,
    sieve: Sieve,
    groups: Groups,
    line: Line,
    /// The cluster time that the first cursor began at.
    from: Tick,
    /// Behind the last reply.
    token: Option<RawDocumentBuf>,
    /// A reply that did not all go into a batch, and how many of its events did.
    unread: Option<(RawBatch, usize)>,
    /// The cursor, by its number, that has shown an event.
    placed: u64,
}

impl EventTail {
    pub(crate) async fn start(
        connection: Connection,
        interpreter: Arc<MongoInterpreter>,
        start: Start,
    ) -> Result<EventTail> {
        // A stream that begins in the future is silent until then.
        let committed = connection.committed().await?;
        if committed < start.through {
            let why = format!("a majority has come to {committed}, and not to the position {} yet", start.through);
            return Err(Error::Unavailable { what: FOLLOWING.to_owned(), why });
        }
        // An open transaction is seen when it commits: only what becomes visible later counts.
        let from = start.through.next();
        let place = Place { connection: connection.clone(), reached: start.through, at: At::Time(from) };
        let opened = place.open().await?;
        Ok(EventTail {
            connection,
            sieve: Sieve::new(interpreter),
            groups: Groups::new(start.through, BATCH),
            line: Line::new(opened),
            from,
            token: None,
            unread: None,
            placed: 0,
        })
    }

    /// The rest of the last reply, or the next one, if one came.
    async fn reply(&mut self) -> Result<Option<(RawBatch, usize)>> {
        if let Some(unread) = self.unread.take() {
            return Ok(Some(unread));
        }
        let (connection, reached, from) = (&self.connection, self.groups.complete(), self.from);
        let token = self.token.as_ref();
        let at = || token.map_or(At::Time(from), |token| At::Token(token.clone()));
        let place = || Place { connection: connection.clone(), reached, at: at() };
        let Some(reply) = self.line.reply(place).await? else { return Ok(None) };
        self.token = Some(token_of(&reply)?);
        Ok(Some((reply, 0)))
    }

    /// Reads the events of a reply from the `taken`th on; false when the batch is full before its end.
    fn take(&mut self, reply: &RawBatch, taken: &mut usize, batch: &mut EntryBatch) -> Result<bool> {
        let wrong = || unexpected_reply(FOLLOWING, "cursor");
        let events = reply.doc_slices().map_err(|_| wrong())?;
        let mut is_empty = true;
        for event in events.into_iter().skip(*taken) {
            is_empty = false;
            let raw = event.ok().and_then(|value| value.as_document()).ok_or_else(wrong)?.as_bytes();
            let event = match Event::read(raw) {
                Ok(event) => event,
                // What came before counts.
                Err(_) if !batch.is_empty() => return Ok(false),
                Err(error) => return Err(Error::Unshown { after: self.groups.complete(), why: error.to_string() }),
            };
            let wanted = self.sieve.keeps_event(&event).then_some(raw);
            match self.groups.accept(event.at, wanted, batch) {
                Fit::Taken => *taken += 1,
                Fit::Full => return Ok(false),
                Fit::Last => {
                    *taken += 1;
                    return Ok(false);
                }
            }
        }
        if *taken > 0 {
            self.placed = self.line.cursors;
        }
        match high_water_mark(self.token.as_ref()) {
            Some(mark) if mark > self.from => self.groups.reach(mark, batch),
            _ if is_empty && *taken == 0 && self.placed == self.line.cursors => self.groups.settle(batch),
            _ => {}
        }
        Ok(true)
    }
}

#[async_trait]
impl Tail for EventTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> Result<()> {
        batch.clear();
        for _ in 0..REPLIES {
            if let Some((reply, mut taken)) = self.reply().await?
                && !self.take(&reply, &mut taken, batch)?
            {
                self.unread = Some((reply, taken));
            }
            if !batch.is_empty() || !self.groups.holds() {
                break;
            }
        }
        self.groups.finish(batch);
        Ok(())
    }
}

fn token_of(reply: &RawBatch) -> Result<RawDocumentBuf> {
    let cursor = reply.as_raw_document().get_document("cursor").ok();
    let token = cursor.and_then(|cursor| cursor.get_document("postBatchResumeToken").ok());
    token.map(ToOwned::to_owned).ok_or_else(|| unexpected_reply(FOLLOWING, "postBatchResumeToken"))
}

/// The cluster time of a token that stands for nothing else; `None` for the token of an event.
///
/// A token is a sort key in hexadecimal (`src/mongo/db/pipeline/resume_token.h`, `key_string.cpp`): `82` and a timestamp of
/// eight bytes, `2B` and the version, then the kind, which is `29` (the number 0) for a high-water mark and `2C0100` (128) for an event.
fn high_water_mark(token: Option<&RawDocumentBuf>) -> Option<Tick> {
    let data = token?.get_str("_data").ok()?;
    let time = u64::from_str_radix(data.strip_prefix("82")?.get(..16)?, 16).ok()?;
    let kind = data.get(18..)?;
    let is_mark = kind.starts_with("2B0229") || kind.starts_with("2B0429");
    is_mark.then(|| Tick::from_u64(time))
}

/// Where a stream begins, or goes on.
#[derive(Clone)]
enum At {
    Time(Tick),
    Token(RawDocumentBuf),
}

struct Place {
    connection: Connection,
    /// Up to where everything was read.
    reached: Tick,
    at: At,
}

impl Place {
    async fn open_on(
        &self,
        member: &SelectionCriteria,
    ) -> mongodb::error::Result<mongodb::raw_batch_cursor::RawBatchCursor> {
        let mut stage = doc! {
            "allChangesForCluster": true,
            "showExpandedEvents": true,
            "showRawUpdateDescription": true,
            // Buckets of time series, and stored functions.
            "showSystemEvents": true,
            // What `convertToCapped` writes is marked as a migration's.
            "showMigrationEvents": true,
        };
        match &self.at {
            At::Time(tick) => stage.insert("startAtOperationTime", timestamp(*tick)),
            At::Token(token) => stage.insert("resumeAfter", Bson::try_from(bson::RawBson::Document(token.clone()))?),
        };
        let aggregate = doc! {
            "aggregate": 1,
            "pipeline": [{ "$changeStream": stage }],
            "cursor": { "batchSize": i64::from(EVENTS) },
            "readConcern": { "level": "majority" },
        };
        self.connection
            .client
            .database("admin")
            .run_cursor_command(aggregate)
            .cursor_type(CursorType::TailableAwait)
            .selection_criteria(member.clone())
            .batch_size(EVENTS)
            .max_time(SERVER_WAIT)
            .batch()
            .await
    }

    async fn opened_on(&self, member: &SelectionCriteria) -> Result<Opened> {
        let mut cursor = self.open_on(member).await.map_err(|error| self.meaning(&error))?;
        match cursor.next().await {
            Some(Ok(first)) => Ok(Opened { pipe: Pipe::following(cursor), first }),
            Some(Err(error)) => Err(self.meaning(&error)),
            None => Err(unexpected_reply(FOLLOWING, "cursor")),
        }
    }
}

impl Way for Place {
    fn doing(&self) -> &'static str {
        FOLLOWING
    }

    fn is_worth_reopening(&self, error: &DriverError) -> bool {
        is_position_lost(error) || code(error) == Some(HISTORY_LOST)
    }

    fn meaning(&self, error: &DriverError) -> Error {
        let after = self.reached;
        match code(error) {
            Some(TOO_LARGE) => Error::Unshown { after, why: format!("an event of more than 16 MiB: {}", words(error)) },
            Some(FATAL | HISTORY_LOST) => Error::Unshown { after, why: words(error) },
            _ if is_position_lost(error) => Error::Unshown { after, why: words(error) },
            _ if error.contains_label("ResumableChangeStreamError") => {
                Error::Unavailable { what: FOLLOWING.to_owned(), why: words(error) }
            }
            _ => translate(FOLLOWING, error),
        }
    }

    /// On the member that reads go to, or on any other that still reaches back.
    async fn open(self) -> Result<Opened> {
        let lost = match self.opened_on(&self.connection.read).await {
            Err(lost @ Error::Unshown { .. }) => lost,
            opened => return opened,
        };
        for (number, (member, criteria)) in self.connection.members().await?.into_iter().enumerate() {
            match self.opened_on(&criteria).await {
                Ok(opened) => {
                    tracing::info!(member, "another member reaches further back; following the stream there");
                    return Ok(opened);
                }
                Err(Error::Unshown { .. }) => {}
                Err(error @ Error::Unavailable { .. }) if number > 0 => {
                    tracing::warn!(%error, member, "it cannot be asked whether it reaches further back");
                }
                Err(error) => return Err(error),
            }
        }
        match self.connection.told_oldest().await? {
            Some(oldest) if oldest > self.reached => Err(Error::RolledOver { wanted: self.reached, oldest }),
            _ => Err(lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::rawdoc;

    use super::*;

    #[test]
    fn a_token_that_is_only_a_time_is_told_from_that_of_an_event() {
        let mark = |data: &str| high_water_mark(Some(&rawdoc! { "_data": data }));
        // Of MongoDB 6.0.5.
        assert_eq!(mark("826B02459F000000052B0229296E04"), Some(Tick::new(0x6B02_459F, 5)));
        assert_eq!(mark("826B024548000000732B022C0100296E04"), None);
        assert_eq!(
            mark("826B02459F000000042B022C0100296E5A1004BFAAF30B743D439A827A81279C84CF8C461E5F6964002B040004"),
            None
        );
        for strange in ["", "82", "82zz02459F000000052B0229296E04", "826B02459F0000000", "81ü"] {
            assert_eq!(mark(strange), None);
        }
    }
}
