//! The data folder copied, or with its journal lost or older: a server refuses it, and what runs goes on.

use std::process::Command;

use super::support::place::{ENVIRONMENT, Place};
use super::support::{eventually, get};

/// A place with one service that serves, and the address of its instance.
fn serving() -> (Place, String) {
    let place = Place::begin();
    place.deployed("web");
    let address = instance(&place).expect("it is deployed");
    assert!(is_served(&address));
    (place, address)
}

fn instance(place: &Place) -> Option<String> {
    Some(place.status()["services"][0]["instances"][0]["address"].as_str()?.to_owned())
}

fn is_served(address: &str) -> bool {
    get(address, "/web", 0).is_ok_and(|(status, _)| status == 200)
}

#[test]
fn a_copy_of_the_data_folder_is_refused_and_adopted_it_touches_nothing_of_the_original() {
    let (place, address) = serving();
    let folder = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-a", &place.data()]).arg(folder.path()).status().unwrap();
    assert!(copied.success());
    let (code, said) = Place::refused_in(&folder);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("is a copy of") && said.contains("--adopt"), "{said}");
    assert!(is_served(&address));
    let adopted = Place::begin_in_asking(folder, &["--adopt"]);
    eventually("the copy has an instance of its own", || {
        instance(&adopted).filter(|own| *own != address && is_served(own))
    });
    assert!(is_served(&address), "the original's instance was ended");
}

#[test]
fn a_lost_or_older_journal_is_refused_and_what_runs_goes_on() {
    let (mut place, address) = serving();
    let journal = |name: &str| format!("{}/{name}", place.data());
    let names = ["journal.db", "journal.db-wal", "journal.db-shm", "journal.head"].map(journal);
    let keep = |name: &String| format!("{name}.kept");
    place.stop_server();
    for name in &names {
        let _ = std::fs::rename(name, keep(name));
    }
    let (code, said) = place.refused_server();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("no records in `journal.db`") && said.contains("backup restore"), "{said}");
    assert!(!std::fs::exists(&names[0]).unwrap(), "a new journal was begun");
    std::fs::write(&names[0], "").unwrap();
    assert_eq!(place.refused_server().0, 3);
    assert!(is_served(&address));
    for name in &names {
        let _ = std::fs::rename(keep(name), name);
    }
    place.start_server();
    assert!(is_served(&address));
    assert!(place.run(&["history", ENVIRONMENT]).contains("web none -> 1.0.0"));
}
