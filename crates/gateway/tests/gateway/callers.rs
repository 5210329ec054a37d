//! Listeners of single instances: who calls there reaches one service, by its versions, and is counted.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use lockstep_domain::listeners::{CallerListeners, Listeners, OpenedBy, nth};
use lockstep_domain::routes::{FORMAT_WITH_LISTENERS, RouteTable};
use lockstep_domain::{Arm, ConfigRevision, ServiceName, VersionNumber};
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, Applied, Gateway, GatewayConfig, this_host};

use crate::support::{
    ArmSpec, Client, Instance, Running, TOKEN, answer, canary, environment, raw, stable, table, wait_until,
};

/// An address that no other test has, whether it runs in this process or in another.
fn address(number: u64) -> IpAddr {
    let thread = std::thread::current();
    let test = BuildHasherDefault::<DefaultHasher>::new().hash_one((std::process::id(), thread.name()));
    nth((test << 4) + number).into()
}

fn us() -> u32 {
    rustix::process::getuid().as_raw()
}

fn caller(instance: &str, minor: u64, ip: IpAddr) -> CallerListeners {
    let services: [(ServiceName, u16); 2] =
        [("shop".parse().unwrap(), 17_000), ("stock".parse().unwrap(), 17_001)];
    CallerListeners {
        instance: instance.parse().unwrap(),
        arm: Arm {
            service: "web".parse().unwrap(),
            version: VersionNumber::new(3, minor, 0),
            config: ConfigRevision(0),
            process: None,
        },
        user: None,
        opened_by: OpenedBy::Run("test".to_owned()),
        services: services.map(|(name, port)| (name, SocketAddr::new(ip, port))).into(),
    }
}

