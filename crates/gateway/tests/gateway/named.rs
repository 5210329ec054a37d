//! Instances that are named by host: found by a name server, followed when they move, kept when nobody can say, and never what they must not be.

mod server;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::mpsc;

use lockstep_domain::approach::{Approach, Believes, InstanceTls};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::{FORMAT_WITH_NAMES, NamedEndpoint, RouteTable};
use lockstep_domain::targets::{LookupBounds, MAX_ADDRESSES};
use lockstep_gateway::{Gateway, GatewayConfig, Lookups};
use server::{NameServer, Say};

use crate::approach::{Authority, counting, secure_on};
use crate::support::{Client, Instance, Running, Then, answer, environment, stable, table, wait_until};

const NAME: &str = "shop.internal";

/// A gateway that asks a name server all the time; no file of hosts says anything.
fn gateway(names: &NameServer, loopback: bool) -> Running {
    let bounds = LookupBounds { least_ms: 10, most_ms: 60_000 };
    let hosts = Some("/dev/null".into());
    let lookups = Lookups { servers: vec![names.address], bounds, loopback, hosts };
    let config =
        GatewayConfig { workers: NonZeroUsize::new(2).unwrap(), lookups, ..GatewayConfig::new("test") };
    let gateway = Gateway::start(config).unwrap();
    let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    Running { gateway: gateway.into(), address }
}

/// A table of one service with one name.
fn to(revision: u64, port: u16, approach: &Approach) -> RouteTable {
    let mut table = table(revision, &[stable(0, &[])]);
    for split in table.services.values_mut().flat_map(|routes| &mut routes.splits) {
        let (instance, host) = ("shop".parse().unwrap(), NAME.parse().unwrap());
        split.named = vec![NamedEndpoint { instance, host, port, zone: None }];
        split.approach = approach.clone();
    }
    let table = table.in_its_format();
    assert_eq!(table.format, FORMAT_WITH_NAMES);
    table
}

/// Listeners on some addresses of this machine with one port.
fn listeners<const N: usize>(ips: [&str; N]) -> [TcpListener; N] {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        drop(first);
        let bound: Vec<_> = ips.iter().flat_map(|ip| TcpListener::bind((*ip, port))).collect();
        if let Ok(all) = bound.try_into() {
            return all;
        }
    }
}

/// Instances that say their address.
fn instances<const N: usize>(ips: [&str; N]) -> [Instance; N] {
    listeners(ips).map(|listener| {
        let said = listener.local_addr().unwrap().ip().to_string();
        Instance::start_on(listener, move |_, stream| answer(stream, 200, said.as_bytes()))
    })
}

fn ask(running: &Running) -> (u16, String) {
    let answer = Client::connect(running.address).get("/", "ann").unwrap();
    (answer.status(), answer.text())
}

fn metrics_say(running: &Running, line: &str) -> bool {
    running.gateway.admin().metrics().lines().any(|it| it.starts_with(line))
}

async fn put(running: &Running, table: RouteTable) {
    running.gateway.look_up(&table).await;
    running.gateway.apply(table).unwrap();
}

#[tokio::test]
async fn a_name_is_found_before_the_first_request_and_followed_without_losing_one() {
    let names = NameServer::start();
    let [one, two] = instances(["127.0.0.1", "127.0.0.2"]);
    names.addresses(NAME, &["127.0.0.1"], 0);
    let running = gateway(&names, true);
    put(&running, to(1, one.address.port(), &Approach::default())).await;
    assert_eq!(ask(&running), (200, "127.0.0.1".into()));
    names.addresses(NAME, &["127.0.0.1", "127.0.0.2"], 0);
    wait_until("both are asked", || ask(&running).1 == "127.0.0.2");
    names.addresses(NAME, &["127.0.0.2"], 0);
    let before = names.asked();
    wait_until("it is looked up again", || names.asked() > before + 4);
    let mut client = Client::connect(running.address);
    for _ in 0..50 {
        assert_eq!(client.get("/", "ann").unwrap().text(), "127.0.0.2");
    }
    assert!(two.served() > 50 && running.gateway.receipt(&environment()).revision == 1);
}

