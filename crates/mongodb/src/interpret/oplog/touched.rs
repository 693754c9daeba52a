//! What an operation of an unknown kind may have changed: its form says where, if anything does.

use super::changes::Operation;
use super::{database, uuid};
use crate::interpret::raw::{self, Result};

/// What an operation of an unknown kind may have changed.
pub(super) enum Touched {
    Nothing,
    /// One collection, by its name and UUID.
    Namespace(String, Option<[u8; 16]>),
    Anything,
}

pub(super) fn touched(operation: &Operation<'_>) -> Result<Touched> {
    let uuid = operation.ui.copied();
    if operation.op != "c" {
        return Ok(match operation.ns.split_once('.') {
            Some((_, collection)) if collection != "$cmd" => Touched::Namespace(operation.ns.to_owned(), uuid),
            _ => Touched::Anything,
        });
    }
    let Some(first) = raw::elements(operation.o)?.next().transpose()? else { return Ok(Touched::Anything) };
    let Some(name) = first.as_str() else { return Ok(Touched::Anything) };
    let database = database(operation.ns);
    Ok(match first.name {
        b"importCollection" => {
            let found = |name: &[u8]| raw::find(operation.o, name);
            if found(b"dryRun")?.is_some_and(|dry| dry.is_true()) {
                return Ok(Touched::Nothing);
            }
            // Its UUID stands in the catalog entry that comes with it.
            let mut inner = found(b"catalogEntry")?.and_then(|entry| entry.as_document());
            for part in [&b"md"[..], b"options"] {
                inner = match inner {
                    Some(document) => raw::find(document, part)?.and_then(|part| part.as_document()),
                    None => None,
                };
            }
            let imported = match inner {
                Some(options) => raw::find(options, b"uuid")?.and_then(|found| self::uuid(found).copied()),
                None => None,
            };
            named(name, uuid.or(imported))
        }
        b"renameCollection" => match raw::find(operation.o, b"to")?.and_then(|to| to.as_str()) {
            Some(to) => named(to, uuid),
            None => Touched::Anything,
        },
        _ if name.is_empty() => Touched::Anything,
        _ => Touched::Namespace(format!("{database}.{name}"), uuid),
    })
}

/// A full name; what has no database and collection may be anything.
fn named(ns: &str, uuid: Option<[u8; 16]>) -> Touched {
    match ns.contains('.') {
        true => Touched::Namespace(ns.to_owned(), uuid),
        false => Touched::Anything,
    }
}
