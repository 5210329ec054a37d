//! HTTP/2 on both sides, and gRPC, with raw clients and instances.

mod departing;
mod frames;
mod hostile;
mod limits;
mod random;
pub(crate) mod support;
mod timeouts;
mod tonic_calls;
mod web;
mod websocket;

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use lockstep_gateway::Timeouts;
use tokio::time::timeout;

use crate::seeing::Asked;
use crate::support::*;
use support::{Caller, Grpc, Seen, grpc, h2c, request, runtime, whole};

fn behind(instance: &Grpc) -> Running {
    behind_with(Timeouts::default(), instance)
}

fn behind_with(timeouts: Timeouts, instance: &Grpc) -> Running {
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::with(timeouts, &arms);
    running.gateway.apply(h2c(table(2, &arms))).unwrap();
    running
}

#[test]
fn a_gateway_that_begins_to_leave_loses_no_stream_and_serves_who_comes_all_the_same() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, mut open) = caller.begin(grpc("/echo/0").body(()).unwrap(), false).await.unwrap();
        support::send(&mut open, Bytes::from_static(b"before")).await.unwrap();
        let (head, mut body) = response.await.unwrap().into_parts();
        assert_eq!((head.status.as_u16(), &body.data().await.unwrap().unwrap()[..]), (200, &b"before"[..]));
        running.gateway.begin_to_leave();
        // Each that is begun before the client has heard of it is answered.
        let mut begun = 0;
        while let Ok((response, _)) = caller.begin(grpc("/only/0").body(()).unwrap(), true).await {
            assert_eq!(whole(response).await.unwrap().grpc(), "0");
            begun += 1;
            assert!(begun < 1_000_000, "it is never told");
        }
        // So is the one that was open all the time.
        support::send(&mut open, Bytes::from_static(b"after")).await.unwrap();
        open.send_data(Bytes::new(), true).unwrap();
        assert_eq!(&body.data().await.unwrap().unwrap()[..], b"after");
        assert_eq!(body.trailers().await.unwrap().unwrap().get("grpc-status").unwrap(), "0");
        let late = Caller::connect(running.address).await;
        assert_eq!(late.call("/echo/0", 5).await.unwrap().grpc(), "0");
        assert!(late.call("/echo/0", 5).await.is_err(), "once for each connection");
    });
}

#[test]
fn a_client_of_http_2_is_served_by_an_instance_of_http_1() {
    let instance = Instance::start(|request, stream| {
        let said = format!(
            "{} host={} cookie={} length={} te={} via={}",
            request.start,
            request.header("host").unwrap_or_default(),
            request.header("cookie").unwrap_or_default(),
            request.header("content-length").unwrap_or_default(),
            request.header("te").unwrap_or_default(),
            request.header("via").unwrap_or_default(),
        );
        answer(stream, 200, said.as_bytes())
    });
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let asked = request("POST", "/a/../b?c=d")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("content-length", "5");
        let got = caller.ask(asked.body(()).unwrap(), b"hello").await.unwrap();
        assert_eq!(got.head.status, 200);
        assert_eq!(got.field("lockstep-version"), "shop@1.0.0");
        let text = String::from_utf8(got.body).unwrap();
        assert_eq!(text, "POST /b?c=d HTTP/1.1 host=shop.test cookie=a=1; b=2 length=5 te= via=2 lockstep");
        let got = caller.ask(request("GET", "/").body(()).unwrap(), b"").await.unwrap();
        assert!(got.field("connection").is_empty() && got.field("transfer-encoding").is_empty());
    });
    assert_eq!(running.traffic(0).requests, 2);
}

#[test]
fn a_body_of_any_length_reaches_an_instance_of_http_1_and_comes_back() {
    let instance = Instance::start(|request, stream| answer(stream, 200, &request.body));
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for length in [1, 16_383, 16_385, 70_000, 3_000_000] {
            let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let got = caller.ask(request("POST", "/").body(()).unwrap(), &body).await.unwrap();
            assert!(got.body == body, "{length}");
        }
    });
}

