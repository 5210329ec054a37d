//! Names become numbers: a fleet as a problem for the solver, or every mistake that is in it.

use std::collections::BTreeMap;
use std::ops::Range;

use lockstep_solver::{Bar, Need, Rule, Service, Versions};

use crate::fleet::{Feature, Fleet, FleetService, Interval, Wish};
use crate::question::{ABSENT, Named, Origin, Question, only};
use crate::words::wanted;

/// Most services of a fleet: ten times those of the largest that is known of, and answered in seconds.
const MAX_SERVICES: usize = 20_000;
/// Most features, for the same reason.
const MAX_FEATURES: usize = 200_000;

/// Something in a fleet that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands, such as `features[3].offered`.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

/// Numbers a fleet.
///
/// # Errors
///
/// All mistakes.
pub(crate) fn number(fleet: &Fleet) -> Result<Question, Vec<Mistake>> {
    let too_many = too_many(fleet);
    if !too_many.is_empty() {
        return Err(too_many);
    }
    let mut reader = Reader::new(fleet);
    let numbers: Vec<Service> =
        fleet.services.iter().enumerate().map(|(at, service)| reader.service(at, service)).collect();
    let named = |service: &FleetService| Named {
        name: service.name.clone(),
        versions: service.versions.clone(),
        may_be_absent: has_absent(service),
        is_pinned: service.pinned,
    };
    let mut question = Question::new(fleet.services.iter().map(named).collect(), numbers);
    for (index, wish) in fleet.intent.iter().enumerate() {
        let (service, rules) = reader.wish(index, wish);
        question.add(Origin::Wish { index, service, wanted: wanted(wish), command: None }, rules);
    }
    question.pin();
    for (index, feature) in fleet.features.iter().enumerate() {
        let name = feature.name.clone();
        question.add(Origin::Feature { index, name }, reader.feature(index, feature));
    }
    if reader.mistakes.is_empty() { Ok(question) } else { Err(reader.mistakes) }
}

/// Whether the last one of a service's versions says that it is not there.
fn has_absent(service: &FleetService) -> bool {
    service.versions.len() > 1 && service.versions.last().is_some_and(|last| last == ABSENT)
}

/// What there is more of than is answered in a time that somebody waits for.
fn too_many(fleet: &Fleet) -> Vec<Mistake> {
    let parts = [
        ("services", fleet.services.len(), MAX_SERVICES),
        ("features", fleet.features.len(), MAX_FEATURES),
        ("intent", fleet.intent.len(), MAX_SERVICES),
    ];
    let mistake = |(place, count, most): (&str, usize, usize)| {
        let why = format!("there are {count}, and at most {most} are looked at");
        (count > most).then(|| Mistake { place: place.into(), why })
    };
    parts.into_iter().filter_map(mistake).collect()
}

