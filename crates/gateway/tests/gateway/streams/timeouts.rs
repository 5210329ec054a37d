//! The time limits of a route, on HTTP/2 and for calls.

use serde_json::json;

use super::support::{Caller, Grpc, Seen, grpc, h2c, request, runtime, whole};
use super::until;
use crate::policies::{asking, patient};
use crate::support::*;

fn within_150_ms(instance: &Grpc) -> Running {
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::with(patient(), &arms);
    let policy = json!({ "timeouts": { "request_ms": 150 } });
    running.gateway.apply(h2c(asking(table(2, &arms), &policy))).unwrap();
    running
}

#[test]
fn a_call_that_is_not_answered_in_the_time_of_its_route_is_told_so_in_its_own_words() {
    let instance = Grpc::start();
    let running = within_150_ms(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let got = caller.call("/silent", 5).await.unwrap();
        assert_eq!((got.head.status.as_u16(), got.grpc()), (200, "4"));
        assert!(got.field("grpc-message").contains("request_timeout"), "{got:?}");
        until(|| Seen::count(&instance.seen.cancelled) == 1).await;
        let got = caller.ask(request("GET", "/silent").body(()).unwrap(), b"").await.unwrap();
        assert_eq!(got.head.status, 504);
        until(|| Seen::count(&instance.seen.cancelled) == 2).await;
    });
    assert_eq!(running.traffic(0).failures, 2);
}

#[test]
fn a_call_that_has_begun_to_be_answered_lasts_and_the_shorter_of_two_times_holds() {
    let instance = Grpc::start();
    let running = within_150_ms(&instance);
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, stream) = caller.begin(grpc("/begin").body(()).unwrap(), true).await.unwrap();
        let (_, mut body) = response.await.unwrap().into_parts();
        assert_eq!(body.data().await.unwrap().unwrap(), "12345");
        // A request that came later is out of time now; so this one would be.
        assert_eq!(caller.call("/silent", 0).await.unwrap().grpc(), "4");
        assert_eq!(running.in_flight(), 1);
        drop((stream, body));
        until(|| running.in_flight() == 0).await;
        let late = grpc("/begin").header("grpc-timeout", "20m").body(()).unwrap();
        let got = caller.ask(late, b"12345").await.unwrap();
        assert_eq!(
            (got.body.as_slice(), got.grpc()),
            (&b"12345"[..], "4"),
            "the client's time holds to the end"
        );
        let patient = grpc("/silent").header("grpc-timeout", "1H").body(()).unwrap();
        let got = caller.ask(patient, b"12345").await.unwrap();
        assert!(got.field("grpc-message").contains("request_timeout"), "{got:?}");
    });
}

#[test]
fn a_download_that_takes_longer_is_seen_to_be_cut() {
    let instance = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")?;
        let _ = std::io::Read::read(stream, &mut [0]);
        Ok(Then::Close)
    });
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::with(patient(), &arms);
    let policy = json!({ "timeouts": { "request_ms": 150 } });
    running.gateway.apply(asking(table(2, &arms), &policy)).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let (response, _stream) = caller.begin(request("GET", "/").body(()).unwrap(), true).await.unwrap();
        assert!(whole(response).await.unwrap_err().is_reset());
    });
    assert_eq!(running.traffic(0).failures, 0);
}
