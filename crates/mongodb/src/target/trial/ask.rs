//! What only the server can tell of records that it does not hold.
//!
//! ```text
//!   aggregate  [ $collStats ]  one document, whatever the collection holds
//!              [ $project ]    …that becomes the records: { $literal: [ … ] }
//!              [ $unwind ][ $replaceRoot ][ $match: condition ][ $project: _id ]
//! ```
//!
//! This works from the oldest server on that is supported; the stage made for it, `$documents`, came with 5.1.

use backstay_source::{Claim, Error, RecordBatch, Result};
use bson::{Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::options::{ReadPreference, SelectionCriteria};

use super::rules::Unique;
use super::{CollectionTrial, id};
use crate::command::Command;
use crate::failure::{code, translate, unexpected_reply};
use crate::interpret::decode_id;
use crate::interpret::id::{class, id_of};
use crate::interpret::raw::{self, kind};
use crate::target::keys::components;

/// How many values are looked for in one command.
pub(super) const CLAIMS: usize = 500;
/// And how many bytes they have together; what is larger by itself is left to the writing.
const CLAIMS_LEN: usize = 1 << 20;
/// The most bytes of records in one command.
const MOST_BYTES: usize = 4 << 20;
/// A record that is larger does not fit into a command beside the condition.
const LARGEST: usize = (16 << 20) - (64 << 10);
/// What the server says of an index that it cannot use for a question.
const BAD_HINT: [i32; 2] = [2, 291];

impl CollectionTrial {
    /// The ids of those of `images` that meet a condition, by the rules of an index or of the collection.
    pub(super) async fn matching(
        &self,
        images: &[&[u8]],
        condition: &Document,
        index: Option<&Unique>,
    ) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let fitting: Vec<&[u8]> = images.iter().copied().filter(|image| image.len() <= LARGEST).collect();
        let mut rest = fitting.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let count = rest.iter().take_while(|image| {
                bytes += image.len() + 16;
                bytes <= MOST_BYTES
            });
            let (some, later) = rest.split_at_checked(count.count().max(1)).unwrap_or((rest, &[]));
            rest = later;
            let command = self.match_command(some, condition, index)?;
            for document in self.documents(command).await? {
                found.push(id(&document)?);
            }
        }
        Ok(found)
    }

    /// The ids of those of `images` that a validator refuses, by the condition that is its opposite; also of those for
    /// which the server cannot evaluate it.
    pub(super) async fn failing(&self, images: &[&[u8]], condition: &Document) -> Result<Vec<Vec<u8>>> {
        match self.matching(images, condition, None).await {
            Err(error) if !is_about_records(&error) => return Err(error),
            Err(_) => {}
            found => return found,
        }
        let mut found = Vec::new();
        for image in images {
            match self.matching(&[image], condition, None).await {
                Ok(failing) => found.extend(failing),
                Err(error) if !is_about_records(&error) => return Err(error),
                Err(_) => {
                    let mut id = Vec::new();
                    id_of(image, &mut id)?;
                    found.push(id);
                }
            }
        }
        Ok(found)
    }

    fn match_command(&self, images: &[&[u8]], condition: &Document, index: Option<&Unique>) -> Result<RawDocumentBuf> {
        let mut head = doc! { "aggregate": &self.collection, "cursor": { "batchSize": 100_000 } };
        if let Some(collation) = index.and_then(|index| self.collation(index)) {
            head.insert("collation", collation);
        }
        let stages = [
            doc! { "$unwind": "$r" },
            doc! { "$replaceRoot": { "newRoot": "$r" } },
            doc! { "$match": condition.clone() },
            doc! { "$project": { "_id": 1 } },
        ];
        Command::new(&head)?
            .array("pipeline", |out| {
                raw::put_index(out, kind::DOCUMENT, 0);
                out.extend_from_slice(&to_bytes(&doc! { "$collStats": {} })?);
                raw::put_index(out, kind::DOCUMENT, 1);
                let stage = raw::open(out);
                let project = raw::put_document(out, kind::DOCUMENT, b"$project");
                let records = raw::put_document(out, kind::DOCUMENT, b"r");
                let literal = raw::put_document(out, kind::ARRAY, b"$literal");
                for (place, image) in images.iter().enumerate() {
                    raw::put_index(out, kind::DOCUMENT, place);
                    out.extend_from_slice(image);
                }
                for open in [literal, records, project, stage] {
                    raw::close(out, open)?;
                }
                for (place, stage) in stages.iter().enumerate() {
                    raw::put_index(out, kind::DOCUMENT, place + 2);
                    out.extend_from_slice(&to_bytes(stage)?);
                }
                Ok(())
            })?
            .finish()
    }

    /// The live records that may have one of these values in a unique index: those that do, and some more.
    pub(super) async fn holding(&self, unique: &Unique, values: &[&[u8]]) -> Result<RecordBatch> {
        let with_hint = self.find_command(unique, values, true)?;
        let Some(with_hint) = with_hint else { return Ok(RecordBatch::default()) };
        let found = match self.try_documents(with_hint).await {
            Ok(found) => found,
            Err(error) if code(&error).is_some_and(|code| BAD_HINT.contains(&code)) => {
                match self.find_command(unique, values, false)? {
                    Some(command) => self.documents(command).await?,
                    None => Vec::new(),
                }
            }
            Err(error) => return Err(translate(&self.what(), &error)),
        };
        let mut records = RecordBatch::default();
        for document in found {
            records.push(&id(&document)?, document.as_bytes());
        }
        Ok(records)
    }

    /// `None` when none of the values can be asked for.
    fn find_command(&self, unique: &Unique, values: &[&[u8]], hint: bool) -> Result<Option<RawDocumentBuf>> {
        let mut head = doc! { "find": &self.collection };
        if hint {
            head.insert("hint", &unique.name);
        }
        if let Some(collation) = self.collation(unique) {
            head.insert("collation", collation);
        }
        let mut clauses = 0;
        let command = Command::new(&head)?.document("filter", |out| {
            let and = raw::put_document(out, kind::ARRAY, b"$and");
            if let Some(partial) = &unique.partial {
                raw::put_index(out, kind::DOCUMENT, 0);
                out.extend_from_slice(&to_bytes(partial)?);
            }
            raw::put_index(out, kind::DOCUMENT, usize::from(unique.partial.is_some()));
            let both = raw::open(out);
            let or = raw::put_document(out, kind::ARRAY, b"$or");
            for value in values {
                clauses += usize::from(put_clause(out, clauses, unique, value)?);
            }
            for open in [or, both, and] {
                raw::close(out, open)?;
            }
            Ok(())
        })?;
        Ok(if clauses == 0 { None } else { Some(command.finish()?) })
    }

    /// By which rules texts are compared in an index, where the server would not take them by itself.
    fn collation(&self, index: &Unique) -> Option<Document> {
        let simple = || self.collated.then(|| doc! { "locale": "simple" });
        index.collation.clone().or_else(simple)
    }

    fn what(&self) -> String {
        format!("trying records against {}.{}", self.database, self.collection)
    }

    async fn documents(&self, command: RawDocumentBuf) -> Result<Vec<RawDocumentBuf>> {
        self.try_documents(command).await.map_err(|error| translate(&self.what(), &error))
    }

    async fn try_documents(&self, command: RawDocumentBuf) -> mongodb::error::Result<Vec<RawDocumentBuf>> {
        let database = self.connection.client.database(&self.database);
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let mut cursor = database.run_raw_cursor_command(command).selection_criteria(primary).batch().await?;
        let mut documents = Vec::new();
        while let Some(reply) = cursor.try_next().await? {
            let found = reply.doc_slices()?.into_iter();
            documents.extend(found.filter_map(|document| Some(document.ok()?.as_document()?.to_owned())));
        }
        Ok(documents)
    }
}

