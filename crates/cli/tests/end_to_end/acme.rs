//! Certificates that an authority gives by ACME, and that renew themselves: from asking for one to clients that are shown it, through
//! everything that an authority, a gateway and a server that is killed can do meanwhile.

use serde_json::Value;

use crate::support::acme::{AcmeServer, Faults, Ports};
use crate::support::gateway::StandaloneGateway;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::secure::{Authority, Secured, free_port};
use crate::support::{eventually, get};

const HOST: &str = "shop.test";

/// An environment with a service and https, and where it listens.
fn environment(place: &Place) -> Ports {
    place.deployed("store");
    let tls = free_port();
    place.run(&["environment", "set", ENVIRONMENT, "--https-port", &tls.to_string()]);
    let http = place.status()["gateway"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    Ports { http, tls }
}

/// Asks for a certificate: `lockstep certificate acme` with these further arguments.
fn asking<'a>(acme: &'a AcmeServer, ca: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = ["certificate", "acme", "--directory", acme.directory(), "--ca", ca, "--env", ENVIRONMENT];
    [&fixed, more].concat()
}

fn listed(place: &Place) -> Value {
    place.json(&["certificate", "list", "--env", ENVIRONMENT])
}

/// Waits until a client is shown a certificate for a host by the authority, and is served.
fn shown(acme: &AcmeServer, port: u16, host: &str) -> Vec<u8> {
    let config = acme.client();
    eventually("the certificate is shown", || {
        let mut client = Secured::connect(port, host, &config).ok()?;
        client.get(host, "/store").ok()?.ends_with("one").then(|| client.shown())
    })
}

#[test]
fn a_certificate_of_two_hosts_is_got_by_a_path_and_renewed_while_the_old_one_is_shown() {
    let place = Place::begin();
    let ports = environment(&place);
    let acme = AcmeServer::start(&place, ports, Faults { processing: 2, ..Faults::default() });
    let ca = acme.ca();
    let hosts = ["--host", "Shop.test,www.shop.test", "--email", "ann@example.org"];
    let said = place.fail(&asking(&acme, &ca, &hosts), 3);
    assert!(said.contains("https://acme.test/terms") && said.contains("--accept-terms"), "{said}");
    assert_eq!(acme.made(), (0, 0), "nobody agreed");
    let said = place.run(&asking(&acme, &ca, &[&hosts[..], &["--accept-terms"]].concat()));
    assert!(said.contains("certificate shop-test of development, for shop.test, www.shop.test"), "{said}");
    let first = shown(&acme, ports.tls, "www.shop.test");
    assert_eq!(acme.count("chall/0-0/http-01"), 1);
    let list = listed(&place);
    assert_eq!(list["certificates"][0]["by"], "lockstep");
    assert_eq!(
        (list["automatic"][0]["state"].as_str(), list["automatic"][0]["failures"].as_u64()),
        (Some("good"), Some(0))
    );
    // The service has the paths again that are of no order.
    let (status, text) =
        get(&format!("127.0.0.1:{}", ports.http), "/.well-known/acme-challenge/mine", 1).unwrap();
    assert!(status == 404 && !text.contains("token-"), "{status} {text}");
    let said = place.run(&["certificate", "renew", "shop-test", "--env", ENVIRONMENT]);
    assert!(said.contains("renewed by https://127.0.0.1"), "{said}");
    let second = eventually("the new one is shown", || {
        let now = shown(&acme, ports.tls, HOST);
        (now != first).then_some(now)
    });
    assert_ne!(first, second);
    assert_eq!(acme.made(), (2, 1), "the account is the same");
    // The account and the keys are in files of the server's user; nothing that anybody is given has them.
    let texts = [
        place.run(&["journal", "export"]),
        listed(&place).to_string(),
        place.run(&["status", ENVIRONMENT, "--json"]),
    ];
    texts
        .iter()
        .for_each(|text| assert!(!text.contains("PRIVATE KEY") && !text.contains("key_pkcs8"), "{text}"));
    place.run(&["certificate", "remove", "shop-test", "--env", ENVIRONMENT, "--yes"]);
    assert!(listed(&place)["automatic"].is_null(), "it is not renewed any more");
}

