//! Reading what a target holds now, from its primary.
//!
//! A tenant's records can be asked of the server when the rule that assigns them names a field: the condition may match
//! more than the tenant's records, never fewer, and the rules decide on what comes. Whether it pays to walk the whole
//! collection in the order of ids, or to pick the matches and sort them, a small sample tells.

use std::collections::HashSet;

use backstay_model::IdRange;
use backstay_source::{Error, RecordBatch, Result, Room};
use bson::{Bson, Document, RawDocument, doc};
use futures::TryStreamExt as _;
use mongodb::options::{ReadPreference, SelectionCriteria};

use super::MOST_BYTES;
use crate::catalog::{Listed, cut};
use crate::command::Command;
use crate::connect::Connection;
use crate::failure::{translate, unexpected_reply};
use crate::interpret::raw::{self, kind};
use crate::interpret::{decode_id, id_of};
use crate::scan::{Filter, Owner, Request, Scan};

/// The most ids to ask for at once.
const MOST_IDS: usize = 20_000;
/// How many documents tell a tenant's share of a collection.
const SAMPLE: i32 = 200;
/// Above this share, walking all records in order is cheaper than sorting the matches.
const LARGE_SHARE: f64 = 0.15;

impl Connection {
    /// Live records: of a range, ascending, or all of them in any order. `owner` keeps one tenant's, `fields` is where the rules look for its name.
    pub(crate) async fn scan_live(
        &self,
        name: &str,
        range: Option<&IdRange>,
        owner: Option<Owner>,
        fields: &[String],
    ) -> Result<Scan> {
        let (database, collection) = cut(name)?;
        let what = format!("reading {name}");
        let gone = || Error::Refused { what: what.clone(), why: "there is no such collection".to_owned() };
        let listed = self.listed(name).await?.ok_or_else(gone)?;
        let (bytes, records) = self.size(database, collection).await?;
        let filter = match owner.as_ref().and_then(|owner| condition(fields, &owner.tenant)) {
            Some(condition) => Some(self.filter(&listed, fields, condition).await?),
            None => None,
        };
        let request = Request {
            database: self.client.database(database),
            collection: collection.to_owned(),
            range: range.cloned().unwrap_or_else(IdRange::all),
            ordered: range.is_some(),
            at: None,
            collated: listed.is_collated(),
            capped: listed.is_capped(),
            live: true,
            average: bytes / records.max(1),
            read: SelectionCriteria::ReadPreference(ReadPreference::Primary),
            filter,
        };
        Scan::open(request, owner).await
    }

    /// The condition, and the cheapest way to follow it.
    async fn filter(&self, listed: &Listed, fields: &[String], condition: Document) -> Result<Filter> {
        let indexes = self.indexes(&listed.database, &listed.collection).await?.unwrap_or_default();
        let index = match fields {
            [field] => indexes.iter().find(|index| leads_with(index, field)),
            _ => None,
        };
        if self.share(listed, &condition).await? > LARGE_SHARE {
            return Ok(Filter { condition, hint: None });
        }
        let by_name = index.and_then(|index| index.get_str("name").ok());
        let hint = by_name.map_or_else(|| Bson::from(doc! { "$natural": 1 }), Bson::from);
        Ok(Filter { condition, hint: Some(hint) })
    }

    async fn share(&self, listed: &Listed, condition: &Document) -> Result<f64> {
        let pipeline =
            vec![doc! { "$sample": { "size": SAMPLE } }, doc! { "$match": condition.clone() }, doc! { "$count": "n" }];
        let aggregate = doc! { "aggregate": &listed.collection, "pipeline": pipeline, "cursor": {} };
        let found = self.collect(&listed.database, aggregate).await;
        let found = found.map_err(|error| translate(&format!("sampling {}", listed.name()), &error))?;
        let count = found.first().and_then(|reply| reply.get_i32("n").ok()).unwrap_or(0);
        Ok(f64::from(count) / f64::from(SAMPLE))
    }

    /// How much more a capped collection holds before it removes its oldest records.
    pub(crate) async fn room(&self, name: &str) -> Result<Option<Room>> {
        let what = format!("asking how much {name} holds");
        let Some(listed) = self.listed(name).await?.filter(Listed::is_capped) else { return Ok(None) };
        let stats = doc! { "collStats": &listed.collection };
        let stats = self.command(&listed.database, stats, &what).await?;
        let number = |field: &str| {
            let number = stats.get(field).and_then(crate::catalog::whole_number).unwrap_or(0);
            i64::try_from(number).unwrap_or(i64::MAX)
        };
        let (most, cap) = (number("max"), number("maxSize"));
        let records = if most > 0 { most - number("count") } else { i64::MAX };
        let Listed { database, collection, .. } = listed;
        let widening = format!(
            "db.getSiblingDB({database:?}).runCommand({{collMod: {collection:?}, cappedSize: BYTES, cappedMax: RECORDS}}), \
             from MongoDB 6.0 on"
        );
        Ok(Some(Room { records, bytes: cap - number("size"), widening }))
    }

