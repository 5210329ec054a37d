//! Workers that are simulated with seeds: what they say goes in by the second, and what is made of it is looked at each time.

use lockstep_judge::Share;
use proptest::prelude::*;

use super::super::exposition::{Read, Values};
use super::super::told::Last;
use super::*;
use crate::instance::ConfigRevision;
use crate::version::VersionNumber;

mod queues;

/// A small generator of numbers that are the same for the same seed.
struct Chance(u64);

impl Chance {
    fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    fn happens(&mut self, in_1000: u64) -> bool {
        self.next() % 1_000 < in_1000
    }
}

/// A worker: so many jobs a second, of which so many in 1,000 fail, and so often in 1,000 seconds it is started again.
struct Worker {
    id: InstanceId,
    arm: Arm,
    jobs: u64,
    fails: u64,
    restarts: u64,
    counted: (u64, u64),
    told: Told,
    last: Last,
}

impl Worker {
    fn new(minor: u64, jobs: u64, fails: u64) -> Self {
        let arm = arm(minor);
        let id = format!("mailer-1.{minor}.0-c0-a").parse().unwrap();
        let (told, last) = (Told::default(), Last::default());
        let mut worker = Self { id, arm, jobs, fails, restarts: 0, counted: (700, 30), told, last };
        worker.says();
        worker
    }

    fn works(&mut self, chance: &mut Chance) {
        if chance.happens(self.restarts) {
            self.counted = (0, 0);
        }
        for _ in 0..self.jobs {
            match chance.happens(self.fails) {
                true => self.counted.1 += 1,
                false => self.counted.0 += 1,
            }
        }
        self.says();
        self.told.pass(1_000);
    }

    fn says(&mut self) {
        let of = |name: &str, value| Values::from([(name.to_owned(), value)]);
        let read = Read { done: of("done", self.counted.0), failed: of("failed", self.counted.1) };
        self.told.take(&mut self.last, Ok(read));
    }

    fn said(&self) -> (&InstanceId, &Arm, &Told) {
        (&self.id, &self.arm, &self.told)
    }
}

fn arm(minor: u64) -> Arm {
    let service = "mailer".parse().unwrap();
    Arm { service, version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0), process: None }
}

fn signs() -> WorkSigns {
    serde_json::from_str(
        r#"{"metrics": {"place": {"file": {"path": "m"}}, "done": "done", "failed": "failed"},
            "queue": {"command": ["depth"]}}"#,
    )
    .unwrap()
}

fn of_jobs() -> WorkSigns {
    WorkSigns { queue: None, ..signs() }
}

fn of_queue() -> WorkSigns {
    WorkSigns { metrics: None, ..signs() }
}

fn trial(signs: WorkSigns, base: Option<WorkBase>, min_requests: u64) -> WorkTrial {
    begun(signs, base, min_requests, false)
}

fn begun(signs: WorkSigns, base: Option<WorkBase>, min_requests: u64, is_shared: bool) -> WorkTrial {
    let rules = Rules { min_requests, error_budget: Some(Share(10_000)), ..Rules::default() };
    let beginning = Beginning { new: arm(1), old: Some(arm(0)), signs, base, is_shared, rules, lost: 0 };
    WorkTrial::begin(beginning, Timestamp(0))
}

/// What an old version did in five minutes.
fn before(chance: &mut Chance, jobs: u64, fails: u64) -> Option<WorkBase> {
    let mut old = Worker::new(0, jobs, fails);
    (0..300).for_each(|_| old.works(chance));
    WorkBase::of(&arm(0), [&old.told])
}

/// Lets workers work for so many seconds; returns when the new version was failed first, if it was.
fn failed_at(
    trial: &mut WorkTrial,
    workers: &mut [Worker],
    chance: &mut Chance,
    seconds: u64,
) -> Option<u64> {
    trial.look(workers.iter().map(Worker::said), Timestamp(0));
    (1..=seconds).find(|second| {
        workers.iter_mut().for_each(|worker| worker.works(chance));
        trial.look(workers.iter().map(Worker::said), Timestamp(second * 1_000));
        matches!(trial.judge(60_000), Verdict::Fail { .. })
    })
}

#[test]
fn a_version_that_fails_far_more_than_the_old_one_did_is_failed_soon() {
    for seed in 0..50 {
        let mut chance = Chance::of(seed);
        let base = before(&mut chance, 4, 10);
        let mut alone = trial(of_jobs(), base.clone(), 100);
        let after = failed_at(&mut alone, &mut [Worker::new(1, 4, 400)], &mut chance, 120);
        assert!(after.is_some_and(|second| second <= 60), "after the old one, seed {seed}: {after:?}");
        let mut both = begun(of_jobs(), base, 100, true);
        let mut workers = [Worker::new(0, 4, 10), Worker::new(1, 4, 400)];
        let beside = failed_at(&mut both, &mut workers, &mut chance, 120);
        assert!(beside.is_some_and(|second| second <= 60), "beside it, seed {seed}: {beside:?}");
    }
}

