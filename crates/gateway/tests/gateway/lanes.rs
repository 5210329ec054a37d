//! Lanes: which one a request is in wherever it comes in, what is carried on, what its answer says, and who is believed.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use lockstep_domain::lane::{FORMAT_WITH_LANES, LaneService, TableLane, TableWhen};
use lockstep_domain::listeners::{CallerListeners, Listeners, OpenedBy, nth};
use lockstep_domain::routes::{RouteTable, SHARE_SALT, SplitRole, SplitRule, SplitTakes, slot};
use lockstep_domain::version_rules::{Pattern, Places};
use lockstep_domain::{Arm, ConfigRevision, VersionNumber};
use lockstep_gateway::explain::{Outcome, Question, explain};
use lockstep_gateway::{Applied, this_host};

use crate::support::*;

fn header(value: &str) -> TableWhen {
    TableWhen::Header(Pattern { name: "x-lane".into(), value: value.into() })
}

fn gives(service: &str, minor: u64) -> LaneService {
    let version = VersionNumber::new(1, minor, 0);
    LaneService { service: service.parse().unwrap(), version, config: ConfigRevision(0) }
}

fn lane(id: u64, name: &str, when: Vec<TableWhen>, services: Vec<LaneService>) -> TableLane {
    TableLane { id, name: name.parse().unwrap(), when, services }
}

/// An instance that says who it is and remembers the head of each request.
fn listening(name: &'static str) -> (Instance, Arc<Mutex<Vec<Message>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&heard);
    let instance = Instance::start(move |request, stream| {
        heads.lock().unwrap().push(request.clone());
        if request.target() == "/broken" {
            return raw(stream, b"nonsense\r\n\r\n");
        }
        answer(stream, 200, name.as_bytes())
    });
    (instance, heard)
}

/// `shop`, which has the route, and `stock`: 1.0.0 of both for everybody, 1.1.0 of both for lanes.
struct Mall {
    running: Running,
    table: RouteTable,
    heard: Vec<Arc<Mutex<Vec<Message>>>>,
    instances: Vec<Instance>,
}

impl Mall {
    fn open(lanes: &[TableLane]) -> Self {
        let (instances, heard): (Vec<_>, Vec<_>) =
            ["shop0", "shop1", "stock0", "stock1"].map(listening).into_iter().unzip();
        let running = Running::start(&[stable(0, &[("shop0", instances[0].address)])]);
        let mut table = table(2, &arms(&instances[..2]));
        let stock = crate::support::table(2, &arms(&instances[2..])).services.into_values().next().unwrap();
        table.services.insert("stock".parse().unwrap(), stock);
        table.lanes = lanes.to_vec();
        for (name, routes) in &mut table.services {
            let its = lanes.iter().filter_map(|lane| Some((lane.id, lane.of_service(name)?)));
            let rule = |(id, gives): (u64, &LaneService)| SplitRule {
                id,
                version: gives.version.clone(),
                config: gives.config,
                takes: SplitTakes::Lane,
            };
            routes.version_rules = its.map(rule).collect();
        }
        let mall = Self { running, table, heard, instances };
        mall.apply(mall.table.clone());
        mall
    }

    fn apply(&self, table: RouteTable) {
        assert_eq!(self.running.gateway.apply(table).unwrap(), Applied::Now);
    }

    fn ask(&self, path: &str, fields: &str) -> Message {
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        self.running.client().ask(request).unwrap()
    }

    fn stock(&self, fields: &str) -> (String, Option<String>) {
        let answer = self.ask(&as_instance("/@stock/7"), fields);
        (answer.text(), answer.header("lockstep-lane").map(str::to_owned))
    }

    /// What an instance of `shop` was told by the last request.
    fn told(&self, instance: usize, name: &str) -> String {
        let heard = self.heard[instance].lock().unwrap();
        heard.last().unwrap().header(name).unwrap_or_default().to_owned()
    }

    fn metric(&self, text: &str) {
        wait_until(text, || self.running.gateway.admin().metrics().contains(text));
    }
}

fn arms(instances: &[Instance]) -> [ArmSpec<'static>; 2] {
    let of_lane = vec![("new", instances[1].address)];
    let of_lane = ArmSpec { version: (1, 1, 0), weight: 0, role: SplitRole::Pinned, instances: of_lane };
    [of_lane, stable(0, &[("old", instances[0].address)])]
}

