//! Workers whose queue says something of them, alone on it and beside others.

use super::*;

/// Workers on one queue; all say how deep it is.
struct Shop {
    trial: WorkTrial,
    chance: Chance,
    second: u64,
}

impl Shop {
    fn of(trial: WorkTrial) -> Self {
        Self { trial, chance: Chance::of(1), second: 0 }
    }

    /// Lets workers work with an answer of the queue each second; tells whether the new version was failed meanwhile.
    fn works(&mut self, workers: &mut [Worker], depths: impl IntoIterator<Item = u64>) -> bool {
        let mut is_failed = false;
        for depth in depths {
            self.second += 1;
            for worker in workers.iter_mut() {
                worker.works(&mut self.chance);
                worker.told.take_depth(Ok(depth));
            }
            self.trial.look(workers.iter().map(Worker::said), Timestamp(self.second * 1_000));
            is_failed |= matches!(self.trial.judge(0), Verdict::Fail { .. });
        }
        is_failed
    }

    fn obstacles(&self) -> Vec<Obstacle> {
        obstacles(self.trial.judge(0))
    }

    fn passes(&self) -> bool {
        matches!(self.trial.judge(0), Verdict::Pass { .. })
    }
}

fn many(count: u64, minor: u64, jobs: u64) -> Vec<Worker> {
    let id = |i| format!("mailer-1.{minor}.0-c0-i{i}").parse().unwrap();
    (0..count).map(|i| Worker { id: id(i), ..Worker::new(minor, jobs, 0) }).collect()
}

fn both(old: (u64, u64), new: (u64, u64)) -> Vec<Worker> {
    many(old.0, 0, old.1).into_iter().chain(many(new.0, 1, new.1)).collect()
}

/// What so many instances with so many jobs a second each did before, and how deep the queue was.
fn base(instances: u32, jobs: u64, depths: &[u64]) -> Option<WorkBase> {
    let done = jobs * 30 * u64::from(instances);
    let slice = |depth: &u64| Slice { ms: 30_000, done, failed: 0, depth: Some(*depth) };
    Some(WorkBase { arm: arm(0), slices: depths.iter().map(slice).collect(), instances })
}

const FLAT: [u64; 5] = [3, 5, 2, 4, 6];
const GROWING: [u64; 5] = [10, 200, 400, 600, 800];

fn falls_and_rises() -> impl Iterator<Item = u64> {
    [9, 4, 7].into_iter().cycle().take(30)
}

fn rises(from: u64, by: u64) -> impl Iterator<Item = u64> {
    (0..30).map(move |i| from + i * by)
}

#[test]
fn what_another_version_takes_from_the_queue_proves_nothing() {
    for is_shared in [true, false] {
        let mut shop = Shop::of(begun(of_queue(), base(1, 1, &FLAT), 10, is_shared));
        shop.works(&mut both((1, 1), (1, 0)), falls_and_rises());
        assert_eq!(shop.obstacles(), [Obstacle::FewRequests]);
        let mut alone = many(1, 1, 0);
        shop.works(&mut alone, [9, 4, 4, 4, 5]);
        assert_eq!(shop.obstacles(), [Obstacle::FewRequests], "the old one took that before its end");
        shop.works(&mut alone, [5, 4]);
        assert!(shop.passes(), "nobody else is there");
    }
}

#[test]
fn a_queue_that_grows_while_the_old_version_works_on_it_blames_nobody() {
    for jobs in [0, 1, 6] {
        let mut shop = Shop::of(begun(signs(), base(1, 10, &FLAT), 0, true));
        assert!(!shop.works(&mut both((1, 6), (1, jobs)), rises(4, 10)), "{jobs}");
        assert!(shop.obstacles().contains(&Obstacle::QueueGrows), "{jobs}");
    }
}

#[test]
fn what_is_done_is_compared_by_instance() {
    for (jobs, is_bad) in [(10, false), (2, true)] {
        let mut shop = Shop::of(begun(signs(), base(4, 10, &FLAT), 0, true));
        assert!(!shop.works(&mut both((3, 10), (1, jobs)), rises(4, 10)), "a step of 25 %");
        assert_eq!(shop.works(&mut many(4, 1, jobs), rises(300, 10)), is_bad, "of all, {jobs} jobs/s");
        let mut shop = Shop::of(trial(signs(), base(4, 10, &FLAT), 0));
        assert_eq!(shop.works(&mut many(1, 1, jobs), rises(4, 10)), is_bad, "the first of four");
    }
}

