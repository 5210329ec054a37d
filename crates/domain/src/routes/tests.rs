//! Tables of routes: what they choose, and what older ones say.

use proptest::prelude::*;

use super::*;
use crate::acme::ChallengeAnswer;
use crate::request_path::normalize_path;

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn splits(weights: &[u32]) -> ServiceRoutes {
    let splits = weights
        .iter()
        .enumerate()
        .map(|(index, &weight)| Split {
            version: VersionNumber::new(1, index as u64, 0),
            config: ConfigRevision(0),
            weight,
            role: SplitRole::Stable,
            endpoints: Vec::new(),
            leaving: Vec::new(),
            named: Vec::new(),
            protocol: Protocol::default(),
            policy: None,
            approach: Default::default(),
        })
        .collect();
    ServiceRoutes {
        salt: "orders@1.1.0".into(),
        splits,
        watch: None,
        version_rules: Vec::new(),
        fallback: None,
        mirror: None,
        growth: None,
        passages: Vec::new(),
    }
}

fn table() -> RouteTable {
    let rule = |host: Option<&str>, path: &str, prefix| RouteRule {
        host: host.map(str::to_owned),
        path: path.into(),
        prefix,
        ..RouteRule::default()
    };
    RouteTable {
        listeners: None,
        entry: None,
        visits: None,
        lanes: Vec::new(),
        switches: None,
        between: None,
        checks: Vec::new(),
        aliases: BTreeMap::new(),
        format: ROUTE_TABLE_FORMAT,
        environment: "production".parse().unwrap(),
        history: Default::default(),
        revision: 1,
        baseline: 1,
        routes: vec![
            Route { rule: rule(Some("shop.test"), "/", PrefixHandling::Keep), service: name("web") },
            Route { rule: rule(None, "/orders", PrefixHandling::Strip), service: name("orders") },
        ],
        services: BTreeMap::from([(name("orders"), splits(&[10_000])), (name("web"), splits(&[10_000]))]),
        rules: None,
        callers: Vec::new(),
    }
}

/// A request of which nothing is known but where it goes.
pub(super) struct Plain;

impl RequestView for Plain {
    fn method(&self) -> &str {
        "GET"
    }

    fn query(&self) -> &str {
        ""
    }

    fn any_header(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn client(&self) -> Option<std::net::IpAddr> {
        None
    }
}

fn find<'t>(table: &'t RouteTable, host: Option<&str>, path: &str, caller: Caller) -> Option<Matched<'t>> {
    table.find(&RouteIndex::new(&table.routes), (host, path), caller, &Plain)
}

#[test]
fn routes_match_by_host_and_whole_segments() {
    let table = table();
    let find = |host, path| {
        let found = find(&table, host, path, Caller::Instance);
        found.map(|m| (m.service.as_str().to_owned(), m.strip))
    };
    assert_eq!(find(Some("shop.test"), "/any"), Some(("web".into(), 0)));
    assert_eq!(find(None, "/orders/7"), Some(("orders".into(), 7)));
    assert_eq!(find(None, "/orders"), Some(("orders".into(), 7)));
    assert_eq!(find(None, "/orders2"), None);
    assert_eq!(find(Some("shop.test"), "/@orders/7"), Some(("orders".into(), 8)));
    assert_eq!(find(None, "/@nobody/7"), None);
}

#[test]
fn names_are_open_to_instances_and_to_others_as_the_rules_say() {
    let finds = |table: &RouteTable, caller| find(table, None, "/@web/7", caller).is_some();
    let table = table();
    assert!(
        finds(&table, Caller::Instance) && !finds(&table, Caller::Outside) && !finds(&table, Caller::Proxy)
    );
    let open = RouteTable { rules: Some(GatewayRules::before_rules()), ..table.clone() };
    assert!(finds(&open, Caller::Outside));
    let older = RouteTable { format: 1, ..table };
    assert!(finds(&older, Caller::Outside), "a table of an older release means what it meant");
}

