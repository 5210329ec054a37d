//! Routes with conditions: declared in a manifest, in force with its version, refused where they conflict, and rolled back with it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

fn write(repository: &Repository, name: &str, text: &str, routes: &str) {
    let plain = manifest(name, "", "");
    let before = format!("[[route]]\npath = \"/{name}\"\n");
    repository.write("lockstep.toml", &plain.replace(&before, routes));
    repository.write("service.py", &service(text));
}

/// Asks the gateway, and returns the whole answer.
fn ask(place: &Place, target: &str, fields: &str) -> String {
    let status = place.status();
    let address = status["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nhost: {address}\r\n{fields}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const SECOND: &str = r#"[[route]]
path = "/store"
methods = ["GET"]
headers = { x-lane = "login" }
response_headers = { set = { x-said = "lane" } }

[[route]]
path = "/old/{id}"
path_type = "template"
redirect = { path = "/store/{id}", status = 308 }
"#;

#[test]
fn a_route_with_conditions_is_in_force_with_its_version_and_goes_back_with_it() {
    let place = Place::begin();
    let repository = place.deployed("store");
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    assert_eq!(place.ask("/old/7").0, 404);

    let first = place.status()["services"][0]["entry"]["version"].as_str().unwrap().to_owned();
    write(&repository, "store", "two", SECOND);
    repository.commit("feat: say two");
    let second = place.release("store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store").0, 404, "it is for requests with the field only");
    let lane = ask(&place, "/store", "x-lane: login\r\n");
    assert!(lane.ends_with("two") && lane.contains("x-said: lane\r\n"), "{lane}");
    let old = ask(&place, "/old/7?q=1", "");
    assert!(old.contains(" 308 ") && old.contains("location: /store/7?q=1\r\n"), "{old}");

    place.run(&["rollback", "store", "--env", ENVIRONMENT, "--to", &first]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    assert_eq!(place.ask("/old/7").0, 404);
}

#[test]
fn two_services_can_share_a_path_by_conditions_and_not_by_the_same_ones() {
    let place = Place::begin();
    place.deployed("store");
    let other = place.repository("other");
    let lane = "[[route]]\npath = \"/store\"\nheaders = { x-lane = \"login\" }\n";
    write(&other, "other", "other", lane);
    let first = place.first_release(&other, "other");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store"), (200, "one".to_owned()));
    assert!(ask(&place, "/store", "x-lane: login\r\n").ends_with("other"));

    write(&other, "other", "again", "[[route]]\npath = \"/store\"\n");
    other.commit("feat: say again");
    let second = place.release("other");
    let refused = place.fail(&["deploy", &second, "--env", ENVIRONMENT], 3);
    assert!(refused.contains("*/store"), "{refused}");
}
