//! What only the server can tell of records that it does not hold.
//!
//! ```text
//!   aggregate  [ $collStats ]  one document, whatever the collection holds
//!              [ $project ]    …that becomes the records: { $literal: [ … ] }
//!              [ $unwind ][ $replaceRoot ][ $match: condition ][ $project: _id ]
//! ```
//!
//! This works from the oldest server on that is supported; the stage made for it, `$documents`, came with 5.1.

use backstay_source::{Error, Result};
use bson::{Document, RawDocumentBuf, doc};
use futures::TryStreamExt as _;
use mongodb::options::{ReadPreference, SelectionCriteria};

use super::rules::Unique;
use super::{CollectionTrial, id};
use crate::command::Command;
use crate::failure::{translate, unexpected_reply};
use crate::interpret::id::id_of;
use crate::interpret::raw::{self, kind};

/// The most bytes of records in one command.
const MOST_BYTES: usize = 4 << 20;
/// A record that is larger does not fit into a command beside the condition.
const LARGEST: usize = (16 << 20) - (64 << 10);

impl CollectionTrial {
    /// The ids of those of `images` that meet a condition, by the rules of an index or of the collection.
    pub(super) async fn matching(
        &self,
        images: &[&[u8]],
        condition: &Document,
        index: Option<&Unique>,
    ) -> Result<Vec<Vec<u8>>> {
        self.meeting(images, condition, index).await?.iter().map(|document| id(document)).collect()
    }

    /// The same, and nothing is made of the ids.
    pub(super) async fn meeting(
        &self,
        images: &[&[u8]],
        condition: &Document,
        index: Option<&Unique>,
    ) -> Result<Vec<RawDocumentBuf>> {
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
            found.extend(self.documents(command).await?);
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

    /// By which rules texts are compared in an index, where the server would not take them by itself.
    pub(super) fn collation(&self, index: &Unique) -> Option<Document> {
        let simple = || self.collated.then(|| doc! { "locale": "simple" });
        index.collation.clone().or_else(simple)
    }

    pub(super) fn what(&self) -> String {
        format!("trying records against {}.{}", self.database, self.collection)
    }

    async fn documents(&self, command: RawDocumentBuf) -> Result<Vec<RawDocumentBuf>> {
        let failed = |error: mongodb::error::Error| translate(&self.what(), &error);
        let database = self.connection.client.database(&self.database);
        let primary = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        let cursor = database.run_raw_cursor_command(command).selection_criteria(primary).batch().await;
        let mut cursor = cursor.map_err(failed)?;
        let mut documents = Vec::new();
        while let Some(reply) = cursor.try_next().await.map_err(failed)? {
            let found = reply.doc_slices().map_err(|_| unexpected_reply(&self.what(), "cursor"))?.into_iter();
            documents.extend(found.filter_map(|document| Some(document.ok()?.as_document()?.to_owned())));
        }
        Ok(documents)
    }
}

/// True for what the server says of the records that it was asked about, rather than of itself or of who asks.
fn is_about_records(error: &Error) -> bool {
    !matches!(error, Error::Unavailable { .. } | Error::Denied { .. })
}

pub(super) fn to_bytes(document: &Document) -> Result<Vec<u8>> {
    bson::serialize_to_vec(document)
        .map_err(|error| unexpected_reply(&format!("writing a condition ({error})"), "definition"))
}