/// Reads the parts of a fleet, and keeps every mistake that it meets.
struct Reader<'a> {
    fleet: &'a Fleet,
    /// Services by their names, and for each its versions by theirs.
    services: BTreeMap<&'a str, usize>,
    versions: Vec<BTreeMap<&'a str, u32>>,
    mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    fn new(fleet: &'a Fleet) -> Self {
        let mut reader =
            Self { fleet, services: BTreeMap::new(), versions: Vec::new(), mistakes: Vec::new() };
        for (at, service) in fleet.services.iter().enumerate() {
            reader.word(&service.name, || format!("services[{at}].name"));
            if reader.services.insert(&service.name, at).is_some() {
                reader.wrong(format!("services[{at}].name"), format!("`{}` is there twice", service.name));
            }
            let versions = reader.versions_of(at, service);
            reader.versions.push(versions);
        }
        let all = fleet.services.iter().try_fold(0_u64, |sum, service| sum.checked_add(service.criticality));
        if all.is_none() {
            reader.wrong("services".into(), format!("their criticalities add up to more than {}", u64::MAX));
        }
        reader
    }

    fn wrong(&mut self, place: String, why: String) {
        self.mistakes.push(Mistake { place, why });
    }

    /// Names and versions stand in sentences, each on a line.
    fn word(&mut self, word: &str, place: impl Fn() -> String) {
        if word.is_empty() || word.contains(char::is_control) {
            self.wrong(place(), "it is empty, or has a control character".into());
        }
    }

    fn versions_of(&mut self, at: usize, service: &'a FleetService) -> BTreeMap<&'a str, u32> {
        let mut found = BTreeMap::new();
        if service.versions.is_empty() {
            self.wrong(format!("services[{at}].versions"), format!("`{}` has none", service.name));
        }
        for (place, version) in service.versions.iter().enumerate() {
            self.word(version, || format!("services[{at}].versions[{place}]"));
            if found.insert(version.as_str(), u32::try_from(place).unwrap_or(u32::MAX)).is_some() {
                let why = format!("`{}` has {version} twice", service.name);
                self.wrong(format!("services[{at}].versions[{place}]"), why);
            }
        }
        found
    }

    fn service(&mut self, at: usize, service: &FleetService) -> Service {
        if service.criticality == 0 {
            self.wrong(format!("services[{at}].criticality"), "it is 0, and has to be at least 1".into());
        }
        let current = self.version(at, &service.current, || format!("services[{at}].current")).unwrap_or(0);
        let versions = u32::try_from(service.versions.len()).unwrap_or(u32::MAX);
        Service { versions, current, criticality: service.criticality }
    }

    /// The number of a version; one that the service does not have is a mistake.
    fn version(&mut self, service: usize, version: &str, place: impl Fn() -> String) -> Option<u32> {
        let found = self.versions[service].get(version).copied();
        if found.is_none() {
            let name = &self.fleet.services[service].name;
            self.wrong(place(), format!("`{name}` has no version {version}"));
        }
        found
    }

    fn named(&mut self, service: &str, place: impl Fn() -> String) -> Option<usize> {
        let found = self.services.get(service).copied();
        if found.is_none() {
            self.wrong(place(), format!("no service is called `{service}`"));
        }
        found
    }

    fn wish(&mut self, at: usize, wish: &Wish) -> (usize, Vec<Rule>) {
        let Some(service) = self.named(&wish.service, || format!("intent[{at}].service")) else {
            return (usize::MAX, Vec::new());
        };
        let versions = u32::try_from(self.fleet.services[service].versions.len()).unwrap_or(u32::MAX);
        let parts =
            [("to", &wish.to), ("at_most", &wish.at_most), ("at_least", &wish.at_least), ("not", &wish.not)];
        if parts.iter().all(|(_, version)| version.is_none()) {
            self.wrong(
                format!("intent[{at}]"),
                "it says none of `to`, `at_most`, `at_least` and `not`".into(),
            );
        }
        let mut rules = Vec::new();
        for (name, version) in parts {
            let Some(version) = version else { continue };
            let Some(number) = self.version(service, version, || format!("intent[{at}].{name}")) else {
                continue;
            };
            let bar = |versions: Range<u32>| Rule::Bar(Bar { service, versions });
            match name {
                "to" => rules.extend(only(service, number, versions)),
                "at_most" => rules.push(bar(number + 1..versions)),
                "at_least" => {
                    rules.push(bar(0..number));
                    // What is not there is at no version, and at least at none.
                    rules.extend(
                        self.absent(service).filter(|none| *none > number).map(|none| bar(none..none + 1)),
                    );
                }
                _ => rules.push(bar(number..number + 1)),
            }
        }
        (service, rules)
    }

    /// The number that stands for "it is not there", where a service has one.
    fn absent(&self, service: usize) -> Option<u32> {
        let is_there = has_absent(&self.fleet.services[service]);
        self.versions[service].get(ABSENT).copied().filter(|_| is_there)
    }

    fn feature(&mut self, at: usize, feature: &Feature) -> Option<Rule> {
        self.word(&feature.name, || format!("features[{at}].name"));
        let provider = self.named(&feature.provider, || format!("features[{at}].provider"));
        let consumer = self.named(&feature.consumer, || format!("features[{at}].consumer"));
        let offered = provider.and_then(|it| {
            let mut parts: Option<Vec<_>> = Some(
                self.interval(it, &feature.offered, || format!("features[{at}].offered"))
                    .into_iter()
                    .collect(),
            );
            for (nth, also) in feature.also_offered.iter().enumerate() {
                let part = self.interval(it, also, || format!("features[{at}].also_offered[{nth}]"));
                parts = parts.zip(part).map(|(mut parts, part)| {
                    parts.push(part);
                    parts
                });
            }
            Some(parts?.into_iter().collect::<Versions>())
        });
        let used =
            consumer.and_then(|it| self.interval(it, &feature.used, || format!("features[{at}].used")));
        let used = Versions::from(used?);
        Some(Rule::Need(Need { consumer: consumer?, used, provider: provider?, offered: offered? }))
    }

    fn interval(
        &mut self,
        service: usize,
        [first, end]: &Interval,
        place: impl Fn() -> String,
    ) -> Option<Range<u32>> {
        let versions = u32::try_from(self.fleet.services[service].versions.len()).unwrap_or(u32::MAX);
        let mut at = |bound: &Option<String>, open: u32| match bound {
            Some(version) => self.version(service, version, &place),
            None => Some(open),
        };
        let (first, end) = (at(first, 0), at(end, versions));
        let (first, end) = (first?, end?);
        if end < first {
            self.wrong(place(), "its end is before its beginning".into());
        }
        Some(first..end)
    }
}
