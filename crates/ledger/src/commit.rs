//! One commit as an object: what is public of it, what is sealed, and taking it apart again. How its bytes are laid out
//! and signed is [`frame`](crate::frame)'s, with the magic `BKSTAYC1`.
//!
//! The skeleton is a CBOR map with ascending integer keys, readable without a key:
//!
//! ```text
//!   0  vault       bytes(16)
//!   1  seq         unsigned
//!   2  prev        bytes(32)   BLAKE3 of the whole previous object; zero for seq 0
//!   3  writer      bytes(16)
//!   4  commit      bytes(16)   random; the scope under which the body is sealed
//!   5  written at  unsigned    seconds since 1970-01-01T00:00:00Z
//!   6  added       [ { 0: id bytes(16), 1: shape 1|2|3, 2: bytes unsigned, 3: hash bytes(32) } ]
//!   7  removed     [ id bytes(16) ]
//!   8  body        bytes(32)   BLAKE3 of salt ‖ sealed body
//!   9  key         bytes(16)   id of the vault key that seals the body
//!   10 name        text        the vault's name; in the first commit only
//! ```
//!
//! The body is a CBOR array of facts, each `[kind, {…}]`; see [`Fact`]. Its key is derived from the vault key in the
//! scope (format, vault, segment = commit id, salt, purpose 16).
//!
//! `added` and `removed` repeat what the body's facts say, in the same order, and are checked against them.

use backstay_seal::{DataKey, KeyId, Signer};
use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::error::{Error, Result};
use crate::fact::{Fact, SegmentInfo, Shape};
use crate::frame::{self, Frame, Kind, decode_cbor, encode_cbor};
use crate::wire;

/// An id: 16 random bytes, public.
pub type Id = [u8; 16];

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// The format version that writers write.
pub const FORMAT: u16 = 1;

const KIND: Kind =
    Kind { magic: b"BKSTAYC1", domain: "backstay 2026-11-21 ledger commit signature v1", purpose: 16, name: "commit" };

/// What a skeleton says of a segment that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct ObjectRef {
    /// The segment's id.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub id: Id,
    /// Its kind.
    #[n(1)]
    pub shape: Shape,
    /// Its length in bytes.
    #[n(2)]
    pub bytes: u64,
    /// BLAKE3 of the whole object.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub hash: Hash,
}

impl From<&SegmentInfo> for ObjectRef {
    fn from(segment: &SegmentInfo) -> ObjectRef {
        ObjectRef { id: segment.id, shape: segment.shape, bytes: segment.bytes, hash: segment.hash }
    }
}

/// The public part of a commit.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Skeleton {
    /// The vault that it belongs to.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub vault: Id,
    /// Its number; the first is 0.
    #[n(1)]
    pub seq: u64,
    /// BLAKE3 of the whole previous object; zeros for the first.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub prev: Hash,
    /// Who wrote it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub writer: Id,
    /// Its own id.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub commit: Id,
    /// When the writer says it wrote it, in seconds since 1970-01-01T00:00:00Z.
    #[n(5)]
    pub written_at: u64,
    /// The segments that are live from here on.
    #[n(6)]
    pub added: Vec<ObjectRef>,
    /// The segments that are not needed from here on.
    #[cbor(n(7), with = "wire::ids")]
    pub removed: Vec<Id>,
    /// BLAKE3 of the salt and the sealed body.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub body: Hash,
    /// The id of the vault key that seals the body.
    #[cbor(n(9), with = "minicbor::bytes")]
    pub key: Id,
    /// The vault's name, in the first commit only.
    #[n(10)]
    pub name: Option<String>,
}

impl Skeleton {
    /// Reads the public part of the commit that is these bytes, for whoever has no key. Nothing vouches for it but that
    /// the object is whole: [`verify_chain`](crate::verify_chain) checks signatures. `object` is its path.
    pub fn read(object: &str, bytes: &Bytes) -> Result<Skeleton> {
        Ok(Commit::parse(object, bytes)?.skeleton)
    }
}

/// What a new commit is made of, but for the randomness.
pub(crate) struct Parts<'a> {
    pub(crate) vault: Id,
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    pub(crate) writer: Id,
    pub(crate) commit: Id,
    pub(crate) salt: [u8; 32],
    pub(crate) written_at: u64,
    pub(crate) name: Option<&'a str>,
    pub(crate) facts: &'a [Fact],
}

/// Puts a commit together.
pub(crate) fn encode(parts: &Parts<'_>, key: &DataKey, signer: &Signer) -> Result<Bytes> {
    let body = encode_cbor(parts.facts)?;
    let (added, removed) = objects(parts.facts);
    frame::assemble(&KIND, (parts.vault, parts.commit, parts.salt), body, key, signer, |body| Skeleton {
        vault: parts.vault,
        seq: parts.seq,
        prev: parts.prev,
        writer: parts.writer,
        commit: parts.commit,
        written_at: parts.written_at,
        added,
        removed,
        body,
        key: key.id().0,
        name: parts.name.map(str::to_owned),
    })
}

/// A commit taken apart; nothing in it is believed yet.
pub(crate) struct Commit {
    pub(crate) skeleton: Skeleton,
    /// BLAKE3 of the whole object.
    pub(crate) hash: Hash,
    frame: Frame,
}

impl Commit {
    /// Takes the object apart and checks what can be checked without any key: that it is whole, and that the body is
    /// the one that the skeleton names. `object` is its path, for the errors.
    pub(crate) fn parse(object: &str, bytes: &Bytes) -> Result<Commit> {
        let frame = Frame::parse(&KIND, object, bytes)?;
        let skeleton: Skeleton = frame.skeleton(object)?;
        frame.check_body(object, &skeleton.body)?;
        Ok(Commit { skeleton, hash: frame.hash, frame })
    }

    /// The public key that it claims to be signed with.
    pub(crate) fn signer(&self) -> &[u8; 32] {
        &self.frame.signer
    }

    /// Checks that the owner of `trusted` signed it; else tells another's commit from an altered one.
    pub(crate) fn authenticate(&self, object: &str, trusted: &[u8; 32]) -> Result<()> {
        self.frame.authenticate(object, trusted)
    }

    /// Opens the body and checks that it tells of the same segments as the skeleton.
    pub(crate) fn open(&self, object: &str, key: &DataKey) -> Result<Vec<Fact>> {
        if KeyId(self.skeleton.key) != key.id() {
            return Err(Error::WrongKey { object: object.to_owned() });
        }
        let plain = self.frame.open(&KIND, object, self.skeleton.vault, self.skeleton.commit, key)?;
        let facts: Vec<Fact> = decode_cbor(&plain).map_err(|why| {
            // Authentic and yet not readable: only a newer writer makes such a body.
            Error::Newer { object: object.to_owned(), what: format!("its body holds an unknown fact ({why})") }
        })?;
        let (added, removed) = objects(&facts);
        if added != self.skeleton.added || removed != self.skeleton.removed {
            let why = "its public part and its sealed part tell of different segments".to_owned();
            return Err(Error::Corrupt { object: object.to_owned(), why });
        }
        Ok(facts)
    }
}

/// What a skeleton says of these facts.
fn objects(facts: &[Fact]) -> (Vec<ObjectRef>, Vec<Id>) {
    let mut added = Vec::new();
    let mut removed = Vec::new();
    for fact in facts {
        match fact {
            Fact::SegmentAdded(segment) => added.push(segment.into()),
            Fact::SegmentRemoved(id) => removed.push(*id),
            _ => {}
        }
    }
    (added, removed)
}

#[cfg(test)]
mod tests;
