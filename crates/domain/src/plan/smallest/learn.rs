//! What refusals teach: which services in which versions never come together, and who has a part in it that was not thought of.

use lockstep_solver::{Bar, Cause, Rule};
use lockstep_what_if::{Lift, Origin};

use crate::name::{EnvironmentName, ServiceName};
use crate::plan::database_refusal::DatabaseRefusal;
use crate::plan::refusal::Refusal;
use crate::plan::rule_refusal::RuleRefusal;
use crate::plan::smallest::fleet::Fleet;
use crate::version::VersionRef;

/// What a refusal is about.
enum Blame {
    /// Services in the versions that they would have.
    Services(Vec<ServiceName>),
    /// Maybe all that moves.
    Everything,
    /// Nothing that another set of versions would help against.
    NoVersion,
}

/// What never comes together.
pub(super) struct Learned {
    at: Vec<(ServiceName, Place)>,
    text: String,
    /// What ends it, and the command for that.
    lift: Option<(String, String)>,
}

/// Where a service is.
#[derive(Clone, Copy)]
enum Place {
    Stays,
    At(u32),
}

/// Tells whether no other set of versions helps against a refusal: an operation is under way, or it is about something else.
pub(super) fn is_beyond_versions(refusal: &Refusal, here: &EnvironmentName) -> bool {
    matches!(blame(refusal, here), Blame::NoVersion)
}

impl Fleet<'_> {
    /// What a refusal of a target teaches, and which services it names that are not looked at yet.
    pub(super) fn lesson(
        &self,
        target: &[u32],
        refusal: &Refusal,
        here: &EnvironmentName,
    ) -> (Learned, Vec<ServiceName>) {
        let moved = self.question.problem.moved(target);
        let everything = || moved.iter().map(|&it| self.services[it].name.clone()).collect();
        let about: Vec<ServiceName> = match blame(refusal, here) {
            Blame::Services(services) => services,
            Blame::Everything | Blame::NoVersion => everything(),
        };
        // A refusal of what does not move at all is one of everything that does.
        let is_moved = |service: &ServiceName| self.find(service).is_some_and(|it| moved.contains(&it));
        let about = if about.iter().any(is_moved) { about } else { everything() };
        let place =
            |service: &ServiceName| self.find(service).map_or(Place::Stays, |it| Place::At(target[it]));
        let at = about.iter().map(|service| (service.clone(), place(service))).collect();
        let unknown = about.into_iter().filter(|service| self.find(service).is_none()).collect();
        (Learned { at, text: words(refusal), lift: lift(refusal) }, unknown)
    }

    /// What was learned never comes together again.
    pub(super) fn learn(&mut self, learned: &Learned) {
        let mut rule = self.never(learned);
        let mut lifts = Vec::new();
        // What is about one version alone keeps that version away, until it is ended.
        if let (Rule::Never(all), Some((what, command))) = (&rule, &learned.lift)
            && let [bar] = all.as_slice()
        {
            lifts.push(Lift { version: bar.versions.start, what: what.clone(), command: command.clone() });
            rule = Rule::Bar(bar.clone());
        }
        self.question.add(Origin::Other { text: learned.text.clone(), lifts }, [rule]);
    }

    /// The rule of what was learned. Whom nobody knows has no part in it.
    pub(super) fn never(&self, learned: &Learned) -> Rule {
        let at = |(service, place): &(ServiceName, Place)| {
            let service = self.find(service)?;
            let at = match place {
                Place::Stays => self.services[service].at(),
                Place::At(at) => *at,
            };
            Some(Bar { service, versions: at..at + 1 })
        };
        Rule::Never(learned.at.iter().filter_map(at).collect())
    }

    /// Tells whether a refusal is of a version that some causes kept away, which are ended.
    pub(super) fn is_ended(
        &self,
        refusal: &Refusal,
        (target, here): (&[u32], &EnvironmentName),
        ended: &[Cause],
    ) -> bool {
        let is_of_bar = matches!(
            refusal,
            Refusal::Held { .. }
                | Refusal::StageTooEarly { .. }
                | Refusal::StageUnknown { .. }
                | Refusal::NoResource { .. }
                | Refusal::Rule(RuleRefusal::Unmet { .. } | RuleRefusal::Keeps { .. })
        );
        let Blame::Services(services) = blame(refusal, here) else { return false };
        let Some(service) = services.first().and_then(|it| self.find(it)).filter(|_| is_of_bar) else {
            return false;
        };
        let is_let_in = |bar: &Bar| bar.service == service && bar.versions.contains(&target[service]);
        self.question.problem.bars().any(|(cause, bar)| ended.contains(&cause) && is_let_in(bar))
    }
}

