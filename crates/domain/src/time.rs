//! Points in time as data: milliseconds since 1970 in UTC. The domain never asks a clock.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default, JsonSchema,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Returns the point that lies `ms` milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Reads RFC 3339 with any offset; nothing before 1970 and after what a calendar has.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let read = text.parse::<jiff::Timestamp>().ok()?;
        u64::try_from(read.as_millisecond()).ok().map(Self)
    }

    /// Returns the milliseconds from `earlier` to this point, or 0 when it is not earlier.
    #[must_use]
    pub const fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The names of the months in dates for people.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Timestamp {
    /// Returns year, month and day in UTC, by Hinnant's `civil_from_days`.
    const fn date(self) -> (u64, u64, u64) {
        let days = self.0 / 86_400_000 + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_index = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_index + 2) / 5 + 1;
        let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
        let in_next_year = if month <= 2 { 1 } else { 0 };
        (year_of_era + era * 400 + in_next_year, month, day)
    }

    /// Writes a day and a time for people, in UTC: `24 Nov 14:05`.
    #[must_use]
    pub fn day(self) -> String {
        let (_, month, day) = self.date();
        let name = usize::try_from(month).ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
        let minutes = self.0 / 60_000;
        format!("{day} {} {:02}:{:02}", name.unwrap_or(&""), minutes / 60 % 24, minutes % 60)
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let in_day = self.0 % 86_400_000;
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, ms) = (in_day / 1_000 % 60, in_day % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_a_day_for_people() {
        assert_eq!(Timestamp(951_782_400_001).day(), "29 Feb 00:00");
        assert_eq!(Timestamp(1_767_225_599_999).day(), "31 Dec 23:59");
    }

    #[test]
    fn what_is_written_is_read_with_any_offset() {
        for point in [Timestamp(0), Timestamp(951_782_400_001), Timestamp(1_767_225_599_999)] {
            assert_eq!(Timestamp::read(&point.to_string()), Some(point));
        }
        assert_eq!(Timestamp::read("1970-01-01T02:00:01+02:00"), Some(Timestamp(1_000)));
        for bad in ["", "2026-12-01", "2026-12-01T10:00:00", "1969-12-31T23:59:59Z", "tomorrow"] {
            assert_eq!(Timestamp::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn prints_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(951_782_400_001).to_string(), "2000-02-29T00:00:00.001Z");
        assert_eq!(Timestamp(1_767_225_599_999).to_string(), "2025-12-31T23:59:59.999Z");
    }
}
