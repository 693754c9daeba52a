//! The segment: an immutable file of versions.
//!
//! ```text
//!   header (80)        magic, format, shape, vault, segment id, salt                        in the clear
//!   blocks …           runs: 128 KiB of one tenant's versions, compressed, sealed under that tenant's key
//!                      tails: 256 KiB of raw source entries, compressed, sealed under the vault key
//!   index pages …      runs only: one a tenant, sealed under that tenant's key
//!   directory          who is in here and where, sealed under the vault key
//!   trailer (24)       where the directory is, magic                                        in the clear
//! ```
//!
//! Three shapes, two layouts: a *tail* keeps a source's entries byte for byte in stream order; a *delta run* and a *base
//! run* keep versions in the order tenant, namespace incarnation, record id, newest version first. `docs/format.md` has
//! the byte tables.
//!
//! What holds here:
//! - a block belongs to exactly one tenant, and only that tenant's key opens it or the page that indexes it (K2);
//! - every sealed part is bound to its vault, segment, kind and index: nothing can be moved, swapped or cut unseen;
//! - decoding never trusts a length, in sealed bytes neither.
//!
//! Everything is synchronous and works on bytes in memory: fetching and storing is the archive's business.

mod block;
mod directory;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod header;
mod index;
mod inflate;
mod part;
mod run;
mod tail;
mod varint;

pub use block::{BlockCursor, Entry};
pub use directory::{NamespaceSummary, RunDirectory, TailDirectory, TenantEntry};
pub use error::{Error, Result};
pub use header::{HEADER_LEN, Header, Shape, TRAILER_LEN, Trailer};
pub use index::{BlockEntry, IndexPage};
pub use part::{PartBench, PartWriter, TenantPart};
pub use run::{BlockOpener, RunWriter};
pub use tail::{TailBlock, TailWriter};

/// The format version that writers write.
pub const FORMAT: u16 = 1;

/// How many bytes of versions a block of a run holds before it is closed: what zstd takes as one block of its own. A
/// point read pays for every byte of it. `docs/decisions/0015` has the measurement.
pub const BLOCK_LEN: usize = 128 * 1024;

/// A record's key inside a run: the namespace incarnation, big-endian, then the record id.
pub fn record_key(namespace: backstay_model::Incarnation, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + id.len());
    key.extend_from_slice(&namespace.0.to_be_bytes());
    key.extend_from_slice(id);
    key
}

/// The namespace and the record id of a key of a run.
pub fn split_key(key: &[u8]) -> Option<(backstay_model::Incarnation, &[u8])> {
    let (namespace, id) = key.split_first_chunk::<8>()?;
    Some((backstay_model::Incarnation(u64::from_be_bytes(*namespace)), id))
}
