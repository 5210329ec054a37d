//! Schedules: the times at which a job runs, written as in a crontab, on the clock of a place.
//!
//! The search for the next time is that of `croner`, which follows Vixie cron when a clock is set for the summer: a job of a fixed time that
//! falls into the hour that is left out runs when that hour would be over, and one in the hour that comes twice runs once.
//! `*` and steps in the field of minutes or hours go by the time that really passes.

use std::cmp::Ordering;
use std::fmt;

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::time::{CivilDate, CivilDateTime, CivilTime, CronDateTime, Resolution, Weekday};
use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ZonedDateTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::time::Timestamp;

/// The zone of a schedule that names none.
pub const USUAL_ZONE: &str = "UTC";
/// A run that begins later than this after its time was missed: nobody was there to begin it.
pub const MISSED_AFTER_MS: u64 = 60_000;

/// When a job runs, and what becomes of a run that cannot begin at its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Minute, hour, day of the month, month and day of the week, as in a crontab.
    pub expression: String,
    /// The time zone by its name in the IANA database.
    #[serde(default = "usual_zone", skip_serializing_if = "is_usual_zone")]
    pub zone: String,
    /// What becomes of a run whose time passed while nobody was there to begin it.
    #[serde(default, skip_serializing_if = "Missed::is_usual")]
    pub missed: Missed,
    /// What becomes of a run whose time comes while the one before still goes on.
    #[serde(default, skip_serializing_if = "Overlap::is_usual")]
    pub overlap: Overlap,
}

fn usual_zone() -> String {
    USUAL_ZONE.to_owned()
}

fn is_usual_zone(zone: &String) -> bool {
    zone == USUAL_ZONE
}

/// What becomes of a run whose time passed while nobody was there to begin it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The last one is begun as soon as somebody is there again, however many were missed.
    #[default]
    Once,
    /// It is left out.
    Skip,
}

impl Missed {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Once, Self::Skip];

    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Skip => "skip",
        }
    }

    /// Tells whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of a run whose time comes while the one before still goes on. Two runs of a job never go on at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It begins when the one before has ended; of several that came meanwhile only the last.
    Wait,
    /// The one before is told to end, and it begins when that has ended.
    Replace,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Skip, Self::Wait, Self::Replace];

    /// Returns it as a manifest says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Wait => "wait",
            Self::Replace => "replace",
        }
    }

    /// Tells whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// Why something is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// The expression cannot be read.
    #[error("`{expression}` is not five fields of a crontab: {why}")]
    Expression {
        /// The text.
        expression: String,
        /// What is wrong with it.
        why: String,
    },
    /// It never comes.
    #[error("`{expression}` never comes: there is no such day")]
    Never {
        /// The text.
        expression: String,
    },
    /// No such time zone.
    #[error("there is no time zone `{zone}`")]
    Zone {
        /// The text.
        zone: String,
    },
}

impl Schedule {
    /// Makes a schedule of an expression and a zone that can be read, with the usual policies.
    ///
    /// # Errors
    /// When one of them cannot be read, or when its time never comes.
    pub fn new(expression: &str, zone: &str) -> Result<Self, ScheduleError> {
        let (missed, overlap) = (Missed::default(), Overlap::default());
        let schedule = Self { expression: expression.to_owned(), zone: zone.to_owned(), missed, overlap };
        schedule.calendar()?;
        match schedule.next_after(Timestamp::default()) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never { expression: expression.to_owned() }),
        }
    }

    /// Returns the first time of the schedule after a moment; `None` when it never comes again, or cannot be read.
    #[must_use]
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        self.calendar().ok()?.next_after(moment)
    }

    /// Returns the last time of the schedule after one moment and not after another.
    #[must_use]
    pub fn last_between(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let calendar = self.calendar().ok()?;
        let next = |moment, until| calendar.next_after(moment).filter(|&at| at <= until);
        let mut last = next(after, until)?;
        let mut until = until;
        // Halves the span in which the last one is, so that a year of minutes takes no more than twenty-odd looks.
        while let Some(at) = next(last, until) {
            let middle = Timestamp(u64::midpoint(at.0, until.0));
            match next(middle, until) {
                Some(later) => last = later,
                None => (last, until) = (at, middle),
            }
        }
        Some(last)
    }

    /// Tells whether it names the same times as another one.
    #[must_use]
    pub fn has_times_of(&self, other: &Self) -> bool {
        (&self.expression, &self.zone) == (&other.expression, &other.zone)
    }

    fn calendar(&self) -> Result<Calendar, ScheduleError> {
        let Self { expression, zone, .. } = self;
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let unread = |error: CronError| ScheduleError::Expression {
            expression: expression.clone(),
            why: error.to_string(),
        };
        let cron = parser.parse(expression).map_err(unread)?;
        let zone = TimeZone::get(zone).map_err(|_| ScheduleError::Zone { zone: zone.clone() })?;
        Ok(Calendar { cron, zone })
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.expression, self.zone)
    }
}

