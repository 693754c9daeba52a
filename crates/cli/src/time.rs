//! Points in time as people write them.
//!
//! ```text
//!   latest                          everything that is held
//!   2026-11-21T14:03:05Z            RFC 3339: up to the END of that second
//!   1763733785:4                    SECONDS:ORDINAL, a tick of the source's own clock, exactly
//!   -2h  -90m  -1d12h               before now; a day is 24 hours
//!   "yesterday 14:00"  "today 09:30"  14:03  "2026-11-20 14:03:05"      in the local time zone
//! ```
//!
//! A source orders its changes by second and ordinal, so a wall-clock time always means the end of its second: "as of
//! 14:03:05" includes what happened in that second. For the same reason a fraction of a second is refused instead of
//! being rounded silently. A local time that a clock change skips or repeats is refused as well.
//!
//! Parsing knows no clock; [`TimeSpec::resolve`] is given the present.

use std::str::FromStr;

use backstay_model::Tick;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::failure::Failure;

/// Why a text is no point in time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    /// None of the forms.
    #[error("“{0}” is not a point in time")]
    Unrecognised(String),
    /// A time of day was expected.
    #[error("“{0}” is not a time of day between 00:00 and 23:59:59")]
    NotATimeOfDay(String),
    /// A date without a time of day.
    #[error("“{0}” has no time of day")]
    NoTimeOfDay(String),
    /// A time in RFC 3339 without an offset.
    #[error("“{0}” does not say in which time zone")]
    NoOffset(String),
    /// A fraction of a second.
    #[error("“{0}” has a fraction of a second, which no source's clock can tell")]
    Fraction(String),
    /// Before 1970 or after 2106.
    #[error("“{0}” lies outside the years 1970 to 2106")]
    OutOfRange(String),
    /// Skipped when the clocks went forward.
    #[error("{0} does not exist in the time zone {1}: the clocks went forward over it")]
    Skipped(DateTime, String),
    /// Repeated when the clocks went back.
    #[error("{0} happened twice in the time zone {1}: the clocks went back over it")]
    Repeated(DateTime, String),
}

impl TimeError {
    /// The next step.
    pub fn hint(&self) -> &'static str {
        match self {
            TimeError::Fraction(_) => "give a whole second, which means up to its end, or SECONDS:ORDINAL",
            TimeError::NoOffset(_) => {
                "add Z for UTC or an offset such as +01:00; with a space instead of the T it means local time"
            }
            TimeError::NoTimeOfDay(_) => "add one, such as “2026-11-21 14:03:05”",
            TimeError::Skipped(..) | TimeError::Repeated(..) => {
                "give the time with its offset, such as 2026-10-25T02:30:00+01:00"
            }
            TimeError::Unrecognised(_) | TimeError::NotATimeOfDay(_) | TimeError::OutOfRange(_) => {
                "times are 2026-11-21T14:03:05Z, SECONDS:ORDINAL, latest, -2h, “yesterday 14:00” or 14:03"
            }
        }
    }
}

impl From<TimeError> for Failure {
    fn from(error: TimeError) -> Failure {
        Failure::usage(error.to_string()).hint(error.hint())
    }
}

/// A point in time as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TimeSpec {
    /// Everything that is held.
    Latest,
    /// A tick of the source's own clock.
    Tick(Tick),
    /// A whole second since the Unix epoch, to its end.
    Second(u32),
    /// So many seconds before now.
    Ago(u32),
    /// A time of day in the local time zone.
    Local(Day, Time),
}

/// The day of a local time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Day {
    /// The day of now.
    Today,
    /// The day before.
    Yesterday,
    /// This one.
    On(Date),
}

/// A point in time of which nothing is left open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Everything that is held.
    Latest,
    /// Up to and with this tick.
    At(Tick),
}

impl FromStr for TimeSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<TimeSpec, String> {
        TimeSpec::parse(text).map_err(|error| format!("{error}; {}", error.hint()))
    }
}

impl TimeSpec {
    /// Reads any of the forms.
    ///
    /// # Errors
    /// When it is none of them, or one that cannot be kept exactly.
    pub fn parse(text: &str) -> Result<TimeSpec, TimeError> {
        let unrecognised = || TimeError::Unrecognised(text.to_owned());
        let trimmed = text.trim();
        if trimmed.is_empty() || !trimmed.is_ascii() {
            return Err(unrecognised());
        }
        let lower = trimmed.to_ascii_lowercase();
        if lower == "latest" {
            return Ok(TimeSpec::Latest);
        }
        if let Some(ago) = lower.strip_prefix('-') {
            return parse_ago(ago).map(TimeSpec::Ago).ok_or_else(unrecognised);
        }
        for (word, day) in [("today", Day::Today), ("yesterday", Day::Yesterday)] {
            if let Some(rest) = lower.strip_prefix(word) {
                return match rest.trim_start() {
                    "" => Err(TimeError::NoTimeOfDay(text.to_owned())),
                    time => parse_clock(time).map(|time| TimeSpec::Local(day, time)),
                };
            }
        }
        // A time of day has at most two digits before its first colon; a tick's seconds have ten for centuries.
        match lower.split_once(':') {
            Some((first, _)) if first.len() <= 2 => parse_clock(&lower).map(|time| TimeSpec::Local(Day::Today, time)),
            Some((first, _)) if first.bytes().all(|b| b.is_ascii_digit()) => {
                lower.parse().map(TimeSpec::Tick).map_err(|_| unrecognised())
            }
            _ => parse_dated(&lower, text),
        }
    }

