//! What a server says its content is and was, byte for byte, to compare with what Backstay brings back.
#![allow(dead_code, clippy::unwrap_used, missing_docs, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;

use bson::raw::RawDocumentBuf;
use bson::{Document, Timestamp, doc};
use mongodb::Client;

/// Documents of every collection by name, ascending by their bytes. Empty collections are left out.
pub type Content = BTreeMap<String, Vec<Vec<u8>>>;

pub fn tick(text: &str) -> Timestamp {
    let (time, increment) = text.split_once(':').unwrap();
    Timestamp { time: time.parse().unwrap(), increment: increment.parse().unwrap() }
}

pub fn text(tick: Timestamp) -> String {
    format!("{}:{}", tick.time, tick.increment)
}

/// All documents of the databases, now.
pub async fn now(client: &Client, databases: &[&str]) -> Content {
    let mut content = Content::new();
    for database in databases {
        for name in names(client, database).await {
            content.insert(format!("{database}.{name}"), documents(client, database, &name, None).await);
        }
    }
    content.retain(|_, documents| !documents.is_empty());
    content
}

/// All documents of these namespaces as the server answers them for the instant `at`.
pub async fn as_of(client: &Client, namespaces: &[String], at: Timestamp) -> Content {
    let mut content = Content::new();
    for namespace in namespaces {
        let (database, name) = namespace.split_once('.').unwrap();
        content.insert(namespace.clone(), documents(client, database, name, Some(at)).await);
    }
    content.retain(|_, documents| !documents.is_empty());
    content
}

/// The names of a database's collections, ascending; no views.
pub async fn names(client: &Client, database: &str) -> Vec<String> {
    let lists = doc! { "listCollections": 1, "filter": { "type": "collection" }, "cursor": { "batchSize": 10_000 } };
    let reply = client.database(database).run_command(lists).await.unwrap();
    let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    let name = |entry: &bson::Bson| entry.as_document().unwrap().get_str("name").unwrap().to_owned();
    let mut names: Vec<String> = batch.iter().map(name).filter(|name| !name.starts_with("system.")).collect();
    names.sort();
    names
}

async fn documents(client: &Client, database: &str, name: &str, at: Option<Timestamp>) -> Vec<Vec<u8>> {
    let mut find = doc! { "find": name, "batchSize": 1000 };
    if let Some(at) = at {
        find.insert("readConcern", doc! { "level": "snapshot", "atClusterTime": at });
    }
    let database = client.database(database);
    let mut cursor = database.run_cursor_command(find).await.unwrap();
    let mut documents = Vec::new();
    while cursor.advance().await.unwrap() {
        documents.push(cursor.current().to_owned().into_bytes());
    }
    documents.sort();
    documents
}

/// What `listCollections` and `listIndexes` say of a database, by name, without what differs from server to server.
pub async fn definitions(client: &Client, databases: &[&str]) -> BTreeMap<String, (Document, Vec<Document>)> {
    let mut all = BTreeMap::new();
    for database in databases {
        let handle = client.database(database);
        let lists = doc! { "listCollections": 1, "cursor": { "batchSize": 10_000 } };
        let reply = handle.run_command(lists).await.unwrap();
        let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
        for entry in batch {
            let mut entry = entry.as_document().unwrap().clone();
            let name = entry.get_str("name").unwrap().to_owned();
            if name.starts_with("system.") {
                continue;
            }
            clean(&mut entry);
            let mut indexes = Vec::new();
            if entry.get_str("type").unwrap() != "view" {
                let reply = handle.run_command(doc! { "listIndexes": &name }).await.unwrap();
                let batch = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
                indexes.extend(batch.iter().map(|index| index.as_document().unwrap().clone()));
                indexes.sort_by_key(|index| index.get_str("name").unwrap().to_owned());
            }
            all.insert(format!("{database}.{name}"), (entry, indexes));
        }
    }
    all
}

/// Leaves out of an entry of `listCollections` what differs from server to server, and what says nothing.
pub fn clean(entry: &mut Document) {
    // `collMod` writes defaults out, `create` does not: they mean the same.
    if let Ok(options) = entry.get_document_mut("options") {
        let is_default = |name: &str, value: &bson::Bson| match name {
            "validator" => value.as_document().is_some_and(Document::is_empty),
            "validationLevel" => value.as_str() == Some("strict"),
            "validationAction" => value.as_str() == Some("error"),
            _ => false,
        };
        *options = std::mem::take(options).into_iter().filter(|(name, value)| !is_default(name, value)).collect();
    }
    entry.remove("info");
    entry.remove("idIndex");
}

/// The cluster time of everything that was written so far; nothing that is written later shares it.
pub async fn instant(client: &Client) -> Timestamp {
    let note = doc! { "appendOplogNote": 1, "data": { "msg": "an instant" }, "writeConcern": { "w": "majority" } };
    let reply = client.database("admin").run_command(note).await.unwrap();
    reply.get_timestamp("operationTime").unwrap()
}

/// Removes the databases.
pub async fn clear(client: &Client, databases: &[&str]) {
    for database in databases {
        client.database(database).drop().await.unwrap();
    }
}

/// The first difference, in words.
#[track_caller]
pub fn assert_same(found: &Content, expected: &Content, what: &str) {
    let names: std::collections::BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for name in names {
        let (empty, of) = (Vec::new(), |content: &Content| content.get(name).cloned());
        let (found, expected) = (of(found).unwrap_or(empty.clone()), of(expected).unwrap_or(empty));
        if found == expected {
            continue;
        }
        let show = |bytes: &[u8]| format!("{:?}", RawDocumentBuf::from_bytes(bytes.to_vec()));
        let extra = found.iter().filter(|document| !expected.contains(document)).take(2).map(|document| show(document));
        let lacking =
            expected.iter().filter(|document| !found.contains(document)).take(2).map(|document| show(document));
        panic!(
            "{what}: {name} has {} documents instead of {}\nfound, not expected: {:#?}\nexpected, not found: {:#?}",
            found.len(),
            expected.len(),
            extra.collect::<Vec<_>>(),
            lacking.collect::<Vec<_>>()
        );
    }
}

/// Runs the program in its folder and lets it die at a crash point; whether it came to its end all the same.
pub fn die_at(point: &str, program: &backstay_testkit::Backstay, args: &[&str]) -> bool {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_backstay"));
    command.args(args).current_dir(program.folder()).env("HOME", program.folder()).env("BACKSTAY_CRASH_AT", point);
    let run = command.output().unwrap();
    let end = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() || run.status.code().is_none(), "{args:?} failed before {point}: {end}");
    run.status.success()
}
