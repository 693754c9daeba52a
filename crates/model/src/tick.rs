//! Positions in a source's own ordering.
//!
//! A [`Tick`] is the source's clock: for MongoDB the cluster time, seconds since the Unix epoch and an ordinal within
//! that second, packed so that integer order is time order. A [`Version`] adds the place of one change inside an entry
//! that carries several (a transaction commits at one tick and changes many records).

use std::fmt;
use std::str::FromStr;

/// A source's own ordering position: `seconds << 32 | ordinal`. Written `SECONDS:ORDINAL`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(u64);

impl Tick {
    /// Before every change.
    pub const ZERO: Tick = Tick(0);
    /// After every change.
    pub const MAX: Tick = Tick(u64::MAX);

    /// The tick at `ordinal` within the second `seconds` after the Unix epoch.
    pub const fn new(seconds: u32, ordinal: u32) -> Tick {
        Tick(((seconds as u64) << 32) | ordinal as u64)
    }

    /// The last tick of the second `seconds`: what an operator means by "as of 14:03:05".
    pub const fn end_of_second(seconds: u32) -> Tick {
        Tick::new(seconds, u32::MAX)
    }

    /// The tick with this packed value, as [`Tick::to_u64`] gives it.
    pub const fn from_u64(packed: u64) -> Tick {
        Tick(packed)
    }

    /// `seconds << 32 | ordinal`.
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// Seconds since the Unix epoch.
    pub const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The position within the second.
    pub const fn ordinal(self) -> u32 {
        (self.0 & 0xFFFF_FFFF) as u32
    }

    /// The next tick, or this one when it is the last.
    pub const fn next(self) -> Tick {
        Tick(self.0.saturating_add(1))
    }

    /// The tick before this one, or zero.
    pub const fn previous(self) -> Tick {
        Tick(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seconds(), self.ordinal())
    }
}

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not `SECONDS:ORDINAL` with two unsigned 32-bit numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("“{0}” is not a tick: expected SECONDS:ORDINAL, such as 1700000000:1")]
pub struct ParseTickError(pub String);

impl FromStr for Tick {
    type Err = ParseTickError;

    fn from_str(text: &str) -> Result<Tick, ParseTickError> {
        let wrong = || ParseTickError(text.to_owned());
        let (seconds, ordinal) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Tick::new(seconds.parse().map_err(|_| wrong())?, ordinal.parse().map_err(|_| wrong())?))
    }
}

/// One change's place in history: the tick it became visible at, and its ordinal among the changes of that tick.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Version {
    /// When the change became visible.
    pub tick: Tick,
    /// Its place among the changes of the same tick, from 0.
    pub ordinal: u32,
}

/// The ordinals from here on are those of scans: no instant has as many changes.
const SCANNED: u32 = 1 << 31;

impl Version {
    /// The version at `tick` with `ordinal`.
    pub const fn new(tick: Tick, ordinal: u32) -> Version {
        Version { tick, ordinal }
    }

    /// The version of a record image read by a snapshot at `tick`, `position` records after the first in the order in
    /// which they arrived: above every change of that tick, below [`Version::snapshot`].
    pub const fn scanned(tick: Tick, position: u32) -> Version {
        let ordinal = SCANNED.saturating_add(position);
        Version { tick, ordinal: if ordinal == u32::MAX { u32::MAX - 1 } else { ordinal } }
    }

    /// True for what a scan read, false for what a change left behind.
    pub const fn is_scanned(self) -> bool {
        self.ordinal >= SCANNED
    }

    /// The version of a record image read by a snapshot at `tick`: above every change of that tick.
    pub const fn snapshot(tick: Tick) -> Version {
        Version { tick, ordinal: u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_reads_back_what_it_writes() {
        let tick = Tick::new(1_700_000_000, 7);
        assert_eq!(tick.to_string(), "1700000000:7");
        assert_eq!("1700000000:7".parse(), Ok(tick));
        assert!("1700000000".parse::<Tick>().is_err());
        assert!("1:2:3".parse::<Tick>().is_err());
    }

    #[test]
    fn a_second_ends_after_all_its_ticks() {
        assert!(Tick::end_of_second(5) > Tick::new(5, 1_000_000));
        assert!(Tick::end_of_second(5) < Tick::new(6, 0));
    }

    #[test]
    fn a_snapshot_stands_above_the_changes_of_its_tick() {
        let tick = Tick::new(5, 1);
        assert!(Version::snapshot(tick) > Version::new(tick, 99_999));
        assert!(Version::scanned(tick, 0) > Version::new(tick, 99_999) && Version::scanned(tick, 0).is_scanned());
        assert!(Version::scanned(tick, 1) > Version::scanned(tick, 0) && !Version::new(tick, 99_999).is_scanned());
        assert!(Version::scanned(tick, u32::MAX) < Version::snapshot(tick) && Version::snapshot(tick).is_scanned());
        assert!(Version::snapshot(tick) < Version::new(tick.next(), 0));
    }
}
