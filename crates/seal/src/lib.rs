//! The only room that knows a cipher.
//!
//! ```text
//!   Keyring (file, 0600)                         one per installation, outside the archive
//!     └ KEK (key file or pass phrase)
//!         ├ signing key ──────────► Signer       Ed25519, signs commits
//!         ├ repository key ─┐
//!         ├ vault key ──────┼─────► DataKey
//!         └ tenant keys ────┘          │ HKDF-SHA256(fresh salt per segment, Scope)
//!                                      ├──► Sealer      writes: hands out every index once
//!                                      └──► SegmentKey  reads
//!   Digest                                       order-free hash of a set of records
//! ```
//!
//! What holds here:
//! - **K1**, no (key, nonce) pair repeats: see [`Sealer`].
//! - **K2**, a tenant's key opens that tenant's blocks and nothing else: every tenant has random keys of its own, and
//!   no key of one tenant can be computed from another's.
//! - A sealed block opens only at the place it was sealed for (format, vault, segment, purpose, kind, index).
//! - Shredding a tenant removes the only copy of its keys from the keyring; a tombstone without a key stays.
//!
//! Key material comes from the operating system's generator through aws-lc, not from the caller: this is the one
//! exception to "chance comes in as an argument", because a seedable source of keys is a weapon pointed at ourselves.
//! Salts, which are public, do come in as arguments. This crate does no object I/O and knows no file but the keyring.

mod aead;
mod derive;
mod digest;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod keyring;
mod secret;
mod sign;
mod text;

pub use aead::{Sealer, SegmentKey, Slot, TAG_LEN};
pub use derive::{DataKey, KeyId, Scope};
pub use digest::{DIGEST_LEN, Digest};
pub use error::{Error, Result};
pub use keyring::{KeyInfo, KeyKind, KeyState, Keyring, PassphraseCost, Protection};
pub use secret::Secret;
pub use sign::{Signer, verify};