#[test]
fn a_client_of_http_1_is_served_by_an_instance_of_http_2() {
    let instance = Grpc::start();
    let running = behind(&instance);
    let mut client = running.client();
    let got = client.get("/plain", "ann").unwrap();
    assert_eq!((got.status(), got.text().as_str(), got.version()), (200, "plain", "1.0.0"));
    let head = instance.seen.last();
    assert_eq!(head.uri.authority().unwrap().as_str(), "shop.test");
    assert!(head.headers.contains_key("baggage") && head.headers.contains_key("traceparent"));
    let body = vec![b'x'; 300_000];
    let asked = format!("POST /echo HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {}\r\n\r\n", body.len());
    client.send(&asked).unwrap();
    client.send(&body).unwrap();
    let got = client.read().unwrap();
    assert!(got.body == body && got.trailers == ["grpc-status: 0"], "{:?}", got.trailers);
    let chunked = "POST /echo HTTP/1.1\r\nhost: shop.test\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-end: 1\r\n\r\n";
    // It was answered before it had sent all, so its connection has ended.
    let got = running.client().ask(chunked).unwrap();
    assert_eq!((got.text().as_str(), got.trailers.contains(&"x-end: 1".to_owned())), ("abc", true));
    assert!(Seen::count(&instance.seen.connections) <= 2, "one for each worker");
}

#[test]
fn an_answer_without_a_body_is_whole_for_a_client_of_http_1() {
    let instance = Grpc::start();
    let running = behind(&instance);
    let mut client = running.client();
    for _ in 0..2 {
        let got = client.get("/only/0", "ann").unwrap();
        assert_eq!((got.status(), got.header("content-length")), (200, Some("0")));
    }
}

#[test]
fn a_call_passes_with_its_trailers_and_its_end_decides_how_it_is_counted() {
    let instance = Grpc::start();
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for length in [0, 5, 100_000, 2_000_000] {
            let got = caller.call("/echo/0", length).await.unwrap();
            assert_eq!((got.body.len(), got.grpc(), got.head.status.as_u16()), (length, "0", 200));
        }
        assert_eq!(instance.seen.last().headers["te"], "trailers");
        for (status, failures) in [(0, 0), (5, 0), (1, 0), (14, 1), (2, 2), (13, 3), (16, 3)] {
            for path in [format!("/echo/{status}"), format!("/only/{status}")] {
                let got = caller.call(&path, 5).await.unwrap();
                assert_eq!(got.grpc(), status.to_string());
            }
            assert_eq!(running.traffic(0).failures, failures * 2, "{status}");
        }
        // It says nowhere how it ended.
        caller.call("/endless", 5).await.ok();
    });
    wait_until("the call is counted as broken off", || running.traffic(0).failures == 7);
    assert_eq!(running.traffic(0).requests, 4 + 14 + 1);
}

#[test]
fn how_calls_ended_is_in_the_metrics() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for path in ["/echo/0", "/echo/0", "/only/5", "/echo/14"] {
            caller.call(path, 5).await.unwrap();
        }
    });
    let admin = Asked::serve(running.gateway.admin());
    let labels =
        r#"deployment_environment_name="production",service_name="shop",service_version="1.0.0",config="0""#;
    wait_until("all are counted", || {
        let text = admin.ask("/-/metrics").1;
        [(0, 2), (5, 1), (14, 1)].iter().all(|(status, count)| {
            let line =
                format!("lockstep_gateway_grpc_calls_total{{{labels},grpc_status=\"{status}\"}} {count}\n");
            text.contains(&line)
        })
    });
}

