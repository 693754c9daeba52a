//! Whether what comes back fits into a namespace that removes its oldest records when it is full.
//!
//! Records that were removed for want of room were not part of any plan, and no proof of what was written would miss them. So
//! a restore into such a namespace is looked at first as a whole: what goes is deleted before anything comes back, and when
//! the rest would not fit then, nothing is written at all. Others may fill it meanwhile, so what comes back is measured once
//! more right before it is inserted.

use backstay_source::{Room, Target};

use crate::Result;
use crate::restore::writer::OwnedWrite;

/// The most bytes that come back into such a namespace: they are kept in memory until what goes is gone.
const MOST_INSERTED: i64 = 64 << 20;

/// By how much writes make a namespace larger.
#[derive(Clone, Copy, Default)]
pub(crate) struct Growth {
    records: i64,
    bytes: i64,
    /// Bytes of records that come back.
    inserted: i64,
}

impl Growth {
    pub fn add(&mut self, writes: &[OwnedWrite]) {
        for write in writes {
            match write {
                OwnedWrite::Insert { image, .. } => {
                    self.records += 1;
                    self.bytes += length(image);
                    self.inserted += length(image);
                }
                OwnedWrite::Replace { expected, image, .. } => self.bytes += length(image) - length(expected),
                OwnedWrite::Delete { expected, .. } => {
                    self.records -= 1;
                    self.bytes -= length(expected);
                }
            }
        }
    }

    /// Says when writes would push records out.
    pub async fn shortage(&self, target: &dyn Target, name: &str) -> Result<Option<Shortage>> {
        if self.inserted == 0 {
            return Ok(None);
        }
        let Some(room) = target.room(name).await? else { return Ok(None) };
        Ok(self.lacks(room))
    }

    fn lacks(&self, room: Room) -> Option<Shortage> {
        let over = |what: &str, more: i64, room: i64| {
            let now =
                if room < 0 { "it holds more than that already".to_owned() } else { format!("it has room for {room}") };
            format!("it would grow by {more} {what}, and its cap would push its oldest records out: {now}")
        };
        let widening = room.widening;
        if self.records > room.records {
            return Some(Shortage { why: over("records", self.records, room.records), widening });
        }
        if self.bytes > room.bytes {
            return Some(Shortage { why: over("bytes", self.bytes, room.bytes), widening });
        }
        (self.inserted > MOST_INSERTED).then(|| {
            let most = MOST_INSERTED >> 20;
            let why = format!(
                "{} bytes of records would come back; into a capped collection that exists {most} MiB is the most",
                self.inserted
            );
            Shortage { why, widening: String::new() }
        })
    }
}

/// What does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub why: String,
    /// How to make room, if that helps.
    pub widening: String,
}

fn length(image: &[u8]) -> i64 {
    i64::try_from(image.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_makes_room_for_what_comes() {
        let image = |length: usize| vec![0; length];
        let mut growth = Growth::default();
        growth.add(&[
            OwnedWrite::Insert { id: Vec::new(), image: image(10) },
            OwnedWrite::Delete { id: Vec::new(), expected: image(4) },
            OwnedWrite::Replace { id: Vec::new(), expected: image(5), image: image(6) },
        ]);
        let why = |records, bytes| {
            let room = Room { records, bytes, widening: String::new() };
            growth.lacks(room).map(|shortage| shortage.why).unwrap_or_default()
        };
        assert_eq!(why(0, 7), "");
        assert!(why(0, 6).contains("7 bytes"));
        assert!(why(-1, 7).contains("already"));
    }
}
