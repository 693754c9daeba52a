//! MongoDB's bytes, explained: everything about them that is pure.
//!
//! ```text
//!   raw        BSON as bytes: elements in, elements out
//!   id         record ids in an order of bytes that is the server's order
//!   update     an oplog entry's change applied to a record
//!   oplog      what an oplog entry is, and which records it changes
//!   definition a collection's options and indexes, from the oplog or from the server's lists
//!   tenants    whose record it is
//!   filter     which records a query matches
//!   extjson    bytes for people
//! ```
//!
//! Nothing here talks to a server or keeps state but a cache. Every byte may be hostile: wrong ones yield an
//! [`InterpretError`](backstay_model::InterpretError), never a panic, and no memory beyond a small multiple of the input.

pub mod id;
pub mod raw;
pub mod update;

pub use id::{decode_id, encode_id, id_of};
