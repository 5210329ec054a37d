//! Clients from outside come in by the gateways of hosts with a label, and of no other host. Needs root, and is skipped without.

use std::process::{Child, Command, Stdio};

use super::apart::{Bench, HOSTS};
use super::{Load, both_answer, folder_teller};
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::manifest;
use crate::support::secure::{Authority, free_port};
use crate::support::{eventually, get};

const NAME: &str = "shop.test";

fn set(place: &Place, arguments: &[&str]) -> String {
    place.run(&[&["environment", "set", ENVIRONMENT], arguments].concat())
}

/// Deploys a service to both hosts, of which the first one has the label.
fn deployed(bench: &Bench) {
    for ((name, _), role) in HOSTS.iter().zip(["edge", "app"]) {
        bench.add_with(name, &["--label", &format!("role={role}")]);
    }
    let place = &bench.place;
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &folder_teller());
    let version = place.first_release(&repository, "store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    both_answer(|| Some(place.ask("/store")));
}

/// Asks by https as a client does that believes an authority, and returns the status and what was said.
fn ask_tls(at: &str, port: u16, authority: &str) -> Option<(u16, String)> {
    let (url, resolve) = (format!("https://{NAME}:{port}/store"), format!("{NAME}:{port}:{at}"));
    let words =
        ["-s", "-m", "10", "--cacert", authority, "--resolve", &resolve, "-w", "\n%{http_code}", &url];
    let output = Command::new("curl").args(words).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n')?;
    Some((status.parse().ok().filter(|status| *status != 0)?, body.to_owned()))
}

/// Somebody who has a port of a host.
struct Squatter(Child);

impl Squatter {
    fn at(bench: &Bench, name: &str, address: &str) -> Self {
        let code = "import socket, sys\nhost, port = sys.argv[1].rsplit(':', 1)\ns = socket.create_server((host, int(port)))\nprint('has it', flush=True)\nsys.stdin.read()";
        let space = bench.space(name);
        let mut child = Command::new("ip")
            .args(["netns", "exec", &space, "python3", "-c", code, address])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Self(child)
    }
}

impl Drop for Squatter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_from_outside_come_in_by_the_gateways_of_hosts_with_a_label_and_of_no_other() {
    let Some(mut bench) = Bench::begin() else { return };
    deployed(&bench);
    let (one, two) = (bench.outside("web1"), bench.outside("web2"));
    let ask = |at: &str| get(at, "/store", 0).ok();
    let place = &bench.place;
    assert!(ask(&one).is_none() && ask(&two).is_none(), "gateways of hosts listen on loopback");
    let said = place.fail(&["environment", "set", ENVIRONMENT, "--gateway", "hosts:role=db"], 3);
    assert!(
        said.contains("has role=db") && said.contains("lockstep host set NAME --label role=db"),
        "{said}"
    );

    let said = set(place, &["--gateway", "hosts:role=edge"]);
    assert!(said.contains(&format!("web1 at http://{one}")) && !said.contains(&two), "{said}");
    both_answer(|| ask(&one));
    assert!(ask(&two).is_none(), "that of another host stays on loopback");
    HOSTS.iter().for_each(|(name, _)| both_answer(|| bench.ask_at(name)));
    let status = || place.run(&["status", ENVIRONMENT]);
    eventually("nothing is wrong", || (!status().contains("entry:")).then_some(()));
    assert!(status().contains(&format!("clients come in at web1, http://{one}")), "{}", status());
    let listed = || place.run(&["gateway", "list"]);
    eventually("it says so itself", || {
        listed().contains(&format!("clients come in at http://{one}")).then_some(())
    });
    let plan = place.run(&["scale", "store", "3", "--env", ENVIRONMENT, "--dry-run"]);
    assert!(plan.contains(&format!("clients come in at web1, http://{one}")), "{plan}");

