//! A plan's writes, each only while the record still is what the plan saw.
//!
//! ```text
//!   update  q: { _id, $expr: { $not: [ { $cmp: [ "$$ROOT", { $literal: <expected> } ] } ] } }   u: <image>
//! ```
//!
//! The guard compares whole records inside the server, so that no write of another can come between looking and writing.
//! It sees the order of fields and the kinds of values, with two limits of the server's comparison: numbers compare by
//! value (1 equals 1.0), and so do the zeros. A record that changed in nothing else is overwritten.
//!
//! `$eq` would say it shorter, but MongoDB 4.4 cannot plan it with a whole record.
//!
//! In a collection with a collation the server would find different texts equal: records are guarded one by one, see
//! `guard`. No transaction may touch a capped one, though: there each statement asks for the simple comparison, and finds
//! text ids without their index.
//!
//! An image that the server would alter or refuse as a replacement (an empty timestamp, a name that starts with `$`) goes
//! as a pipeline of one literal: `u: [{ $replaceWith: { $literal: <image> } }]`.
//!
//! A bulk's answer tells how many statements matched, not which. When some did not, those records are read again: one
//! that now equals what it should become counts as written, any other is a conflict.

use std::collections::HashMap;

use backstay_source::{Conflict, Result, Write, WriteMode, WriteReport};
use bson::doc;

use super::insert::fitting;
use super::{DUPLICATE_KEY, MOST_BYTES, majority};
use crate::catalog::cut;
use crate::command::Command;
use crate::connect::Connection;
use crate::interpret::encode_id;
use crate::interpret::raw::{self, Element, kind, malformed};

/// A write on its way: its place in the batch, its record's id, and what it does.
#[derive(Debug, Clone)]
pub(super) struct Statement<'a> {
    pub(super) place: usize,
    pub(super) id: Vec<u8>,
    pub(super) field: Element<'a>,
    pub(super) write: Write<'a>,
    /// Compare texts by their bytes, whatever the collation of the collection.
    pub(super) simple: bool,
}

impl<'a> Statement<'a> {
    pub(super) fn new(place: usize, write: Write<'a>) -> Result<Statement<'a>> {
        let record = match write {
            Write::Insert { image } => image,
            Write::Replace { expected, .. } | Write::Delete { expected } => expected,
        };
        let field = raw::find(record, b"_id")?.ok_or_else(|| malformed("record", "it has no _id"))?;
        let mut id = Vec::new();
        encode_id(field.kind, field.value, &mut id)?;
        Ok(Statement { place, id, field, write, simple: false })
    }

    /// What the record should be in the end; `None` for a deletion.
    pub(super) fn goal(&self) -> Option<&'a [u8]> {
        match self.write {
            Write::Insert { image } | Write::Replace { image, .. } => Some(image),
            Write::Delete { .. } => None,
        }
    }

    /// What the record must be before, if the write is guarded by that.
    pub(super) fn expected(&self) -> Option<&'a [u8]> {
        match self.write {
            Write::Insert { .. } => None,
            Write::Replace { expected, .. } | Write::Delete { expected } => Some(expected),
        }
    }

    pub(super) fn size(&self, mode: WriteMode) -> usize {
        let guard = if mode == WriteMode::Guarded { self.expected().map_or(0, <[u8]>::len) } else { 0 };
        guard + self.goal().map_or(0, <[u8]>::len) + self.field.value.len() + 192
    }
}

