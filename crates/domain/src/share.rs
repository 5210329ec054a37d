//! Shares such as `5%`, `0.5%`, `25`: read without rounding into parts of 10,000.

use crate::routes::FULL_WEIGHT;

/// Reads a share of up to 100 % into parts of 10,000.
///
/// # Errors
/// When it is no percentage with at most two decimals, or more than everything.
pub fn in_10000(text: &str) -> Result<u32, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err("a share is a percentage such as 1%, 0.5% or 25".to_owned());
    }
    if fraction.len() > 2 {
        return Err("a share has at most two decimals: one part of 10,000 is the smallest".to_owned());
    }
    let hundredths: u32 = format!("{fraction:0<2}").parse().unwrap_or(0);
    let parts = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(100)?.checked_add(hundredths));
    match parts {
        Some(parts) if parts <= FULL_WEIGHT => Ok(parts),
        _ => Err("a share is at most 100 %".to_owned()),
    }
}

/// Writes a share of parts of 10,000.
#[must_use]
pub fn percent(parts: u32) -> String {
    match (parts / 100, parts % 100) {
        (whole, 0) => format!("{whole} %"),
        (whole, rest) if rest % 10 == 0 => format!("{whole}.{} %", rest / 10),
        (whole, rest) => format!("{whole}.{rest:02} %"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_read_without_rounding() {
        for (text, parts) in
            [("1%", 100), ("0.5%", 50), ("25", 2_500), ("100 %", 10_000), ("0", 0), ("33.33%", 3_333)]
        {
            assert_eq!(in_10000(text), Ok(parts), "{text}");
        }
        for bad in ["", "%", "101", "-1", "1.234", "a", "1,5", "99999999999", "1.", ".5"] {
            assert!(in_10000(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_typed(parts in 0..=FULL_WEIGHT) {
            prop_assert_eq!(in_10000(&percent(parts)), Ok(parts));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,30}") {
            let _ = in_10000(&text);
        }
    }
}
