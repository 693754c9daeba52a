//! The contract between Backstay and a kind of database.
//!
//! ```text
//!              ┌── snapshot ── namespaces ── split ── scan ──▶ RecordBatch…      a base, in key ranges
//!   Source ────┤
//!              └── position ── tail ─────────────────────────▶ EntryBatch…       every change, raw
//!
//!   Target ────── definitions · scan · fetch · create · write · exchange · build_indexes    restoring, guarded
//! ```
//!
//! An adapter implements [`Source`] to be protected and [`Target`] to be restored into; its
//! [`Interpreter`](backstay_model::Interpreter) explains its bytes to the archive. Adapters know no archive, no
//! key of one, and no file but a nameless one for what does not fit in memory. Record ids are memcomparable bytes whose order equals the order in which the database scans.

mod error;
mod protect;
mod restore;
mod trial;

pub use backstay_model::{EntryBatch, RecordBatch};
pub use error::{Error, Result};
pub use protect::{Capabilities, Namespace, Position, Records, Source, Start, Tail, Topology, WriteLatency};
pub use restore::{Conflict, Room, Target, UniqueValues, Write, WriteMode, WriteReport};
pub use trial::{Claim, Holders, Holding, RefusalKind, Rule, Trial, Tried};