    // By https with the certificate of the environment.
    let (authority, port) = (Authority::new(place, "authority"), free_port());
    set(place, &["--https-port", &port.to_string()]);
    let files = authority.sign("first", &[NAME], |_| {});
    place.run(&["certificate", "add", "--cert", &files.chain, "--key", &files.key, "--env", ENVIRONMENT]);
    let (at, trusted) = (bench.address("web1"), authority.file());
    both_answer(|| ask_tls(&at, port, &trusted));
    assert!(ask_tls(&bench.address("web2"), port, &trusted).is_none());

    // The last host with the label keeps it, and so does the environment its last host with it.
    let said = place.fail(&["host", "set", "web1", "--label", "role=app"], 3);
    assert!(said.contains("last host of") && said.contains("--gateway server"), "{said}");

    // A port that somebody has is told, and taken when it is free; then clients move from one to the other, and nothing is lost.
    let squatter = Squatter::at(&bench, "web2", &two);
    place.run(&["host", "set", "web2", "--label", "role=edge"]);
    eventually("it is told", || {
        let status = status();
        (status.contains("clients cannot come in at `web2`") && status.contains("in use")).then_some(())
    });
    both_answer(|| bench.ask_at("web2"));
    let (first, second) = (one.clone(), two.clone());
    let load = Load::begin(move || get(&first, "/store", 0));
    drop(squatter);
    both_answer(|| ask(&two));
    both_answer(|| ask_tls(&bench.address("web2"), port, &trusted));
    let drained = place.run(&["host", "drain", "web1"]);
    assert!(
        drained.contains("clients of") || status().contains("`web1` is drained, and clients"),
        "{}",
        status()
    );
    eventually("all run on the other", || {
        ask(&one).filter(|(status, folder)| *status == 200 && folder.contains("at-web2"))
    });
    load.end();
    let load = Load::begin(move || get(&second, "/store", 0));
    place.run(&["host", "set", "web1", "--label", "role=app"]);
    eventually("nobody comes in there any more", || ask(&one).is_none().then_some(()));
    place.run(&["host", "open", "web1"]);

    // The server is gone, and then the gateway begins anew.
    bench.place.kill_server();
    let before = bench.gateway_at("web2").unwrap();
    load.end();
    crate::support::processes::kill(before);
    eventually("it serves again", || ask(&two).filter(|(status, _)| *status == 200));
    assert!(ask_tls(&bench.address("web2"), port, &trusted).is_some_and(|(status, _)| status == 200));
    bench.place.start_server();
    assert!(bench.ask_at("web2").is_some_and(|(status, _)| status == 200));
    set(&bench.place, &["--gateway", "server"]);
    eventually("nobody comes in there either", || ask(&two).is_none().then_some(()));
    assert!(bench.ask_at("web2").is_some_and(|(status, _)| status == 200));
}

#[test]
fn a_host_that_is_the_machine_of_the_server_has_its_entrance_in_the_server() {
    let bench = super::Bench::begin(&["--label", "role=edge"]);
    let place = &bench.place;
    bench.deploy();
    let status = place.status();
    let port = status["gateway"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let ask = |address: &str| get(&format!("{address}:{port}"), "/store", 0).ok();
    assert!(ask("127.0.0.2").is_none());
    set(place, &["--gateway", "hosts:role=edge"]);
    for (_, address) in super::ADDRESSES {
        both_answer(|| ask(address));
    }
    assert_eq!(place.ask("/store").0, 200);
    place.run(&["host", "set", "web1", "--label", "role=app"]);
    eventually("only the other one is one", || ask("127.0.0.2").is_none().then_some(()));
    both_answer(|| ask("127.0.0.3"));
    // What has hosts elsewhere has a gateway for itself.
    let said = place.fail(&["environment", "create", "local", "--gateway", "hosts:role=edge"], 3);
    assert!(said.contains("runs on the machine of the server"), "{said}");
    place.run(&["environment", "set", ENVIRONMENT, "--gateway", "server"]);
    eventually("none is", || ask("127.0.0.3").is_none().then_some(()));
    assert_eq!(place.ask("/store").0, 200);
}
