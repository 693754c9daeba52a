//! The verbs: what Backstay does with a source and its archive.
//!
//! ```text
//!   backup    scan ─▶ base runs            the first time; later only what differs, which is drift
//!   capture   feed ─▶ tails                until told to stop; a gap is named, scanned over, and closed
//!   restore   view as of T ⟷ target        compare, write what differs, read back, prove
//!   undo      what a restore wrote ─▶ what stood before
//!   diff      view as of T1 ⟷ view as of T2
//! ```
//!
//! Every verb takes its vault, its source or target, a [`Monitor`] to report to and be cancelled by, and gives back a
//! report. Verbs of one vault may run at the same time in several processes: they meet in the ledger.

mod backup;
mod breaks;
mod capture;
mod compare;
mod diff;
mod error;
mod journal;
mod monitor;
mod pace;
mod proof;
mod protection;
mod restore;
mod scan;
mod scope;
mod undo;

pub use backup::{BackupOptions, BackupReport, backup, backup_into};
pub use capture::{COMMIT_EVERY, CaptureOptions, CaptureReport, Until, capture};
pub use diff::{Difference, DifferenceKind, diff};
pub use error::{Error, Result};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use journal::fuzz as fuzz_journal;
pub use journal::{Run, RunNamespace, RunState, Terms, check_runs, runs};
pub use monitor::{Monitor, Phase, Status};
pub use pace::{ClosedFor, Pace, Paced};
pub use proof::{Proof, ProofScope};
pub use restore::{
    ConflictPolicy, Destination, NamespacePlan, Plan, Refusal, RefusalKind, RefusedRecord, Rename, Renaming,
    RestoreReport, RestoreRequest, WrongNames, is_refused, restore,
};
pub use scope::{NamePattern, Scope};
pub use undo::{UndoConflict, UndoReport, UndoRequest, undo};
