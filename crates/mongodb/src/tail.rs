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
//!   history. The others are asked then; when none holds it, that is [`Error::RolledOver`].
//! - A lost cursor (an election, a network fault) is opened again at the last position; [`PATIENCE`] limits for how long.
//! - Entries are handed over as the server sent them. Not handed over: changes of records in namespaces that are not
//!   included, and in the server's own databases. Commands and no-ops are all kept, and so are kinds that nobody knows.

mod assemble;
mod chain;
mod follow;
mod sieve;
mod spool;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backstay_model::Tick;
use backstay_source::{EntryBatch, Error, Result, Start, Tail};
use mongodb::raw_batch_cursor::RawBatch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::assemble::{Assembler, Bounds, Chain, Key, Outcome};
use self::follow::{Opened, open};
use self::sieve::Sieve;
use crate::connect::Connection;
use crate::failure::{is_position_lost, translate, unexpected_reply};
use crate::interpret::MongoInterpreter;
use crate::interpret::oplog::header;
use crate::pipe::Pipe;

/// How long a call waits for something to come.
const WAIT: Duration = Duration::from_secs(1);
/// How long a lost feed is looked for before the caller is told.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
const FOLLOWING: &str = "following the oplog";

/// The oplog, being followed.
pub(crate) struct OplogTail {
    connection: Connection,
    sieve: Sieve,
    assembler: Assembler,
    /// The tick of the last entry that was read.
    position: Tick,
    feed: Feed,
    /// A reply that is not used up: the one that came when the feed was opened, or what did not go into a batch.
    unread: Option<RawBatch>,
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
            feed: Feed::Open(opened.pipe),
            unread: Some(opened.first),
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

    fn reopen(&self, pause: Duration, lost: Instant) -> Feed {
        let (connection, position) = (self.connection.clone(), self.position);
        let mut task = JoinSet::new();
        task.spawn(async move {
            tokio::time::sleep(pause).await;
            open(&connection, position).await
        });
        Feed::Opening { task, lost, pause }
    }

    /// Waits a while for the next reply. `None`: nothing came yet.
    async fn reply(&mut self) -> Result<Option<RawBatch>> {
        if let Some(unread) = self.unread.take() {
            return Ok(Some(unread));
        }
        match std::mem::replace(&mut self.feed, Feed::Lost) {
            Feed::Lost => {
                self.feed = self.reopen(Duration::ZERO, Instant::now());
                Ok(None)
            }
            Feed::Open(mut pipe) => match timeout(WAIT, pipe.next()).await {
                Err(_) => {
                    self.feed = Feed::Open(pipe);
                    Ok(None)
                }
                Ok(Some(Ok(reply))) => {
                    self.feed = Feed::Open(pipe);
                    Ok(Some(reply))
                }
                // On this member; whether it is lost on all of them shows when it is opened again.
                Ok(Some(Err(error))) if is_position_lost(&error) => {
                    self.feed = self.reopen(Duration::ZERO, Instant::now());
                    Ok(None)
                }
                Ok(Some(Err(error))) => match translate(FOLLOWING, &error) {
                    Error::Unavailable { why, .. } => {
                        tracing::info!(position = %self.position, why, "the oplog cursor was lost; opening it again");
                        self.feed = self.reopen(FIRST_PAUSE, Instant::now());
                        Ok(None)
                    }
                    other => Err(other),
                },
                Ok(None) => {
                    self.feed = self.reopen(FIRST_PAUSE, Instant::now());
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
                    Ok(Some(opened.first))
                }
                Ok(Some(Ok(Err(Error::Unavailable { .. })))) if lost.elapsed() < PATIENCE => {
                    self.feed = self.reopen((pause.max(FIRST_PAUSE) * 2).min(LONGEST_PAUSE), lost);
                    Ok(None)
                }
                Ok(Some(Ok(Err(error)))) => Err(error),
                Ok(Some(Err(_)) | None) => {
                    Err(Error::Unavailable { what: FOLLOWING.to_owned(), why: "the program is stopping".to_owned() })
                }
            },
        }
    }
}

#[async_trait]
impl Tail for OplogTail {
    async fn next(&mut self, batch: &mut EntryBatch) -> Result<()> {
        batch.clear();
        self.assembler.release(batch)?;
        if batch.is_empty()
            && let Some(reply) = self.reply().await?
            && !self.take(&reply, batch).await?
        {
            // What was read of it is behind the position, and passed over the next time.
            self.unread = Some(reply);
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
