//! Reads that another instance is asked for as well, when the first one is slow.

use std::io::Read as _;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lockstep_domain::routes::{RouteTable, SplitRole};
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, Applied, GatewayConfig};
use serde_json::{Value, json};

use crate::policies::{asking, code, open, patient};
use crate::seeing::{Asked, lines};
use crate::streams::support::{Caller, Grpc, Seen, h2c, request, runtime};
use crate::support::{ArmSpec, Client, Instance, Message, Running, Then, answer, stable, table, wait_until};

/// What an instance does with a request.
enum Does {
    /// Nothing, until the gateway closes.
    Nothing,
    Close,
    Says(u16, Vec<u8>),
}

use Does::{Close, Nothing, Says};

/// Instances that together do with each request what the test says for its number, from 0.
struct Several {
    instances: Vec<Instance>,
    asked: Arc<AtomicUsize>,
    /// Requests to which nothing was said, and whose connection the gateway closed.
    cut: Arc<AtomicUsize>,
}

impl Several {
    fn of(
        count: usize,
        does: impl Fn(usize, &Message, &AtomicUsize) -> Does + Clone + Send + Sync + 'static,
    ) -> Self {
        let (asked, cut): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let one = |_| {
            let (asked, cut, does) = (Arc::clone(&asked), Arc::clone(&cut), does.clone());
            Instance::start(move |request, stream| {
                let number = asked.fetch_add(1, Ordering::SeqCst);
                match does(number, request, &asked) {
                    Close => Ok(Then::Close),
                    Says(status, body) if request.start.starts_with("HEAD") => {
                        let head =
                            format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n", body.len());
                        crate::support::raw(stream, head.as_bytes())
                    }
                    Says(status, body) => answer(stream, status, &body),
                    Nothing => {
                        // What is not read counts as the end that it is followed by.
                        if !matches!(stream.read(&mut [0]), Ok(1)) {
                            cut.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(Then::Close)
                    }
                }
            })
        };
        Self { instances: (0..count).map(one).collect(), asked, cut }
    }

    /// The first request is not answered, all others are.
    fn silent_once(count: usize) -> Self {
        Self::of(count, |number, request, _| match number {
            0 => Nothing,
            _ => Says(200, request.target().as_bytes().to_vec()),
        })
    }

    fn arm(&self) -> ArmSpec<'_> {
        let ids = ["i-0", "i-1", "i-2"];
        let endpoints: Vec<_> = ids.into_iter().zip(self.instances.iter().map(|it| it.address)).collect();
        stable(0, &endpoints)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn cut(&self) -> usize {
        self.cut.load(Ordering::SeqCst)
    }
}

fn after(ms: u64) -> Value {
    json!({ "hedge": { "after_ms": ms } })
}

/// How often something came of asking another instance.
fn came_of_it(running: &Running, result: &str) -> u64 {
    let text = running.gateway.admin().metrics();
    let is_it = |line: &&str| {
        line.starts_with("lockstep_gateway_hedged_requests_total{")
            && line.contains(&format!("result=\"{result}\""))
    };
    text.lines().find(is_it).map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

fn is_over(running: &Running) {
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn a_slow_read_gets_the_answer_of_another_instance_and_the_first_one_is_told() {
    for method in ["GET", "HEAD"] {
        let pair = Several::silent_once(2);
        let running = open(&[pair.arm()], &after(20));
        let mut client = running.client();
        client.send(format!("{method} /a HTTP/1.1\r\nhost: shop.test\r\n\r\n")).unwrap();
        let got = if method == "HEAD" { client.read_to_head() } else { client.read() }.unwrap();
        assert_eq!((got.status(), got.version()), (200, "1.0.0"));
        wait_until("the first one is told", || pair.cut() == 1);
        is_over(&running);
        // What is no read is asked once, however slow this machine is.
        let next = client.ask("POST /b HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\r\n").unwrap();
        assert_eq!(next.text(), "/b", "the connection of the client goes on");
        assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (2, 0));
        assert_eq!(pair.asked(), 3);
        wait_until("it is counted", || came_of_it(&running, "won") == 1);
    }
}

#[test]
fn what_is_no_read_is_asked_once() {
    for start in [
        "POST / HTTP/1.1\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n",
        "PUT / HTTP/1.1\r\n",
        "DELETE / HTTP/1.1\r\n",
        "OPTIONS / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\ncontent-length: 2\r\n",
        "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "GET / HTTP/1.1\r\ncontent-type: application/grpc-web\r\n",
    ] {
        let pair = Several::of(2, |_, _, _| Nothing);
        let running =
            open(&[pair.arm()], &json!({ "timeouts": { "head_ms": 150 }, "hedge": { "after_ms": 10 } }));
        let mut client = running.client();
        let body = if start.contains("length: 2") { "hi" } else { "" };
        client.send(format!("{start}host: shop.test\r\n\r\n{body}")).unwrap();
        let _ = client.read();
        is_over(&running);
        assert_eq!(pair.asked(), 1, "{start}");
        assert!(!running.gateway.admin().metrics().contains("hedged_requests_total{"), "{start}");
    }
}

#[test]
fn where_no_other_instance_of_the_version_may_be_asked_the_first_one_is_waited_for() {
    let old = Instance::named("old");
    let alone = Several::of(1, |_, _, _| Nothing);
    let before = ArmSpec { version: (0, 9, 0), weight: 0, ..stable(0, &[("old", old.address)]) };
    let policy =
        json!({ "timeouts": { "head_ms": 200 }, "hedge": { "after_ms": 10 }, "retries": { "attempts": 1 } });
    let running = open(&[before, alone.arm()], &policy);
    let got = running.client().get("/", "k").unwrap();
    assert_eq!((got.status(), code(&got).as_str()), (504, "no_answer"));
    assert_eq!((alone.asked(), old.served()), (1, 0), "another version is another answer");
    wait_until("it is counted", || came_of_it(&running, "no_instance") == 1);
}

fn with_policy(mut table: RouteTable, policy: &Value) -> RouteTable {
    for split in table.services.values_mut().flat_map(|service| &mut service.splits) {
        split.policy = Some(serde_json::from_value(policy.clone()).unwrap());
    }
    table
}

#[test]
fn an_instance_that_has_no_room_is_not_asked() {
    for limit in
        [json!({ "max_requests": 1 }), json!({ "adaptive_limit": { "least": 2, "start": 2, "most": 2 } })]
    {
        let pair = Several::of(2, |_, _, _| Nothing);
        let arms = [pair.arm()];
        let running = Running::with(patient(), &arms);
        // Both are under way long before one of them is to be asked again.
        let asks = json!({ "timeouts": { "head_ms": 1_500 }, "hedge": { "after_ms": 1_000 } });
        let table = with_policy(asking(table(2, &arms), &asks), &limit);
        assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
        let mut two = [running.client(), running.client()];
        for (client, under_way) in two.iter_mut().zip(1..) {
            client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
            wait_until("it is asked", || pair.asked() == under_way);
        }
        for client in &mut two {
            assert_eq!(client.read().unwrap().status(), 504, "{limit}");
        }
        is_over(&running);
        assert_eq!(pair.asked(), 2, "{limit}");
        wait_until("both are counted", || came_of_it(&running, "no_instance") == 2);
    }
}

#[test]
fn while_a_version_is_on_trial_nothing_is_asked_twice() {
    let new = Several::of(2, |_, _, _| Nothing);
    let old = Instance::named("old");
    let on_trial = ArmSpec { version: (1, 1, 0), role: SplitRole::Candidate, weight: 9_999, ..new.arm() };
    let arms = [on_trial, ArmSpec { weight: 1, ..stable(0, &[("old", old.address)]) }];
    let policy = json!({ "timeouts": { "head_ms": 150 }, "hedge": { "after_ms": 10 } });
    let running = open(&arms, &policy);
    let got = running.client().get("/", "k").unwrap();
    assert_eq!((got.text().as_str(), new.asked()), ("old", 1), "it is shielded, and its slowness is seen");
    assert_eq!((running.traffic(1).requests, running.traffic(1).failures), (1, 1));
}

#[test]
fn more_than_the_budget_is_not_asked_twice() {
    let pair = Several::of(2, |_, _, _| Nothing);
    let policy = json!({ "timeouts": { "head_ms": 1_500 }, "hedge": { "after_ms": 20 } });
    let running = open(&[pair.arm()], &policy);
    let mut four: Vec<Client> = (0..4).map(|_| running.client()).collect();
    let send = |client: &mut Client| client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    four[..3].iter_mut().for_each(send);
    wait_until("three are asked twice", || pair.asked() == 6);
    send(&mut four[3]);
    for client in &mut four {
        let got = client.read().unwrap();
        assert_eq!((got.status(), code(&got).as_str()), (504, "no_answer"));
    }
    is_over(&running);
    assert_eq!((pair.asked(), running.traffic(0).failures), (7, 4), "each failed once");
    wait_until("all are told", || pair.cut() == 7);
    wait_until("all are counted", || {
        came_of_it(&running, "lost") == 3 && came_of_it(&running, "no_budget") == 1
    });
    let metrics = Asked::serve(running.gateway.admin()).ask("/-/metrics").1;
    assert!(
        metrics.contains("retries_refused_total{deployment_environment_name=\"production\"} 0\n"),
        "no repeat was refused"
    );
}

#[test]
fn a_failure_of_the_second_is_better_than_no_answer_of_the_first() {
    // The first one breaks off after the second has answered; the gateway may see the one before the other.
    let answered = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&answered);
    let pair = Several::of(2, move |number, _, _| match number {
        0 => {
            wait_until("the other has answered", || seen.load(Ordering::SeqCst));
            Close
        }
        _ => {
            seen.store(true, Ordering::SeqCst);
            Says(500, b"broken".to_vec())
        }
    });
    let running = open(&[pair.arm()], &after(20));
    let got = running.client().get("/", "k").unwrap();
    assert_eq!((got.status(), got.text().as_str()), (500, "broken"));
    is_over(&running);
    assert_eq!((pair.asked(), running.traffic(0).requests, running.traffic(0).failures), (2, 1, 1));
}

#[test]
fn a_client_that_leaves_ends_both() {
    let pair = Several::of(2, |_, _, _| Nothing);
    let running = open(&[pair.arm()], &after(10));
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    wait_until("both are asked", || pair.asked() == 2);
    drop(client);
    wait_until("both are told", || pair.cut() == 2);
    is_over(&running);
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (1, 0));
    wait_until("it is counted", || came_of_it(&running, "left") == 1);
    assert_eq!(came_of_it(&running, "lost"), 0, "nobody knows which would have been sooner");
}

