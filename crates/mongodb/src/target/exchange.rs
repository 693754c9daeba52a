//! Writes that take each other's unique values, in one transaction.
//!
//! ```text
//!   begin   read every record, compare it with what the plan saw   delete them all   put the images   commit (majority)
//! ```
//!
//! One after the other such writes are refused: an index of the server is never violated, not even within a
//! transaction. So everything is deleted first, and nobody sees that: the transaction takes effect whole, or, when the
//! process dies or a record is refused, not at all.

use std::collections::HashMap;
use std::time::Duration;

use backstay_source::{Conflict, RecordBatch, Result, Write, WriteMode, WriteReport};
use bson::{Document, RawDocumentBuf, doc};
use mongodb::ClientSession;
use mongodb::error::Error as DriverError;
use mongodb::options::{Acknowledgment, ReadConcern, WriteConcern};

use super::insert::fitting;
use super::read::put_any_of;
use super::write::{Statement, changed, put_statement};
use super::{DUPLICATE_KEY, write_errors};
use crate::catalog::cut;
use crate::command::Command;
use crate::connect::Connection;
use crate::failure::{code, translate, words};
use crate::interpret::id_of;
use crate::interpret::raw::{self, kind};

/// How often a transaction that met another is tried again. The last waits outlast the minute after which the server
/// gives up a transaction whose client died.
const TRIES: u32 = 30;
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// `IllegalOperation` and `OperationNotSupportedInTransaction`: the server, or this kind of collection, has none.
const NO_TRANSACTIONS: [i32; 2] = [20, 263];

/// The writes as commands; made once, sent with every try.
struct Exchange<'a> {
    statements: Vec<Statement<'a>>,
    guarded: bool,
    finds: Vec<RawDocumentBuf>,
    deletes: Vec<RawDocumentBuf>,
    /// Each with the place of its first record.
    puts: Vec<(usize, RawDocumentBuf)>,
}

impl Connection {
    /// Carries out `writes` at one instant, or none of them.
    pub(crate) async fn exchange(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport> {
        let (database, _) = cut(name)?;
        let none = |conflicts| Ok(WriteReport { written: 0, conflicts });
        let cannot = |why: &str| {
            let held = "a unique value is held by another record, and they cannot be exchanged in a transaction";
            none(all(writes, &format!("{held}: {why}")))
        };
        if self.listed(name).await?.is_some_and(|listed| listed.is_capped()) {
            return cannot("the collection is capped");
        }
        let exchange = Exchange::new(name, writes, mode)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_exchange(database, &exchange).await? {
                Ok(None) => {
                    let written = u64::try_from(writes.len()).unwrap_or(u64::MAX);
                    return Ok(WriteReport { written, conflicts: Vec::new() });
                }
                Ok(Some(conflict)) => return none(vec![conflict]),
                Err(error) if is_passing(&error) && tries < TRIES => {
                    tokio::time::sleep((Duration::from_millis(20) * tries * tries).min(LONGEST_WAIT)).await;
                }
                Err(error) if code(&error) == Some(DUPLICATE_KEY) => return none(all(writes, &words(&error))),
                Err(error) if code(&error).is_some_and(|code| NO_TRANSACTIONS.contains(&code)) => {
                    return cannot(&words(&error));
                }
                Err(error) => return Err(translate(&format!("writing to {name}"), &error)),
            }
        }
    }

    /// One transaction; yields what stood in its way. The outer error is ours, the inner one the driver's.
    async fn try_exchange(
        &self,
        database: &str,
        exchange: &Exchange<'_>,
    ) -> Result<std::result::Result<Option<Conflict>, DriverError>> {
        let begun = async {
            let mut session = self.client.start_session().await?;
            let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
            session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(majority).await?;
            Ok(session)
        };
        let mut session: ClientSession = match begun.await {
            Ok(session) => session,
            Err(error) => return Ok(Err(error)),
        };
        let database = self.client.database(database);
        let mut replies = Vec::with_capacity(exchange.finds.len());
        for find in &exchange.finds {
            match database.run_raw_command(find.clone()).session(&mut session).await {
                Ok(reply) => replies.push(reply),
                Err(error) => return Ok(Err(error)),
            }
        }
        let mut conflict = if exchange.guarded { exchange.unlike(&replies)? } else { None };
        let written = async {
            if conflict.is_none() {
                for delete in &exchange.deletes {
                    database.run_raw_command(delete.clone()).session(&mut session).await?;
                }
                for (first, put) in &exchange.puts {
                    let reply = database.run_raw_command(put.clone()).session(&mut session).await?;
                    conflict = write_errors(&reply).next().map(|(place, code, why)| {
                        let write = exchange.place_of_put(first + place);
                        Conflict { write, taken: code == DUPLICATE_KEY, why }
                    });
                    if conflict.is_some() {
                        break;
                    }
                }
            }
            match conflict {
                None => session.commit_transaction().await?,
                Some(_) => session.abort_transaction().await?,
            }
            Ok(conflict)
        };
        Ok(written.await)
    }
}

