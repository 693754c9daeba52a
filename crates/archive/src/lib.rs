//! The archive: every version of every record of one installation, readable as of any instant.
//!
//! ```text
//!   Repository ── Vault ──┬─ BaseWriter    images of a scan  ─▶ base runs      ─┐
//!                         ├─ write_tail    raw entries       ─▶ tails          ─┼─▶ commit
//!                         ├─ compact       tails             ─▶ delta runs     ─┤
//!                         ├─ reassign      other tenants     ─▶ delta runs     ─┘
//!                         │
//!                         └─ snapshot ── Snapshot ── at(T) ── View
//!                              pinned state,           state as of T: partitions, records, definitions,
//!                              tails in memory         history, touched keys, digest
//! ```
//!
//! A read at T is the base run below, the delta runs above it and the tails merged in memory on top. The tails in
//! memory are bounded: what exceeds the budget is sorted into delta runs in a scratch store first, by the same code that
//! compacts them for good.
//!
//! The archive knows no database. What depends on a source's own format it asks an
//! [`Interpreter`](backstay_model::Interpreter).

mod anchor;
mod arrival;
mod assemble;
mod base;
mod claim;
mod collect;
mod compact;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod history;
mod keys;
mod limits;
mod lives;
mod load;
mod merge;
mod parallel;
mod partition;
mod reassign;
mod repository;
mod run;
mod selection;
mod shredding;
mod snapshot;
mod table;
mod tails;
mod told;
mod touched;
mod unlocked;
mod vault;
mod verify;
mod view;

pub use arrival::Arrival;
/// Who holds a claim.
pub use backstay_ledger::Holder;
/// A time in seconds since 1970-01-01T00:00:00Z as errors write it.
pub use backstay_ledger::utc;
pub use base::{BaseSegment, BaseWriter, EncodedBase};
pub use claim::{Duty, Held};
pub use error::{Error, Result};
pub use history::PastVersion;
pub use limits::Limits;
pub use load::Loaded;
pub use partition::Partition;
pub use repository::Repository;
pub use selection::{Predicate, Selection, Shredded};
pub use shredding::Shreddings;
pub use snapshot::{Ahead, Snapshot};
pub use vault::Vault;
pub use verify::{Problem, VerifyOptions, VerifyReport};
pub use view::{Definition, View};
