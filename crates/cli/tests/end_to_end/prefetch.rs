//! `lockstep deploy --prefetch`: artifacts are where an environment runs before anything of them starts.

use serde_json::Value;

use super::host_check::server::SshServer;
use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, service};

const PACKAGE: &str = "[package]\ninclude = [\"service.py\", \"data\"]";

struct Bench {
    place: Place,
    repository: Repository,
}

impl Bench {
    fn begin() -> Self {
        let place = Place::begin();
        let repository = place.repository("store");
        repository.write("lockstep.toml", &manifest("store", "", PACKAGE));
        repository.write("service.py", &service("one"));
        repository.write("data", &data());
        Self { place, repository }
    }

    fn next(&self, text: &str) -> String {
        self.repository.write("service.py", &service(text));
        self.repository.commit(&format!("feat: {text}"));
        self.place.release("store")
    }

    fn prefetch(&self, version: &str) -> Vec<Value> {
        let rows = self.place.json(&["deploy", version, "--env", ENVIRONMENT, "--prefetch"]);
        rows.as_array().unwrap().clone()
    }

    /// Takes an artifact away from the host, as nobody should.
    fn forget_on_host(&self, version: &str) {
        let digest = self.place.json(&["show", version])["artifact"]["digest"].as_str().unwrap().to_owned();
        let releases = std::path::PathBuf::from(self.place.path("at-web1")).join("runtime/releases");
        std::fs::remove_dir_all(releases.join(digest)).unwrap();
    }

    fn instances(&self) -> usize {
        let status = self.place.status();
        let services = status["services"].as_array().unwrap().iter();
        services.map(|service| service["instances"].as_array().unwrap().len()).sum()
    }
}

/// What compresses badly, so that it counts what of it is sent.
fn data() -> String {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{state:016x}")
    };
    (0..40_000).map(|_| next()).collect()
}

#[test]
fn artifacts_are_on_hosts_before_anything_starts_and_what_is_nearly_there_is_not_sent() {
    let mut bench = Bench::begin();
    let mut web1 = SshServer::begin("");
    let (key, folder) = (web1.key().display().to_string(), bench.place.path("at-web1"));
    let target = web1.target();
    let add =
        ["host", "add", "web1", "--ssh", &target, "--key", &key, "--folder", &folder, "--env", ENVIRONMENT];
    bench.place.run(&add);
    let first = bench.place.first_release(&bench.repository, "store");
    let rows = bench.prefetch(&first);
    assert_eq!(rows.len(), 1);
    let (row, sent) = (&rows[0], &rows[0]["sent"]);
    assert_eq!(
        (&row["host"], &row["state"], &row["version"]),
        (&"web1".into(), &"here".into(), &first.as_str().into())
    );
    assert_eq!((&sent["bytes"], &sent["of"]), (&sent["whole"], &sent["whole"]));
    assert_eq!(bench.instances(), 0);

    let second = bench.next("two");
    let text = bench.place.run(&["deploy", &second, "--env", ENVIRONMENT, "--prefetch"]);
    assert!(text.starts_with(&format!("done: web1 has {second}: ")) && text.contains(" of "), "{text}");
    let again = &bench.prefetch(&second)[0];
    assert_eq!(
        (&again["state"], &again["sent"]),
        (&"here".into(), &Value::Null),
        "nothing is sent of what is there"
    );
    bench.forget_on_host(&second);
    let sent = &bench.prefetch(&second)[0]["sent"];
    assert!(sent["of"].as_u64() < sent["whole"].as_u64().map(|whole| whole / 10), "{sent}");
    // What nobody has deployed yet is not collected.
    bench.place.run(&["store", "gc"]);
    assert_eq!(bench.prefetch(&second)[0]["state"], "here");
    bench.place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(bench.place.ask("/store").1, "two");

    // A host that is away is said, and gets it when it is back; a server that was killed is asked again.
    let third = bench.next("three");
    web1.end();
    eventually("web1 is away", || {
        (bench.place.json(&["host", "show", "web1"])["connection"] == "away").then_some(())
    });
    let text = bench.place.fail(&["deploy", &third, "--env", ENVIRONMENT, "--prefetch"], 1);
    assert!(text.contains("1 of 1 artifacts did not get there"), "{text}");
    web1.start();
    eventually("web1 is back", || {
        (bench.place.json(&["host", "show", "web1"])["connection"] == "here").then_some(())
    });
    assert_eq!(bench.prefetch(&third)[0]["state"], "here");
    bench.place.kill_server();
    bench.place.start_server();
    assert_eq!(bench.prefetch(&third)[0]["state"], "here");
}

#[test]
fn an_artifact_is_unpacked_here_where_nothing_runs_on_hosts_and_what_is_no_version_is_refused() {
    let bench = Bench::begin();
    let first = bench.place.first_release(&bench.repository, "store");
    let rows = bench.prefetch(&first);
    assert_eq!((rows.len(), &rows[0]["state"], &rows[0]["host"]), (1, &"here".into(), &Value::Null));
    assert_eq!(bench.instances(), 0);
    bench.place.run(&["store", "gc"]);
    assert_eq!(bench.prefetch(&first)[0]["state"], "here");
    let text = bench.place.fail(&["deploy", "store@9.9.9", "--env", ENVIRONMENT, "--prefetch"], 4);
    assert!(text.contains("there is no version `store@9.9.9`"), "{text}");
    let text = bench.place.fail(&["deploy", "store=keep", "--env", ENVIRONMENT, "--prefetch"], 2);
    assert!(text.contains("without a version"), "{text}");
    bench.place.fail(&["deploy", &first, "--env", ENVIRONMENT, "--prefetch", "--dry-run"], 2);
}
