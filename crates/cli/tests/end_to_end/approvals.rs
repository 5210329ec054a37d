//! Approvals count people, and only where a stage wants them.

use super::support::place::Place;
use super::support::repository::{manifest, service};

const LIFECYCLE: &str = r#"{"stages": [
  {"name": "created"},
  {"name": "development", "entry": {"entry": "automatic"}},
  {"name": "checked", "gates": [{"gate": "approvals", "count": 2}], "entry": {"entry": "automatic"}}
]}"#;

#[test]
fn a_gate_for_two_people_is_not_opened_by_two_spellings() {
    let place = Place::begin();
    let repository = place.repository("store");
    repository.write("lockstep.toml", &manifest("store", "", ""));
    repository.write("service.py", &service("one"));
    let version = place.first_release(&repository, "store");
    let approve = |actor: &str, stage: &str| {
        let mut command = place.command(&["approve", &version, stage]);
        let output = command.env("LOCKSTEP_ACTOR", actor).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = approve("ann@example.org", "released");
    assert!(code == 3 && said.contains("wants no approval; none does"), "{said}");

    std::fs::write(place.path("two.json"), LIFECYCLE).unwrap();
    place.run(&["lifecycle", "define", "two", &place.path("two.json")]);
    let other = place.repository("pay");
    other.write("lockstep.toml", &manifest("pay", "", ""));
    other.write("service.py", &service("one"));
    other.commit("feat: begin");
    place.run(&["service", "add", other.folder(), "--lifecycle", "two"]);
    let version = place.release("pay");
    let stage = || place.json(&["show", &version])["stage"].clone();
    let approve = |actor: &str, stage: &str| {
        let mut command = place.command(&["approve", &version, stage]);
        let output = command.env("LOCKSTEP_ACTOR", actor).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = approve("ann@example.org", "development");
    assert!(code == 3 && said.contains("wanted for checked"), "{said}");
    assert_eq!(approve("ann@example.org", "checked").0, 0);
    for again in ["ann@example.org", "Ann@Example.ORG", "Ann <ann@example.org>"] {
        let (code, said) = approve(again, "checked");
        assert!(code == 3 && said.contains("has approved"), "{again}: {said}");
    }
    assert_eq!(stage(), "development");
    assert_eq!(approve("bob@example.org", "checked").0, 0);
    assert_eq!(stage(), "checked");
}
