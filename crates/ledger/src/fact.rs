//! What a commit states. A commit's body is a list of facts; folded in order they are the vault's state.
//!
//! Every fact and every structure in it is a CBOR map with integer keys. A reader ignores keys that it does not know, so
//! that fields can be added; a *kind* of fact that it does not know is refused, because ignoring it would fold a wrong
//! state. Numbers in `n(…)` are the format: they are never reused.

use backstay_model::{IdRange, Incarnation, Tick};
use minicbor::{Decode, Encode};

use crate::claim::Holder;
use crate::commit::{Hash, Id};
use crate::wire;

/// What kind of segment it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum Shape {
    /// Source entries in stream order.
    #[n(1)]
    Tail,
    /// Versions in archive order, all of a window.
    #[n(2)]
    DeltaRun,
    /// The complete state of some stretches, in archive order: absent means absent.
    #[n(3)]
    BaseRun,
}

impl Shape {
    /// The number that stands for it in a commit; the same as in the segment's own header.
    pub const fn code(self) -> u8 {
        match self {
            Shape::Tail => 1,
            Shape::DeltaRun => 2,
            Shape::BaseRun => 3,
        }
    }
}

/// A stretch of one namespace whose state a base run holds: completely, together with the other base runs of its scan whose
/// covers share ids with it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Cover {
    /// The namespace.
    #[cbor(n(0), with = "wire::incarnation")]
    pub incarnation: Incarnation,
    /// The record ids.
    #[cbor(n(1), with = "wire::range")]
    pub range: IdRange,
}

/// All that the ledger knows of a segment.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SegmentInfo {
    /// Its id: when it was begun ([`born`](crate::born)), then random bytes; never used twice.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: Id,
    /// Its kind.
    #[n(1)]
    pub shape: Shape,
    /// How long the object is, in bytes.
    #[n(2)]
    pub bytes: u64,
    /// How much the source's own bytes in it are, before compression.
    #[n(3)]
    pub raw_bytes: u64,
    /// How many entries or records it holds.
    #[n(4)]
    pub entries: u64,
    /// The lowest tick of the versions inside. For a tail: above the frontier that it continues.
    #[cbor(n(5), with = "wire::tick")]
    pub first: Tick,
    /// The highest tick of the versions inside.
    #[cbor(n(6), with = "wire::tick")]
    pub last: Tick,
    /// BLAKE3 of the whole object.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub hash: Hash,
    /// For a base run: the stretches whose complete state it holds. Empty for the others.
    #[n(8)]
    pub covers: Vec<Cover>,
    /// The scan that it belongs to, if a scan wrote it.
    #[cbor(n(9), with = "wire::optional_id", has_nil)]
    pub scan: Option<Id>,
    /// For a tail: the stream that it continues.
    #[n(10)]
    pub stream: Option<String>,
}

