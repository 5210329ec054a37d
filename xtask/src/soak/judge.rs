//! What a request that was not answered well means: the unavoidable end of something that was killed, or a fault.

use super::caller::{Outcome, Record, method};
use super::service::NAMES;
use super::world::World;

/// What was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Server,
    Gateway,
    Supervisor,
    Instance,
    /// An instance and its supervisor at the same moment.
    Pair,
    Guard,
}

/// Something that was killed, and what it takes with it.
#[derive(Debug, Clone)]
pub(super) struct Killed {
    pub(super) victim: Victim,
    /// The index of the gateway.
    pub(super) gateway: Option<usize>,
    /// The service of the instance.
    pub(super) service: Option<String>,
    /// When, by the clock of the clients.
    pub(super) at: u64,
    /// When it served again.
    pub(super) back: Option<u64>,
}

/// Why a request may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    /// It came to a gateway that was killed, or not started again yet.
    Gateway,
    /// A service called another one through a gateway that was killed.
    CallThroughGateway,
    /// It was under way at an instance that was killed, and could not be asked again.
    Instance,
}

impl Reason {
    /// Says it in words.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Gateway => "failed at a killed gateway",
            Self::CallThroughGateway => "failed because a service called through a killed gateway",
            Self::Instance => "failed under way at a killed instance",
        }
    }
}

/// What a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Explained(Reason),
    Fault(String),
}

/// How long after the death of an instance a gateway may still find it out: what is under way breaks at once, so this is
/// for clients and gateways that had no processor meanwhile.
const FOUND_OUT_MS: u64 = 1_000;
/// How long before the time that we wrote down a process may have been dead already.
const BEFORE_MS: u64 = 50;

/// Judges a request by what was in force and what was killed.
pub(super) fn judge(record: &Record, world: &World, killed: &[Killed]) -> Verdict {
    match &record.outcome {
        Outcome::Good(served) => {
            match served.iter().try_for_each(|served| world.allows(served, record.began, record.ended)) {
                Ok(()) => Verdict::Good,
                Err(why) => Verdict::Fault(told(record, &why)),
            }
        }
        Outcome::Wrong(why) => Verdict::Fault(told(record, &format!("a wrong answer: {why}"))),
        Outcome::Status(status, words) => failed(record, killed, &format!("status {status}: {words}")),
        Outcome::Broken(why) => failed(record, killed, &format!("no answer: {why}")),
    }
}

fn failed(record: &Record, killed: &[Killed], why: &str) -> Verdict {
    match killed.iter().find_map(|killed| explains(killed, record)) {
        Some(reason) => Verdict::Explained(reason),
        None => Verdict::Fault(told(record, why)),
    }
}

fn explains(killed: &Killed, record: &Record) -> Option<Reason> {
    let overlaps = |until: u64| record.began <= until && killed.at <= record.ended + BEFORE_MS;
    let calls = NAMES[record.service] == NAMES[0];
    match killed.victim {
        Victim::Gateway if overlaps(killed.back.unwrap_or(u64::MAX)) => {
            // Who is dead says nothing: a status comes from one that serves again, and has to be a good one.
            if killed.gateway == Some(record.gateway) && matches!(record.outcome, Outcome::Broken(_)) {
                return Some(Reason::Gateway);
            }
            // Services call each other through the first gateway.
            (calls && killed.gateway == Some(0)).then_some(Reason::CallThroughGateway)
        }
        Victim::Instance | Victim::Pair if overlaps(killed.at + FOUND_OUT_MS) => {
            let service = killed.service.as_deref()?;
            let met = service == NAMES[record.service] || (calls && service == NAMES[1]);
            met.then_some(Reason::Instance)
        }
        _ => None,
    }
}

fn told(record: &Record, why: &str) -> String {
    let Record { id, gateway, service, began, ended, .. } = record;
    let method = method(*id);
    format!(
        "{method} /{} (request {id}) through gateway {}, from {began} to {ended}: {why}",
        NAMES[*service],
        gateway + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(service: usize, gateway: usize, began: u64) -> Record {
        Record { id: 1, gateway, service, began, ended: began + 10, outcome: Outcome::Broken("reset".into()) }
    }

    fn killed(victim: Victim) -> Killed {
        Killed { victim, gateway: Some(0), service: Some("back".into()), at: 1_000, back: Some(1_500) }
    }

    #[test]
    fn only_what_met_the_dead_is_excused() {
        let world = World::default();
        let verdict = |record: &Record, victim| judge(record, &world, &[killed(victim)]);
        let (front, back, mail) = (0, 1, 2);
        assert_eq!(verdict(&record(mail, 0, 1_100), Victim::Gateway), Verdict::Explained(Reason::Gateway));
        assert_eq!(
            verdict(&record(front, 1, 1_100), Victim::Gateway),
            Verdict::Explained(Reason::CallThroughGateway)
        );
        assert!(matches!(verdict(&record(back, 1, 1_100), Victim::Gateway), Verdict::Fault(_)));
        assert!(matches!(verdict(&record(mail, 0, 1_600), Victim::Gateway), Verdict::Fault(_)));
        assert_eq!(verdict(&record(back, 1, 995), Victim::Instance), Verdict::Explained(Reason::Instance));
        assert_eq!(verdict(&record(front, 1, 995), Victim::Instance), Verdict::Explained(Reason::Instance));
        assert!(matches!(verdict(&record(mail, 1, 995), Victim::Instance), Verdict::Fault(_)));
        assert!(matches!(verdict(&record(back, 1, 3_000), Victim::Instance), Verdict::Fault(_)));
        for victim in [Victim::Server, Victim::Supervisor, Victim::Guard] {
            assert!(matches!(verdict(&record(back, 0, 1_100), victim), Verdict::Fault(_)));
        }
    }

    #[test]
    fn a_gateway_that_answers_again_is_not_excused() {
        let no = Record { outcome: Outcome::Status(502, "no instance".into()), ..record(2, 0, 1_100) };
        assert!(matches!(judge(&no, &World::default(), &[killed(Victim::Gateway)]), Verdict::Fault(_)));
    }

    #[test]
    fn an_answer_of_somebody_else_is_never_excused() {
        let wrong = Record { outcome: Outcome::Wrong("id".into()), ..record(1, 0, 1_100) };
        assert!(matches!(judge(&wrong, &World::default(), &[killed(Victim::Gateway)]), Verdict::Fault(_)));
    }
}
