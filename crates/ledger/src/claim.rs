//! Who follows a stream, and since when.
//!
//! ```text
//!   epoch 1 ── commits under 1 ──┐ claimed again: epoch 2 ── commits under 2 ── released
//!                                └ a commit under 1 is refused from here on: fenced
//! ```
//!
//! A claim is a fact of the chain, so every writer agrees which one is the newest; no clock takes part in that. Clocks
//! only tell when a claim looks abandoned: one that has not been heard of for [`LEASE`] may be taken over unasked.
//! A process that was superseded while it slept finds out at its next commit, which does not happen.
//!
//! A claim does not keep others from moving the frontier by a commit of their own that is under no claim, as a backup
//! does to catch up: such a commit is decided upon the frontier that it finds, and whoever holds the claim goes on
//! from there.

use std::fmt;

use minicbor::{Decode, Encode};

/// How long a claim counts as alive after its last commit, in seconds: three times as long as an idle capture stays
/// silent.
pub const LEASE: u64 = 90;

/// A process, as far as others can tell it from the next.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Holder {
    /// The name of its host.
    #[n(0)]
    pub host: String,
    /// Its number there.
    #[n(1)]
    pub process: u64,
    /// A number that tells it from an earlier process of the same number, for instance when it started.
    #[n(2)]
    pub mark: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.process, self.host)
    }
}

/// The newest claim of a stream.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Claim {
    /// Counts the claims of the stream, from 1.
    #[n(0)]
    pub epoch: u64,
    /// Who made it.
    #[n(1)]
    pub holder: Holder,
    /// When, in seconds since 1970-01-01T00:00:00Z by the holder's clock.
    #[n(2)]
    pub since: u64,
    /// When the holder last committed anything, by its clock.
    #[n(3)]
    pub seen: u64,
    /// False once it was released.
    #[n(4)]
    pub held: bool,
}

impl Claim {
    /// True when it keeps others out: held, and heard of within [`LEASE`]. A holder whose clock is ahead counts as
    /// heard of just now.
    pub fn is_live(&self, now_unix: u64) -> bool {
        self.held && now_unix.saturating_sub(self.seen) < LEASE
    }
}
