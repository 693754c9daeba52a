#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// 2026-11-21 14:30:00 in Vienna, 13:30:00 UTC.
fn now() -> Zoned {
    "2026-11-21T14:30:00.75+01:00[Europe/Vienna]".parse().unwrap()
}

fn at(text: &str) -> Result<Moment, TimeError> {
    TimeSpec::parse(text)?.resolve(&now())
}

/// The end of the second that RFC 3339 writes so.
fn end_of(rfc3339: &str) -> Result<Moment, TimeError> {
    let instant: Timestamp = rfc3339.parse().unwrap();
    Ok(Moment::At(Tick::end_of_second(u32::try_from(instant.as_second()).unwrap())))
}

#[test]
fn every_form_means_what_the_contract_says() {
    for (text, meaning) in [
        ("2026-11-21T14:03:05Z", "2026-11-21T14:03:05Z"),
        ("2026-11-21t14:03:05z", "2026-11-21T14:03:05Z"),
        ("2026-11-21T14:03:05+01:00", "2026-11-21T13:03:05Z"),
        ("2026-11-21 14:03:05-05:00", "2026-11-21T19:03:05Z"),
        ("-2h", "2026-11-21T11:30:00Z"),
        ("-90m", "2026-11-21T12:00:00Z"),
        ("-3d", "2026-11-18T13:30:00Z"),
        ("-1d12h", "2026-11-20T01:30:00Z"),
        ("-1w", "2026-11-14T13:30:00Z"),
        ("-0s", "2026-11-21T13:30:00Z"),
        ("yesterday 14:00", "2026-11-20T13:00:00Z"),
        ("Today 09:30", "2026-11-21T08:30:00Z"),
        ("today  9:30:15", "2026-11-21T08:30:15Z"),
        ("14:03", "2026-11-21T13:03:00Z"),
        (" 14:03:05 ", "2026-11-21T13:03:05Z"),
        ("2026-07-01 14:03", "2026-07-01T12:03:00Z"),
    ] {
        assert_eq!(at(text), end_of(meaning), "{text}");
    }
    assert_eq!(at("latest"), Ok(Moment::Latest));
    assert_eq!(at("LATEST"), Ok(Moment::Latest));
    assert_eq!(at("1763733785:4"), Ok(Moment::At(Tick::new(1_763_733_785, 4))));
    assert_eq!(at("100:00"), Ok(Moment::At(Tick::new(100, 0))));
}

#[test]
fn what_cannot_be_kept_exactly_is_refused() {
    let text = |t: &str| t.to_owned();
    for fraction in ["2026-11-21T14:03:05.250Z", "14:03:05.2", "2026-11-21 14:03:05,5"] {
        assert_eq!(at(fraction), Err(TimeError::Fraction(text(fraction))), "{fraction}");
    }
    assert_eq!(at("2026-11-21T14:03:05"), Err(TimeError::NoOffset(text("2026-11-21T14:03:05"))));
    assert_eq!(at("2026-11-21"), Err(TimeError::NoTimeOfDay(text("2026-11-21"))));
    assert_eq!(at("yesterday"), Err(TimeError::NoTimeOfDay(text("yesterday"))));
    assert_eq!(at("1969-12-31T23:59:59Z"), Err(TimeError::OutOfRange(text("1969-12-31T23:59:59Z"))));
    assert!(matches!(at("2107-01-01T00:00:00Z"), Err(TimeError::OutOfRange(_))));
}

#[test]
fn nonsense_is_refused() {
    for text in [
        "",
        "-",
        "-2",
        "-2y",
        "-99999999999h",
        "soon",
        "1763733785",
        "1:2:3:4",
        "1763733785:x",
        "24:00",
        "14:60",
        "14:3",
        "noon",
        "2026-13-01 10:00",
        "2026-11-21x10:00",
        "yesterday noon",
        "vorgestern um drei Üh",
        "+2h",
    ] {
        assert!(at(text).is_err(), "{text}");
    }
}

#[test]
fn a_local_time_that_a_clock_change_skips_or_repeats_is_refused() {
    assert!(matches!(at("2026-03-29 02:30"), Err(TimeError::Skipped(..))));
    assert!(matches!(at("2026-10-25 02:30"), Err(TimeError::Repeated(..))));
    let said = at("2026-10-25 02:30").unwrap_err().to_string();
    assert_eq!(said, "2026-10-25T02:30:00 happened twice in the time zone Europe/Vienna: the clocks went back over it");
}

#[test]
fn people_read_the_wall_clock_and_the_tick() {
    let zone = now().time_zone().clone();
    assert_eq!(show(Tick::new(1_763_733_785, 4), &zone), "2025-11-21 15:03:05 +01:00 (1763733785:4)");
    assert_eq!(show(Tick::end_of_second(1_763_733_785), &zone), "2025-11-21 15:03:05 +01:00");
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC{0,40}") {
        let _ = at(&text);
    }

    #[test]
    fn near_misses_never_panic(text in "[-+0-9:TZz. ydhmslate]{0,30}") {
        let _ = at(&text);
    }

    #[test]
    fn a_tick_reads_back_what_it_writes(seconds in 100u32.., ordinal: u32) {
        let tick = Tick::new(seconds, ordinal);
        prop_assert_eq!(at(&tick.to_string()), Ok(Moment::At(tick)));
    }

    #[test]
    fn a_second_reads_back_in_any_zone(seconds: u32, offset in -12i8..=14) {
        let zone = TimeZone::fixed(jiff::tz::offset(offset));
        let zoned = Timestamp::from_second(i64::from(seconds)).unwrap().to_zoned(zone);
        let text = zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        prop_assert_eq!(at(&text), Ok(Moment::At(Tick::end_of_second(seconds))), "{}", text);
    }
}