#[test]
fn it_is_decided_where_a_request_comes_in_and_only_the_number_goes_along() {
    let mall = Mall::open(&[lane(7, "login", vec![header("login")], vec![gives("stock", 1)])]);
    let inside = mall.ask("/", "X-Lane: login\r\n");
    assert_eq!((inside.text().as_str(), inside.header("lockstep-lane")), ("shop0", Some("login")));
    let baggage = mall.told(0, "baggage");
    assert!(baggage.ends_with(",lockstep.rules=7"), "{baggage}");
    assert_eq!(mall.told(0, "tracestate"), "lockstep-rules=7");
    let traced = format!("traceparent: {}\r\ntracestate: lockstep-rules=7\r\n", mall.told(0, "traceparent"));
    let lane = Some("login".to_owned());
    assert_eq!(mall.stock(&format!("baggage: {baggage}\r\n")), ("stock1".into(), lane.clone()));
    assert_eq!(mall.stock(&traced), ("stock1".into(), lane.clone()));
    // Deeper still, the number goes on.
    assert!(mall.told(3, "baggage").ends_with("lockstep.rules=7"));
    assert_eq!(mall.stock(""), ("stock0".into(), None));
    // A service that passes on the header alone is understood as well.
    assert_eq!(mall.stock("x-lane: login\r\n"), ("stock1".into(), lane));
    let outside = mall.ask("/", "");
    assert_eq!((outside.text().as_str(), outside.header("lockstep-lane")), ("shop0", None));
    assert!(!mall.told(0, "baggage").contains("rules"));
    mall.metric(
        "lane_requests_total{deployment_environment_name=\"production\",lane=\"login\",service_name=\"stock\",served=\"lane\"} 3",
    );
    mall.metric(
        "lane_requests_total{deployment_environment_name=\"production\",lane=\"login\",service_name=\"\",served=\"baseline\"} 1",
    );
}

#[test]
fn a_stranger_is_not_believed_and_an_answer_of_an_instance_says_nothing_of_lanes() {
    let mall = Mall::open(&[lane(7, "login", vec![header("login")], vec![gives("shop", 1)])]);
    for fields in [
        "baggage: lockstep.rules=7\r\n",
        "baggage: LOCKSTEP.rules=7,lockstep%2Erules=7\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: lockstep-rules=7\r\n",
        "lockstep-lane: login\r\n",
        "x-lane: Login\r\n",
        "x_lane: login\r\n",
    ] {
        let answer = mall.ask("/", fields);
        assert_eq!((answer.text().as_str(), answer.header("lockstep-lane")), ("shop0", None), "{fields}");
        assert!(!mall.told(0, "baggage").contains("rules"), "{fields}");
    }
    let liar = Instance::start(|_, stream| {
        raw(stream, b"HTTP/1.1 200 OK\r\nlockstep-lane: login\r\ncontent-length: 2\r\n\r\nok")
    });
    mall.apply(table(3, &[stable(0, &[("liar", liar.address)])]));
    assert_eq!(mall.ask("/", "x-lane: login\r\n").header("lockstep-lane"), None);
}

#[test]
fn a_request_is_in_one_lane_the_oldest_that_it_matches_and_what_was_decided_comes_first() {
    let both = [
        lane(7, "login", vec![header("login")], vec![gives("shop", 1)]),
        lane(9, "other", vec![TableWhen::User("ann".into())], vec![gives("shop", 1), gives("stock", 1)]),
    ];
    let mall = Mall::open(&both);
    let asks = |fields: &str| {
        let answer = mall.ask("/", fields);
        (answer.text(), answer.header("lockstep-lane").unwrap_or_default().to_owned())
    };
    assert_eq!(asks("x-lockstep-key: ann\r\n"), ("shop1".into(), "other".into()));
    assert_eq!(asks("x-lockstep-key: bob\r\n"), ("shop0".into(), String::new()));
    assert_eq!(asks("x-lockstep-key: ann\r\nx-lane: login\r\n"), ("shop1".into(), "login".into()));
    assert!(mall.told(1, "baggage").ends_with("lockstep.rules=7"));
    // Its client's key goes along too, and says nothing any more.
    assert_eq!(mall.stock("baggage: lockstep.key=ann,lockstep.rules=7\r\n").0, "stock0");
    assert_eq!(mall.stock("baggage: lockstep.rules=9\r\nx-lane: login\r\n").0, "stock1");
    // A number of a lane that is over is none.
    assert_eq!(mall.stock("baggage: lockstep.rules=5\r\n"), ("stock0".into(), None));
}