#[test]
fn a_canary_is_judged_by_how_its_calls_end() {
    let (new, old) = (Grpc::start(), Grpc::start());
    let arms = canary(9_999, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    let mut table = h2c(table(2, &arms));
    let watch = serde_json::json!({
        "trial": "operation 1", "operations": [], "statuses": ["5xx", "none", "404"], "latency_bounds_ms": [60_000],
    });
    let watch: lockstep_domain::watch::Watch = serde_json::from_value(watch).unwrap();
    table.services.values_mut().for_each(|routes| routes.watch = Some(watch.clone()));
    running.gateway.apply(table).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for path in ["/echo/0", "/echo/14", "/only/2", "/only/5", "/endless", "/echo/7"] {
            let _ = caller.call(path, 5).await;
        }
    });
    let counted = || {
        let watched = running.gateway.receipt(&environment()).watched.pop().unwrap();
        let (_, counts) = watched.arms.into_iter().find(|(arm, _)| arm.version.minor() == 1).unwrap();
        let answers =
            |status: &str| counts.total.statuses.get(&status.parse().unwrap()).map_or(0, |it| it.answers);
        (counts.total.requests, answers("5xx"), answers("404"), answers("none"))
    };
    wait_until("all are counted", || counted() == (6, 2, 1, 1));
    assert_eq!(Seen::count(&old.seen.requests), 0, "a call is not asked again of the stable version");
}

#[test]
fn many_calls_share_few_connections() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for _ in 0..100 {
            let calls = (0..100).map(|_| {
                let caller = caller.clone();
                tokio::spawn(async move { caller.call("/echo/0", 5).await.unwrap().grpc().to_owned() })
            });
            for call in calls.collect::<Vec<_>>() {
                assert_eq!(call.await.unwrap(), "0");
            }
        }
    });
    assert_eq!(running.traffic(0).requests, 10_000);
    assert!(Seen::count(&instance.seen.connections) <= 2);
    wait_until("nothing is under way", || running.in_flight() == 0);
}

#[test]
fn an_instance_that_takes_one_stream_at_a_time_gets_no_more() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1);
    let instance = Grpc::with(builder);
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let caller = caller.clone();
                tokio::spawn(async move { caller.call("/echo/0", 5).await.unwrap().grpc().to_owned() })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "0");
        }
    });
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn a_client_that_takes_its_call_back_is_heard_by_the_instance() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for path in ["/silent", "/begin"] {
            let before = Seen::count(&instance.seen.cancelled);
            let requests = Seen::count(&instance.seen.requests);
            let (response, mut stream) = caller.begin(grpc(path).body(()).unwrap(), true).await.unwrap();
            until(|| Seen::count(&instance.seen.requests) > requests).await;
            assert_eq!(running.in_flight(), 1);
            stream.send_reset(h2::Reason::CANCEL);
            drop(response);
            until(|| Seen::count(&instance.seen.cancelled) > before).await;
            until(|| running.in_flight() == 0).await;
        }
        assert_eq!(running.traffic(0).failures, 0, "it was the client");
    });
}

#[test]
fn a_deadline_is_passed_on_shortened_and_kept() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let late = |path| grpc(path).header("grpc-timeout", "200m").body(()).unwrap();
        let got = caller.ask(late("/silent"), b"12345").await.unwrap();
        assert_eq!((got.head.status.as_u16(), got.grpc()), (200, "4"));
        assert_eq!(got.field("content-type"), "application/grpc");
        let passed = instance.seen.last().headers["grpc-timeout"].to_str().unwrap().to_owned();
        let left: u64 = passed.strip_suffix('u').or(passed.strip_suffix('n')).unwrap().parse().unwrap();
        let left = if passed.ends_with('n') { left / 1_000 } else { left };
        assert!(left > 0 && left < 200_000, "{passed}");
        until(|| Seen::count(&instance.seen.cancelled) == 1).await;
        assert_eq!(running.traffic(0).failures, 1);
        // Also in the middle of an answer.
        let got = caller.ask(late("/begin"), b"12345").await.unwrap();
        assert_eq!((got.body.as_slice(), got.grpc()), (&b"12345"[..], "4"));
        until(|| Seen::count(&instance.seen.cancelled) == 2).await;
        until(|| running.traffic(0).failures == 2).await;
    });
}

