use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Stamp {
    Stamp::parse_rfc3339(text).expect("a time in a test")
}

/// The message of a refusal and its hint, as they are printed.
fn refusal<T: fmt::Debug>(result: anyhow::Result<T>) -> String {
    let error = result.expect_err("refused");
    format!("{error:#}; {}", crate::hint::of(&error).join("; "))
}

#[test]
fn a_stamp_has_one_compact_text_and_one_of_rfc_3339() {
    let stamp = Stamp::parse_compact("20261120T020000Z").expect("a stamp");

    assert_eq!(stamp.to_string(), "20261120T020000Z");
    assert_eq!(stamp.rfc3339(), "2026-11-20T02:00:00Z");
    assert_eq!(stamp.seconds(), 1_795_140_000);
    assert_eq!(stamp, at("2026-11-20T02:00:00Z"));
}

#[test]
#[rustfmt::skip] // a table
fn a_stamp_written_in_any_other_way_is_refused() {
    for text in [
        "", "20261120T020000", "20261120T020000z", " 20261120T020000Z", "20261120T020000Z\n", "2026112T020000Z",
        "20260230T020000Z", "20261120T240000Z", "20261231T235960Z", "+20261120T020000Z", "19691231T235959Z",
        "00000101T000000Z", "２０２６1120T020000Z",
    ] {
        assert!(Stamp::parse_compact(text).is_err(), "{text:?}");
    }
    for text in [
        "2026-11-20", "2026-11-20T02:00Z", "2026-11-20 02:00:00Z", "2026-11-20T02:00:00.5Z",
        "2026-11-20T02:00:00+00:00", "2026-11-20T2:00:00Z", "20261120T020000Z", "12026-11-20T02:00:00Z",
    ] {
        assert!(Stamp::parse_rfc3339(text).is_err(), "{text:?}");
    }
    assert_eq!(
        refusal(Stamp::parse_rfc3339("2026-11-20T02:00:00+01:00")),
        "cannot read \"2026-11-20T02:00:00+01:00\" as a time like 2026-11-20T02:00:00Z; \
         write whole seconds in UTC, with a Z at the end"
    );
}

#[test]
fn stamps_reach_from_1970_to_the_last_second_of_9999() {
    assert_eq!(Stamp::MIN.rfc3339(), "1970-01-01T00:00:00Z");
    assert_eq!(Stamp::MAX.to_string(), "99991231T235959Z");
    assert_eq!(at("9999-12-31T23:59:59Z"), Stamp::MAX);
    assert_eq!(Stamp::from_seconds(-1), None);
    assert_eq!(Stamp::from_seconds(Stamp::MAX.seconds() + 1), None);
}

#[test]
fn a_broken_clock_gives_the_nearest_stamp() {
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);

    assert_eq!(Stamp::from(early), Stamp::MIN);
    assert_eq!(Stamp::from(late), Stamp::MAX);
}

#[test]
fn arithmetic_with_stamps_stops_at_their_ends() {
    let day = Duration::from_secs(86_400);

    assert_eq!(at("2028-02-28T12:00:00Z").checked_add(day), Some(at("2028-02-29T12:00:00Z")));
    assert_eq!(at("2027-01-01T00:00:00Z").checked_sub(day), Some(at("2026-12-31T00:00:00Z")));
    assert_eq!(Stamp::MAX.checked_add(day), None);
    assert_eq!(Stamp::MIN.checked_sub(Duration::MAX), None);
    assert_eq!(Stamp::MIN.saturating_add(Duration::MAX), Stamp::MAX);
    assert_eq!(Stamp::MAX.saturating_sub(Duration::MAX), Stamp::MIN);
    assert_eq!(at("2026-01-02T00:00:00Z").since(at("2026-01-01T00:00:00Z")), day);
    assert_eq!(Stamp::MIN.since(Stamp::MAX), Duration::ZERO);
}

