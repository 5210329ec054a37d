//! At which times a job runs, in its own table.

use lockstep_domain::schedule::{Missed, Overlap, Schedule, ScheduleError, USUAL_ZONE};

use crate::reader::{Field, Table};

/// How it is written.
pub(super) const EXAMPLE: &str = "schedule = \"*/5 * * * *\"";
const ZONE: &str = "timezone = \"Europe/Berlin\"";
const MISSED: &str = "missed = \"once\" or \"skip\"";
const OVERLAP: &str = "overlap = \"skip\", \"wait\" or \"replace\"";

/// Reads the schedule of a table; `None` where it has none, and `Some(None)` where something in it is wrong.
pub(super) fn schedule(table: &Table<'_>) -> Option<Option<Schedule>> {
    let expression = table.get("schedule", EXAMPLE);
    let zone = table.get("timezone", ZONE);
    let missed = table.get("missed", MISSED);
    let overlap = table.get("overlap", OVERLAP);
    let Some(expression) = expression else {
        for field in [zone, missed, overlap].iter().flatten() {
            field.wrong_because(
                "it says something of a schedule, and there is none",
                format!("add {EXAMPLE}"),
            );
        }
        return None;
    };
    let missed = missed.map(|field| one_of(&field, &Missed::ALL, Missed::as_str));
    let overlap = overlap.map(|field| one_of(&field, &Overlap::ALL, Overlap::as_str));
    Some(times(&expression, zone.as_ref()).and_then(|schedule| {
        let (missed, overlap) =
            (missed.unwrap_or(Some(Missed::default()))?, overlap.unwrap_or(Some(Overlap::default()))?);
        Some(Schedule { missed, overlap, ..schedule })
    }))
}

fn times(expression: &Field<'_>, zone: Option<&Field<'_>>) -> Option<Schedule> {
    let (times, place) = (expression.text()?, zone.map_or(Some(USUAL_ZONE), Field::text)?);
    match (Schedule::new(times, place), zone) {
        (Ok(schedule), _) => Some(schedule),
        (Err(error @ ScheduleError::Zone { .. }), Some(zone)) => {
            zone.wrong_because(error, "write a name of the IANA database, such as \"Europe/Berlin\"");
            None
        }
        (Err(error), _) => {
            let hint = "minute, hour, day of the month, month, day of the week: \"30 2 * * 1-5\"";
            expression.wrong_because(error, hint);
            None
        }
    }
}

fn one_of<T: Copy>(field: &Field<'_>, all: &[T], name: impl Fn(T) -> &'static str) -> Option<T> {
    let text = field.text()?;
    let found = all.iter().copied().find(|&it| name(it) == text);
    if found.is_none() {
        let names: Vec<_> = all.iter().map(|&it| format!("`{}`", name(it))).collect();
        field.wrong(format_args!("it is one of {}", names.join(", ")));
    }
    found
}