/// One statement of a commit.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
#[non_exhaustive]
pub enum Fact {
    /// The vault exists and belongs to this source. The first fact of the first commit, and only there.
    #[n(0)]
    Opened {
        /// The source's name in the configuration.
        #[n(0)]
        name: String,
        /// The kind of source, such as `mongodb`.
        #[n(1)]
        kind: String,
        /// What makes the source itself and no other, in its adapter's words.
        #[n(2)]
        identity: String,
    },
    /// A segment is live from here on.
    #[n(1)]
    SegmentAdded(#[n(0)] SegmentInfo),
    /// A segment is not needed from here on.
    #[n(2)]
    SegmentRemoved(#[cbor(n(0), with = "minicbor::bytes")] Id),
    /// A stream is archived up to here.
    #[n(3)]
    Frontier {
        /// Which stream.
        #[n(0)]
        stream: String,
        /// Every change up to and with this tick is in the live segments.
        #[cbor(n(1), with = "wire::tick")]
        through: Tick,
        /// Where reading must start to go on without a loss: at or before `through`, for instance at the first entry of
        /// the oldest open transaction.
        #[cbor(n(2), with = "wire::tick")]
        resume: Tick,
    },
    /// A scan has begun.
    #[n(4)]
    ScanStarted {
        /// Its id.
        #[cbor(n(0), with = "minicbor::bytes")]
        scan: Id,
        /// The stream must be archived from this tick on for the scan's result to be of use.
        #[cbor(n(1), with = "wire::tick")]
        from: Tick,
    },
    /// A scan has read everything.
    #[n(5)]
    ScanCompleted {
        /// Its id.
        #[cbor(n(0), with = "minicbor::bytes")]
        scan: Id,
        /// From this tick on answers are complete.
        #[cbor(n(1), with = "wire::tick")]
        consistent: Tick,
        /// How many records it read.
        #[n(2)]
        records: u64,
        /// How many bytes of records it read.
        #[n(3)]
        source_bytes: u64,
    },
    /// A scan was given up.
    #[n(6)]
    ScanAbandoned {
        /// Its id.
        #[cbor(n(0), with = "minicbor::bytes")]
        scan: Id,
        /// Why, in words.
        #[n(1)]
        why: String,
    },
    /// From here on changes are missing.
    #[n(7)]
    GapOpened {
        /// The last instant that is whole.
        #[cbor(n(0), with = "wire::tick")]
        after: Tick,
        /// What happened, in words.
        #[n(1)]
        cause: String,
    },
    /// The open gap has an end.
    #[n(8)]
    GapClosed {
        /// The first instant that is whole again.
        #[cbor(n(0), with = "wire::tick")]
        resumes: Tick,
    },
    /// A scan found records that differ from what the archive says they were.
    #[n(9)]
    DriftFound {
        /// The scan that found it.
        #[cbor(n(0), with = "minicbor::bytes")]
        scan: Id,
        /// As of when the two differ.
        #[cbor(n(1), with = "wire::tick")]
        at: Tick,
        /// How many records differ.
        #[n(2)]
        records: u64,
    },
    /// From here on this is what is protected.
    #[n(10)]
    Protected {
        /// Changes after this tick are archived for it.
        #[cbor(n(0), with = "wire::tick")]
        from: Tick,
        /// Patterns of the namespaces; empty for all.
        #[n(1)]
        include: Vec<String>,
        /// The tenant rules, in their order.
        #[n(2)]
        tenants: Vec<String>,
    },
    /// The same where changes are followed in another way than the adapter's first. A kind of its own, because a program that does
    /// not know of ways must not take it for the first.
    #[n(20)]
    ProtectedBy {
        /// Changes after this tick are archived for it.
        #[cbor(n(0), with = "wire::tick")]
        from: Tick,
        /// Patterns of the namespaces; empty for all.
        #[n(1)]
        include: Vec<String>,
        /// The tenant rules, in their order.
        #[n(2)]
        tenants: Vec<String>,
        /// How changes are followed.
        #[n(3)]
        feed: String,
    },
    /// From here on the source is known by this: its identity was not to be seen before, and something else stood for it.
    #[n(21)]
    Identified {
        /// What makes the source itself and no other, in its adapter's words.
        #[n(0)]
        identity: String,
    },
    /// From here on one process alone follows a stream: commits under an older claim are refused.
    #[n(16)]
    StreamClaimed {
        /// Which stream.
        #[n(0)]
        stream: String,
        /// One more than the claim before it.
        #[n(1)]
        epoch: u64,
        /// Who follows it.
        #[n(2)]
        holder: Holder,
    },
    /// Whoever followed a stream has stopped.
    #[n(17)]
    StreamReleased {
        /// Which stream.
        #[n(0)]
        stream: String,
        /// Of which claim.
        #[n(1)]
        epoch: u64,
    },
    /// The commit holds only if this claim is the newest. Stands before what it guards.
    #[n(18)]
    UnderClaim {
        /// Which stream.
        #[n(0)]
        stream: String,
        /// The claim.
        #[n(1)]
        epoch: u64,
    },
    /// What was removed before this commit, or begun before it and never added, may be deleted for good: no later commit
    /// can add a segment that was begun below the floor.
    #[n(19)]
    FloorRaised {
        /// A commit's number.
        #[n(0)]
        floor: u64,
    },
}
