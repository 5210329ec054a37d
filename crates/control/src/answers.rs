//! Comparing answers of versions on trial with their contracts, on a thread for each trial.
//!
//! Bodies are in memory until they were compared, and nowhere else. What stays are counts, and what is wrong in words that
//! show only names of the contract. Invariant: an operation is compared in both arms or in neither, each with its own contract.

use std::collections::{BTreeMap, HashSet};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use lockstep_contract::{AnswerCheck, Answered, Parsed, Snapshot};
use lockstep_domain::Arm;
use lockstep_domain::watch::{AnswerSample, ArmCounts, ByWeight};
use lockstep_judge::{Answers, Counts, RouteClass};

use crate::lock;

/// Answers that wait to be compared: some seconds' worth of a few gateways. What comes beyond is not compared.
const MAX_WAITING: usize = 256;
/// Keys with broken answers that are remembered; beyond it no further key counts.
const MAX_KEYS: usize = 100_000;

/// What was found so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Found {
    /// How many answers were compared, and how many of them are not what the contract says.
    pub(crate) counts: ByWeight,
    /// What is wrong with answers of the new arm, as it was found first.
    pub(crate) wrong: BTreeMap<RouteClass, String>,
}

/// Compares answers of one trial. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct AnswerChecker {
    waiting: SyncSender<AnswerSample>,
    found: Arc<Mutex<Found>>,
}

impl AnswerChecker {
    /// Begins with the contracts of both arms, the new one's first.
    pub(crate) fn start(new: Arm, contracts: [Vec<Snapshot>; 2]) -> std::io::Result<Self> {
        let (waiting, samples) = sync_channel(MAX_WAITING);
        let found = Arc::new(Mutex::new(Found::default()));
        let noted = Arc::clone(&found);
        thread::Builder::new()
            .name("answers".into())
            .spawn(move || run(&new, &contracts, &samples, &noted))?;
        Ok(Self { waiting, found })
    }

    /// Lets an answer be compared when its turn comes.
    pub(crate) fn compare(&self, sample: AnswerSample) {
        // Which answers are not compared depends on how many there are, not on the arm.
        let _ = self.waiting.try_send(sample);
    }

    /// Returns what was found so far.
    pub(crate) fn found(&self) -> Found {
        lock(&self.found).clone()
    }
}

fn run(new: &Arm, contracts: &[Vec<Snapshot>; 2], samples: &Receiver<AnswerSample>, found: &Mutex<Found>) {
    let parsed = contracts.each_ref().map(|all| all.iter().filter_map(read).collect::<Vec<_>>());
    let mut checks = parsed.each_ref().map(|all| all.iter().filter_map(AnswerCheck::of).collect::<Vec<_>>());
    let mut keys = HashSet::new();
    for sample in samples {
        let speaks = |checks: &[AnswerCheck<'_>]| {
            checks.iter().position(|check| check.speaks_of(sample.class.as_str()))
        };
        let [Some(in_new), Some(in_old)] = checks.each_ref().map(|checks| speaks(checks)) else { continue };
        let is_new = sample.arm == *new;
        let check = if is_new { &mut checks[0][in_new] } else { &mut checks[1][in_old] };
        let AnswerSample { class, status, media_type, body, .. } = &sample;
        let wrong = match check.check(class.as_str(), *status, media_type, &body.0) {
            Answered::Unknown => continue,
            Answered::AsPromised => None,
            Answered::Broken(why) => Some(format!("{class} {status}: {why}")),
        };
        let mut found = lock(found);
        note(&mut found.counts, &sample, wrong.is_some(), &mut keys);
        if let Some(wrong) = wrong.filter(|_| is_new) {
            found.wrong.entry(sample.class.clone()).or_insert(wrong);
        }
    }
}

fn read(snapshot: &Snapshot) -> Option<Parsed<'_>> {
    Parsed::read(&snapshot.source, snapshot.kind).ok()
}

/// What a key with a broken answer counts in: the total, and its operation.
type Scope = Option<RouteClass>;