/// A schedule that was read.
struct Calendar {
    cron: croner::Cron,
    zone: TimeZone,
}

impl Calendar {
    fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let moment = jiff::Timestamp::from_millisecond(i64::try_from(moment.0).ok()?).ok()?;
        let moment = Moment(moment.to_zoned_datetime(self.zone.clone()));
        let next = self.cron.find_next_occurrence(&moment, false).ok()?;
        u64::try_from(next.0.timestamp().as_millisecond()).ok().map(Timestamp)
    }
}

/// A moment on the clock of a place, as `croner` asks for it.
#[derive(Clone)]
struct Moment(ZonedDateTime);

impl CronDateTime for Moment {
    fn to_civil(&self) -> CivilDateTime {
        let (day, time) = (self.0.date(), self.0.time());
        let day = CivilDate::from_parts_unchecked(day.year().into(), part(day.month()), part(day.day()));
        let time =
            CivilTime::from_parts_unchecked(part(time.hour()), part(time.minute()), part(time.second()));
        CivilDateTime::new(day, time)
    }

    fn civil_weekday(&self) -> Weekday {
        Weekday::from_days_from_sunday(part(self.0.weekday().to_sunday_zero_offset()))
    }

    fn resolve_civil(&self, civil: CivilDateTime) -> Result<Resolution<Self>, CronError> {
        let time = datetime(civil).ok_or(CronError::InvalidDate)?;
        let ambiguous = self.0.time_zone().to_ambiguous_zoned_datetime(time);
        let zoned = |it: Result<ZonedDateTime, jiff::Error>| it.map(Self).map_err(|_| CronError::InvalidTime);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => Ok(Resolution::Single(zoned(ambiguous.unambiguous())?)),
            AmbiguousOffset::Gap { .. } => Ok(Resolution::Gap),
            AmbiguousOffset::Fold { .. } => {
                let earlier = zoned(ambiguous.clone().earlier())?;
                Ok(Resolution::Ambiguous(earlier, zoned(ambiguous.later())?))
            }
        }
    }

    fn checked_add_seconds(&self, seconds: i64) -> Option<Self> {
        self.0.checked_add(SignedDuration::from_secs(seconds)).ok().map(Self)
    }

    fn cmp_instant(&self, other: &Self) -> Ordering {
        self.0.timestamp().cmp(&other.0.timestamp())
    }
}

/// A part of a date or of a time, none of which is negative.
fn part(value: i8) -> u32 {
    u32::from(value.unsigned_abs())
}

fn datetime(civil: CivilDateTime) -> Option<DateTime> {
    let small = |value: u32| i8::try_from(value).ok();
    let day = date(1, 1, 1).with().year(i16::try_from(civil.year()).ok()?).month(small(civil.month())?);
    let day = day.day(small(civil.day())?).build().ok()?;
    let time =
        jiff::civil::Time::new(small(civil.hour())?, small(civil.minute())?, small(civil.second())?, 0);
    Some(day.to_datetime(time.ok()?))
}

#[cfg(test)]
mod tests;
