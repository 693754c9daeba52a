//! The ledger of one vault: what was committed, in which order, by whom.
//!
//! ```text
//!   vaults/{name}/chain/{seq:020}
//!
//!   ┌ 0 ─────────┐   ┌ 1 ─────────┐   ┌ 2 ─────────┐
//!   │ skeleton   │◄──┤ prev hash  │◄──┤ prev hash  │      public, signed (Ed25519): ids, sizes, hashes
//!   │ sealed body│   │ sealed body│   │ sealed body│      facts, under the vault key
//!   └────────────┘   └────────────┘   └────────────┘
//!         └── facts ── facts ─┴─ facts ──► fold ──► VaultState
//! ```
//!
//! A commit is created, never overwritten; whoever creates `seq` first has won it, everybody else reads it and decides
//! anew. The facts of all commits, folded in order, are the [`VaultState`]: the live segments, the frontier of each
//! stream, the scans, the gaps.
//!
//! What holds here:
//! - **L1**, a commit's predecessor exists and hashes to its `prev`; a committed name is never written again.
//! - **L2**, an acknowledged commit is whole; one that was not acknowledged is whole or not there at all.
//! - The skeleton names the same segments as the body, so that a janitor without keys can verify and collect.
//! - Every problem names the object that has it.
//!
//! What it is not: it does not see that the *newest* commits were cut off (a shorter chain is a valid chain); whoever
//! needs that must keep the head's number and hash elsewhere. It knows no segment's content and writes none.
//!
//! Reading and writing are types: [`Chain::load`] gives a `Chain<Reader>`; only [`Chain::into_writer`] with the right
//! [`Signer`](backstay_seal::Signer), or [`Chain::create`], gives a `Chain<Writer>`, which can append.

mod append;
mod birth;
mod chain;
mod checkpoint;
mod claim;
mod commit;
mod error;
mod fact;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod path;
mod shortcut;
mod state;
mod text;
mod verify;
mod wire;

pub use append::Draft;
pub use birth::{born, first_id, new_id, next_id};
pub use chain::{Chain, Reader, Writer};
pub use claim::{Claim, Holder, LEASE};
pub use commit::{FORMAT, Hash, Id, ObjectRef, Skeleton};
pub use error::{Error, Result};
pub use fact::{Cover, Fact, SegmentInfo, Shape};
pub use path::{chain_prefix, checkpoint_path, checkpoint_prefix, commit_path};
pub use state::{Drift, Frontier, Head, Refusal, RunningScan, Scan, Source, VaultState};
pub use text::utc;
pub use verify::{Problem, ProblemKind, Report, verify_chain};

/// Where random bytes come from: fills the slice it is given. Salts and commit ids are drawn from it, so it must never
/// give the same bytes twice outside of a simulation.
pub type Chance<'a> = dyn FnMut(&mut [u8]) + Send + 'a;