/// Cuts claims, by their places, into what one command can ask for.
pub(super) fn portions<'p>(places: &'p [usize], claims: &[Claim]) -> Vec<&'p [usize]> {
    let size = |place: &usize| claims.get(*place).map_or(0, |claim| claim.value.len());
    let mut portions = Vec::new();
    let mut rest = places;
    while !rest.is_empty() {
        let mut bytes = 0;
        let count = rest.iter().take(CLAIMS).take_while(|place| {
            bytes += size(place);
            bytes <= CLAIMS_LEN
        });
        let (some, later) = rest.split_at_checked(count.count().max(1)).unwrap_or((rest, &[]));
        if some.len() > 1 || some.iter().all(|place| size(place) <= CLAIMS_LEN) {
            portions.push(some);
        }
        rest = later;
    }
    portions
}

/// True for what the server says of the records that it was asked about, rather than of itself or of who asks.
fn is_about_records(error: &Error) -> bool {
    !matches!(error, Error::Unavailable { .. } | Error::Denied { .. })
}

/// One value as a condition, `{field: {$eq: …}, …}`; false when it cannot be put into one.
fn put_clause(out: &mut Vec<u8>, place: usize, unique: &Unique, value: &[u8]) -> Result<bool> {
    let mut parts = Vec::new();
    for (path, form) in unique.paths.iter().zip(components(value)) {
        let part = match form.first() {
            // What the members of an empty array yield.
            Some(&class::UNDEFINED) => (kind::ARRAY, vec![5, 0, 0, 0, 0]),
            _ => match decode_id(form) {
                Ok(part) => part,
                Err(_) => return Ok(false),
            },
        };
        parts.push((path.join(&b'.'), part));
    }
    if parts.len() != unique.paths.len() {
        return Ok(false);
    }
    raw::put_index(out, kind::DOCUMENT, place);
    let clause = raw::open(out);
    for (field, (part, value)) in parts {
        let equal = raw::put_document(out, kind::DOCUMENT, &field);
        raw::put(out, part, b"$eq", &value);
        raw::close(out, equal)?;
    }
    raw::close(out, clause)?;
    Ok(true)
}

fn to_bytes(document: &Document) -> Result<Vec<u8>> {
    bson::serialize_to_vec(document)
        .map_err(|error| unexpected_reply(&format!("writing a condition ({error})"), "definition"))
}
