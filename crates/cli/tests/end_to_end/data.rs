//! Data folders of services: shown with who declares them, kept over everything, removed by a person alone.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, service};

fn listed(place: &Place) -> Vec<Value> {
    place.json(&["data", "list"]).as_array().unwrap().clone()
}

#[test]
fn a_data_folder_is_shown_outlives_what_declared_it_and_goes_by_a_persons_word_alone() {
    let mut place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "data = [\"var\"]", ""));
    repository.write("service.py", &service("one"));
    let first = place.first_release(&repository, "store");
    assert!(place.run(&["show", &first]).contains("keeps data in"));
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    assert!(place.run(&["status", ENVIRONMENT]).contains("data of store: var"));
    let [folder] = &listed(&place)[..] else { panic!("one folder: {:?}", listed(&place)) };
    let path = folder["path"].as_str().unwrap();
    assert_eq!(folder["declared_by"], serde_json::json!(["1.0.0"]));
    assert_eq!((&folder["is_there"], &folder["size"]["entries"]), (&Value::Bool(true), &Value::from(0)));
    fs::write(Path::new(path).join("kept"), "what customers wrote").unwrap();
    let remove = ["data", "remove", "store", "var", "--env", ENVIRONMENT, "--yes"];
    let refused = place.fail(&remove, 3);
    assert!(refused.contains("store 1.0.0 declares") && refused.contains("nothing was removed"), "{refused}");

    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.commit("feat: keep nothing");
    let second = place.release("store");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    // The first version is warm, and going back to it wants its data.
    place.fail(&remove, 3);
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    eventually("nothing that declares the folder is left", || {
        listed(&place)[0]["declared_by"].as_array().unwrap().is_empty().then_some(())
    });
    let status = place.run(&["status", ENVIRONMENT]);
    assert!(status.contains("left behind: data of store in var"), "{status}");
    assert!(place.run(&["data", "list", ENVIRONMENT]).contains("left behind; 1.0.0 declares it"));
    place.run(&["rollback", "store", "--to", "1.0.0", "--env", ENVIRONMENT]);
    assert_eq!(listed(&place)[0]["size"]["entries"], 1, "the version finds what it wrote");

    place.run(&["remove", "store", "--env", ENVIRONMENT]);
    place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
    eventually("its instances have ended", || {
        listed(&place)[0]["declared_by"].as_array().unwrap().is_empty().then_some(())
    });
    eventually("the environment can be removed", || {
        let removed = place.command(&["environment", "remove", ENVIRONMENT, "--yes"]).output().unwrap();
        removed.status.success().then_some(())
    });
    assert_eq!(listed(&place)[0]["environment"], ENVIRONMENT, "the folder stays when its environment goes");
    let asked = place.fail(&remove[..remove.len() - 1], 3);
    assert!(asked.contains(path) && asked.contains("--yes"), "{asked}");
    place.run(&remove);
    assert!(listed(&place).is_empty() && !Path::new(path).exists());
    place.fail(&remove, 4);
    assert!(place.run(&["journal", "export"]).contains("\"data_removed\""));
    place.kill_server();
    place.start_server();
    place.run(&["journal", "verify"]);
}
