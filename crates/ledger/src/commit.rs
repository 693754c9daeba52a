//! One commit as an object: how it is laid out, signed, sealed, and taken apart again.
//!
//! ```text
//!   offset   size   what
//!   0        8      magic "BKSTAYC1"
//!   8        2      format version, little-endian: 1
//!   10       32     public key of the signer (Ed25519)
//!   42       4      length L of the skeleton, little-endian
//!   46       L      skeleton (CBOR)
//!   46 + L   64     signature (Ed25519, RFC 8032) over BLAKE3-derive-key(DOMAIN, bytes 0 .. 46 + L)
//!   110 + L  32     salt, random
//!   142 + L  …      sealed body: AES-256-GCM ciphertext ‖ tag (16), kind 0, index 0
//! ```
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
//! Every byte is covered: 0 to 46 + L by the signature, the signature by itself (Ed25519 signatures are not malleable
//! when verified strictly), salt and body by the hash in the skeleton. `added` and `removed` repeat what the body's
//! facts say, in the same order, and are checked against them.

use backstay_seal::{DataKey, KeyId, Scope, Signer};
use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::error::{Error, Result};
use crate::fact::{Fact, SegmentInfo, Shape};
use crate::text::hex;
use crate::wire;

/// An id: 16 random bytes, public.
pub type Id = [u8; 16];

/// A BLAKE3 hash.
pub type Hash = [u8; 32];

/// The format version that writers write.
pub const FORMAT: u16 = 1;

const MAGIC: &[u8; 8] = b"BKSTAYC1";
const DOMAIN: &str = "backstay 2026-11-21 ledger commit signature v1";
/// The number of commit bodies among the uses of a vault key; segments use 1 to 15.
const PURPOSE_BODY: u8 = 16;
const KIND_BODY: u8 = 0;

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
    let mut body = encode_cbor(parts.facts)?;
    let scope = scope(parts.vault, parts.commit, parts.salt);
    key.sealer(&scope)?.seal(KIND_BODY, &mut body)?;
    let (added, removed) = objects(parts.facts);
    let skeleton = encode_cbor(&Skeleton {
        vault: parts.vault,
        seq: parts.seq,
        prev: parts.prev,
        writer: parts.writer,
        commit: parts.commit,
        written_at: parts.written_at,
        added,
        removed,
        body: body_hash(&parts.salt, &body),
        key: key.id().0,
        name: parts.name.map(str::to_owned),
    })?;
    let too_long = |_| Error::Nonsense { why: "a commit of 4 GiB and more cannot be written".to_owned() };
    let length = u32::try_from(skeleton.len()).map_err(too_long)?;

    let mut object = Vec::with_capacity(HEADER_LEN + skeleton.len() + 64 + 32 + body.len());
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&FORMAT.to_le_bytes());
    object.extend_from_slice(&signer.public_key());
    object.extend_from_slice(&length.to_le_bytes());
    object.extend_from_slice(&skeleton);
    let signature = signer.sign(&signed_hash(&object))?;
    object.extend_from_slice(&signature);
    object.extend_from_slice(&parts.salt);
    object.extend_from_slice(&body);
    Ok(object.into())
}

const HEADER_LEN: usize = 46;

/// A commit taken apart; nothing in it is believed yet.
pub(crate) struct Commit {
    pub(crate) skeleton: Skeleton,
    /// BLAKE3 of the whole object.
    pub(crate) hash: Hash,
    signer: [u8; 32],
    signed: Hash,
    signature: [u8; 64],
    salt: [u8; 32],
    body: Bytes,
}

impl Commit {
    /// Takes the object apart and checks what can be checked without any key: that it is whole, and that the body is
    /// the one that the skeleton names. `object` is its path, for the errors.
    pub(crate) fn parse(object: &str, bytes: &Bytes) -> Result<Commit> {
        let corrupt = |why: &str| Error::Corrupt { object: object.to_owned(), why: why.to_owned() };
        let cut = || corrupt("it is cut short");

        let mut rest: &[u8] = bytes;
        let magic: [u8; 8] = take(&mut rest).ok_or_else(cut)?;
        if &magic != MAGIC {
            return Err(corrupt("it does not begin like a commit"));
        }
        let format = u16::from_le_bytes(take(&mut rest).ok_or_else(cut)?);
        if format != FORMAT {
            let what = format!("its format is {format}, and this version knows format {FORMAT}");
            return Err(Error::Newer { object: object.to_owned(), what });
        }
        let signer = take(&mut rest).ok_or_else(cut)?;
        let length = u32::from_le_bytes(take(&mut rest).ok_or_else(cut)?);
        let length = usize::try_from(length).map_err(|_| cut())?;
        let (skeleton, after) = rest.split_at_checked(length).ok_or_else(cut)?;
        rest = after;
        let signed = signed_hash(bytes.get(..HEADER_LEN + length).ok_or_else(cut)?);
        let signature = take(&mut rest).ok_or_else(cut)?;
        let salt = take(&mut rest).ok_or_else(cut)?;
        let body = bytes.slice_ref(rest);

        let skeleton: Skeleton = decode_cbor(skeleton).map_err(|why| corrupt(&format!("its skeleton: {why}")))?;
        if skeleton.body != body_hash(&salt, &body) {
            return Err(corrupt("its body was altered"));
        }
        let hash = blake3::hash(bytes).into();
        Ok(Commit { skeleton, hash, signer, signed, signature, salt, body })
    }

    /// The public key that it claims to be signed with.
    pub(crate) fn signer(&self) -> &[u8; 32] {
        &self.signer
    }

    /// Checks that the owner of `trusted` signed it; else tells another's commit from an altered one.
    pub(crate) fn authenticate(&self, object: &str, trusted: &[u8; 32]) -> Result<()> {
        if backstay_seal::verify(&self.signer, &self.signed, &self.signature).is_err() {
            let why = "its signature does not match: it was altered".to_owned();
            return Err(Error::Corrupt { object: object.to_owned(), why });
        }
        if &self.signer != trusted {
            let why = format!("it is signed with the key {}, which is not trusted", hex(&self.signer));
            return Err(Error::Foreign { object: object.to_owned(), why });
        }
        Ok(())
    }

    /// Opens the body and checks that it tells of the same segments as the skeleton.
    pub(crate) fn open(&self, object: &str, key: &DataKey) -> Result<Vec<Fact>> {
        let wrong_key = || Error::WrongKey { object: object.to_owned() };
        if KeyId(self.skeleton.key) != key.id() {
            return Err(wrong_key());
        }
        let scope = scope(self.skeleton.vault, self.skeleton.commit, self.salt);
        let mut plain = Vec::new();
        key.segment_key(&scope)?.open_into(KIND_BODY, 0, &self.body, &mut plain).map_err(|_| wrong_key())?;
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

fn scope(vault: Id, commit: Id, salt: [u8; 32]) -> Scope {
    Scope { format: FORMAT, vault, segment: commit, salt, purpose: PURPOSE_BODY }
}

fn signed_hash(bytes: &[u8]) -> Hash {
    blake3::derive_key(DOMAIN, bytes)
}

fn body_hash(salt: &[u8; 32], body: &[u8]) -> Hash {
    blake3::Hasher::new().update(salt).update(body).finalize().into()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn encode_cbor<T: Encode<()> + ?Sized>(value: &T) -> Result<Vec<u8>> {
    minicbor::to_vec(value).map_err(|why| Error::Nonsense { why: why.to_string() })
}

fn decode_cbor<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, String> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|why| why.to_string())?;
    if decoder.position() != bytes.len() {
        return Err("there are bytes after its end".to_owned());
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