fn note(counts: &mut ByWeight, sample: &AnswerSample, is_broken: bool, keys: &mut HashSet<(Scope, u64)>) {
    let mut count = |scope: Scope| {
        let is_first = |key| keys.len() < MAX_KEYS && keys.insert((scope.clone(), key));
        let key = u64::from(is_broken && sample.key.is_none_or(is_first));
        let broken = Answers { answers: u64::from(is_broken), keys: key };
        Counts { checked: 1, broken, ..Counts::default() }
    };
    let (total, of_class) = (count(None), count(Some(sample.class.clone())));
    let classes = BTreeMap::from([(sample.class.clone(), of_class)]);
    let arms = counts.entry(sample.weight).or_default();
    arms.entry(sample.arm.clone()).or_default().add(&ArmCounts { total, classes });
}

#[cfg(test)]
mod tests {
    use lockstep_contract::{Kind, Source};
    use lockstep_domain::watch::SampledBody;
    use lockstep_domain::{ConfigRevision, VersionNumber};

    use super::*;

    fn arm(minor: u64) -> Arm {
        let service = "orders".parse().unwrap();
        Arm { service, version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0), process: None }
    }

    fn contract(required: &str) -> Vec<Snapshot> {
        let text = format!(
            r#"{{"openapi":"3.0.3","info":{{"title":"o","version":"1"}},"paths":{{"/orders/{{id}}":{{"get":{{"responses":{{"200":
            {{"description":"d","content":{{"application/json":{{"schema":{{"type":"object","required":["{required}"]}}}}}}}}}}}}}}}}}}"#
        );
        let source = Source::file("openapi.json", text.into_bytes());
        vec![Snapshot { kind: Kind::OpenApi, source, settings: Default::default() }]
    }

    fn sample(minor: u64, key: Option<u64>, body: &str) -> AnswerSample {
        AnswerSample {
            service: "orders".parse().unwrap(),
            trial: "operation 1".into(),
            weight: 500,
            arm: arm(minor),
            class: "GET /orders/{id}".parse().unwrap(),
            key,
            status: 200,
            media_type: "application/json".into(),
            body: SampledBody(body.into()),
        }
    }

    fn found(contracts: &[Vec<Snapshot>; 2], samples: Vec<AnswerSample>) -> Found {
        let (send, receive) = sync_channel(MAX_WAITING);
        samples.into_iter().for_each(|sample| send.send(sample).unwrap());
        drop(send);
        let found = Mutex::default();
        run(&arm(1), contracts, &receive, &found);
        found.into_inner().unwrap()
    }

    #[test]
    fn each_arm_is_compared_with_its_own_contract_and_a_key_counts_once() {
        let samples = vec![
            sample(1, Some(7), r#"{"id":1}"#),
            sample(1, Some(7), r#"{"id":1}"#),
            sample(1, None, "<html>"),
            sample(1, None, r#"{"total":1}"#),
            sample(0, Some(8), r#"{"id":1}"#),
        ];
        let found = found(&[contract("total"), contract("id")], samples);
        let arms = &found.counts[&500];
        assert_eq!((arms[&arm(1)].total.checked, arms[&arm(0)].total.checked), (4, 1));
        assert_eq!(arms[&arm(1)].total.broken, Answers { answers: 3, keys: 2 });
        assert_eq!(arms[&arm(0)].total.broken, Answers::default());
        let wrong: Vec<_> = found.wrong.values().collect();
        assert_eq!(wrong, ["GET /orders/{id} 200: `total` is missing; required by the contract"]);
    }

    #[test]
    fn what_only_one_of_the_contracts_speaks_of_is_not_compared() {
        let samples = || vec![sample(1, None, "<html>"), sample(0, None, "<html>")];
        assert_eq!(found(&[contract("total"), Vec::new()], samples()), Found::default());
        assert_eq!(found(&[Vec::new(), Vec::new()], samples()), Found::default());
    }

    #[test]
    fn a_body_is_never_shown() {
        let text = format!("{:?}", sample(1, None, r#"{"secret":"ann"}"#));
        assert!(!text.contains("ann") && text.contains("16 bytes"), "{text}");
    }
}
