//! Events of a change stream: the second family of entries.
//!
//! ```text
//!   { lsid, txnNumber,                        of a transaction: its events share them and the cluster time
//!     _id: <resume token>, operationType, clusterTime, collectionUUID, wallTime,
//!     fullDocument, ns: { db, coll }, documentKey, rawUpdateDescription, operationDescription }
//! ```
//!
//! Asked for with `showExpandedEvents`, `showRawUpdateDescription` and `showSystemEvents`
//! (`src/mongo/db/pipeline/change_stream_event_transform.cpp` of the server's source): an update then carries the oplog's own
//! `$v: 2` diff, and every event of a collection its UUID. An event of a view has none: views are records of
//! `system.views`, of which the stream shows what became of them and not the collection. Its identity is derived from its
//! database instead ([`views_uuid`]), for scans as for events.

use backstay_model::{Incarnation, Tick};

use super::oplog::uuid;
use super::raw::{self, Result, malformed};

/// An event, as far as its top level says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Event<'a> {
    /// When it became visible.
    pub at: Tick,
    /// What happened: `insert`, `create` and so on.
    pub kind: &'a str,
    /// The database; empty when it concerns none.
    pub database: &'a str,
    /// The collection or view; empty when it concerns a whole database.
    pub collection: &'a str,
    /// The collection's identity.
    pub uuid: Option<&'a [u8; 16]>,
    /// The record, whole.
    pub document: Option<&'a [u8]>,
    /// Its `_id`, and the shard key.
    pub key: Option<&'a [u8]>,
    /// The oplog's field `o` of an update.
    pub update: Option<&'a [u8]>,
    /// What more there is to say of a change of definitions.
    pub description: Option<&'a [u8]>,
}

/// True when this raw entry of a feed is an event, false when it is of the oplog. Both have a field early on that the
/// other family never has.
pub fn is_event(entry: &[u8]) -> bool {
    let Ok(elements) = raw::elements(entry) else { return false };
    for element in elements {
        match element.map(|element| element.name) {
            Ok(b"operationType") => return true,
            Ok(b"op" | b"ts" | b"o") | Err(_) => return false,
            Ok(_) => {}
        }
    }
    false
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// When it is malformed, or has no kind or cluster time.
    pub fn read(entry: &'a [u8]) -> Result<Event<'a>> {
        let mut event = Event::default();
        let (mut kind, mut at) = (None, None);
        for element in raw::elements(entry)? {
            let element = element?;
            match element.name {
                b"operationType" => kind = element.as_str(),
                b"clusterTime" => at = element.as_timestamp(),
                b"collectionUUID" => event.uuid = uuid(element),
                b"fullDocument" => event.document = element.as_document(),
                b"documentKey" => event.key = element.as_document(),
                b"rawUpdateDescription" => event.update = element.as_document(),
                b"operationDescription" => event.description = element.as_document(),
                b"ns" => {
                    for part in raw::elements(element.as_document().ok_or_else(|| wrong("its ns is no document"))?)? {
                        let part = part?;
                        match (part.name, part.as_str()) {
                            (b"db", Some(database)) => event.database = database,
                            (b"coll", Some(collection)) => event.collection = collection,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        event.kind = kind.ok_or_else(|| wrong("it has no operationType"))?;
        event.at = Tick::from_u64(at.ok_or_else(|| wrong("it has no clusterTime"))?);
        event.is_whole()?;
        Ok(event)
    }

    /// The full name of what it concerns.
    pub fn namespace(&self) -> String {
        [self.database, ".", self.collection].concat()
    }

    /// True when `namespace` is the full name of what it concerns.
    pub fn is_in(&self, namespace: &str) -> bool {
        let rest = namespace.strip_prefix(self.database).and_then(|rest| rest.strip_prefix('.'));
        rest == Some(self.collection)
    }

    /// True when it concerns one record of a collection.
    pub fn is_of_record(&self) -> bool {
        matches!(self.kind, "insert" | "update" | "replace" | "delete")
    }

    /// What a change of a record must say, so that it can be told from it alone.
    fn is_whole(&self) -> Result<()> {
        if !self.is_of_record() {
            return Ok(());
        }
        let lacks = |what: &str| Err(wrong(format!("the {} in {} has no {what}", self.kind, self.namespace())));
        match self.kind {
            _ if self.uuid.is_none() => lacks("collectionUUID"),
            "insert" | "replace" if self.document.is_none() => lacks("fullDocument"),
            "update" if self.update.is_none() => lacks("rawUpdateDescription"),
            "update" | "replace" | "delete" if self.key.is_none() => lacks("documentKey"),
            _ => Ok(()),
        }
    }
}

/// Where a UUID says its version, in bits from the end.
const VERSION_AT: u32 = 76;

/// The identity that stands for the collection of a database's views, whatever its own is. It depends on nothing but the
/// database's name (FNV-1a, 128 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>), and is a UUID of version 8, the one
/// that is anybody's own (RFC 9562): those of a server are of version 4.
pub fn views_uuid(database: &str) -> [u8; 16] {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let bytes = b"backstay: the views of ".iter().chain(database.as_bytes());
    let hash = bytes.fold(BASIS, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME));
    (hash & !(0xf << VERSION_AT) | (0x8 << VERSION_AT)).to_be_bytes()
}

/// True for the incarnation of what [`views_uuid`] stands for, which lives again when its database does.
pub fn is_made_of_a_name(namespace: Incarnation) -> bool {
    (namespace.0 >> (VERSION_AT - 64)) & 0xf == 0x8
}

#[cold]
fn wrong(why: impl Into<String>) -> backstay_model::InterpretError {
    malformed("change stream event", why)
}

#[cfg(test)]
mod tests;
