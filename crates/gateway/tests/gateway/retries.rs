//! What a route asks to be asked again, and what is asked again only once.

use std::io;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_domain::routes::SplitRole;
use serde_json::{Value, json};

use crate::policies::open;
use crate::seeing::Asked;
use crate::support::{ArmSpec, Instance, Running, Then, answer, canary, stable, wait_until};

/// Two instances, of which the first that is asked fails as the path says, and the other serves with the body it got.
struct Pair {
    instances: [Instance; 2],
    failed: Arc<AtomicUsize>,
}

impl Pair {
    /// Of each path, the first so many requests fail.
    fn failing(times: usize) -> Self {
        let failed: Arc<AtomicUsize> = Arc::default();
        let one = || {
            let failed = Arc::clone(&failed);
            Instance::start(move |request, stream| {
                if failed.fetch_add(1, Ordering::SeqCst) >= times {
                    return answer(stream, 200, &[b"served ", request.body.as_slice()].concat());
                }
                match request.target() {
                    "/reset" => Ok(Then::Close),
                    "/silent" => {
                        let _ = stream.read(&mut [0]);
                        Ok(Then::Close)
                    }
                    status => answer(stream, status[1..].parse().unwrap(), b"failed"),
                }
            })
        };
        Self { instances: [one(), one()], failed }
    }

    fn arm(&self) -> ArmSpec<'_> {
        stable(0, &[("one", self.instances[0].address), ("two", self.instances[1].address)])
    }

    /// Counts from the beginning again.
    fn again(&self) {
        self.failed.store(0, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }
}

fn retries(retries: &Value) -> Value {
    json!({ "timeouts": { "head_ms": 100 }, "retries": retries })
}

fn ask(running: &Running, start: &str, more: &str) -> io::Result<(u16, String)> {
    let got = running.client().ask(format!("{start} HTTP/1.1\r\nhost: shop.test\r\n{more}"))?;
    Ok((got.status(), got.text()))
}

const BODY: &str = "content-length: 2\r\n\r\nhi";
const KEY: &str = "idempotency-key: 7\r\ncontent-length: 2\r\n\r\nhi";

#[test]
fn a_route_says_after_what_and_of_which_requests_another_instance_is_asked() {
    let pair = Pair::failing(1);
    let all = json!({ "attempts": 1, "on": ["reset", "timeout", "503"] });
    let running = open(&[pair.arm()], &retries(&all));
    for (start, more, status, asked) in [
        ("GET /reset", "\r\n", 200, 2),
        ("GET /silent", "\r\n", 200, 2),
        ("GET /503", "\r\n", 200, 2),
        ("GET /500", "\r\n", 500, 1),
        ("GET /404", "\r\n", 404, 1),
        ("PUT /503", BODY, 200, 2),
        ("POST /503", BODY, 503, 1),
        ("POST /503", KEY, 503, 1),
        ("POST /reset", BODY, 502, 1),
        ("POST /silent", BODY, 504, 1),
    ] {
        pair.again();
        let (got, text) = ask(&running, start, more).unwrap();
        assert_eq!((got, pair.asked()), (status, asked), "{start} {more:?}: {text}");
        if got == 200 {
            let sent = if more == BODY { "served hi" } else { "served " };
            assert_eq!(text, sent, "{start}: all of it was sent again");
        }
    }
    let posts = json!({ "attempts": 1, "on": ["503"], "methods": ["POST"] });
    let keys = json!({ "attempts": 1, "on": ["503"], "idempotency_key": true });
    for (retried, start, more, asked) in [
        (&posts, "POST /503", BODY, 2),
        (&posts, "GET /503", "\r\n", 1),
        (&keys, "POST /503", KEY, 2),
        (&keys, "POST /503", BODY, 1),
        (&keys, "GET /503", "\r\n", 2),
        (&json!({ "attempts": 0 }), "GET /reset", "\r\n", 1),
        (&json!({ "attempts": 1 }), "GET /reset", "\r\n", 2),
        (&json!({ "attempts": 1 }), "GET /silent", "\r\n", 1),
    ] {
        pair.again();
        let running = open(&[pair.arm()], &retries(retried));
        ask(&running, start, more).unwrap();
        assert_eq!(pair.asked(), asked, "{retried} {start} {more:?}");
    }
}

