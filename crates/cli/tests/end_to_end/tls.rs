//! A server behind something that ends TLS: commands, streams, gateways of their own and web pages go through it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderName, ORIGIN};
use lockstep_reach::{PlainHttp, Reach, Trust};

use crate::support::front::{Front, Kind};
use crate::support::gateway::StandaloneGateway;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::{Repository, service};
use crate::support::{eventually, get};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn everything_goes_through_a_front_that_ends_tls() {
    through(Kind::Own);
}

#[test]
fn everything_goes_through_nginx_as_the_guide_sets_it_up() {
    through(Kind::Nginx);
}

fn through(kind: Kind) {
    let mut place = Place::begin_public(TOKEN, "localhost");
    let Some(mut front) = Front::before(&place, kind) else {
        eprintln!("nginx is not installed (apt-get install nginx-light), so it is left out");
        return;
    };
    believed_by_who_names_its_authority_only(&place, &front);
    web_pages_of_its_own_name_only(&front);
    let repository = place.deployed("store");
    let two = next_version(&place, &repository, "two");
    assert_eq!(
        ask(&place, &front, &["deploy", &two, "--env", ENVIRONMENT]),
        0,
        "and its events are followed"
    );
    let gateway = StandaloneGateway::follow_through(&place, &front);
    serves(&gateway, "two");
    // Its open request is answered through the front, not only its first one.
    let three = next_version(&place, &repository, "three");
    place.run(&["deploy", &three, "--env", ENVIRONMENT]);
    serves(&gateway, "three");
    front.kill();
    let four = next_version(&place, &repository, "four");
    place.run(&["deploy", &four, "--env", ENVIRONMENT]);
    assert_eq!(get(gateway.address(), "/store", 0).unwrap(), (200, "three".to_owned()), "it serves on");
    front.start().unwrap();
    serves(&gateway, "four");
    an_artifact_goes_through(&place, &front, &repository);
    let five = next_version(&place, &repository, "five");
    events_come_when_they_happen_and_outlive_the_server(&mut place, &front, &five);
}

/// It is larger than what proxies let through where nobody tells them more.
fn an_artifact_goes_through(place: &Place, front: &Front, repository: &Repository) {
    let archive = place.path("archive.tar");
    repository.git(&["archive", "--output", &archive, "HEAD"]);
    let large =
        format!("cd {} && head -c 70000000 /dev/urandom >large && tar -rf archive.tar large", place.path(""));
    assert!(Command::new("sh").args(["-c", &large]).status().unwrap().success());
    let head = repository.git(&["rev-parse", "HEAD"]);
    let words = ["release", "store", "--artifact", &archive, "--commit", &head, "--bump", "patch"];
    assert_eq!(ask(place, front, &words), 0);
}

fn next_version(place: &Place, repository: &Repository, text: &str) -> String {
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: {text}"));
    place.release("store")
}

fn serves(gateway: &StandaloneGateway, text: &str) {
    let expected = (200, text.to_owned());
    eventually(text, || (get(gateway.address(), "/store", 0).ok()? == expected).then_some(()));
}

fn command(place: &Place, front: &Front, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("LOCKSTEP_SERVER", front.url()).env("LOCKSTEP_CA", front.authority());
    // A proxy that nobody may use; nothing listens there.
    command.env("HTTPS_PROXY", "http://127.0.0.1:9").env("ALL_PROXY", "http://127.0.0.1:9");
    command
}

fn ask(place: &Place, front: &Front, arguments: &[&str]) -> i32 {
    command(place, front, arguments).status().unwrap().code().unwrap()
}

fn believed_by_who_names_its_authority_only(place: &Place, front: &Front) {
    assert_eq!(ask(place, front, &["services"]), 0);
    // The authorities of the system, which are others here.
    let mut of_system = command(place, front, &["services"]);
    of_system.env_remove("LOCKSTEP_CA").env("SSL_CERT_FILE", front.authority());
    assert_eq!(of_system.status().unwrap().code(), Some(0));
    let by_address = front.url().replace("localhost", "127.0.0.1");
    let wrong_name = command(place, front, &["services", "--server", &by_address]).output().unwrap();
    let said = String::from_utf8(wrong_name.stderr).unwrap();
    assert_eq!(wrong_name.status.code(), Some(5), "{said}");
    assert!(said.contains(&format!("the certificate of {by_address} is for `localhost` only")), "{said}");
    let plain = front.url().replace("https", "http");
    let plain = command(place, front, &["services", "--server", &plain]).output().unwrap();
    let said = String::from_utf8(plain.stderr).unwrap();
    assert_eq!(plain.status.code(), Some(5), "{said}");
    assert!(
        said.contains("speaks TLS where plain HTTP was expected\nhint: --server https://localhost:"),
        "{said}"
    );
    let beyond = place.url().replace("http", "https");
    let beyond = command(place, front, &["services", "--server", &beyond]).output().unwrap();
    let said = String::from_utf8(beyond.stderr).unwrap();
    assert_eq!(beyond.status.code(), Some(5), "{said}");
    assert!(said.contains("speaks plain HTTP where TLS was expected"), "{said}");
}

/// A browser says which page asks; the server is told its own name by the front, and by whoever started it.
fn web_pages_of_its_own_name_only(front: &Front) {
    let trust = Trust::new(Some(front.authority().into()));
    let reach =
        Reach::new(front.url().parse().unwrap(), trust, Some(TOKEN), PlainHttp::LoopbackOnly).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let status = |origin: &str| {
        let site = HeaderName::from_static("sec-fetch-site");
        let fields = [(CONTENT_TYPE, "application/json"), (ORIGIN, origin), (site, "same-origin")];
        let asked = reach.ask(Method::POST, "/api/v1/store/collect", &fields, "{}".into());
        runtime.block_on(asked).unwrap().status().as_u16()
    };
    assert_eq!(status(&front.url()), 200);
    for foreign in ["https://evil.test", "https://localhost", "null"] {
        assert_eq!(status(foreign), 403, "{foreign}");
    }
}

/// The operation is under way for long when the line that tells of its first step is there: nothing was held back.
fn events_come_when_they_happen_and_outlive_the_server(place: &mut Place, front: &Front, version: &str) {
    let strategy = ["--strategy", "canary", "--steps", "50,100", "--bake", "1h"];
    let mut deploying =
        command(place, front, &[&["deploy", version, "--env", ENVIRONMENT][..], &strategy].concat())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let lines = BufReader::new(deploying.stderr.take().unwrap()).lines().map_while(Result::ok);
    let (sender, said) = channel();
    thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
    eventually("the first step is told while it lasts", || {
        said.try_iter().any(|line| line.contains("50 % of requests to store")).then_some(())
    });
    assert!(deploying.try_wait().unwrap().is_none(), "it is still followed");
    // What stands before the server goes on answering meanwhile, in its own words.
    place.kill_server();
    eventually("the front finds nobody", || (ask(place, front, &["services"]) == 5).then_some(()));
    place.start_server();
    place.run(&["undo", ENVIRONMENT]);
    let ended = eventually("the command ends with the operation", || deploying.try_wait().unwrap());
    assert_eq!(ended.code(), Some(1), "it was taken back");
}
