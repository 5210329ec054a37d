//! The decision: pass, fail or none, from the evidence and from what else is known at this look.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::evidence::{Evidence, GUARD_PART, Stream, Suspicion, part};
use crate::likelihood::ln_sum_exp;
use crate::missing;
use crate::quantity::{Share, Times};
use crate::rules::{Plan, tolerated};
use crate::status::StatusClass;
use crate::tally::{BOUNDS, MARGIN, Tally};
use crate::trouble;
use crate::upper::upper_share;
use crate::verdict::{Beside, Fault, Judgement, Measure, Missed, Note, Proof, Scope, Seen, Verdict, Waiting};

/// Fewer failures than this take no version back by themselves, however bad it looks.
const MIN_ALL_FAIL: u64 = 5;
/// So many intervals without counters are nothing to pass on.
const MAX_MISSING: u32 = 2;
/// From this share of answers of one class on a route may be lost.
const LOST: Share = Share(500_000);
/// Slow answers take a version back only after so long.
const SLOW_FOR_MS: u64 = 20_000;
/// Most faults that are recorded; the strongest say it all.
const MAX_FAULTS: usize = 5;
/// Evidence is recorded up to this, to 1.
const MAX_EVIDENCE: f64 = 1e9;

/// What is known beside the counters at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Look {
    /// How the instances of the new version are.
    pub health: Health,
    /// How far the bake is.
    pub bake: Bake,
}

/// How the instances of the new version are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As they should be.
    Ready,
    /// They end again and again.
    CrashLoop,
    /// They are not ready any more.
    NotReady,
}

/// How far the bake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bake {
    /// It is over.
    Over,
    /// So many milliseconds are left.
    Left(u64),
}

/// Judges a new version by all that was seen of it in this rollout.
#[must_use]
pub fn decide(plan: &Plan, evidence: &Evidence, look: &Look) -> Judgement {
    let judged = Judged::new(plan, evidence);
    let faults = judged.faults(look);
    let verdict = if faults.is_empty() { judged.pass_or_none(look) } else { Verdict::Fail(faults) };
    Judgement { verdict, evidence: to_one(judged.ln_evidence), notes: judged.notes() }
}

/// Returns what a pass could miss that rests on nothing but what was seen so far.
#[must_use]
pub fn missed(plan: &Plan, evidence: &Evidence) -> Missed {
    Judged::new(plan, evidence).missed()
}

/// The plan and the evidence with what both follow from.
struct Judged<'a> {
    plan: &'a Plan,
    evidence: &'a Evidence,
    suspicions: Vec<Suspicion<'a>>,
    ln_evidence: f64,
}

impl<'a> Judged<'a> {
    fn new(plan: &'a Plan, evidence: &'a Evidence) -> Self {
        let mut suspicions = evidence.suspicions(plan);
        suspicions.sort_by(|one, other| other.ln.total_cmp(&one.ln));
        let ln_evidence = ln_sum_exp(suspicions.iter().map(|one| one.ln));
        Self { plan, evidence, suspicions, ln_evidence }
    }

    fn faults(&self, look: &Look) -> Vec<Fault> {
        let health = match look.health {
            Health::Ready => None,
            Health::CrashLoop => Some(Fault::CrashLoop),
            Health::NotReady => Some(Fault::NotReady),
        };
        health.into_iter().chain(self.all_fail()).chain(self.worse()).take(MAX_FAULTS).collect()
    }

    /// Every request fails while the old version serves, so often that chance is out of the question.
    fn all_fail(&self) -> Option<Fault> {
        let run = self.evidence.failing;
        let old = self.old_seen();
        let alone = self.evidence.total.seen.old.requests == 0;
        let served = if alone { old.requests - old.hits } else { run.old_served };
        let sure = run.keys as f64 * old_failure(old).ln() <= self.ln_guard();
        (run.keys >= MIN_ALL_FAIL && served > 0 && sure).then_some(Fault::AllFail { keys: run.keys, old })
    }

    /// How improbable a run of failures must be. Over all requests these bounds add up to the guard's part of alpha.
    fn ln_guard(&self) -> f64 {
        let requests = 100.0 + self.evidence.total.seen.new.requests as f64;
        (self.plan.rules.alpha() * GUARD_PART * 100.0).ln() - 2.0 * requests.ln()
    }

    /// The old version beside the new one, or before where none is beside it.
    fn old_seen(&self) -> Seen {
        let old = &self.evidence.total.seen.old;
        let old = if old.requests == 0 { self.plan.usual.as_ref().unwrap_or(old) } else { old };
        Seen::of(old, old.of_classes(&self.plan.rules.failing))
    }

    fn worse(&self) -> Vec<Fault> {
        let material: Vec<_> = self.material().filter(|one| self.has_lasted(one.measure)).collect();
        if ln_sum_exp(material.iter().map(|one| one.ln)) < -self.plan.rules.alpha().ln() {
            return Vec::new();
        }
        // What is a hundredth of the strongest adds nothing to the decision.
        let strongest = material.first().map_or(f64::NEG_INFINITY, |one| one.ln);
        let strong = material.iter().filter(|one| one.ln >= strongest - 100_f64.ln());
        strong.map(|one| self.fault(one)).collect()
    }