#[test]
fn the_first_days_of_a_year_may_be_in_a_week_of_the_last() {
    assert_eq!(at("2026-11-20T02:00:00Z").iso_week(), "2026-W47");
    assert_eq!(at("2027-01-01T00:00:00Z").iso_week(), "2026-W53");
    assert_eq!(at("2024-12-30T00:00:00Z").iso_week(), "2025-W01");
    assert_eq!(Stamp::MIN.iso_week(), "1970-W01");
    assert_eq!(Stamp::MAX.iso_week(), "9999-W52");
}

#[test]
fn a_stamp_is_an_rfc_3339_string_in_json() {
    let json = serde_json::to_string(&at("2026-11-20T02:00:00Z")).expect("json");
    assert_eq!(json, "\"2026-11-20T02:00:00Z\"");

    let back: Stamp = serde_json::from_str(&json).expect("a stamp");
    assert_eq!(back, at("2026-11-20T02:00:00Z"));

    let error = serde_json::from_str::<Stamp>("\"tomorrow\"").expect_err("refused");
    assert!(error.to_string().starts_with("cannot read \"tomorrow\" as a time like"), "{error}");
}

#[test]
#[rustfmt::skip] // a table
fn durations_are_numbers_with_units() {
    for (text, seconds) in [
        ("30d", 30 * 86_400), ("36h", 36 * 3600), ("1h 30m", 5400), ("1h30m", 5400), ("1.5h", 5400),
        (" 90 min ", 5400), ("2weeks", 14 * 86_400), ("1months", 2_630_016), ("1y", 31_557_600), ("0", 0),
        ("0s", 0),
    ] {
        assert_eq!(parse_duration(text).expect(text), Duration::from_secs(seconds), "{text:?}");
    }
    assert_eq!(parse_duration("250ms").expect("ms"), Duration::from_millis(250));
    assert_eq!(parse_duration("5ns").expect("ns"), Duration::from_nanos(5));
}

#[test]
fn a_duration_without_a_unit_is_refused_with_a_hint() {
    assert_eq!(
        refusal(parse_duration("30")),
        "cannot read \"30\" as a duration: 30 has no unit; write a unit: 30d, 12h, 90m, 45s"
    );
    assert_eq!(
        refusal(parse_duration("1h 30")),
        "cannot read \"1h 30\" as a duration: 30 has no unit; write a unit: 30d, 12h, 90m, 45s"
    );
}

#[test]
fn a_capital_m_is_refused_because_it_may_be_months_or_minutes() {
    for text in ["3M", "3 M", "1y 3M", "3M 2d"] {
        assert_eq!(
            refusal(parse_duration(text)),
            format!(
                "cannot read {text:?} as a duration: M may be months or minutes; \
                 write months, or m for minutes"
            )
        );
    }
}

#[test]
#[rustfmt::skip] // a table
fn what_is_no_duration_is_refused() {
    for text in [
        "", " ", "d", "-1d", "+1d", "3 0d", "1.2.3h", ".5h", "1.h", "5 fortnights", "1d,2h", "30D", "1e3s",
        "d30", "99999999999999999999d", "18446744073709551615s 1000ms", "9999999999999y", "0.5ns", "1é", "٣d",
        "0 0",
    ] {
        let error = refusal(parse_duration(text));
        assert!(error.starts_with(&format!("cannot read {text:?} as a duration: ")), "{error}");
    }
}

#[test]
#[rustfmt::skip] // a table
fn sizes_follow_coreutils() {
    const KIB: u64 = 1024;
    for (text, bytes) in [
        ("123B", 123), ("4k", 4 * KIB), ("4K", 4 * KIB), ("4KiB", 4 * KIB), ("4KB", 4000), ("4kB", 4000),
        ("10M", 10 * KIB * KIB), ("512MiB", 512 * KIB * KIB), ("10MB", 10_000_000),
        ("10GiB", 10 * KIB * KIB * KIB), ("1GB", 1_000_000_000), ("1T", KIB.pow(4)), ("1PiB", KIB.pow(5)),
        ("1PB", 1_000_000_000_000_000), ("1.5GiB", 3 * KIB * KIB * KIB / 2), ("0.1K", 102),
        ("10 GiB", 10 * KIB * KIB * KIB), ("0", 0), ("0.0G", 0),
    ] {
        assert_eq!(parse_size(text).expect(text), bytes, "{text:?}");
    }
}

