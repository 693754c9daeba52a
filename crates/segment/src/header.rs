//! The two parts of a segment that are in the clear: the header in front and the trailer at the end.
//!
//! ```text
//!   header   magic "BKSTAYS1" (8) ‖ format (2, LE) ‖ shape (1) ‖ zero (5) ‖ vault (16) ‖ segment (16) ‖ salt (32)
//!   trailer  directory offset (8, LE) ‖ directory length (8, LE) ‖ magic "BKSTAYE1" (8)
//! ```
//!
//! Neither is trusted: all that they say goes into the derivation of the keys, so a changed header opens nothing.

use backstay_seal::Scope;

use crate::error::{Error, Result, corrupt};

/// Bytes of the header.
pub const HEADER_LEN: usize = 80;
/// Bytes of the trailer.
pub const TRAILER_LEN: usize = 24;

const MAGIC: &[u8; 8] = b"BKSTAYS1";
const END_MAGIC: &[u8; 8] = b"BKSTAYE1";

/// What a segment holds, and in which order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Shape {
    /// Raw source entries in stream order.
    Tail,
    /// Versions, sorted; all of a window.
    Delta,
    /// Images, sorted; the complete state of the stretches that it covers.
    Base,
}

impl Shape {
    /// Its number in files.
    pub fn number(self) -> u8 {
        match self {
            Shape::Tail => 1,
            Shape::Delta => 2,
            Shape::Base => 3,
        }
    }

    fn from_number(number: u8) -> Option<Shape> {
        match number {
            1 => Some(Shape::Tail),
            2 => Some(Shape::Delta),
            3 => Some(Shape::Base),
            _ => None,
        }
    }
}

/// What the key derivation is told about a sealed part.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    /// The directory of a run.
    Directory = 1,
    /// A tenant's blocks and index page in a run.
    TenantPart = 2,
    /// Blocks and directory of a tail.
    Tail = 3,
}

/// A segment's identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The version of the format it is written in.
    pub format: u16,
    /// What it holds.
    pub shape: Shape,
    /// The vault it belongs to.
    pub vault: [u8; 16],
    /// Its own id; random, never used twice.
    pub segment: [u8; 16],
    /// Random, drawn for this file alone.
    pub salt: [u8; 32],
}

impl Header {
    /// The header's bytes.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&self.format.to_le_bytes());
        bytes[10] = self.shape.number();
        bytes[16..32].copy_from_slice(&self.vault);
        bytes[32..48].copy_from_slice(&self.segment);
        bytes[48..80].copy_from_slice(&self.salt);
        bytes
    }

    /// Reads a header off the front of a segment.
    pub fn parse(bytes: &[u8]) -> Result<Header> {
        let bytes: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(corrupt("header", "the file is too short"))?;
        if &bytes[..8] != MAGIC {
            return Err(corrupt("header", "this is not a segment"));
        }
        let format = u16::from_le_bytes([bytes[8], bytes[9]]);
        if format > crate::FORMAT {
            return Err(Error::Newer(format));
        }
        let shape = Shape::from_number(bytes[10]).ok_or(corrupt("header", "unknown shape"))?;
        if bytes[11..16] != [0; 5] {
            return Err(corrupt("header", "reserved bytes are set"));
        }
        let mut header = Header { format, shape, vault: [0; 16], segment: [0; 16], salt: [0; 32] };
        header.vault.copy_from_slice(&bytes[16..32]);
        header.segment.copy_from_slice(&bytes[32..48]);
        header.salt.copy_from_slice(&bytes[48..80]);
        Ok(header)
    }

    pub(crate) fn scope(&self, purpose: Purpose) -> Scope {
        Scope { format: self.format, vault: self.vault, segment: self.segment, salt: self.salt, purpose: purpose as u8 }
    }
}

/// Where the directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// Its first byte.
    pub offset: u64,
    /// Its sealed length.
    pub len: u64,
}

impl Trailer {
    /// The trailer's bytes.
    pub fn to_bytes(&self) -> [u8; TRAILER_LEN] {
        let mut bytes = [0; TRAILER_LEN];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.len.to_le_bytes());
        bytes[16..].copy_from_slice(END_MAGIC);
        bytes
    }

    /// Reads the trailer off the end of `bytes`, the last bytes of a segment of `size` bytes.
    pub fn parse(bytes: &[u8], size: u64) -> Result<Trailer> {
        let bytes: &[u8; TRAILER_LEN] = bytes.last_chunk().ok_or(corrupt("trailer", "the file is too short"))?;
        if &bytes[16..] != END_MAGIC {
            return Err(corrupt("trailer", "the file is cut or its end was altered"));
        }
        let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0u64, |n, &b| (n << 8) | u64::from(b));
        let trailer = Trailer { offset: number(0), len: number(8) };
        let end = trailer.offset.checked_add(trailer.len).and_then(|end| end.checked_add(TRAILER_LEN as u64));
        if trailer.offset < HEADER_LEN as u64 || end != Some(size) {
            return Err(corrupt("trailer", "it does not point at the directory"));
        }
        Ok(trailer)
    }
}
