//! The vocabulary of Backstay: the nouns that every other room speaks in.
//!
//! ```text
//!   Tick, Version          where in a source's history something stands
//!   Tenant, Incarnation    whose record it is, and of which namespace
//!   IdRange                a stretch of record ids
//!   Body, Change           what happened to one record
//!   Interpreter            what a kind of source must explain so that its bytes can be kept and merged
//!   Coverage, Gap          for which instants every change is held
//!   Protection             what of a source is protected, and by which tenant rules
//! ```
//!
//! Nothing here does I/O, reads a clock, or knows a database, a cipher or a file format.

mod batch;
mod change;
mod coverage;
mod crash;
mod hex;
mod interpreter;
mod namespace;
mod protection;
mod range;
mod tenant;
mod tick;
mod world;

pub use batch::{EntryBatch, RecordBatch};
pub use change::{Body, BodyRef, Change, Operator, TenantHint};
pub use coverage::{Coverage, Gap, Span};
pub use crash::{CRASH_POINTS, crash_point};
pub use hex::hex;
pub use interpreter::{Break, InterpretError, Interpreter, NamespaceInfo, NamespaceKind};
pub use namespace::Incarnation;
pub use protection::{ProtectedSince, Protection};
pub use range::IdRange;
pub use tenant::Tenant;
pub use tick::{ParseTickError, Tick, Version};
pub use world::World;
