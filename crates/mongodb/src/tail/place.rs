//! Where a change stream begins or goes on, and what it means when it cannot.
//!
//! ```text
//!   at the place ─┬─ opened
//!                 ├─ out of reach ───────────────▶ the caller tries again
//!                 ├─ not of this history ────────▶ what comes after the place cannot be shown: a gap
//!                 ├─ no longer reached ──▶ a later place that is as good ──▶ other members ──▶ the same
//!                 └─ any other error ────▶ does a stream open that begins now?
//!                                            yes ▶ the place is to blame: the same
//!                                            no ─▶ the user's rights, or the server's settings: an error that says so
//! ```

use std::time::Duration;

use backstay_model::Tick;
use backstay_source::{Error, Result};
use bson::{Bson, RawDocumentBuf, doc};
use futures::StreamExt as _;
use mongodb::error::Error as DriverError;
use mongodb::options::{CursorType, SelectionCriteria};
use mongodb::raw_batch_cursor::RawBatchCursor;

use super::line::{Opened, Way};
use crate::connect::Connection;
use crate::discover::timestamp;
use crate::failure::{code, is_position_lost, translate, unexpected_reply, words};
use crate::pipe::Pipe;

pub(super) const FOLLOWING: &str = "following the change stream";
/// How many events to ask for at once; a reply ends at 16 MiB before that.
const EVENTS: u32 = 12_000;
/// How long the server waits for an event before it answers that there was none.
const SERVER_WAIT: Duration = Duration::from_millis(500);

/// `BSONObjectTooLarge`: an event is more than a reply can hold.
const TOO_LARGE: i32 = 10334;
/// `ChangeStreamFatalError`: the token is not of this history.
const FATAL: i32 = 280;
/// `ChangeStreamHistoryLost`: the member's oplog no longer reaches back.
const HISTORY_LOST: i32 = 286;

/// Where a stream begins, or goes on.
#[derive(Clone, Debug)]
pub(super) enum At {
    /// With what became visible at this cluster time.
    Time(Tick),
    /// Behind what this token stands for; that of an event must be in the server's history.
    Token(RawDocumentBuf),
}

/// A place in the stream.
pub(super) struct Place {
    pub(super) connection: Connection,
    /// Up to where everything was read.
    pub(super) reached: Tick,
    pub(super) at: At,
    /// A later place with nothing between the two, for when the oplog does not reach back to the first.
    pub(super) instead: Option<At>,
}

/// Why a stream could not be opened.
enum Closed {
    /// The oplog does not reach back to the place.
    Passed(Error),
    /// The server has no stream that begins there.
    Lost(Error),
    /// The server refuses it, and does not say that it is because of the place.
    Refused(Error),
    Otherwise(Error),
}

impl Closed {
    fn error(self) -> Error {
        match self {
            Closed::Passed(error) | Closed::Lost(error) | Closed::Refused(error) | Closed::Otherwise(error) => error,
        }
    }
}