#[tokio::test]
async fn a_request_at_an_address_that_is_gone_is_answered_by_it() {
    let names = NameServer::start();
    let [first, second] = listeners(["127.0.0.1", "127.0.0.2"]);
    let ((came, comes), (go, goes)) = (mpsc::channel(), mpsc::channel::<()>());
    let (came, goes) = (std::sync::Mutex::new(came), std::sync::Mutex::new(goes));
    let port = first.local_addr().unwrap().port();
    let _slow = Instance::start_on(first, move |_, stream| {
        came.lock().unwrap().send(()).unwrap();
        let _ = goes.lock().unwrap().recv();
        answer(stream, 200, b"slow")
    });
    let _quick = Instance::start_on(second, |_, stream| answer(stream, 200, b"quick"));
    names.addresses(NAME, &["127.0.0.1"], 0);
    let running = gateway(&names, true);
    put(&running, to(1, port, &Approach::default())).await;
    let mut client = Client::connect(running.address);
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    comes.recv().unwrap();
    names.addresses(NAME, &["127.0.0.2"], 0);
    wait_until("the other one is asked", || {
        let mut other = Client::connect(running.address);
        other.socket().set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
        other.get("/", "ann").is_ok_and(|answer| answer.text() == "quick")
    });
    assert!(running.in_flight() >= 1, "what is at the one that is gone still shows");
    drop(go);
    assert_eq!(client.read().unwrap().text(), "slow");
}

#[tokio::test]
async fn what_cannot_be_looked_up_keeps_its_addresses_and_is_said() {
    let names = NameServer::start();
    let [one] = instances(["127.0.0.1"]);
    let running = gateway(&names, true);
    names.say(NAME, Say::NoName);
    put(&running, to(1, one.address.port(), &Approach::default())).await;
    assert_eq!(ask(&running).0, 503, "the gateway starts, and has nobody to ask");
    let label =
        format!("{{deployment_environment_name=\"production\",name=\"{NAME}:{}\"", one.address.port());
    assert!(metrics_say(&running, &format!("lockstep_gateway_name_addresses{label}}} 0")));
    names.addresses(NAME, &["127.0.0.1"], 0);
    wait_until("it is found", || ask(&running).0 == 200);
    for trouble in [Say::Fails, Say::NoName, Say::Addresses(vec!["169.254.169.254".parse().unwrap()], 0)] {
        names.say(NAME, trouble.clone());
        wait_until("it is said", || {
            metrics_say(&running, &format!("lockstep_gateway_name_stale{label}}} 1"))
        });
        assert_eq!(ask(&running), (200, "127.0.0.1".into()), "{trouble:?}");
        let traffic = running.gateway.admin().traffic();
        let seen = traffic.environments["production"].names.values().next().unwrap().clone();
        assert!(seen.addresses == 1 && seen.trouble.is_some(), "{seen:?}");
        names.addresses(NAME, &["127.0.0.1"], 0);
        wait_until("it is well again", || {
            metrics_say(&running, &format!("lockstep_gateway_name_stale{label}}} 0"))
        });
    }
    names.say(NAME, Say::Nothing);
    assert_eq!(ask(&running).0, 200, "no request waits for a name server");
}

