//! What was found by comparing the answers to copies with those that clients got.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mirror::shape::{NoShape, Shape, What};
use crate::watch::LATENCY_CLASSES;

/// Most kinds of differences that are told apart; of the others is only known how many there were.
pub const MAX_DIFFERENCES: usize = 50;
/// No counter gets here in a thousand years; sums of them do not overflow.
pub const MAX_COUNT: u64 = 1 << 53;
/// Longest text of a difference.
const MAX_TEXT: usize = 200;

/// What is compared of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its status.
    pub status: u16,
    /// How a call of gRPC ended.
    pub grpc: Option<u8>,
    /// Its media type without parameters, where its body was copied.
    pub media_type: Option<String>,
    /// Its body, where that says that it is JSON and is here as a whole.
    pub json: Option<String>,
}

impl Seen {
    /// Finds what another answer to the same request has otherwise. Where the statuses differ the rest says nothing.
    #[must_use]
    pub fn compare(&self, after: &Self) -> Vec<What> {
        if self.status != after.status {
            return vec![What::Status { before: self.status, after: after.status }];
        }
        if let (Some(before), Some(after)) = (self.grpc, after.grpc)
            && before != after
        {
            return vec![What::GrpcStatus { before, after }];
        }
        let kinds = self.media_type.as_ref().zip(after.media_type.as_ref());
        if let Some((before, after)) = kinds.filter(|(before, after)| before != after) {
            return vec![What::MediaType { before: before.clone(), after: after.clone() }];
        }
        let bodies = self.json.as_deref().zip(after.json.as_deref());
        bodies.map_or_else(Vec::new, |(before, after)| compare_bodies(before, after))
    }
}

fn compare_bodies(before: &str, after: &str) -> Vec<What> {
    match (Shape::of(before), Shape::of(after)) {
        (Ok(before), Ok(after)) => before.compare(&after),
        (Err(NoShape::NotJson), Ok(_)) => vec![What::NotJson { after: false }],
        (Ok(_), Err(NoShape::NotJson)) => vec![What::NotJson { after: true }],
        _ => Vec::new(),
    }
}

/// What was found of a mirror, by one gateway or by all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MirrorCounts {
    /// Copies that were answered as the version answered that the client got.
    pub same: u64,
    /// Copies that were answered otherwise.
    pub different: u64,
    /// Copies that got no answer, or none that could be read to its end.
    pub unanswered: u64,
    /// Requests that were to be copied and were not, because too many copies were under way.
    pub dropped: u64,
    /// Requests that were to be copied and were not, because their bodies are too large or came piece by piece.
    pub uncopied: u64,
    /// What was different, the first kinds that were met.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// How often something was different beside those kinds.
    pub other_differences: u64,
    /// How long the answers that clients got took to begin: counts of the classes that [`crate::watch::latency_bound_ms`] bounds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_ms: Vec<u64>,
    /// How long those of the copies took.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_ms: Vec<u64>,
}

/// Something that was different, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The method and the path, with a star for every segment that does not look like a name.
    pub operation: String,
    /// What was different.
    #[serde(flatten)]
    pub what: What,
    /// In how many answers.
    pub count: u64,
}

/// What a gateway found of one mirror of its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mirrored {
    /// The mirror.
    pub id: u64,
    /// What was found.
    pub counts: MirrorCounts,
}

/// One copy that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The method and the path.
    pub operation: String,
    /// What was different; `None` where there was no answer.
    pub differences: Option<Vec<What>>,
    /// The class of the time that the answer took which the client got.
    pub before: usize,
    /// That of the copy.
    pub after: usize,
}

impl MirrorCounts {
    /// Tells whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how many copies were sent and are over.
    #[must_use]
    pub const fn copies(&self) -> u64 {
        self.same.saturating_add(self.different).saturating_add(self.unanswered)
    }

    /// Notes a copy that is over.
    pub fn note(&mut self, compared: Compared) {
        let Some(differences) = compared.differences else {
            self.unanswered += 1;
            return;
        };
        tick(&mut self.before_ms, compared.before);
        tick(&mut self.after_ms, compared.after);
        *(if differences.is_empty() { &mut self.same } else { &mut self.different }) += 1;
        for what in differences {
            self.add_difference(Difference { operation: compared.operation.clone(), what, count: 1 });
        }
    }

    fn add_difference(&mut self, new: Difference) {
        let has_room = self.differences.len() < MAX_DIFFERENCES;
        let is_same = |it: &&mut Difference| it.operation == new.operation && it.what == new.what;
        match self.differences.iter_mut().find(is_same) {
            Some(known) => known.count = known.count.saturating_add(new.count),
            None if has_room => self.differences.push(new),
            None => self.other_differences = self.other_differences.saturating_add(new.count),
        }
    }

    /// Adds what another gateway found.
    pub fn add(&mut self, other: &Self) {
        let sums = [
            (&mut self.same, other.same),
            (&mut self.different, other.different),
            (&mut self.unanswered, other.unanswered),
            (&mut self.dropped, other.dropped),
            (&mut self.uncopied, other.uncopied),
            (&mut self.other_differences, other.other_differences),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum = sum.saturating_add(more));
        other.differences.iter().cloned().for_each(|difference| self.add_difference(difference));
        add_classes(&mut self.before_ms, &other.before_ms);
        add_classes(&mut self.after_ms, &other.after_ms);
    }

