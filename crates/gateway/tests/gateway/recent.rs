//! The last requests of a gateway: what is kept of them, what is not, who is told, and what another table would do with them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use lockstep_domain::routes::conditions::{Conditions, Wanted, WantedValue};
use lockstep_domain::routes::{Route, RouteRule, RouteTable};
use lockstep_gateway::recent::RecentList;
use lockstep_gateway::recent::replay::{Replay, replay};
use lockstep_gateway::traffic::Traffic;
use lockstep_gateway::{Gateway, GatewayConfig};

use crate::seeing::Asked;
use crate::support::{Client, Instance, answer, canary, environment, stable, table, wait_until};

fn kept(name: &str, value: WantedValue) -> Wanted {
    Wanted { name: name.into(), value }
}

fn route(path: &str, when: Conditions) -> Route {
    let rule = RouteRule { path: path.into(), when, ..RouteRule::default() };
    Route { rule, service: "shop".parse().unwrap() }
}

/// A gateway that keeps its last requests, and the address of its clients.
fn start(table: RouteTable, recent: usize) -> (Gateway, Asked, Client) {
    let workers = NonZeroUsize::MIN;
    let gateway = Gateway::start(GatewayConfig { workers, recent, ..GatewayConfig::new("test") }).unwrap();
    let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    gateway.apply(table).unwrap();
    let asked = Asked::serve(gateway.admin());
    let client = Client::connect(address);
    (gateway, asked, client)
}

fn list(asked: &Asked, target: &str) -> RecentList {
    let (status, text) = asked.ask(target);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn ended(asked: &Asked, count: usize) -> RecentList {
    let all = || list(asked, "/-/recent?limit=1000&environment=production");
    wait_until("all requests are over", || {
        let list = all();
        list.requests.len() == count && list.requests.iter().all(|request| request.ended.is_some())
    });
    all()
}

/// Routes that ask for a header by its value, a credential by its value, a query parameter, and whether a cookie is there.
fn asking(instance: &Instance) -> RouteTable {
    let mut table = table(1, &[stable(0, &[("one", instance.address)])]);
    table.format = 9;
    let exact = |text: &str| WantedValue::Exact(text.into());
    let lane = Conditions { headers: vec![kept("x-lane", exact("login"))], ..Conditions::default() };
    let secret =
        Conditions { headers: vec![kept("authorization", exact("Bearer other"))], ..Conditions::default() };
    let rest = Conditions {
        query: vec![kept("preview", exact("1"))],
        cookies: vec![kept("session", WantedValue::Present)],
        ..Conditions::default()
    };
    table.routes =
        vec![route("/a", lane), route("/a", secret), route("/a", rest), route("/", Conditions::default())];
    table
}

#[test]
fn of_a_request_what_the_routes_ask_for_is_kept_and_no_secret() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"said"));
    let (_gateway, asked, mut client) = start(asking(&instance), 100);
    let head = "GET /a/b?preview=1&token=SECRET1 HTTP/1.1\r\nhost: shop.test\r\nauthorization: Bearer SECRET2\r\n\
                cookie: session=SECRET3; other=SECRET4\r\nx-lane: login\r\nx-other: SECRET5\r\nx-lockstep-key: SECRET6\r\n\r\n";
    assert_eq!(client.ask(head).unwrap().status(), 200);
    let token = "GET /@~SECRET7/@shop/x HTTP/1.1\r\nhost: shop.test\r\n\r\n";
    assert_eq!(client.ask(token).unwrap().status(), 403);
    let list = ended(&asked, 2);
    let text = asked.ask("/-/recent").1;
    assert!(!text.contains("SECRET"), "{text}");
    let [wrong, request] = list.requests.as_slice() else { panic!("{list:?}") };
    assert_eq!((wrong.path.as_str(), wrong.route.as_ref()), ("/@~", None));
    assert_eq!(wrong.ended.as_ref().unwrap().code.as_deref(), Some("unknown_caller"));
    let known: Vec<_> =
        request.known.iter().map(|it| (it.name.as_str(), it.present, it.values.clone())).collect();
    let login = Some(vec!["login".to_owned()]);
    let one = Some(vec!["1".to_owned()]);
    let expected = [
        ("authorization", true, None),
        ("x-lane", true, login),
        ("preview", true, one),
        ("session", true, None),
    ];
    assert_eq!(known, expected);
    assert_eq!((request.path.as_str(), request.host.as_str()), ("/a/b", "shop.test"));
    assert_eq!(request.route.as_deref(), Some("*/a cookie session query preview=1"));
    assert_eq!((request.version.as_deref(), request.chosen_by.as_deref()), (Some("1.0.0"), Some("key")));
    let ended = request.ended.as_ref().unwrap();
    assert_eq!((ended.status, ended.tries, ended.end.as_str()), (200, 1, "whole"));
    assert_eq!(ended.instance.as_deref(), Some(instance.address.to_string().as_str()));
}

