//! The identity of a namespace.

use std::fmt;

/// One life of a collection, table or key space. The name can be dropped, reused or moved; the incarnation cannot:
/// drop, truncate or rename-over end one, create starts another. The source's adapter derives it from the source's
/// own identity (for MongoDB the collection's UUID), so that every reader derives the same number. Where the source gives
/// none, a name stands for it, and an incarnation may begin again: see
/// [`Interpreter::begins_again`](crate::Interpreter::begins_again).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// The system space: definitions of all other namespaces, versioned like data.
    pub const SYSTEM: Incarnation = Incarnation(0);

    /// The record id under which this incarnation's definition is kept in the system space.
    pub fn record_id(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The incarnation whose definition has this record id in the system space.
    pub fn from_record_id(id: &[u8]) -> Option<Incarnation> {
        Some(Incarnation(u64::from_be_bytes(id.try_into().ok()?)))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