/// With an error of 1 % a rollout, of 200 rollouts more than 8 are failed with a probability of about 1/1,000.
#[test]
fn a_version_that_is_as_good_is_failed_no_more_often_than_is_allowed() {
    for (beside, restarts) in [(false, 0), (true, 0), (true, 30), (false, 30)] {
        let failed = (0..200).filter(|seed| {
            let mut chance = Chance::of(*seed);
            let base = before(&mut chance, 5, 50);
            let mut trial = begun(of_jobs(), base, 100, beside);
            let old = beside.then(|| Worker::new(0, 5, 50));
            let new = Worker { restarts, ..Worker::new(1, 5, 50) };
            let mut workers: Vec<_> = old.into_iter().chain([new]).collect();
            failed_at(&mut trial, &mut workers, &mut chance, 300).is_some()
        });
        let failed = failed.count();
        assert!(failed <= 8, "beside {beside}, restarts {restarts}: {failed}");
    }
}

#[test]
fn a_version_all_of_whose_jobs_fail_is_failed_although_few_come() {
    let mut chance = Chance::of(7);
    let mut trial = trial(of_jobs(), before(&mut chance, 1, 0), 100);
    let at = failed_at(&mut trial, &mut [Worker::new(1, 1, 1_000)], &mut chance, 120);
    assert!(at.is_some_and(|second| second <= 60), "{at:?}");
}

#[test]
fn a_few_jobs_of_before_are_enough_to_find_a_version_that_mostly_fails_also_after_a_restart_of_the_server() {
    for seed in 0..20 {
        let mut chance = Chance::of(seed);
        let mut old = Worker::new(0, 2, 0);
        (0..15).for_each(|_| old.works(&mut chance));
        let base = WorkBase::of(&arm(0), [&old.told]);
        let mut trial = WorkTrial { lost: 1, ..trial(of_jobs(), base, 20) };
        let at = failed_at(&mut trial, &mut [Worker::new(1, 20, 600)], &mut chance, 60);
        assert!(at.is_some(), "seed {seed}");
    }
}

#[test]
fn what_both_do_is_not_the_rollouts_doing() {
    let mut chance = Chance::of(3);
    let mut trial = begun(of_jobs(), None, 100, true);
    let mut workers = [Worker::new(0, 10, 500), Worker::new(1, 10, 500)];
    assert_eq!(failed_at(&mut trial, &mut workers, &mut chance, 120), None);
}