#[test]
fn only_programs_of_this_host_are_told_and_none_where_nothing_is_kept() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"said"));
    let (_gateway, asked, mut client) = start(asking(&instance), 0);
    assert_eq!(client.get("/", "k").unwrap().status(), 200);
    assert_eq!(list(&asked, "/-/recent").requests, []);
    // A page that was led here by a name of its own asks for that name.
    assert_eq!(asked.ask_as("/-/recent", "evil.test").0, 403);
    assert_eq!(asked.ask_as("/-/recent", "localhost:9900").0, 200);
    assert_eq!(asked.ask_as("/-/recent", "127.0.0.1:9900").0, 200);
}

#[test]
fn no_more_are_kept_than_there_is_room_for_and_one_under_way_is_shown() {
    let (tell, told) = std::sync::mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let instance = Instance::start(move |request, stream| {
        if request.target() == "/slow" {
            let _ = told.lock().unwrap().recv();
        }
        answer(stream, 200, b"said")
    });
    let (_gateway, asked, mut client) = start(table(1, &[stable(0, &[("one", instance.address)])]), 3);
    for path in ["/1", "/2", "/3", "/4"] {
        assert_eq!(client.get(path, "k").unwrap().status(), 200);
    }
    let waits = std::thread::spawn(move || client.get("/slow", "k").unwrap().status());
    wait_until("the slow one is under way", || list(&asked, "/-/recent").requests[0].path == "/slow");
    let seen = list(&asked, "/-/recent");
    let paths: Vec<_> = seen.requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/slow", "/4", "/3"]);
    assert_eq!(seen.requests[0].ended, None);
    drop(tell);
    assert_eq!(waits.join().unwrap(), 200);
    wait_until("it is over", || list(&asked, "/-/recent").requests[0].ended.is_some());
}

fn replayed(asked: &Asked, candidate: RouteTable, count: usize) -> Replay {
    let list = ended(asked, count);
    let traffic: Traffic = serde_json::from_str(&asked.ask("/-/traffic").1).unwrap();
    replay(candidate, &traffic.environments["production"].salts, &list.requests)
}

#[test]
fn another_table_is_tried_against_what_came_and_what_was_not_kept_cannot_be_told() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"said"));
    let served = asking(&instance);
    let (_gateway, asked, mut client) = start(served.clone(), 100);
    for number in 0..10 {
        let lane = if number < 4 { "x-lane: login\r\n" } else { "" };
        let head = format!("GET /a/{number} HTTP/1.1\r\nhost: shop.test\r\ncookie: session=1\r\n{lane}\r\n");
        assert_eq!(client.ask(head).unwrap().status(), 200);
    }
    let same = replayed(&asked, served.clone(), 10);
    assert_eq!((same.requests, same.same, same.elsewhere, same.unknown), (10, 10, 0, 0), "{same:?}");

    let mut less = served.clone();
    less.routes.retain(|route| route.rule.path != "/");
    let less = replayed(&asked, less, 10);
    assert_eq!((less.same, less.elsewhere), (4, 6), "{less:?}");
    assert_eq!(less.moves[0].from.version.as_deref(), Some("1.0.0"));
    assert_eq!(less.moves[0].to.answer.as_deref(), Some("no_route"));
    assert_eq!(less.moves[0].examples[0], "GET shop.test/a/9");

    let mut other = served;
    let beta = Conditions { headers: vec![kept("x-beta", WantedValue::Present)], ..Conditions::default() };
    other.routes.insert(0, route("/a", beta));
    let other = replayed(&asked, other, 10);
    assert_eq!(other.unknown + other.same, 10, "{other:?}");
    assert_eq!(other.missing, BTreeMap::from([("header x-beta".to_owned(), other.unknown)]));
    assert!(other.unknown > 0);
}

