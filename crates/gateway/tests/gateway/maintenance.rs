//! Maintenance, and `via`: what an environment says that is not about where requests go.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use lockstep_domain::VersionNumber;
use lockstep_domain::gateway_rules::{GatewayRules, ViaField};
use lockstep_domain::maintenance::{FORMAT_WITH_MAINTENANCE, MaintenancePage};
use lockstep_domain::routes::RouteTable;
use lockstep_domain::routes::actions::Respond;
use lockstep_domain::watch::Watch;

use crate::support::*;

fn page(number: u32) -> MaintenancePage {
    let respond = Respond { status: 503, body: "<p>soon</p>".into(), content_type: "text/html".into() };
    MaintenancePage {
        number,
        service: Some("shop".parse().unwrap()),
        version: None,
        host: None,
        path: None,
        respond,
        retry_after_s: Some(60),
    }
}

struct Shop {
    running: Running,
    old: Instance,
    new: Instance,
    revision: u64,
    heard: Arc<Mutex<Vec<Message>>>,
}

impl Shop {
    fn open() -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let instance = |fails: bool| {
            let heads = Arc::clone(&heard);
            Instance::start(move |request, stream| {
                heads.lock().unwrap().push(request.clone());
                let fails = fails && request.target().ends_with("/fails");
                answer(stream, if fails { 500 } else { 200 }, b"ok")
            })
        };
        let (old, new) = (instance(false), instance(true));
        Self { running: Running::start(&[]), old, new, revision: 1, heard }
    }

    fn table(&mut self, rules: GatewayRules) -> RouteTable {
        self.revision += 1;
        let arms = canary(5_000, ("new", self.new.address), ("old", self.old.address));
        let mut table = table(self.revision, &arms);
        table.services.values_mut().for_each(|routes| {
            routes.watch = Some(Watch {
                trial: "t".into(),
                operations: Vec::new(),
                statuses: Default::default(),
                latency_bounds_ms: Default::default(),
                answers: Default::default(),
            });
        });
        table.rules = Some(rules);
        table.in_its_format()
    }

    fn says(&mut self, maintenance: &[MaintenancePage]) {
        let table = self.table(GatewayRules { maintenance: maintenance.to_vec(), ..GatewayRules::default() });
        self.running.gateway.apply(table).unwrap();
    }

    fn get(&self, path: &str, fields: &str) -> Message {
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
        self.running.client().ask(request).unwrap()
    }

    fn asked(&self) -> usize {
        self.old.requests.load(Ordering::SeqCst) + self.new.requests.load(Ordering::SeqCst)
    }

    fn counted(&self) -> u64 {
        let receipt = self.running.gateway.receipt(&environment());
        let trial = receipt.watched.iter().flat_map(|it| &it.arms).map(|(_, counts)| counts.total.requests);
        trial.sum::<u64>() + receipt.traffic.iter().map(|(_, traffic)| traffic.requests).sum::<u64>()
    }
}

/// A key of each version.
fn keys(shop: &Shop) -> [String; 2] {
    let of = |version: &str| {
        let keys = (0..200).map(|key| format!("x-lockstep-key: {key}\r\n"));
        keys.into_iter().find(|key| shop.get("/", key).version() == version).unwrap()
    };
    [of("1.0.0"), of("1.1.0")]
}

#[test]
fn a_page_is_given_instead_of_a_service_and_counts_for_nobody() {
    let mut shop = Shop::open();
    shop.says(&[page(1)]);
    let got = shop.get("/", "");
    assert_eq!((got.status(), got.text().as_str()), (503, "<p>soon</p>"));
    assert_eq!((got.header("content-type"), got.header("retry-after")), (Some("text/html"), Some("60")));
    assert_eq!(got.header("lockstep-version"), None);
    let named =
        shop.running.client().ask(format!("GET /@~{TOKEN}/@shop/ HTTP/1.1\r\nhost: x\r\n\r\n")).unwrap();
    assert_eq!(named.status(), 503, "calls between services as well");
    assert_eq!((shop.asked(), shop.counted()), (0, 0));
    shop.says(&[]);
    assert_eq!(shop.get("/", "").status(), 200);
}

