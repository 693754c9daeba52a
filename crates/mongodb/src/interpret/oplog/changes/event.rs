//! An event of a change stream, read as the oplog's operations that it stands for.
//!
//! ```text
//!   insert update replace delete        i u d, with the same o and o2
//!   create createIndexes modify drop    the same command, its o without the name
//!   rename dropIndexes                  the same command, written out again
//!   create modify drop of a view        a record of system.views
//!   dropDatabase                        nothing is left of system.views; collections were dropped one by one
//! ```
//!
//! What comes out of it is what the oplog's entries give: the archive's sorted runs do not show which feed they are from.

use backstay_model::{BodyRef, InterpretError, TenantHint};

use super::{Looks, Operation, Reading};
use crate::interpret::definition;
use crate::interpret::event::{Event, views_uuid};
use crate::interpret::id;
use crate::interpret::oplog::{Command, incarnation};
use crate::interpret::raw::{self, MAX_DEPTH, Result, kind, malformed};

const VIEWS: &str = "system.views";
/// A document without a field.
const EMPTY: &[u8] = &[5, 0, 0, 0, 0];

impl Reading<'_> {
    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<()> {
        if event.is_of_record() && matches!(self.looks, Looks::AtBreaks(_)) {
            return Ok(());
        }
        let ns = event.namespace();
        // Servers may come to show the collection of views itself; it is known by its database.
        let views = (event.collection == VIEWS).then(|| views_uuid(event.database));
        let ui = views.as_ref().or(event.uuid);
        let description = event.description.unwrap_or(EMPTY);
        let of = Place { ns: &ns, ui, key: event.key };
        let (document, key) = (event.document.unwrap_or(EMPTY), event.key.unwrap_or(EMPTY));
        match event.kind {
            "insert" => self.operation(&of.operation("i", document), MAX_DEPTH),
            "update" => self.operation(&of.operation("u", event.update.unwrap_or(EMPTY)), MAX_DEPTH),
            // It has an `_id`, and is told from an edit by that, as in the oplog.
            "replace" => self.operation(&of.operation("u", document), MAX_DEPTH),
            "delete" => self.operation(&of.operation("d", key), MAX_DEPTH),
            "create" | "modify" | "drop" if ui.is_none() => self.view(event),
            "create" => self.edit(&of.operation("c", description), Command::Create),
            "modify" => self.edit(&of.operation("c", description), Command::Modify),
            "drop" => self.edit(&of.operation("c", EMPTY), Command::Drop),
            "createIndexes" => self.edit(&of.operation("c", description), Command::AddIndexes),
            "dropIndexes" => {
                for index in indexes(description)? {
                    let o = drop_index(event.collection, index)?;
                    self.edit(&of.operation("c", &o), Command::DropIndexes)?;
                }
                Ok(())
            }
            "rename" => {
                let o = rename(&ns, description)?;
                self.operation(&of.operation("c", &o), MAX_DEPTH)
            }
            "dropDatabase" => self.no_views(event.database),
            // Known, and no record or definition changes.
            "startIndexBuild"
            | "abortIndexBuild"
            | "endOfTransaction"
            | "shardCollection"
            | "refineCollectionShardKey" => Ok(()),
            // `invalidate`, `reshardCollection`, and what is yet to come.
            other if event.collection.is_empty() => {
                Err(InterpretError::Unknown { what: "change stream event", name: other.to_owned() })
            }
            other => self.lose(&of.operation("", EMPTY), "change stream event", other.to_owned()),
        }
    }

    fn edit(&mut self, operation: &Operation<'_>, command: Command) -> Result<()> {
        if !self.scope.namespace(operation.ns).included {
            return Ok(());
        }
        self.definition(operation, command, operation.ns)
    }

    /// A view came, changed or went: a record `{ _id: name, viewOn, pipeline, collation }` did.
    fn view(&mut self, event: &Event<'_>) -> Result<()> {
        let ns = [event.database, ".", VIEWS].concat();
        let known = self.scope.namespace(&ns);
        if !known.included {
            return Ok(());
        }
        let uuid = views_uuid(event.database);
        let namespace = incarnation(&uuid);
        let mut record = Vec::with_capacity(64 + event.description.map_or(0, <[u8]>::len));
        let start = raw::open(&mut record);
        raw::put_string(&mut record, b"_id", &event.namespace())?;
        for element in raw::elements(event.description.unwrap_or(EMPTY))? {
            let element = element?;
            raw::put(&mut record, element.kind, element.name, element.value);
        }
        raw::close(&mut record, start)?;
        if event.kind == "drop" {
            self.id.clear();
            id::id_of(&record, &mut self.id)?;
            let owner = known.owner.constant().map_or(TenantHint::Kept, |tenant| TenantHint::Known(tenant.clone()));
            return self.emit(namespace, &ns, BodyRef::Tombstone, owner);
        }
        if raw::find(&record, b"viewOn")?.is_none() {
            let what = format!("the {} of {} has neither a collectionUUID nor a viewOn", event.kind, event.namespace());
            return Err(InterpretError::Unknown { what: "change stream event", name: what });
        }
        // The first view brings the collection; which one is the first, the event does not say.
        let definition = definition::build(&ns, &uuid, EMPTY, [])?;
        self.emit_definition(namespace, BodyRef::Image(&definition))?;
        self.id.clear();
        id::id_of(&record, &mut self.id)?;
        let owner = TenantHint::Known(known.owner.of(&record)?);
        self.emit(namespace, &ns, BodyRef::Image(&record), owner)
    }

    fn no_views(&mut self, database: &str) -> Result<()> {
        if !self.scope.namespace(&[database, ".", VIEWS].concat()).included {
            return Ok(());
        }
        self.emit_definition(incarnation(&views_uuid(database)), BodyRef::Tombstone)
    }
}