#[test]
fn a_name_that_is_not_open_is_a_path_like_any_other() {
    let table = table();
    let found = find(&table, Some("shop.test"), "/@orders/7", Caller::Outside).unwrap();
    assert_eq!((found.service.as_str(), found.strip), ("web", 0));
}

#[test]
fn hosts_match_exactly_before_below_a_name_before_any() {
    let hosts = ["*.test", "a.shop.test", "*.shop.test", "*.a.shop.test"];
    let route = |host: Option<&str>, path: &str| Route {
        rule: RouteRule { host: host.map(str::to_owned), path: path.into(), ..RouteRule::default() },
        service: name(&host.map_or("any".into(), |it| it.replace("*.", "below-").replace('.', "-"))),
    };
    let mut routes = vec![route(None, "/"), route(None, "/long/path")];
    routes.extend(hosts.map(|host| route(Some(host), "/")));
    let table = RouteTable { routes, ..table() }.prepared();
    let find =
        |host| find(&table, Some(host), "/long/path", Caller::Outside).unwrap().service.as_str().to_owned();
    assert_eq!(find("a.shop.test"), "a-shop-test");
    assert_eq!(find("b.shop.test"), "below-shop-test");
    assert_eq!(find("b.c.shop.test"), "below-shop-test");
    assert_eq!(find("b.a.shop.test"), "below-a-shop-test");
    assert_eq!(find("shop.test"), "below-test");
    assert_eq!(find("myshop.test"), "below-test");
    assert_eq!(find("test"), "any");
}

#[test]
fn routes_are_brought_into_the_form_of_requests() {
    let route = |host: &str, path: &str| Route {
        rule: RouteRule { host: Some(host.into()), path: path.into(), ..RouteRule::default() },
        service: name("web"),
    };
    let routes = vec![route("Shop.test.", "/%6frders"), route("shop test", "/"), route("shop.test", "/..")];
    let table = RouteTable { routes, ..table() };
    let left: Vec<_> = table.without_form().map(|route| route.rule.to_string()).collect();
    assert_eq!(left, ["shop test/", "shop.test/.."]);
    let table = table.prepared();
    assert_eq!(table.routes.len(), 1);
    assert!(find(&table, Some("shop.test"), "/orders/7", Caller::Outside).is_some());
}

#[test]
fn a_table_of_an_older_release_loads() {
    let old = r#"{"format":1,"environment":"production","revision":1,"baseline":0,
        "routes":[{"host":"shop.test","path":"/","prefix":"strip","service":"web"}],"services":{}}"#;
    let table: RouteTable = serde_json::from_str(old).unwrap();
    assert_eq!((&table.rules, table.callers.len()), (&None, 0));
}

proptest! {
    #[test]
    fn what_is_matched_is_what_is_taken_off(path in "(/(a|b|orders|\\.\\.|%2e|%2f|))*") {
        let served = table();
        if let Ok(form) = normalize_path(&path)
            && let Some(found) = find(&served, None, &form, Caller::Outside)
        {
            prop_assert_eq!(&form[..found.strip], "/orders");
            prop_assert!(form[found.strip..].is_empty() || form[found.strip..].starts_with('/'));
            prop_assert!(!form[found.strip..].contains("/.."));
        }
    }
}

#[test]
fn slot_is_part_of_the_format() {
    let slots = [slot("", b""), slot("orders@1.1.0", b"ann"), slot("orders@1.1.0", b"bob")];
    assert_eq!(slots, [7_227, 8_268, 982]);
}