#[test]
fn nobody_else_is_asked_for_a_client_that_may_have_left() {
    let pair = Several::of(2, |_, _, _| Nothing);
    let running = open(&[pair.arm()], &after(1_000));
    let mut client = running.client();
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    // It ends its sending with its request, as one does that waits for the answer, or that was closed.
    client.socket().shutdown(std::net::Shutdown::Write).unwrap();
    assert!(client.rest().is_empty(), "it was given a while");
    wait_until("the instance is told", || pair.cut() == 1);
    is_over(&running);
    assert_eq!(pair.asked(), 1);
    assert!(!running.gateway.admin().metrics().contains("hedged_requests_total{"), "nothing came of it");
}

#[test]
fn of_two_answers_at_the_same_moment_one_is_passed_on_and_nothing_of_the_other() {
    let pair = Several::of(2, |number, request, asked| {
        // Of each two that belong together the first waits for the second.
        if number.is_multiple_of(2) {
            wait_until("the other is asked", || asked.load(Ordering::SeqCst) > number + 1);
        }
        let body = request.target().repeat(if request.target().len() % 2 == 0 { 1 } else { 5_000 });
        Says(200, body.into_bytes())
    });
    let running = open(&[pair.arm()], &after(1));
    let mut client = running.client();
    for round in 0..150 {
        let path = format!("/{round}");
        let got = client.get(&path, "k").unwrap();
        assert_eq!(got.status(), 200);
        assert!(got.body.starts_with(path.as_bytes()) && got.body.ends_with(path.as_bytes()), "{round}");
    }
    is_over(&running);
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (150, 0));
    assert_eq!(pair.asked(), 300);
    wait_until("all are counted", || came_of_it(&running, "won") + came_of_it(&running, "lost") == 150);
}

