//! An environment that is reached by https: certificates that are added, replaced and refused, gateways of their own, and clients
//! that show certificates.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustls::ClientConfig;

use crate::support::eventually;
use crate::support::gateway::StandaloneGateway;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::secure::{Authority, Files, Secured, free_port};

const HOST: &str = "shop.test";
const EXPECTED: &str = "\r\n\r\none";

fn add(files: &Files, more: &[&'static str]) -> Vec<String> {
    let fixed = ["certificate", "add", "--cert", &files.chain, "--key", &files.key, "--env", ENVIRONMENT];
    fixed.iter().chain(more).map(|it| (*it).to_owned()).collect()
}

fn replace(files: &Files) -> Vec<String> {
    let fixed = ["certificate", "replace", "shop-test", "--cert", &files.chain, "--key", &files.key];
    fixed.iter().chain(&["--env", ENVIRONMENT]).map(|it| (*it).to_owned()).collect()
}

fn run(place: &Place, arguments: &[String]) -> String {
    place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn fail(place: &Place, arguments: &[String], expected: i32) -> String {
    place.fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), expected)
}

fn set(place: &Place, arguments: &[&str]) -> String {
    place.run(&[&["environment", "set", ENVIRONMENT], arguments].concat())
}

/// Asks on a new connection until the answer is there.
fn served(port: u16, config: &Arc<ClientConfig>) -> Secured {
    eventually("it is served by https", || {
        let mut client = Secured::connect(port, HOST, config).ok()?;
        client.get(HOST, "/store").ok()?.ends_with(EXPECTED).then_some(client)
    })
}

/// An environment with a service and https.
fn secured(place: &Place) -> (Authority, u16) {
    place.deployed("store");
    let (authority, port) = (Authority::new(place, "authority"), free_port());
    set(place, &["--https-port", &port.to_string()]);
    let said = place.run(&["status", ENVIRONMENT]);
    assert!(said.contains("https has no certificate"), "{said}");
    let said = run(place, &add(&authority.sign("first", &[HOST], |_| {}), &[]));
    assert!(said.contains("certificate shop-test of development is shown, for shop.test"), "{said}");
    (authority, port)
}

