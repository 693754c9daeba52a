//! `sources: NAME: pace:`, how fast a source may be scanned, and in which hours.
//!
//! ```yaml
//! pace:
//!   mbytes_per_second: 40           # default: no limit
//!   latency_target_ms: 50           # the default; 0 turns it off
//!   latency_ceiling_ms: 500         # the default; 0 turns it off
//!   off_peak: ["22:00-06:00"]       # local time; default: all day
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use backstay_engine::{ClosedFor, Pace};
use jiff::Zoned;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// Up to this mean time the source's users may wait for their writes while it is scanned, unless it is said otherwise.
const TARGET_MS: u64 = 50;
/// The same for the bound above which a scan all but stops.
const CEILING_MS: u64 = 500;
const DAY: i64 = 24 * 60;

/// `pace:` as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct PaceSection {
    mbytes_per_second: Option<f64>,
    latency_target_ms: Option<u64>,
    latency_ceiling_ms: Option<u64>,
    #[serde(default)]
    off_peak: Vec<String>,
}

/// How fast a source may be scanned, and when.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PaceConfig {
    /// At most so many million bytes of records a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mbytes_per_second: Option<f64>,
    /// Above this mean time of the users' writes the scan slows down; 0 for no such bound.
    pub latency_target_ms: u64,
    /// Above this it all but stops; 0 for no such bound.
    pub latency_ceiling_ms: u64,
    /// The hours in which it is scanned; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub off_peak: Vec<Hours>,
}

impl PaceConfig {
    /// Checks the section; problems go to `complain` with the setting's name.
    pub fn check(section: PaceSection, mut complain: impl FnMut(&str, String)) -> PaceConfig {
        let mbytes_per_second = section.mbytes_per_second.filter(|limit| {
            let is_sound = limit.is_finite() && *limit > 0.0;
            if !is_sound {
                complain("mbytes_per_second", "it is not a number above 0".to_owned());
            }
            is_sound
        });
        let latency_target_ms = section.latency_target_ms.unwrap_or(TARGET_MS);
        let latency_ceiling_ms = section.latency_ceiling_ms.unwrap_or(CEILING_MS.max(latency_target_ms));
        if latency_ceiling_ms > 0 && latency_ceiling_ms < latency_target_ms {
            let problem = format!("it is below latency_target_ms, which is {latency_target_ms}");
            complain("latency_ceiling_ms", problem);
        }
        let mut off_peak = Vec::new();
        for hours in section.off_peak {
            match hours.parse() {
                Ok(hours) => off_peak.push(hours),
                Err(problem) => complain("off_peak", problem),
            }
        }
        PaceConfig { mbytes_per_second, latency_target_ms, latency_ceiling_ms, off_peak }
    }

    /// The pace that the engine keeps. With `at_any_hour`, `off_peak` is left out.
    pub fn pace(&self, at_any_hour: bool, zone: &TimeZone) -> Pace {
        let bound = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        let closed_for = (!at_any_hour && !self.off_peak.is_empty()).then(|| -> ClosedFor {
            let (hours, zone) = (self.off_peak.clone(), zone.clone());
            Arc::new(move || closed_for(&hours, &jiff::Timestamp::now().to_zoned(zone.clone())))
        });
        Pace {
            bytes_per_second: self.mbytes_per_second.map(|mega| mega * 1e6),
            target: bound(self.latency_target_ms),
            ceiling: bound(self.latency_ceiling_ms),
            closed_for,
        }
    }
}

/// Hours of every day, in local time; they may pass midnight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours {
    /// Minutes from midnight.
    from: i64,
    to: i64,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Hours, String> {
        let minutes = |part: &str| {
            let part = part.trim();
            if part == "24:00" {
                return Some(DAY);
            }
            let time = Time::strptime("%H:%M", part).ok()?;
            Some(i64::from(time.hour()) * 60 + i64::from(time.minute()))
        };
        let (from, to) = text
            .split_once('-')
            .and_then(|(from, to)| Some((minutes(from)?, minutes(to)?)))
            .ok_or_else(|| format!("“{text}” are no hours such as 22:00-06:00"))?;
        if from == to || from == DAY {
            return Err(format!("“{text}” are no hours at all"));
        }
        Ok(Hours { from, to })
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}-{:02}:{:02}", self.from / 60, self.from % 60, self.to / 60, self.to % 60)
    }
}

impl Serialize for Hours {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Hours {
    /// Seconds until they begin; 0 within them.
    fn seconds_until(self, second_of_day: i64) -> i64 {
        let minute = second_of_day / 60;
        let is_within = match self.from < self.to {
            true => (self.from..self.to).contains(&minute),
            false => minute >= self.from || minute < self.to,
        };
        if is_within { 0 } else { (self.from * 60 - second_of_day).rem_euclid(DAY * 60) }
    }
}

/// How long it is until the first of these hours. On a day on which clocks are changed it may be an hour off, and is
/// looked up again every few seconds.
fn closed_for(hours: &[Hours], now: &Zoned) -> Duration {
    let second = (i64::from(now.hour()) * 60 + i64::from(now.minute())) * 60 + i64::from(now.second());
    let wait = hours.iter().map(|hours| hours.seconds_until(second)).min().unwrap_or(0);
    Duration::from_secs(wait.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(text: &str) -> Hours {
        text.parse().unwrap()
    }

    #[test]
    fn hours_are_read_and_shown() {
        assert_eq!(hours("22:00-06:00"), Hours { from: 1320, to: 360 });
        assert_eq!(hours(" 0:00 - 24:00").to_string(), "00:00-24:00");
        for wrong in ["22:00", "22-6", "25:00-26:00", "06:00-06:00", "24:00-06:00", "x-y", "", "06:60-07:00"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn closed_hours_end_when_the_next_open_ones_begin() {
        let night = [hours("22:00-06:00"), hours("12:30-13:00")];
        let at = |time: &str| {
            let now: jiff::civil::DateTime = format!("2026-11-21T{time}").parse().unwrap();
            closed_for(&night, &now.to_zoned(TimeZone::UTC).unwrap()).as_secs()
        };
        assert_eq!((at("23:59:59"), at("00:00:00"), at("05:59:59"), at("12:45:00")), (0, 0, 0, 0));
        assert_eq!(at("06:00:00"), 6 * 3600 + 1800);
        assert_eq!(at("12:29:50"), 10);
        assert_eq!(at("13:00:00"), 9 * 3600);
    }

    #[test]
    fn what_is_not_said_is_kind_and_what_cannot_be_is_named() {
        let mut problems = Vec::new();
        let kind = PaceConfig::check(PaceSection::default(), |_, problem| problems.push(problem));
        assert_eq!((kind.latency_target_ms, kind.latency_ceiling_ms, problems.len()), (50, 500, 0));
        let slow = PaceSection { latency_target_ms: Some(900), ..PaceSection::default() };
        let slow = PaceConfig::check(slow, |_, problem| problems.push(problem));
        assert_eq!((slow.latency_ceiling_ms, problems.len()), (900, 0));
        let wrong = PaceSection {
            mbytes_per_second: Some(-1.0),
            latency_target_ms: Some(90),
            latency_ceiling_ms: Some(80),
            off_peak: vec!["always".to_owned()],
        };
        PaceConfig::check(wrong, |setting, problem| problems.push(format!("{setting}: {problem}")));
        assert_eq!(
            problems,
            [
                "mbytes_per_second: it is not a number above 0",
                "latency_ceiling_ms: it is below latency_target_ms, which is 90",
                "off_peak: “always” are no hours such as 22:00-06:00",
            ]
        );
    }
}
