//! Hosts over SSH as a person sees them: two servers of SSH on this machine, each with a folder of its own, stand for two of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::host_check::server::SshServer;
use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

pub(crate) struct Bench {
    pub(crate) place: Place,
    pub(crate) sshd: BTreeMap<&'static str, SshServer>,
}

impl Bench {
    pub(crate) fn begin() -> Self {
        let sshd = ["web1", "web2"].map(|name| (name, SshServer::begin("")));
        Self { place: Place::begin(), sshd: sshd.into() }
    }

    /// What is typed to add a host.
    fn add(&self, name: &str) -> Vec<String> {
        let (sshd, folder) = (&self.sshd[name], self.place.path(&format!("at-{name}")));
        let (key, target) = (sshd.key().display().to_string(), sshd.target());
        let words = ["host", "add", name, "--ssh", &target, "--key", &key, "--folder", &folder];
        words.into_iter().map(str::to_owned).chain(["--env".into(), ENVIRONMENT.into()]).collect()
    }

    fn run(&self, words: &[String]) -> String {
        self.place.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    pub(crate) fn added(&self, name: &str) -> String {
        let text = self.run(&self.add(name));
        assert!(text.starts_with(&format!("done: {name} is a host, ")), "{text}");
        text
    }

    fn release(&self, repository: &Repository, text: &str) {
        repository.write("service.py", &service(text));
        repository.commit(&format!("feat: {text}"));
    }

    /// How many instances each host has that are healthy, as the status of the environment says.
    pub(crate) fn healthy(&self) -> BTreeMap<String, usize> {
        let status = self.place.status();
        let services = status["services"].as_array().unwrap().iter();
        let mut counts = BTreeMap::new();
        for instance in services.flat_map(|service| service["instances"].as_array().unwrap()) {
            if instance["state"]["state"] == "healthy" {
                *counts.entry(instance["host"].as_str().unwrap_or("none").to_owned()).or_default() += 1;
            }
        }
        counts
    }

    pub(crate) fn host(&self, name: &str) -> Value {
        self.place.json(&["host", "show", name])
    }
}

pub(crate) fn on(hosts: &[(&str, usize)]) -> BTreeMap<String, usize> {
    hosts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn versions_go_to_hosts_and_back_and_a_host_is_drained_lost_and_forgotten() {
    let mut bench = Bench::begin();
    let place = &bench.place;
    assert!(place.run(&["hosts"]).starts_with("there is no host"));
    let text = bench.added("web1");
    assert!(text.contains("its key is ssh-ed25519 SHA256:") && text.contains("ssh-keygen -lf"), "{text}");
    bench.added("web2");
    let refused = bench.add("web1");
    place.fail(&refused.iter().map(String::as_str).collect::<Vec<_>>(), 6);

    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    let first = place.first_release(&repository, "store");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    place.run(&["scale", "store", "2", "--env", ENVIRONMENT]);
    assert_eq!(bench.healthy(), on(&[("web1", 1), ("web2", 1)]));
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains("HOST  ADDRESS"), "{status}");
    bench.release(&repository, "two");
    let second = place.release("store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store").1, "two");
    place.run(&["rollback", "store", "--to", first.split('@').nth(1).unwrap(), "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/store").1, "one");

    // What runs on a host keeps it.
    let text = place.fail(&["host", "remove", "web1"], 3);
    assert!(text.contains("hint: lockstep host drain web1"), "{text}");
    let text = place.run(&["host", "drain", "web1", "--reason", "a new kernel"]);
    assert!(text.starts_with("done: nothing runs on web1 any more\n"), "{text}");
    assert_eq!(bench.healthy(), on(&[("web2", 2)]));
    assert_eq!(bench.host("web1")["turned"]["reason"], "a new kernel");
    place.run(&["host", "open", "web1"]);

    // The other one is lost: nothing starts in its place until somebody says so.
    bench.sshd.get_mut("web2").unwrap().end();
    eventually("web2 is away", || (bench.host("web2")["connection"] == "away").then_some(()));
    let place = &bench.place;
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(
        status.contains("host: web2 is away for ") && status.contains("(lockstep host show web2)"),
        "{status}"
    );
    let text = place.fail(&["host", "remove", "web2"], 3);
    assert!(text.contains("lockstep host remove web2 --lost"), "{text}");
    let text = place.run(&["host", "evacuate", "web2"]);
    assert!(text.starts_with("done: what served on web2 is replaced; it is away, and 2 instances"), "{text}");
    assert_eq!(bench.healthy(), on(&[("web1", 2)]));
    assert_eq!(bench.place.ask("/store").1, "one");

    // It comes back, and what others have replaced ends there.
    bench.sshd.get_mut("web2").unwrap().start();
    eventually("nothing is left on web2", || {
        let host = bench.host("web2");
        (host["connection"] == "here" && host["instances"].as_array().unwrap().is_empty()).then_some(())
    });
    let text = bench.place.run(&["host", "drain", "web2"]);
    assert!(text.starts_with("done: nothing runs on web2 any more\n"), "{text}");
    let left = bench.place.json(&["host", "remove", "web2", "--reason", "it is too old"]);
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
}

#[test]
fn what_keeps_a_host_from_being_added_or_changed_is_said_and_changes_nothing() {
    let bench = Bench::begin();
    let place = &bench.place;
    let add = bench.add("web1");
    let fails = |more: &[&str], expected: i32| {
        let words: Vec<_> = add.iter().map(String::as_str).chain(more.iter().copied()).collect();
        place.fail(&words, expected)
    };
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let text = fails(&["--fingerprint", other], 3);
    assert!(text.contains("the host shows the key ssh-ed25519 SHA256:") && text.contains(other), "{text}");
    let nobody = ["host", "add", "web3", "--ssh", "127.0.0.1:1", "--env", ENVIRONMENT];
    let text = place.fail(&nobody, 3);
    assert!(text.contains("Connection refused") && text.contains("as the user of the server"), "{text}");
    let text = place.fail(&[&nobody[..6], &["nowhere"]].concat(), 4);
    assert!(text.contains("no environment `nowhere`"), "{text}");
    assert_eq!(place.json(&["hosts"]), Value::Array(Vec::new()));

    bench.added("web1");
    let (port, key) = (bench.sshd["web2"].target(), bench.sshd["web2"].key().display().to_string());
    let text = place.fail(&["host", "set", "web1", "--ssh", &port, "--key", &key], 3);
    assert!(text.contains("another key than the one that is pinned"), "{text}");
    let text = place.fail(&["host", "check", "web2"], 5);
    assert!(text.contains("no host is called web2: it is looked at from this machine"), "{text}");
    let text = place.run(&["host", "check", "web1"]);
    assert!(text.starts_with("ok  web1 answers the server within "), "{text}");
    place.run(&["host", "set", "web1", "--label", "zone=a,role=web"]);
    let host = bench.host("web1");
    assert_eq!(
        (&host["settings"]["labels"], &host["connection"]),
        (&"role=web,zone=a".into(), &"here".into())
    );
}
