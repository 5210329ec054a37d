//! A short catalogue of faults: real services, real requests through a real gateway, and what the judge says of what the
//! gateway counted. Each fault is labelled; precision and recall are printed.
//!
//! What a server does beside that is as small as it can be here: it starts what ended again, sends requests only to what
//! answered before, and tells the judge of a crash loop.

mod process;

use std::collections::BTreeMap;
use std::thread;

use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use lockstep_domain::watch::{AnswerSample, ArmCounts, LATENCY_CLASSES, Watch, Watched, latency_bound_ms};
use lockstep_judge::{
    Answers, Bake, Counts, Evidence, Fault, Health, Interval, Judgement, Look, Measure, Names, Pair, Plan,
    Reading, RouteClass, Scope, Split, Unit, Verdict, Waiting, Weight, decide, latency_bounds,
};

use crate::support::*;
use process::Process;

/// Half of all keys, because that decides soonest.
const WEIGHT: u32 = 5_000;
const CLIENTS: usize = 4;
const REQUESTS_A_LOOK: usize = 80;
const LOOKS: u64 = 12;
/// So often it ends in a crash loop.
const MAX_ENDS: u32 = 3;
const SLOW: &str = "slow";
const BODY: &str = "body";
const PAY: &str = "GET /pay/{id}";

/// What is known of a version before anybody judged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    /// Worse than is tolerated.
    Bad,
    Good,
}

/// A version, what is right to say of it, and what has to be named.
struct Case {
    name: &'static str,
    /// What the old and the new version do.
    faults: [&'static str; 2],
    label: Label,
    is_named: fn(&Verdict) -> bool,
}

const fn case(name: &'static str, new: &'static str, label: Label, is_named: fn(&Verdict) -> bool) -> Case {
    Case { name, faults: ["none", new], label, is_named }
}

fn catalogue() -> Vec<Case> {
    use Label::{Bad, Good};
    vec![
        case("30 % of requests fail", "errors-30", Bad, |verdict| {
            worse(verdict, &Scope::Total, Measure::Failures)
        }),
        case("one route fails", "route", Bad, |verdict| worse(verdict, &pay(), Measure::Failures)),
        case("40 times slower", SLOW, Bad, slower),
        case("ready late, then as good", "late", Good, passes),
        case("leaks until it is killed", "leak", Bad, |verdict| matches!(verdict, Verdict::Fail(_))),
        case("ends at each start", "crash", Bad, |verdict| has(verdict, &Fault::CrashLoop)),
        case("answers without what the contract requires", "body", Bad, breaks_contract),
        case("404 to everything", "lost", Bad, is_lost),
        Case {
            name: "the same code, 3 % fail in both",
            faults: ["errors-3", "errors-3"],
            label: Good,
            is_named: |verdict| !matches!(verdict, Verdict::Fail(_)),
        },
        case("the same code", "none", Good, passes),
    ]
}

fn pay() -> Scope {
    Scope::Class(PAY.parse().unwrap())
}

fn worse(verdict: &Verdict, wanted: &Scope, of: Measure) -> bool {
    let Verdict::Fail(faults) = verdict else { return false };
    faults.iter().any(
        |fault| matches!(fault, Fault::Worse { scope, measure, .. } if scope == wanted && *measure == of),
    )
}

fn slower(verdict: &Verdict) -> bool {
    let Verdict::Fail(faults) = verdict else { return false };
    faults.iter().any(|fault| matches!(fault, Fault::Worse { measure: Measure::Slower { .. }, .. }))
}

fn breaks_contract(verdict: &Verdict) -> bool {
    worse(verdict, &pay(), Measure::Broken)
}

fn has(verdict: &Verdict, fault: &Fault) -> bool {
    matches!(verdict, Verdict::Fail(faults) if faults.contains(fault))
}

/// It is no failure by the usual rules, but it never passes, and says why.
fn is_lost(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::None(waiting) if waiting.iter().any(|one| matches!(one, Waiting::Lost { .. })))
}

const fn passes(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Pass(_))
}