impl Place {
    /// A cursor; without a place, one that begins now.
    async fn cursor(&self, at: Option<&At>, member: &SelectionCriteria) -> mongodb::error::Result<RawBatchCursor> {
        let mut stage = doc! {
            "allChangesForCluster": true,
            "showExpandedEvents": true,
            "showRawUpdateDescription": true,
            // Buckets of time series, and stored functions.
            "showSystemEvents": true,
            // What `convertToCapped` writes is marked as a migration's.
            "showMigrationEvents": true,
        };
        match at {
            Some(At::Time(tick)) => drop(stage.insert("startAtOperationTime", timestamp(*tick))),
            Some(At::Token(token)) => {
                let token = Bson::try_from(bson::RawBson::Document(token.clone()))?;
                stage.insert("resumeAfter", token);
            }
            None => {}
        }
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

    async fn opened_at(&self, at: &At, member: &SelectionCriteria) -> std::result::Result<Opened, Closed> {
        let closed = |error: &DriverError| {
            let meaning = self.meaning(error);
            match meaning {
                _ if code(error) == Some(HISTORY_LOST) || is_position_lost(error) => Closed::Passed(meaning),
                Error::Unshown { .. } => Closed::Lost(meaning),
                Error::Refused { .. } if code(error).is_some() => Closed::Refused(meaning),
                _ => Closed::Otherwise(meaning),
            }
        };
        let mut cursor = self.cursor(Some(at), member).await.map_err(|error| closed(&error))?;
        match cursor.next().await {
            Some(Ok(first)) => Ok(Opened { pipe: Pipe::following(cursor), first, is_later: false }),
            Some(Err(error)) => Err(closed(&error)),
            None => Err(Closed::Otherwise(unexpected_reply(FOLLOWING, "cursor"))),
        }
    }

    async fn opened_on(&self, member: &SelectionCriteria) -> std::result::Result<Opened, Closed> {
        match (self.opened_at(&self.at, member).await, &self.instead) {
            (Err(Closed::Passed(_)), Some(instead)) => {
                self.opened_at(instead, member).await.map(|opened| Opened { is_later: true, ..opened })
            }
            (opened, _) => opened,
        }
    }

    /// Which of the two it is when a stream is refused: the place, or all streams.
    async fn blame(&self, why: Error) -> Error {
        let begun = match self.cursor(None, &self.connection.read).await {
            Ok(mut cursor) => cursor.next().await.transpose().map(drop),
            Err(error) => Err(error),
        };
        match (begun.map_err(|error| self.meaning(&error)), why) {
            (Ok(()), Error::Refused { why, .. }) => Error::Unshown { after: self.reached, why },
            (Ok(()), why) => why,
            (Err(unavailable @ Error::Unavailable { .. }), _) => unavailable,
            (Err(Error::Refused { what, why }), _) => {
                let why = format!(
                    "{why}; the server opens no change stream over all databases at all, wherever it begins: it must be \
                     a member of a replica set, and answer what `backstay doctor` asks it; or follow the source by feed: oplog"
                );
                Error::Refused { what, why }
            }
            (Err(error), _) => error,
        }
    }
}

impl Way for Place {
    fn doing(&self) -> &'static str {
        FOLLOWING
    }

    /// Only another stream at the place, and one that begins elsewhere, tell what is to blame.
    fn is_worth_reopening(&self, error: &DriverError) -> bool {
        let is_refused = || code(error).is_some() && matches!(self.meaning(error), Error::Refused { .. });
        is_position_lost(error) || code(error) == Some(HISTORY_LOST) || is_refused()
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
            _ => match translate(FOLLOWING, error) {
                Error::Denied { what, why } => Error::Denied {
                    what,
                    why: format!(
                        "{why}; it takes find and changeStream on all databases, which the role readAnyDatabase has"
                    ),
                },
                other => other,
            },
        }
    }

    /// On the member that reads go to, or on any other that can.
    async fn open(self) -> Result<Opened> {
        let mut closed = match self.opened_on(&self.connection.read).await {
            Ok(opened) => return Ok(opened),
            Err(Closed::Otherwise(error)) => return Err(error),
            Err(closed) => closed,
        };
        for (number, (member, criteria)) in self.connection.members().await?.into_iter().enumerate() {
            match self.opened_on(&criteria).await {
                Ok(opened) => {
                    tracing::info!(member, "another member can show what comes next; following the stream there");
                    return Ok(opened);
                }
                Err(Closed::Otherwise(error @ Error::Unavailable { .. })) if number > 0 => {
                    tracing::warn!(%error, member, "it cannot be asked whether it can show what comes next");
                }
                Err(Closed::Otherwise(error)) => return Err(error),
                // What is lost says more than what is refused.
                Err(other) if matches!(closed, Closed::Refused(_)) => closed = other,
                Err(_) => {}
            }
        }
        match (closed, self.connection.told_oldest().await?) {
            (Closed::Refused(why), _) => Err(self.blame(why).await),
            (_, Some(oldest)) if oldest > self.reached => Err(Error::RolledOver { wanted: self.reached, oldest }),
            (closed, _) => Err(closed.error()),
        }
    }
}
