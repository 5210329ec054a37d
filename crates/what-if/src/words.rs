//! How wishes, features and versions are named in sentences.

use std::ops::Range;

use lockstep_solver::{Cause, Need, Versions};

use crate::fleet::Wish;
use crate::question::{Origin, Question};

/// "a", "a and b", "a, b and c".
pub(crate) fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Whether a need is what a service wants of itself and nobody offers: versions that must not come, in the form of a feature.
pub(crate) fn is_barrier(need: &Need) -> bool {
    need.consumer == need.provider && need.offered.is_empty()
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

impl Question {
    /// "payments offers `charges` from 2.1.0 until before 3.0.0", "payments fits from 2.1.0 on".
    pub(crate) fn offers(&self, need: &Need, origin: &Origin) -> String {
        let name = self.name(need.provider);
        let what = match origin {
            Origin::Feature { name: feature, .. } => format!("offers `{feature}`"),
            _ => "fits".into(),
        };
        let span = self.span(need.provider, &need.offered);
        if span.is_empty() { format!("no version of {name} {what}") } else { format!("{name} {what} {span}") }
    }

    /// "in every version", "from 2.1.0 on", "before 3.0.0", "from 2.1.0 to before 3.0.0", "in 2.1.0 alone"; nothing for none.
    pub(crate) fn span(&self, service: usize, versions: &Versions) -> String {
        let real = self.services[service].real();
        let parts = versions.parts().iter().map(|part| part.start..part.end.min(real));
        let parts: Vec<String> =
            parts.filter(|part| !part.is_empty()).map(|part| self.part(service, &part, real)).collect();
        listed(&parts)
    }

    fn part(&self, service: usize, range: &Range<u32>, versions: u32) -> String {
        let first = self.version(service, range.start);
        match (range.start > 0, range.end < versions) {
            _ if range.end == range.start + 1 => format!("in {first} alone"),
            (false, false) => "in every version".into(),
            (true, false) => format!("from {first} on"),
            (false, true) => format!("before {}", self.version(service, range.end)),
            (true, true) => format!("from {first} to before {}", self.version(service, range.end)),
        }
    }

    /// A cause as a sentence without a full stop.
    pub(crate) fn told(&self, cause: Cause) -> String {
        let origin = self.origin(cause);
        match (origin, self.need_of(cause)) {
            (Origin::Wish { service, wanted, .. }, _) => {
                format!("{} is wanted {wanted}", self.name(*service))
            }
            (Origin::Pin(service), _) => {
                let current = self.version(*service, self.problem.services[*service].current);
                format!("{} is pinned at {current}, and no wish names it", self.name(*service))
            }
            (Origin::Other { text, .. }, _) => text.clone(),
            (Origin::Feature { name, .. }, Some(need)) if is_barrier(need) => {
                let versions = self.span(need.consumer, &need.used).replace(" alone", "");
                format!("{} cannot come {versions}: {name}", self.name(need.consumer))
            }
            (Origin::Feature { name, .. }, Some(need)) => {
                let used = self.span(need.consumer, &need.used);
                format!(
                    "{} uses `{name}` {used}, and {}",
                    self.name(need.consumer),
                    self.offers(need, origin)
                )
            }
            (Origin::Requirement { text }, Some(need)) => {
                let used = self.span(need.consumer, &need.used);
                let [consumer, provider] = [need.consumer, need.provider].map(|it| self.name(it));
                format!("{consumer} requires {provider} {text} {used}, and {}", self.offers(need, origin))
            }
            (Origin::Feature { .. } | Origin::Requirement { .. }, None) => String::new(),
        }
    }
}