/// Tells whether a version is stopped: taken back, or held back for what it did and not for a lack of requests.
fn is_stopped(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail(_)) || is_lost(verdict)
}

#[test]
fn every_fault_of_the_catalogue_is_stopped_for_its_own_reason_and_nothing_else_is() {
    let (mut right, mut missed, mut false_alarms, mut wrong) = (0, 0, 0, Vec::new());
    for case in catalogue() {
        let (looks, judgement) = Trial::start(&case).run();
        let names = Names { service: "shop", new: "1.1.0", old: "1.0.0", of: Unit::Requests };
        println!("{:?} after {looks} looks: {}: {}", case.label, case.name, judgement.sentence(&names));
        match (case.label, is_stopped(&judgement.verdict)) {
            (Label::Bad, true) => right += 1,
            (Label::Bad, false) => missed += 1,
            (Label::Good, true) => false_alarms += 1,
            (Label::Good, false) => {}
        }
        if !(case.is_named)(&judgement.verdict) {
            wrong.push(format!("{}: {judgement:?}", case.name));
        }
    }
    let part = |other: u32| f64::from(right) / f64::from((right + other).max(1));
    println!("precision {:.2}, recall {:.2}", part(false_alarms), part(missed));
    assert_eq!((right, missed, false_alarms), (7, 0, 0), "{wrong:#?}");
    assert!(wrong.is_empty(), "stopped, and not for its own reason, or not passed: {wrong:#?}");
}

/// A version on trial beside an old one.
struct Trial {
    running: Running,
    old: Process,
    new: Process,
    plan: Plan,
    evidence: Evidence,
    counted: Both,
    ends: u32,
    revision: u64,
    looks: u64,
}

/// What both arms did since the trial began, the new one first.
type Both = [ArmCounts; 2];

impl Trial {
    fn start(case: &Case) -> Self {
        let [mut old, new] = case.faults.map(Process::start);
        assert!(old.is_ready(), "the old version serves");
        let running = Running::start(&[stable(0, &[("old", old.address())])]);
        ask(&running, "before", REQUESTS_A_LOOK);
        // Of two equal processes on a host that others load, one is really slower for seconds; that is no fault of a version.
        let is_about_latency = case.faults.contains(&SLOW);
        let latency_bounds_ms =
            if is_about_latency { latency_bounds(&usual(&running)) } else { Default::default() };
        assert_eq!(latency_bounds_ms.is_empty(), !is_about_latency);
        let plan = Plan {
            classes: [PAY.parse().unwrap(), other()].into(),
            latency_bounds_ms,
            checks_bodies: true,
            ..Plan::default()
        };
        assert_eq!(plan.check(), Ok(()));
        let counted = Both::default();
        // Of bodies a few are compared in a second, so that takes longer.
        let looks = if case.faults.contains(&BODY) { 100 * LOOKS } else { LOOKS };
        Self { running, old, new, plan, evidence: Evidence::default(), counted, ends: 0, revision: 1, looks }
    }

    /// Looks until it is decided; returns after how many looks, and what was said then.
    fn run(mut self) -> (u64, Judgement) {
        for look in 1..=self.looks {
            let health = self.revive();
            if health == Health::Ready {
                self.route();
                ask(&self.running, &look.to_string(), REQUESTS_A_LOOK);
                let interval = self.interval();
                self.evidence.take(&self.plan, &Reading::Counted(interval));
            }
            let bake = if look == self.looks { Bake::Over } else { Bake::Left(self.looks - look) };
            let judgement = decide(&self.plan, &self.evidence, &Look { health, bake });
            if matches!(judgement.verdict, Verdict::Fail(_)) || look == self.looks {
                return (look, judgement);
            }
        }
        unreachable!("the last look returns")
    }

    /// Starts what ended again, until it is ready or has ended too often.
    fn revive(&mut self) -> Health {
        while !self.new.is_ready() {
            self.ends += 1;
            if self.ends >= MAX_ENDS {
                return Health::CrashLoop;
            }
            self.new.start_again();
        }
        Health::Ready
    }

