//! Writing into a deployment: guarded, batched, and acknowledged by a majority.
//!
//! ```text
//!   define    create, indexes, and in which respects a namespace differs from a definition
//!   read      live records: of a range, of a tenant, by id
//!   insert    records known to be missing, at full speed
//!   write     a plan's writes, each only while the record still is what the plan saw
//!   guard     the same for records that one command cannot hold, or whose collection has a collation
//!   exchange  writes that take each other's unique values, in one transaction
//!   unique    which unique values a record takes up
//!   keys      the keys that a record has in an index
//!   trial     what today's indexes and validator would refuse, told without writing
//!   views     a view's definition is a record of `system.views`, but only commands may change it
//! ```
//!
//! Every write goes with `bypassDocumentValidation` (what is restored was accepted once) and waits for the majority: it
//! cannot be rolled back any more.

mod define;
mod exchange;
mod guard;
mod insert;
mod keys;
mod read;
mod trial;
mod unique;
mod views;
mod write;

use backstay_source::{Error, RecordBatch, Result, Write};
use bson::{Bson, Document, RawDocumentBuf, doc};

use crate::connect::Connection;
use crate::failure::translate;

pub(crate) use views::holds_views;

/// The most bytes of records in one command: a command may be 16 KiB longer than the 16 MiB of a record.
const MOST_BYTES: usize = 16 << 20;
/// The most records in one command (`maxWriteBatchSize`).
const MOST_RECORDS: usize = 100_000;
const DUPLICATE_KEY: i32 = 11000;
/// How long to wait for the majority before the write counts as unacknowledged.
const MAJORITY_LIMIT_MS: i32 = 60_000;

/// What every write waits for.
fn majority() -> Document {
    doc! { "w": "majority", "wtimeout": MAJORITY_LIMIT_MS }
}

/// Records as insertions, one by one.
pub(crate) fn insertions(records: &RecordBatch) -> Vec<Write<'_>> {
    records.iter().map(|(_, image)| Write::Insert { image }).collect()
}

/// The server's answer to a bulk of writes.
#[derive(Debug, Default)]
struct Answer {
    /// How many records matched or were inserted.
    n: u64,
    /// The statements that failed: place, code, words.
    failed: Vec<(usize, i32, String)>,
}

impl Connection {
    /// Runs a write command. Failures of single statements are part of the answer.
    async fn write_command(&self, database: &str, command: RawDocumentBuf, what: &str) -> Result<Answer> {
        let reply = self.client.database(database).run_raw_command(command).await;
        let reply = reply.map_err(|error| translate(what, &error))?;
        if let Ok(concern) = reply.get_document("writeConcernError") {
            let why = concern.get_str("errmsg").unwrap_or("the majority did not acknowledge the write").to_owned();
            return Err(Error::Unavailable { what: what.to_owned(), why });
        }
        let n = reply.get("n").and_then(crate::catalog::whole_number).unwrap_or(0);
        Ok(Answer { n, failed: write_errors(&reply).collect() })
    }
}

/// The statements of a write command that failed: place, code, words.
fn write_errors(reply: &Document) -> impl Iterator<Item = (usize, i32, String)> {
    let errors = reply.get_array("writeErrors").map(Vec::as_slice).unwrap_or_default();
    errors.iter().filter_map(|error| {
        let error = error.as_document()?;
        let place = usize::try_from(crate::catalog::whole_number(error.get("index")?)?).ok()?;
        let code = error.get("code").and_then(Bson::as_i32).unwrap_or(0);
        Some((place, code, error.get_str("errmsg").unwrap_or("the server gave no reason").to_owned()))
    })
}