    /// Returns it with no more than a gateway can have found: of one that is not believed in everything.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        let cut = |count: &mut u64| *count = (*count).min(MAX_COUNT);
        [&mut self.same, &mut self.different, &mut self.unanswered].into_iter().for_each(cut);
        [&mut self.dropped, &mut self.uncopied, &mut self.other_differences].into_iter().for_each(cut);
        for classes in [&mut self.before_ms, &mut self.after_ms] {
            classes.truncate(LATENCY_CLASSES);
            classes.iter_mut().for_each(cut);
        }
        self.differences.truncate(MAX_DIFFERENCES);
        for difference in &mut self.differences {
            cut(&mut difference.count);
            difference.operation = shortened(&difference.operation);
            difference.what.shorten();
        }
        self
    }
}

impl What {
    fn shorten(&mut self) {
        let texts = match self {
            Self::Status { .. } | Self::GrpcStatus { .. } | Self::NotJson { .. } => Vec::new(),
            Self::MediaType { before, after } => vec![before, after],
            Self::Missing { field, was } => vec![field, was],
            Self::Added { field, is } => vec![field, is],
            Self::Type { field, before, after } => vec![field, before, after],
        };
        texts.into_iter().for_each(|text| *text = shortened(text));
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(MAX_TEXT).collect()
}

fn tick(classes: &mut Vec<u64>, class: usize) {
    classes.resize(LATENCY_CLASSES, 0);
    classes[class.min(LATENCY_CLASSES - 1)] += 1;
}

fn add_classes(sums: &mut Vec<u64>, more: &[u64]) {
    if !more.is_empty() {
        sums.resize(LATENCY_CLASSES, 0);
    }
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, json: &str) -> Seen {
        Seen { status, grpc: None, media_type: Some("application/json".into()), json: Some(json.into()) }
    }

    fn compared(number: u16, differs: bool) -> Compared {
        let what = What::Status { before: 200, after: 500 + number };
        let differences = Some(if differs { vec![what] } else { Vec::new() });
        Compared { operation: "GET /".into(), differences, before: 1, after: 2 }
    }

    #[test]
    fn statuses_come_first_then_media_types_then_fields() {
        let before = answer(200, r#"{"a":1}"#);
        assert_eq!(before.compare(&before), []);
        assert_eq!(before.compare(&answer(404, "{}")), [What::Status { before: 200, after: 404 }]);
        let html = Seen { media_type: Some("text/html".into()), json: None, ..before };
        assert!(matches!(before.compare(&html)[..], [What::MediaType { .. }]));
        assert_eq!(before.compare(&answer(200, "{")), [What::NotJson { after: true }]);
        assert!(matches!(before.compare(&answer(200, "{}"))[..], [What::Missing { .. }]));
        let call = |grpc| Seen { status: 200, grpc: Some(grpc), ..Seen::default() };
        assert_eq!(call(0).compare(&call(14)), [What::GrpcStatus { before: 0, after: 14 }]);
        let unseen = Seen { json: None, ..before.clone() };
        assert_eq!((before.compare(&unseen), unseen.compare(&before)), (vec![], vec![]));
    }

    #[test]
    fn kinds_are_bounded_and_none_is_lost() {
        let mut counts = MirrorCounts::default();
        (0..60).for_each(|number| counts.note(compared(number, true)));
        (0..60).for_each(|number| counts.note(compared(number, true)));
        counts.note(compared(0, false));
        counts.note(Compared { differences: None, ..compared(0, false) });
        assert_eq!((counts.different, counts.same, counts.unanswered, counts.copies()), (120, 1, 1, 122));
        assert_eq!((counts.differences.len(), counts.other_differences), (MAX_DIFFERENCES, 20));
        assert_eq!(counts.before_ms.iter().sum::<u64>(), 121);
    }

    proptest! {
        #[test]
        fn what_two_gateways_find_is_the_sum(
            notes in prop::collection::vec((0_u16..8, any::<bool>(), any::<bool>()), 0..60)
        ) {
            let (mut one, mut other, mut all) = <(MirrorCounts, MirrorCounts, MirrorCounts)>::default();
            for (number, differs, first) in notes {
                all.note(compared(number, differs));
                (if first { &mut one } else { &mut other }).note(compared(number, differs));
            }
            one.add(&other);
            let by_count = |mut counts: MirrorCounts| {
                counts.differences.sort_by(|a, b| (&a.operation, &a.what).cmp(&(&b.operation, &b.what)));
                counts
            };
            prop_assert_eq!(by_count(one), by_count(all));
        }

        #[test]
        fn whatever_a_gateway_says_is_bounded(count in any::<u64>(), text in "\\PC{0,300}", classes in 0_usize..100) {
            let what = What::Missing { field: text.clone(), was: text.clone() };
            let differences = vec![Difference { operation: text, what, count }; 70];
            let before_ms = vec![count; classes];
            let counts = MirrorCounts { same: count, differences, before_ms, ..MirrorCounts::default() }.bounded();
            let mut sum = counts.clone();
            sum.add(&counts);
            prop_assert!(sum.same <= 2 * MAX_COUNT && counts.before_ms.len() <= LATENCY_CLASSES);
            prop_assert!(counts.differences.len() <= MAX_DIFFERENCES);
            prop_assert!(counts.differences.iter().all(|it| it.operation.chars().count() <= MAX_TEXT));
        }
    }
}
