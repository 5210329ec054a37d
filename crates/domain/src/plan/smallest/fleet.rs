//! An environment in numbers: which services could have to move, between which versions, and under which rules.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use lockstep_solver::{Bar, Need, Preference, Rule, Service as Number, Versions};
use lockstep_what_if::{ABSENT, Lift, Named, Origin, Question, only};

use crate::baseline::BaselineEntry;
use crate::compat::{Relation, judge};
use crate::contract::{ContractKind, Requirement};
use crate::digest::Digest;
use crate::environment::Environment;
use crate::instance::ConfigRevision;
use crate::name::ServiceName;
use crate::plan::check;
use crate::plan::order::Direction;
use crate::plan::refusal::{Refusal, unmet_words};
use crate::plan::resolve::way_back;
use crate::plan::smallest::Search;
use crate::plan::smallest::export::refused_alone;
use crate::resource::needs::lacking;
use crate::service::Version;
use crate::version::{VersionNumber, VersionRef};
use crate::ways_back::lost;

/// Baselines that are looked at for versions that ran together: the newest ones, which are the likely ones.
const MAX_BASELINES: usize = 100;

/// Going back, which versions come that nobody named although they are held, or their life is over.
#[derive(Clone, Copy)]
pub(super) enum Despite<'a> {
    /// None.
    Nothing,
    /// All but these.
    AllBut(&'a BTreeSet<VersionRef>),
}

/// What a fleet is made for.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a> {
    /// The versions that are named.
    pub(super) named: &'a [VersionRef],
    pub(super) direction: Direction,
    /// Services that nothing ties to what is wanted, and that a refusal named.
    pub(super) joined: &'a [ServiceName],
    pub(super) despite: Despite<'a>,
    /// Nothing is planned of what is found in it, so what would be refused then is a rule from the beginning.
    pub(super) stands_alone: bool,
}

/// What may move in an environment.
pub(super) struct Fleet<'a> {
    pub(super) question: Question,
    pub(super) services: Vec<Member<'a>>,
    places: BTreeMap<&'a ServiceName, usize>,
}

/// A service of it.
pub(super) struct Member<'a> {
    pub(super) name: &'a ServiceName,
    /// The oldest first. One that is not there yet has a place behind them.
    pub(super) versions: Vec<&'a Version>,
    current: Option<u32>,
}

impl Member<'_> {
    fn reference(&self, at: u32) -> Option<VersionRef> {
        let version = self.versions.get(at as usize)?.number.clone();
        Some(VersionRef { service: self.name.clone(), version })
    }

    /// The number of versions, and of not being there where it is not.
    fn count(&self) -> u32 {
        let count = u32::try_from(self.versions.len()).unwrap_or(u32::MAX - 1);
        count + u32::from(self.current.is_none())
    }

    /// Where it is now.
    pub(super) fn at(&self) -> u32 {
        self.current.unwrap_or(self.count() - 1)
    }

    /// What it costs that it moves: as the version that runs says, or else the newest.
    fn criticality(&self) -> u64 {
        let runs = self.current.and_then(|at| self.versions.get(at as usize));
        runs.or(self.versions.last()).map_or(1, |version| u64::from(version.criticality.get()))
    }
}

/// Versions that require the same, and what that is.
type Alike<'a> = (Vec<&'a Requirement>, Vec<u32>);

impl<'a> Fleet<'a> {
    /// What could have to move for what is wanted.
    pub(super) fn of_wishes(search: &Search<'a>, environment: &'a Environment, terms: &Terms<'_>) -> Self {
        let wished = search.wishes.iter().map(|wish| &wish.service);
        let begin = terms.named.iter().map(|version| &version.service).chain(wished).chain(terms.joined);
        let mut fleet = Self::begin(search, environment, begin.cloned().collect(), terms.direction);
        fleet.want(search, terms.named);
        fleet.rule(search, environment, terms);
        fleet
    }

    /// Everything that runs, and what it could require.
    pub(super) fn of_all(search: &Search<'a>, environment: &'a Environment) -> Self {
        let all = environment.entries().keys().cloned().collect();
        let mut fleet = Self::begin(search, environment, all, Direction::Forward);
        let terms = Terms {
            stands_alone: true,
            named: &[],
            direction: Direction::Forward,
            joined: &[],
            despite: Despite::Nothing,
        };
        fleet.rule(search, environment, &terms);
        fleet
    }