#[test]
fn what_the_gateway_refuses_is_told_to_callers_in_their_own_words() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let elsewhere = grpc("/x").uri("http://elsewhere.test/x").body(()).unwrap();
        let got = caller.ask(elsewhere, b"").await.unwrap();
        assert_eq!((got.head.status.as_u16(), got.grpc()), (200, "12"));
        assert!(got.field("grpc-message").contains("no_route"), "{:?}", got.head);
        let elsewhere = request("GET", "/x").uri("http://elsewhere.test/x").body(()).unwrap();
        let got = caller.ask(elsewhere, b"").await.unwrap();
        assert_eq!((got.head.status.as_u16(), got.field("content-type")), (404, "application/problem+json"));
        let odd = request("GET", "/x").header("host", "other.test").body(()).unwrap();
        assert_eq!(caller.ask(odd, b"").await.unwrap().head.status, 400);
    });
}

#[test]
fn a_request_that_was_refused_unread_is_sent_again() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let got = caller.call("/refuse", 5).await.unwrap();
        assert_eq!(got.grpc(), "0", "{got:?}");
    });
    assert_eq!(Seen::count(&instance.seen.requests), 2);
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (1, 0));
}

/// An instance that ends no connection because many calls on it are taken back.
fn that_bears_with_it() -> Grpc {
    let mut builder = h2::server::Builder::new();
    builder.max_pending_accept_reset_streams(100_000).max_concurrent_reset_streams(100_000);
    Grpc::with(builder)
}

/// An instance that takes no byte of a body, and refuses the first request when it is told to.
fn that_takes_nothing() -> Grpc {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(0);
    Grpc::with(builder)
}

#[test]
fn what_was_taken_of_a_body_is_sent_again_when_the_instance_refused_the_request_meanwhile() {
    let instance = that_takes_nothing();
    let running = behind(&instance);
    let got = runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let asked = request("POST", "/unread").header("content-length", "8000").body(()).unwrap();
        let (response, mut stream) = caller.begin(asked, false).await.unwrap();
        until(|| Seen::count(&instance.seen.requests) == 1).await;
        stream.send_data(Bytes::from(vec![b'a'; 5_000]), false).unwrap();
        // What comes behind it on the connection is answered, so the gateway has it.
        assert_eq!(
            caller.ask(request("GET", "/plain").body(()).unwrap(), b"").await.unwrap().head.status,
            200
        );
        instance.seen.refuse.notify_one();
        until(|| Seen::count(&instance.seen.requests) == 3).await;
        stream.send_data(Bytes::from(vec![b'b'; 3_000]), true).unwrap();
        timeout(PATIENCE, whole(response)).await.unwrap().unwrap()
    });
    assert_eq!(got.head.status, 200);
    assert_eq!(got.body, [vec![b'a'; 5_000], vec![b'b'; 3_000]].concat());
}

#[test]
fn an_instance_without_room_for_a_body_is_heard_and_told_that_the_client_left() {
    let instance = that_takes_nothing();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let asking = |path: &'static str| caller.begin(request("POST", path).body(()).unwrap(), false);
        // The body is here as a whole when the request is looked at.
        let (response, mut stream) = asking("/only/5").await.unwrap();
        stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
        assert_eq!(timeout(PATIENCE, whole(response)).await.unwrap().unwrap().grpc(), "5");
        let (_response, mut stream) = asking("/silent").await.unwrap();
        stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
        until(|| Seen::count(&instance.seen.requests) == 2).await;
        stream.send_reset(h2::Reason::CANCEL);
        until(|| Seen::count(&instance.seen.cancelled) == 1).await;
        let (response, mut stream) = asking("/unread").await.unwrap();
        stream.send_data(Bytes::from_static(b"hello"), true).unwrap();
        let got = timeout(PATIENCE, whole(response)).await.unwrap().unwrap();
        assert_eq!(got.body, b"hello", "what there was no room for comes later");
    });
}

