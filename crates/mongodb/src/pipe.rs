//! Reading ahead: while one batch of a cursor is being used, the next is already on its way.
//!
//! ```text
//!   server ──▶ task that owns the cursor ──▶ room for one batch ──▶ consumer
//! ```
//!
//! At most three replies of the server are in memory: one being received, one waiting, one in use. Dropping the pipe
//! ends the task, and with it the cursor on the server.

use futures::StreamExt as _;
use mongodb::error::Result;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Batches of a cursor, read ahead by one.
#[derive(Debug)]
pub(crate) struct Pipe {
    batches: mpsc::Receiver<Result<RawBatch>>,
    /// One task, which ends with the pipe.
    _task: JoinSet<()>,
}

impl Pipe {
    /// Takes the cursor over and starts reading.
    pub(crate) fn new(mut cursor: RawBatchCursor) -> Pipe {
        let (sender, batches) = mpsc::channel(1);
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(room) = sender.reserve().await {
                let Some(batch) = cursor.next().await else { return };
                let failed = batch.is_err();
                room.send(batch);
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
