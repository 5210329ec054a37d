//! A breaker beside a plain one that remembers everything, over made-up courses of requests.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A breaker as its users put the numbers together.
#[derive(Debug, Clone, Copy, Default)]
struct Whole {
    gate: Gate,
    slices: [Slice; SLICES],
    run: Run,
}

impl Whole {
    fn ask(&mut self, rule: &BreakerRule, now: u64) -> Passage {
        let (gate, passage) = self.gate.ask(rule, now);
        self.gate = gate;
        passage
    }

    fn note(&mut self, rule: &BreakerRule, failed: bool, now: u64) {
        if !self.gate.is_closed() {
            return;
        }
        let epoch = rule.epoch(now);
        let slice = &mut self.slices[epoch as usize % SLICES];
        *slice = slice.after(epoch, failed);
        self.run = self.run.after(failed, now);
        if failed && rule.opens(self.gate, &self.slices, self.run, now) {
            self.gate = self.gate.opened(rule, now);
        }
    }

    fn tried(&mut self, rule: &BreakerRule, ticket: Ticket, end: TrialEnd, now: u64) {
        self.gate = self.gate.tried(rule, ticket, end, now);
        if self.gate.is_closed() {
            (self.run, self.slices) = (Run::default(), Default::default());
        }
    }
}

/// What the rule says, from a list of everything that was counted since it closed.
#[derive(Debug, Default)]
struct Plain {
    /// Slice, time and whether it failed.
    seen: VecDeque<(u64, u64, bool)>,
}

impl Plain {
    fn opens(&mut self, rule: &BreakerRule, failed: bool, now: u64) -> bool {
        let epoch = rule.epoch(now);
        self.seen.push_back((epoch, now, failed));
        let counts = |(of, ..): &&(u64, u64, bool)| *of + SLICES as u64 > epoch;
        let window: Vec<_> = self.seen.iter().filter(counts).collect();
        let failures = window.iter().filter(|(.., failed)| *failed).count();
        let share = window.len() >= rule.requests as usize
            && failures * 100 >= window.len() * rule.failures_percent as usize;
        let run: Vec<_> = self.seen.iter().rev().take_while(|(.., failed)| *failed).collect();
        let first = run.last().map_or(now, |(_, at, _)| *at);
        let row = rule.consecutive > 0 && run.len() >= rule.consecutive as usize && now - first >= RUN_MS;
        failed && (share || row)
    }

    fn closed(&mut self) {
        self.seen.clear();
    }
}

fn rule() -> impl Strategy<Value = BreakerRule> {
    (1_u32..=100, 1_u32..40, 1_000_u64..20_000, 0_u32..12, 100_u64..5_000, 1_u64..10, 1_u32..5).prop_map(
        |(failures_percent, requests, window_ms, consecutive, open_ms, times, trials)| {
            let longest_ms = open_ms * times;
            BreakerRule { failures_percent, requests, window_ms, consecutive, open_ms, longest_ms, trials }
        },
    )
}

/// How long until the next request, how it ends, and which trial ends now, if one does.
fn course() -> impl Strategy<Value = Vec<(u64, bool, u8)>> {
    let pause = prop_oneof![0_u64..50, 0_u64..1_500, 0_u64..40_000];
    prop::collection::vec((pause, prop::bool::weighted(0.6), 0_u8..6), 1..400)
}