/// The table of the arms of `shop`, and of `stock` with the same.
fn calling(
    revision: u64,
    shop: &[ArmSpec<'_>],
    stock: &[ArmSpec<'_>],
    callers: Vec<CallerListeners>,
) -> RouteTable {
    let listeners = Listeners { host: this_host(), user: us(), callers };
    let mut table = table(revision, shop);
    if let Some(routes) = crate::support::table(1, stock).services.remove(&"shop".parse().unwrap())
        && !stock.is_empty()
    {
        table.services.insert("stock".parse().unwrap(), routes);
    }
    let listeners = Some(listeners).filter(|listeners| !listeners.callers.is_empty());
    let table = table.with_listeners(listeners);
    assert_eq!(table.format == FORMAT_WITH_LISTENERS, table.listeners.is_some());
    table
}

fn apply(running: &Running, table: RouteTable) {
    assert_eq!(running.gateway.apply(table).unwrap(), Applied::Now);
}

/// Answers with its name and the path that it was asked for.
fn echo(name: &'static str) -> Instance {
    Instance::start(move |request, stream| {
        let baggage = request.header("baggage").unwrap_or_default();
        answer(stream, 200, format!("{name} {} {baggage}", request.target()).as_bytes())
    })
}

/// A request is counted once its answer was sent, so what is to be seen is waited for.
fn wait_for_metric(running: &Running, text: &str) {
    wait_until(text, || running.gateway.admin().metrics().contains(text));
}

fn listens(gateway: &Gateway, ip: IpAddr) -> Option<Option<String>> {
    let said = gateway.receipt(&environment()).listens;
    said.into_iter().find(|one| one.address == ip).map(|one| one.problem)
}

#[test]
fn a_call_reaches_the_service_that_is_required_and_no_other_whatever_it_says() {
    let (shop, stock) = (echo("shop"), echo("stock"));
    let (shop_arms, stock_arms) =
        ([stable(0, &[("shop-1", shop.address)])], [stable(4, &[("stock-1", stock.address)])]);
    let running = Running::start(&shop_arms);
    let ip = address(0);
    apply(&running, calling(2, &shop_arms, &stock_arms, vec![caller("web-1", 0, ip)]));
    assert_eq!(listens(&running.gateway, ip), Some(None));
    let mut client = Client::connect(SocketAddr::new(ip, 17_001));
    for path in ["/", "/orders/7?q=1", "/@shop/x", &format!("/@~{TOKEN}/@shop/x"), "/@~wrong/x", "/@stock"] {
        let answer = client.get(path, "ann").unwrap();
        assert_eq!(answer.text(), format!("stock {path} lockstep.key=ann"), "{path}");
        assert_eq!(answer.header("lockstep-version"), Some("stock@1.4.0"));
    }
    let absolute = "GET http://shop.test/ HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: ann\r\n\r\n";
    assert_eq!(client.ask(absolute).unwrap().text(), "stock / lockstep.key=ann");
    let at_shop = Client::connect(SocketAddr::new(ip, 17_000)).get("/@stock", "ann").unwrap();
    assert_eq!(at_shop.text(), "shop /@stock lockstep.key=ann");
    assert_eq!(shop.served(), 1);
    assert_eq!(running.client().get("/@stock", "ann").unwrap().text(), "shop /@stock lockstep.key=ann");
}

#[test]
fn a_call_keeps_the_side_of_its_client_and_is_counted_by_both_versions() {
    let (old, new) = (Instance::named("old"), Instance::named("new"));
    let arms = canary(5_000, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    let ip = address(0);
    let other = address(1);
    apply(&running, calling(2, &arms, &[], vec![caller("web-1", 0, ip), caller("web-2", 1, other)]));
    let mut counted = std::collections::BTreeMap::<_, u64>::new();
    let (mut one, mut two) =
        (Client::connect(SocketAddr::new(ip, 17_000)), Client::connect(SocketAddr::new(other, 17_000)));
    for number in 0..40 {
        let key = format!("client-{number}");
        let outside = running.client().get("/", &key).unwrap();
        // The service that calls was asked with the key in `baggage`, and hands it on.
        let call = format!("GET / HTTP/1.1\r\nhost: {ip}:17000\r\nbaggage: lockstep.key={key}\r\n\r\n");
        let (minor, client) = if number % 4 == 0 { (1, &mut two) } else { (0, &mut one) };
        let answer = client.ask(call).unwrap();
        assert_eq!(answer.version(), outside.version(), "{key}");
        *counted.entry((minor, answer.version().to_owned())).or_default() += 1;
    }
    assert_eq!(counted.len(), 4, "{counted:?}");
    for ((minor, version), count) in counted {
        let line = format!(
            "lockstep_gateway_calls_total{{deployment_environment_name=\"production\",caller=\"web\",caller_version=\"3.{minor}.0\",caller_config=\"0\",service_name=\"shop\",service_version=\"{version}\",config=\"0\",class=\"2xx\"}} {count}\n"
        );
        wait_for_metric(&running, &line);
    }
}

#[test]
fn listeners_stay_over_tables_as_long_as_their_instance_is_in_them() {
    let (old, new) = (Instance::named("old"), Instance::named("new"));
    let old_arms = [stable(0, &[("old", old.address)])];
    let new_arms = [stable(1, &[("new", new.address)])];
    let running = Running::start(&old_arms);
    let (ip, other) = (address(0), address(1));
    let both = || vec![caller("web-1", 0, ip), caller("web-2", 0, other)];
    apply(&running, calling(2, &old_arms, &[], both()));
    let at = SocketAddr::new(ip, 17_000);
    let mut client = Client::connect(at);
    assert_eq!(client.get("/", "k").unwrap().text(), "old");
    apply(&running, calling(3, &new_arms, &[], both()));
    assert_eq!(client.get("/", "k").unwrap().text(), "new", "the same connection");
    assert_eq!(running.gateway.listening(), [(environment(), running.address)]);

    apply(&running, calling(4, &new_arms, &[], vec![caller("web-1", 0, ip)]));
    assert_eq!(client.get("/", "k").unwrap().text(), "new");
    wait_until("nobody listens for the one that is over", || {
        TcpStream::connect(SocketAddr::new(other, 17_000)).is_err()
    });
    assert_eq!(listens(&running.gateway, other), None);

    apply(&running, calling(5, &new_arms, &[], Vec::new()));
    wait_until("nobody listens for callers", || TcpStream::connect(at).is_err());
    // Another instance may be given the address then, and is who calls there.
    wait_until("it listens for another", || {
        running.gateway.keep_listeners(&environment());
        let revision = running.gateway.receipt(&environment()).revision + 1;
        apply(&running, calling(revision, &new_arms, &[], vec![caller("web-9", 9, ip)]));
        listens(&running.gateway, ip) == Some(None)
    });
    assert_eq!(Client::connect(at).get("/", "k").unwrap().text(), "new");
    wait_for_metric(&running, "caller_version=\"3.9.0\"");
    running.gateway.forget(&environment());
    wait_until("a forgotten environment listens nowhere", || TcpStream::connect(at).is_err());
}

#[test]
fn a_renamed_service_is_reached_by_the_name_that_was_required() {
    let shop = Instance::named("shop");
    let arms = [stable(0, &[("shop-1", shop.address)])];
    let running = Running::start(&arms);
    let ip = address(0);
    let mut table = calling(2, &arms, &[], vec![caller("web-1", 0, ip)]);
    table.aliases.insert("stock".parse().unwrap(), "shop".parse().unwrap());
    apply(&running, table);
    assert_eq!(Client::connect(SocketAddr::new(ip, 17_001)).get("/", "k").unwrap().text(), "shop");
    wait_for_metric(
        &running,
        "service_name=\"shop\",service_version=\"1.0.0\",config=\"0\",class=\"2xx\"} 1",
    );
}

#[test]
fn a_service_that_runs_nowhere_answers_with_the_reason() {
    let shop = Instance::named("shop");
    let arms = [stable(0, &[("shop-1", shop.address)])];
    let running = Running::start(&arms);
    let ip = address(0);
    apply(&running, calling(2, &arms, &[stable(0, &[])], vec![caller("web-1", 0, ip)]));
    let mut client = Client::connect(SocketAddr::new(ip, 17_001));
    let answer = client.get("/", "k").unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("no instance of `stock` takes requests"), "{}", answer.text());
    apply(&running, calling(3, &arms, &[], vec![caller("web-1", 0, ip)]));
    assert_eq!(client.get("/", "k").unwrap().status(), 503, "it is not even in the table");
    for (version, config) in [("1.0.0", "0"), ("", "")] {
        let counted = format!(
            "caller_config=\"0\",service_name=\"stock\",service_version=\"{version}\",config=\"{config}\",class=\"5xx\"}} 1"
        );
        wait_for_metric(&running, &counted);
    }
}

#[test]
fn a_process_of_another_user_is_refused() {
    let shop = Instance::named("shop");
    let arms = [stable(0, &[("shop-1", shop.address)])];
    let running = Running::start(&arms);
    let ip = address(0);
    let mut table = calling(2, &arms, &[], vec![caller("web-1", 0, ip)]);
    table.listeners.as_mut().unwrap().user = us() + 1;
    apply(&running, table);
    let answer = Client::connect(SocketAddr::new(ip, 17_000)).get("/", "k").unwrap();
    assert_eq!(answer.status(), 403);
    assert!(
        answer.text().contains("not_the_instance") && answer.text().contains("web-1"),
        "{}",
        answer.text()
    );
    assert_eq!(shop.served(), 0);
    apply(&running, calling(3, &arms, &[], vec![caller("web-1", 0, ip)]));
    wait_until("it listens for the right user", || {
        running.gateway.keep_listeners(&environment());
        listens(&running.gateway, ip) == Some(None)
    });
    assert_eq!(Client::connect(SocketAddr::new(ip, 17_000)).get("/", "k").unwrap().text(), "shop");
}

#[test]
fn only_the_gateway_that_is_meant_listens() {
    let shop = Instance::named("shop");
    let arms = [stable(0, &[("shop-1", shop.address)])];
    let running = Running::start(&arms);
    let (ip, opened) = (address(0), |running: &Running, by: OpenedBy, host: String| {
        let revision = running.gateway.receipt(&environment()).revision + 1;
        let mut table = calling(
            revision,
            &arms,
            &[],
            vec![CallerListeners { opened_by: by, ..caller("web-1", 0, address(0)) }],
        );
        table.listeners.as_mut().unwrap().host = host;
        apply(running, table);
        listens(&running.gateway, address(0)).is_some()
    });
    let here = SocketAddr::new("127.0.0.1".parse().unwrap(), running.address.port());
    let elsewhere = SocketAddr::new("127.0.0.1".parse().unwrap(), 1);
    assert!(!opened(&running, OpenedBy::Run("another".to_owned()), this_host()));
    assert!(!opened(&running, OpenedBy::At(elsewhere), this_host()));
    assert!(!opened(&running, OpenedBy::At(here), "another machine".to_owned()));
    assert!(TcpStream::connect(SocketAddr::new(ip, 17_000)).is_err());
    assert!(opened(&running, OpenedBy::At(here), this_host()));
    assert!(TcpStream::connect(SocketAddr::new(ip, 17_000)).is_ok());
}

#[test]
fn an_address_that_somebody_has_is_said_and_tried_again() {
    let shop = Instance::named("shop");
    let arms = [stable(0, &[("shop-1", shop.address)])];
    let running = Running::start(&arms);
    let ip = address(0);
    let squatter = TcpListener::bind(SocketAddr::new(ip, 17_001)).unwrap();
    apply(&running, calling(2, &arms, &[], vec![caller("web-1", 0, ip)]));
    let problem = listens(&running.gateway, ip).unwrap().unwrap();
    assert!(problem.contains(":17001") && problem.contains("in use by another listener"), "{problem}");
    assert_eq!(Client::connect(SocketAddr::new(ip, 17_000)).get("/", "k").unwrap().text(), "shop");
    drop(squatter);
    wait_until("it listens", || {
        running.gateway.keep_listeners(&environment());
        listens(&running.gateway, ip) == Some(None)
    });
}

#[test]
fn a_table_that_would_listen_elsewhere_or_twice_is_refused() {
    let gateway = Gateway::start(GatewayConfig::new("test")).unwrap();
    let refused = |callers| gateway.apply(calling(1, &[], &[], callers)).unwrap_err().to_string();
    let anywhere = refused(vec![caller("web-1", 0, "0.0.0.0".parse().unwrap())]);
    assert!(anywhere.contains("`web-1` is to call at 0.0.0.0:17000"), "{anywhere}");
    let twice = refused(vec![caller("web-1", 0, address(0)), caller("web-2", 0, address(0))]);
    assert!(twice.contains("two are to call at") && twice.contains("`web-2`"), "{twice}");
}

#[test]
fn the_access_log_says_who_called_and_no_token_that_stands_in_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let access_log = Some(AccessLogConfig::new(AccessLogTarget::File(path.clone())));
    let gateway = Gateway::start(GatewayConfig { access_log, ..GatewayConfig::new("test") }).unwrap();
    let shop = Instance::named("shop");
    let ip = address(0);
    let arms = [stable(0, &[("shop-1", shop.address)])];
    gateway.apply(calling(1, &arms, &[], vec![caller("web-1", 0, ip)])).unwrap();
    let mut client = Client::connect(SocketAddr::new(ip, 17_000));
    for path in ["/orders", &format!("/@~{TOKEN}/@stock/x")] {
        assert_eq!(client.get(path, "k").unwrap().text(), "shop");
    }
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    wait_until("the lines are written", || read().lines().count() == 2);
    let text = read();
    let said: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let both = said.iter().all(|line| line["caller"] == "web-1" && line["instance"] == "shop-1");
    assert!(
        both && said[0]["path"] == "/orders" && said[1]["path"] == "/@~" && !text.contains(TOKEN),
        "{text}"
    );
}

#[test]
fn a_client_that_leaves_and_an_instance_that_breaks_off_cost_the_listener_nothing() {
    let broken =
        Instance::start(|_, stream| raw(stream, b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"));
    let arms = [stable(0, &[("shop-1", broken.address)])];
    let running = Running::start(&arms);
    let ip = address(0);
    apply(&running, calling(2, &arms, &[], vec![caller("web-1", 0, ip)]));
    let at = SocketAddr::new(ip, 17_000);
    for half in ["", "GE", "GET / HTTP/1.1\r\nhost: x\r\n", "\x16\x03\x01\x02", "*1\r\n$4\r\nPING\r\n"] {
        let mut client = Client::connect(at);
        client.send(half).unwrap();
    }
    let not_http = Client::connect(at).ask("EHLO mail\r\n\r\n").unwrap();
    assert_eq!(not_http.status(), 400);
    wait_until("whoever left is gone", || running.in_flight() == 0);
    assert!(TcpStream::connect(at).is_ok());
}

#[test]
fn what_one_caller_does_wrong_has_the_version_left_alone_by_it_and_by_nobody_else() {
    let shop = Instance::start(|request, stream| match request.target() {
        "/bad" => answer(stream, 500, b"bad"),
        _ => answer(stream, 200, b"good"),
    });
    let arms = [stable(0, &[("shop-1", shop.address)])];
    let running = Running::start(&arms);
    let ips = [address(0), address(1)];
    let callers = vec![caller("web-1", 0, ips[0]), caller("web-2", 1, ips[1])];
    let mut table = calling(2, &arms, &[], callers);
    let breaker = serde_json::json!({ "breaker": { "requests": 5, "consecutive": 0, "open_ms": 3_600_000, "longest_ms": 3_600_000 } });
    for split in table.services.values_mut().flat_map(|service| &mut service.splits) {
        split.policy = Some(serde_json::from_value(breaker.clone()).unwrap());
    }
    apply(&running, table);
    let [mut first, mut second] = ips.map(|ip| Client::connect(SocketAddr::new(ip, 17_000)));
    (0..5).for_each(|_| assert_eq!(first.get("/bad", "ann").unwrap().text(), "bad"));
    for _ in 0..10 {
        let shut = first.get("/good", "ann").unwrap();
        assert!(shut.status() == 503 && shut.text().contains("breaker_open"), "{}", shut.text());
        assert_eq!(second.get("/good", "ann").unwrap().text(), "good", "another version that calls");
        assert_eq!(running.client().get("/good", "ann").unwrap().text(), "good", "who is not known");
    }
    assert_eq!(shop.served(), 5 + 20, "what is left alone is asked nothing");
    let left_alone = running.gateway.receipt(&environment()).left_alone;
    let [one] = left_alone.as_slice() else { panic!("{left_alone:?}") };
    let by = one.caller.as_ref().map(|arm| arm.version.clone());
    assert_eq!(by, Some(VersionNumber::new(3, 0, 0)));
}