#[test]
fn where_the_first_fails_meanwhile_the_other_one_answers_and_the_failure_is_seen() {
    for close in [false, true] {
        let pair = Several::of(3, move |number, _, asked| match (number, close) {
            (0, _) => {
                wait_until("the other is asked", || asked.load(Ordering::SeqCst) > 1);
                if close { Close } else { Says(503, b"first".to_vec()) }
            }
            _ => Says(200, b"second".to_vec()),
        });
        // The second is asked before the first fails; whichever is heard first, the second answers.
        let running = open(&[pair.arm()], &after(20));
        assert_eq!(running.client().get("/", "k").unwrap().text(), "second");
        is_over(&running);
        assert_eq!((pair.asked(), running.traffic(0).requests), (2, 1));
    }
}

#[test]
fn where_both_fail_the_client_gets_the_last_answer_and_no_third_is_asked() {
    let failed = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&failed);
    let three = Several::of(3, move |number, _, asked| match number {
        0 => {
            wait_until("the other is asked", || asked.load(Ordering::SeqCst) > 1);
            seen.fetch_add(1, Ordering::SeqCst);
            Says(503, b"first".to_vec())
        }
        _ => {
            wait_until("the first has failed", || seen.load(Ordering::SeqCst) > 0);
            Says(500, b"second".to_vec())
        }
    });
    let policy = json!({ "hedge": { "after_ms": 20 }, "retries": { "attempts": 3, "on": ["503", "500"] } });
    let running = open(&[three.arm()], &policy);
    let got = running.client().get("/", "k").unwrap();
    // Mostly the second comes last; both are under way at the same moment, and the gateway may see the one before the other.
    let last = (got.status(), got.text());
    assert!([(500, "second".to_owned()), (503, "first".to_owned())].contains(&last), "{last:?}");
    is_over(&running);
    assert_eq!((three.asked(), failed.load(Ordering::SeqCst)), (2, 1));
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (1, 1));
}