    /// The point in time, given the present in the local time zone.
    ///
    /// # Errors
    /// When the local time does not exist or is not unique, or the result lies outside of what a tick can hold.
    pub fn resolve(&self, now: &Zoned) -> Result<Moment, TimeError> {
        let second = match self {
            TimeSpec::Latest => return Ok(Moment::Latest),
            TimeSpec::Tick(tick) => return Ok(Moment::At(*tick)),
            TimeSpec::Second(second) => *second,
            TimeSpec::Ago(ago) => {
                let instant = now.timestamp().as_second().saturating_sub(i64::from(*ago));
                u32::try_from(instant).map_err(|_| TimeError::OutOfRange(format!("-{ago}s")))?
            }
            TimeSpec::Local(day, time) => resolve_local(*day, *time, now)?,
        };
        Ok(Moment::At(Tick::end_of_second(second)))
    }
}

fn parse_ago(text: &str) -> Option<u32> {
    let mut total = 0u32;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit_on) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, next) = unit_on.split_at(1);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u32>().ok()?.checked_mul(seconds)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

fn parse_clock(text: &str) -> Result<Time, TimeError> {
    let wrong = || TimeError::NotATimeOfDay(text.to_owned());
    if text.contains(['.', ',']) {
        return Err(TimeError::Fraction(text.to_owned()));
    }
    let mut parts = text.split(':');
    let mut part = |digits: std::ops::RangeInclusive<usize>| -> Option<i8> {
        let part = parts.next()?;
        (digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let (hour, minute) = (part(1..=2).ok_or_else(wrong)?, part(2..=2).ok_or_else(wrong)?);
    let second = if text.matches(':').count() == 1 { 0 } else { part(2..=2).ok_or_else(wrong)? };
    if text.matches(':').count() > 2 {
        return Err(wrong());
    }
    Time::new(hour, minute, second, 0).map_err(|_| wrong())
}

/// Reads `DATE T TIME OFFSET` and `DATE TIME`; `text` is what the user wrote, `lower` the same in lower case.
fn parse_dated(lower: &str, text: &str) -> Result<TimeSpec, TimeError> {
    let unrecognised = || TimeError::Unrecognised(text.to_owned());
    let (date, rest) = lower.split_at_checked(10).ok_or_else(unrecognised)?;
    let date: Date = date.parse().map_err(|_| unrecognised())?;
    let Some(separator) = rest.chars().next() else {
        return Err(TimeError::NoTimeOfDay(text.to_owned()));
    };
    let clock = rest.strip_prefix(['t', ' ', '_']).ok_or_else(unrecognised)?;
    if clock.contains(['.', ',']) {
        return Err(TimeError::Fraction(text.to_owned()));
    }
    if clock.contains(['z', '+', '-']) {
        let instant: Timestamp = text.trim().parse().map_err(|_| unrecognised())?;
        let second = u32::try_from(instant.as_second()).map_err(|_| TimeError::OutOfRange(text.to_owned()))?;
        return Ok(TimeSpec::Second(second));
    }
    match separator {
        't' => Err(TimeError::NoOffset(text.to_owned())),
        _ => parse_clock(clock.trim_start()).map(|time| TimeSpec::Local(Day::On(date), time)),
    }
}

fn resolve_local(day: Day, time: Time, now: &Zoned) -> Result<u32, TimeError> {
    let today = now.date();
    let date = match day {
        Day::Today => today,
        Day::Yesterday => today.yesterday().map_err(|_| TimeError::OutOfRange(today.to_string()))?,
        Day::On(date) => date,
    };
    let local = date.to_datetime(time);
    let out_of_range = || TimeError::OutOfRange(local.to_string());
    let zone = now.time_zone();
    let zone_name = || zone.iana_name().unwrap_or("of this machine").to_owned();
    let ambiguous = zone.to_ambiguous_zoned(local);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { .. } => {}
        AmbiguousOffset::Gap { .. } => return Err(TimeError::Skipped(local, zone_name())),
        AmbiguousOffset::Fold { .. } => return Err(TimeError::Repeated(local, zone_name())),
    }
    let instant = ambiguous.compatible().map_err(|_| out_of_range())?.timestamp();
    u32::try_from(instant.as_second()).map_err(|_| out_of_range())
}

/// A tick for people: the wall-clock time in `zone`, and the tick itself where it says more than the whole second.
pub fn show(tick: Tick, zone: &TimeZone) -> String {
    let Ok(instant) = Timestamp::from_second(i64::from(tick.seconds())) else { return tick.to_string() };
    let local = instant.to_zoned(zone.clone());
    let wall = local.strftime("%Y-%m-%d %H:%M:%S %:z");
    match tick.ordinal() {
        u32::MAX => wall.to_string(),
        _ => format!("{wall} ({tick})"),
    }
}

/// The second of a tick in RFC 3339 and UTC: `2026-11-21T14:03:05Z`.
pub fn rfc3339(tick: Tick) -> String {
    // Every second that a tick can hold is within what a timestamp can hold.
    Timestamp::from_second(i64::from(tick.seconds())).map_or_else(|_| tick.to_string(), |instant| instant.to_string())
}

#[cfg(test)]
mod tests;
