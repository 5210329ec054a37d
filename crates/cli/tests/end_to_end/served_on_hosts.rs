//! What Lockstep serves or passes on itself, and what is prepared before a start, on a host.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use super::hosts::Bench;
use super::support::place::ENVIRONMENT;
use super::support::repository::{manifest, service};

const PAGES: &str = "name = \"pages\"\n\n[[route]]\npath = \"/pages\"\nstrip_prefix = true\n\n[package]\ninclude = [\"dist\"]\n\n\
[run]\nkind = \"static\"\nroot = \"dist\"\nhealth = { http = \"/\", interval = \"100ms\", start_timeout = \"20s\" }\n";

/// Somebody else's server, which answers each request with a word.
fn partner() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ =
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\npartner");
        }
    });
    port
}

#[test]
fn files_and_relays_run_on_a_host_and_a_command_before_each_start() {
    let bench = Bench::begin();
    let place = &bench.place;
    bench.added("web1");
    let pages = place.repository("pages");
    pages.write("lockstep.toml", PAGES);
    pages.write("dist/index.html", "a page");
    let version = place.first_release(&pages, "pages");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/pages/").1, "a page");

    let paying = place.repository("paying");
    let (port, routed) = (partner(), "[[route]]\npath = \"/paying\"\nstrip_prefix = true\n");
    let text = format!(
        "name = \"paying\"\n{routed}[run]\nkind = \"external\"\naddress = \"http://127.0.0.1:{port}\"\n"
    );
    paying.write("lockstep.toml", &format!("{text}version = {{ path = \"/version\" }}\n"));
    let asks = place.first_release(&paying, "paying");
    let refused = place.fail(&["deploy", &asks, "--env", ENVIRONMENT], 3);
    assert!(
        refused.contains("it is asked for its `version` through a relay on the machine of the server"),
        "{refused}"
    );
    paying.write("lockstep.toml", &text);
    paying.commit("feat: asked for nothing");
    let version = place.release("paying");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/paying/").1, "partner");

    let store = place.repository("store");
    let warm = "prepare = [\"sh\", \"-c\", \"echo warms $LOCKSTEP_SERVICE; exit $(cat ends)\"]\n";
    let written = manifest("store", "", "").replace("[run]\n", &format!("[run]\n{warm}"));
    store.write("lockstep.toml", &written);
    store.write("service.py", &service("one"));
    store.write("ends", "0");
    let version = place.first_release(&store, "store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store").1, "one");
    let status = place.status();
    let services = status["services"].as_array().unwrap();
    let of_store = services.iter().find(|it| it["service"] == "store").unwrap();
    let instance = of_store["instances"][0]["id"].as_str().unwrap().to_owned();
    let log = place.run(&["logs", &instance, "--env", ENVIRONMENT]);
    assert!(log.contains(" out prepare: warms store\n"), "{log}");
    store.write("ends", "7");
    store.commit("feat: the cache is gone");
    let version = place.release("store");
    let back = place.fail(&["deploy", &version, "--env", ENVIRONMENT], 1);
    assert!(back.contains("exit code 7 of its `prepare` command"), "{back}");
    assert!(back.contains(" out prepare: warms store"), "{back}");
    assert_eq!(place.ask("/store").1, "one");
}