    /// The services that what is wanted is tied to, whatever versions they go to.
    fn begin(
        search: &Search<'a>,
        environment: &'a Environment,
        begin: Vec<ServiceName>,
        direction: Direction,
    ) -> Self {
        let relation = search.relation;
        let candidates = Candidates::new(relation, environment, direction);
        let mut members: Vec<Member<'a>> = Vec::new();
        let mut places = BTreeMap::new();
        let consumers = candidates.consumers();
        let mut open: VecDeque<ServiceName> = begin.into();
        while let Some(name) = open.pop_front() {
            let name = relation.world.current_name(&name);
            let Some(service) = relation.world.service(name) else { continue };
            if places.contains_key(&service.name) {
                continue;
            }
            let versions = candidates.of(name);
            for version in &versions {
                open.extend(relation.world.requirements(version).map(|(provider, _)| provider.clone()));
            }
            open.extend(consumers.get(name).into_iter().flatten().map(|consumer| (*consumer).clone()));
            let runs = environment.entries().get(name).map(|entry| &entry.version);
            let current = runs.and_then(|runs| versions.iter().position(|version| version.number == *runs));
            let current = current.and_then(|at| u32::try_from(at).ok());
            places.insert(&service.name, members.len());
            members.push(Member { name: &service.name, versions, current });
        }
        let question =
            Question::new(members.iter().map(named).collect(), members.iter().map(number).collect());
        Self { question, services: members, places }
    }

    /// Finds the place of a service.
    pub(super) fn find(&self, service: &ServiceName) -> Option<usize> {
        self.places.get(service).copied()
    }

    /// What a target moves.
    pub(super) fn moved(&self, target: &[u32]) -> Vec<VersionRef> {
        let moved = self.question.problem.moved(target).into_iter();
        moved.filter_map(|service| self.services[service].reference(target[service])).collect()
    }

    /// Says why two versions do not work together.
    pub(super) fn why(&self, relation: Relation<'a>) -> impl Fn(&Need, u32, u32) -> Option<String> {
        move |need, consumer, provider| {
            let [consumer, provider] = [(need.consumer, consumer), (need.provider, provider)]
                .map(|(service, at)| (self.services[service].name, self.services[service].reference(at)));
            let entry = |version: Option<VersionRef>| {
                version.map(|it| BaselineEntry { version: it.version, config: ConfigRevision(0) })
            };
            let [uses, offers] = [entry(consumer.1), entry(provider.1)];
            let unmet = relation.unmet((consumer.0, uses.as_ref()), (provider.0, offers.as_ref()))?;
            Some(unmet_words(&unmet))
        }
    }

    fn want(&mut self, search: &Search<'_>, named: &[VersionRef]) {
        for (index, version) in named.iter().enumerate() {
            let Some(service) = self.find(&version.service) else { continue };
            let member = &self.services[service];
            let at = member.versions.iter().position(|it| it.number == version.version);
            let Some(at) = at.and_then(|at| u32::try_from(at).ok()) else { continue };
            let rules = only(service, at, member.count());
            let wanted = format!("at {}", version.version);
            self.question.add(Origin::Wish { index, service, wanted, command: None }, rules);
        }
        for (index, wish) in (named.len()..).zip(search.wishes) {
            let service = search.relation.world.current_name(&wish.service);
            let Some(service) = self.find(service) else { continue };
            let member = &self.services[service];
            let number = |at: u32| member.versions.get(at as usize).map(|version| &version.number);
            let current = number(member.at());
            let barred: Versions = (0..member.count())
                .filter(|&at| !wish.wanted.allows(number(at), current))
                .map(|at| at..at + 1)
                .collect();
            let bar =
                |versions: &std::ops::Range<u32>| Rule::Bar(Bar { service, versions: versions.clone() });
            let rules: Vec<_> = barred.parts().iter().map(bar).collect();
            let wanted = wish.wanted.to_string();
            self.question.add(Origin::Wish { index, service, wanted, command: None }, rules);
        }
    }

    fn rule(&mut self, search: &Search<'a>, environment: &Environment, terms: &Terms<'_>) {
        for service in 0..self.services.len() {
            for (versions, text, lifts) in self.barred(search, environment, terms, service) {
                self.question.add(Origin::Other { text, lifts }, [Rule::Bar(Bar { service, versions })]);
            }
        }
        for consumer in 0..self.services.len() {
            for (text, need) in self.needs(search.relation, consumer) {
                self.question.add(Origin::Requirement { text }, [Rule::Need(need)]);
            }
        }
        self.weigh_steps_down(search.relation, environment);
        self.prefer_proved(environment);
    }
}

