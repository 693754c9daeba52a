//! Views: their definitions are records of `system.views`, but the server lets only commands change them.
//!
//! ```text
//!   record { _id: "db.view", viewOn, pipeline, collation }    insert → create    replace → collMod, or drop and create
//!                                                             delete → drop
//! ```
//!
//! The guard looks and then acts: another's change in between is lost. Views hold no data, and are changed by people. The
//! definition of a time series stands here too; the server writes it when the collection is created, so it is left alone,
//! also where a view of that name is to come back.

use async_trait::async_trait;
use backstay_source::{Conflict, RefusalKind, Result, Rule, Trial, Tried, Write, WriteMode, WriteReport};
use bson::{Document, RawDocument, doc};

use super::majority;
use super::write::changed;
use crate::catalog::cut;
use crate::connect::Connection;
use crate::failure::{translate, words};
use crate::interpret::id_of;

/// True when records of this namespace are definitions of views.
pub(crate) fn holds_views(name: &str) -> bool {
    name.split_once('.').is_some_and(|(_, collection)| collection == "system.views")
}

impl Connection {
    pub(crate) async fn write_views(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport> {
        let mut report = WriteReport::default();
        for (place, write) in writes.iter().enumerate() {
            match self.write_view(name, *write, mode).await? {
                None => report.written += 1,
                Some(why) => report.conflicts.push(Conflict { write: place, taken: false, why }),
            }
        }
        Ok(report)
    }

    /// Carries out one write; yields why it did not take effect.
    async fn write_view(&self, name: &str, write: Write<'_>, mode: WriteMode) -> Result<Option<String>> {
        let (expected, goal) = match write {
            Write::Insert { image } => (None, Some(image)),
            Write::Replace { expected, image } => (Some(expected), Some(image)),
            Write::Delete { expected } => (Some(expected), None),
        };
        let mut id = Vec::new();
        id_of(goal.or(expected).unwrap_or_default(), &mut id)?;
        let live = self.fetch(name, &[&id]).await?;
        let now = live.last().map(|(_, image)| image);
        if now == goal {
            return Ok(None);
        }
        if mode == WriteMode::Guarded && now != expected {
            return Ok(Some(changed(now)));
        }
        let (database, _) = cut(name)?;
        let old = now.map(|now| View::read(database, now)).transpose()?;
        let new = goal.map(|goal| View::read(database, goal)).transpose()?;
        if new.as_ref().or(old.as_ref()).is_some_and(View::is_time_series) {
            return Ok(None);
        }
        if old.as_ref().is_some_and(View::is_time_series) {
            // To drop its definition is to drop all that it holds.
            return Ok(Some("a time series has that name today".to_owned()));
        }
        let commands = match (old, new) {
            (None, Some(new)) => vec![new.create()],
            (Some(old), Some(new)) if old.collation == new.collation => vec![new.modify()],
            (Some(old), Some(new)) => vec![old.drop(), new.create()],
            (Some(old), None) => vec![old.drop()],
            (None, None) => Vec::new(),
        };
        for mut command in commands {
            command.insert("writeConcern", majority());
            if let Err(error) = self.client.database(database).run_command(command).await {
                return match translate(&format!("changing the views of {database}"), &error) {
                    backstay_source::Error::Refused { .. } | backstay_source::Error::Occupied { .. } => {
                        Ok(Some(words(&error)))
                    }
                    other => Err(other),
                };
            }
        }
        Ok(None)
    }
}

/// What keeps views from coming back: collections and time series that have their names today.
pub(super) struct ViewsTrial {
    connection: Connection,
    database: String,
    rules: [Rule; 1],
}

impl ViewsTrial {
    pub(super) fn new(connection: &Connection, name: &str) -> Result<ViewsTrial> {
        let (database, _) = cut(name)?;
        let rule = Rule {
            kind: RefusalKind::Occupied,
            words: "what has the name of a view today and is none".to_owned(),
            removal: format!("db.getSiblingDB({database:?}).getCollection(NAME).renameCollection(OTHER), or drop()"),
            new: true,
            walks: false,
        };
        Ok(ViewsTrial { connection: connection.clone(), database: database.to_owned(), rules: [rule] })
    }
}

#[async_trait]
impl Trial for ViewsTrial {
    fn rules(&self) -> &[Rule] {
        &self.rules
    }

    async fn refused(&self, records: &[Tried<'_>]) -> Result<Vec<(usize, usize)>> {
        let mut refused = Vec::new();
        for (place, record) in records.iter().enumerate() {
            let view = View::read(&self.database, record.image)?;
            if view.is_time_series() {
                continue;
            }
            let other = self.connection.listed(&format!("{}.{}", self.database, view.name)).await?;
            if other.is_some_and(|other| other.entry.get_str("type").is_ok_and(|kind| kind != "view")) {
                refused.push((place, 0));
            }
        }
        Ok(refused)
    }
}

struct View {
    name: String,
    on: String,
    pipeline: bson::Bson,
    collation: Option<Document>,
}

impl View {
    fn read(database: &str, record: &[u8]) -> Result<View> {
        let wrong = |why: &str| backstay_source::Error::Refused {
            what: format!("reading the definition of a view of {database}"),
            why: why.to_owned(),
        };
        let record = RawDocument::from_bytes(record).map_err(|_| wrong("it is not a BSON document"))?;
        let record = Document::try_from(record).map_err(|_| wrong("it is not a BSON document"))?;
        let full = record.get_str("_id").map_err(|_| wrong("its _id is not a name"))?;
        // The database's name may be another than the one it was saved from.
        let name = full.split_once('.').map_or(full, |(_, name)| name).to_owned();
        Ok(View {
            name,
            on: record.get_str("viewOn").map_err(|_| wrong("it has no viewOn"))?.to_owned(),
            pipeline: record.get("pipeline").cloned().unwrap_or_else(|| bson::Bson::Array(Vec::new())),
            collation: record.get_document("collation").ok().cloned(),
        })
    }

    fn is_time_series(&self) -> bool {
        self.on.starts_with("system.buckets.")
    }

    fn create(&self) -> Document {
        let mut command = doc! { "create": &self.name, "viewOn": &self.on, "pipeline": self.pipeline.clone() };
        if let Some(collation) = &self.collation {
            command.insert("collation", collation.clone());
        }
        command
    }

    fn modify(&self) -> Document {
        doc! { "collMod": &self.name, "viewOn": &self.on, "pipeline": self.pipeline.clone() }
    }

    fn drop(&self) -> Document {
        doc! { "drop": &self.name }
    }
}
