//! Finds the names that somebody probably meant.

/// Most names that are offered.
const MAX_OFFERED: usize = 3;
/// Most names that are compared; comparing costs the product of the lengths.
const MAX_COMPARED: usize = 20_000;
/// Longest part of a name that is compared.
const MAX_LENGTH: usize = 100;

/// Returns the candidates most similar to `wanted`, best first; those with nothing in common are left out.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted: Vec<char> = wanted.chars().take(MAX_LENGTH).collect();
    let mut ranked: Vec<(usize, &str)> = candidates
        .into_iter()
        .take(MAX_COMPARED)
        .filter_map(|name| Some((similarity(&wanted, name)?, name)))
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(MAX_OFFERED).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Returns the distance of two names unless it is more than half of the longer one.
fn similarity(wanted: &[char], name: &str) -> Option<usize> {
    let name: Vec<char> = name.chars().take(MAX_LENGTH).collect();
    let distance = distance(wanted, &name);
    (2 * distance <= wanted.len().max(name.len())).then_some(distance)
}

/// Levenshtein's distance: insertions, deletions and replacements.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_offered_and_others_not() {
        let names = ["main", "master", "release/1.5", "release/1.4", "feature/login"];
        assert_eq!(nearest("mian", names), ["main"]);
        assert_eq!(nearest("release/1.6", names), ["release/1.4", "release/1.5"]);
        assert!(nearest("zzzzzz", names).is_empty());
    }

    #[test]
    fn distance_counts_edits() {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        for (a, b, expected) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "", 2)]
        {
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
        }
    }
}