#[test]
fn a_page_of_a_version_is_for_those_alone_who_would_go_there() {
    let mut shop = Shop::open();
    shop.says(&[]);
    let [old, new] = keys(&shop);
    let before = shop.counted();
    shop.says(&[MaintenancePage { version: Some(VersionNumber::new(1, 1, 0)), ..page(1) }]);
    assert_eq!(shop.get("/", &new).status(), 503);
    assert_eq!(shop.counted(), before, "it is no failure of the version");
    let other = shop.get("/", &old);
    assert_eq!((other.status(), other.version()), (200, "1.0.0"));
    // Nobody leads there instead: not the shield either.
    shop.says(&[MaintenancePage { version: Some(VersionNumber::new(1, 0, 0)), ..page(1) }]);
    assert_eq!(shop.get("/", &old).status(), 503);
    let asked = shop.old.requests.load(Ordering::SeqCst);
    assert_eq!(shop.get("/fails", &new).status(), 500);
    assert_eq!(shop.old.requests.load(Ordering::SeqCst), asked);
}

#[test]
fn a_page_of_a_place_leaves_other_places_and_calls_by_name_alone() {
    let mut shop = Shop::open();
    let place = |host: Option<&str>, path: Option<&str>| MaintenancePage {
        host: host.map(str::to_owned),
        path: path.map(str::to_owned),
        service: None,
        ..page(1)
    };
    shop.says(&[place(None, Some("/pay"))]);
    let statuses = ["/pay", "/pay/1", "/payments", "/"].map(|path| shop.get(path, "").status());
    assert_eq!(statuses, [503, 503, 200, 200]);
    let call = format!("GET /@~{TOKEN}/@shop/pay HTTP/1.1\r\nhost: shop.test\r\n\r\n");
    assert_eq!(shop.running.client().ask(call).unwrap().status(), 200);
    shop.says(&[place(Some("other.test"), None)]);
    assert_eq!(shop.get("/", "").status(), 200);
    shop.says(&[place(Some("*.test"), None)]);
    assert_eq!(shop.get("/", "").status(), 503);
}

#[test]
fn a_table_with_pages_asks_for_their_format_and_a_bad_page_is_refused() {
    let mut shop = Shop::open();
    let maintenance = vec![page(1)];
    let table = shop.table(GatewayRules { maintenance, ..GatewayRules::default() });
    assert_eq!(table.format, FORMAT_WITH_MAINTENANCE);
    let maintenance =
        vec![MaintenancePage { service: None, version: Some(VersionNumber::new(1, 0, 0)), ..page(1) }];
    let bad = shop.table(GatewayRules { maintenance, ..GatewayRules::default() });
    let error = shop.running.gateway.apply(bad).unwrap_err().to_string();
    assert!(error.contains("which is not named"), "{error}");
}

#[test]
fn via_is_left_out_where_the_environment_says_so_and_loops_end_all_the_same() {
    let mut shop = Shop::open();
    let last = |shop: &Shop| shop.heard.lock().unwrap().last().unwrap().clone();
    shop.get("/", "");
    shop.says(&[]);
    shop.get("/", "");
    assert_eq!(last(&shop).header("via"), Some("1.1 lockstep"));
    assert_eq!(last(&shop).header("lockstep-hops"), None);
    let table = shop.table(GatewayRules { via: ViaField::Omit, ..GatewayRules::default() });
    assert_eq!(table.format, FORMAT_WITH_MAINTENANCE);
    shop.running.gateway.apply(table).unwrap();
    shop.get("/", "");
    assert_eq!((last(&shop).header("via"), last(&shop).header("lockstep-hops")), (None, Some("1")));
    shop.get("/", "via: 1.1 cdn\r\n");
    assert_eq!(last(&shop).header("via"), Some("1.1 cdn"), "what others wrote stays");
    // A service that sends its requests back here.
    let (mut hops, mut status) = ("0".to_owned(), 200);
    for _ in 0..40 {
        let got = shop.get("/", &format!("lockstep-hops: {hops}\r\n"));
        status = got.status();
        if status != 200 {
            break;
        }
        hops = last(&shop).header("lockstep-hops").unwrap().to_owned();
    }
    assert_eq!((status, hops.as_str()), (508, "16"));
    for odd in ["x", "-1", "99999999999999999999", ""] {
        assert_eq!(shop.get("/", &format!("lockstep-hops: {odd}\r\n")).status(), 200, "{odd}");
    }
    assert_eq!(shop.get("/", "lockstep-hops: 900\r\n").status(), 508);
}