#[test]
fn a_request_of_http_1_whose_body_was_taken_is_not_sent_again_without_it() {
    let instance = that_takes_nothing();
    let running = behind(&instance);
    let mut client = running.client();
    client.send("POST /unread HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 8000\r\n\r\n").unwrap();
    wait_until("it is asked", || Seen::count(&instance.seen.requests) == 1);
    client.send("a".repeat(5_000)).unwrap();
    let mut other = running.client();
    other.send("GET /plain HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    assert_eq!(other.read().unwrap().status(), 200);
    instance.seen.refuse.notify_one();
    assert_eq!(client.read().unwrap().status(), 502);
    assert_eq!(Seen::count(&instance.seen.requests), 2);
}

#[test]
fn a_connection_on_which_nothing_was_heard_for_too_long_gets_no_further_request() {
    let instance = Grpc::start();
    let timeouts = Timeouts { answer: Duration::from_millis(100), ..Timeouts::default() };
    let running = behind_with(timeouts, &instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        assert_eq!(caller.call("/only/0", 5).await.unwrap().grpc(), "0");
        let before = Seen::count(&instance.seen.connections);
        assert_eq!(caller.call("/silent", 5).await.unwrap().grpc(), "4");
        assert_eq!(caller.call("/only/0", 5).await.unwrap().grpc(), "0");
        assert_eq!(Seen::count(&instance.seen.connections), before + 1);
    });
}

#[test]
fn the_end_of_a_call_says_how_it_went_and_not_its_head() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        assert_eq!(caller.call("/two", 5).await.unwrap().grpc(), "13");
        assert_eq!(caller.call("/only/0", 5).await.unwrap().grpc(), "0");
    });
    wait_until("both are counted", || running.traffic(0).requests == 2);
    assert_eq!(running.traffic(0).failures, 1);
}

#[test]
fn a_client_that_takes_back_some_dozens_at_once_keeps_its_other_streams() {
    let instance = that_bears_with_it();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, mut kept) = caller.begin(grpc("/echo/0").body(()).unwrap(), false).await.unwrap();
        let mut taken_back = Vec::new();
        for _ in 0..60 {
            taken_back.push(caller.begin(grpc("/wait").body(()).unwrap(), false).await.unwrap());
        }
        // Within one write, so that the gateway sees their ends before it has looked at them.
        taken_back.iter_mut().for_each(|(_, stream)| stream.send_reset(h2::Reason::CANCEL));
        drop(taken_back);
        kept.send_data(Bytes::from_static(b"12345"), true).unwrap();
        assert_eq!(timeout(PATIENCE, whole(response)).await.unwrap().unwrap().grpc(), "0");
    });
}

#[test]
fn an_instance_that_goes_away_finishes_its_calls_and_gets_the_next_on_a_new_connection() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for _ in 0..20 {
            assert_eq!(caller.call("/leave/0", 5).await.unwrap().grpc(), "0");
            assert_eq!(caller.call("/echo/0", 5).await.unwrap().grpc(), "0");
        }
    });
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn an_instance_that_dies_breaks_its_calls_off_and_no_others() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let got = caller.call("/die", 5).await.unwrap();
        assert_eq!(got.grpc(), "14", "{got:?}");
        let broken = caller.call("/reset", 5).await;
        assert!(broken.is_err() || broken.unwrap().grpc().is_empty(), "a part must not look like the whole");
        assert_eq!(caller.call("/echo/0", 5).await.unwrap().grpc(), "0");
    });
    wait_until("both are counted", || running.traffic(0).failures == 2);
    assert_eq!(running.in_flight(), 0);
}