impl Connection {
    /// Carries out `writes`; those that did not take effect are conflicts.
    pub(crate) async fn write(&self, name: &str, writes: &[Write<'_>], mode: WriteMode) -> Result<WriteReport> {
        let listed = self.listed(name).await?.filter(crate::catalog::Listed::is_collated);
        let (collated, capped) = (listed.is_some(), listed.is_some_and(|listed| listed.is_capped()));
        let mut report = WriteReport::default();
        let (mut inserts, mut updates, mut deletes, mut single) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (place, write) in writes.iter().enumerate() {
            let statement = Statement { simple: capped, ..Statement::new(place, *write)? };
            let alone = mode == WriteMode::Guarded && ((collated && !capped) || statement.size(mode) > MOST_BYTES);
            match (write, mode) {
                (Write::Insert { .. }, WriteMode::Guarded) => inserts.push(statement),
                _ if alone => single.push(statement),
                (Write::Insert { .. } | Write::Replace { .. }, _) => updates.push(statement),
                (Write::Delete { .. }, _) => deletes.push(statement),
            }
        }
        self.insert_statements(name, &inserts, &mut report).await?;
        for (verb, statements) in [("delete", &deletes), ("update", &updates)] {
            self.bulks(name, verb, statements, mode, &mut report).await?;
        }
        self.write_guarded(name, &single, &mut report).await?;
        report.conflicts.sort_by_key(|conflict| conflict.write);
        Ok(report)
    }

    async fn insert_statements(&self, name: &str, inserts: &[Statement<'_>], report: &mut WriteReport) -> Result<()> {
        let mut batch = backstay_source::RecordBatch::default();
        for statement in inserts {
            batch.push(&statement.id, statement.goal().unwrap_or_default());
        }
        let inserted = self.insert(name, &batch).await?;
        report.written += inserted.written;
        for conflict in inserted.conflicts {
            let write = inserts.get(conflict.write).map_or(0, |statement| statement.place);
            report.conflicts.push(Conflict { write, ..conflict });
        }
        Ok(())
    }

    /// Carries out statements of one verb, in as many commands as they need.
    pub(super) async fn bulks(
        &self,
        name: &str,
        verb: &str,
        statements: &[Statement<'_>],
        mode: WriteMode,
        report: &mut WriteReport,
    ) -> Result<()> {
        let mut rest = statements;
        while !rest.is_empty() {
            let count = fitting(rest.iter().map(|statement| statement.size(mode)));
            let (part, later) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            self.bulk(name, verb, part, mode, report).await?;
            rest = later;
        }
        Ok(())
    }

    async fn bulk(
        &self,
        name: &str,
        verb: &str,
        statements: &[Statement<'_>],
        mode: WriteMode,
        report: &mut WriteReport,
    ) -> Result<()> {
        let (database, collection) = cut(name)?;
        let mut head = doc! { verb: collection, "ordered": false, "writeConcern": majority() };
        if verb == "update" {
            head.insert("bypassDocumentValidation", true);
        }
        let field = if verb == "update" { "updates" } else { "deletes" };
        let command = Command::new(&head)?.array(field, |out| {
            for (index, statement) in statements.iter().enumerate() {
                raw::put_index(out, kind::DOCUMENT, index);
                put_statement(out, statement, mode)?;
            }
            Ok(())
        })?;
        let what = format!("writing to {name}");
        let answer = self.write_command(database, command.finish()?, &what).await?;
        report.written += answer.n;
        let places: Vec<usize> = answer.failed.iter().map(|(place, ..)| *place).collect();
        let expected = u64::try_from(statements.len() - places.len().min(statements.len())).unwrap_or(0);
        let mut duplicates = Vec::new();
        for (place, code, why) in answer.failed {
            let Some(statement) = statements.get(place) else { continue };
            if code == DUPLICATE_KEY && matches!(statement.write, Write::Insert { .. }) {
                duplicates.push((statement, why));
            } else {
                let taken = code == DUPLICATE_KEY;
                report.conflicts.push(Conflict { write: statement.place, taken, why });
            }
        }
        self.look_again(name, &duplicates, report).await?;
        if answer.n >= expected {
            return Ok(());
        }
        report.written -= answer.n;
        let unsure = statements.iter().enumerate().filter(|(place, _)| !places.contains(place));
        let unsure: Vec<_> = unsure.map(|(_, statement)| (statement, String::new())).collect();
        self.look_again(name, &unsure, report).await
    }

    /// Tells which statements took effect by what the records are now. With each goes the server's reason, if it gave one.
    async fn look_again(
        &self,
        name: &str,
        unsure: &[(&Statement<'_>, String)],
        report: &mut WriteReport,
    ) -> Result<()> {
        if unsure.is_empty() {
            return Ok(());
        }
        let ids: Vec<&[u8]> = unsure.iter().map(|(statement, _)| statement.id.as_slice()).collect();
        let live = self.fetch(name, &ids).await?;
        let live: HashMap<&[u8], &[u8]> = live.iter().collect();
        for (statement, why) in unsure {
            let now = live.get(statement.id.as_slice()).copied();
            if now == statement.goal() {
                report.written += 1;
            } else {
                // Refused though no record has its id: another record has a value of it.
                let taken = now.is_none() && !why.is_empty();
                let why = if why.is_empty() { changed(now) } else { why.clone() };
                report.conflicts.push(Conflict { write: statement.place, taken, why });
            }
        }
        Ok(())
    }
}

/// Why a guarded write did not take effect, by what the record is now.
pub(super) fn changed(now: Option<&[u8]>) -> String {
    let why = if now.is_some() { "the record was changed meanwhile" } else { "the record was deleted meanwhile" };
    why.to_owned()
}

/// `{q, u, upsert}` or `{q, limit}`.
pub(super) fn put_statement(out: &mut Vec<u8>, statement: &Statement<'_>, mode: WriteMode) -> Result<()> {
    let start = raw::open(out);
    let query = raw::put_document(out, kind::DOCUMENT, b"q");
    raw::put(out, statement.field.kind, b"_id", statement.field.value);
    if let (WriteMode::Guarded, Some(expected)) = (mode, statement.expected()) {
        let expr = raw::put_document(out, kind::DOCUMENT, b"$expr");
        let not = raw::put_document(out, kind::ARRAY, b"$not");
        let compare = raw::put_document(out, kind::DOCUMENT, b"0");
        let cmp = raw::put_document(out, kind::ARRAY, b"$cmp");
        raw::put_string(out, b"0", "$$ROOT")?;
        let literal = raw::put_document(out, kind::DOCUMENT, b"1");
        raw::put(out, kind::DOCUMENT, b"$literal", expected);
        for open in [literal, cmp, compare, not, expr] {
            raw::close(out, open)?;
        }
    }
    let fresh = mode == WriteMode::Guarded && statement.expected().is_none();
    if fresh {
        // Nothing matches: the record is inserted, or its id is a duplicate.
        let never = raw::put_document(out, kind::ARRAY, b"$nor");
        raw::put(out, kind::DOCUMENT, b"0", &[5, 0, 0, 0, 0]);
        raw::close(out, never)?;
    }
    raw::close(out, query)?;
    if statement.simple && mode == WriteMode::Guarded && !fresh {
        let collation = raw::put_document(out, kind::DOCUMENT, b"collation");
        raw::put_string(out, b"locale", "simple")?;
        raw::close(out, collation)?;
    }
    match statement.goal() {
        Some(image) => {
            put_update(out, image)?;
            raw::put_bool(out, b"upsert", fresh || mode == WriteMode::Overwrite);
        }
        None => raw::put_int32(out, b"limit", 1),
    }
    Ok(raw::close(out, start)?)
}

/// The field `u` that makes a record this image.
pub(super) fn put_update(out: &mut Vec<u8>, image: &[u8]) -> Result<()> {
    let mut plain = true;
    for element in raw::elements(image)? {
        let element = element?;
        plain &= !element.name.starts_with(b"$") && element.as_timestamp() != Some(0);
    }
    if plain {
        raw::put(out, kind::DOCUMENT, b"u", image);
        return Ok(());
    }
    let pipeline = raw::put_document(out, kind::ARRAY, b"u");
    let stage = raw::put_document(out, kind::DOCUMENT, b"0");
    let replace = raw::put_document(out, kind::DOCUMENT, b"$replaceWith");
    raw::put(out, kind::DOCUMENT, b"$literal", image);
    for open in [replace, stage, pipeline] {
        raw::close(out, open)?;
    }
    Ok(())
}
