//! The key of the journal, as an operator meets it: forged records, a key that is lost, and one that lies elsewhere.

use std::fs;
use std::path::Path;

use lockstep_domain::lifecycle::Lifecycle;
use lockstep_domain::{Event, Timestamp};
use lockstep_store::Journal;
use lockstep_store::journal::{KeyPlace, NewRecord};

use super::support::place::{ENVIRONMENT, Place};

/// A place with a service that serves, its server down, and the folder of its data.
fn stopped() -> (Place, String) {
    let mut place = Place::begin();
    let _repository = place.deployed("store");
    place.stop_server();
    let data = place.data();
    (place, data)
}

/// Appends a record as somebody does who may write everything in a data folder but has another key: database and head fit.
fn forge(place: &Place, data: &str) {
    let event = Event::LifecycleDefined { name: "forged".parse().unwrap(), lifecycle: Lifecycle::standard() };
    let record = NewRecord {
        at: Timestamp(1),
        actor: "mallory".parse().unwrap(),
        event: serde_json::to_string(&event).unwrap(),
    };
    let key = KeyPlace::File(place.path("mallory.key").into());
    Journal::accept(Path::new(data), &key, |_| record).unwrap();
}

#[test]
fn a_record_forged_at_the_end_of_the_journal_starts_no_server_and_is_named() {
    let (mut place, data) = stopped();
    let whole = place.json(&["journal", "verify", "--data", &data]);
    let records = whole["records"].as_u64().unwrap();
    assert_eq!(whole["keyed_after"], 0);
    forge(&place, &data);
    let (code, said) = place.refused_server();
    assert!(code == 1 && said.contains("does not carry a code of the journal's key"), "{code}: {said}");
    let found = place.json_ending(&["journal", "verify", "--data", &data], 1);
    assert_eq!(found["tampered"]["seq"], records + 1);
    assert!(found["tampered"]["what"].as_str().unwrap().contains("has a false code"), "{found}");
    // A person may take it all the same, and the journal says who did.
    place.run(&["journal", "accept", "--data", &data, "--reason", "we know mallory"]);
    place.start_server();
    let lines = place.run(&["journal", "export"]);
    let accepted = lines.lines().find(|line| line.contains("journal_accepted")).unwrap();
    assert!(accepted.contains("ann@example.org") && accepted.contains("we know mallory"), "{accepted}");
    assert_eq!(place.json(&["journal", "verify"])["keyed_after"], records + 1);
    let said = place.run(&["journal", "verify"]);
    assert!(said.contains(&format!("records 1 to {} are older than the key", records + 1)), "{said}");
    assert_eq!(place.ask("/store").0, 200);
}

#[test]
fn a_lost_key_starts_no_server_and_says_what_to_run() {
    let (mut place, data) = stopped();
    fs::remove_file(format!("{data}/journal.key")).unwrap();
    let (code, said) = place.refused_server();
    assert_eq!(code, 1, "{said}");
    for part in
        ["the key of the journal is missing", "journal.key", "--journal-key", "lockstep journal accept"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(place.fail(&["journal", "verify", "--data", &data], 1).contains("journal.key"));
    assert!(!fs::exists(format!("{data}/journal.key")).unwrap(), "a new one was made");
    place.run(&["journal", "accept", "--data", &data]);
    place.start_server();
    assert_eq!(place.ask("/store").0, 200);
    assert!(place.run(&["history", ENVIRONMENT]).contains("store"));
}

#[test]
fn a_key_may_lie_outside_the_data_folder_and_be_a_credential() {
    let (mut place, data) = stopped();
    let credentials = place.path("credentials");
    fs::create_dir(&credentials).unwrap();
    let key = format!("{credentials}/lockstep-journal-key");
    fs::rename(format!("{data}/journal.key"), &key).unwrap();
    assert_eq!(place.refused_server().0, 1);
    place.start_server_asking(&["--journal-key", &key]);
    assert_eq!(place.json(&["journal", "verify"])["keyed_after"], 0);
    let report = place.json(&["backup", "create", &place.path("backup"), "--data", &data]);
    assert_eq!(report["journal_key"], "elsewhere");
    place.stop_server();
    let verify = ["journal", "verify", "--data", &data];
    place.run(&[&verify[..], &["--journal-key", &key]].concat());
    place.fail(&verify, 1);
    let by_credential = place.command(&verify).env("CREDENTIALS_DIRECTORY", &credentials).output().unwrap();
    assert!(by_credential.status.success(), "{}", String::from_utf8_lossy(&by_credential.stderr));
    assert!(!fs::exists(format!("{data}/journal.key")).unwrap());
}