impl<'a> Exchange<'a> {
    fn new(name: &str, writes: &[Write<'a>], mode: WriteMode) -> Result<Exchange<'a>> {
        let (_, collection) = cut(name)?;
        let statements = writes.iter().enumerate().map(|(place, write)| Statement::new(place, *write));
        let statements = statements.collect::<Result<Vec<_>>>()?;
        let guarded = mode == WriteMode::Guarded;
        let mut finds = Vec::new();
        if guarded {
            for part in parts(&statements, |statement| statement.expected().map_or(0, <[u8]>::len)) {
                let ids: Vec<&[u8]> = part.iter().map(|statement| statement.id.as_slice()).collect();
                let head = doc! { "find": collection, "batchSize": i64::from(u16::MAX), "singleBatch": true };
                finds.push(Command::new(&head)?.document("filter", |out| put_any_of(out, &ids))?.finish()?);
            }
        }
        let mut deletes = Vec::new();
        for part in parts(&statements, |statement| statement.field.value.len() + 160) {
            let delete = Command::new(&doc! { "delete": collection })?.array("deletes", |out| {
                for (index, statement) in part.iter().enumerate() {
                    raw::put_index(out, kind::DOCUMENT, index);
                    let start = raw::open(out);
                    let query = raw::put_document(out, kind::DOCUMENT, b"q");
                    raw::put(out, statement.field.kind, b"_id", statement.field.value);
                    raw::close(out, query)?;
                    raw::put_int32(out, b"limit", 1);
                    raw::close(out, start)?;
                }
                Ok(())
            })?;
            deletes.push(delete.finish()?);
        }
        let fresh = statements.iter().filter_map(|statement| {
            let image = statement.goal()?;
            Some(Statement { write: Write::Insert { image }, ..statement.clone() })
        });
        let fresh: Vec<Statement<'_>> = fresh.collect();
        let mut puts = Vec::new();
        let mut first = 0;
        for part in parts(&fresh, |statement| statement.size(WriteMode::Guarded)) {
            let head = doc! { "update": collection, "bypassDocumentValidation": true };
            let put = Command::new(&head)?.array("updates", |out| {
                for (index, statement) in part.iter().enumerate() {
                    raw::put_index(out, kind::DOCUMENT, index);
                    put_statement(out, statement, WriteMode::Guarded)?;
                }
                Ok(())
            })?;
            puts.push((first, put.finish()?));
            first += part.len();
        }
        Ok(Exchange { statements, guarded, finds, deletes, puts })
    }

    /// The first record that is neither what the plan saw nor, after a commit whose acknowledgement was lost, what it
    /// should become.
    fn unlike(&self, replies: &[Document]) -> Result<Option<Conflict>> {
        let mut live = RecordBatch::default();
        let mut id = Vec::new();
        for reply in replies {
            let batch = reply.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch"));
            for record in batch.map(Vec::as_slice).unwrap_or_default().iter().filter_map(bson::Bson::as_document) {
                let Ok(image) = RawDocumentBuf::try_from(record) else { continue };
                id.clear();
                id_of(image.as_bytes(), &mut id)?;
                live.push(&id, image.as_bytes());
            }
        }
        let live: HashMap<&[u8], &[u8]> = live.iter().collect();
        let unlike = self.statements.iter().find_map(|statement| {
            let now = live.get(statement.id.as_slice()).copied();
            let is_known = now == statement.expected() || now == statement.goal();
            (!is_known).then(|| Conflict { write: statement.place, taken: false, why: changed(now) })
        });
        Ok(unlike)
    }

    fn place_of_put(&self, put: usize) -> usize {
        let mut puts = self.statements.iter().filter(|statement| statement.goal().is_some());
        puts.nth(put).map_or(0, |statement| statement.place)
    }
}

/// Cuts statements into as many commands as they need.
fn parts<'s, 'a>(statements: &'s [Statement<'a>], size: impl Fn(&Statement<'a>) -> usize) -> Vec<&'s [Statement<'a>]> {
    let mut parts = Vec::new();
    let mut rest = statements;
    while !rest.is_empty() {
        let count = fitting(rest.iter().map(&size));
        let (part, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        parts.push(part);
        rest = later;
    }
    parts
}

fn is_passing(error: &DriverError) -> bool {
    error.contains_label("TransientTransactionError") || error.contains_label("UnknownTransactionCommitResult")
}

fn all(writes: &[Write<'_>], why: &str) -> Vec<Conflict> {
    (0..writes.len()).map(|write| Conflict { write, taken: true, why: why.to_owned() }).collect()
}
