//! What the servers themselves say, read with the driver alone. Backstay has no part in any of this.
//!
//! A state as of a cluster time comes from a snapshot read: `find` with `readConcern: {level: "snapshot",
//! atClusterTime: T}`, which MongoDB answers for 300 seconds after T. Documents are compared byte for byte, whole
//! collections by the BLAKE3 hash of their documents in the order of `_id`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bson::{Document, RawDocumentBuf, Timestamp, doc};
use futures::TryStreamExt as _;
use mongodb::{Client, Cursor};

use crate::shop::{DATABASE, Kind, VICTIM, tenant};
use crate::writers::Book;

const BATCH: i32 = 5000;

/// Documents by kind and number, byte for byte.
pub type Documents = BTreeMap<(Kind, u32), RawDocumentBuf>;

/// The newest cluster time that a majority has.
pub async fn now(client: &Client) -> Result<Timestamp> {
    let hello = client.database("admin").run_command(doc! { "hello": 1 }).await?;
    let majority = hello.get_document("lastWrite")?.get_document("majorityOpTime")?;
    Ok(majority.get_timestamp("ts")?)
}

/// Waits for the server's clock to reach the next second, and returns the end of the one before.
pub async fn end_of_this_second(client: &Client) -> Result<Timestamp> {
    let second = now(client).await?.time;
    while now(client).await?.time == second {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Timestamp { time: second, increment: u32::MAX })
}

/// The victim's documents as of `at`.
pub async fn victim(client: &Client, at: Timestamp) -> Result<Documents> {
    let mut documents = Documents::new();
    for kind in Kind::ALL {
        let mut cursor = find(client, kind, doc! { "tenant": VICTIM }, Some(at)).await?;
        while cursor.advance().await? {
            let document = cursor.current();
            documents.insert((kind, kind.number(document)?), document.to_owned());
        }
    }
    Ok(documents)
}

/// What it takes to turn one set of documents into another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Documents that are missing.
    pub insert: usize,
    /// Documents that have other content.
    pub replace: usize,
    /// Documents that should not be there.
    pub delete: usize,
}

/// How `now` differs from `before`.
pub fn difference(now: &Documents, before: &Documents) -> Difference {
    let mut difference = Difference::default();
    for (key, document) in before {
        match now.get(key) {
            None => difference.insert += 1,
            Some(now) if now != document => difference.replace += 1,
            Some(_) => {}
        }
    }
    difference.delete = now.keys().filter(|key| !before.contains_key(key)).count();
    difference
}

/// Checks that two sets of documents are equal, byte for byte.
///
/// # Errors
/// When they are not; the message names one that differs.
pub fn expect_equal(found: &Documents, expected: &Documents) -> Result<()> {
    for (&(kind, number), document) in expected {
        let id = kind.id(number);
        match found.get(&(kind, number)) {
            Some(found) if found == document => {}
            Some(found) => bail!("{kind} {id} is {found:?}, not {document:?}"),
            None => bail!("{kind} {id} is not there"),
        }
    }
    ensure!(found.len() == expected.len(), "there are {} documents, not {}", found.len(), expected.len());
    Ok(())
}

/// Checks every document of all other tenants against the book, byte for byte, and returns how many there are.
///
/// # Errors
/// When one is missing, differs or is too many.
pub async fn expect_book(client: &Client, book: &Book) -> Result<u64> {
    let mut seen = 0;
    for kind in Kind::ALL {
        let mut missing: Vec<u32> = book.revisions(kind).to_vec();
        let mut cursor = find(client, kind, doc! {}, None).await?;
        while cursor.advance().await? {
            let document = cursor.current();
            let number = kind.number(document)?;
            if tenant(number) == VICTIM {
                continue;
            }
            let place = usize::try_from(number)?;
            let revision = missing.get(place).copied().unwrap_or_default();
            ensure!(revision > 0, "{kind} {} should not be there", kind.id(number));
            ensure!(
                document == &*kind.document(number, revision),
                "{kind} {} is not what its tenant wrote last (revision {revision}): {document:?}",
                kind.id(number)
            );
            missing[place] = 0;
            seen += 1;
        }
        let lost = (0_u32..).zip(&missing).find(|(number, revision)| **revision > 0 && tenant(*number) != VICTIM);
        if let Some((number, revision)) = lost {
            bail!("{kind} {} (revision {revision}) is not there", kind.id(number));
        }
    }
    Ok(seen)
}

/// All that is compared of a collection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fingerprint {
    /// How many documents.
    pub documents: u64,
    /// Of all documents in the order of `_id`.
    pub hash: blake3::Hash,
    /// Its indexes, one in a line, in the order of their names.
    pub indexes: String,
}

/// The collections of the shop, by name.
pub type Fingerprints = BTreeMap<String, Fingerprint>;

/// Reads all of the shop as of `at`, or as it is now.
pub async fn fingerprints(client: &Client, at: Option<Timestamp>) -> Result<Fingerprints> {
    let database = client.database(DATABASE);
    let mut all = Fingerprints::new();
    for name in database.list_collection_names().await? {
        let kind = Kind::ALL.into_iter().find(|kind| kind.collection() == name);
        let kind = kind.with_context(|| format!("there is a collection {name} that the shop never made"))?;
        let (mut documents, mut hash) = (0, blake3::Hasher::new());
        let mut cursor = find(client, kind, doc! {}, at).await?;
        while cursor.advance().await? {
            hash.update(cursor.current().as_bytes());
            documents += 1;
        }
        let indexes = indexes(client, kind).await?;
        all.insert(name, Fingerprint { documents, hash: hash.finalize(), indexes });
    }
    Ok(all)
}

async fn indexes(client: &Client, kind: Kind) -> Result<String> {
    let command = doc! { "listIndexes": kind.collection() };
    let cursor = client.database(DATABASE).run_cursor_command(command).await?;
    let mut indexes: Vec<Document> = cursor.try_collect().await?;
    indexes.sort_by_key(|index| index.get_str("name").unwrap_or_default().to_owned());
    let mut text = String::new();
    for index in indexes {
        writeln!(text, "{index}")?;
    }
    Ok(text)
}

/// A cursor over documents in the order of `_id`.
async fn find(client: &Client, kind: Kind, filter: Document, at: Option<Timestamp>) -> Result<Cursor<RawDocumentBuf>> {
    let by_tenant = filter.contains_key("tenant");
    let mut command = doc! { "find": kind.collection(), "filter": filter, "batchSize": BATCH };
    if !by_tenant {
        command.extend(doc! { "sort": { "_id": 1 }, "hint": { "_id": 1 } });
    }
    if let Some(at) = at {
        command.insert("readConcern", doc! { "level": "snapshot", "atClusterTime": at });
    }
    let cursor = client.database(DATABASE).run_cursor_command(command).await?;
    Ok(cursor.with_type())
}
