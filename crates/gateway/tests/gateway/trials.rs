//! What is counted while a version is on trial.

use std::time::Duration;

use lockstep_domain::routes::RouteTable;
use lockstep_domain::watch::{ArmCounts, Watch, Watched};
use lockstep_judge::{Answers, Counts};

use crate::support::*;

fn watch(trial: &str) -> Watch {
    serde_json::from_value(serde_json::json!({
        "trial": trial,
        "operations": [{"class": "GET /pay/{id}", "method": "GET", "path": "/pay/{id}"}],
        "statuses": ["5xx", "none", "404"],
        "latency_bounds_ms": [1, 60_000],
    }))
    .unwrap()
}

fn watched(revision: u64, trial: &str, arms: &[ArmSpec<'_>]) -> RouteTable {
    let mut table = table(revision, arms);
    table.services.values_mut().for_each(|routes| routes.watch = Some(watch(trial)));
    table
}

/// Answers with the status that the path ends with, and breaks off without one.
fn scripted() -> Instance {
    Instance::start(|request, stream| match request.target().rsplit('/').next().map(str::parse) {
        Some(Ok(status)) => answer(stream, status, b"said"),
        _ => Ok(Then::Close),
    })
}

fn begun(weight: u32, new: &Instance, old: &Instance) -> Running {
    let arms = canary(weight, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    running.gateway.apply(watched(2, "operation 1", &arms)).unwrap();
    running
}

fn seen(running: &Running) -> Vec<Watched> {
    running.gateway.receipt(&environment()).watched
}

fn of_arm(watched: &Watched, minor: u64) -> ArmCounts {
    let found = watched.arms.iter().find(|(arm, _)| arm.version.minor() == minor);
    found.map(|(_, counts)| counts.clone()).unwrap()
}

fn answers(counts: &Counts, status: &str) -> Answers {
    counts.statuses.get(&status.parse().unwrap()).copied().unwrap_or_default()
}

#[test]
fn a_client_that_fails_again_and_again_counts_once_for_each_class_and_operation() {
    let (new, old) = (scripted(), scripted());
    let running = begun(9_999, &new, &old);
    for path in ["/pay/500", "/pay/503", "/other/500", "/pay/404", "/pay/200"] {
        for _ in 0..2 {
            running.client().get(path, "ann").unwrap();
        }
    }
    let watched = seen(&running);
    assert_eq!((watched.len(), watched[0].weight, watched[0].trial.as_str()), (1, 9_999, "operation 1"));
    let (new, old) = (of_arm(&watched[0], 1), of_arm(&watched[0], 0));
    assert_eq!(new.total.requests, 10);
    assert_eq!(answers(&new.total, "5xx"), Answers { answers: 6, keys: 1 });
    assert_eq!(answers(&new.total, "404"), Answers { answers: 2, keys: 1 });
    let pay = &new.classes[&"GET /pay/{id}".parse().unwrap()];
    assert_eq!((pay.requests, answers(pay, "5xx")), (8, Answers { answers: 4, keys: 1 }));
    let rest = &new.classes[&"other".parse().unwrap()];
    assert_eq!((rest.requests, answers(rest, "5xx")), (2, Answers { answers: 2, keys: 1 }));
    assert_eq!(old, ArmCounts::default(), "what the stable arm does for the one on trial is not its own");
}

#[test]
fn requests_without_a_key_each_count() {
    let (new, old) = (scripted(), scripted());
    let running = begun(9_999, &new, &old);
    for _ in 0..5 {
        running
            .client()
            .ask("POST /pay/500 HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\r\n")
            .unwrap();
    }
    let new = of_arm(&seen(&running)[0], 1);
    let old = of_arm(&seen(&running)[0], 0);
    let failed = Answers::each(new.total.requests);
    assert_eq!(new.total.requests + old.total.requests, 5);
    assert_eq!(answers(&new.total, "5xx"), failed);
    assert!(new.classes.keys().all(|class| class.as_str() == "other"), "another method is another operation");
}

#[test]
fn an_instance_that_answers_nothing_valid_or_breaks_off_is_counted_as_no_answer() {
    let new = Instance::start(|request, stream| match request.target() {
        "/cut" => {
            raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")?;
            Ok(Then::Close)
        }
        _ => Ok(Then::Close),
    });
    let old = scripted();
    let running = begun(9_999, &new, &old);
    let _ = running.client().get("/cut", "ann");
    running.client().get("/200", "bob").unwrap();
    wait_until("both are counted", || {
        let counts = of_arm(&seen(&running)[0], 1).total;
        counts.requests == 2 && answers(&counts, "none") == Answers::each(2)
    });
}

#[test]
fn slow_answers_are_counted_by_bound_and_latencies_always() {
    let slow = Instance::start(|_, stream| {
        // The answer must take longer than a bound; there is nothing to wait for instead.
        std::thread::sleep(Duration::from_millis(3));
        answer(stream, 200, b"slow")
    });
    let old = scripted();
    let running = begun(9_999, &slow, &old);
    for _ in 0..3 {
        running.client().get("/", "ann").unwrap();
    }
    let new = of_arm(&seen(&running)[0], 1).total;
    assert_eq!(new.slower.into_iter().collect::<Vec<_>>(), [(1, Answers { answers: 3, keys: 1 })]);
    let latencies = running.gateway.receipt(&environment()).latencies;
    let of_new: u64 = latencies
        .iter()
        .filter(|(arm, _)| arm.version.minor() == 1)
        .map(|(_, counts)| counts[2..].iter().sum::<u64>())
        .sum();
    assert_eq!(of_new, 3, "each took more than 2 ms: {latencies:?}");
}

#[test]
fn weights_are_kept_apart_and_another_trial_begins_anew() {
    let (new, old) = (scripted(), scripted());
    let running = begun(9_999, &new, &old);
    running.client().get("/500", "ann").unwrap();
    let more = canary(9_998, ("new", new.address), ("old", old.address));
    running.gateway.apply(watched(3, "operation 1", &more)).unwrap();
    running.client().get("/500", "ann").unwrap();
    running.client().get("/500", "bob").unwrap();
    let counts: Vec<_> =
        seen(&running).iter().map(|one| (one.weight, answers(&of_arm(one, 1).total, "5xx"))).collect();
    let once = Answers { answers: 2, keys: 1 };
    assert_eq!(counts, [(9_998, once), (9_999, Answers::each(1))], "ann counted before");
    running.gateway.apply(watched(4, "operation 2", &more)).unwrap();
    assert_eq!(seen(&running).len(), 1);
    assert_eq!(of_arm(&seen(&running)[0], 1), ArmCounts::default());
    running.apply(5, &more);
    assert_eq!(seen(&running), []);
}

#[test]
fn a_few_answers_of_both_arms_are_handed_out_once_while_a_trial_asks_for_them() {
    let json = |stream: &mut _| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
        raw(stream, &[&head[..], b"3\r\n{\"a\r\n5\r\n\":12}\r\n0\r\n\r\n"].concat())
    };
    let start = || Instance::start(move |_, stream| json(stream));
    let (new, old) = (start(), start());
    let arms = canary(5_000, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    let ask = |rounds: u32| {
        (0..rounds).for_each(|key| {
            let answer = running.client().get("/pay/7", &key.to_string()).unwrap();
            assert_eq!(answer.text(), "{\"a\":12}");
            running.client().get("/other", &key.to_string()).unwrap();
        });
    };
    running.gateway.apply(watched(2, "operation 1", &arms)).unwrap();
    ask(5);
    assert_eq!(running.gateway.report(&environment()).samples, [], "nobody asked for them");
    let mut table = watched(3, "operation 2", &arms);
    let asks = |watch: &mut Watch| watch.answers = lockstep_domain::watch::AnswerChecks::Sampled;
    table.services.values_mut().filter_map(|routes| routes.watch.as_mut()).for_each(asks);
    running.gateway.apply(table).unwrap();
    ask(40);
    let samples = running.gateway.report(&environment()).samples;
    assert!((1..=40).contains(&samples.len()), "{samples:?}");
    for sample in &samples {
        assert_eq!((sample.class.as_str(), sample.status, sample.weight), ("GET /pay/{id}", 200, 5_000));
        assert_eq!((sample.media_type.as_str(), sample.body.0.as_str()), ("application/json", "{\"a\":12}"));
        assert!(sample.trial == "operation 2" && sample.key.is_some(), "{sample:?}");
    }
    assert_eq!(running.gateway.report(&environment()).samples, [], "nobody gets them again");
    assert_eq!(running.gateway.receipt(&environment()).samples, []);
}