#[test]
fn a_size_without_a_unit_is_refused_with_a_hint() {
    assert_eq!(
        refusal(parse_size("4096")),
        "cannot read \"4096\" as a size: 4096 has no unit; write a unit: 10GiB, 512MiB, 4096B"
    );
}

#[test]
#[rustfmt::skip] // a table
fn what_is_no_size_is_refused() {
    for text in [
        "", "G", "-1G", "1GiBs", "1Ki", "1Gb/s", "1X", "1,5G", "1.G", ".5G", "1G 5M", "0x10K", "1e3K", "00",
        "٣K", "16384PiB", "99999999999999999999999999999999999999999K",
        "0.00000000000000000000000000000000000000001P", "0.0001K", "0.5B",
    ] {
        let error = refusal(parse_size(text));
        assert!(error.starts_with(&format!("cannot read {text:?} as a size: ")), "{error}");
    }
    assert_eq!(parse_size("16383PiB").expect("fits"), 16_383 << 50);
}

#[test]
#[rustfmt::skip] // a table
fn durations_read_short() {
    for (millis, text) in [
        (0, "0s"), (850, "850ms"), (1000, "1s"), (4250, "4.2s"), (12_900, "12s"), (59_999, "59s"),
        (300_000, "5m"), (90_000, "1m 30s"), (11_520_000, "3h 12m"), (86_400_000, "1d"), (187_200_000, "2d 4h"),
        (2_592_000_000, "30d"),
    ] {
        assert_eq!(duration(Duration::from_millis(millis)), text);
    }
}

#[test]
#[rustfmt::skip] // a table
fn sizes_read_short() {
    for (bytes, text) in [
        (0, "0 B"), (812, "812 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_503_238_554, "1.4 GiB"),
        (1_048_524, "1023.9 KiB"), (1_048_525, "1.0 MiB"), (u64::MAX, "16384.0 PiB"),
    ] {
        assert_eq!(size(bytes), text);
    }
}

#[test]
fn counts_have_their_thousands_separated() {
    for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")] {
        assert_eq!(count(n), text);
    }
}

proptest! {
    #[test]
    fn every_stamp_reads_back_and_its_texts_sort_as_it_does(
        a in 0..=Stamp::MAX.0,
        b in 0..=Stamp::MAX.0,
    ) {
        let (a, b) = (Stamp(a), Stamp(b));

        prop_assert_eq!(Stamp::parse_compact(&a.to_string()).ok(), Some(a));
        prop_assert_eq!(Stamp::parse_rfc3339(&a.rfc3339()).ok(), Some(a));
        prop_assert_eq!(Stamp::from(a.to_system_time()), a);
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(a.cmp(&b), a.rfc3339().cmp(&b.rfc3339()));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "[0-9.]{0,22}[ A-Za-zµé]{0,4}[0-9.]{0,22}[a-zA-Z]{0,3}|.*") {
        let _ = (parse_duration(&text).is_ok(), parse_size(&text).is_ok());
        let _ = (Stamp::parse_compact(&text).is_ok(), Stamp::parse_rfc3339(&text).is_ok());
    }

    #[test]
    fn a_printed_size_reads_back_as_nearly_the_same(bytes in 0..u64::MAX / 2) {
        let back = parse_size(&size(bytes)).expect("a size");

        prop_assert!(back.abs_diff(bytes) <= bytes / 20, "{bytes} {back}");
    }

    #[test]
    fn a_printed_duration_reads_back_as_no_longer(millis in 0..u64::MAX / 1000) {
        let printed = Duration::from_millis(millis);
        let back = parse_duration(&duration(printed)).expect("a duration");

        prop_assert!(back <= printed && printed - back <= printed / 10, "{printed:?} {back:?}");
    }
}

#[test]
fn one_thing_is_not_several() {
    assert_eq!(things(1, "table"), "1 table");
    assert_eq!(things(0, "row"), "0 rows");
    assert_eq!(things(1234, "row"), "1,234 rows");
}
