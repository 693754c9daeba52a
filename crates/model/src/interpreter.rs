//! What a kind of source must explain about its bytes.
//!
//! The archive keeps a source's entries byte for byte and merges them at reading. It knows no database: whatever
//! depends on the source's own format (which records an entry changes, how a delta applies, whose a record is) it asks
//! an [`Interpreter`]. Everything here is pure, and every argument may be hostile: wrong bytes yield an error.

use crate::{Change, Incarnation, Operator, Tick};

/// Why bytes of a source could not be interpreted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpretError {
    /// The bytes do not follow the format that they claim.
    #[error("malformed {what}: {why}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The bytes are sound but of a kind that this version does not know.
    #[error("unknown {what}: {name}")]
    Unknown {
        /// What was being read.
        what: &'static str,
        /// The kind's own name.
        name: String,
    },
}

/// What stands behind a namespace's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum NamespaceKind {
    /// Records of its own.
    Collection,
    /// Records of its own, in the order in which they arrived: a scan without an order yields them so, and a restore
    /// keeps it.
    Ordered,
    /// Who may do what in the source itself; restored only when asked for by name.
    Accounts,
    /// Definitions of views, kept as records by the source; restored after everything else.
    Views,
}

/// What the archive needs to know of a definition in the system space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamespaceInfo {
    /// The full name, `database.collection` for MongoDB.
    pub name: String,
    /// What it is.
    pub kind: NamespaceKind,
    /// Why its records cannot be told: the source changed them in a way that no entry describes. Until the next scan.
    pub lost: Option<String>,
}

/// What an entry means that cannot simply be archived behind the one before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Break {
    /// Records came or changed that no entry describes: only a scan tells what there is from here on. With the reason, in
    /// words.
    Untold(String),
    /// From here on a namespace goes by a name whose records belong to tenants by other rules.
    Renamed {
        /// The namespace.
        namespace: Incarnation,
        /// Its new name.
        name: String,
    },
}

/// Explains the bytes of one kind of source. Pure and thread-safe.
pub trait Interpreter: Send + Sync {
    /// Reads the changes out of one raw entry that became visible at `visible`, and hands each to `sink` in order, with
    /// ordinals that count up from `first_ordinal`. Returns how many ordinals were used. An entry that changes nothing
    /// (a heartbeat) yields none. An entry of an unknown kind, which [`Interpreter::break_at`] keeps out of the archive, yields a definition that says that its namespace is lost
    /// ([`NamespaceInfo::lost`]); where it does not say which namespace it changes, it is an [`InterpretError::Unknown`].
    fn changes(
        &self,
        entry: &[u8],
        visible: Tick,
        first_ordinal: u32,
        sink: &mut dyn FnMut(Change<'_>),
    ) -> Result<u32, InterpretError>;

    /// What must be done at this raw entry before it is archived; `None` for nearly all of them. Every entry of a feed is
    /// looked at so, which is why it should cost little.
    fn break_at(&self, _entry: &[u8]) -> Option<Break> {
        None
    }

    /// Applies `delta` to `image` and writes the new image into `out`, which is cleared first.
    fn fold(&self, operator: Operator, image: &[u8], delta: &[u8], out: &mut Vec<u8>) -> Result<(), InterpretError>;

    /// True when a namespace with this identity may end and begin again, because the identity is made of a name: what it held
    /// before does not count any more. False where every life has an identity of its own.
    fn begins_again(&self, _namespace: Incarnation) -> bool {
        false
    }

    /// Whose record `image` of the namespace `name` is. The answer is borrowed from the image or from `scratch`.
    fn tenant<'a>(&self, name: &str, image: &'a [u8], scratch: &'a mut String) -> &'a str;

    /// Reads a definition out of the system space.
    fn describe(&self, definition: &[u8]) -> Result<NamespaceInfo, InterpretError>;

    /// True when the source itself removes records of a namespace with this definition once they are old enough.
    fn expires(&self, _definition: &[u8]) -> bool {
        false
    }

    /// A record id in the words of the source, for people: canonical Extended JSON for MongoDB.
    fn display_id(&self, id: &[u8]) -> String;

    /// The id of the record `image` as it stands in the record itself: `id` may be one form of several that are the same
    /// to the source.
    fn display_id_in(&self, _image: &[u8], id: &[u8]) -> String {
        self.display_id(id)
    }

    /// A record in the words of the source, for people: canonical Extended JSON for MongoDB.
    fn display_record(&self, image: &[u8]) -> Result<String, InterpretError>;
}
