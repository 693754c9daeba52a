//! A segment's id says upon which commit it was begun.
//!
//! ```text
//!   id (16) = number of a commit (6, big-endian) ‖ random (10)
//! ```
//!
//! That number makes one number of the chain, the floor, enough to collect safely: whoever raises the floor to `f` forbids
//! every later commit to add what was begun below `f`. So a file begun below the floor that is not live can never be
//! needed again, however long its writer slept, and may be deleted without asking anybody's clock.

use crate::commit::Id;

/// The id of a segment that is begun by somebody who has seen the chain up to and with commit `seen`.
pub fn new_id(seen: u64, random: [u8; 10]) -> Id {
    let mut id = [0; 16];
    let (when, rest) = id.split_at_mut(6);
    // The 48 lower bits; a vault that commits a thousand times a second uses them up in 8,900 years.
    when.copy_from_slice(&seen.to_be_bytes()[2..]);
    rest.copy_from_slice(&random);
    id
}

/// The id of the first of several segments whose order shows in their ids: [`next_id`] has room above it.
pub fn first_id(seen: u64, mut random: [u8; 10]) -> Id {
    random[0] &= 0x7F;
    new_id(seen, random)
}

/// An id above `before`, for the next segment in an order that shows in the ids, and as hard to guess as 48 bits are. There
/// is room for two thousand million of them.
pub fn next_id(before: &Id, seen: u64, random: [u8; 10]) -> Id {
    if seen > born(before) {
        return first_id(seen, random);
    }
    let mut step = [0; 16];
    let [.., a, b, c, d, e, f] = random;
    step[10..].copy_from_slice(&[a, b, c, d, e, f]);
    u128::from_be_bytes(*before).saturating_add(1).saturating_add(u128::from_be_bytes(step)).to_be_bytes()
}

/// The newest commit that the segment's writer had seen when it drew the id.
pub fn born(id: &Id) -> u64 {
    let mut when = [0; 8];
    for (to, from) in when[2..].iter_mut().zip(id) {
        *to = *from;
    }
    u64::from_be_bytes(when)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_was_begun_and_sorts_by_it() {
        for seq in [0, 1, 255, 256, 1 << 40, (1 << 48) - 1] {
            assert_eq!(born(&new_id(seq, [0xFF; 10])), seq);
        }
        assert!(new_id(255, [0xFF; 10]) < new_id(256, [0; 10]));
    }

    #[test]
    fn ids_in_an_order_ascend_and_tell_when_they_were_begun() {
        let mut id = first_id(7, [0xFF; 10]);
        for (number, random) in [[0; 10], [0xFF; 10], [1; 10]].into_iter().cycle().take(100_000).enumerate() {
            let seen = if number < 99_999 { 7 } else { 9 };
            let next = next_id(&id, seen, random);
            assert!(next > id && born(&next) == seen, "{next:?} after {id:?}");
            id = next;
        }
    }
}