#[test]
fn how_much_is_done_is_known_from_the_first_seconds_on_and_else_blames_nobody() {
    let mut slow = Shop::of(trial(signs(), base(1, 1, &FLAT), 0));
    assert!(!slow.works(&mut many(1, 1, 1), rises(4, 10).take(14)), "as much is done");
    assert_eq!(slow.obstacles(), [Obstacle::QueueGrows]);
    for unknown in [base(1, 0, &FLAT), base(1, 1, &FLAT).map(|base| WorkBase { instances: 0, ..base })] {
        let mut shop = Shop::of(trial(signs(), unknown, 0));
        assert!(!shop.works(&mut many(1, 1, 1), rises(4, 10)));
        assert_eq!(shop.obstacles(), [Obstacle::QueueGrows]);
    }
    let mut idle = Shop::of(trial(signs(), base(1, 1, &FLAT), 0));
    assert!(idle.works(&mut many(1, 1, 0), rises(4, 10).take(14)), "it does nothing");
}

#[test]
fn a_version_that_does_nothing_while_its_queue_fills_never_passes() {
    let fills = [0, 120, 240, 360, 480, 600];
    let at_once = || std::iter::repeat_n(0, 10).chain(std::iter::repeat_n(600, 30));
    for signs in [signs(), of_queue()] {
        for base in [None, base(1, 20, &FLAT), base(1, 20, &[700; 5]), base(1, 20, &GROWING)] {
            for is_shared in [false, true] {
                let begun = || Shop::of(begun(signs.clone(), base.clone(), 0, is_shared));
                let (mut shop, mut burst) = (begun(), begun());
                shop.works(&mut many(1, 1, 0), fills);
                assert_eq!(shop.obstacles(), [Obstacle::QueueGrows]);
                burst.works(&mut many(1, 1, 0), at_once());
                assert_eq!(burst.obstacles(), [Obstacle::QueueGrows]);
            }
        }
    }
    let mut shop = Shop::of(trial(signs(), None, 0));
    shop.works(&mut many(1, 1, 3), fills);
    let Verdict::None(unproven) = shop.trial.judge(0) else { panic!("too little is known") };
    assert!(
        unproven.missing.contains("(600); whether it grows is known after 6 more answers, some 30 s"),
        "{unproven:?}"
    );
}

#[test]
fn a_queue_that_grew_before_excuses_nobody_who_does_far_less() {
    for (jobs, passes) in [(0, false), (7, false), (19, true)] {
        let mut shop = Shop::of(trial(signs(), base(1, 20, &GROWING), 0));
        assert!(!shop.works(&mut many(1, 1, jobs), rises(800, 80)), "{jobs}");
        assert_eq!(shop.passes(), passes, "{jobs}: {:?}", shop.trial.judge(0));
        assert!(passes || shop.obstacles() == [Obstacle::QueueGrows]);
    }
}

proptest! {
    /// Whatever the queue does and however much is done, nothing of that is held against a version or for it beside another one.
    #[test]
    fn beside_another_version_a_queue_neither_blames_nor_proves(
        depths in prop::collection::vec(0_u64..5_000, 1..60),
        jobs in (0_u64..20, 0_u64..20),
        counts in any::<bool>(),
        min_requests in prop::sample::select(vec![0_u64, 10]),
        is_shared in any::<bool>(),
    ) {
        let signs = if counts { signs() } else { of_queue() };
        let mut shop = Shop::of(begun(signs, base(1, 10, &FLAT), min_requests, is_shared));
        prop_assert!(!shop.works(&mut both((1, jobs.0), (1, jobs.1)), depths));
        if let (false, Verdict::Pass { why }) = (counts, shop.trial.judge(0)) {
            prop_assert!(min_requests == 0 && why.contains("not proven"), "{why}");
        }
    }
}