    fn route(&mut self) {
        self.revision += 1;
        let (new, old) = (("new", self.new.address()), ("old", self.old.address()));
        let mut table: RouteTable = table(self.revision, &canary(WEIGHT, new, old));
        table.services.values_mut().for_each(|routes| routes.watch = Some(self.watch()));
        self.running.gateway.apply(table).unwrap();
    }

    fn watch(&self) -> Watch {
        let rules = &self.plan.rules;
        let mut watch: Watch = serde_json::from_value(serde_json::json!({
            "trial": "operation 1",
            "operations": [{"class": PAY, "method": "GET", "path": "/pay/{id}"}],
            "answers": "sampled",
        }))
        .unwrap();
        watch.statuses = rules.failing.iter().chain(&rules.watched).cloned().collect();
        watch.latency_bounds_ms.clone_from(&self.plan.latency_bounds_ms);
        watch
    }

    /// What was counted since the look before.
    fn interval(&mut self) -> Interval {
        let GatewayReceipt { watched, samples, .. } = self.running.gateway.report(&environment());
        let [watched] = &watched[..] else { panic!("one service with one weight: {watched:?}") };
        let counted = both(watched);
        let mut grown: Vec<_> =
            counted.iter().zip(&self.counted).map(|(now, before)| now.since(before)).collect();
        self.counted = counted;
        let [new, old] = &mut grown[..] else { unreachable!("two arms") };
        samples
            .iter()
            .for_each(|sample| compare(if sample.arm.version.minor() == 1 { new } else { old }, sample));
        let none = Counts::default();
        let classes = new.classes.keys().chain(old.classes.keys()).cloned().map(|class| {
            let of = |arm: &ArmCounts| arm.classes.get(&class).unwrap_or(&none).clone();
            let pair = Pair { new: of(new), old: of(old) };
            (class, pair)
        });
        Interval {
            lasted_ms: 0,
            split: Split::Drawn(Weight(watched.weight)),
            classes: classes.collect(),
            total: Pair { new: new.total.clone(), old: old.total.clone() },
        }
    }
}

/// What a server does with its engine of contracts: `total` is required here.
fn compare(counts: &mut ArmCounts, sample: &AnswerSample) {
    let body: Option<serde_json::Value> = serde_json::from_str(&sample.body.0).ok();
    let broken = u64::from(body.is_none_or(|body| body["total"].is_null()));
    let more = Counts { checked: 1, broken: Answers::each(broken), ..Counts::default() };
    counts.total.add(&more);
    counts.classes.entry(sample.class.clone()).or_default().add(&more);
}

fn other() -> RouteClass {
    RouteClass::OTHER.parse().unwrap()
}

fn both(watched: &Watched) -> Both {
    let arms: BTreeMap<_, _> =
        watched.arms.iter().map(|(arm, counts)| (arm.version.minor(), counts)).collect();
    [1, 0].map(|minor| arms.get(&minor).map(|counts| (*counts).clone()).unwrap_or_default())
}

/// What the old version did before the trial, with everything that a bound of latency can be chosen from.
fn usual(running: &Running) -> Counts {
    let latencies = running.gateway.receipt(&environment()).latencies;
    let classes = &latencies.iter().find(|(arm, _)| arm.version.minor() == 0).unwrap().1;
    let slower = (0..LATENCY_CLASSES).filter_map(|class| {
        let bound = latency_bound_ms(class)?;
        Some((bound, Answers::each(classes[class + 1..].iter().sum())))
    });
    Counts { requests: classes.iter().sum(), slower: slower.collect(), ..Counts::default() }
}

/// Asks as several clients at once, each time with another key; a tenth of it is `/pay`.
fn ask(running: &Running, round: &str, requests: usize) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut connection = running.client();
                for i in (client..requests).step_by(CLIENTS) {
                    let path = if i % 10 == 0 { "/pay/7" } else { "/orders" };
                    if connection.get(path, &format!("{round} {i}")).is_err() {
                        connection = running.client();
                    }
                }
            });
        }
    });
}