/// What all operations of an event have in common.
struct Place<'a> {
    ns: &'a str,
    ui: Option<&'a [u8; 16]>,
    key: Option<&'a [u8]>,
}

impl Place<'_> {
    fn operation<'o>(&'o self, op: &'o str, o: &'o [u8]) -> Operation<'o> {
        Operation { op, ns: self.ns, ui: self.ui, o, o2: self.key }
    }
}

/// The specifications of the indexes that an event names.
fn indexes(description: &[u8]) -> Result<impl Iterator<Item = &[u8]>> {
    let indexes = raw::find(description, b"indexes")?.and_then(|indexes| indexes.as_array());
    let indexes = indexes.ok_or_else(|| malformed("change stream event", "its dropIndexes names no index"))?;
    let indexes: Result<Vec<&[u8]>> = raw::elements(indexes)?
        .map(|index| {
            let index = index?.as_document();
            index.ok_or_else(|| malformed("change stream event", "an index of it is not a document"))
        })
        .collect();
    Ok(indexes?.into_iter())
}

/// `{ dropIndexes: collection, index: name }`.
fn drop_index(collection: &str, index: &[u8]) -> Result<Vec<u8>> {
    let Some(name) = raw::find(index, b"name")?.filter(|name| name.kind == kind::STRING) else {
        return Err(malformed("change stream event", "an index of it has no name"));
    };
    let mut o = Vec::with_capacity(64);
    let start = raw::open(&mut o);
    raw::put_string(&mut o, b"dropIndexes", collection)?;
    raw::put(&mut o, kind::STRING, b"index", name.value);
    raw::close(&mut o, start)?;
    Ok(o)
}

/// `{ renameCollection: old, to: new, dropTarget: UUID }`.
fn rename(from: &str, description: &[u8]) -> Result<Vec<u8>> {
    let mut o = Vec::with_capacity(128);
    let start = raw::open(&mut o);
    raw::put_string(&mut o, b"renameCollection", from)?;
    for element in raw::elements(description)? {
        let element = element?;
        let part = |name: &[u8]| match element.as_document() {
            Some(to) => Ok(raw::find(to, name)?.and_then(|part| part.as_str())),
            None => Ok(None),
        };
        if element.name != b"to" {
            raw::put(&mut o, element.kind, element.name, element.value);
        } else if let (Some(database), Some(collection)) = (part(b"db")?, part(b"coll")?) {
            raw::put_string(&mut o, b"to", &[database, ".", collection].concat())?;
        }
    }
    raw::close(&mut o, start)?;
    Ok(o)
}
