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
//! **Continuity.** The first cursor starts at a cluster time. The server refuses one that its oplog does not reach back to
//! (`ChangeStreamHistoryLost`), but not when its oplog begins with the set itself (`rs.initiate`), as after a snapshot was put
//! back: then it takes any time. So the stream begins with the newest event that was seen, its *anchor*, whose tick goes into
//! the position: that event must come first, as the entry at the position must for a reader of the oplog. Nothing was
//! shown between the anchor and the position, so that a set which was put back to any time in between has lost nothing either.
//! Later cursors resume after the last event's token, in the middle of a transaction if need be, and the server says
//! whether it has that event (`ChangeStreamFatalError`). Until the first event there is no anchor.
//!
//! ```text
//!   position   resume < through: the anchor is the tick after resume        resume = through: none
//! ```

use std::sync::Arc;

use async_trait::async_trait;
use backstay_model::Tick;
use backstay_source::{EntryBatch, Error, Result, Start, Tail};
use bson::RawDocumentBuf;
use mongodb::raw_batch_cursor::RawBatch;

use super::groups::{Fit, Groups};
use super::line::{Line, Way as _};
use super::place::{At, FOLLOWING, Place};
use super::sieve::Sieve;
use crate::connect::Connection;
use crate::failure::unexpected_reply;
use crate::interpret::MongoInterpreter;
use crate::interpret::event::Event;

/// So many replies are read for one batch at most, as long as there is nothing in it but what is held back: the reply after
/// a change that came alone says that it is whole.
const REPLIES: usize = 3;
/// Half a tail, so that capture fills each with two batches.
const BATCH: usize = 8 << 20;

/// A change stream, being followed.
pub(crate) struct EventTail {
    connection: Connection,
    sieve: Sieve,
    groups: Groups,
    line: Line,
    /// What became visible by then is held already.
    held: Tick,
    /// The cluster time that the first cursor began at.
    from: Tick,
    /// The anchor, until it has shown itself.
    expected: Option<Tick>,
    has_shown_anchor: bool,
    /// Behind the last reply.
    token: Option<RawDocumentBuf>,
    /// That of the last event.
    event: Option<RawDocumentBuf>,
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
        let anchor = anchor_of(start);
        let (first, next) = (anchor.unwrap_or(start.through), start.through.next());
        let place = Place {
            connection: connection.clone(),
            reached: start.through,
            at: At::Time(first),
            // Nothing lies between the two.
            instead: Some(At::Time(next)),
        };
        let opened = place.open().await?;
        let from = if opened.is_later { next } else { first };
        Ok(EventTail {
            connection,
            sieve: Sieve::new(interpreter),
            groups: Groups::new(start.through, anchor, BATCH),
            line: Line::new(opened),
            held: start.through,
            from,
            expected: anchor.filter(|anchor| *anchor == from),
            has_shown_anchor: false,
            token: None,
            event: None,
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
        let (event, mark) = (self.event.as_ref(), self.token.as_ref());
        let place = || {
            let (connection, token) = (connection.clone(), |token: &RawDocumentBuf| At::Token(token.clone()));
            match event {
                Some(event) => Place { connection, reached, at: token(event), instead: mark.map(token) },
                None => Place { connection, reached, at: At::Time(from), instead: mark.map(token) },
            }
        };
        let Some(reply) = self.line.reply(place).await? else { return Ok(None) };
        self.token = Some(token_of(&reply)?);
        self.event = last_event(&reply).or(self.event.take());
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
            if let Some(anchor) = self.expected.take_if(|anchor| *anchor <= event.at) {
                if anchor < event.at {
                    return Err(self.lost(anchor));
                }
                self.has_shown_anchor = true;
            }
            if event.at <= self.held {
                *taken += 1;
                continue;
            }
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
        let mark = high_water_mark(self.token.as_ref());
        if let Some(anchor) = self.expected.filter(|anchor| mark.is_some_and(|mark| *anchor < mark)) {
            return Err(self.lost(anchor));
        }
        match mark {
            Some(mark) if mark > self.from => self.groups.reach(mark, batch),
            _ if is_empty && *taken == 0 && self.placed == self.line.cursors => self.groups.settle(batch),
            _ => {}
        }
        Ok(true)
    }

    fn lost(&self, anchor: Tick) -> Error {
        let why = format!(
            "the change that was seen at {anchor} is not in the history of the replica set any more: it was put back to an \
             earlier state, or made anew"
        );
        Error::Unshown { after: self.groups.complete(), why }
    }
}

#[async_trait]
impl Tail for EventTail {
    fn has_joined(&self) -> bool {
        self.has_shown_anchor
    }

    fn resume_before(&self, at: Tick, before: Start) -> Tick {
        match anchor_of(before) {
            Some(_) => before.resume,
            None => at.previous(),
        }
    }

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

/// The anchor of a position, if it has one.
fn anchor_of(position: Start) -> Option<Tick> {
    (position.resume < position.through).then(|| position.resume.next())
}

/// The token of a reply's last event.
fn last_event(reply: &RawBatch) -> Option<RawDocumentBuf> {
    let last = reply.doc_slices().ok()?.into_iter().last()?.ok()?;
    last.as_document()?.get_document("_id").ok().map(ToOwned::to_owned)
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
