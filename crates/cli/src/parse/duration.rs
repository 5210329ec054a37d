//! Durations such as `250ms`, `30s`, `1h30m`.

/// Milliseconds of each unit. `ms` stands before `m`, because it is looked for first.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration into milliseconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(expected());
    }
    let mut total = 0_u64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let count: u64 = digits.parse().map_err(|_| expected())?;
        let (unit, ms) = unit_of(after).ok_or_else(|| match (count, after) {
            (_, "") => format!("the unit is missing: `{text}s` or `{text}m`?"),
            _ => expected(),
        })?;
        let part = count.checked_mul(ms).ok_or_else(too_long)?;
        total = total.checked_add(part).ok_or_else(too_long)?;
        rest = &after[unit.len()..];
    }
    Ok(total)
}

fn unit_of(text: &str) -> Option<(&'static str, u64)> {
    UNITS.into_iter().find(|(unit, _)| text.starts_with(unit))
}

fn expected() -> String {
    "a duration is a number with a unit, such as 250ms, 30s, 5m, 1h30m or 7d".to_owned()
}

fn too_long() -> String {
    "the duration is longer than any clock can count".to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::times::exact;

    #[test]
    fn durations_are_read() {
        for (text, ms) in
            [("0s", 0), ("250ms", 250), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000)]
        {
            assert_eq!(milliseconds(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn a_duration_without_unit_is_refused_with_what_to_write() {
        assert_eq!(milliseconds("30"), Err("the unit is missing: `30s` or `30m`?".into()));
        for bad in ["", "s", "-1s", "1.5h", "30 s", "1y", "99999999999999999d", "99999999999999999999s"] {
            assert!(milliseconds(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_typed(ms in 0_u64..100_000_000_000) {
            prop_assert_eq!(milliseconds(&exact(ms)), Ok(ms));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}") {
            let _ = milliseconds(&text);
        }
    }
}