fn obstacles(verdict: Verdict) -> Vec<Obstacle> {
    match verdict {
        Verdict::None(unproven) => unproven.obstacles.into_iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_that_says_nothing_is_never_good() {
    let (silent, unread) =
        (Told { silent: Some("it is not there".into()), ..Told::default() }, Told::default());
    for told in [&silent, &unread] {
        for min_requests in [0, 100] {
            let mut trial = trial(of_jobs(), None, min_requests);
            let (new, speaks) = (Worker::new(1, 1, 0), Worker::new(1, 9, 0));
            let other = "mailer-1.1.0-c0-b".parse().unwrap();
            for second in 0..600 {
                let said = [(&new.id, &new.arm, told), (&other, &new.arm, &speaks.told)];
                trial.look(said.into_iter(), Timestamp(second * 1_000));
            }
            assert!(obstacles(trial.judge(0)).contains(&Obstacle::NoCounters));
        }
    }
}

#[test]
fn nothing_done_is_no_confirmation() {
    let mut chance = Chance::of(5);
    let mut wanted = trial(of_jobs(), None, 10);
    assert_eq!(failed_at(&mut wanted, &mut [Worker::new(1, 0, 0)], &mut chance, 60), None);
    assert_eq!(obstacles(wanted.judge(0)), [Obstacle::FewRequests]);
    let mut by_time = trial(of_jobs(), None, 0);
    failed_at(&mut by_time, &mut [Worker::new(1, 0, 0)], &mut chance, 60);
    let Verdict::Pass { why } = by_time.judge(0) else { panic!("as without requests") };
    assert!(why.contains("passed, not proven") && why.contains("0 of them"), "{why}");
}

/// Asks a queue each second; returns the verdict after that.
fn with_queue(
    mut trial: WorkTrial,
    depths: impl IntoIterator<Item = Result<u64, String>>,
    mut new: Worker,
) -> Verdict {
    let mut chance = Chance::of(1);
    for (second, depth) in depths.into_iter().enumerate() {
        new.works(&mut chance);
        new.told.take_depth(depth);
        trial.look([new.said()].into_iter(), Timestamp(second as u64 * 1_000));
    }
    trial.judge(0)
}

fn flat_before(jobs: u64) -> Option<WorkBase> {
    let slice = |depth| Slice { ms: 30_000, done: jobs * 30, failed: 0, depth: Some(depth) };
    Some(WorkBase { arm: arm(0), slices: [3, 5, 2, 4, 6].map(slice).to_vec(), instances: 1 })
}

fn growing() -> impl Iterator<Item = Result<u64, String>> {
    (0..30).map(|i| Ok(4 + 10 * i))
}

#[test]
fn a_queue_that_grows_takes_a_version_back_that_does_less_and_holds_one_that_does_as_much() {
    let verdict = with_queue(trial(signs(), flat_before(10), 10), growing(), Worker::new(1, 5, 0));
    assert!(matches!(&verdict, Verdict::Fail { why } if why.contains("grows without end")), "{verdict:?}");
    let verdict = with_queue(trial(signs(), flat_before(10), 10), growing(), Worker::new(1, 12, 0));
    assert_eq!(obstacles(verdict), [Obstacle::QueueGrows]);
    let verdict = with_queue(trial(of_queue(), flat_before(10), 10), growing(), Worker::new(1, 12, 0));
    assert!(matches!(verdict, Verdict::Fail { .. }), "nobody knows how much it does: {verdict:?}");
    let unknown = with_queue(trial(of_queue(), None, 10), growing(), Worker::new(1, 5, 0));
    assert!(obstacles(unknown).contains(&Obstacle::QueueGrows));
}

#[test]
fn time_in_which_it_did_not_run_yet_makes_a_version_no_slower() {
    let mut trial = trial(signs(), flat_before(10), 10);
    (0..600).for_each(|second| trial.look([].into_iter(), Timestamp(second * 1_000)));
    let (mut chance, mut new) = (Chance::of(1), Worker::new(1, 12, 0));
    for (second, depth) in growing().enumerate() {
        new.works(&mut chance);
        new.told.take_depth(depth);
        trial.look([new.said()].into_iter(), Timestamp(600_000 + second as u64 * 1_000));
    }
    assert_eq!(obstacles(trial.judge(0)), [Obstacle::QueueGrows]);
}

#[test]
fn a_queue_alone_confirms_only_a_version_that_takes_from_it() {
    let of = |depths: &[u64]| {
        let depths: Vec<_> = depths.iter().cycle().take(40).map(|depth| Ok(*depth)).collect();
        with_queue(trial(of_queue(), flat_before(1), 10), depths, Worker::new(1, 0, 0))
    };
    assert!(matches!(of(&[3, 4, 2]), Verdict::Pass { .. }));
    assert_eq!(obstacles(of(&[0])), [Obstacle::FewRequests], "an empty queue is no confirmation");
    assert_eq!(obstacles(of(&[7])), [Obstacle::FewRequests]);
}

#[test]
fn a_command_that_fails_is_said_and_blames_nobody() {
    let fails = || (0..40).map(|_| Err("`./depth` took longer than 5000 ms".to_owned()));
    let verdict = with_queue(trial(signs(), flat_before(5), 10), fails(), Worker::new(1, 5, 0));
    let Verdict::Pass { why } = verdict else { panic!("{verdict:?}") };
    assert!(why.contains("took longer than"), "{why}");
    let verdict = with_queue(trial(of_queue(), flat_before(5), 0), fails(), Worker::new(1, 5, 0));
    assert_eq!(obstacles(verdict), [Obstacle::NoCounters], "nothing else says anything");
}

proptest! {
    /// Whatever instances say and the clock does, also when it is set back, nothing panics, and what was never heard is never good.
    #[test]
    fn nothing_that_is_said_makes_it_good_without_a_word(
        looks in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), 0_u64..100_000, any::<bool>()), 1..40),
        left_ms in prop::sample::select(vec![0_u64, 1_000]),
        is_shared in any::<bool>(),
    ) {
        let mut trial = begun(signs(), flat_before(7), 10, is_shared);
        let (id, old) = ("mailer-1.1.0-c0-a".parse().unwrap(), "mailer-1.0.0-c0-a".parse().unwrap());
        let mut heard_last = false;
        for (done, failed, depths, now, heard) in looks {
            let told = Told { done, failed, depths, depth: Some(done), heard: u64::from(heard), ..Told::default() };
            let other = Told { done: failed, failed: done, heard: 1, ..Told::default() };
            let both = [(&id, &arm(1), &told), (&old, &arm(0), &other)];
            trial.look(both.into_iter().take(1 + usize::from(depths % 2 == 0)), Timestamp(now));
            heard_last = heard;
            let is_good = matches!(trial.judge(left_ms), Verdict::Pass { .. });
            prop_assert!(heard_last || !is_good);
        }
        let is_good = matches!(trial.judge(0), Verdict::Pass { .. });
        prop_assert!(heard_last || !is_good);
    }

    /// A clock that was set forward changes nothing once that was told.
    #[test]
    fn skipped_time_is_no_time(seconds in 1_u64..100, skipped in 0_u64..10_000_000) {
        let run = |skip: u64| {
            let mut chance = Chance::of(seconds);
            let mut trial = trial(of_jobs(), before(&mut Chance::of(1), 3, 20), 10);
            let mut worker = Worker::new(1, 3, 200);
            trial.look([worker.said()].into_iter(), Timestamp(0));
            for second in 1..=seconds {
                worker.works(&mut chance);
                trial.look([worker.said()].into_iter(), Timestamp(second * 1_000));
            }
            trial.skip(skip);
            worker.works(&mut chance);
            trial.look([worker.said()].into_iter(), Timestamp((seconds + 1) * 1_000 + skip));
            trial.judge(0)
        };
        prop_assert_eq!(run(0), run(skipped));
    }
}