#[test]
fn a_certificate_is_got_by_a_handshake_where_that_is_what_the_authority_offers() {
    let place = Place::begin();
    let ports = environment(&place);
    let acme = AcmeServer::start(&place, ports, Faults { only: Some("tls-alpn-01"), ..Faults::default() });
    let ca = acme.ca();
    let config = acme.client();
    assert!(Secured::connect(ports.tls, HOST, &config).is_err(), "there is no certificate yet");
    place.run(&asking(&acme, &ca, &["--host", HOST, "--accept-terms", "--challenge", "tls-alpn-01"]));
    shown(&acme, ports.tls, HOST);
    assert_eq!(acme.count("chall/0-0/tls-alpn-01"), 1);
    // Told to look by a path, which it does not offer, it says so, and no second order is placed at once.
    let said =
        place.fail(&asking(&acme, &ca, &["--host", "a.test", "--accept-terms", "--challenge", "http-01"]), 1);
    assert!(
        said.contains("it does not look at a.test by http-01") && said.contains("renew a-test"),
        "{said}"
    );
    assert_eq!(acme.made().0, 2);
}

#[test]
fn every_gateway_answers_before_the_authority_is_told_also_one_of_its_own() {
    let place = Place::begin();
    let ports = environment(&place);
    let port = free_port();
    let gateway = StandaloneGateway::follow_with(&place, &["--listen-tls", &format!("127.0.0.1:{port}")]);
    let http = gateway.address().rsplit(':').next().unwrap().parse().unwrap();
    // The authority comes by the gateway of its own alone.
    let acme = AcmeServer::start(&place, Ports { http, tls: port }, Faults::default());
    let ca = acme.ca();
    place.run(&asking(&acme, &ca, &["--host", HOST, "--accept-terms", "--challenge", "http-01"]));
    place.run(&asking(&acme, &ca, &["--host", "b.test", "--accept-terms", "--challenge", "tls-alpn-01"]));
    for port in [port, ports.tls] {
        shown(&acme, port, HOST);
        shown(&acme, port, "b.test");
    }
    assert_eq!((acme.count("chall/0-0/http-01"), acme.count("chall/1-0/tls-alpn-01")), (1, 1));
    assert_eq!(acme.made(), (2, 1));
}

#[test]
fn an_authority_that_is_busy_forgets_nonces_and_takes_its_time_gets_no_second_order() {
    for seed in [1, 7, 42] {
        let place = Place::begin();
        let ports = environment(&place);
        let faults = Faults { processing: 1, ..Faults::default() };
        let acme = AcmeServer::start(&place, ports, faults);
        let ca = acme.ca();
        // The account is made while somebody waits; what is unlucky then is told at once.
        place.run(&asking(&acme, &ca, &["--host", "first.test", "--accept-terms"]));
        place.run(&asking(&acme, &ca, &["--host", HOST, "--accept-terms", "--no-wait"]));
        eventually("the order is placed", || (acme.made().0 == 2).then_some(()));
        acme.behave(|faults| (faults.percent, faults.seed) = (8, seed));
        shown(&acme, ports.tls, HOST);
        assert_eq!(acme.made(), (2, 1), "seed {seed}");
    }
}

#[test]
fn a_server_that_is_killed_at_any_step_goes_on_with_the_order_that_it_has() {
    let mut place = Place::begin();
    let ports = environment(&place);
    let acme = AcmeServer::start(&place, ports, Faults::default());
    let ca = acme.ca();
    place.run(&asking(&acme, &ca, &["--host", "first.test", "--accept-terms"]));
    for (round, path) in ["/authz", "/chall", "/finalize", "/cert"].into_iter().enumerate() {
        let host = format!("h{round}.test");
        acme.behave(|faults| faults.instead = Some((path, 503, "", "busy".into())));
        let before = acme.count(path.trim_start_matches('/'));
        place.run(&asking(&acme, &ca, &["--host", &host, "--accept-terms", "--no-wait"]));
        eventually("the step is tried", || (acme.count(path.trim_start_matches('/')) > before).then_some(()));
        place.kill_server();
        acme.behave(|faults| faults.instead = None);
        place.start_server();
        shown(&acme, ports.tls, &host);
        assert_eq!(acme.made(), (2 + round, 1), "{path}");
    }
}

