//! Keeping a client at one instance, by a cookie or by its key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};

use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_domain::routes::{
    Affinity, Endpoint, FORMAT_WITH_AFFINITY, FULL_WEIGHT, ROUTE_TABLE_FORMAT, RouteTable, SplitRole,
};
use lockstep_gateway::{Applied, ApplyError};

use crate::support::{
    ArmSpec, Instance, Message, Running, answer, as_instance, raw, stable, table, wait_until,
};

/// A table whose route keeps clients; `path` is that of the route.
fn keeping(revision: u64, arms: &[ArmSpec<'_>], path: &str) -> RouteTable {
    let mut table = table(revision, arms);
    table.routes[0].rule.affinity = Some(Affinity::Client);
    table.routes[0].rule.path = path.into();
    table
}

fn start(arms: &[ArmSpec<'_>]) -> Running {
    let running = Running::start(arms);
    apply(&running, 2, arms);
    running
}

fn apply(running: &Running, revision: u64, arms: &[ArmSpec<'_>]) {
    assert_eq!(running.gateway.apply(keeping(revision, arms, "/chat")).unwrap(), Applied::Now);
}

/// A client that keeps the gateway's cookie, on a new connection for each request.
#[derive(Default)]
struct Browser {
    cookie: Option<String>,
    fields: String,
}

impl Browser {
    fn with(fields: &str) -> Self {
        Self { fields: fields.into(), ..Self::default() }
    }

    fn ask(&mut self, running: &Running) -> Message {
        let cookie = self.cookie.iter().map(|it| format!("cookie: a=1; {it}\r\n")).collect::<String>();
        let request = format!("GET /chat/poll HTTP/1.1\r\nhost: shop.test\r\n{cookie}{}\r\n", self.fields);
        let answer = running.client().ask(request).unwrap();
        if let Some(set) = answer.header("set-cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// The instance that answers.
    fn at(&mut self, running: &Running) -> String {
        let answer = self.ask(running);
        assert_eq!(answer.status(), 200);
        answer.text()
    }
}

const NAMES: [&str; 4] = ["chat-a", "chat-b", "chat-c", "chat-d"];

fn instances() -> Vec<Instance> {
    NAMES.map(Instance::named).into()
}

fn named(instances: &[Instance]) -> Vec<(&'static str, SocketAddr)> {
    NAMES.into_iter().zip(instances.iter().map(|it| it.address)).collect()
}

#[test]
fn a_client_stays_through_tables_another_gateway_and_scaling_and_others_are_spread() {
    let instances = instances();
    let all = named(&instances);
    let first = start(&[stable(0, &all[..2])]);
    let mut browsers: Vec<_> = (0..40).map(|_| Browser::default()).collect();
    let at: Vec<_> = browsers.iter_mut().map(|it| it.at(&first)).collect();
    assert_eq!(at.iter().collect::<BTreeSet<_>>().len(), 2, "clients are spread");
    let stays = |browsers: &mut [Browser], running: &Running| {
        for (browser, at) in browsers.iter_mut().zip(&at) {
            let answer = browser.ask(running);
            assert_eq!(&answer.text(), at);
            assert_eq!(answer.header("set-cookie"), None, "it has the cookie");
        }
    };
    stays(&mut browsers, &first);
    // More instances, and the same ones in another order.
    apply(&first, 3, &[stable(0, &[all[3], all[1], all[2], all[0]])]);
    stays(&mut browsers, &first);
    let second = start(&[stable(0, &all)]);
    stays(&mut browsers, &second);
}

#[test]
fn the_cookie_is_for_the_route_and_secure_only_where_a_proxy_was_asked_so() {
    let instances = instances();
    let all = named(&instances);
    let running = start(&[stable(0, &all[..1])]);
    let set =
        |fields: &str| Browser::with(fields).ask(&running).header("set-cookie").map(str::to_owned).unwrap();
    let plain = set("");
    let value = plain.strip_prefix("lockstep_instance=").unwrap().split_once(';').unwrap();
    assert_eq!(value.1, " Path=/chat; HttpOnly; SameSite=Lax");
    assert!(value.0.len() == 16 && value.0.bytes().all(|it| it.is_ascii_hexdigit()), "{plain}");
    assert_eq!(set("x-forwarded-proto: https\r\n"), plain, "a stranger is not believed");
    let rules =
        GatewayRules { trusted_networks: vec!["127.0.0.0/8".parse().unwrap()], ..GatewayRules::default() };
    let trusting = RouteTable { rules: Some(rules), ..keeping(3, &[stable(0, &all[..1])], "/chat") };
    assert_eq!(running.gateway.apply(trusting).unwrap(), Applied::Now);
    assert_eq!(set("x-forwarded-proto: https\r\n"), format!("{plain}; Secure"));
    assert_eq!(set("x-forwarded-proto: http\r\n"), plain);
}

#[test]
fn what_a_client_makes_up_chooses_an_instance_and_nothing_else() {
    let instances = instances();
    let all = named(&instances);
    let running = start(&[stable(0, &all[..3])]);
    let mut browser = Browser::default();
    browser.at(&running);
    let good = browser.cookie.clone().unwrap();
    let filler = "lockstep_instance=0123456789abcdef; ".repeat(8);
    let cases = [
        "lockstep_instance=".to_owned(),
        "lockstep_instance=127.0.0.1:9000".to_owned(),
        "lockstep_instance=chat-a".to_owned(),
        format!("lockstep_instance={}", "f".repeat(8_000)),
        "lockstep_instance=0123456789abcdef".to_owned(),
        format!("{filler}{good}"),
        good.to_uppercase(),
        format!("x{good}"),
        format!("{good}0"),
    ];
    for cookie in cases {
        let answer = Browser { cookie: Some(cookie.clone()), fields: String::new() }.ask(&running);
        assert_eq!(answer.status(), 200, "{cookie}");
        assert!(answer.header("set-cookie").is_some(), "{cookie}");
    }
    // Cookies of two routes of one host come with each other, that of the longer path first.
    let both = format!("lockstep_instance=0123456789abcdef; {good}");
    let answer = Browser { cookie: Some(both), fields: String::new() }.ask(&running);
    assert_eq!(answer.header("set-cookie"), None);
}

#[test]
fn a_client_whose_instance_is_gone_or_dead_moves_once_and_stays_there() {
    let instances = instances();
    let all = named(&instances);
    let running = start(&[stable(0, &all[..3])]);
    let mut browsers: Vec<_> = (0..30).map(|_| Browser::default()).collect();
    let before: Vec<_> = browsers.iter_mut().map(|it| it.at(&running)).collect();
    // Dead, while the table still names it.
    instances[0].kill();
    let after: Vec<_> = browsers.iter_mut().map(|it| it.at(&running)).collect();
    for (before, after) in before.iter().zip(&after) {
        assert!(after != "chat-a" && (before == "chat-a" || before == after), "{before} to {after}");
    }
    // Gone from the table, and back: nobody returns.
    apply(&running, 3, &[stable(0, &all[1..3])]);
    let again: Vec<_> = browsers.iter_mut().map(|it| it.at(&running)).collect();
    assert_eq!(after, again);
    let _revived =
        Instance::start_on(TcpListener::bind(all[0].1).unwrap(), |_, stream| answer(stream, 200, b"chat-a"));
    apply(&running, 4, &[stable(0, &all[..3])]);
    let again: Vec<_> = browsers.iter_mut().map(|it| it.at(&running)).collect();
    assert_eq!(after, again);
}

#[test]
fn an_instance_that_leaves_gets_what_its_clients_ask_and_no_new_ones() {
    let instances = instances();
    let all = named(&instances);
    let running = start(&[stable(0, &all[..2])]);
    let mut browsers: Vec<_> = (0..30).map(|_| Browser::default()).collect();
    let before: Vec<_> = browsers.iter_mut().map(|it| it.at(&running)).collect();
    let leaving = |revision, stay: &[(&'static str, SocketAddr)]| {
        let mut table = keeping(revision, &[stable(0, stay)], "/chat");
        let splits = &mut table.services.values_mut().next().unwrap().splits;
        splits[0].leaving = vec![Endpoint::at(all[0].0.parse().unwrap(), all[0].1)];
        table
    };
    // Beside one that stays, and beside two.
    for (revision, stay) in [(3, &all[1..2]), (4, &all[1..3])] {
        assert_eq!(running.gateway.apply(leaving(revision, stay)).unwrap(), Applied::Now);
        let now: Vec<_> = browsers.iter_mut().map(|it| it.at(&running)).collect();
        assert_eq!(now, before);
        for n in 0..20 {
            assert_ne!(Browser::default().at(&running), "chat-a");
            assert_ne!(Browser::with(&format!("x-lockstep-key: {n}\r\n")).at(&running), "chat-a");
        }
    }
    // It has left, and what is under way there is still seen.
    apply(&running, 5, &[stable(0, &all[1..3])]);
    let now: Vec<_> = browsers.iter_mut().map(|it| it.at(&running)).collect();
    for (before, now) in before.iter().zip(&now) {
        assert!(now != "chat-a" && (before == "chat-a" || before == now));
    }
    wait_until("no request is under way", || running.in_flight() == 0);
    // One that leaves and dies loses its clients as any other.
    let mut browsers: Vec<_> = (0..30).map(|_| Browser::default()).collect();
    apply(&running, 6, &[stable(0, &all[..2])]);
    browsers.iter_mut().for_each(|it| drop(it.at(&running)));
    assert_eq!(running.gateway.apply(leaving(7, &all[1..2])).unwrap(), Applied::Now);
    instances[0].kill();
    assert!(browsers.iter_mut().all(|it| it.at(&running) == "chat-b"));
}

#[test]
fn the_version_is_chosen_first_and_a_client_that_comes_back_to_it_finds_an_instance_of_it() {
    let instances = instances();
    let all = named(&instances);
    let arms = |weight| {
        let candidate =
            ArmSpec { version: (1, 1, 0), weight, role: SplitRole::Candidate, instances: all[2..].to_vec() };
        [candidate, ArmSpec { weight: FULL_WEIGHT - weight, ..stable(0, &all[..2]) }]
    };
    let running = start(&arms(0));
    let mut browsers: Vec<_> =
        (0..40).map(|n| Browser::with(&format!("x-lockstep-key: user {n}\r\n"))).collect();
    let mut at: BTreeMap<usize, (String, String)> = BTreeMap::new();
    for (revision, weight) in [(3, 0), (4, 2_000), (5, 6_000), (6, FULL_WEIGHT), (7, 6_000), (8, 0)] {
        apply(&running, revision, &arms(weight));
        for (n, browser) in browsers.iter_mut().enumerate() {
            let answer = browser.ask(&running);
            let now = (answer.version().to_owned(), answer.text());
            let of_version: &[&str] = if now.0 == "1.1.0" { &NAMES[2..] } else { &NAMES[..2] };
            assert!(of_version.contains(&now.1.as_str()), "{now:?}");
            if let Some(before) = at.insert(n, now.clone()).filter(|before| before.0 == now.0) {
                assert_eq!(before.1, now.1, "who stays at a version stays at its instance");
            }
            assert_eq!(browser.at(&running), now.1);
        }
        let on_trial = at.values().filter(|(version, _)| version == "1.1.0").count();
        assert_eq!(on_trial == 0, weight == 0);
    }
}

#[test]
fn a_client_without_cookies_is_kept_by_its_key_and_so_are_calls_for_it_between_services() {
    let instances = instances();
    let all = named(&instances);
    let running = start(&[stable(0, &all)]);
    let mut seen = BTreeSet::new();
    for n in 0..20 {
        let ask = |path: &str, field: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{field}\r\n\r\n");
            running.client().ask(request).unwrap()
        };
        let at = ask("/chat", &format!("x-lockstep-key: user {n}")).text();
        for _ in 0..4 {
            assert_eq!(ask("/chat/x", &format!("cookie: lockstep_key=user {n}")).text(), at);
            let call = ask(&as_instance("/@shop/x"), &format!("baggage: lockstep.key=user%20{n}"));
            assert_eq!((call.text(), call.header("set-cookie")), (at.clone(), None));
            let routed = ask(&as_instance("/chat/x"), &format!("baggage: lockstep.key=user%20{n}"));
            assert_eq!((routed.text(), routed.header("set-cookie")), (at.clone(), None));
        }
        seen.insert(at);
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[test]
fn an_upgrade_goes_where_the_client_is_kept_and_tells_it() {
    let upgrading = |name: &'static str| {
        Instance::start(move |request, stream| {
            match request.header("upgrade") {
            Some(_) => raw(
                stream,
                format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-name: {name}\r\n\r\n")
                    .as_bytes(),
            ),
            None => answer(stream, 200, name.as_bytes()),
        }
        })
    };
    let instances = NAMES.map(upgrading);
    let running = start(&[stable(0, &named(&instances))]);
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    for _ in 0..12 {
        let mut browser = Browser::default();
        let at = browser.at(&running);
        browser.fields = upgrade.into();
        let answer = browser.ask(&running);
        assert_eq!((answer.status(), answer.header("x-name")), (101, Some(at.as_str())));
        let mut fresh = Browser::with(upgrade);
        let first = fresh.ask(&running).header("x-name").map(str::to_owned);
        assert!(fresh.cookie.is_some());
        assert_eq!(fresh.ask(&running).header("x-name").map(str::to_owned), first);
    }
}

#[test]
fn an_answer_of_the_stable_version_for_one_on_trial_moves_nobody() {
    let failing = Instance::start(|_, stream| answer(stream, 500, b"new"));
    let old = Instance::named("old");
    let candidate = ArmSpec {
        version: (1, 1, 0),
        weight: FULL_WEIGHT,
        role: SplitRole::Candidate,
        instances: vec![("new-1", failing.address)],
    };
    let running = start(&[candidate, ArmSpec { weight: 0, ..stable(0, &[("old-1", old.address)]) }]);
    let answer = Browser::default().ask(&running);
    assert_eq!((answer.text().as_str(), answer.header("set-cookie")), ("old", None));
    assert!(answer.header("lockstep-shielded").is_some());
}

#[test]
fn an_instance_that_is_left_alone_loses_its_clients_to_others() {
    let sick = Instance::start(|request, stream| {
        let status = if request.target().ends_with("poll") { 500 } else { 200 };
        answer(stream, status, b"sick")
    });
    let well = Instance::named("well");
    let running = start(&[stable(0, &[("chat-a", sick.address), ("chat-b", well.address)])]);
    let mut browser = Browser::default();
    wait_until("a client is at the sick one", || {
        browser = Browser::default();
        browser.ask(&running).text() == "sick"
    });
    wait_until("it is left alone", || browser.ask(&running).text() == "well");
    assert_eq!(browser.at(&running), "well");
}

#[test]
fn an_older_gateway_is_not_given_what_it_cannot_do_and_other_routes_give_no_cookie() {
    let instances = instances();
    let all = named(&instances);
    let arms = [stable(0, &all)];
    let with = keeping(2, &arms, "/chat").with_listeners(None);
    assert_eq!(with.format, FORMAT_WITH_AFFINITY);
    let running = Running::start(&arms);
    let newer = RouteTable { format: ROUTE_TABLE_FORMAT + 1, ..with };
    assert!(matches!(running.gateway.apply(newer), Err(ApplyError::NewerFormat { .. })));
    let mut browser = Browser::default();
    let at: BTreeSet<_> = (0..40).map(|_| browser.at(&running)).collect();
    assert_eq!((at.len() > 1, browser.cookie), (true, None));
}
