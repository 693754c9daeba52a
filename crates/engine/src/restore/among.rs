//! Values that two of many records share, found in bounded memory.
//!
//! ```text
//!   hash    0…0101 │ 0…1100 │ 0…1111 │ 1…          kept: those that begin with the bits of this round
//!           too many: one more bit, half of them go ▶ another round looks for the other half
//! ```
//!
//! Whoever walks the records does so again for each further round. As a rule there is one. A pair that was found before its
//! half was put off is found again in the round of that half.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The most that is kept, about.
const MOST_BYTES: usize = 64 << 20;
/// What an entry takes beside its id, about.
const ENTRY: usize = 64;
/// More bits than this are not looked at: what is left out then is found when it is written.
const MOST_BITS: u32 = 16;

/// Remembers who had which value first.
pub(super) struct Among {
    /// How many bits decide which round a hash belongs to.
    bits: u32,
    /// Which round this is.
    round: u128,
    most: usize,
    bytes: usize,
    seen: HashMap<u128, Box<[u8]>>,
}

impl Among {
    pub fn new() -> Among {
        Among::of(MOST_BYTES)
    }

    fn of(most: usize) -> Among {
        Among { bits: 0, round: 0, most, bytes: 0, seen: HashMap::new() }
    }

    fn is_kept(&self, hash: u128) -> bool {
        hash.checked_shr(128 - self.bits).unwrap_or(0) == self.round
    }

    /// Notes that the record `id` has a value; returns who else had it before, if that is known in this round.
    pub fn note(&mut self, rule: usize, value: &[u8], id: &[u8]) -> Option<&[u8]> {
        let hash = hash_of(rule, value);
        if !self.is_kept(hash) {
            return None;
        }
        if !self.seen.contains_key(&hash) {
            self.bytes += id.len() + ENTRY;
            self.seen.insert(hash, id.into());
            while self.bytes > self.most && self.bits < MOST_BITS {
                self.halve();
            }
            return None;
        }
        self.seen.get(&hash).map(AsRef::as_ref).filter(|other| *other != id)
    }

    fn halve(&mut self) {
        self.bits += 1;
        self.round <<= 1;
        let seen = std::mem::take(&mut self.seen);
        self.seen = seen.into_iter().filter(|(hash, _)| self.is_kept(*hash)).collect();
        self.bytes = self.seen.values().map(|id| id.len() + ENTRY).sum();
    }

    /// Turns to the next round; false when there is none.
    pub fn turn(&mut self) -> bool {
        self.seen.clear();
        self.bytes = 0;
        self.round += 1;
        self.round < 1 << self.bits
    }
}

/// Two independent halves: by 64 bits alone, some two of a billion values would be taken for the same.
fn hash_of(rule: usize, value: &[u8]) -> u128 {
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        (which, rule, value).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn however_little_fits_every_pair_is_found() {
        for most in [usize::MAX, 2000, 300] {
            let mut among = Among::of(most);
            let mut found = BTreeSet::new();
            let mut rounds = 0;
            loop {
                rounds += 1;
                for id in 0..200u32 {
                    // Every tenth value is that of the record before.
                    let value = if id % 10 == 9 { id - 1 } else { id };
                    if let Some(other) = among.note(1, &value.to_be_bytes(), &id.to_be_bytes()) {
                        found.insert((other.to_vec(), id));
                    }
                    assert_eq!(among.note(2, &id.to_be_bytes(), &id.to_be_bytes()), None, "its own");
                }
                if !among.turn() {
                    break;
                }
            }
            assert_eq!(found.len(), 20, "{most}");
            assert_eq!(rounds > 1, most < 10_000, "{rounds}");
        }
    }
}