#[test]
fn what_fails_is_told_and_tried_again_later_and_a_new_start_owes_the_pause() {
    let mut place = Place::begin();
    let ports = environment(&place);
    let acme = AcmeServer::start(&place, ports, Faults { finds_nobody: true, ..Faults::default() });
    let ca = acme.ca();
    let said = place.fail(&asking(&acme, &ca, &["--host", HOST, "--accept-terms"]), 1);
    assert!(said.contains("shop.test: nobody is there") && said.contains("tried again at"), "{said}");
    let said = place.run(&["status", ENVIRONMENT]);
    assert!(
        said.contains("no certificate of shop.test was got, once")
            && !said.contains("https has no certificate"),
        "{said}"
    );
    let said = place.run(&["certificate", "list", "--env", ENVIRONMENT]);
    assert!(said.contains("not there yet") && said.contains("failed once, again at"), "{said}");
    let next = listed(&place)["automatic"][0]["next"].clone();
    place.kill_server();
    place.start_server();
    assert_eq!(listed(&place)["automatic"][0]["next"], next);
    assert_eq!(acme.made().0, 1, "a pause is owed over a start");
    // Whoever has mended it need not wait; by turns the authority looks in the other way.
    acme.behave(|faults| faults.finds_nobody = false);
    place.run(&["certificate", "renew", "shop-test", "--env", ENVIRONMENT]);
    shown(&acme, ports.tls, HOST);
    assert_eq!(acme.count("chall/1-0/tls-alpn-01"), 1);
    assert!(!place.run(&["status", ENVIRONMENT]).contains("was got"));
}

#[test]
fn an_authority_that_is_hostile_or_wrong_costs_one_order_and_is_told() {
    let place = Place::begin();
    let ports = environment(&place);
    let acme = AcmeServer::start(&place, ports, Faults::default());
    let ca = acme.ca();
    // Before there is an account, everything is said at once and nothing is recorded.
    let directory = |content: &str, status, field| {
        acme.behave(|faults| faults.instead = Some(("/dir", status, field, content.to_owned())));
        place.fail(&asking(&acme, &ca, &["--host", HOST, "--accept-terms"]), 5)
    };
    assert!(directory("<html>hello", 200, "").contains("its directory cannot be read"));
    assert!(directory(&"x".repeat(1 << 20), 200, "").contains("longer than"), "it is bounded");
    assert!(directory("", 302, "location: https://127.0.0.1:1/dir").contains("leads elsewhere"));
    let elsewhere = r#"{"newNonce": "http://127.0.0.1:1/n", "newAccount": "http://127.0.0.1:1/a", "newOrder": "http://127.0.0.1:1/o"}"#;
    assert!(directory(elsewhere, 200, "").contains("could read what is said"));
    assert!(directory("busy", 503, "retry-after: 18446744073709551615").contains("503"));
    assert!(listed(&place)["automatic"].is_null());
    acme.behave(|faults| faults.instead = None);
    let wrong = |change: fn(&mut Faults), host: &str, expected: &str| {
        acme.behave(change);
        let said = place.fail(&asking(&acme, &ca, &["--host", host, "--accept-terms"]), 1);
        assert!(said.contains(expected), "{said}");
        acme.behave(|faults| *faults = Faults::default());
    };
    wrong(|faults| faults.token_prefix = "../", "a.test", "is none that RFC 8555 allows");
    wrong(|faults| faults.wrong_host = true, "b.test", "is not for b.test");
    wrong(|faults| faults.over = true, "c.test", "ended at");
    wrong(|faults| faults.limited = (1, 7_200), "d.test", "too many orders (rateLimited)");
    assert_eq!(acme.made().0, 3);
    let list = listed(&place);
    let next = |name: &str| {
        let all = list["automatic"].as_array().unwrap();
        let found = all.iter().find(|it| it["name"] == name).unwrap();
        found["next"].as_str().unwrap().to_owned()
    };
    let hours = |text: &str| text[..13].to_owned();
    // What was given in vain is not asked for again for a day and a half, and a pause that was asked for is kept.
    assert!(next("b-test") > next("d-test") && next("d-test") > next("a-test"), "{list}");
    assert_ne!(hours(&next("a-test")), hours(&next("b-test")));
    assert!(listed(&place)["certificates"].as_array().unwrap().is_empty());
}

