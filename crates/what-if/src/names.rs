//! Names become numbers: a fleet as a problem for the solver, or every mistake that is in it.

use std::collections::BTreeMap;
use std::ops::Range;

use lockstep_solver::{Bar, Cause, Need, Problem, Rule, Service};

use crate::fleet::{Feature, Fleet, FleetService, Interval, Wish};

/// Something in a fleet that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands, such as `features[3].offered`.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

/// What a cause of the problem is in the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A wish, by its place.
    Wish(usize),
    /// A pinned service.
    Pin(usize),
    /// A feature.
    Feature(usize),
}

/// A fleet in numbers.
pub(crate) struct Numbered<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) problem: Problem,
    /// What each cause is, by its number.
    pub(crate) origins: Vec<Origin>,
}

impl Numbered<'_> {
    pub(crate) fn origin(&self, cause: Cause) -> Origin {
        self.origins[cause.0 as usize]
    }

    pub(crate) fn name(&self, service: usize) -> &str {
        &self.fleet.services[service].name
    }

    /// The version of a service by its number.
    pub(crate) fn version(&self, service: usize, at: u32) -> &str {
        &self.fleet.services[service].versions[at as usize]
    }
}

/// Numbers a fleet.
///
/// # Errors
///
/// All mistakes.
pub(crate) fn number(fleet: &Fleet) -> Result<Numbered<'_>, Vec<Mistake>> {
    let mut reader = Reader::new(fleet);
    let services: Vec<Service> =
        fleet.services.iter().enumerate().map(|(at, service)| reader.service(at, service)).collect();
    let (mut rules, mut origins) = (Vec::new(), Vec::new());
    let mut add = |origin, of: Vec<Rule>| {
        let cause = Cause(u32::try_from(origins.len()).unwrap_or(u32::MAX));
        origins.push(origin);
        rules.extend(of.into_iter().map(|rule| (cause, rule)));
    };
    for (at, wish) in fleet.intent.iter().enumerate() {
        add(Origin::Wish(at), reader.wish(at, wish));
    }
    for (at, service) in fleet.services.iter().enumerate() {
        let is_named = fleet.intent.iter().any(|wish| wish.service == service.name);
        if service.pinned && !is_named {
            add(Origin::Pin(at), only(at, services[at].current, services[at].versions));
        }
    }
    for (at, feature) in fleet.features.iter().enumerate() {
        add(Origin::Feature(at), reader.feature(at, feature).into_iter().collect());
    }
    if reader.mistakes.is_empty() {
        Ok(Numbered { fleet, problem: Problem { services, rules }, origins })
    } else {
        Err(reader.mistakes)
    }
}

/// A service is at one version.
fn only(service: usize, version: u32, versions: u32) -> Vec<Rule> {
    [0..version, version + 1..versions].map(|versions| Rule::Bar(Bar { service, versions })).into()
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

    fn wish(&mut self, at: usize, wish: &Wish) -> Vec<Rule> {
        let Some(service) = self.named(&wish.service, || format!("intent[{at}].service")) else {
            return Vec::new();
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
                "at_least" => rules.push(bar(0..number)),
                _ => rules.push(bar(number..number + 1)),
            }
        }
        rules
    }

    fn feature(&mut self, at: usize, feature: &Feature) -> Option<Rule> {
        let provider = self.named(&feature.provider, || format!("features[{at}].provider"));
        let consumer = self.named(&feature.consumer, || format!("features[{at}].consumer"));
        let offered =
            provider.and_then(|it| self.interval(it, &feature.offered, || format!("features[{at}].offered")));
        let used =
            consumer.and_then(|it| self.interval(it, &feature.used, || format!("features[{at}].used")));
        Some(Rule::Need(Need { consumer: consumer?, used: used?, provider: provider?, offered: offered? }))
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
