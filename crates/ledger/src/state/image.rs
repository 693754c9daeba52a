//! A state as bytes, for checkpoints: everything that folding the chain up to one commit gives, and nothing else.
//!
//! ```text
//!   0  layout      unsigned: 3
//!   1  source      [name, kind, identity]
//!   2  segments    [segment], by id
//!   3  removed     [[id, number of the commit that removed it]]
//!   4  marks       [[number of a commit, when it was written]]
//!   5  frontiers   [[stream, through, resume]]
//!   6  running     [[scan, from, began]]
//!   7  completed   [[scan, from, began, consistent, records, bytes]], in order of completion
//!   8  gaps        [[after, resumes or null, cause]]
//!   9  drift       [[scan, at, records]]
//!   10 claims      [[stream, {0 epoch, 1 holder, 2 since, 3 seen, 4 held}]]
//!   11 floor       unsigned
//!   12 protected   [[from, [pattern], [rule], feed]]
//! ```
//!
//! Unlike a commit's facts, a layout with more in it than is known here is not read at all: a state that lacks something
//! is a wrong state. Whoever cannot read a checkpoint folds the chain. So whenever a state learns to hold something new,
//! [`LAYOUT`] goes up; the two functions here name every field, and do not compile until they carry the new one.

use backstay_model::{Gap, Protection, Tick};
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use super::{
    Arc, BTreeMap, Books, Claim, Drift, Frontier, Head, Id, Mark, ProtectedSince, RunningScan, Scan, SegmentInfo,
    Source, VaultState,
};
use crate::error::Result;
use crate::frame::{decode_cbor, encode_cbor};
use backstay_model::hex;

/// Goes up with every change of what is in an image.
const LAYOUT: u64 = 3;

type Bytes16 = ByteArray<16>;

#[derive(Encode, Decode)]
#[cbor(map)]
struct Image<S> {
    #[n(0)]
    layout: u64,
    #[n(1)]
    source: (String, String, String),
    #[n(2)]
    segments: Vec<S>,
    #[n(3)]
    removed: Vec<(Bytes16, u64)>,
    #[n(4)]
    marks: Vec<(u64, u64)>,
    #[n(5)]
    frontiers: Vec<(String, u64, u64)>,
    #[n(6)]
    running: Vec<(Bytes16, u64, u64)>,
    #[n(7)]
    completed: Vec<(Bytes16, u64, u64, u64, u64, u64)>,
    #[n(8)]
    gaps: Vec<(u64, Option<u64>, String)>,
    #[n(9)]
    drift: Vec<(Bytes16, u64, u64)>,
    #[n(10)]
    claims: Vec<(String, Claim)>,
    #[n(11)]
    floor: u64,
    #[n(12)]
    protected: Vec<(u64, Vec<String>, Vec<String>, String)>,
}

/// The state as bytes, without its vault's id and its head.
pub(crate) fn encode(state: &VaultState) -> Result<Vec<u8>> {
    let VaultState {
        vault: _,
        source,
        head: _,
        segments,
        removed,
        marks,
        books,
        tails: _,
        delta_runs: _,
        base_runs: _,
    } = state;
    let Books { frontiers, running, completed, gaps, drift, claims, floor, protected } = books;
    let Source { name, kind, identity } = source;
    let id = |id: &Id| Bytes16::from(*id);
    let tick = Tick::to_u64;
    encode_cbor(&Image::<&SegmentInfo> {
        layout: LAYOUT,
        source: (name.clone(), kind.clone(), identity.clone()),
        segments: segments.values().map(AsRef::as_ref).collect(),
        removed: removed.iter().map(|(removed, seq)| (id(removed), *seq)).collect(),
        marks: marks.iter().map(|Mark { seq, written_at }| (*seq, *written_at)).collect(),
        frontiers: frontiers
            .iter()
            .map(|(stream, Frontier { through, resume })| (stream.clone(), tick(*through), tick(*resume)))
            .collect(),
        running: running
            .values()
            .map(|RunningScan { id: scan, from, began }| (id(scan), tick(*from), *began))
            .collect(),
        completed: completed
            .iter()
            .map(|Scan { id: scan, from, began, consistent, records, source_bytes }| {
                (id(scan), tick(*from), *began, tick(*consistent), *records, *source_bytes)
            })
            .collect(),
        gaps: gaps
            .iter()
            .map(|Gap { after, resumes, cause }| (tick(*after), resumes.map(tick), cause.clone()))
            .collect(),
        drift: drift.iter().map(|Drift { scan, at, records }| (id(scan), tick(*at), *records)).collect(),
        claims: claims.iter().map(|(stream, claim)| (stream.clone(), claim.clone())).collect(),
        floor: *floor,
        protected: protected
            .iter()
            .map(|ProtectedSince { from, protection: Protection { include, tenants, feed } }| {
                (tick(*from), include.clone(), tenants.clone(), feed.clone())
            })
            .collect(),
    })
}

/// The state of these bytes, or what about them is not known here.
pub(crate) fn decode(bytes: &[u8], vault: Id, head: Head) -> Result<VaultState, String> {
    let image: Image<SegmentInfo> = decode_cbor(bytes)?;
    let Image {
        layout,
        source,
        segments,
        removed,
        marks,
        frontiers,
        running,
        completed,
        gaps,
        drift,
        claims,
        floor,
        protected,
    } = image;
    if layout != LAYOUT {
        return Err(format!("its layout is {layout}, and this version knows layout {LAYOUT}"));
    }
    let (name, kind, identity) = source;
    let tick = Tick::from_u64;
    let id = |id: Bytes16| -> Id { id.into() };
    let books = Books {
        frontiers: frontiers
            .into_iter()
            .map(|(stream, through, resume)| (stream, Frontier { through: tick(through), resume: tick(resume) }))
            .collect(),
        running: running
            .into_iter()
            .map(|(scan, from, began)| (id(scan), RunningScan { id: id(scan), from: tick(from), began }))
            .collect(),
        completed: completed
            .into_iter()
            .map(|(scan, from, began, consistent, records, source_bytes)| {
                let (from, consistent) = (tick(from), tick(consistent));
                Scan { id: id(scan), from, began, consistent, records, source_bytes }
            })
            .collect(),
        gaps: gaps
            .into_iter()
            .map(|(after, resumes, cause)| Gap { after: tick(after), resumes: resumes.map(tick), cause })
            .collect(),
        drift: drift.into_iter().map(|(scan, at, records)| Drift { scan: id(scan), at: tick(at), records }).collect(),
        claims: claims.into_iter().collect(),
        floor,
        protected: protected
            .into_iter()
            .map(|(from, include, tenants, feed)| ProtectedSince {
                from: tick(from),
                protection: Protection { include, tenants, feed },
            })
            .collect(),
    };
    let mut state = VaultState {
        vault,
        source: Source { name, kind, identity },
        head,
        segments: BTreeMap::new(),
        removed: removed.into_iter().map(|(removed, seq)| (id(removed), seq)).collect(),
        marks: marks.into_iter().map(|(seq, written_at)| Mark { seq, written_at }).collect(),
        tails: BTreeMap::new(),
        delta_runs: BTreeMap::new(),
        base_runs: BTreeMap::new(),
        books,
    };
    for segment in segments {
        // The second would replace the first in one place and stand beside it in another.
        if state.segments.contains_key(&segment.id) {
            return Err(format!("it holds the segment {} twice", hex(&segment.id)));
        }
        state.put_up(Arc::new(segment));
    }
    Ok(state)
}
