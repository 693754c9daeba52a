//! Guarded writes one by one: a transaction reads the record, compares its bytes here, and writes.
//!
//! For records that are too large to travel twice in one command, and for collections with a collation, whose comparison
//! inside the server would find different texts equal. Exact byte for byte; slower than a bulk.

use backstay_source::{Conflict, Result, WriteReport};
use bson::{Document, RawDocumentBuf, doc};
use futures::future::try_join_all;
use mongodb::options::{ReadConcern, WriteConcern};

use super::write::{Statement, changed, put_update};
use super::write_errors;
use crate::catalog::cut;
use crate::command::Command;
use crate::connect::Connection;
use crate::failure::{code, translate, words};
use crate::interpret::raw::{self, kind};

/// How many transactions to run at the same time.
const CONCURRENCY: usize = 8;
/// How often a transaction that met another is tried again.
const TRIES: usize = 8;

enum Verdict {
    Written,
    Changed(String),
    /// Another record holds a unique value of this one.
    Taken(String),
}

impl Connection {
    pub(super) async fn write_guarded(
        &self,
        name: &str,
        statements: &[Statement<'_>],
        report: &mut WriteReport,
    ) -> Result<()> {
        for part in statements.chunks(CONCURRENCY) {
            let verdicts = try_join_all(part.iter().map(|statement| self.write_one(name, statement))).await?;
            for (statement, verdict) in part.iter().zip(verdicts) {
                let (taken, why) = match verdict {
                    Verdict::Written => {
                        report.written += 1;
                        continue;
                    }
                    Verdict::Changed(why) => (false, why),
                    Verdict::Taken(why) => (true, why),
                };
                report.conflicts.push(Conflict { write: statement.place, taken, why });
            }
        }
        Ok(())
    }

    async fn write_one(&self, name: &str, statement: &Statement<'_>) -> Result<Verdict> {
        let what = format!("writing to {name}");
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(name, statement).await? {
                Ok(verdict) => return Ok(verdict),
                Err(error) if error.contains_label("TransientTransactionError") && tries < TRIES => {}
                Err(error) if error.contains_label("UnknownTransactionCommitResult") && tries < TRIES => {}
                Err(error) if code(&error) == Some(super::DUPLICATE_KEY) => {
                    return Ok(Verdict::Taken(words(&error)));
                }
                Err(error) => return Err(translate(&what, &error)),
            }
        }
    }

    /// One transaction. The outer error is ours, the inner one the driver's.
    async fn attempt(
        &self,
        name: &str,
        statement: &Statement<'_>,
    ) -> Result<std::result::Result<Verdict, mongodb::error::Error>> {
        let (database, collection) = cut(name)?;
        let database = self.client.database(database);
        let find = Command::new(&doc! { "find": collection, "limit": 1, "singleBatch": true })?;
        let find = find.document("filter", |out| put_id(out, statement))?.finish()?;
        let write = match statement.goal() {
            Some(image) => Command::new(&doc! { "update": collection, "bypassDocumentValidation": true })?.array(
                "updates",
                |out| {
                    let start = raw::put_document(out, kind::DOCUMENT, b"0");
                    let query = raw::put_document(out, kind::DOCUMENT, b"q");
                    put_id(out, statement)?;
                    raw::close(out, query)?;
                    put_update(out, image)?;
                    Ok(raw::close(out, start)?)
                },
            )?,
            None => Command::new(&doc! { "delete": collection })?.array("deletes", |out| {
                let start = raw::put_document(out, kind::DOCUMENT, b"0");
                let query = raw::put_document(out, kind::DOCUMENT, b"q");
                put_id(out, statement)?;
                raw::close(out, query)?;
                raw::put_int32(out, b"limit", 1);
                Ok(raw::close(out, start)?)
            })?,
        };
        let write = write.finish()?;
        Ok(async {
            let mut session = self.client.start_session().await?;
            let majority = WriteConcern::builder().w(mongodb::options::Acknowledgment::Majority).build();
            session.start_transaction().read_concern(ReadConcern::snapshot()).write_concern(majority).await?;
            let now = first_record(&database.run_raw_command(find).session(&mut session).await?);
            let now = now.as_ref().map(|record| record.as_bytes());
            let verdict = if now == statement.goal() {
                Verdict::Written
            } else if now != statement.expected() {
                Verdict::Changed(changed(now))
            } else {
                let reply = database.run_raw_command(write).session(&mut session).await?;
                match refusal(&reply) {
                    Some((super::DUPLICATE_KEY, why)) => Verdict::Taken(why),
                    Some((_, why)) => Verdict::Changed(why),
                    None => Verdict::Written,
                }
            };
            match &verdict {
                Verdict::Written => session.commit_transaction().await?,
                Verdict::Changed(_) | Verdict::Taken(_) => session.abort_transaction().await?,
            }
            Ok(verdict)
        }
        .await)
    }
}

fn put_id(out: &mut Vec<u8>, statement: &Statement<'_>) -> Result<()> {
    raw::put(out, statement.field.kind, b"_id", statement.field.value);
    Ok(())
}

fn first_record(reply: &Document) -> Option<RawDocumentBuf> {
    let batch = reply.get_document("cursor").ok()?.get_array("firstBatch").ok()?;
    RawDocumentBuf::try_from(batch.first()?.as_document()?).ok()
}

fn refusal(reply: &Document) -> Option<(i32, String)> {
    let (_, code, why) = write_errors(reply).next()?;
    Some((code, why))
}
