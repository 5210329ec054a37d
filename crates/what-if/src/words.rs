//! How wishes, features and versions are named in sentences.

use std::ops::Range;

use lockstep_solver::{Cause, Need};

use crate::fleet::Wish;
use crate::names::{Numbered, Origin};

/// "a", "a and b", "a, b and c".
pub(crate) fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

impl Numbered<'_> {
    /// "payments offers `charges` from 2.1.0 until before 3.0.0".
    pub(crate) fn offers(&self, need: &Need, feature: &str) -> String {
        let name = self.name(need.provider);
        if need.offered.is_empty() {
            return format!("no version of {name} offers `{feature}`");
        }
        format!("{name} offers `{feature}` {}", self.span(need.provider, &need.offered))
    }

    /// "in every version", "from 2.1.0 on", "before 3.0.0", "from 2.1.0 to before 3.0.0", "in 2.1.0 alone".
    pub(crate) fn span(&self, service: usize, range: &Range<u32>) -> String {
        let versions = self.problem.services[service].versions;
        let first = self.version(service, range.start.min(versions - 1));
        match (range.start > 0, range.end < versions) {
            _ if range.end == range.start + 1 => format!("in {first} alone"),
            (false, false) => "in every version".into(),
            (true, false) => format!("from {first} on"),
            (false, true) => format!("before {}", self.version(service, range.end)),
            (true, true) => format!("from {first} to before {}", self.version(service, range.end)),
        }
    }

    /// What a wish wants, after the name of the service: "at 2.0.0", "at most at 1.2.0".
    pub(crate) fn wanted(wish: &Wish) -> String {
        let part = |text: &str, version: &Option<String>| version.as_ref().map(|it| format!("{text} {it}"));
        let parts = [
            part("at", &wish.to),
            part("at least at", &wish.at_least),
            part("at most at", &wish.at_most),
            part("not at", &wish.not),
        ];
        listed(&parts.into_iter().flatten().collect::<Vec<_>>())
    }

    /// A cause as a sentence without a full stop.
    pub(crate) fn told(&self, cause: Cause) -> String {
        match self.origin(cause) {
            Origin::Wish(at) => {
                let wish = &self.fleet.intent[at];
                format!("{} is wanted {}", wish.service, Self::wanted(wish))
            }
            Origin::Pin(at) => {
                let service = &self.fleet.services[at];
                format!("{} is pinned at {}, and no wish names it", service.name, service.current)
            }
            Origin::Feature(at) => {
                let feature = &self.fleet.features[at];
                let need = self.problem.needs().find(|(it, _)| *it == cause).map(|(_, need)| need);
                need.map_or_else(String::new, |need| {
                    let used = self.span(need.consumer, &need.used);
                    format!(
                        "{} uses `{}` {used}, and {}",
                        feature.consumer,
                        feature.name,
                        self.offers(need, &feature.name)
                    )
                })
            }
        }
    }

    /// The name of the feature behind a cause.
    pub(crate) fn feature(&self, cause: Cause) -> &str {
        match self.origin(cause) {
            Origin::Feature(at) => &self.fleet.features[at].name,
            Origin::Wish(_) | Origin::Pin(_) => "",
        }
    }
}
