//! Counts with the word for what is counted.

/// Writes `1 hold` or `2 holds`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
