//! Reading records, as a rule in ascending order of id: as of one instant, or live.
//!
//! ```text
//!   range      [from ─────────────── to]
//!   cursor      min ───────▶ max             bounds of the _id index: they compare across types, $gt does not
//!   last one                   to            `max` is exclusive, and MaxKey without it: read by itself
//! ```
//!
//! **Order.** The `_id` index is in the order of the ids' memcomparable form, unless the collection has a collation: then
//! its `_id` index is in collation order and cannot be used. Such a collection is read whole, the server sorts it by
//! simple comparison (on disk when it is large), and what is outside of the range is left out here. Every scan checks
//! that ids ascend: an archive that believes in an order which is not there would lose records.
//!
//! **Capped collections.** The server refuses to read them as of an instant. They are read live, at the majority point and
//! not before the instant that is wanted; without an order, in their natural one. Before MongoDB 5.0 all are read live.
//!
//! A scan of everything may also go without an order: then the server walks its storage, and need not look each record up
//! by way of the index.
//!
//! **Memory.** Replies are asked for in numbers of documents, chosen by the average size to be about [`REPLY`] bytes; the
//! server never sends more than 16 MiB at once. Three replies can be in memory.

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use backstay_model::{IdRange, InterpretError, Interpreter, Tick};
use backstay_source::{RecordBatch, Records, Result};
use bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::Database;
use mongodb::options::SelectionCriteria;
use mongodb::raw_batch_cursor::RawBatch;

use crate::command::Command;
use crate::discover::timestamp;
use crate::failure::{translate_scan, unexpected_reply};
use crate::interpret::raw;
use crate::interpret::{decode_id, encode_id, id_of};
use crate::pipe::Pipe;

/// The size that a reply of the server should have, in bytes.
const REPLY: u64 = 4 << 20;
/// More documents than this in one reply do not make it faster.
const MOST_DOCUMENTS: u64 = 50_000;
/// What room an encoded id is given; those of ObjectIds, numbers and UUIDs take less.
const ID_LEN: usize = 20;

/// How many documents of `average` bytes to ask for at once.
pub(crate) fn reply_size(average: u64) -> u32 {
    let documents = (REPLY / average.max(16)).clamp(1, MOST_DOCUMENTS);
    u32::try_from(documents).unwrap_or(u32::MAX)
}

/// Which records to read, and how.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) database: Database,
    pub(crate) collection: String,
    pub(crate) range: IdRange,
    /// In ascending order of id; without, the range is everything and the server reads in the order of its own storage,
    /// which saves it a look-up for each record.
    pub(crate) ordered: bool,
    /// The instant; `None` reads what is there now.
    pub(crate) at: Option<Tick>,
    /// The collection has a collation of its own.
    pub(crate) collated: bool,
    /// The collection is capped.
    pub(crate) capped: bool,
    /// The server cannot show it as of an instant: it is read as it is, not before the instant.
    pub(crate) live: bool,
    /// Average bytes of a document.
    pub(crate) average: u64,
    pub(crate) read: SelectionCriteria,
    /// Read only documents that match, see [`Filter`].
    pub(crate) filter: Option<Filter>,
}

/// A condition that the server applies, and the plan for it.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) condition: Document,
    /// The index to use; `None` reads in the order of `_id`.
    pub(crate) hint: Option<Bson>,
}

impl Request {
    fn name(&self) -> String {
        format!("{}.{}", self.database.name(), self.collection)
    }

    fn find(&self) -> Document {
        let mut find = doc! { "find": &self.collection };
        let concern = match self.at {
            Some(at) if self.live => doc! { "level": "majority", "afterClusterTime": timestamp(at) },
            Some(at) => doc! { "level": "snapshot", "atClusterTime": timestamp(at) },
            None => doc! { "level": "local" },
        };
        find.insert("readConcern", concern);
        find
    }

    /// The command for all of the range but an included end; `None` when that is nothing.
    fn command(&self) -> Result<Option<RawDocumentBuf>> {
        let mut find = self.find();
        find.insert("batchSize", i64::from(reply_size(self.average)));
        find.insert("noCursorTimeout", false);
        let filter = self.filter.as_ref();
        if let Some(filter) = filter {
            find.insert("filter", filter.condition.clone());
        }
        let hint = filter.and_then(|filter| filter.hint.clone());
        if !self.ordered {
            if let Some(hint) = hint {
                find.insert("hint", hint);
            } else if self.capped {
                find.insert("hint", doc! { "$natural": 1 });
            }
            return Ok(Some(raw_command(&find, &[])?));
        }
        if self.collated || (hint.is_some() && self.range == IdRange::all()) {
            find.insert("sort", doc! { "_id": 1 });
            find.insert("allowDiskUse", true);
            if self.collated {
                find.insert("collation", doc! { "locale": "simple" });
            } else if let Some(hint) = hint {
                find.insert("hint", hint);
            }
            return Ok(Some(raw_command(&find, &[])?));
        }
        find.insert("hint", doc! { "_id": 1 });
        let (from, to) = (edge(&self.range.from), edge(&self.range.to));
        // Where one bound is given, the server takes the least or the greatest id for the other.
        let (least, greatest) = (edge_of_all(raw::kind::MIN_KEY)?, edge_of_all(raw::kind::MAX_KEY)?);
        if (from.is_some() || to.is_some()) && from.unwrap_or(&least) >= to.unwrap_or(&greatest) {
            return Ok(None);
        }
        let bounds = [("min", from), ("max", to)];
        let bounds: Vec<_> = bounds.into_iter().filter_map(|(name, id)| Some((name, id?))).collect();
        Ok(Some(raw_command(&find, &bounds)?))
    }

