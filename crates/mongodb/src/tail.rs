//! Following the oplog: every entry once, in the order in which changes became visible.
//!
//! ```text
//!   local.oplog.rs ──▶ Pipe ──▶ sieve (is it wanted?) ──▶ assemble (is it visible yet?) ──▶ EntryBatch
//!      to the majority point      skip what is not          put off open transactions       of bounded size
//!                                  included                     │      ▲
//!                                                              spool (beyond memory: a file)
//! ```
//!
//! - Only entries that a majority holds are read: none is rolled back later.
//! - **Continuity.** A position is the tick of an entry that was read. Opening at a position, the first entry that comes
//!   must be that very one; anything else means that this member's oplog no longer reaches back, or belongs to another
//!   history. The others are asked then; when none holds it, that is [`RolledOver`](backstay_source::Error::RolledOver).
//! - A lost cursor (an election, a network fault) is opened again at the last position, for half a minute at most.
//! - Where the oplog cannot be read, a change stream is followed instead: see [`events`].
//! - Entries are handed over as the server sent them. Not handed over: changes of records in namespaces that are not
//!   included, and in the server's own databases. Commands and no-ops are all kept, and so are kinds that nobody knows.

mod assemble;
mod chain;
mod events;
mod follow;
mod groups;
mod line;
mod place;
mod sieve;
mod spool;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backstay_model::Tick;
use backstay_source::{EntryBatch, Result, Start, Tail};
use mongodb::raw_batch_cursor::RawBatch;

use self::assemble::{Assembler, Bounds, Chain, Key, Outcome};
pub(crate) use self::events::EventTail;
use self::follow::{FromPosition, open};
use self::line::Line;
use self::sieve::Sieve;
use crate::connect::Connection;
use crate::failure::unexpected_reply;
use crate::interpret::MongoInterpreter;
use crate::interpret::oplog::header;

/// How long a call waits for something to come.
const WAIT: Duration = Duration::from_secs(1);
const FOLLOWING: &str = "following the oplog";

/// The oplog, being followed.
pub(crate) struct OplogTail {
    connection: Connection,
    sieve: Sieve,
    assembler: Assembler,
    /// The tick of the last entry that was read.
    position: Tick,
    line: Line,
    /// A reply that did not all go into a batch.
    unread: Option<RawBatch>,
}

impl OplogTail {
    pub(crate) async fn start(
        connection: Connection,
        interpreter: Arc<MongoInterpreter>,
        start: Start,
        scratch: PathBuf,
    ) -> Result<OplogTail> {
        let opened = open(&connection, start.resume).await?;
        let mut tail = OplogTail {
            sieve: Sieve::new(interpreter),
            assembler: Assembler::new(start, Bounds::default(), scratch),
            position: start.resume,
            line: Line::new(opened),
            unread: None,
            connection,
        };
        for prepared in chain::prepared(&tail.connection, start.resume).await? {
            tail.adopt(prepared.key, prepared.last).await?;
        }
        Ok(tail)
    }

    /// Fetches what came before the position of a transaction, up to its entry at `last`.
    async fn adopt(&mut self, key: Key, last: Tick) -> Result<()> {
        let trace = chain::trace(&self.connection, last, self.position).await?;
        let mut chain = Chain { before: trace.before, prepared: trace.prepared, ..Chain::default() };
        for at in trace.pieces {
            let piece = chain::piece(&self.connection, at).await;
            if let Err(error) = piece.and_then(|piece| self.assembler.keep(&mut chain, &piece)) {
                self.assembler.discard(chain);
                return Err(error);
            }
        }
        self.assembler.adopt(key, chain);
        Ok(())
    }

    /// Reads the entries of a reply; false when the batch is full before its end.
    async fn take(&mut self, reply: &RawBatch, batch: &mut EntryBatch) -> Result<bool> {
        let wrong = || unexpected_reply(FOLLOWING, "cursor");
        let documents = reply.doc_slices().map_err(|_| wrong())?;
        batch.reserve(documents.as_bytes().len());
        for document in documents {
            let raw = document.ok().and_then(|value| value.as_document()).ok_or_else(wrong)?.as_bytes();
            let entry = header(raw)?;
            if entry.ts <= self.position {
                continue;
            }
            if self.sieve.keeps(&entry) {
                while let Outcome::Missing { key, last } = self.assembler.accept(&entry, raw, self.position, batch)? {
                    self.adopt(key, last).await?;
                }
            }
            self.position = entry.ts;
            if self.assembler.is_behind() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[async_trait]
impl Tail for OplogTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> Result<()> {
        batch.clear();
        self.assembler.release(batch)?;
        if batch.is_empty() {
            let reply = match self.unread.take() {
                Some(unread) => Some(unread),
                None => {
                    let (connection, position) = (&self.connection, self.position);
                    self.line.reply(|| FromPosition { connection: connection.clone(), position }).await?
                }
            };
            if let Some(reply) = reply
                && !self.take(&reply, batch).await?
            {
                // What was read of it is behind the position, and passed over the next time.
                self.unread = Some(reply);
            }
        }
        self.assembler.finish(self.position, batch);
        Ok(())
    }
}

/// Entries as a server might send them, for `fuzz/`: what is handed over is new, and its account moves forward.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz(entries: &[&[u8]]) {
    let start = Start { resume: Tick::ZERO, through: Tick::new(1, 0) };
    let mut sieve = Sieve::new(Arc::new(MongoInterpreter::default()));
    let bounds = Bounds { memory: 64, batch: 128 };
    let mut assembler = Assembler::new(start, bounds, std::env::temp_dir());
    let (mut position, mut batch, mut through) = (start.resume, EntryBatch::default(), start.through);
    for raw in entries {
        let Ok(entry) = header(raw) else { continue };
        if entry.ts <= position {
            continue;
        }
        if sieve.keeps(&entry) {
            while let Ok(Outcome::Missing { key, .. }) = assembler.accept(&entry, raw, position, &mut batch) {
                assembler.adopt(key, Chain { before: position, ..Chain::default() });
            }
        }
        position = entry.ts;
        loop {
            assembler.finish(position, &mut batch);
            assert!(batch.through >= through && batch.resume <= position);
            assert!(batch.iter().all(|(visible, _)| visible > start.through));
            through = batch.through;
            batch.clear();
            if !assembler.is_behind() {
                break;
            }
            assembler.release(&mut batch).expect("what was put off comes back");
            assert!(!batch.is_empty(), "it moves on");
        }
    }
}
