//! The limits of a route, on HTTP/2 and for calls.

use serde_json::json;

use super::support::{Caller, Grpc, grpc, h2c, request, runtime};
use crate::policies::asking;
use crate::support::*;

#[test]
fn a_stream_with_too_long_a_body_is_refused_and_the_others_go_on() {
    let instance = Grpc::start();
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    let policy = json!({ "limits": { "body_bytes": 30_000 } });
    running.gateway.apply(h2c(asking(table(2, &arms), &policy))).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        let fits = caller.call("/echo", 30_000).await.unwrap();
        assert_eq!((fits.body.len(), fits.grpc()), (30_000, "0"));
        let announced = request("POST", "/plain").header("content-length", "30001").body(()).unwrap();
        let (response, _body) = caller.begin(announced, false).await.unwrap();
        assert_eq!(response.await.unwrap().status(), 413);
        let got = caller.ask(request("POST", "/silent").body(()).unwrap(), &vec![7; 30_001]).await.unwrap();
        assert_eq!(got.head.status, 413);
        let got = caller.call("/silent", 30_001).await.unwrap();
        assert_eq!((got.head.status.as_u16(), got.grpc()), (200, "8"));
        assert!(got.field("grpc-message").contains("body_too_large"), "{got:?}");
        assert_eq!(caller.call("/echo", 5).await.unwrap().grpc(), "0");
    });
    assert_eq!(running.traffic(0).failures, 0);
}

#[test]
fn a_short_body_that_came_with_its_head_is_measured_too() {
    let instance = Instance::named("served");
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    let policy = json!({ "limits": { "body_bytes": 4 } });
    running.gateway.apply(asking(table(2, &arms), &policy)).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        for (body, status) in [("1234", 200), ("12345", 413)] {
            let got = caller.ask(request("POST", "/").body(()).unwrap(), body.as_bytes()).await.unwrap();
            assert_eq!(got.head.status, status, "{body}");
        }
    });
}

#[test]
fn who_calls_too_often_is_told_so_in_its_own_words() {
    let instance = Grpc::start();
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    let policy = json!({ "limits": { "rate": { "requests": 1, "per_ms": 86_400_000 } } });
    running.gateway.apply(h2c(asking(table(2, &arms), &policy))).unwrap();
    runtime().block_on(async {
        let caller = Caller::connect(running.address).await;
        assert_eq!(caller.call("/echo", 5).await.unwrap().grpc(), "0");
        let got = caller.ask(grpc("/echo").body(()).unwrap(), b"12345").await.unwrap();
        assert_eq!((got.head.status.as_u16(), got.grpc()), (200, "8"));
        assert!(got.field("grpc-message").contains("rate_limited"), "{got:?}");
    });
}
