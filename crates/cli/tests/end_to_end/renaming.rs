//! Renaming a service with the real binary: under traffic, past kills, releases, rollbacks, and a backup.

use std::fs;

use super::support::callers::Callers;
use super::support::gateway::StandaloneGateway;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, get, processes};

/// Answers with what the store says.
const ASKING: &str = "
        import urllib.request
        if self.path != '/health': answer = urllib.request.urlopen(os.environ['LOCKSTEP_URL_STORE'] + '/').read()
        else: answer = b''";

/// Notes each start in its data folder, and answers with its version and how often it was started.
const NOTING: &str = "os.makedirs('var', exist_ok=True); open('var/starts', 'a').write('x')";

fn says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

fn store_manifest(name: &str) -> String {
    manifest(name, "data = [\"var\"]", "").replace(&format!("path = \"/{name}\""), "path = \"/store\"")
}

fn write_store(repository: &Repository, name: &str, text: &str) {
    repository.write("lockstep.toml", &store_manifest(name));
    let answer = format!("b'{text} ' + open('var/starts', 'rb').read()");
    repository.write("service.py", &misbehaving("TEXT", NOTING, "pass").replace("b'TEXT'", &answer));
}

/// A store that keeps data, and a front that asks it for every answer.
fn store_and_front(place: &Place) -> (Repository, String) {
    let store = place.repository("store");
    write_store(&store, "store", "one");
    let front = place.repository("front");
    front.write("lockstep.toml", &manifest("front", "", "[requires]\nstore = \"*\""));
    front.write("service.py", &misbehaving("TEXT", "pass", ASKING).replace("b'TEXT'", "answer"));
    let versions = [place.first_release(&store, "store"), place.first_release(&front, "front")];
    place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);
    let [first, _] = versions;
    (store, first)
}

fn instances(place: &Place, name: &str) -> Vec<String> {
    let status = place.status();
    let service = status["services"].as_array().unwrap().iter().find(|one| one["service"] == name);
    let instances =
        service.map(|service| service["instances"].as_array().unwrap().clone()).unwrap_or_default();
    let running = instances.iter().filter(|one| one["state"]["state"] == "healthy");
    running.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

fn number(version: &str) -> &str {
    version.split_once('@').unwrap().1
}

#[test]
fn a_service_is_renamed_under_traffic_and_released_and_rolled_back_past_it_without_a_failed_request() {
    let mut place = Place::begin();
    let mut gateway = StandaloneGateway::follow(&place);
    let url = format!("http://{}", gateway.address());
    place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url]);
    let (repository, first) = store_and_front(&place);
    place.run(&["config", "set", "store", "MODE=fast", "--env", ENVIRONMENT]);
    eventually("it answers", || (get(gateway.address(), "/front", 0).ok()?.0 == 200).then_some(()));
    let before = instances(&place, "store");
    let callers = Callers::begin(gateway.address(), &["/front", "/store"]);
    callers.wait_for(20);

    let dry = place.run(&["service", "rename", "store", "shop-store", "--dry-run"]);
    says(&dry, &["store would be called shop-store, with its 1 version", "2 baselines, 1 configuration"]);
    says(
        &dry,
        &[
            "runs 1.0.0 (c1), ",
            "on, warm ones included",
            "required under its name of today: front@",
            "go on meaning it",
        ],
    );
    says(&place.fail(&["service", "rename", "store", "shop-store"], 3), &["nothing was changed", "--yes"]);
    says(&place.fail(&["service", "rename", "store", "front", "--yes"], 3), &["name of another service"]);
    place.run(&["service", "rename", "store", "shop-store", "--yes", "--reason", "there are two"]);
    callers.wait_for(100);
    assert_eq!(instances(&place, "shop-store"), before, "what ran goes on");
    assert_eq!(instances(&place, "store"), Vec::<String>::new());
    let shown = place.json(&["show", "store"]);
    assert_eq!((&shown["name"], &shown["former_names"][0]), (&"shop-store".into(), &"store".into()));
    says(&place.run(&["history", ENVIRONMENT]), &["shop-store none -> ", "deploy store@"]);
    says(&place.run(&["config", "show", "store", "--env", ENVIRONMENT]), &["MODE"]);
    says(&place.run(&["data", "list"]), &["shop-store", "var"]);
    let kept = place.fail(&["data", "remove", "store", "var", "--env", ENVIRONMENT], 3);
    says(&kept, &["shop-store", "declares the data folder `var`"]);
    place.run(&["logs", &before[0], "--env", ENVIRONMENT]);
    assert!(place.run(&["journal", "export"]).contains("\"service_renamed\""));

    // The server and the gateway begin anew, each for itself; the gateway has the former name on its disk.
    place.kill_server();
    callers.wait_for(50);
    place.start_server();
    callers.wait_for(50);
    assert_eq!(instances(&place, "shop-store"), before);

    // The next release carries the new name.
    let refused = place.command(&["release", "store"]).output().unwrap();
    assert!(!refused.status.success());
    says(&String::from_utf8(refused.stderr).unwrap(), &["name = \"shop-store\""]);
    write_store(&repository, "shop-store", "two");
    repository.commit("feat: say two");
    let second = place.release("shop-store");
    assert_eq!(number(&second), "1.1.0", "its numbers go on");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    callers.wait_for(50);
    let answer = get(gateway.address(), "/front", 0).unwrap().1;
    says(&answer, &["two x", "xx"]);
    let back = ["rollback", "store", "--to", number(&first), "--env", ENVIRONMENT];
    place.run(&back);
    callers.wait_for(50);
    says(&get(gateway.address(), "/front", 0).unwrap().1, &["one"]);
    place.run(&["undo", ENVIRONMENT]);
    callers.wait_for(50);
    says(&get(gateway.address(), "/store", 0).unwrap().1, &["two"]);

    place.run(&["service", "rename", "shop-store", "store", "--yes"]);
    callers.wait_for(50);
    place.run(&["scale", "shop-store", "2", "--env", ENVIRONMENT]);
    let status = place.status();
    let stores = status["services"].as_array().unwrap().iter().filter(|one| one["service"] == "store");
    assert_eq!(stores.map(|one| one["replicas"].as_u64()).collect::<Vec<_>>(), [Some(2)]);
    assert!(callers.end() > 400);
    let gateways = place.status()["gateways"].clone();
    let problems = gateways.as_array().unwrap().iter().filter_map(|one| one["problem"].as_str());
    assert_eq!(problems.collect::<Vec<_>>(), Vec::<&str>::new(), "receipts with former names are believed");
    gateway.kill();
    gateway.start_again();
    eventually("the gateway serves again", || {
        (get(gateway.address(), "/front", 0).ok()?.1.contains("two")).then_some(())
    });
}