#[tokio::test]
async fn names_of_which_nobody_says_anything_do_not_delay_one_that_is_answered() {
    let names = NameServer::start();
    let [one, _two] = instances(["127.0.0.1", "127.0.0.2"]);
    let running = gateway(&names, true);
    let mut table = to(1, one.address.port(), &Approach::default());
    for named in table.services.values_mut().flat_map(|it| &mut it.splits).map(|it| &mut it.named) {
        let silent = (0..130).map(|n| {
            let host = format!("a{n}.silent.internal");
            names.say(&host, Say::Nothing);
            NamedEndpoint { host: host.parse().unwrap(), ..named[0].clone() }
        });
        let silent: Vec<_> = silent.collect();
        named.extend(silent);
    }
    names.addresses(NAME, &["127.0.0.1"], 0);
    put(&running, table).await;
    wait_until("it is found", || ask(&running) == (200, "127.0.0.1".into()));
    names.addresses(NAME, &["127.0.0.2"], 0);
    wait_until("it is followed", || ask(&running) == (200, "127.0.0.2".into()));
    let traffic = running.gateway.admin().traffic();
    let seen = &traffic.environments["production"].names;
    let heard = seen.iter().filter(|(name, it)| name.contains("silent") && it.trouble.is_some()).count();
    assert!(heard < 130, "the others are asked meanwhile: {heard}");
}

#[tokio::test]
async fn a_hostile_answer_is_bounded_and_leads_neither_here_nor_to_secrets() {
    let names = NameServer::start();
    let [local] = instances(["127.0.0.1"]);
    let running = gateway(&names, false);
    names.addresses(NAME, &["127.0.0.1", "169.254.169.254", "::1", "0.0.0.0", "fd00:ec2::254"], 0);
    put(&running, to(1, local.address.port(), &Approach::default())).await;
    assert_eq!((ask(&running).0, local.served()), (503, 0));
    let many = (0..3_000_u16).map(|n| IpAddr::from([10, 9, n.to_be_bytes()[0], n.to_be_bytes()[1]]));
    names.say(NAME, Say::Addresses(many.collect(), 0));
    let label =
        format!("{{deployment_environment_name=\"production\",name=\"{NAME}:{}\"}}", local.address.port());
    wait_until("as many are taken as may be", || {
        metrics_say(&running, &format!("lockstep_gateway_name_addresses{label} {MAX_ADDRESSES}"))
    });
}

#[tokio::test]
async fn the_gateway_itself_is_no_instance_by_any_name() {
    let names = NameServer::start();
    names.addresses(NAME, &["127.0.0.1"], 0);
    let running = gateway(&names, true);
    put(&running, to(1, running.address.port(), &Approach::default())).await;
    let (status, text) = ask(&running);
    assert!(status == 503 && text.contains("no_instance"), "{status} {text}");
}

#[tokio::test]
async fn an_address_at_which_the_gateway_comes_to_listen_is_left_at_once() {
    let names = NameServer::start();
    names.addresses(NAME, &["127.0.0.1"], 60);
    let running = gateway(&names, true);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    put(&running, to(1, address.port(), &Approach::default())).await;
    drop(free);
    let (_, text) = ask(&running);
    assert!(text.contains("unreachable"), "it is asked while somebody else may listen there: {text}");
    running.gateway.listen(&environment(), address).unwrap();
    let (status, text) = ask(&running);
    assert!(status == 503 && text.contains("no_instance"), "{status} {text}");
}

#[tokio::test]
async fn within_tls_the_certificate_is_for_the_name_and_not_for_the_address() {
    let (names, authority) = (NameServer::start(), Authority::new());
    let [right, wrong] = listeners(["127.0.0.1", "127.0.0.2"]);
    let port = right.local_addr().unwrap().port();
    secure_on(right, &authority.signs(NAME), counting);
    secure_on(wrong, &authority.signs("127.0.0.2"), counting);
    let tls = InstanceTls {
        server_name: None,
        ca_pem: Some(authority.1.clone()),
        certificate: None,
        believes: Believes::Checked,
    };
    let approach = Approach { tls: Some(Box::new(tls)), proxy_protocol: None };
    let running = gateway(&names, true);
    names.addresses(NAME, &["127.0.0.1"], 0);
    put(&running, to(1, port, &approach)).await;
    assert_eq!(ask(&running), (200, "1".into()));
    names.addresses(NAME, &["127.0.0.2"], 0);
    wait_until("who cannot show the name gets nothing", || ask(&running).0 == 503);
    assert!(ask(&running).1.contains("its certificate is for `127.0.0.2` only"), "{:?}", ask(&running));
}

