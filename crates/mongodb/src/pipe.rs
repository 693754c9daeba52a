//! Reading ahead: while one batch of a cursor is being used, the next is already on its way.
//!
//! ```text
//!   server ──▶ task that owns the cursor ──▶ room for one batch ──▶ consumer
//! ```
//!
//! A feed that is followed to its end would be asked anew for each write that its users make: hundreds of questions a second
//! for a few entries each, which cost the source more than the entries. So what is shorter than a full reply is asked for
//! ten times a second at most; after a silence the first change still comes at once.
//!
//! At most three replies of the server are in memory: one being received, one waiting, one in use. Dropping the pipe
//! ends the task, and with it the cursor on the server.

use std::time::Duration;

use futures::StreamExt as _;
use mongodb::error::Result;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// How far apart the questions for short replies of a feed are.
const INTERVAL: Duration = Duration::from_millis(100);
/// A reply of more bytes says that there is more to be read.
const SHORT: usize = 1 << 20;

/// Batches of a cursor, read ahead by one.
#[derive(Debug)]
pub(crate) struct Pipe {
    batches: mpsc::Receiver<Result<RawBatch>>,
    /// One task, which ends with the pipe.
    _task: JoinSet<()>,
}

impl Pipe {
    /// Takes the cursor over and starts reading.
    pub(crate) fn new(cursor: RawBatchCursor) -> Pipe {
        Pipe::with_interval(cursor, Duration::ZERO)
    }

    /// The same for the cursor of a feed, which ends nowhere.
    pub(crate) fn following(cursor: RawBatchCursor) -> Pipe {
        Pipe::with_interval(cursor, INTERVAL)
    }

    fn with_interval(mut cursor: RawBatchCursor, interval: Duration) -> Pipe {
        let (sender, batches) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(room) = sender.reserve().await {
                let asked = Instant::now();
                let Some(batch) = cursor.next().await else { return };
                let failed = batch.is_err();
                let is_short = batch.as_ref().is_ok_and(|batch| batch.as_raw_document().as_bytes().len() < SHORT);
                room.send(batch);
                if is_short {
                    sleep_until(asked + interval).await;
                }
                if failed {
                    return;
                }
            }
        });
        Pipe { batches, _task: task }
    }

    /// The next batch; `None` at the end, or after an error. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Result<RawBatch>> {
        self.batches.recv().await
    }
}
