//! MongoDB's bytes, explained: everything about them that is pure.
//!
//! ```text
//!   interpreter   the whole, as the archive asks for it
//!   oplog         what an oplog entry is, and which records it changes
//!   event         the same as a change stream shows it
//!   update        an entry's change applied to a record
//!   definition    a collection's options and indexes, from the oplog or from the server's lists
//!   scope         what is protected (patterns of names), and whose it is (tenants)
//!   protection    the same as text, for the ledger
//!   filter        which records a query matches
//!   fields        which fields records have, of which types
//!   id            record ids in an order of bytes that is the server's order
//!   extjson       bytes for people
//!   raw           BSON as bytes: elements in, elements out
//! ```
//!
//! Nothing here talks to a server or keeps state but a cache. Every byte may be hostile: wrong ones yield an
//! [`InterpretError`](backstay_model::InterpretError), never a panic, and no memory beyond a small multiple of the input.

pub mod definition;
pub mod event;
pub mod extjson;
pub mod fields;
pub mod filter;
pub mod id;
mod interpreter;
pub mod oplog;
mod pattern;
pub mod protection;
pub mod raw;
pub mod scope;
pub mod tenants;
pub mod update;

pub use id::{decode_id, encode_id, id_of};
pub use interpreter::{MongoInterpreter, UPDATE_DIFF, UPDATE_PATHS};