/// Versions that must not come: which, why, and what ends that.
type Barred = (std::ops::Range<u32>, String, Vec<Lift>);

/// The same of one version, with what it has in common with others.
struct Barrier {
    at: u32,
    kind: String,
    text: String,
    lift: Option<Lift>,
}

/// What keeps a version from coming by itself, here and now.
pub(super) fn against(search: &Search<'_>, environment: &Environment, version: &VersionRef) -> Vec<Refusal> {
    let stage = check::stage(search.relation.world, environment, version, search.now);
    check::held(environment, version, Direction::Forward).into_iter().chain(stage).collect()
}

impl<'a> Fleet<'a> {
    /// The versions that must not come, each with why. What runs may always stay.
    fn barred(
        &self,
        search: &Search<'_>,
        environment: &Environment,
        terms: &Terms<'_>,
        service: usize,
    ) -> Vec<Barred> {
        let member = &self.services[service];
        let world = search.relation.world;
        let mut barred: Vec<Barrier> = Vec::new();
        for (at, version) in (0_u32..).zip(&member.versions) {
            if member.current == Some(at) {
                continue;
            }
            let reference = VersionRef { service: member.name.clone(), version: version.number.clone() };
            let nowhere = world.requirements(version).find(|(provider, _)| self.find(provider).is_none());
            barred.extend(nowhere.map(|(provider, requirement)| Barrier {
                at,
                kind: format!("needs {provider}"),
                text: format!(
                    "`{reference}` requires {provider} {requirement}, and there is no such service"
                ),
                lift: None,
            }));
            let mut refusals: Vec<Refusal> = lacking(world, environment, &reference);
            refusals.extend(terms.against(search, environment, &reference));
            if terms.stands_alone {
                refusals.extend(refused_alone(search, environment, &reference));
            }
            barred.extend(refusals.iter().map(|refusal| Barrier {
                at,
                kind: kind(refusal),
                text: refusal.to_string(),
                lift: lift(at, refusal),
            }));
            if !(search.has_artifact)(&reference) {
                barred.push(Barrier { at, kind: "artifact".into(), text: lost(&reference), lift: None });
            }
        }
        self.joined(service, barred)
    }

    /// Versions beside each other that must not come for the same reason are told at once: what is not told apart costs no search.
    fn joined(&self, service: usize, barred: Vec<Barrier>) -> Vec<Barred> {
        let mut kinds: BTreeMap<String, Vec<Vec<Barrier>>> = BTreeMap::new();
        for barrier in barred {
            let runs = kinds.entry(barrier.kind.clone()).or_default();
            match runs.last_mut().filter(|run| run.last().is_some_and(|last| last.at + 1 == barrier.at)) {
                Some(run) => run.push(barrier),
                None => runs.push(vec![barrier]),
            }
        }
        kinds.into_values().flatten().filter_map(|run| self.told(service, run)).collect()
    }

    fn told(&self, service: usize, run: Vec<Barrier>) -> Option<Barred> {
        let (first, last) = (run.first()?.at, run.last()?.at);
        let name = self.services[service].name;
        let mut text = run.first()?.text.clone();
        if first < last {
            let to = self.services[service].reference(last)?.version;
            text = format!("{text}; so it is with every version of {name} up to {to}");
        }
        Some((first..last + 1, text, run.into_iter().filter_map(|barrier| barrier.lift).collect()))
    }

    /// What versions of a service require of others.
    fn needs(&self, relation: Relation<'a>, consumer: usize) -> Vec<(String, Need)> {
        let member = &self.services[consumer];
        let mut groups: BTreeMap<usize, Vec<Alike<'a>>> = BTreeMap::new();
        for (at, version) in (0_u32..).zip(&member.versions) {
            let mut of: BTreeMap<usize, Vec<&'a Requirement>> = BTreeMap::new();
            for (provider, requirement) in relation.world.requirements(version) {
                if let Some(provider) = self.find(provider) {
                    of.entry(provider).or_default().push(requirement);
                }
            }
            for (provider, requirements) in of {
                let groups = groups.entry(provider).or_default();
                match groups.iter_mut().find(|(same, _)| *same == requirements) {
                    Some((_, versions)) => versions.push(at),
                    None => groups.push((requirements, vec![at])),
                }
            }
        }
        let needs = groups.into_iter().flat_map(|(provider, groups)| {
            groups.into_iter().flat_map(move |(requirements, used)| {
                let text: Vec<_> = requirements.iter().map(ToString::to_string).collect();
                let offered = self.offered(relation, provider, &requirements);
                let split = self.split(consumer, &used, provider, offered);
                split.into_iter().map(move |need| (text.join(" and "), need))
            })
        });
        needs.collect()
    }