proptest! {
    #[test]
    fn it_opens_on_exactly_the_rule_and_one_trial_at_most_is_under_way(rule in rule(), course in course()) {
        let (mut breaker, mut plain, mut now) = (Whole::default(), Plain::default(), 0);
        let mut trial: Option<(Ticket, u64)> = None;
        let mut until = 0;
        for (pause, failed, end) in course {
            now += pause;
            let was = breaker.gate.phase();
            if let Some((ticket, _)) = trial.filter(|_| end < 4) {
                trial = None;
                let ended = [TrialEnd::Served, TrialEnd::Served, TrialEnd::Failed, TrialEnd::Unknown][end as usize];
                breaker.tried(&rule, ticket, ended, now);
                match breaker.gate.phase() {
                    Phase::Closed if was == Phase::HalfOpen => plain.closed(),
                    Phase::Open if was == Phase::HalfOpen => until = breaker.gate.at_ms(),
                    _ => {}
                }
            }
            match breaker.ask(&rule, now) {
                Passage::Free => {
                    prop_assert_eq!(breaker.gate.phase(), Phase::Closed);
                    breaker.note(&rule, failed, now);
                    let opens = plain.opens(&rule, failed, now);
                    prop_assert_eq!(breaker.gate.phase() == Phase::Open, opens, "at {}", now);
                    if opens {
                        until = breaker.gate.at_ms();
                        prop_assert!((now + rule.open_ms..=now + rule.longest_ms).contains(&until));
                    }
                }
                Passage::Trial(ticket) => {
                    prop_assert!(trial.is_none_or(|(_, since)| now - since >= TRIAL_MS), "two trials");
                    prop_assert!(now >= until, "a trial while it is open");
                    trial = Some((ticket, now));
                }
                Passage::Shut(wait) => {
                    prop_assert_ne!(breaker.gate.phase(), Phase::Closed);
                    prop_assert!(wait > 0);
                    if breaker.gate.phase() == Phase::Open {
                        until = breaker.gate.at_ms();
                    }
                }
            }
        }
    }

    #[test]
    fn a_time_that_goes_back_neither_opens_nor_closes_anything(
        rule in rule(),
        course in course(),
        back in 0_u64..100_000,
    ) {
        let (mut breaker, mut now) = (Whole::default(), 200_000);
        for (pause, failed, _) in course {
            now += pause;
            match breaker.ask(&rule, now) {
                Passage::Free => breaker.note(&rule, failed, now),
                Passage::Trial(ticket) => {
                    let end = if failed { TrialEnd::Failed } else { TrialEnd::Served };
                    breaker.tried(&rule, ticket, end, now);
                }
                Passage::Shut(_) => {}
            }
        }
        let (mut then, phase) = (breaker, breaker.gate.phase());
        let asked = then.ask(&rule, now - back);
        prop_assert_eq!(matches!(asked, Passage::Free), phase == Phase::Closed);
        if phase == Phase::Open {
            prop_assert!(matches!(asked, Passage::Shut(_)));
        }
        // Successes that come with a clock set back say as little as none.
        let mut then = breaker;
        then.note(&rule, false, now - back);
        prop_assert_eq!(then.gate, breaker.gate);
    }

    #[test]
    fn a_late_end_of_a_trial_that_was_given_up_on_changes_nothing(rule in rule(), late in 0_u64..100_000) {
        let gate = Gate::default().opened(&rule, 0);
        let (trying, Passage::Trial(first)) = gate.ask(&rule, gate.at_ms()) else { panic!("no trial") };
        let later = gate.at_ms() + TRIAL_MS + late;
        let (open, asked) = trying.ask(&rule, later);
        prop_assert!(matches!(asked, Passage::Shut(_)) && open.phase() == Phase::Open);
        for end in [TrialEnd::Served, TrialEnd::Failed, TrialEnd::Unknown] {
            prop_assert_eq!(open.tried(&rule, first, end, later), open);
            let (again, _) = open.ask(&rule, open.at_ms());
            prop_assert_eq!(again.tried(&rule, first, end, later), again);
        }
    }
}

#[test]
fn it_is_open_for_twice_as_long_each_time_in_a_row_and_forgets_that_when_it_stays_closed() {
    let rule = BreakerRule { trials: 1, ..BreakerRule::default() };
    let (mut gate, mut now) = (Gate::default(), 1_000_000);
    for seconds in [5, 10, 20, 40, 60, 60, 60] {
        gate = gate.opened(&rule, now);
        assert_eq!(gate.at_ms() - now, seconds * 1_000);
        now = gate.at_ms();
        let (trying, Passage::Trial(ticket)) = gate.ask(&rule, now) else { panic!("no trial") };
        gate = trying.tried(&rule, ticket, TrialEnd::Served, now);
        assert!(gate.is_closed());
    }
    let soon = gate.opened(&rule, now + rule.longest_ms - 1);
    assert_eq!(soon.at_ms() - (now + rule.longest_ms - 1), 60_000);
    let later = gate.opened(&rule, now + rule.longest_ms);
    assert_eq!(later.at_ms() - (now + rule.longest_ms), 5_000);
}

#[test]
fn a_moment_in_which_everything_fails_is_no_run_and_a_second_of_it_is() {
    let rule = BreakerRule { requests: 10_000, ..BreakerRule::default() };
    let mut breaker = Whole::default();
    (0..200).for_each(|n| breaker.note(&rule, true, n));
    assert!(breaker.gate.is_closed());
    breaker.note(&rule, true, RUN_MS - 1);
    assert!(breaker.gate.is_closed());
    breaker.note(&rule, true, RUN_MS);
    assert_eq!(breaker.gate.phase(), Phase::Open);
}

#[test]
fn a_slice_that_is_full_keeps_its_share() {
    let mut slice = Slice::default();
    (0..100_000).for_each(|n| slice = slice.after(7, n % 4 == 0));
    let share = slice.failures() as f64 / slice.requests() as f64;
    assert!((0.24..0.26).contains(&share) && slice.requests() > 8_000, "{slice:?}");
    assert_eq!(slice.after(6, true), slice, "what is of an earlier time is not counted");
    assert_eq!(slice.after(8, true), Slice::of(8, 1, 1));
    assert_eq!(Slice::of(8, 3, 1).turned(8), Slice::of(8, 3, 2));
    assert_eq!(Slice::of(8, 3, 3).turned(8), Slice::of(8, 4, 4), "what was served was counted before");
    assert_eq!(Slice::of(7, 3, 1).turned(8), Slice::of(8, 1, 1));
}

#[test]
fn what_is_out_of_bounds_is_told_all_at_once() {
    assert_eq!(BreakerRule::default().problems(), []);
    let wrong: BreakerRule = serde_json::from_str(
        r#"{"failures_percent":101,"requests":0,"window_ms":1,"open_ms":9,"longest_ms":8}"#,
    )
    .unwrap();
    assert_eq!(wrong.problems().len(), 6);
    assert!(serde_json::from_str::<BreakerRule>(r#"{"failures":1}"#).is_err());
}
