//! A checkpoint as an object: the state after one commit, so that opening need not fold the whole chain.
//!
//! How its bytes are laid out and signed is [`frame`](crate::frame)'s, with the magic `BKSTAYK1`. The skeleton is a CBOR map
//! with ascending integer keys, readable without a key:
//!
//! ```text
//!   0  vault       bytes(16)
//!   1  seq         unsigned    the commit after which the state is this
//!   2  commit      bytes(32)   BLAKE3 of that commit's whole object: the link into the chain
//!   3  written at  unsigned    of that commit
//!   4  writer      bytes(16)   of the checkpoint
//!   5  id          bytes(16)   random; the scope under which the body is sealed
//!   6  live        [ { 0: id, 1: shape, 2: bytes, 3: hash } ]   by id
//!   7  body        bytes(32)   BLAKE3 of salt ‖ sealed body
//!   8  key         bytes(16)   id of the vault key that seals the body
//!   9  name        text        the vault's name
//! ```
//!
//! The body is the state ([`image`]). Its key is derived from the vault key in the scope (format, vault, segment = id,
//! salt, purpose 18).
//!
//! A checkpoint says nothing that the chain does not say: it is a shortcut, created once and never changed, and losing any
//! or all of them costs time only. Whoever reads one still asks for its commit and compares the hash, so that a chain that
//! was cut off below a checkpoint is seen.

use backstay_seal::{DataKey, KeyId, Signer};
use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::commit::{Hash, Id, ObjectRef};
use crate::error::{Error, Result};
use crate::frame::{self, Frame, Kind};
use crate::state::{Head, VaultState, image};

const KIND: Kind = Kind {
    magic: b"BKSTAYK1",
    domain: "backstay 2026-11-21 ledger checkpoint signature v1",
    purpose: 18,
    name: "checkpoint",
};

/// The fewest commits between two checkpoints.
const EVERY: u64 = 256;

/// How many live segments make checkpoints so large that there is one commit more between two of them: reading the
/// commits of a checkpoint's distance takes about as long as reading the checkpoint.
const SEGMENTS_A_COMMIT: u64 = 8;

/// Whether whoever made the newest commit of this state makes a checkpoint of it. Every writer would answer the same, so
/// one checkpoint is made and no more.
pub(crate) fn is_due(state: &VaultState) -> bool {
    let segments = u64::try_from(state.segments().len()).unwrap_or(u64::MAX);
    let distance = (segments / SEGMENTS_A_COMMIT).clamp(EVERY, 1 << 20).next_power_of_two();
    let seq = state.head().seq;
    seq > 0 && seq.is_multiple_of(distance)
}

/// The public part of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Skeleton {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) vault: Id,
    #[n(1)]
    pub(crate) seq: u64,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) commit: Hash,
    #[n(3)]
    pub(crate) written_at: u64,
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(crate) writer: Id,
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(crate) id: Id,
    #[n(6)]
    pub(crate) live: Vec<ObjectRef>,
    #[cbor(n(7), with = "minicbor::bytes")]
    pub(crate) body: Hash,
    #[cbor(n(8), with = "minicbor::bytes")]
    pub(crate) key: Id,
    #[n(9)]
    pub(crate) name: String,
}

/// Puts the checkpoint of a state together. `id` and `salt` are random.
pub(crate) fn encode(
    state: &VaultState,
    name: &str,
    (writer, id, salt): (Id, Id, [u8; 32]),
    key: &DataKey,
    signer: &Signer,
) -> Result<Bytes> {
    let (vault, head) = (state.vault(), state.head());
    let body = image::encode(state)?;
    frame::assemble(&KIND, (vault, id, salt), body, key, signer, |body| Skeleton {
        vault,
        seq: head.seq,
        commit: head.hash,
        written_at: head.written_at,
        writer,
        id,
        live: live(state),
        body,
        key: key.id().0,
        name: name.to_owned(),
    })
}

fn live(state: &VaultState) -> Vec<ObjectRef> {
    state.segments().map(|segment| segment.as_ref().into()).collect()
}

/// A checkpoint taken apart; nothing in it is believed yet but that it is whole.
pub(crate) struct Checkpoint {
    pub(crate) skeleton: Skeleton,
    frame: Frame,
}

impl Checkpoint {
    /// Takes the object apart and checks all that can be checked without the vault's key: that it is whole, that the
    /// owner of `trusted` signed it, and that it was made for this vault and this number. `object` is its path.
    pub(crate) fn parse(
        object: &str,
        bytes: &Bytes,
        (name, vault, seq): (&str, Option<Id>, u64),
        trusted: &[u8; 32],
    ) -> Result<Checkpoint> {
        let frame = Frame::parse(&KIND, object, bytes)?;
        frame.authenticate(object, trusted)?;
        let skeleton: Skeleton = frame.skeleton(object)?;
        frame.check_body(object, &skeleton.body)?;
        let foreign = |why| Err(Error::Foreign { object: object.to_owned(), why });
        if skeleton.name != name || vault.is_some_and(|vault| vault != skeleton.vault) {
            return foreign(format!("it was made for the vault `{}`", skeleton.name));
        }
        if skeleton.seq != seq {
            return foreign(format!("it was made for commit {} of its vault", skeleton.seq));
        }
        Ok(Checkpoint { skeleton, frame })
    }

    /// Opens the state, and checks that it names the same segments as the public part.
    pub(crate) fn open(&self, object: &str, key: &DataKey) -> Result<VaultState> {
        let skeleton = &self.skeleton;
        if KeyId(skeleton.key) != key.id() {
            return Err(Error::WrongKey { object: object.to_owned() });
        }
        let plain = self.frame.open(&KIND, object, skeleton.vault, skeleton.id, key)?;
        let head = Head { seq: skeleton.seq, hash: skeleton.commit, written_at: skeleton.written_at };
        let state = image::decode(&plain, skeleton.vault, head)
            // Authentic and yet not readable: only a newer writer makes such a body.
            .map_err(|what| Error::Newer { object: object.to_owned(), what })?;
        if live(&state) != skeleton.live {
            let why = "its public part and its sealed part tell of different segments".to_owned();
            return Err(Error::Corrupt { object: object.to_owned(), why });
        }
        Ok(state)
    }
}
