//! Milliseconds and their spread.

use std::time::Instant;

/// Returns the milliseconds between two points in time; negative when the second is the earlier one.
pub(super) fn ms(from: Instant, to: Instant) -> f64 {
    let forward = to.saturating_duration_since(from).as_secs_f64();
    let backward = from.saturating_duration_since(to).as_secs_f64();
    (forward - backward) * 1_000.0
}

/// Returns the least, the median and the greatest.
pub(super) fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    let median =
        if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 };
    [figures[0], median, figures[figures.len() - 1]]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
        assert_eq!(spread(vec![4.0, 1.0, 2.0, 3.0]), [1.0, 2.5, 4.0]);
    }

    #[test]
    fn what_came_earlier_is_negative() {
        let now = Instant::now();
        let later = now + Duration::from_millis(5);
        assert!((ms(now, later) - 5.0).abs() < 1e-6);
        assert!((ms(later, now) + 5.0).abs() < 1e-6);
    }
}
