//! The only room that does object I/O: a thin contract over the `object_store` crate.
//!
//! ```text
//!   Store ─┬─ memory          object_store's InMemory
//!          ├─ local folder    object_store's LocalFileSystem for publishing and listing, plain files for the rest
//!          ├─ cloud           object_store's S3, Azure and GCS over a wire of our own, with retries of our own
//!          └─ anything else   any ObjectStore, for instance a faulty one in a simulation
//!
//!   conformance   what every store must do, as a test          probe   what a user's storage does, as a report
//! ```
//!
//! What holds here, whatever is behind:
//! - An object is created once, whole or not at all, and never changed. There is no overwrite.
//! - Of any number of tasks or processes that create one path, exactly one succeeds.
//! - An object whose creation was acknowledged is readable at once, and on a local disk it survives a power cut: the file,
//!   its folder and every folder above it that is new are synced first.
//! - A create whose answer was lost is recognised as one's own when the request was sent again (clouds; the folder has
//!   no answers to lose).
//! - A read gives exactly the bytes asked for or an error; it is never silently short.
//!
//! Paths are plain text, `vaults/4f…/chain/00000007`: parts of `A-Z a-z 0-9 . _ -` joined by `/`. The same text names the
//! same object on every kind of store, and none of it needs escaping.
//!
//! It is not a cache, and it knows no format. Requests to a cloud are retried here and nowhere above.

mod cloud;
pub mod conformance;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod local;
mod path;
pub mod probe;
mod settings;
mod store;
mod url;

pub use error::{Error, Result};
pub use settings::{Chance, Credentials, Limits, Patience, Settings};
pub use store::{Object, Store};
pub use url::{Bucket, CloudKind, Place};

/// The library underneath, for those who bring a store of their own.
pub use object_store;