proptest! {
    #[test]
    fn growing_a_candidate_moves_only_what_is_added(key in "[a-z0-9]{1,20}", from in 0_u32..5_000, more in 0_u32..5_000) {
        let before = splits(&[from, FULL_WEIGHT - from]);
        let after = splits(&[from + more, FULL_WEIGHT - from - more]);
        let old = before.choose(key.as_bytes()).unwrap().version.minor();
        let new = after.choose(key.as_bytes()).unwrap().version.minor();
        let point = slot(&before.salt, key.as_bytes());
        prop_assert_eq!(old != new, point >= from && point < from + more);
    }

    #[test]
    fn slots_lie_on_the_line(salt in ".{0,20}", key in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert!(slot(&salt, &key) < FULL_WEIGHT);
    }
}

#[test]
fn slots_are_even() {
    let mut tenths = [0_u32; 10];
    for n in 0..100_000_u32 {
        tenths[(slot("orders@1.1.0", n.to_string().as_bytes()) / 1_000) as usize] += 1;
    }
    assert!(tenths.iter().all(|&n| (9_600..10_400).contains(&n)), "{tenths:?}");
}

#[test]
fn a_table_that_says_how_clients_come_in_has_its_own_format_and_others_do_not_mention_it() {
    let plain = RouteTable { entry: None, ..table() }.in_its_format();
    let said = RouteTable { entry: Some(Entry::default()), ..plain.clone() }.in_its_format();
    assert!(plain.format < FORMAT_WITH_ENTRY && said.format == FORMAT_WITH_ENTRY);
    assert!(!serde_json::to_string(&plain).unwrap().contains("entry"));
    assert!(!serde_json::to_string(&said).unwrap().contains("challenges"), "as an older gateway knows it");
    let answer: ChallengeAnswer = serde_json::from_value(serde_json::json!({
        "kind": "tls-alpn-01", "host": "shop.test", "token": "t", "key_authorization": "t.k"
    }))
    .unwrap();
    let asked = Entry { challenges: vec![answer], ..Entry::default() };
    let asked = RouteTable { entry: Some(asked), ..plain }.in_its_format();
    assert_eq!(asked.format, FORMAT_WITH_CHALLENGES);
    let again: RouteTable = serde_json::from_str(&serde_json::to_string(&said).unwrap()).unwrap();
    assert_eq!(again, said);
}