/// A refusal in words. Where a database, a rule or a lane is in the way no other version may help, so what does is said as well.
fn words(refusal: &Refusal) -> String {
    let hint = match refusal {
        Refusal::Database(of_database) => Some(of_database.hint()),
        Refusal::Rule(of_rule) => of_rule.hint(),
        _ => None,
    };
    hint.map_or_else(|| refusal.to_string(), |hint| format!("{refusal} ({hint})"))
}

/// What ends a rule or a lane that is in the way.
fn lift(refusal: &Refusal) -> Option<(String, String)> {
    let Refusal::Rule(of_rule @ (RuleRefusal::Unmet { rule, .. } | RuleRefusal::Keeps { rule, .. })) =
        refusal
    else {
        return None;
    };
    let what =
        rule.lane().map_or_else(|| format!("end rule {}", rule.number), |lane| format!("end lane {lane}"));
    Some((what, of_rule.hint()?))
}

fn blame(refusal: &Refusal, here: &EnvironmentName) -> Blame {
    let of =
        |versions: &[&VersionRef]| Blame::Services(versions.iter().map(|it| it.service.clone()).collect());
    match refusal {
        Refusal::Unmet(unmet) => {
            Blame::Services(vec![unmet.consumer.service.clone(), unmet.provider.clone()])
        }
        Refusal::Held { version, .. }
        | Refusal::StageTooEarly { version, .. }
        | Refusal::StageEnded { version, .. }
        | Refusal::NoResource { version, .. }
        | Refusal::NoAddress { version, .. }
        | Refusal::FixedPort { version, .. }
        | Refusal::NeverRan { version, .. }
        | Refusal::Forward { version, .. }
        | Refusal::SpeaksOtherwise { version, .. }
        | Refusal::Rule(RuleRefusal::Keeps { version, .. }) => of(&[version]),
        Refusal::Database(
            DatabaseRefusal::Contracted { version, .. }
            | DatabaseRefusal::MayBeContracted { version, .. }
            | DatabaseRefusal::StandsBehind { version, .. }
            | DatabaseRefusal::Lacks { version, .. }
            | DatabaseRefusal::CannotStop { version, .. },
        ) => of(&[version]),
        // What the rule gives stays as it is, whatever moves: the other side of it is what does not come.
        Refusal::Rule(RuleRefusal::Unmet { rule, unmet, .. }) => {
            let sides = [&unmet.consumer.service, &unmet.provider];
            let moved: Vec<_> = sides.into_iter().filter(|it| **it != rule.service).cloned().collect();
            if moved.is_empty() { Blame::Everything } else { Blame::Services(moved) }
        }
        Refusal::Unread(unread) => of(&[&unread.reader]),
        Refusal::PortTaken { version, by, environment, .. } if environment == here => of(&[version, by]),
        // What runs in another environment does not move.
        Refusal::PortTaken { version, .. } => of(&[version]),
        Refusal::CallsWorker { caller, worker: other, .. } | Refusal::NoUrl { caller, called: other, .. } => {
            of(&[caller, other])
        }
        Refusal::Reference { service, .. }
        | Refusal::Revoked { service, .. }
        | Refusal::StageUnknown { service, .. } => Blame::Services(vec![service.clone()]),
        Refusal::RouteTaken { first, second, .. } => Blame::Services(vec![first.clone(), second.clone()]),
        Refusal::Busy { .. }
        | Refusal::Meanwhile { .. }
        | Refusal::Strategy(_)
        | Refusal::OneRevision
        | Refusal::NoRevision { .. }
        | Refusal::NoEnvironment(_)
        | Refusal::WrongPlan { .. } => Blame::NoVersion,
        _ => Blame::Everything,
    }
}
