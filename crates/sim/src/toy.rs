//! A tiny database in memory: records in namespaces, a change feed, snapshots, transactions, and its own oracle.
//!
//! ```text
//!   Operation ──▶ Toy ──┬─▶ Oracle        what is true as of any tick
//!                       └─▶ log           entries, prepared entries, commits; can be rolled over
//!                            │
//!   ToySource (Source, Target) ── scan, tail, write;  faults on demand
//!   ToyInterpreter               explains entries and folds deltas
//! ```
//!
//! It has everything that makes a source hard to protect, in the smallest form: deltas that must be applied exactly
//! once, changes that do not say whose record they change, moves between tenants, transactions that share one tick or
//! stay open for long, names that are dropped and used again.

mod database;
mod entry;
mod interpreter;
mod log;
mod record;
mod source;
mod target;

pub use database::{Operation, Toy, TransactionId};
pub use entry::Entry;
pub use interpreter::{OP_APPEND, OP_MOVE, OP_SET, ToyInterpreter};
pub use record::Record;
pub use source::{ToyFault, ToySource};
