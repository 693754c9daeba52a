//! What a server shows of all its databases.

use std::collections::BTreeMap;

use bson::raw::{RawBsonRef, RawDocument, RawDocumentBuf};
use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::Client;

/// Everything of one collection, view or time series.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Shown {
    /// `listCollections` without the UUID.
    pub entry: Fields,
    /// `listIndexes`, by name.
    pub indexes: BTreeMap<String, Fields>,
    /// Ascending by their bytes; those of a capped collection in natural order.
    pub documents: Vec<Vec<u8>>,
}

/// Fields by dotted name, with the bytes of their values for people and for comparing.
type Fields = BTreeMap<String, String>;

/// By full name.
pub type Content = BTreeMap<String, Shown>;

/// What the server shows now.
pub async fn show(client: &Client) -> Content {
    let mut content = Content::new();
    for database in client.list_database_names().await.unwrap() {
        if matches!(database.as_str(), "admin" | "config" | "local") {
            continue;
        }
        for entry in lists(client, &database, doc! { "listCollections": 1 }).await {
            let name = entry.get_str("name").unwrap();
            let kind = entry.get_str("type").unwrap();
            let mut shown = Shown { entry: fields(&entry, &["info", "idIndex"]), ..Shown::default() };
            if let Ok(index) = entry.get_document("idIndex") {
                shown.entry.extend(fields(index, &["ns"]).into_iter().map(|(k, v)| (format!("idIndex.{k}"), v)));
            }
            if kind != "view" {
                for index in lists(client, &database, doc! { "listIndexes": name }).await {
                    shown.indexes.insert(index.get_str("name").unwrap().to_owned(), fields(&index, &["background"]));
                }
            }
            let capped = entry.get_document("options").unwrap().get_bool("capped").unwrap_or(false);
            shown.documents = documents(client, &database, name, kind == "collection").await;
            if !capped {
                shown.documents.sort();
            }
            content.insert(format!("{database}.{name}"), shown);
        }
    }
    content
}

async fn documents(client: &Client, database: &str, name: &str, natural: bool) -> Vec<Vec<u8>> {
    let collection = client.database(database).collection::<RawDocumentBuf>(name);
    let find = collection.find(doc! {});
    let find = if natural { find.hint(mongodb::options::Hint::Keys(doc! { "$natural": 1 })) } else { find };
    let found: Vec<RawDocumentBuf> = find.await.unwrap().try_collect().await.unwrap();
    found.into_iter().map(RawDocumentBuf::into_bytes).collect()
}

async fn lists(client: &Client, database: &str, command: Document) -> Vec<RawDocumentBuf> {
    let cursor = client.database(database).run_cursor_command(command).batch().await.unwrap();
    let replies: Vec<_> = cursor.try_collect().await.unwrap();
    let documents = replies.iter().flat_map(|reply| reply.doc_slices().unwrap().into_iter());
    documents.map(|document| document.unwrap().as_document().unwrap().to_owned()).collect()
}

/// The fields of a definition. Servers list `background`, and since 4.2 ignore it. `collMod` writes defaults out, `create` does not: they mean the same. So does the order
/// of options; within an option it is kept.
fn fields(document: &RawDocument, without: &[&str]) -> Fields {
    let mut fields = Fields::new();
    for element in document {
        let (name, value) = element.unwrap();
        let name = name.as_str();
        if without.contains(&name) {
            continue;
        }
        if let (RawBsonRef::Document(options), "options") = (value, name) {
            let options = self::fields(options, &[]);
            fields.extend(options.into_iter().map(|(name, value)| (format!("options.{name}"), value)));
            continue;
        }
        let means_nothing = match (name, value) {
            ("validator", RawBsonRef::Document(inner)) => inner.is_empty(),
            ("validationLevel", RawBsonRef::String(text)) => text == "strict",
            ("validationAction", RawBsonRef::String(text)) => text == "error",
            ("changeStreamPreAndPostImages", RawBsonRef::Document(inner)) => {
                inner.get_bool("enabled").is_ok_and(|on| !on)
            }
            _ => false,
        };
        if !means_nothing {
            fields.insert(name.to_owned(), text(value));
        }
    }
    fields
}

fn text(value: RawBsonRef<'_>) -> String {
    match Bson::try_from(value) {
        Ok(value) => value.into_canonical_extjson().to_string(),
        Err(_) => format!("{value:?}"),
    }
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
        let show = |bytes: &Vec<u8>| format!("{:?}", RawDocumentBuf::from_bytes(bytes.clone()));
        let lacks = |of: &[Vec<u8>], other: &[Vec<u8>]| -> Vec<String> {
            of.iter().filter(|document| !other.contains(document)).take(2).map(show).collect()
        };
        let (extra, lacking) =
            (lacks(&found.documents, &expected.documents), lacks(&expected.documents, &found.documents));
        let order = extra.is_empty() && lacking.is_empty() && found.documents.len() == expected.documents.len();
        let order = if order { " in another order" } else { "" };
        panic!(
            "{what}: {name} has {} documents instead of {}{order}\nfound, not expected: {extra:#?}\nexpected, not found: {lacking:#?}",
            found.documents.len(),
            expected.documents.len(),
        );
    }
}