#[test]
fn a_client_that_takes_nothing_slows_its_sender_and_nothing_piles_up() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, stream) = caller.begin(grpc("/flood").body(()).unwrap(), true).await.unwrap();
        let answer = response.await.unwrap();
        let pieces = || instance.seen.heads.lock().unwrap().len();
        // What is sent without being taken: windows of both sides, and buffers. Others are served meanwhile.
        let mut before = pieces();
        loop {
            for _ in 0..20 {
                assert_eq!(caller.call("/echo/0", 5).await.unwrap().grpc(), "0");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = pieces();
            if now <= before + 20 {
                break;
            }
            before = now;
        }
        let sent = pieces() * 16_384;
        assert!(sent < 4 * 1_024 * 1_024, "{sent}");
        drop((answer, stream));
        until(|| Seen::count(&instance.seen.cancelled) == 1).await;
    });
}

#[test]
fn an_instance_that_left_the_table_drains_exactly_and_its_connection_ends() {
    let (old, new) = (Grpc::start(), Grpc::start());
    let running = behind(&old);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, mut stream) = caller.begin(grpc("/echo/0").body(()).unwrap(), false).await.unwrap();
        let mut answer = response.await.unwrap();
        running.gateway.apply(h2c(table(3, &[stable(1, &[("two", new.address)])]))).unwrap();
        assert_eq!(running.in_flight(), 1);
        let got = caller.call("/echo/0", 5).await.unwrap();
        assert_eq!(got.field("lockstep-version"), "shop@1.1.0");
        stream.send_data(Bytes::from_static(b"last"), false).unwrap();
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "last");
        assert_eq!((running.in_flight(), Seen::count(&old.seen.ended)), (1, 0));
        stream.send_trailers(HeaderMap::new()).unwrap();
        assert!(answer.body_mut().data().await.is_none());
        assert_eq!(answer.body_mut().trailers().await.unwrap().unwrap()["grpc-status"], "0");
        until(|| running.in_flight() == 0 && Seen::count(&old.seen.ended) == 1).await;
    });
}

#[test]
fn calls_go_on_while_tables_change() {
    let instances = [Grpc::start(), Grpc::start()];
    let running = behind(&instances[0]);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for revision in 3..60 {
            let calls: Vec<_> = (0..20)
                .map(|_| {
                    let caller = caller.clone();
                    tokio::spawn(async move { caller.call("/echo/0", 500).await.unwrap().grpc().to_owned() })
                })
                .collect();
            let one = &instances[revision as usize % 2];
            running.gateway.apply(h2c(table(revision, &[stable(revision, &[("x", one.address)])]))).unwrap();
            for call in calls {
                assert_eq!(call.await.unwrap(), "0");
            }
        }
    });
}

#[test]
fn a_gateway_that_stops_lets_streams_finish_and_takes_no_new_ones() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, mut stream) = caller.begin(grpc("/echo/0").body(()).unwrap(), false).await.unwrap();
        let mut answer = response.await.unwrap();
        running.gateway.unlisten(&environment(), running.address);
        let refused = async {
            // Streams that cross the announcement are still served; then none is taken.
            while caller.call("/echo/0", 5).await.is_ok() {}
        };
        timeout(PATIENCE, refused).await.unwrap();
        stream.send_data(Bytes::from_static(b"last"), true).unwrap();
        assert_eq!(answer.body_mut().data().await.unwrap().unwrap(), "last");
        assert!(answer.body_mut().data().await.is_none());
        assert_eq!(answer.body_mut().trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn who_takes_requests_back_again_and_again_is_shown_the_door() {
    let instance = that_bears_with_it();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let flood = async {
            for sent in 0.. {
                let Ok((response, mut stream)) = caller.begin(grpc("/silent").body(()).unwrap(), true).await
                else {
                    return sent;
                };
                // Let it be asked before it is taken back.
                tokio::task::yield_now().await;
                stream.send_reset(h2::Reason::CANCEL);
                drop(response);
            }
            0
        };
        let sent = timeout(PATIENCE, flood).await.unwrap();
        assert!(sent < 20_000, "{sent}");
        let other = Caller::connect(running.address).await;
        assert_eq!(other.call("/echo/0", 5).await.unwrap().grpc(), "0");
    });
    wait_until("nothing is left of it", || running.in_flight() == 0);
}

