//! Names and name servers on a clock that is made up: how long a name waits for its turn.

use proptest::prelude::*;

use super::super::{Found, Heard, LookupBounds, MAX_NAMES, SaidBy, take};
use super::*;

/// How long a look takes at most.
const LIMIT_MS: u64 = 10_000;
/// How long the clock goes on with each step.
const STEP_MS: u64 = 50;

struct Name {
    /// After how long a name server answers; never where there is nothing.
    answers: Option<u64>,
    found: Found,
    pace: Pace,
    /// Since when it is under way, and in which lane.
    under_way: Option<(u64, Pace)>,
    /// The longest that it was due and not heard of.
    waited_ms: u64,
}

impl Name {
    fn new(answers: Option<u64>) -> Self {
        Self { answers, found: Found::default(), pace: Pace::Quick, under_way: None, waited_ms: 0 }
    }

    fn hears(&mut self, now_ms: u64, took_ms: u64) {
        let due_ms = self.found.next_ms;
        let heard = match self.answers {
            Some(_) => {
                let taken = take(&["10.0.0.1".parse().unwrap()], SaidBy::Names, |_| false);
                Heard::Addresses { taken, ttl_ms: 5_000 }
            }
            None => Heard::Failed("nobody answers".into()),
        };
        self.found.hear(heard, now_ms, LookupBounds::default());
        self.waited_ms = self.waited_ms.max(now_ms - due_ms);
        (self.pace, self.under_way) = (Pace::of(took_ms), None);
    }
}

/// Lets a gateway look names up from one time to another.
fn run(names: &mut [Name], lanes: &mut Lanes, (from_ms, until_ms): (u64, u64)) {
    for now_ms in (from_ms..until_ms).step_by(STEP_MS.try_into().unwrap()) {
        for name in &mut *names {
            let Some((began_ms, lane)) = name.under_way else { continue };
            let took_ms = now_ms - began_ms;
            if took_ms >= name.answers.unwrap_or(LIMIT_MS).min(LIMIT_MS) {
                lanes.end(lane);
                name.hears(now_ms, took_ms);
            } else if lane == Pace::Quick && took_ms >= QUICK_MS {
                let stays = lanes.outstays();
                (name.under_way, name.pace) = (stays.then_some((began_ms, Pace::Slow)), Pace::Slow);
            }
        }
        let due =
            names.iter().enumerate().filter(|(_, it)| it.under_way.is_none() && it.found.next_ms <= now_ms);
        let due = due.map(|(index, it)| (index, it.found.next_ms, it.pace)).collect();
        for (index, lane) in lanes.begin(due) {
            names[index].under_way = Some((now_ms, lane));
        }
    }
}

fn longest_wait(names: &[Name], which: impl Fn(&Name) -> bool) -> u64 {
    names.iter().filter(|name| which(name)).map(|name| name.waited_ms).max().unwrap()
}

#[test]
fn names_of_which_nobody_says_anything_delay_only_each_other() {
    for silent in [16, 64, 400, MAX_NAMES - 20] {
        let mut names: Vec<Name> = (0..silent).map(|_| Name::new(None)).collect();
        names.extend((0..20).map(|_| Name::new(Some(50))));
        let mut lanes = Lanes::default();
        run(&mut names, &mut lanes, (0, 60_000));
        // At the start nobody knows of which kind they are.
        let first = longest_wait(&names, |it| it.answers.is_some());
        assert!(first <= QUICK_MS * (MAX_NAMES.div_ceil(AT_ONCE) as u64 + 1), "{silent}: {first} ms");
        names.iter_mut().for_each(|name| name.waited_ms = 0);
        run(&mut names, &mut lanes, (60_000, 900_000));
        let later = longest_wait(&names, |it| it.answers.is_some());
        assert!(later <= 150, "{silent}: {later} ms");
        let silent_ones = longest_wait(&names, |it| it.answers.is_none());
        assert!(silent_ones < 200_000, "{silent}: {silent_ones} ms");
    }
}

#[test]
fn a_name_that_falls_silent_leaves_the_lane_and_comes_back_when_it_is_answered() {
    let mut names: Vec<Name> = (0..200).map(|_| Name::new(Some(50))).collect();
    let mut lanes = Lanes::default();
    run(&mut names, &mut lanes, (0, 30_000));
    names[..199].iter_mut().for_each(|name| name.answers = None);
    names.iter_mut().for_each(|name| name.waited_ms = 0);
    run(&mut names, &mut lanes, (30_000, 300_000));
    assert!(names[199].waited_ms <= 4 * QUICK_MS, "{}", names[199].waited_ms);
    assert!(names[..199].iter().all(|name| name.pace == Pace::Slow));
    names.iter_mut().for_each(|name| (name.answers, name.waited_ms) = (Some(50), 0));
    run(&mut names, &mut lanes, (300_000, 340_000));
    assert!(names.iter().all(|name| name.pace == Pace::Quick && name.found.trouble.is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn who_takes_how_long_the_lanes_are_never_fuller_than_they_may_be_and_all_get_their_turn(
        answers in prop::collection::vec(prop::option::weighted(0.5, 1_u64..9_000), 1..200),
    ) {
        let mut names: Vec<Name> = answers.into_iter().map(Name::new).collect();
        let mut lanes = Lanes::default();
        run(&mut names, &mut lanes, (0, 60_000));
        prop_assert!(lanes.quick <= AT_ONCE && lanes.slow <= AT_ONCE);
        let under_way = names.iter().filter(|name| name.under_way.is_some()).count();
        prop_assert_eq!(lanes.quick + lanes.slow, under_way, "what is over is counted no more");
        prop_assert!(names.iter().all(|name| name.waited_ms > 0), "each was heard of");
    }
}