#[test]
fn a_share_is_of_the_same_clients_at_every_hop() {
    let places = vec![Places { from: 2_000, to: 4_500 }];
    let mall = Mall::open(&[lane(7, "quarter", vec![TableWhen::Places(places)], vec![gives("stock", 1)])]);
    let mut taken = 0;
    for number in 0..200 {
        let key = format!("client-{number}");
        let inside = (2_000..4_500).contains(&slot(SHARE_SALT, key.as_bytes()));
        let said = mall.ask("/", &format!("x-lockstep-key: {key}\r\n"));
        assert_eq!(said.header("lockstep-lane").is_some(), inside, "{key}");
        let deeper = mall.stock(&format!("baggage: {}\r\n", mall.told(0, "baggage"))).0;
        assert_eq!(deeper == "stock1", inside, "{key}");
        taken += u32::from(inside);
    }
    assert!((25..80).contains(&taken), "{taken}");
}

#[test]
fn what_does_not_serve_is_told_at_every_hop_and_counted() {
    let mall =
        Mall::open(&[lane(7, "login", vec![header("login")], vec![gives("shop", 1), gives("stock", 1)])]);
    // No instance of what the lane gives of `stock` is healthy.
    let mut table = RouteTable { revision: 3, ..mall.table.clone() };
    let stock = table.services.get_mut(&"stock".parse().unwrap()).unwrap();
    stock.version_rules.clear();
    stock.splits.remove(0);
    mall.apply(table);
    let entry = mall.ask("/", "x-lane: login\r\n");
    assert_eq!(
        (entry.text().as_str(), entry.header("lockstep-lane")),
        ("shop1", Some("login; not-served=stock"))
    );
    assert_eq!(
        mall.stock("baggage: lockstep.rules=7\r\n"),
        ("stock0".into(), Some("login; not-served=stock".into()))
    );
    mall.metric("lane=\"login\",service_name=\"stock\",served=\"not_served\"} 1");
    assert_eq!(mall.ask("/", "").header("lockstep-lane"), None);
    // One that the table has, and that does not answer.
    mall.apply(RouteTable { revision: 4, ..mall.table.clone() });
    mall.instances[3].kill();
    assert_eq!(
        mall.stock("baggage: lockstep.rules=7\r\n"),
        ("stock0".into(), Some("login; not-served=stock".into()))
    );
    mall.metric("lane=\"login\",service_name=\"stock\",served=\"not_served\"} 2");
    // Counters stay as long as the lane does, and go with it.
    mall.apply(RouteTable { revision: 5, lanes: Vec::new(), ..crate::support::table(5, &[stable(0, &[])]) });
    assert!(!mall.running.gateway.admin().metrics().contains("lane_requests_total"));
}

/// An address that no other test has, whether it runs in this process or in another.
fn address(number: u64) -> IpAddr {
    let thread = std::thread::current();
    let test = BuildHasherDefault::<DefaultHasher>::new().hash_one((std::process::id(), thread.name()));
    nth((test << 4) + number).into()
}

/// An instance of `shop` that calls `stock` by host and port.
fn caller(instance: &str, minor: u64, ip: IpAddr) -> CallerListeners {
    let (service, version) = ("shop".parse().unwrap(), VersionNumber::new(1, minor, 0));
    CallerListeners {
        instance: instance.parse().unwrap(),
        arm: Arm { service, version, config: ConfigRevision(0), process: None },
        user: None,
        opened_by: OpenedBy::Run("test".to_owned()),
        services: [("stock".parse().unwrap(), SocketAddr::new(ip, 17_000))].into(),
    }
}

#[test]
fn what_passes_on_nothing_and_serves_one_lane_alone_calls_in_that_lane() {
    let services = || vec![gives("shop", 1), gives("stock", 1)];
    let login = lane(7, "login", vec![header("login")], services());
    let mall = Mall::open(std::slice::from_ref(&login));
    let (of_lane, of_all) = (address(0), address(1));
    let callers = vec![caller("new", 1, of_lane), caller("old", 0, of_all)];
    let user = rustix::process::getuid().as_raw();
    let listeners = Listeners { host: this_host(), user, callers };
    let listening = |table: RouteTable| RouteTable { listeners: Some(listeners.clone()), ..table };
    mall.apply(listening(RouteTable { revision: 3, ..mall.table.clone() }));
    let asks = |ip, fields: &str| {
        let request = format!("GET / HTTP/1.1\r\nhost: stock\r\n{fields}\r\n");
        Client::connect(SocketAddr::new(ip, 17_000)).ask(request).unwrap().text()
    };
    assert_eq!((asks(of_lane, ""), asks(of_all, "")), ("stock1".into(), "stock0".into()));
    assert_eq!(asks(of_all, "baggage: lockstep.rules=7\r\n"), "stock1", "what is carried comes first");
    // As soon as it serves anything else its calls may be of others.
    let other = lane(9, "other", vec![header("other")], vec![gives("shop", 1)]);
    let mut table = RouteTable { revision: 4, lanes: vec![login, other], ..mall.table.clone() };
    let rule = SplitRule { id: 9, ..table.services[&"shop".parse().unwrap()].version_rules[0].clone() };
    table.services.get_mut(&"shop".parse().unwrap()).unwrap().version_rules.push(rule);
    mall.apply(listening(table));
    assert_eq!(asks(of_lane, ""), "stock0");
    assert_eq!(asks(of_lane, "baggage: lockstep.rules=7\r\n"), "stock1");
}