#[test]
fn an_account_is_bound_to_an_external_one_where_the_authority_wants_that() {
    let place = Place::begin();
    let ports = environment(&place);
    let external = Some(("kid-1".to_owned(), b"a secret of both".to_vec()));
    let acme = AcmeServer::start(&place, ports, Faults { external_account: external, ..Faults::default() });
    let ca = acme.ca();
    let plain = ["--host", HOST, "--accept-terms"];
    let said = place.fail(&asking(&acme, &ca, &plain), 3);
    assert!(said.contains("--eab-kid"), "{said}");
    let (good, bad) = (place.path("good.key"), place.path("bad.key"));
    std::fs::write(&good, "YSBzZWNyZXQgb2YgYm90aA==\n").unwrap();
    std::fs::write(&bad, "YW5vdGhlcg").unwrap();
    let with = |file| asking(&acme, &ca, &[&plain[..], &["--eab-kid", "kid-1", "--eab-key", file]].concat());
    let said = place.fail(&with(&bad), 3);
    assert!(said.contains("the external account is not proved"), "{said}");
    place.run(&with(&good));
    shown(&acme, ports.tls, HOST);
    assert!(!place.run(&["journal", "export"]).contains("YSBzZWNyZXQ"), "its key is not kept");
}

#[test]
fn a_certificate_that_was_given_by_hand_is_taken_over_without_a_gap_and_given_back_by_who_says_so() {
    let place = Place::begin();
    let ports = environment(&place);
    let acme = AcmeServer::start(&place, ports, Faults::default());
    let ca = acme.ca();
    let authority = Authority::new(&place, "by-hand");
    let files = authority.sign("first", &[HOST, "www.shop.test"], |_| {});
    place.run(&["certificate", "add", "--cert", &files.chain, "--key", &files.key, "--env", ENVIRONMENT]);
    let said = place.fail(&asking(&acme, &ca, &["--host", HOST, "--accept-terms"]), 3);
    assert!(said.contains("- www.shop.test") && said.contains("--yes"), "{said}");
    place.run(&asking(&acme, &ca, &["--host", "shop.test,www.shop.test", "--accept-terms"]));
    shown(&acme, ports.tls, "www.shop.test");
    let replace = [
        "certificate",
        "replace",
        "shop-test",
        "--cert",
        &files.chain,
        "--key",
        &files.key,
        "--env",
        ENVIRONMENT,
    ];
    let said = place.fail(&replace, 3);
    assert!(said.contains("is renewed by https://127.0.0.1"), "{said}");
    place.run(&[&replace[..], &["--yes"]].concat());
    assert!(listed(&place)["automatic"].is_null());
}

#[test]
fn what_cannot_be_asked_for_is_said_at_once_with_all_that_is_wrong() {
    let place = Place::begin();
    let said = place.fail(
        &[
            "certificate",
            "acme",
            "--host",
            "*.shop.test,10.0.0.1",
            "--directory",
            "http://ca.test/dir",
            "--env",
            ENVIRONMENT,
        ],
        3,
    );
    for expected in ["answers for the name in DNS", "is an address", "is no address of an authority"] {
        assert!(said.contains(expected), "{said}");
    }
    let said = place.fail(&["certificate", "renew", "shop-test", "--env", ENVIRONMENT], 4);
    assert!(said.contains("no certificate `shop-test`"), "{said}");
}
