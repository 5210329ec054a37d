//! The life that a repository had before it came to Lockstep: which of its tags are releases.

use std::collections::BTreeMap;

use crate::branch::BranchPattern;
use crate::name::ServiceName;
use crate::service::EarlierRelease;
use crate::version::VersionNumber;

/// A tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The commit that it leads to.
    pub commit: String,
}

/// What tags say about earlier releases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Earlier {
    /// The releases by number.
    pub releases: BTreeMap<VersionNumber, EarlierRelease>,
    /// Tags of the pattern that name no version.
    pub left_out: Vec<String>,
}

/// Reads the tags of a pattern such as `v*`: what `*` stands for is the number. `3.4` is 3.4.0; a tag that says the whole number
/// goes before one that does not.
#[must_use]
pub fn earlier(pattern: &BranchPattern, tags: &[Tag]) -> Earlier {
    let mut found = Earlier::default();
    let mut rounded = Vec::new();
    for tag in tags {
        let Some(Some(text)) = pattern.capture(&tag.name) else { continue };
        let release = EarlierRelease { commit: tag.commit.clone(), tag: tag.name.clone() };
        match (text.parse::<VersionNumber>(), completed(text)) {
            (Ok(number), _) => drop(found.releases.insert(number, release)),
            (Err(_), Some(number)) => rounded.push((number, release)),
            (Err(_), None) => found.left_out.push(tag.name.clone()),
        }
    }
    for (number, release) in rounded {
        found.releases.entry(number).or_insert(release);
    }
    found
}

/// Finds the pattern of most tags that name versions, so that it can be offered.
#[must_use]
pub fn usual_pattern(service: &ServiceName, tags: &[Tag]) -> Option<(BranchPattern, Earlier)> {
    let patterns = [
        "v*".into(),
        "*".into(),
        format!("{service}-*"),
        format!("{service}-v*"),
        format!("{service}@*"),
        format!("{service}/*"),
        format!("{service}/v*"),
    ];
    let read = |text: &String| {
        let pattern: BranchPattern = text.parse().ok()?;
        let found = earlier(&pattern, tags);
        (!found.releases.is_empty()).then_some((pattern, found))
    };
    let found: Vec<_> = patterns.iter().filter_map(read).collect();
    found
        .into_iter()
        .reduce(|most, one| if one.1.releases.len() > most.1.releases.len() { one } else { most })
}

/// Reads `3` and `3.4`.
fn completed(text: &str) -> Option<VersionNumber> {
    let numbers: Vec<_> = text.split('.').collect();
    let digits = numbers.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    match numbers.len() {
        1 if digits => format!("{text}.0.0").parse().ok(),
        2 if digits => format!("{text}.0").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| Tag { name: (*name).into(), commit: name.repeat(2) }).collect()
    }

    fn numbers(found: &Earlier) -> Vec<String> {
        found.releases.iter().map(|(number, release)| format!("{number} {}", release.tag)).collect()
    }

    #[test]
    fn a_pattern_says_what_the_number_is() {
        let tags =
            tags(&["v3.4.1", "v3.4", "v3.4.0", "v3.5", "v4.0.0-rc.1", "vienna", "orders-2.1.0", "v1.0.0+7"]);
        let found = earlier(&"v*".parse().unwrap(), &tags);
        assert_eq!(numbers(&found), ["3.4.0 v3.4.0", "3.4.1 v3.4.1", "3.5.0 v3.5", "4.0.0-rc.1 v4.0.0-rc.1"]);
        assert_eq!(found.left_out, ["vienna", "v1.0.0+7"]);
        assert_eq!(numbers(&earlier(&"orders-*".parse().unwrap(), &tags)), ["2.1.0 orders-2.1.0"]);
    }

    #[test]
    fn the_usual_pattern_is_offered() {
        let service = "orders".parse().unwrap();
        let usual =
            |names: &[&str]| usual_pattern(&service, &tags(names)).map(|(pattern, _)| pattern.to_string());
        assert_eq!(usual(&["v1.0.0", "v1.1.0", "orders-1.0.0"]).as_deref(), Some("v*"));
        assert_eq!(usual(&["orders@1.0.0", "stock@1.0.0"]).as_deref(), Some("orders@*"));
        assert_eq!(usual(&["1.0", "1.1"]).as_deref(), Some("*"));
        assert_eq!(usual(&["vienna", "stock-1.0.0"]), None);
    }
}
