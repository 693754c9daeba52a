//! One block of a run: versions of one tenant, ascending by key, newest version first within a key.
//!
//! ```text
//!   base tick (8, little-endian), then for each version:
//!     flags    1   0 image, 1 delta, 2 tombstone
//!     shared   v   how many bytes of the key the previous key begins with
//!     rest     v+  the key's other bytes, with their length
//!     tick     v   zigzag(tick − base tick)
//!     ordinal  v   ordinal + 1, wrapping: a snapshot's is 0
//!     operator v   deltas only
//!     value    v+  images and deltas only
//!   v: varint; v+: varint length, then that many bytes
//! ```

use backstay_model::{BodyRef, Operator, Tick, Version};

use crate::error::{Result, corrupt};
use crate::varint;

const IMAGE: u8 = 0;
const DELTA: u8 = 1;
const TOMBSTONE: u8 = 2;

/// One version of one record, as a run keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Namespace incarnation (8, big-endian), then the record id.
    pub key: &'a [u8],
    /// When.
    pub version: Version,
    /// What.
    pub body: BodyRef<'a>,
}

/// Lays versions out in a block.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    bytes: Vec<u8>,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    base: Tick,
    oldest: Tick,
    newest: Tick,
    entries: u32,
}

impl BlockBuilder {
    pub fn push(&mut self, entry: &Entry<'_>) {
        let tick = entry.version.tick;
        if self.entries == 0 {
            self.bytes.extend_from_slice(&tick.to_u64().to_le_bytes());
            self.first_key.extend_from_slice(entry.key);
            (self.base, self.oldest, self.newest) = (tick, tick, tick);
        }
        self.oldest = self.oldest.min(tick);
        self.newest = self.newest.max(tick);
        let flags = match entry.body {
            BodyRef::Image(_) => IMAGE,
            BodyRef::Delta(..) => DELTA,
            BodyRef::Tombstone => TOMBSTONE,
        };
        self.bytes.push(flags);
        let shared = self.last_key.iter().zip(entry.key).take_while(|(a, b)| a == b).count();
        let rest = &entry.key[shared..];
        varint::put(&mut self.bytes, shared as u64);
        varint::put(&mut self.bytes, rest.len() as u64);
        self.bytes.extend_from_slice(rest);
        let difference = tick.to_u64().wrapping_sub(self.base.to_u64()) as i64;
        varint::put(&mut self.bytes, varint::zigzag(difference));
        varint::put(&mut self.bytes, u64::from(entry.version.ordinal.wrapping_add(1)));
        match entry.body {
            BodyRef::Image(image) => self.put_value(image),
            BodyRef::Delta(operator, delta) => {
                varint::put(&mut self.bytes, u64::from(operator.0));
                self.put_value(delta);
            }
            BodyRef::Tombstone => {}
        }
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(rest);
        self.entries += 1;
    }

    fn put_value(&mut self, value: &[u8]) {
        varint::put(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    pub fn entries(&self) -> u32 {
        self.entries
    }

    pub fn keys(&self) -> (&[u8], &[u8]) {
        (&self.first_key, &self.last_key)
    }

    pub fn ticks(&self) -> (Tick, Tick) {
        (self.oldest, self.newest)
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.first_key.clear();
        self.last_key.clear();
        self.entries = 0;
    }
}

/// Reads the versions of a block, first to last.
pub struct BlockCursor<'a> {
    rest: &'a [u8],
    base: Tick,
    key: Vec<u8>,
}

impl<'a> BlockCursor<'a> {
    /// Starts at the front of a block's plaintext.
    pub fn new(block: &'a [u8]) -> Result<BlockCursor<'a>> {
        let (base, rest) = block.split_first_chunk::<8>().ok_or(corrupt("block", "it is cut"))?;
        Ok(BlockCursor { rest, base: Tick::from_u64(u64::from_le_bytes(*base)), key: Vec::new() })
    }

    /// Moves to the next version and returns it without its key; `None` at the end.
    pub fn advance(&mut self) -> Result<Option<(Version, BodyRef<'a>)>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.take().map(Some).ok_or(corrupt("block", "a version does not decode"))
    }

    /// The key of the version that [`BlockCursor::advance`] moved to.
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    fn take(&mut self) -> Option<(Version, BodyRef<'a>)> {
        let rest = &mut self.rest;
        let (&flags, after) = rest.split_first()?;
        *rest = after;
        let shared = usize::try_from(varint::take(rest)?).ok()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(varint::take_bytes(rest)?);
        let difference = varint::unzigzag(varint::take(rest)?);
        let tick = Tick::from_u64(self.base.to_u64().wrapping_add(difference as u64));
        let ordinal = u32::try_from(varint::take(rest)?).ok()?.wrapping_sub(1);
        let body = match flags {
            IMAGE => BodyRef::Image(varint::take_bytes(rest)?),
            DELTA => {
                let operator = Operator(u16::try_from(varint::take(rest)?).ok()?);
                BodyRef::Delta(operator, varint::take_bytes(rest)?)
            }
            TOMBSTONE => BodyRef::Tombstone,
            _ => return None,
        };
        Some((Version::new(tick, ordinal), body))
    }
}

#[cfg(test)]
mod tests;