#[test]
fn a_table_with_a_route_that_asks_for_something_has_its_own_format_and_others_do_not_mention_it() {
    let plain = RouteTable { entry: Some(Entry::default()), ..table() }.in_its_format();
    let mut asking = plain.clone();
    asking.routes[0].rule.policy = Some(serde_json::from_str(r#"{"timeouts":{"head_ms":5}}"#).unwrap());
    let asking = asking.in_its_format();
    assert_eq!((plain.format, asking.format), (FORMAT_WITH_ENTRY, FORMAT_WITH_POLICIES));
    assert!(!serde_json::to_string(&plain).unwrap().contains("policy"), "as an older gateway knows it");
    let again: RouteTable = serde_json::from_str(&serde_json::to_string(&asking).unwrap()).unwrap();
    assert_eq!(again, asking);
}

#[test]
fn a_table_is_written_in_the_lowest_format_that_has_all_of_it() {
    let listeners: Listeners =
        serde_json::from_value(serde_json::json!({"host": "here", "user": 1, "callers": []})).unwrap();
    let plain = RouteTable { aliases: BTreeMap::new(), ..table() };
    let renamed = RouteTable {
        aliases: BTreeMap::from([("old".parse().unwrap(), "shop".parse().unwrap())]),
        ..table()
    };
    for (table, without, with) in [(plain, 2, 4), (renamed, 3, 4)] {
        assert_eq!(table.clone().with_listeners(None).format, without);
        let with_listeners = table.clone().with_listeners(Some(listeners.clone()));
        assert_eq!(
            (with_listeners.format, with_listeners.clone().with_listeners(None).format),
            (with, without)
        );
        let text = serde_json::to_string(&table.clone().with_listeners(None)).unwrap();
        assert!(!text.contains("listeners"), "as an older gateway knows it: {text}");
        assert!(!text.contains("affinity"), "as an older gateway knows it: {text}");
        let mut keeping = table.clone();
        keeping.routes[0].rule.affinity = Some(Affinity::Client);
        assert!(keeping.keeps_clients_of(&keeping.routes[0].service));
        for listeners in [None, Some(listeners.clone())] {
            assert_eq!(keeping.clone().with_listeners(listeners).format, FORMAT_WITH_AFFINITY);
        }
    }
}

/// A service whose arm on trial has had these shares.
fn grown(weights: &[u32]) -> ServiceRoutes {
    let weight = *weights.last().expect("one at least");
    let mut routes = splits(&[weight, FULL_WEIGHT - weight]);
    routes.splits[0].role = SplitRole::Candidate;
    let growth = Growth { rollout: 7, before: 2, weights: weights.to_vec() };
    ServiceRoutes { growth: Some(growth), ..routes }
}

proptest! {
    #[test]
    fn a_visit_gets_what_it_got_at_its_beginning_however_shares_grow(
        mut weights in prop::collection::vec(0..=FULL_WEIGHT, 1..8),
        began in 0_usize..8,
        key in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        weights.sort_unstable();
        let began = began % weights.len();
        let then = grown(&weights[..=began]);
        let entered = Entered::now(then.growth.iter());
        let first = then.choose(&key).unwrap();
        for now in began..weights.len() {
            let table = grown(&weights[..=now]);
            let choice = table.choose_for_visit(&key, &entered).unwrap();
            prop_assert_eq!(&choice.split.version, &first.version);
            // Who is counted was drawn by the shares of now.
            prop_assert!(!choice.is_drawn || choice.split == table.choose(&key).unwrap());
        }
        let before = grown(&weights);
        let earlier = before.choose_for_visit(&key, &Entered::default()).unwrap();
        prop_assert_eq!(earlier.split.role, SplitRole::Stable, "the rollout was not there when it came");
    }

    #[test]
    fn a_share_that_shrinks_takes_from_visits_as_from_all(
        then in 0..=FULL_WEIGHT,
        now in 0..=FULL_WEIGHT,
        key in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let entered = Entered::now(grown(&[then]).growth.iter());
        let table = grown(&[then, now]);
        let choice = table.choose_for_visit(&key, &entered).unwrap();
        let is_new = slot(&table.salt, &key) < then.min(now);
        prop_assert_eq!(choice.split.role == SplitRole::Candidate, is_new);
        prop_assert_eq!(choice.is_drawn, then == now);
    }
}

#[test]
fn an_instance_behind_a_gateway_is_told_apart_by_its_host_and_is_never_asked_on_loopback_of_somebody_else() {
    use crate::between::{Between, Carried};
    let mut table = table();
    let split = &mut table.services.get_mut(&name("orders")).unwrap().splits[0];
    let at = |id: &str, address: &str| Endpoint::at(id.parse().unwrap(), address.parse().unwrap());
    split.endpoints = vec![
        at("a", "127.0.0.1:20000"),
        at("b", "127.0.0.1:20000"),
        at("c", "10.0.0.7:20000"),
        at("d", "127.0.0.1:1"),
    ];
    let through = |host: &str, address: &str| Some((host.parse().unwrap(), address.parse().unwrap()));
    let carried = Carried::from([
        ("a".parse().unwrap(), through("web1", "10.0.0.5")),
        ("b".parse().unwrap(), through("web2", "10.0.0.6")),
        ("d".parse().unwrap(), None),
    ]);
    let table = table.with_between(Between::default(), &carried);
    let told = &table.services[&name("orders")].splits[0].endpoints;
    let told: Vec<_> = told.iter().map(|it| (it.address.to_string(), it.through.is_some())).collect();
    let expected = [("10.0.0.5:20000", true), ("10.0.0.6:20000", true), ("10.0.0.7:20000", false)];
    assert_eq!(told, expected.map(|(address, through)| (address.to_owned(), through)));
    assert_eq!(table.format, 27);
}
