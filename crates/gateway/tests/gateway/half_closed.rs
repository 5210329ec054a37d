//! Clients that end their sending with their request: whether they wait for an answer or have left nobody can tell, so they keep their places
//! until another needs one.

use std::net::Shutdown;

use serde_json::{Value, json};

use crate::adaptive::{Held, ask, begin, held, limits_of_one, metric, start};
use crate::limits::limits;
use crate::policies::{code, open};
use crate::support::{Client, Running, stable, wait_until};

/// A client that ended its sending with its request, once that is at the instance: what was under way before may not be over yet.
fn half_closed(running: &Running, held: &Held) -> Client {
    let mut found = None;
    wait_until("it is let in", || {
        let mut client = running.client();
        client.send("GET /wait HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: k\r\n\r\n").unwrap();
        client.socket().shutdown(Shutdown::Write).unwrap();
        let arrived = is_at_the_instance(held, &client);
        found = arrived.then_some(client);
        arrived
    });
    found.unwrap()
}

/// A gateway that lets one request in at once.
fn with_one_place() -> impl Iterator<Item = (Held, Running, String)> {
    let version = limits_of_one().map(|(policy, _)| (policy, true));
    let route = (limits(&json!({ "concurrency": 1 })), false);
    version.into_iter().chain([route]).map(|(policy, is_of_version): (Value, bool)| {
        let held = held();
        let arms = [stable(0, &[("one", held.instance.address)])];
        let running = if is_of_version { start(&arms, &policy) } else { open(&arms, &policy) };
        (held, running, policy.to_string())
    })
}

#[test]
fn a_client_that_ended_its_sending_keeps_its_place_until_another_needs_it() {
    for (held, running, policy) in with_one_place() {
        let mut alone = half_closed(&running, &held);
        held.go.send(()).unwrap();
        assert_eq!(alone.read().unwrap().status(), 200, "{policy}: nobody else needs its place");
        for _ in 0..4 {
            let mut first = half_closed(&running, &held);
            wait_until("another is let in", || ask(&running).status() == 200);
            let told = first.read().unwrap();
            assert_eq!((told.status(), code(&told).as_str()), (503, "gave_way"), "{policy}");
            assert_eq!((told.header("retry-after"), told.version()), (Some("1"), "1.0.0"));
            held.go.send(()).unwrap();
        }
        wait_until("nothing is under way", || running.in_flight() == 0);
        assert!(matches!(metric(&running, "lockstep_gateway_waiting"), None | Some(0)), "{policy}");
    }
}

#[test]
fn a_client_that_is_there_gives_its_place_to_nobody() {
    for (held, running, policy) in with_one_place() {
        let mut there = begin(&running, &held);
        for _ in 0..5 {
            assert_eq!(ask(&running).status(), 503, "{policy}");
        }
        held.go.send(()).unwrap();
        assert_eq!(there.read().unwrap().status(), 200, "{policy}");
        wait_until("there is room again", || ask(&running).status() == 200);
    }
}

#[test]
fn of_many_that_ended_their_sending_each_gives_its_place_once() {
    for (held, running, policy) in with_one_place() {
        // Each takes the place of the one before.
        let mut crowd: Vec<Client> = (0..5).map(|_| half_closed(&running, &held)).collect();
        (0..5).for_each(|_| held.go.send(()).unwrap());
        let statuses: Vec<u16> = crowd.iter_mut().map(|client| client.read().unwrap().status()).collect();
        assert_eq!(statuses[..4], [503; 4], "{policy}");
    }
}

/// Waits until the instance has a request, or its client an answer; tells whether it is the former.
fn is_at_the_instance(held: &Held, client: &Client) -> bool {
    client.socket().set_nonblocking(true).unwrap();
    let mut arrived = false;
    wait_until("the request is somewhere", || {
        arrived = held.arrived.try_recv().is_ok();
        arrived || client.socket().peek(&mut [0]).is_ok()
    });
    client.socket().set_nonblocking(false).unwrap();
    arrived
}
