//! Instances that fail at once, hang or recover, and how many requests they still get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use lockstep_gateway::Timeouts;

use crate::support::{Instance, Running, Then, answer, canary, stable};

/// Takes a moment, as real ones do.
fn working() -> Instance {
    Instance::start(|_, stream| {
        thread::park_timeout(Duration::from_millis(2));
        answer(stream, 200, b"fine")
    })
}

/// Sends requests from several clients, so that both workers get some; returns how many got which status.
fn load(running: &Running, requests: usize) -> (usize, usize) {
    let client = || {
        let mut good = 0;
        for _ in 0..requests / 8 {
            // A connection for each: the kernel spreads them over the workers.
            good += usize::from(running.client().get("/", "k").unwrap().status() == 200);
        }
        good
    };
    let good = thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|it| it.join().unwrap()).sum()
    });
    (good, requests - good)
}

#[test]
fn an_instance_that_fails_at_once_does_not_attract_requests_on_any_worker() {
    let failing = Instance::start(|_, stream| answer(stream, 500, b"broken"));
    let (one, other) = (working(), working());
    let instances = [("bad", failing.address), ("one", one.address), ("other", other.address)];
    let running = Running::start(&[stable(0, &instances)]);
    let (good, bad) = load(&running, 800);
    // Five failures and what was under way meanwhile.
    assert!(bad <= 5 + 8, "{bad} of {} failed", good + bad);
    assert_eq!(failing.served(), bad);
}

#[test]
fn an_instance_that_hangs_is_left_alone_after_a_few_requests() {
    let hanging = Instance::start(|_, stream| {
        let _ = std::io::Read::read(stream, &mut [0]);
        Ok(Then::Close)
    });
    let (one, other) = (working(), working());
    let instances = [("bad", hanging.address), ("one", one.address), ("other", other.address)];
    let timeouts = Timeouts { answer: Duration::from_millis(300), ..Timeouts::default() };
    let running = Running::with(timeouts, &[stable(0, &instances)]);
    let (good, bad) = load(&running, 800);
    assert!(bad <= 5 + 8, "{bad} of {} were not answered", good + bad);
}

#[test]
fn when_all_instances_fail_they_are_asked_nevertheless_and_recover() {
    let broken = Arc::new(AtomicBool::new(true));
    let start = || {
        let broken = Arc::clone(&broken);
        Instance::start(move |_, stream| {
            answer(stream, if broken.load(Ordering::SeqCst) { 500 } else { 200 }, b"said")
        })
    };
    let (one, other) = (start(), start());
    let running = Running::start(&[stable(0, &[("one", one.address), ("other", other.address)])]);
    assert_eq!(load(&running, 80), (0, 80));
    broken.store(false, Ordering::SeqCst);
    assert_eq!(load(&running, 80), (80, 0));
}

#[test]
fn the_only_instance_of_a_candidate_is_asked_however_often_it_fails() {
    let new = Instance::start(|_, stream| answer(stream, 500, b"broken"));
    let old = Instance::named("old");
    let running = Running::start(&canary(5_000, ("new", new.address), ("old", old.address)));
    let mut client = running.client();
    for n in 0..200 {
        assert_eq!(client.get("/", &n.to_string()).unwrap().status(), 200);
    }
    let on_trial = running.traffic(1);
    assert!((60..140).contains(&on_trial.requests), "{on_trial:?}");
    assert_eq!(on_trial.requests, on_trial.failures);
}
