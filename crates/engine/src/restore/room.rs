//! Whether what comes back fits into a namespace that removes its oldest records when it is full.
//!
//! Records that were removed for want of room were not part of any plan, and no proof of what was written would miss them. So
//! a restore into such a namespace is looked at first as a whole: what goes is deleted before anything comes back, and when
//! the rest does not fit then, nothing is written at all.

use backstay_source::{Room, Target};

use crate::restore::writer::OwnedWrite;
use crate::{Error, Result};

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

    /// Refuses writes that would push records out. [`Error::NoRoom`].
    pub async fn check_room(&self, target: &dyn Target, name: &str) -> Result<()> {
        if self.inserted == 0 {
            return Ok(());
        }
        let Some(room) = target.room(name).await? else { return Ok(()) };
        match self.obstacle(room) {
            Some(why) => Err(Error::NoRoom { namespace: name.to_owned(), why }),
            None => Ok(()),
        }
    }

    fn obstacle(&self, room: Room) -> Option<String> {
        let over = |what: &str, more: i64, room: i64| {
            let now =
                if room < 0 { "it holds more than that already".to_owned() } else { format!("it has room for {room}") };
            format!("it would grow by {more} {what}, and its cap would push its oldest records out: {now}")
        };
        if self.records > room.records {
            return Some(over("records", self.records, room.records));
        }
        if self.bytes > room.bytes {
            return Some(over("bytes", self.bytes, room.bytes));
        }
        (self.inserted > MOST_INSERTED).then(|| {
            let most = MOST_INSERTED >> 20;
            format!(
                "{} bytes of records would come back; into a capped collection that exists {most} MiB is the most",
                self.inserted
            )
        })
    }
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
        let obstacle = |records, bytes| growth.obstacle(Room { records, bytes });
        assert_eq!(obstacle(0, 7), None);
        assert!(obstacle(0, 6).is_some_and(|why| why.contains("7 bytes")));
        assert!(obstacle(-1, 7).is_some_and(|why| why.contains("already")));
    }
}