#[test]
fn where_the_other_one_fails_the_first_is_waited_for() {
    for close in [false, true] {
        let failed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&failed);
        let pair = Several::of(2, move |number, _, _| match number {
            0 => {
                wait_until("the other has failed", || seen.load(Ordering::SeqCst));
                Says(200, b"first".to_vec())
            }
            _ => {
                seen.store(true, Ordering::SeqCst);
                if close { Close } else { Says(500, b"second".to_vec()) }
            }
        });
        let running = open(&[pair.arm()], &after(20));
        assert_eq!(running.client().get("/", "k").unwrap().text(), "first");
        is_over(&running);
        assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (1, 0));
        wait_until("it is counted", || came_of_it(&running, "lost") == 1);
    }
}

#[test]
fn a_part_of_the_answers_is_known_when_enough_were_seen() {
    let slow = Arc::new(AtomicUsize::new(0));
    let next = Arc::clone(&slow);
    let pair = Several::of(2, move |_, request, _| match request.target() {
        "/slow" if next.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => Nothing,
        _ => Says(200, b"said".to_vec()),
    });
    let hedge = json!({ "percentile": { "percent": 95, "least_ms": 150 } });
    let running = open(&[pair.arm()], &json!({ "timeouts": { "head_ms": 400 }, "hedge": hedge }));
    let mut client = running.client();
    assert_eq!(client.get("/slow", "k").unwrap().status(), 504, "nothing is known yet");
    for _ in 0..224 {
        assert_eq!(client.get("/", "k").unwrap().status(), 200);
    }
    slow.store(0, Ordering::SeqCst);
    assert_eq!(client.get("/slow", "k").unwrap().status(), 200);
    wait_until("it is counted", || came_of_it(&running, "won") >= 1);
}