    /// The versions of a provider that meet requirements. Versions that are alike to them are judged once.
    fn offered(&self, relation: Relation<'a>, provider: usize, requirements: &[&Requirement]) -> Versions {
        type Likeness<'v> = (Vec<Option<bool>>, Vec<(ContractKind, &'v str, Digest)>);
        let mut judged: HashMap<Likeness<'_>, bool> = HashMap::new();
        let versions = (0_u32..).zip(&self.services[provider].versions);
        let met = versions.filter(|(_, version)| {
            let promised = |it: &&Requirement| it.range.as_ref().map(|range| range.contains(&version.number));
            let offers = version.contracts.iter().map(|it| (it.kind, it.name.as_str(), it.digest));
            let likeness = (requirements.iter().map(promised).collect(), offers.collect());
            let is_met = |it: &&Requirement| judge(relation.contracts, it, version).is_met();
            *judged.entry(likeness).or_insert_with(|| requirements.iter().all(is_met))
        });
        met.map(|(at, _)| at..at + 1).collect()
    }

    /// What is unmet already may stay as it is: nobody could mend anything else otherwise.
    fn split(&self, consumer: usize, used: &[u32], provider: usize, offered: Versions) -> Vec<Need> {
        let runs = self.services[consumer].current.filter(|at| used.contains(at));
        let beside = self.services[provider].at();
        let broken = runs.filter(|_| !offered.contains(beside) && consumer != provider);
        let others: Versions = used.iter().filter(|at| Some(**at) != broken).map(|at| *at..*at + 1).collect();
        let mut needs = Vec::new();
        if let Some(broken) = broken {
            let offered =
                offered.parts().iter().cloned().chain(std::iter::once(beside..beside + 1)).collect();
            needs.push(Need { consumer, used: (broken..broken + 1).into(), provider, offered });
        }
        if !others.is_empty() {
            needs.push(Need { consumer, used: others, provider, offered });
        }
        needs
    }
}

impl Fleet<'_> {
    /// Of targets that are alike in everything else, one whose pairs ran together here already is better than one that was only computed.
    fn prefer_proved(&mut self, environment: &Environment) {
        let mut pairs: BTreeMap<(usize, usize), Vec<std::ops::Range<u32>>> = BTreeMap::new();
        for (_, need) in self.question.problem.needs() {
            pairs
                .entry((need.consumer, need.provider))
                .or_default()
                .extend(need.used.parts().iter().cloned());
        }
        let mut proved: BTreeMap<(usize, usize), BTreeSet<(u32, u32)>> = BTreeMap::new();
        for baseline in environment.baselines.newest_first().take(MAX_BASELINES) {
            let at = |service: usize| {
                let member = &self.services[service];
                let entry = baseline.entries.get(member.name)?;
                let at = member.versions.binary_search_by(|it| it.number.cmp(&entry.version)).ok()?;
                u32::try_from(at).ok()
            };
            for (consumer, provider) in pairs.keys() {
                let pair = at(*consumer).zip(at(*provider));
                proved.entry((*consumer, *provider)).or_default().extend(pair);
            }
        }
        for ((consumer, provider), used) in pairs {
            let free = used.into_iter().collect::<Versions>().others(self.services[consumer].count());
            let free = free.parts().iter().map(|part| vec![(consumer, part.clone())]);
            let together = proved.remove(&(consumer, provider)).unwrap_or_default();
            let together = together
                .into_iter()
                .map(|(uses, offers)| vec![(consumer, uses..uses + 1), (provider, offers..offers + 1)]);
            self.question.problem.preferences.push(Preference(free.chain(together).collect()));
        }
    }
}