/// Two instances in one zone, one in another, and a gateway in the first.
fn in_zones(near: &[SocketAddr], far: SocketAddr) -> (Running, RouteTable) {
    let config = GatewayConfig {
        workers: NonZeroUsize::new(2).unwrap(),
        zone: Some("eu-1a".parse().unwrap()),
        ..GatewayConfig::new("test")
    };
    let gateway = Gateway::start(config).unwrap();
    let address = gateway.listen(&environment(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let ids = ["near-1", "near-2", "near-3"];
    let mut all: Vec<(&str, SocketAddr)> = ids.into_iter().zip(near.iter().copied()).collect();
    all.push(("far-1", far));
    let mut table = table(1, &[stable(0, &all)]);
    for endpoint in table.services.values_mut().flat_map(|it| &mut it.splits).flat_map(|it| &mut it.endpoints)
    {
        let zone = if endpoint.instance.as_str().starts_with("near") { "eu-1a" } else { "eu-1b" };
        endpoint.zone = Some(zone.parse().unwrap());
    }
    let table = table.in_its_format();
    assert_eq!(table.format, FORMAT_WITH_NAMES);
    gateway.apply(table.clone()).unwrap();
    (Running { gateway: gateway.into(), address }, table)
}

#[test]
fn the_own_zone_is_asked_first_and_others_when_it_cannot() {
    let [one, two, far] = ["one", "two", "far"].map(Instance::named);
    let (running, mut table) = in_zones(&[one.address, two.address], far.address);
    for _ in 0..100 {
        assert_ne!(ask(&running).1, "far");
    }
    let zones = |running: &Running| {
        let traffic = running.gateway.admin().traffic();
        traffic.environments["production"].versions["shop@1.0.0"].zones.unwrap()
    };
    assert_eq!(zones(&running), [100, 0]);
    one.kill();
    // One of two healthy ones carries 70 %.
    wait_until("some leave the zone", || ask(&running).1 == "far");
    two.kill();
    for _ in 0..20 {
        assert_eq!(ask(&running), (200, "far".into()), "nobody of the zone is there");
    }
    assert!(zones(&running)[1] > 20);
    assert!(metrics_say(
        &running,
        "lockstep_gateway_zone_requests_total{deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",config=\"0\",zone=\"other\"}"
    ));
    table.revision = 2;
    for split in table.services.values_mut().flat_map(|it| &mut it.splits) {
        split.endpoints.retain(|it| it.instance.as_str() == "far-1");
    }
    running.gateway.apply(table).unwrap();
    assert_eq!(ask(&running).1, "far");
}

#[test]
fn what_the_own_zone_has_no_room_for_goes_to_another_before_it_is_refused() {
    let ((came, comes), (go, goes)) = (mpsc::channel(), mpsc::channel::<()>());
    let (came, goes) = (std::sync::Mutex::new(came), std::sync::Mutex::new(goes));
    let near = Instance::start(move |_, stream| {
        came.lock().unwrap().send(()).unwrap();
        let _ = goes.lock().unwrap().recv();
        answer(stream, 200, b"near")
    });
    let far = Instance::start(|_, stream| {
        answer(stream, 200, b"far")?;
        Ok(Then::Stay)
    });
    let (running, mut table) = in_zones(&[near.address], far.address);
    table.revision = 2;
    for split in table.services.values_mut().flat_map(|it| &mut it.splits) {
        let policy = lockstep_domain::routes::service_policy::ServicePolicy {
            max_requests: Some(1),
            ..Default::default()
        };
        split.policy = Some(policy.into());
        split.protocol = Protocol::Http1;
    }
    running.gateway.apply(table).unwrap();
    let mut client = Client::connect(running.address);
    client.send("GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    comes.recv().unwrap();
    for _ in 0..20 {
        wait_until("the one before is over", || running.in_flight() == 1);
        assert_eq!(ask(&running), (200, "far".into()));
    }
    drop(go);
    assert_eq!(client.read().unwrap().text(), "near");
}
