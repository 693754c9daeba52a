//! What a replica set was at one instant, as its primary tells: documents, definitions, indexes. Or nothing, when that cannot be
//! told for certain.
//!
//! ```text
//!   hello ─ definitions ─ a note that a majority holds: T ─ documents as of T ─ definitions ─ hello
//!     └───────────────────── the same primary, and the same answers ────────────────────────┘
//! ```
//!
//! Documents are the server's own snapshot at T. Definitions, indexes and capped collections cannot be read as of an
//! instant: what one primary says before and after T, while it is the primary of one term and a majority follows it, is what was
//! so at T. An index that is being built is listed and is not there yet: then there is no telling either.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test's own tool")]

use std::collections::BTreeMap;

use bson::{Bson, Document, Timestamp, doc, oid::ObjectId};
use mongodb::Client;
use mongodb::error::Result;

use crate::witness::clean;

/// Everything of one collection, view or time series.
#[derive(Clone, PartialEq, Debug)]
pub struct Shown {
    pub entry: Document,
    pub indexes: Vec<Document>,
    /// Ascending by their bytes; those of a capped collection in natural order. Of a time series: none, they are its
    /// buckets'.
    pub documents: Vec<Vec<u8>>,
}

/// By full name.
pub type Content = BTreeMap<String, Shown>;

/// An instant, and what was so then.
pub struct Moment {
    pub at: Timestamp,
    pub content: Content,
}

/// A moment of the set, from whichever of `members` is the primary.
pub async fn moment(members: &[Client], databases: &[&str]) -> Option<Moment> {
    for member in members {
        if let Ok(Some(moment)) = try_moment(member, databases).await {
            return Some(moment);
        }
    }
    None
}

async fn try_moment(primary: &Client, databases: &[&str]) -> Result<Option<Moment>> {
    let Some(term) = term(primary).await? else { return Ok(None) };
    let Some(before) = definitions(primary, databases).await? else { return Ok(None) };
    let concern = doc! { "w": "majority", "wtimeout": 3000 };
    let note = doc! { "appendOplogNote": 1, "data": { "msg": "an instant" }, "writeConcern": concern };
    let reply = primary.database("admin").run_command(note).await?;
    let Ok(at) = reply.get_timestamp("operationTime") else { return Ok(None) };
    if reply.contains_key("writeConcernError") {
        return Ok(None);
    }
    let mut content = before.clone();
    fill(primary, &mut content, Some(at)).await?;
    let same = definitions(primary, databases).await?.as_ref() == Some(&before);
    Ok((same && self::term(primary).await? == Some(term)).then_some(Moment { at, content }))
}

/// What a server shows now.
pub async fn now(client: &Client, databases: &[&str]) -> Content {
    let mut content = definitions(client, databases).await.unwrap().unwrap();
    fill(client, &mut content, None).await.unwrap();
    content
}

/// The election by which this member is the primary.
async fn term(member: &Client) -> Result<Option<ObjectId>> {
    let hello = member.database("admin").run_command(doc! { "hello": 1 }).await?;
    let is_primary = hello.get_bool("isWritablePrimary").unwrap_or(false);
    Ok(hello.get_object_id("electionId").ok().filter(|_| is_primary))
}

/// Definitions, indexes, and what can only be read together with them; none while an index is being built.
async fn definitions(client: &Client, databases: &[&str]) -> Result<Option<Content>> {
    let mut content = Content::new();
    for database in databases {
        for mut entry in list(client, database, doc! { "listCollections": 1 }).await? {
            let name = entry.get_str("name").unwrap().to_owned();
            if name.starts_with("system.") && !name.starts_with("system.buckets.") {
                continue;
            }
            clean(&mut entry);
            let mut shown = Shown { entry, indexes: Vec::new(), documents: Vec::new() };
            if shown.kind() != "view" {
                let command = doc! { "listIndexes": &name, "includeBuildUUIDs": true };
                shown.indexes = list(client, database, command).await?;
                if shown.indexes.iter().any(|index| index.contains_key("buildUUID")) {
                    return Ok(None);
                }
                shown.indexes.sort_by_key(|index| index.get_str("name").unwrap().to_owned());
            }
            if shown.is_capped() {
                let find = doc! { "find": &name, "hint": { "$natural": 1 }, "readConcern": { "level": "majority" } };
                shown.documents = documents(client, database, find).await?;
            }
            content.insert(format!("{database}.{name}"), shown);
        }
    }
    Ok(Some(content))
}

/// The documents, as of `at` or now.
async fn fill(client: &Client, content: &mut Content, at: Option<Timestamp>) -> Result<()> {
    for (name, shown) in content.iter_mut().filter(|(_, shown)| shown.kind() == "collection" && !shown.is_capped()) {
        let (database, collection) = name.split_once('.').unwrap();
        let mut find = doc! { "find": collection, "batchSize": 1000 };
        if let Some(at) = at {
            find.insert("readConcern", doc! { "level": "snapshot", "atClusterTime": at });
        }
        shown.documents = documents(client, database, find).await?;
        shown.documents.sort();
    }
    Ok(())
}

impl Shown {
    fn kind(&self) -> &str {
        self.entry.get_str("type").unwrap()
    }

    fn is_capped(&self) -> bool {
        self.entry.get_document("options").is_ok_and(|options| options.get_bool("capped").unwrap_or(false))
    }
}

async fn list(client: &Client, database: &str, mut command: Document) -> Result<Vec<Document>> {
    command.insert("cursor", doc! { "batchSize": 10_000 });
    let reply = client.database(database).run_command(command).await?;
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    Ok(batch.iter().filter_map(Bson::as_document).cloned().collect())
}

async fn documents(client: &Client, database: &str, find: Document) -> Result<Vec<Vec<u8>>> {
    let mut cursor = client.database(database).run_cursor_command(find).await?;
    let mut documents = Vec::new();
    while cursor.advance().await? {
        documents.push(cursor.current().to_owned().into_bytes());
    }
    Ok(documents)
}

/// The first difference, in words.
#[track_caller]
pub fn assert_same(found: &Content, expected: &Content, what: &str) {
    let names = |content: &Content| content.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected), "{what}: other collections");
    for (name, expected) in expected {
        let found = &found[name];
        assert_eq!(found.entry, expected.entry, "{what}: the options of {name}");
        assert_eq!(found.indexes, expected.indexes, "{what}: the indexes of {name}");
        if found.documents == expected.documents {
            continue;
        }
        let lacks = |of: &[Vec<u8>], other: &[Vec<u8>]| -> Vec<Document> {
            let lacking = of.iter().filter(|document| !other.contains(document)).take(2);
            lacking.map(|document| bson::deserialize_from_slice(document).unwrap()).collect()
        };
        panic!(
            "{what}: {name} has {} documents instead of {}\nfound, not expected: {:#?}\nexpected, not found: {:#?}",
            found.documents.len(),
            expected.documents.len(),
            lacks(&found.documents, &expected.documents),
            lacks(&expected.documents, &found.documents),
        );
    }
}