#[test]
fn what_is_compared_by_service_alone_and_what_limits_may_refuse_is_counted() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"said"));
    let arms = |weight| table(1, &canary(weight, ("new", instance.address), ("old", instance.address)));
    let (_gateway, asked, mut client) = start(arms(1_000), 100);
    for number in 0..10 {
        client.get("/", &format!("key-{number}")).unwrap();
    }
    let mut other = arms(9_000);
    other.services.values_mut().for_each(|service| service.salt = "other".into());
    other.routes[0].rule.policy = Some(serde_json::from_str(r#"{"limits":{"concurrency":1}}"#).unwrap());
    let replay = replayed(&asked, other, 10);
    assert_eq!(
        (replay.same, replay.by_service, replay.limited, replay.elsewhere),
        (10, 10, 10, 0),
        "{replay:?}"
    );
    let same = replayed(&asked, arms(1_000), 10);
    assert_eq!((same.same, same.by_service, same.limited), (10, 0, 0), "{same:?}");
}

#[test]
fn a_share_that_grows_moves_those_whose_places_it_takes() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"said"));
    let arms = |weight| table(1, &canary(weight, ("new", instance.address), ("old", instance.address)));
    let (_gateway, asked, mut client) = start(arms(1_000), 1_000);
    let mut before = BTreeMap::new();
    for number in 0..200 {
        let key = format!("key-{number}");
        let answered = client.get("/", &key).unwrap();
        before.insert(key, answered.header("lockstep-version").unwrap().to_owned());
    }
    let grown = replayed(&asked, arms(5_000), 200);
    assert_eq!(grown.unknown, 0);
    let (gateway, _, mut client) = start(arms(5_000), 0);
    let moved = before.iter().filter(|(key, version)| {
        client.get("/", key).unwrap().header("lockstep-version") != Some(version.as_str())
    });
    assert_eq!(grown.elsewhere, moved.count(), "as clients of a gateway that serves it are moved");
    drop(gateway);
    assert_eq!(grown.moves.len(), 1);
    assert_eq!(grown.moves[0].to.version.as_deref(), Some("1.1.0"));
}

#[test]
fn routes_are_counted_by_name_and_the_many_together() {
    let instance = Instance::start(|_, stream| answer(stream, 200, b"said"));
    let mut many = table(1, &[stable(0, &[("one", instance.address)])]);
    let paths = (0..300).map(|number| route(&format!("/r{number:03}"), Conditions::default()));
    many.routes = paths.collect();
    let (_gateway, asked, mut client) = start(many, 0);
    for number in 0..300 {
        assert_eq!(client.get(&format!("/r{number:03}"), "k").unwrap().status(), 200);
    }
    let traffic = || -> Traffic { serde_json::from_str(&asked.ask("/-/traffic").1).unwrap() };
    let others = |traffic: &Traffic| traffic.environments["production"].routes[""].requests;
    wait_until("everything is counted", || others(&traffic()) == 100);
    let routes = &traffic().environments["production"].routes;
    assert_eq!(routes.len(), 201);
    assert_eq!(routes.values().map(|counted| counted.requests).sum::<u64>(), 300);
    let text = asked.ask("/-/metrics").1;
    let name = "lockstep_gateway_route_duration_seconds_count{deployment_environment_name=\"production\",route=\"*/r007\",service_name=\"shop\"} 1";
    assert!(text.contains(name), "{text}");
}

#[test]
fn the_instance_that_answered_for_a_version_on_trial_is_told_with_its_own_version() {
    let new = Instance::start(|_, stream| answer(stream, 500, b"no"));
    let old = Instance::start(|_, stream| answer(stream, 200, b"ok"));
    let arms = canary(9_999, ("new", new.address), ("old", old.address));
    let (_gateway, asked, mut client) = start(table(1, &arms), 10);
    assert_eq!(client.get("/", "ann").unwrap().header("lockstep-shielded"), Some("shop@1.1.0"));
    let request = ended(&asked, 1).requests.pop().unwrap();
    let last = request.ended.unwrap();
    assert_eq!((request.version.as_deref(), last.version.as_deref()), (Some("1.1.0"), Some("1.0.0")));
    assert_eq!((last.instance, last.shielded), (Some(old.address.to_string()), true));
}

#[test]
fn a_limit_that_is_no_number_is_refused() {
    let (_gateway, asked, _client) = start(table(1, &[]), 10);
    let (status, text) = asked.ask("/-/recent?limit=abc");
    assert!(status == 400 && text.contains("`limit` is a number"), "{status} {text}");
    list(&asked, "/-/recent?limit=3");
}