#[test]
fn a_former_name_is_nobody_elses_and_everything_outlives_a_backup() {
    let mut place = Place::begin();
    let (repository, first) = store_and_front(&place);
    place.run(&["service", "rename", "store", "shop-store", "--yes"]);
    let other = place.repository("other");
    other.write("lockstep.toml", &manifest("store", "", ""));
    other.write("service.py", &service("other"));
    other.commit("feat: begin");
    for folder in [other.folder(), repository.folder()] {
        let refused = place.fail(&["service", "add", folder], 3);
        says(&refused, &["`store` is a former name of `shop-store`", "name = \"shop-store\""]);
    }
    says(
        &place.fail(&["service", "rename", "front", "store", "--yes"], 3),
        &["a former name of `shop-store`"],
    );
    says(&place.fail(&["service", "rename", "ghost", "x", "--yes"], 4), &["no service `ghost`"]);
    // The folder moves at the same time, and the service with it.
    repository.git(&["mv", "service.py", "moved.py"]);
    fs::create_dir(format!("{}/services", repository.folder())).unwrap();
    repository.git(&["mv", "moved.py", "services/service.py"]);
    repository.git(&["mv", "lockstep.toml", "services/lockstep.toml"]);
    repository.write("services/lockstep.toml", &store_manifest("shop-store"));
    repository.commit("chore: move it and call it shop-store");
    place.run(&["service", "add", &format!("{}/services", repository.folder()), "--move"]);
    let second = place.release_again("shop-store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);

    let (file, restored) = (place.path("backup"), place.path("restored"));
    place.run(&["backup", "create", &file, "--data", &place.data()]);
    let before = (place.json(&["services"]), place.recorded_history(ENVIRONMENT));
    place.kill_server();
    processes::end_all(&place.data());
    place.run(&["backup", "restore", &file, "--data", &restored]);
    place.exchange_data(&restored);
    place.start_server_asking(&["--adopt"]);
    assert_eq!((place.json(&["services"]), place.recorded_history(ENVIRONMENT)), before);
    eventually("the restored baseline serves", || (place.ask("/front").0 == 200).then_some(()));
    place.run(&["rollback", "store", "--to", number(&first), "--env", ENVIRONMENT]);
    says(&place.ask("/front").1, &["one"]);
}

#[test]
fn a_service_with_something_under_way_keeps_its_name_and_the_hint_can_be_carried_out() {
    let place = Place::begin();
    let (repository, _) = store_and_front(&place);
    write_store(&repository, "store", "two");
    repository.commit("feat: say two");
    let second = place.release("store");
    let slow = ["--steps", "50,100", "--bake", "1h"];
    let canary = place.begin_operation(&[&["deploy", &second, "--env", ENVIRONMENT][..], &slow].concat());
    let refused = place.fail(&["service", "rename", "store", "shop-store", "--yes"], 6);
    let undo = format!("lockstep undo {ENVIRONMENT} --operation {canary}");
    says(&refused, &["is under way with `store`", &undo]);
    place.run(&undo.split_whitespace().skip(1).collect::<Vec<_>>());
    place.run(&["service", "rename", "store", "shop-store", "--yes"]);
    says(&place.ask("/front").1, &["one"]);
    // Consumers go on with the name that their version has, and with the new one in the next.
    let front = Repository::at(&place.path("front"));
    front.write("lockstep.toml", &manifest("front", "", "[requires]\nshop-store = \"*\""));
    let asking = ASKING.replace("LOCKSTEP_URL_STORE", "LOCKSTEP_URL_SHOP_STORE");
    front.write("service.py", &misbehaving("TEXT", "pass", &asking).replace("b'TEXT'", "answer"));
    front.commit("feat: ask the shop-store");
    let version = place.release("front");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    says(&place.ask("/front").1, &["one"]);
    says(&place.fail(&["remove", "store", "--env", ENVIRONMENT], 3), &["requires shop-store"]);
}

#[test]
fn a_service_is_not_renamed_under_a_build_whose_manifest_has_its_name() {
    let place = Place::begin();
    let (_repository, build) = place.begin_build("exec sleep 10000");
    let refused = place.fail(&["service", "rename", "store", "shop-store", "--yes"], 6);
    says(&refused, &[&format!("build {build} of `store` is under way"), "lockstep build cancel"]);
    place.run(&["build", "cancel", &build]);
    let renamed =
        || place.command(&["service", "rename", "store", "shop-store", "--yes"]).output().unwrap().status;
    eventually("the build has ended", || renamed().success().then_some(()));
    assert_eq!(place.json(&["show", "store"])["name"], "shop-store");
}