    /// The live records with these ids, as far as they exist.
    pub(crate) async fn fetch(&self, name: &str, ids: &[&[u8]]) -> Result<RecordBatch> {
        let (database, collection) = cut(name)?;
        let what = format!("reading {name}");
        let mut batch = RecordBatch::default();
        let mut id = Vec::new();
        for part in ids.chunks(MOST_IDS) {
            // With a collation the server may find more than was asked for.
            let wanted: HashSet<&[u8]> = part.iter().copied().collect();
            let mut rest = part;
            while !rest.is_empty() {
                let count = super::insert::fitting(rest.iter().map(|id| id.len() * 2 + 32)).min(MOST_BYTES);
                let (now, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                rest = later;
                let head = doc! { "find": collection, "batchSize": i64::from(u16::MAX) };
                let command = Command::new(&head)?.document("filter", |out| put_any_of(out, now))?;
                let mut cursor = self
                    .client
                    .database(database)
                    .run_raw_cursor_command(command.finish()?)
                    .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
                    .batch()
                    .await
                    .map_err(|error| translate(&what, &error))?;
                while let Some(reply) = cursor.try_next().await.map_err(|error| translate(&what, &error))? {
                    for document in reply.doc_slices().map_err(|_| unexpected_reply(&what, "cursor"))? {
                        let image = document.ok().and_then(|value| value.as_document());
                        let image = image.ok_or_else(|| unexpected_reply(&what, "batch"))?.as_bytes();
                        id.clear();
                        id_of(image, &mut id)?;
                        if wanted.contains(id.as_slice()) {
                            batch.push(&id, image);
                        }
                    }
                }
            }
        }
        Ok(batch)
    }
}

/// `_id: {$in: […]}`
pub(super) fn put_any_of(out: &mut Vec<u8>, ids: &[&[u8]]) -> Result<()> {
    let any = raw::put_document(out, kind::DOCUMENT, b"_id");
    let list = raw::put_document(out, kind::ARRAY, b"$in");
    for (index, id) in ids.iter().enumerate() {
        let (kind, value) = decode_id(id)?;
        raw::put_index(out, kind, index);
        out.extend_from_slice(&value);
    }
    raw::close(out, list)?;
    Ok(raw::close(out, any)?)
}

/// True when an index finds every document by `field`: ascending or descending, not sparse, partial or collated.
fn leads_with(index: &RawDocument, field: &str) -> bool {
    let conditional = ["sparse", "partialFilterExpression", "collation", "hidden"];
    let plain = conditional.iter().all(|option| !matches!(index.get(option), Ok(Some(_))));
    let key = index.get_document("key").ok().and_then(|key| key.iter().next()?.ok());
    plain
        && key.is_some_and(|(name, order)| {
            let ordered = bson::Bson::try_from(order).ok();
            name.as_str() == field && ordered.as_ref().is_some_and(is_direction)
        })
}

fn is_direction(order: &Bson) -> bool {
    matches!(order, Bson::Int64(1 | -1) | Bson::Int32(1 | -1))
        || matches!(order, Bson::Double(number) if number.abs() == 1.0)
}

/// A condition that every record of `tenant` meets whose name stands in one of `fields`; `None` when that cannot be
/// said in the server's words. The inverse of how the rules read names out of values.
pub(crate) fn condition(fields: &[String], tenant: &str) -> Option<Document> {
    let literal = !fields.is_empty() && fields.iter().all(|field| !field.split('.').any(|part| part.starts_with('$')));
    // Other values than these give a name in Extended JSON; text that is not UTF-8 gives one with replacements.
    if !literal || tenant.starts_with(['{', '[']) || tenant.contains(char::REPLACEMENT_CHARACTER) {
        return None;
    }
    let mut values = vec![Bson::from(tenant)];
    if let Ok(number) = tenant.parse::<i64>() {
        // One comparison finds every numeric type.
        values.push(Bson::from(number));
    }
    if let Ok(truth) = tenant.parse::<bool>() {
        values.push(Bson::from(truth));
    }
    if let Ok(id) = bson::oid::ObjectId::parse_str(tenant) {
        values.push(Bson::from(id));
    }
    if let Ok(uuid) = bson::Uuid::parse_str(tenant) {
        values.push(Bson::from(uuid));
    }
    let any = fields.iter().map(|field| Bson::from(doc! { field: { "$in": values.clone() } }));
    Some(doc! { "$or": any.collect::<Vec<_>>() })
}