#[test]
fn what_fails_twice_is_told_as_it_failed_first_and_read_by_no_third() {
    let instances: Vec<Instance> =
        (0..4).map(|_| Instance::start(|_, stream| answer(stream, 503, b"first"))).collect();
    let ids = ["i-0", "i-1", "i-2", "i-3"];
    let endpoints: Vec<_> = ids.into_iter().zip(instances.iter().map(|it| it.address)).collect();
    let running = open(&[stable(0, &endpoints)], &retries(&json!({ "attempts": 3, "on": ["503"] })));
    assert_eq!(ask(&running, "GET /", "\r\n").unwrap(), (503, "first".to_owned()));
    let served: Vec<usize> = instances.iter().map(Instance::served).collect();
    assert_eq!((served.iter().sum::<usize>(), served.iter().max()), (2, Some(&1)), "{served:?}");
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (1, 1));
}

#[test]
fn a_body_that_is_still_coming_is_not_asked_again() {
    let pair = Pair::failing(1);
    let running =
        open(&[pair.arm()], &retries(&json!({ "attempts": 1, "on": ["503"], "methods": ["POST"] })));
    let body = "x".repeat(40_000);
    let (status, _) =
        ask(&running, "POST /503", &format!("content-length: {}\r\n\r\n{body}", body.len())).unwrap();
    assert_eq!((status, pair.asked()), (503, 1));
}

#[test]
fn what_is_asked_again_does_not_hide_a_failure_of_the_version_and_is_counted_once() {
    let pair = Pair::failing(1);
    let on_trial = ArmSpec { version: (1, 1, 0), role: SplitRole::Candidate, weight: 9_999, ..pair.arm() };
    let old = Instance::named("old");
    let arms = [on_trial, ArmSpec { weight: 1, ..stable(0, &[("old", old.address)]) }];
    let posts = json!({ "attempts": 1, "on": ["503", "reset"], "methods": ["POST"] });
    let running = open(&arms, &retries(&posts));
    for (times, path) in [(1, "/503"), (2, "/reset")] {
        pair.again();
        assert_eq!(ask(&running, &format!("POST {path}"), BODY).unwrap(), (200, "served hi".to_owned()));
        assert_eq!(pair.asked(), 2);
        assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (times, times));
    }
    assert_eq!(old.served(), 0, "a retry stays with its version");
}

#[test]
fn what_may_be_asked_once_only_is_not_shielded_either() {
    let (new, old) = (Pair::failing(usize::MAX), Instance::named("old"));
    let arms = canary(9_999, ("new", new.instances[0].address), ("old", old.address));
    let running = open(&arms, &retries(&json!({ "attempts": 0 })));
    for (path, status) in [("/503", 503), ("/reset", 502)] {
        assert_eq!(ask(&running, &format!("GET {path}"), "\r\n").unwrap().0, status, "{path}");
    }
    assert_eq!((new.asked(), old.served()), (2, 0));
}

#[test]
fn what_was_asked_again_is_in_the_metrics() {
    let pair = Pair::failing(1);
    let running = open(&[pair.arm()], &retries(&json!({ "attempts": 1, "on": ["503", "timeout"] })));
    for path in ["/503", "/silent", "/503"] {
        pair.again();
        assert_eq!(ask(&running, &format!("GET {path}"), "\r\n").unwrap().0, 200);
    }
    let asked = Asked::serve(running.gateway.admin());
    let labels = "deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",config=\"0\"";
    let expected = [
        format!("lockstep_gateway_retried_requests_total{{{labels},cause=\"status\"}} 2\n"),
        format!("lockstep_gateway_retried_requests_total{{{labels},cause=\"timeout\"}} 1\n"),
        "lockstep_gateway_retries_refused_total{deployment_environment_name=\"production\"} 0\n".to_owned(),
    ];
    wait_until("all is counted", || {
        let text = asked.ask("/-/metrics").1;
        expected.iter().all(|line| text.contains(line))
    });
}

#[test]
fn more_than_the_budget_is_not_asked_again() {
    let (seen, done): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let busy = || {
        let (seen, done) = (Arc::clone(&seen), Arc::clone(&done));
        Instance::start(move |_, stream| {
            if seen.fetch_add(1, Ordering::SeqCst) < 20 {
                wait_until("all are under way", || seen.load(Ordering::SeqCst) >= 20);
            } else {
                wait_until("all others were refused", || done.load(Ordering::SeqCst) >= 16);
            }
            answer(stream, 503, b"busy")
        })
    };
    let instances = [busy(), busy()];
    let arm = stable(0, &[("one", instances[0].address), ("two", instances[1].address)]);
    let running = open(&[arm], &json!({ "retries": { "attempts": 1, "on": ["503"] } }));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                assert_eq!(ask(&running, "GET /", "\r\n").unwrap().0, 503);
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    assert_eq!(seen.load(Ordering::SeqCst), 24, "a fifth of those under way");
    let metrics = Asked::serve(running.gateway.admin()).ask("/-/metrics").1;
    assert!(
        metrics.contains("retries_refused_total{deployment_environment_name=\"production\"} 16\n"),
        "{metrics}"
    );
}