#[test]
fn heads_that_are_too_long_are_refused() {
    let instance = Grpc::start();
    let running = behind(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let long = request("GET", "/plain").header("x-long", "x".repeat(40_000)).body(()).unwrap();
        let got = caller.ask(long, b"").await;
        assert!(got.is_err() || got.unwrap().head.status == 431);
        let caller = Caller::connect(running.address).await;
        let many = (0..300).fold(request("GET", "/plain"), |it, n| it.header(format!("x-{n}"), "x"));
        assert_eq!(caller.ask(many.body(()).unwrap(), b"").await.unwrap().head.status, 431);
        assert_eq!(caller.ask(request("GET", "/plain").body(()).unwrap(), b"").await.unwrap().body, b"plain");
    });
    assert_eq!(Seen::count(&instance.seen.requests), 1);
}

#[test]
fn who_holds_a_call_open_in_silence_is_not_cut_and_who_stalls_a_body_is() {
    let instance = Grpc::start();
    let stall = Duration::from_millis(200);
    let running = behind_with(Timeouts { stall, answer: stall, ..Timeouts::default() }, &instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, mut stream) = caller.begin(grpc("/echo/0").body(()).unwrap(), false).await.unwrap();
        let answer = response.await.unwrap();
        let (stalled, _open) = caller.begin(request("POST", "/hang").body(()).unwrap(), false).await.unwrap();
        assert_eq!(timeout(PATIENCE, stalled).await.unwrap().unwrap().status(), 408);
        tokio::time::sleep(stall * 2).await;
        stream.send_data(Bytes::from_static(b"last"), true).unwrap();
        let mut body = answer.into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "last");
    });
}

#[test]
fn a_head_before_the_answer_and_a_shielded_read_pass_between_streams() {
    let (new, old) = (Grpc::start(), Grpc::start());
    let arms = canary(9_999, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    running.gateway.apply(h2c(table(2, &arms))).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (mut response, _) = caller.begin(request("GET", "/early").body(()).unwrap(), true).await.unwrap();
        let early = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
        assert_eq!((early.status().as_u16(), &early.headers()["link"]), (103, &"</x>".parse().unwrap()));
        assert_eq!(whole(response).await.unwrap().head.status, 200);
        let got = caller.ask(request("GET", "/plain/503").body(()).unwrap(), b"").await.unwrap();
        // Both arms fail alike, and the second one's answer is passed on.
        assert_eq!((got.head.status.as_u16(), got.body.as_slice()), (503, &b"plain"[..]));
        assert_eq!(got.field("lockstep-version"), "shop@1.0.0");
        assert_eq!(got.field("lockstep-shielded"), "shop@1.1.0");
    });
    assert_eq!(Seen::count(&old.seen.requests), 1);
}

#[test]
fn an_instance_that_speaks_no_http_2_is_not_reached() {
    let instance = Instance::named("plain");
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let got = timeout(PATIENCE, caller.call("/x", 5)).await.unwrap().unwrap();
        assert_eq!(got.grpc(), "14", "{got:?}");
    });
}

#[test]
fn a_receiver_with_hardly_any_room_gets_all_nevertheless() {
    let instance = Instance::start(|_, stream| answer(stream, 200, &[7; 50]));
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    runtime().block_on(async {
        let mut client = h2::client::Builder::new();
        client.initial_window_size(10);
        let stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
        let (requests, connection) = client.handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let caller = Caller(requests);
        let got = timeout(PATIENCE, caller.ask(request("GET", "/").body(()).unwrap(), b""));
        assert_eq!(got.await.unwrap().unwrap().body.len(), 50);
    });
}

/// Waits until something holds, while the runtime goes on.
async fn until(mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never came to be so");
}
