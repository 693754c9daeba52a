//! The frame that commits and checkpoints share: a public part that is signed, a sealed part that the public part hashes.
//!
//! ```text
//!   offset   size   what
//!   0        8      magic
//!   8        2      format version, little-endian: 1
//!   10       32     public key of the signer (Ed25519)
//!   42       4      length L of the skeleton, little-endian
//!   46       L      skeleton (CBOR)
//!   46 + L   64     signature (Ed25519, RFC 8032) over BLAKE3-derive-key(domain, bytes 0 .. 46 + L)
//!   110 + L  32     salt, random
//!   142 + L  …      sealed body: AES-256-GCM ciphertext ‖ tag (16), kind 0, index 0
//! ```
//!
//! Every byte is covered: 0 to 46 + L by the signature, the signature by itself (Ed25519 signatures are not malleable
//! when verified strictly), salt and body by the hash in the skeleton. Magic and domain keep one kind of object from
//! passing for another.

use backstay_seal::{DataKey, Scope, Signer};
use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::commit::{FORMAT, Hash, Id};
use crate::error::{Error, Result};
use backstay_model::hex;

const HEADER_LEN: usize = 46;
const KIND_BODY: u8 = 0;

/// What tells one kind of object from another.
pub(crate) struct Kind {
    pub(crate) magic: &'static [u8; 8],
    /// The context in which it is signed.
    pub(crate) domain: &'static str,
    /// The number of its bodies among the uses of a vault key; segments use 1 to 15.
    pub(crate) purpose: u8,
    /// What people call it.
    pub(crate) name: &'static str,
}

/// An object taken apart; nothing in it is believed yet.
pub(crate) struct Frame {
    /// BLAKE3 of the whole object.
    pub(crate) hash: Hash,
    pub(crate) signer: [u8; 32],
    pub(crate) salt: [u8; 32],
    skeleton: Bytes,
    signed: Hash,
    signature: [u8; 64],
    body: Bytes,
}

impl Frame {
    /// Takes an object apart. `object` is its path, for the errors.
    pub(crate) fn parse(kind: &Kind, object: &str, bytes: &Bytes) -> Result<Frame> {
        let corrupt = |why: String| Error::Corrupt { object: object.to_owned(), why };
        let cut = || corrupt("it is cut short".to_owned());

        let mut rest: &[u8] = bytes;
        let magic: [u8; 8] = take(&mut rest).ok_or_else(cut)?;
        if &magic != kind.magic {
            return Err(corrupt(format!("it does not begin like a {}", kind.name)));
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
        let signed = signed_hash(kind, bytes.get(..HEADER_LEN + length).ok_or_else(cut)?);
        let signature = take(&mut rest).ok_or_else(cut)?;
        let salt = take(&mut rest).ok_or_else(cut)?;
        let (skeleton, body) = (bytes.slice_ref(skeleton), bytes.slice_ref(rest));
        Ok(Frame { hash: blake3::hash(bytes).into(), signer, salt, skeleton, signed, signature, body })
    }

    /// The public part.
    pub(crate) fn skeleton<'a, T: Decode<'a, ()>>(&'a self, object: &str) -> Result<T> {
        let corrupt = |why| Error::Corrupt { object: object.to_owned(), why: format!("its skeleton: {why}") };
        decode_cbor(&self.skeleton).map_err(corrupt)
    }

    /// Checks that the sealed part is the one that the skeleton names.
    pub(crate) fn check_body(&self, object: &str, expected: &Hash) -> Result<()> {
        if *expected == body_hash(&self.salt, &self.body) {
            return Ok(());
        }
        Err(Error::Corrupt { object: object.to_owned(), why: "its body was altered".to_owned() })
    }

    /// Checks that the owner of `trusted` signed it; else tells another's object from an altered one.
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

    /// Opens the sealed part.
    pub(crate) fn open(&self, kind: &Kind, object: &str, vault: Id, id: Id, key: &DataKey) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        let opened =
            key.segment_key(&scope(kind, vault, id, self.salt))?.open_into(KIND_BODY, 0, &self.body, &mut plain);
        opened.map_err(|_| Error::WrongKey { object: object.to_owned() })?;
        Ok(plain)
    }
}

/// Puts an object together. `skeleton` makes the public part from the hash of the sealed one.
pub(crate) fn assemble<T: Encode<()>>(
    kind: &Kind,
    (vault, id, salt): (Id, Id, [u8; 32]),
    mut body: Vec<u8>,
    key: &DataKey,
    signer: &Signer,
    skeleton: impl FnOnce(Hash) -> T,
) -> Result<Bytes> {
    key.sealer(&scope(kind, vault, id, salt))?.seal(KIND_BODY, &mut body)?;
    let skeleton = encode_cbor(&skeleton(body_hash(&salt, &body)))?;
    let too_long = |_| Error::Nonsense { why: format!("a {} of 4 GiB and more cannot be written", kind.name) };
    let length = u32::try_from(skeleton.len()).map_err(too_long)?;

    let mut object = Vec::with_capacity(HEADER_LEN + skeleton.len() + 64 + 32 + body.len());
    object.extend_from_slice(kind.magic);
    object.extend_from_slice(&FORMAT.to_le_bytes());
    object.extend_from_slice(&signer.public_key());
    object.extend_from_slice(&length.to_le_bytes());
    object.extend_from_slice(&skeleton);
    let signature = signer.sign(&signed_hash(kind, &object))?;
    object.extend_from_slice(&signature);
    object.extend_from_slice(&salt);
    object.extend_from_slice(&body);
    Ok(object.into())
}

fn scope(kind: &Kind, vault: Id, id: Id, salt: [u8; 32]) -> Scope {
    Scope { format: FORMAT, vault, segment: id, salt, purpose: kind.purpose }
}

fn signed_hash(kind: &Kind, bytes: &[u8]) -> Hash {
    blake3::derive_key(kind.domain, bytes)
}

fn body_hash(salt: &[u8; 32], body: &[u8]) -> Hash {
    blake3::Hasher::new().update(salt).update(body).finalize().into()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// The bytes of a value that cannot fail to be written but by its length.
pub(crate) fn encode_cbor<T: Encode<()> + ?Sized>(value: &T) -> Result<Vec<u8>> {
    minicbor::to_vec(value).map_err(|why| Error::Nonsense { why: why.to_string() })
}

/// The value that these bytes are, all of them; else why not.
pub(crate) fn decode_cbor<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, String> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|why| why.to_string())?;
    if decoder.position() != bytes.len() {
        return Err("there are bytes after its end".to_owned());
    }
    Ok(value)
}