    /// The streams in which the difference matters, the strongest first. Leaving others out only makes the evidence less.
    fn material(&self) -> impl Iterator<Item = &Suspicion<'a>> + Clone {
        self.suspicions.iter().filter(|one| self.is_material(one))
    }

    fn ln_material(&self) -> f64 {
        ln_sum_exp(self.material().map(|one| one.ln))
    }

    /// Tells whether slowness has been seen for long enough. A host that is busy for some seconds makes many answers of one
    /// version slow at once, which are not as many signs; so until then it is only waited. A time that is not known is long enough.
    fn has_lasted(&self, measure: Measure) -> bool {
        let counted_ms = self.evidence.counted_ms;
        !matches!(measure, Measure::Slower { .. }) || counted_ms == 0 || counted_ms >= SLOW_FOR_MS
    }

    fn fault(&self, one: &Suspicion<'_>) -> Fault {
        let (scope, measure) = (one.scope.clone(), one.measure);
        let what = if measure == Measure::Broken { self.what(&scope) } else { String::new() };
        Fault::Worse { scope, measure, seen: self.seen(one), evidence: to_one(one.ln), what }
    }

    /// Says what was wrong first with an answer in a scope.
    fn what(&self, scope: &Scope) -> String {
        let wrong = &self.evidence.wrong;
        let what = match scope {
            Scope::Total => wrong.values().next(),
            Scope::Class(class) => wrong.get(class),
        };
        what.cloned().unwrap_or_default()
    }

    fn seen(&self, one: &Suspicion<'_>) -> Beside {
        let seen = &one.stream.seen;
        match one.measure {
            Measure::Failures => Beside::failures(&self.plan.rules, seen),
            Measure::Slower { bound_ms } => Beside::of(seen, |counts| counts.slower_than(bound_ms)),
            Measure::Broken => Beside::broken(seen),
        }
    }

    /// Tells whether a difference matters to anybody, however sure it is.
    fn is_material(&self, one: &Suspicion<'_>) -> bool {
        let rules = &self.plan.rules;
        let Beside { new, old } = self.seen(one);
        let (new, old) = (new.share(), old.share());
        let rise = Share(new.0.saturating_sub(old.0));
        match one.measure {
            Measure::Slower { .. } => rise >= rules.material_slower,
            Measure::Broken => rise >= rules.material,
            Measure::Failures => {
                let burns = |budget: Share| new.0 >= budget.0.saturating_mul(2) && new > old;
                rise >= rules.material || rules.error_budget.is_some_and(burns)
            }
        }
    }

    fn pass_or_none(&self, look: &Look) -> Verdict {
        let mut waiting = self.obstacles();
        if waiting.is_empty() {
            match self.proof() {
                Some(proof) => return Verdict::Pass(proof),
                None => waiting.extend(self.rest_of_bake(look)),
            }
        }
        if waiting.is_empty() {
            Verdict::Pass(Proof::Unproven(self.missed()))
        } else {
            Verdict::None(waiting)
        }
    }

    /// What no time and no number of requests outweighs.
    fn obstacles(&self) -> Vec<Waiting> {
        let intervals = self.evidence.missing;
        let silent = (intervals >= MAX_MISSING).then_some(Waiting::NoCounters { intervals });
        let suspicious = self.material().next().filter(|_| self.is_suspicious(self.ln_material()));
        let suspicious = suspicious.map(|one| self.suspicious(one));
        let all = [silent, self.incident(), self.fails_alone(), suspicious];
        all.into_iter().flatten().chain(self.lost()).collect()
    }

    fn is_suspicious(&self, ln_evidence: f64) -> bool {
        ln_evidence >= (self.plan.rules.suspicious.max(1) as f64).ln()
    }

    fn suspicious(&self, one: &Suspicion<'_>) -> Waiting {
        Waiting::Suspicious {
            scope: one.scope.clone(),
            measure: one.measure,
            seen: self.seen(one),
            evidence: to_one(one.ln),
            missing: missing::until_failed(self.plan, self.evidence, one),
        }
    }

    fn incident(&self) -> Option<Waiting> {
        let seen = self.evidence.now();
        trouble::hits_both(self.plan, &seen, self.evidence.trouble).then_some(Waiting::Incident { seen })
    }

    /// Nothing to compare with is no reason to pass what anybody can see to be broken: what was there before says what is usual. So it
    /// is at the last step too, where the old version has no requests any more.
    fn fails_alone(&self) -> Option<Waiting> {
        let Beside { new, old } = self.evidence.now();
        let before = Some(self.old_seen()).filter(|before| before.requests > 0);
        let alone = old.requests == 0 && trouble::is_bad(&self.plan.rules, new);
        let unusual = before.is_none_or(|before| trouble::is_far_above(new, before));
        (alone && unusual).then_some(Waiting::FailsAlone { new, before })
    }

    fn failures(&self) -> Beside {
        Beside::failures(&self.plan.rules, &self.evidence.total.seen)
    }

    fn proof(&self) -> Option<Proof> {
        let proven = self.evidence.total.failures.ln_better(MARGIN) >= -self.plan.rules.beta().ln();
        let less_than = Times::from_ratio(BOUNDS[MARGIN]);
        proven.then(|| Proof::NotWorse { less_than, seen: self.failures() })
    }

    fn missed(&self) -> Missed {
        let beta = self.plan.rules.beta();
        let times = self.evidence.total.failures.surely_below(beta).map(Times::from_ratio);
        let Seen { requests, hits } = self.failures().new;
        Missed { times, share: upper_share(hits, requests, beta), requests }
    }

    fn rest_of_bake(&self, look: &Look) -> Vec<Waiting> {
        let requests = missing::requests(self.plan, self.evidence);
        let requests = requests.map(|requests| Waiting::Requests {
            requests,
            failures: missing::until_proven(self.plan, self.evidence),
        });
        let bake = match look.bake {
            Bake::Over => None,
            Bake::Left(ms) => Some(Waiting::Bake { ms }),
        };
        requests.into_iter().chain(bake).collect()
    }

    fn notes(&self) -> Vec<Note> {
        let changes = self.changes().filter(|change| change.is_told(self.plan));
        let changes = changes.map(|change| change.note());
        changes.chain(self.immaterial()).chain(self.both_break()).chain(self.old_fails_too()).collect()
    }

    fn immaterial(&self) -> Option<Note> {
        let one = self
            .suspicions
            .first()
            .filter(|one| self.is_suspicious(self.ln_evidence) && !self.is_material(one))?;
        Some(Note::Immaterial { scope: one.scope.clone(), measure: one.measure, seen: self.seen(one) })
    }

    /// Both versions break their contracts, so the rollout has not done that.
    fn both_break(&self) -> Option<Note> {
        let broken =
            self.evidence.classes.iter().map(|(class, stream)| (class, Beside::broken(&stream.seen)));
        let often = |seen: Seen| seen.hits >= MIN_ALL_FAIL && seen.share() >= self.plan.rules.incident;
        let (class, seen) = broken.into_iter().find(|(_, it)| often(it.new) && often(it.old))?;
        let scope = Scope::Class(class.clone());
        let what = self.what(&scope);
        Some(Note::BothBreak { scope, seen, what })
    }

    fn old_fails_too(&self) -> Option<Note> {
        let old = self.failures().old;
        trouble::is_bad(&self.plan.rules, old).then_some(Note::OldFailsToo { old })
    }

    fn lost(&self) -> impl Iterator<Item = Waiting> + '_ {
        self.changes().filter(|change| change.is_loss(self.plan)).map(|change| change.loss())
    }

    fn changes(&self) -> impl Iterator<Item = Change<'a>> + '_ {
        let evidence = self.evidence;
        let classes = evidence.classes.iter().map(|(class, stream)| (Scope::Class(class.clone()), stream));
        let scopes = std::iter::once((Scope::Total, &evidence.total)).chain(classes);
        scopes.flat_map(|(scope, stream)| {
            let of = move |(status, tally): (&'a StatusClass, &'a Tally)| Change {
                scope: scope.clone(),
                status,
                stream,
                tally,
            };
            stream.changes.iter().map(of)
        })
    }
}

