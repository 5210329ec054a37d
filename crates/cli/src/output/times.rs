//! Times and durations for people.

use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_domain::Timestamp;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// Asks the clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Writes how long ago a point in time is, in its largest unit; later points are "just now", because clocks differ.
pub(crate) fn ago(now: Timestamp, at: Timestamp) -> String {
    match now.since_ms(at) {
        0..MINUTE_MS if now.since_ms(at) < 5 * SECOND_MS => "just now".to_owned(),
        ms => format!("{} ago", rough(ms)),
    }
}

/// Writes how long it is until a point in time, in its largest unit.
pub(crate) fn until(now: Timestamp, at: Timestamp) -> String {
    match at.since_ms(now) {
        0 => "over".to_owned(),
        ms => format!("for {}", rough(ms)),
    }
}

/// Writes in how long a point in time is, in its largest unit.
pub(crate) fn ahead(now: Timestamp, at: Timestamp) -> String {
    match at.since_ms(now) {
        0..SECOND_MS => "now".to_owned(),
        ms => format!("in {}", rough(ms)),
    }
}

fn rough(ms: u64) -> String {
    let (count, unit) = match ms {
        0..MINUTE_MS => (ms / SECOND_MS, "s"),
        MINUTE_MS..HOUR_MS => (ms / MINUTE_MS, "min"),
        HOUR_MS..DAY_MS => (ms / HOUR_MS, "h"),
        _ if ms < 2 * DAY_MS => (1, "day"),
        _ => (ms / DAY_MS, "days"),
    };
    format!("{count} {unit}")
}

/// Writes how long something took: `850 ms`, `4.2 s`, `3 min 7 s`, `2 h 5 min`.
pub(crate) fn took(ms: u64) -> String {
    match ms {
        0..SECOND_MS => format!("{ms} ms"),
        SECOND_MS..MINUTE_MS => format!("{}.{} s", ms / SECOND_MS, ms % SECOND_MS / 100),
        MINUTE_MS..HOUR_MS => format!("{} min {} s", ms / MINUTE_MS, ms % MINUTE_MS / SECOND_MS),
        _ => format!("{} h {} min", ms / HOUR_MS, ms % HOUR_MS / MINUTE_MS),
    }
}

/// Writes a duration as it can be typed again: `250ms`, `30s`, `90s`, `1h30m`.
pub(crate) fn exact(ms: u64) -> String {
    if ms == 0 || !ms.is_multiple_of(SECOND_MS) {
        return format!("{ms}ms");
    }
    let parts = [
        (ms / DAY_MS, "d"),
        (ms % DAY_MS / HOUR_MS, "h"),
        (ms % HOUR_MS / MINUTE_MS, "m"),
        (ms % MINUTE_MS / SECOND_MS, "s"),
    ];
    let shown = parts.iter().filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count}{unit}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_rough() {
        let age = |ms| ago(Timestamp(10 * DAY_MS), Timestamp(10 * DAY_MS - ms));
        assert_eq!(age(0), "just now");
        assert_eq!(age(42 * SECOND_MS), "42 s ago");
        assert_eq!(age(3 * MINUTE_MS + 59), "3 min ago");
        assert_eq!(age(5 * HOUR_MS), "5 h ago");
        assert_eq!(age(DAY_MS), "1 day ago");
        assert_eq!(age(3 * DAY_MS), "3 days ago");
        assert_eq!(ago(Timestamp(5), Timestamp(9_000)), "just now");
        assert_eq!(until(Timestamp(0), Timestamp(90 * SECOND_MS)), "for 1 min");
        assert_eq!(until(Timestamp(9), Timestamp(3)), "over");
    }

    #[test]
    fn durations_are_shown_at_a_useful_precision() {
        assert_eq!(took(9), "9 ms");
        assert_eq!(took(4_260), "4.2 s");
        assert_eq!(took(3 * MINUTE_MS + 7_000), "3 min 7 s");
        assert_eq!(took(2 * HOUR_MS + 5 * MINUTE_MS), "2 h 5 min");
    }
}
