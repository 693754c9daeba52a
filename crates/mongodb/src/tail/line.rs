//! The line to the server: replies of a cursor, which is opened again when it is lost.
//!
//! ```text
//!   open ──reply──▶ open        lost: ──▶ opening ──▶ open, at the position reached so far
//!                                           │ PATIENCE
//!                                           ▼
//!                                         the caller is told; the next call starts over
//! ```

use std::time::Duration;

use backstay_source::{Error, Result};
use mongodb::error::Error as DriverError;
use mongodb::raw_batch_cursor::RawBatch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::WAIT;
use crate::failure::translate;
use crate::pipe::Pipe;

/// How long a lost feed is looked for before the caller is told.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many cursors in a row may end after their first reply for a reason that does not pass.
const FRUITLESS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A feed that continues where it was asked to.
pub(super) struct Opened {
    pub(super) pipe: Pipe,
    /// The first reply.
    pub(super) first: RawBatch,
    /// Not where it was asked to, but at a later place that is as good.
    pub(super) is_later: bool,
}

/// Where a feed goes on, and how a cursor is opened there.
pub(super) trait Way: Send + 'static {
    /// What is being done, for messages.
    fn doing(&self) -> &'static str;

    /// True when this member cannot go on for a reason that opening it anew, here or on another member, makes plain.
    fn is_worth_reopening(&self, error: &DriverError) -> bool;

    /// What an error of the cursor means that is neither passing nor worth reopening.
    fn meaning(&self, error: &DriverError) -> Error {
        translate(self.doing(), error)
    }

    /// Opens a cursor.
    fn open(self) -> impl Future<Output = Result<Opened>> + Send;
}

/// The cursor, as far as there is one.
pub(super) struct Line {
    feed: Feed,
    /// How many cursors there were.
    pub(super) cursors: u64,
    first: Option<RawBatch>,
    /// How many cursors in a row came no further than their first reply.
    fruitless: u32,
}

enum Feed {
    Open(Pipe),
    /// Being opened again, since the instant at which it was lost.
    Opening {
        task: JoinSet<Result<Opened>>,
        lost: Instant,
        pause: Duration,
    },
    /// The caller was told that it is lost; the next call starts over.
    Lost,
}

impl Line {
    pub(super) fn new(opened: Opened) -> Line {
        Line { feed: Feed::Open(opened.pipe), cursors: 1, first: Some(opened.first), fruitless: 0 }
    }

    /// Waits a while for the next reply. `None`: nothing came yet. `way` says how to open a cursor behind the last reply.
    pub(super) async fn reply<W: Way>(&mut self, way: impl Fn() -> W) -> Result<Option<RawBatch>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        match std::mem::replace(&mut self.feed, Feed::Lost) {
            Feed::Lost => {
                self.feed = reopen(way(), Duration::ZERO, Instant::now());
                Ok(None)
            }
            Feed::Open(mut pipe) => match timeout(WAIT, pipe.next()).await {
                Err(_) => {
                    self.feed = Feed::Open(pipe);
                    Ok(None)
                }
                Ok(Some(Ok(reply))) => {
                    self.feed = Feed::Open(pipe);
                    self.fruitless = 0;
                    Ok(Some(reply))
                }
                // On this member; whether it is lost on all of them shows when it is opened again.
                Ok(Some(Err(error))) if self.fruitless < FRUITLESS && way().is_worth_reopening(&error) => {
                    self.fruitless += 1;
                    self.feed = reopen(way(), Duration::ZERO, Instant::now());
                    Ok(None)
                }
                Ok(Some(Err(error))) => match way().meaning(&error) {
                    Error::Unavailable { what, why } => {
                        tracing::info!(what, why, "the cursor was lost; opening it again");
                        self.feed = reopen(way(), FIRST_PAUSE, Instant::now());
                        Ok(None)
                    }
                    other => Err(other),
                },
                Ok(None) => {
                    self.feed = reopen(way(), FIRST_PAUSE, Instant::now());
                    Ok(None)
                }
            },
            Feed::Opening { mut task, lost, pause } => match timeout(WAIT, task.join_next()).await {
                Err(_) => {
                    self.feed = Feed::Opening { task, lost, pause };
                    Ok(None)
                }
                Ok(Some(Ok(Ok(opened)))) => {
                    self.feed = Feed::Open(opened.pipe);
                    self.cursors += 1;
                    Ok(Some(opened.first))
                }
                Ok(Some(Ok(Err(Error::Unavailable { .. })))) if lost.elapsed() < PATIENCE => {
                    self.feed = reopen(way(), (pause.max(FIRST_PAUSE) * 2).min(LONGEST_PAUSE), lost);
                    Ok(None)
                }
                Ok(Some(Ok(Err(error)))) => Err(error),
                Ok(Some(Err(_)) | None) => {
                    let what = way().doing().to_owned();
                    Err(Error::Unavailable { what, why: "the program is stopping".to_owned() })
                }
            },
        }
    }
}

fn reopen<W: Way>(way: W, pause: Duration, lost: Instant) -> Feed {
    let mut task = JoinSet::new();
    task.spawn(async move {
        tokio::time::sleep(pause).await;
        way.open().await
    });
    Feed::Opening { task, lost, pause }
}