/// Answers of a watched class in one scope.
struct Change<'a> {
    scope: Scope,
    status: &'a StatusClass,
    stream: &'a Stream,
    tally: &'a Tally,
}

impl Change<'_> {
    fn ln(&self, plan: &Plan) -> f64 {
        let part = part(plan, &self.scope, Measure::Failures) / plan.rules.watched.len().max(1) as f64;
        part.ln() + self.tally.ln_worse(tolerated(plan.rules.tolerated))
    }

    fn seen(&self) -> Beside {
        Beside::of(&self.stream.seen, |counts| counts.of_classes([self.status]))
    }

    fn is_told(&self, plan: &Plan) -> bool {
        let Beside { new, old } = self.seen();
        let rise = new.share().0.saturating_sub(old.share().0);
        self.ln(plan) >= -plan.rules.alpha().ln() && rise >= plan.rules.material.0
    }

    /// Tells whether most requests get this answer now. That holds a version back with less evidence than would fail it.
    fn is_loss(&self, plan: &Plan) -> bool {
        let Beside { new, old } = self.seen();
        let most = new.share() >= LOST && old.share().0 < new.share().0 / 2;
        most && new.hits >= MIN_ALL_FAIL && self.ln(plan) >= (plan.rules.suspicious.max(1) as f64).ln()
    }

    fn note(&self) -> Note {
        Note::Change { scope: self.scope.clone(), status: self.status.clone(), seen: self.seen() }
    }

    fn loss(&self) -> Waiting {
        Waiting::Lost { scope: self.scope.clone(), status: self.status.clone(), seen: self.seen() }
    }
}

/// How probable a failure of the old version is, with half a failure added so that few requests are no certainty.
fn old_failure(old: Seen) -> f64 {
    (old.hits as f64 + 0.5) / (old.requests as f64 + 1.0)
}

fn to_one(ln: f64) -> u64 {
    ln.exp().min(MAX_EVIDENCE).round() as u64
}

#[cfg(test)]
mod tests;