    /// The command for the one record that the bounds leave out: an included end of the range, or in a range without an
    /// end the id `MaxKey`, which the server takes for the bound that was not given.
    fn last_command(&self) -> Result<Option<RawDocumentBuf>> {
        let last = match (&self.range.from, &self.range.to) {
            _ if !self.ordered => return Ok(None),
            (_, Bound::Included(to)) => to.clone(),
            (Bound::Included(_) | Bound::Excluded(_), Bound::Unbounded) => edge_of_all(raw::kind::MAX_KEY)?,
            _ => return Ok(None),
        };
        if self.collated || !self.range.contains(&last) {
            return Ok(None);
        }
        let (kind, value) = decode_id(&last)?;
        let mut find = self.find();
        find.insert("limit", 1);
        find.insert("singleBatch", true);
        let command = Command::new(&find)?.document("filter", |out| {
            let condition = raw::put_document(out, raw::kind::DOCUMENT, b"_id");
            raw::put(out, kind, b"$eq", &value);
            Ok(raw::close(out, condition)?)
        })?;
        Ok(Some(command.finish()?))
    }

    async fn open(&self, command: RawDocumentBuf) -> Result<Pipe> {
        let cursor = self
            .database
            .run_raw_cursor_command(command)
            .selection_criteria(self.read.clone())
            .batch_size(reply_size(self.average))
            .batch()
            .await
            .map_err(|error| translate_scan(&self.name(), self.at, &error))?;
        Ok(Pipe::new(cursor))
    }
}

/// `command` with more fields, each the document `{_id: id}`.
fn raw_command(command: &Document, ids: &[(&str, &[u8])]) -> Result<RawDocumentBuf> {
    let mut command = Command::new(command)?;
    for (field, id) in ids {
        let (kind, value) = decode_id(id)?;
        command = command.document(field, |out| {
            raw::put(out, kind, b"_id", &value);
            Ok(())
        })?;
    }
    command.finish()
}

/// The memcomparable form of `MinKey` or `MaxKey`.
fn edge_of_all(kind: u8) -> Result<Vec<u8>> {
    let mut id = Vec::new();
    encode_id(kind, &[], &mut id)?;
    Ok(id)
}

fn edge(bound: &Bound<Vec<u8>>) -> Option<&[u8]> {
    match bound {
        Bound::Unbounded => None,
        Bound::Included(id) | Bound::Excluded(id) => Some(id),
    }
}

/// Keeps only one tenant's records, by the same rules that the archive uses.
pub(crate) struct Owner {
    pub(crate) interpreter: Arc<dyn Interpreter>,
    pub(crate) tenant: String,
}

/// A scan that goes on.
pub(crate) struct Scan {
    request: Request,
    name: String,
    pipe: Option<Pipe>,
    /// The end of the range is still to be read.
    last: Option<RawDocumentBuf>,
    owner: Option<Owner>,
    /// The id before, to check the order.
    previous: Vec<u8>,
    id: Vec<u8>,
    scratch: String,
}

impl Scan {
    /// Opens the cursor: from here on a snapshot read sees its instant, whatever happens to the collection's name.
    pub(crate) async fn open(request: Request, owner: Option<Owner>) -> Result<Scan> {
        let name = request.name();
        let last = request.last_command()?;
        let pipe = match request.command()? {
            Some(command) => Some(request.open(command).await?),
            None => None,
        };
        Ok(Scan { request, name, pipe, last, owner, previous: Vec::new(), id: Vec::new(), scratch: String::new() })
    }

    fn take(&mut self, reply: &RawBatch, batch: &mut RecordBatch) -> Result<()> {
        let reading = || format!("reading {}", self.name);
        let documents = reply.doc_slices().map_err(|_| unexpected_reply(&reading(), "cursor"))?;
        // With room for the ids too: a batch that has to grow in the end is copied as a whole.
        let bytes = documents.as_bytes().len();
        let records = bytes / usize::try_from(self.request.average.max(16)).unwrap_or(usize::MAX) + 16;
        batch.reserve(records, bytes + records * ID_LEN);
        for document in documents {
            let document = document.ok().and_then(|value| value.as_document());
            let image = document.ok_or_else(|| unexpected_reply(&reading(), "batch"))?.as_bytes();
            self.id.clear();
            id_of(image, &mut self.id)?;
            if !self.request.range.contains(&self.id) {
                continue;
            }
            if self.request.ordered && self.id <= self.previous && !self.previous.is_empty() {
                let why = format!("{} was not sent in ascending order of _id", self.name);
                return Err(InterpretError::Malformed { what: "scan", why }.into());
            }
            std::mem::swap(&mut self.previous, &mut self.id);
            if let Some(owner) = &self.owner
                && owner.interpreter.tenant(&self.name, image, &mut self.scratch) != owner.tenant
            {
                continue;
            }
            batch.push(&self.previous, image);
        }
        Ok(())
    }
}

#[async_trait]
impl Records for Scan {
    async fn next(&mut self, batch: &mut RecordBatch) -> Result<bool> {
        batch.clear();
        loop {
            let Some(pipe) = &mut self.pipe else {
                let Some(last) = self.last.take() else { return Ok(false) };
                self.pipe = Some(self.request.open(last).await?);
                continue;
            };
            match pipe.next().await {
                Some(Ok(reply)) => self.take(&reply, batch)?,
                Some(Err(error)) => return Err(translate_scan(&self.name, self.request.at, &error)),
                None => self.pipe = None,
            }
            if !batch.is_empty() {
                return Ok(true);
            }
        }
    }
}
