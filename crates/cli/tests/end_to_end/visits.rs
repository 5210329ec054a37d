//! Visits through a whole server: its gateway and one of its own know the same visitors, while a version takes over, while the key is exchanged,
//! and without the server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::support::eventually;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

fn write_service(repository: &Repository, text: &str) {
    let sticky = "path = \"/store\"\nsticky = { for = \"1h\" }";
    repository.write("lockstep.toml", &manifest("store", "", "").replace("path = \"/store\"", sticky));
    repository.write("service.py", &service(text));
}

/// What a visitor got.
struct Answer {
    body: String,
    /// The cookie that it was given.
    cookie: Option<String>,
    private: bool,
}

fn visit(address: &str, cookie: Option<&str>) -> Option<Answer> {
    let cookie = cookie.map(|it| format!("cookie: {it}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /store HTTP/1.1\r\nhost: {address}\r\n{cookie}connection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: lockstep_visit="));
    let cookie = set.and_then(|set| set.split(';').next()).map(|value| format!("lockstep_visit={value}"));
    Some(Answer { body: body.to_owned(), cookie, private: head.contains("cache-control: private") })
}

#[test]
fn a_visitor_is_kept_by_every_gateway_while_a_version_takes_over_and_the_key_is_exchanged() {
    let mut place = Place::begin();
    let repository = place.repository("store");
    write_service(&repository, "one");
    let one = place.first_release(&repository, "store");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    let own = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut edge = StandaloneGateway::follow(&place);
    let first = eventually("the edge gives a cookie", || visit(edge.address(), None)?.cookie);
    let given = visit(&own, None).unwrap();
    assert!(given.cookie.is_some() && given.private);
    assert!(visit(&own, Some(&first)).unwrap().cookie.is_none(), "one knows the visitors of the other");

    write_service(&repository, "two");
    repository.commit("feat: two");
    let two = place.release("store");
    place.begin_operation(&["deploy", &two, "--env", ENVIRONMENT, "--steps", "99,100", "--bake", "1h"]);
    for address in [&own, edge.address()] {
        eventually("who comes now gets the new version", || {
            visit(address, None)?.body.contains("two").then_some(())
        });
        let kept = visit(address, Some(&first)).unwrap();
        assert!(kept.body.contains("one") && kept.cookie.is_none(), "{}", kept.body);
    }

    let is_known = |address: &str| visit(address, Some(&first)).is_some_and(|it| it.cookie.is_none());
    place.run(&["key", "rotate"]);
    for address in [&own, edge.address()] {
        eventually("what the former key signed is accepted", || is_known(address).then_some(()));
    }
    let second = eventually("the new key signs", || visit(edge.address(), None)?.cookie);
    eventually("the other one knows it", || visit(&own, Some(&second))?.cookie.is_none().then_some(()));

    // Nobody is told the key who is no gateway.
    let keys = std::fs::read_to_string(place.path("tables/development.visits.key"))
        .or_else(|_| std::fs::read_to_string(find(&place, "development.visits.key")));
    let keys = keys.unwrap();
    let shown = [
        place.run(&["routes", "--env", ENVIRONMENT, "--json"]),
        place.run(&["journal", "export"]),
        place.run(&["key", "list", "--json"]),
        place.run(&["status", ENVIRONMENT, "--json"]),
    ];
    for key in keys.lines() {
        assert_eq!(key.len(), 64);
        assert!(shown.iter().all(|text| !text.contains(key)));
    }

    place.kill_server();
    edge.stop();
    edge.start_again();
    assert!(is_known(edge.address()), "with what it has on its disk");
    place.start_server();
    place.run(&["key", "rotate"]);
    eventually("what the key before the former one signed is none", || (!is_known(&own)).then_some(()));
}

/// Finds a file below the folder of a place.
fn find(place: &Place, name: &str) -> std::path::PathBuf {
    let mut folders = vec![std::path::PathBuf::from(place.path("."))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if entry.file_name() == name => return entry.path(),
                false => {}
            }
        }
    }
    panic!("no {name}");
}