#[test]
fn streams_are_reset_and_their_connections_serve_others() {
    let (one, two) = (Grpc::start(), Grpc::start());
    one.seen.silent.store(true, Ordering::SeqCst);
    let arms = [stable(0, &[("one", one.address), ("two", two.address)])];
    let running = Running::with(patient(), &arms);
    assert_eq!(running.gateway.apply(h2c(asking(table(2, &arms), &after(20)))).unwrap(), Applied::Now);
    let mut client = running.client();
    let caller = running.address;
    while Seen::count(&one.seen.requests) == 0 {
        assert_eq!(client.get("/plain", "k").unwrap().text(), "plain");
    }
    wait_until("the stream is reset", || Seen::count(&one.seen.cancelled) == 1);
    is_over(&running);
    assert_eq!(Seen::count(&one.seen.ended), 0, "the connection stays");
    runtime().block_on(async {
        let caller = Caller::connect(caller).await;
        for _ in 0..20 {
            let got = caller.ask(request("GET", "/plain").body(()).unwrap(), b"").await.unwrap();
            assert_eq!((got.head.status.as_u16(), got.body.as_slice()), (200, &b"plain"[..]));
        }
    });
    is_over(&running);
    assert_eq!(Seen::count(&one.seen.cancelled), Seen::count(&one.seen.requests));
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn a_client_of_http_2_gets_the_answer_of_another_instance_of_http_1() {
    let pair = Several::silent_once(2);
    let running = open(&[pair.arm()], &after(20));
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for path in ["/a", "/b"] {
            let got = caller.ask(request("GET", path).body(()).unwrap(), b"").await.unwrap();
            assert_eq!((got.head.status.as_u16(), got.body.as_slice()), (200, path.as_bytes()));
        }
    });
    wait_until("the first one is told", || pair.cut() == 1);
    is_over(&running);
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (2, 0));
}

#[test]
fn the_access_log_and_the_last_requests_say_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let access_log = Some(AccessLogConfig::new(AccessLogTarget::File(path.clone())));
    let pair = Several::silent_once(2);
    let arms = [pair.arm()];
    let config = GatewayConfig {
        access_log,
        workers: NonZeroUsize::MIN,
        timeouts: patient(),
        recent: 10,
        ..GatewayConfig::new("test")
    };
    let running = Running::of(config, &arms);
    assert_eq!(running.gateway.apply(asking(table(2, &arms), &after(20))).unwrap(), Applied::Now);
    running.client().get("/a", "k").unwrap();
    running.client().ask("POST /b HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\r\n").unwrap();
    let lines = lines(&path, 2);
    let said = |at: usize| (lines[at]["hedged"].as_str(), lines[at]["tries"].as_u64());
    assert_eq!((said(0), said(1)), ((Some("won"), Some(2)), (None, Some(1))));
    let recent = running.gateway.admin().recent(10, None);
    let hedged: Vec<_> = recent
        .requests
        .iter()
        .map(|it| it.ended.as_ref().and_then(|ended| ended.hedged.as_deref()))
        .collect();
    assert_eq!(hedged, [None, Some("won")], "the newest first");
}