#[test]
fn a_certificate_is_added_and_replaced_under_load_without_a_lost_connection() {
    let mut place = Place::begin();
    let (authority, port) = secured(&place);
    let config = authority.client(None);
    let mut kept = served(port, &config);
    let before = kept.shown();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = |is_kept: bool| {
            let (config, stop) = (&config, &stop);
            move || {
                let mut client = Secured::connect(port, HOST, config).unwrap();
                while !stop.load(Ordering::SeqCst) {
                    if !is_kept {
                        client = Secured::connect(port, HOST, config).unwrap();
                    }
                    assert!(client.get(HOST, "/store").unwrap().ends_with(EXPECTED));
                }
            }
        };
        scope.spawn(client(true));
        scope.spawn(client(false));
        for round in 0..3 {
            let said = run(&place, &replace(&authority.sign(&format!("next-{round}"), &[HOST], |_| {})));
            assert!(said.contains("certificate shop-test of development is another one now"), "{said}");
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert!(kept.get(HOST, "/store").unwrap().ends_with(EXPECTED), "a connection keeps what it began with");
    eventually("the last one is shown", || (served(port, &config).shown() != before).then_some(()));
    let listed = place.json(&["certificate", "list", "--env", ENVIRONMENT]);
    assert_eq!(listed["certificates"][0]["by"], "ann@example.org");
    // After a restart the server shows it again, and no text that it gives anybody has the key.
    place.kill_server();
    place.start_server();
    served(port, &config);
    let key = std::fs::read_to_string(format!("{}/next-2.key", place.path("authority"))).unwrap();
    let secret: String = key.lines().nth(1).unwrap().to_owned();
    let texts = [
        place.run(&["journal", "export"]),
        place.run(&["certificate", "show", "shop-test", "--env", ENVIRONMENT, "--json"]),
        place.run(&["status", ENVIRONMENT, "--json"]),
    ];
    texts.iter().for_each(|text| assert!(!text.contains(&secret)));
    place.run(&["certificate", "remove", "shop-test", "--env", ENVIRONMENT, "--yes"]);
    eventually("nobody is served without one", || Secured::connect(port, HOST, &config).err());
    assert!(place.run(&["status", ENVIRONMENT]).contains("https has no certificate"));
}

#[test]
fn a_certificate_that_is_not_good_is_refused_with_everything_that_is_wrong_and_leaves_the_good_one() {
    let place = Place::begin();
    let (authority, port) = secured(&place);
    let config = authority.client(None);
    let good = served(port, &config).shown();
    let over = authority.sign("over", &[HOST], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let other = authority.sign("other", &["other.test"], |_| {});
    let mixed = Files { chain: over.chain.clone(), key: other.key };
    let said = fail(&place, &replace(&mixed), 3);
    assert!(
        said.contains("ended at 2021-01-01") && said.contains("not the one of the certificate"),
        "{said}"
    );
    let said = fail(&place, &add(&over, &[]), 3);
    assert!(said.contains("ended at 2021-01-01"), "{said}");
    let said = fail(&place, &add(&authority.sign("again", &[HOST], |_| {}), &[]), 6);
    assert!(said.contains("lockstep certificate replace shop-test"), "{said}");
    fail(&place, &add(&Files { chain: over.key.clone(), key: over.key }, &["--name", "x"]), 3);
    assert_eq!(served(port, &config).shown(), good);
    // One that ends soon is taken, and said in the status until it is replaced.
    let soon = authority.sign("soon", &[HOST], |params| {
        let now = std::time::SystemTime::now() + std::time::Duration::from_secs(12 * 86_400 + 3_600);
        params.not_after = now.into();
    });
    run(&place, &replace(&soon));
    let said = place.run(&["status", ENVIRONMENT]);
    assert!(said.contains("the certificate of shop.test ends in 12 days"), "{said}");
}

#[test]
fn a_gateway_of_its_own_names_the_port_in_redirects_by_which_clients_come_to_it() {
    let place = Place::begin();
    let (_, port) = secured(&place);
    set(&place, &["--http", "redirect"]);
    let listen = format!("127.0.0.1:{}", free_port());
    let gateway = StandaloneGateway::follow_with(&place, &["--listen-tls", &listen, "--https-port", "443"]);
    let location = |address: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).ok()?;
        stream.write_all(b"GET /store HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split("location: ").nth(1)?.split('\r').next()?.to_owned())
    };
    let own = eventually("its clients are redirected", || location(gateway.address()));
    assert_eq!(own, "https://shop.test/store");
    let inside = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let expected = format!("https://shop.test:{port}/store");
    assert_eq!(eventually("clients of the server are too", || location(&inside)), expected);
}

#[test]
fn a_certificate_for_fewer_hosts_is_taken_only_by_who_says_so_and_the_hosts_are_named() {
    let place = Place::begin();
    let (authority, port) = secured(&place);
    let config = authority.client(None);
    run(&place, &replace(&authority.sign("three", &[HOST, "a.shop.test", "b.shop.test"], |_| {})));
    let fewer = authority.sign("fewer", &[HOST], |_| {});
    let said = fail(&place, &replace(&fewer), 3);
    assert!(
        said.contains("- a.shop.test") && said.contains("- b.shop.test") && said.contains("--yes"),
        "{said}"
    );
    assert!(!said.contains("- shop.test"), "{said}");
    eventually("the one for three is shown", || Secured::connect(port, "b.shop.test", &config).ok());
    // Another certificate that is for a host keeps it from being lost.
    run(&place, &add(&authority.sign("below", &["*.shop.test"], |_| {}), &[]));
    run(&place, &replace(&fewer));
    place.run(&["certificate", "remove", "all-shop-test", "--env", ENVIRONMENT, "--yes"]);
    let other = replace(&authority.sign("other", &["other.test"], |_| {}));
    fail(&place, &other, 3);
    run(&place, &[other, vec!["--yes".to_owned()]].concat());
    eventually("the host is gone", || Secured::connect(port, HOST, &config).err());
}

#[test]
fn plain_http_is_sent_to_https_and_clients_show_certificates_where_the_environment_says_so() {
    let place = Place::begin();
    let (authority, port) = secured(&place);
    let config = authority.client(None);
    served(port, &config);
    let said = place.fail(&["environment", "set", "staging", "--http", "redirect"], 3);
    assert!(said.contains("--https-port"), "{said}");
    let same = place.fail(&["environment", "set", "staging", "--https-port", &port.to_string()], 3);
    assert!(same.contains("belongs to the gateway of `development`"), "{same}");
    set(&place, &["--http", "redirect"]);
    let plain = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    eventually("plain HTTP is sent to https", || {
        (crate::support::get(&plain, "/store", 1).ok()?.0 == 308).then_some(())
    });
    let people = Authority::new(&place, "people");
    set(&place, &["--client-ca", &people.file()]);
    eventually("who shows none is refused", || {
        let asked = Secured::connect(port, HOST, &config).and_then(|mut client| client.get(HOST, "/store"));
        asked.err()
    });
    served(port, &authority.client(Some((&people, "ann.people.test"))));
    set(&place, &["--client-ca", "none", "--tls-min", "1.3"]);
    served(port, &config);
    let shown = place.run(&["environment", "set", ENVIRONMENT, "--warm", "10m"]);
    assert!(shown.contains("plain http") && shown.contains("1.3 and newer"), "{shown}");
}

#[test]
fn a_gateway_of_its_own_gets_its_certificates_with_its_key_and_starts_without_a_server() {
    let mut place = Place::begin();
    let (authority, _) = secured(&place);
    let config = authority.client(None);
    let port = free_port();
    let mut gateway = StandaloneGateway::follow_with(&place, &["--listen-tls", &format!("127.0.0.1:{port}")]);
    let first = served(port, &config).shown();
    run(&place, &replace(&authority.sign("second", &[HOST], |_| {})));
    let second = eventually("the new one is shown", || {
        let shown = served(port, &config).shown();
        (shown != first).then_some(shown)
    });
    // It lies with its tables, for its owner alone, and the one before it is gone.
    let stored: Vec<_> =
        std::fs::read_dir(place.path("gateway")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let kept: Vec<_> =
        stored.iter().filter(|path| path.to_string_lossy().ends_with(".certificate.pem")).collect();
    assert_eq!(kept.len(), 1, "{stored:?}");
    assert_eq!(kept[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    place.kill_server();
    gateway.kill();
    gateway.start_again();
    assert_eq!(served(port, &config).shown(), second);
    place.start_server();
    // The table says digests, and only the key of a gateway of the environment gets what they mean.
    let table = ureq(&place, &format!("/api/v1/environments/{ENVIRONMENT}/routes"), None);
    let digest = table.split("\"certificates\":").nth(1).unwrap().split("\"digest\":\"").nth(1).unwrap();
    let digest = digest.split('"').next().unwrap();
    let path = format!("/api/v1/environments/{ENVIRONMENT}/gateway-certificates/{digest}");
    let key = std::fs::read_to_string(place.path("gateway.key")).unwrap();
    assert!(ureq(&place, &path, Some(key.trim())).contains("PRIVATE KEY"));
    assert!(ureq(&place, &path, None).starts_with("HTTP/1.1 401"));
    let added = place.json(&["gateway", "add", "thief", "--env", "staging"]);
    let refused = ureq(&place, &path, added["key"].as_str());
    assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("PRIVATE KEY"), "{refused}");
}

/// Asks the server with a key, or as anybody.
fn ureq(place: &Place, path: &str, key: Option<&str>) -> String {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(place.address()).unwrap();
    let bearer = key.map(|key| format!("authorization: Bearer {key}\r\n")).unwrap_or_default();
    let address = place.address();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n{bearer}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