impl Terms<'_> {
    /// What keeps a version from coming. Whoever goes back may name what is held, or whose life is over; nobody else brings it.
    fn against(&self, search: &Search<'_>, environment: &Environment, version: &VersionRef) -> Vec<Refusal> {
        let refusals = against(search, environment, version);
        if self.direction == Direction::Forward {
            return refusals;
        }
        let is_named = self.named.iter().any(|named| named.service == version.service);
        let may_come = match self.despite {
            Despite::Nothing => false,
            Despite::AllBut(kept) => !kept.contains(version),
        };
        if is_named || may_come {
            return Vec::new();
        }
        refusals.into_iter().filter(is_kept_away).collect()
    }
}

/// Tells whether a version that ran here does not come back by itself.
pub(super) const fn is_kept_away(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Held { .. } | Refusal::StageEnded { .. })
}

/// What a refusal of a version has in common with that of others.
fn kind(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Held { version, .. } => format!("hold of {version}"),
        Refusal::StageTooEarly { stage, .. } | Refusal::StageEnded { stage, .. } => format!("stage {stage}"),
        Refusal::NoResource { resource, .. } => format!("resource {resource}"),
        other => other.to_string(),
    }
}

/// What ends a refusal, and the command for that.
fn lift(version: u32, refusal: &Refusal) -> Option<Lift> {
    let what = match refusal {
        Refusal::Held { version, .. } => format!("release the hold of {version}"),
        Refusal::StageTooEarly { version, accepts_from, .. } => {
            format!("bring {version} to stage {accepts_from}")
        }
        Refusal::NoResource { resource, environment, .. } => {
            format!("give {environment} the resource {resource}")
        }
        Refusal::StageUnknown { environment, .. } => format!("let {environment} accept another stage"),
        _ => return None,
    };
    Some(Lift { version, what, command: refusal.hint()? })
}

fn named(member: &Member<'_>) -> Named {
    let absent = member.current.is_none().then(|| ABSENT.to_owned());
    Named {
        name: member.name.to_string(),
        versions: member.versions.iter().map(|version| version.number.to_string()).chain(absent).collect(),
        may_be_absent: member.current.is_none(),
        is_pinned: false,
    }
}

fn number(member: &Member<'_>) -> Number {
    Number { versions: member.count(), current: member.at(), criticality: member.criticality() }
}

/// Which versions services can go to.
struct Candidates<'a> {
    relation: Relation<'a>,
    environment: &'a Environment,
    /// Going back: which versions ran here.
    ran: Option<BTreeMap<&'a ServiceName, BTreeSet<&'a VersionNumber>>>,
}

impl<'a> Candidates<'a> {
    fn new(relation: Relation<'a>, environment: &'a Environment, direction: Direction) -> Self {
        let ran = || {
            let mut ran: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
            for (service, entry) in environment.baselines.newest_first().flat_map(|it| it.entries.iter()) {
                ran.entry(service).or_default().insert(&entry.version);
            }
            ran
        };
        Self { relation, environment, ran: (direction == Direction::Back).then(ran) }
    }

    /// The versions of a service that can be looked at: all of them, or those that ran here.
    fn known(&self, service: &ServiceName) -> impl Iterator<Item = &'a Version> {
        let found = self.relation.world.service(service);
        let all = found.into_iter().flat_map(|found| found.versions.iter());
        let ran = self.ran.as_ref().map(|ran| ran.get(service).cloned().unwrap_or_default());
        let is_known = move |number: &VersionNumber| ran.as_ref().is_none_or(|ran| ran.contains(number));
        all.filter(move |(number, _)| is_known(number)).map(|(_, version)| &**version)
    }

    /// The versions that a service can go to, and the one that runs, the oldest first.
    fn of(&self, service: &ServiceName) -> Vec<&'a Version> {
        let runs = self.environment.entries().get(service).map(|entry| &entry.version);
        let may_come = |version: &&Version| {
            let reference = VersionRef { service: service.clone(), version: version.number.clone() };
            self.ran.is_none()
                || runs == Some(&version.number)
                || way_back(self.relation.world, self.environment, &reference).is_ok()
        };
        self.known(service).filter(may_come).collect()
    }

    /// Which services that run require which, in any version.
    fn consumers(&self) -> BTreeMap<&'a ServiceName, BTreeSet<&'a ServiceName>> {
        let mut consumers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for consumer in self.environment.entries().keys() {
            for version in self.known(consumer) {
                for (provider, _) in self.relation.world.requirements(version) {
                    consumers.entry(provider).or_default().insert(consumer);
                }
            }
        }
        consumers
    }
}
