use proptest::prelude::*;

use super::*;

fn schedule(expression: &str, zone: &str) -> Schedule {
    Schedule::new(expression, zone).unwrap()
}

/// Reads a time in UTC.
fn at(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().unwrap();
    Timestamp(u64::try_from(time.as_millisecond()).unwrap())
}

/// The times of a schedule after a moment, in UTC.
fn next(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(expression, zone);
    let all = std::iter::successors(schedule.next_after(at(after)), |&moment| schedule.next_after(moment));
    all.take(count).map(|moment| moment.to_string().replace(":00.000Z", "")).collect()
}

#[test]
fn the_fields_are_those_of_a_crontab() {
    assert_eq!(
        next("*/5 * * * *", "UTC", "2026-03-01T10:03:00Z", 2),
        ["2026-03-01T10:05", "2026-03-01T10:10"]
    );
    assert_eq!(
        next("*/5 * * * *", "UTC", "2026-03-01T10:05:00Z", 1),
        ["2026-03-01T10:10"],
        "never the same again"
    );
    assert_eq!(
        next("30 2 * * mon-fri", "UTC", "2026-03-06T03:00:00Z", 1),
        ["2026-03-09T02:30"],
        "Monday is 1"
    );
    assert_eq!(
        next("0 0 * * 7", "UTC", "2026-03-02T00:00:00Z", 1),
        ["2026-03-08T00:00"],
        "Sunday is 0 and 7"
    );
    assert_eq!(
        next("0 0 13 * 5", "UTC", "2026-03-01T00:00:00Z", 2),
        ["2026-03-06T00:00", "2026-03-13T00:00"],
        "either day"
    );
    assert_eq!(next("0 0 29 2 *", "UTC", "2026-03-01T00:00:00Z", 1), ["2028-02-29T00:00"]);
    assert_eq!(next("@daily", "UTC", "2026-03-01T10:00:00Z", 1), ["2026-03-02T00:00"]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let failed = |expression, zone| Schedule::new(expression, zone).unwrap_err().to_string();
    assert!(failed("* * * *", "UTC").starts_with("`* * * *` is not five fields of a crontab: "));
    assert!(failed("0 * * * * *", "UTC").contains("is not five fields"), "no seconds");
    assert!(failed("61 * * * *", "UTC").contains("is not five fields"));
    assert_eq!(failed("0 0 31 2 *", "UTC"), "`0 0 31 2 *` never comes: there is no such day");
    assert_eq!(failed("* * * * *", "Europe/Bielefeld"), "there is no time zone `Europe/Bielefeld`");
}

#[test]
fn a_job_of_a_fixed_time_runs_once_a_day_when_the_clock_is_set() {
    let berlin = "Europe/Berlin";
    // In spring 02:30 does not exist on the 29th: it runs when the hour that is left out would be over, at 03:00.
    assert_eq!(
        next("30 2 * * *", berlin, "2026-03-27T12:00:00Z", 3),
        ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]
    );
    // In autumn 02:30 comes twice on the 25th.
    assert_eq!(
        next("30 2 * * *", berlin, "2026-10-23T12:00:00Z", 3),
        ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]
    );
    // What runs every so often goes on by the time that passes.
    assert_eq!(
        next("*/30 * * * *", berlin, "2026-10-25T00:00:00Z", 4),
        ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"]
    );
}

#[test]
fn the_last_one_of_a_long_time_is_found() {
    let (after, until) = (at("2025-01-01T00:00:00Z"), at("2026-06-01T12:34:56Z"));
    let last =
        |expression: &str| schedule(expression, "UTC").last_between(after, until).map(|it| it.to_string());
    assert_eq!(last("* * * * *").unwrap(), "2026-06-01T12:34:00.000Z");
    assert_eq!(last("0 0 1 1 *").unwrap(), "2026-01-01T00:00:00.000Z");
    assert_eq!(last("0 0 29 2 *"), None);
    assert_eq!(schedule("0 12 * * *", "UTC").last_between(at("2026-06-01T12:00:00Z"), until), None);
}

#[test]
fn what_an_older_release_cannot_read_is_never_due() {
    let odd = Schedule { expression: "every now and then".into(), ..schedule("* * * * *", "UTC") };
    assert_eq!(odd.next_after(Timestamp(0)), None);
    assert_eq!(odd.last_between(Timestamp(0), Timestamp(u64::MAX)), None);
}

#[test]
fn no_moment_makes_it_panic() {
    let minute = schedule("* * * * *", "Pacific/Apia");
    for moment in [0, 1, 253_402_300_799_000, 253_402_300_800_000, u64::MAX] {
        let _ = minute.next_after(Timestamp(moment));
        let _ = minute.last_between(Timestamp(moment / 2), Timestamp(moment));
    }
}

fn expressions() -> impl Strategy<Value = String> {
    let minute =
        prop_oneof![Just("*".to_owned()), Just("*/7".to_owned()), (0..60_u8).prop_map(|it| it.to_string())];
    let hour =
        prop_oneof![Just("*".to_owned()), Just("*/5".to_owned()), (0..24_u8).prop_map(|it| it.to_string())];
    let day = prop_oneof![3 => Just("*".to_owned()), 1 => (1..29_u8).prop_map(|it| it.to_string())];
    let weekday = prop_oneof![3 => Just("*".to_owned()), 1 => (0..8_u8).prop_map(|it| it.to_string())];
    (minute, hour, day, weekday).prop_map(|(m, h, d, w)| format!("{m} {h} {d} * {w}"))
}

fn zones() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "America/Sao_Paulo",
        "Africa/Casablanca",
    ])
}

proptest! {
    /// The times of a schedule are one line: from whatever moment it is asked, it is the same line.
    #[test]
    fn the_next_time_does_not_depend_on_who_asks_when(
        expression in expressions(), zone in zones(),
        start in 1_700_000_000_000_u64..1_900_000_000_000, share in 0.0_f64..1.0,
    ) {
        let schedule = schedule(&expression, zone);
        let first = schedule.next_after(Timestamp(start)).unwrap();
        prop_assert!(first > Timestamp(start));
        prop_assert_eq!(first.0 % 60_000, 0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a span")]
        let between = Timestamp(start + ((first.0 - start) as f64 * share) as u64);
        if between < first {
            prop_assert_eq!(schedule.next_after(between), Some(first));
        }
    }

    /// The last one is what going through all of them finds.
    #[test]
    fn the_last_time_is_the_last_of_all(
        expression in expressions(), zone in zones(),
        start in 1_700_000_000_000_u64..1_900_000_000_000, span in 0_u64..1_000_000_000,
    ) {
        let schedule = schedule(&expression, zone);
        let (after, until) = (Timestamp(start), Timestamp(start + span));
        let all = std::iter::successors(schedule.next_after(after), |&at| schedule.next_after(at));
        let walked = all.take_while(|&at| at <= until).last();
        prop_assert_eq!(schedule.last_between(after, until), walked);
    }
}
