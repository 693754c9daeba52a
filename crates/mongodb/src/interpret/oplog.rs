//! Oplog entries: what each one is, and which records it changes.
//!
//! ```text
//!   entry ── header ──▶ Header   one pass over the top level: enough to order, hold back and count entries
//!         ├─ break_at ▶ Break    rarely: it cannot simply be archived behind the one before it
//!         └─ changes ─▶ Change…  what it does to records and to definitions
//! ```
//!
//! [`header()`] and [`break_at()`] serve capture, which must look at every entry; [`changes()`] serves the merge, which reads
//! entries that capture has put in order. Neither keeps state: that the entries of one transaction belong together is for the
//! caller, with the help of [`Header::part`].

mod changes;
mod command;
mod header;
mod touched;

pub(crate) use changes::form_of;
pub use changes::{break_at, changes};
pub use command::Command;
pub use header::{Header, Part, TransactionId, header};

use backstay_model::Incarnation;

use crate::interpret::raw::{Element, Result, malformed};

/// The incarnation of the collection with this UUID: its first eight bytes, most significant first. Zero is the system
/// space's, so a UUID that begins with eight zero bytes stands for one.
pub fn incarnation(uuid: &[u8; 16]) -> Incarnation {
    let first = uuid.first_chunk::<8>().copied().unwrap_or_default();
    Incarnation(u64::from_be_bytes(first).max(1))
}

/// The sixteen bytes of a UUID.
pub(crate) fn uuid(element: Element<'_>) -> Option<&[u8; 16]> {
    element.as_binary()?.1.try_into().ok()
}

/// The database of a namespace.
pub(crate) fn database(ns: &str) -> &str {
    ns.split_once('.').map_or(ns, |(database, _)| database)
}

/// True for what the server keeps for itself: the databases `admin`, `config` and `local`.
pub fn is_internal(ns: &str) -> bool {
    matches!(database(ns), "admin" | "config" | "local")
}

pub(crate) fn text<'a>(element: Element<'a>, what: &'static str) -> Result<&'a str> {
    element.as_str().ok_or_else(|| malformed("oplog entry", format!("its {what} is not text")))
}

#[cfg(test)]
mod tests;