#[test]
fn a_table_with_lanes_has_its_own_format_and_one_that_contradicts_itself_is_refused() {
    let mall = Mall::open(&[lane(7, "login", vec![header("login")], vec![gives("stock", 1)])]);
    let plain = RouteTable { lanes: Vec::new(), ..mall.table.clone() };
    assert_eq!(mall.table.clone().in_its_format().format, FORMAT_WITH_LANES);
    let refused = |table: RouteTable| mall.running.gateway.apply(table).unwrap_err().to_string();
    let said = refused(RouteTable { revision: 3, ..plain });
    assert!(said.contains("rule 7 of `stock` is of no lane that gives 1.1.0"), "{said}");
    let twice = vec![mall.table.lanes[0].clone(), mall.table.lanes[0].clone()];
    let said = refused(RouteTable { revision: 3, lanes: twice, ..mall.table.clone() });
    assert!(said.contains("lane login has the number or the name of another"), "{said}");
    let text = serde_json::to_string(&mall.table).unwrap();
    assert_eq!(serde_json::from_str::<RouteTable>(&text).unwrap(), mall.table);
}

#[test]
fn what_the_gateway_answers_itself_says_the_lane_as_well() {
    let gives = vec![gives("shop", 1), gives("stock", 1)];
    let mall = Mall::open(&[lane(7, "login", vec![header("login")], gives)]);
    let broken = mall.ask("/broken", "x-lane: login\r\n");
    assert_eq!((broken.status(), broken.header("lockstep-lane")), (502, Some("login")));
    // Nothing listens any more, of the lane or of anybody.
    mall.instances[..2].iter().for_each(Instance::kill);
    let gone = mall.ask("/", "x-lane: login\r\n");
    assert_eq!((gone.status(), gone.header("lockstep-lane")), (503, Some("login; not-served=shop")));
    let outside = mall.ask("/", "");
    assert_eq!((outside.status(), outside.header("lockstep-lane")), (503, None));
}

#[test]
fn what_is_explained_names_the_lane() {
    let places = vec![Places { from: 0, to: 5_000 }];
    let lanes = [
        lane(7, "login", vec![header("login")], vec![gives("shop", 1)]),
        lane(9, "half", vec![TableWhen::Places(places)], vec![gives("shop", 1)]),
    ];
    let mall = Mall::open(&lanes);
    let explained = |fields: &[(&str, &str)]| {
        let headers: Vec<_> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let client = "127.0.0.1".parse().unwrap();
        let question = Question::new("GET", "http://shop.test/", &headers, client).unwrap();
        let explanation = explain(mall.table.clone(), &question).unwrap();
        let said = explanation.steps.iter().find(|step| step.about == "lane").map(|step| step.says.clone());
        let Outcome::Served { version, .. } = explanation.outcome else { panic!("it is served") };
        (said.unwrap_or_default(), version)
    };
    let (said, version) = explained(&[("x-lane", "login")]);
    assert_eq!((said.as_str(), version.as_deref()), ("in lane login, which gives shop 1.1.0", Some("1.1.0")));
    let (said, version) = explained(&[]);
    assert_eq!((said.as_str(), version), ("by a place that is drawn for each such request", None));
    let key = (0..).map(|number| format!("k{number}")).find(|key| slot(SHARE_SALT, key.as_bytes()) < 5_000);
    let (said, version) = explained(&[("x-lockstep-key", &key.unwrap())]);
    assert_eq!((said.as_str(), version.as_deref()), ("in lane half, which gives shop 1.1.0", Some("1.1.0")));
}
