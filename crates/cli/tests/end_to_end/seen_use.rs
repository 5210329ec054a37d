//! What a version was seen to call counts where it says nothing of what it uses.

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};

/// Asks the store for a draft with every answer.
const ASKING: &str = "
        import urllib.request
        answer = b'front'
        if self.path != '/health': answer = urllib.request.urlopen(os.environ['LOCKSTEP_URL_STORE'] + '/drafts/7').read()";

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// Writes a store whose contract has these paths.
fn write_store(store: &Repository, paths: &[&str]) {
    let get = "    get:\n      responses: { '200': { description: Found } }\n";
    let paths: String = paths.iter().map(|path| format!("  {path}:\n{get}")).collect();
    let contract = format!("openapi: 3.1.0\ninfo: {{ title: Store, version: '1' }}\npaths:\n{paths}");
    store.write("api/openapi.yaml", &contract);
    store.write("lockstep.toml", &manifest("store", "", "[contract]\nopenapi = \"api/openapi.yaml\""));
    store.write("service.py", &service("the store"));
}

#[test]
fn a_call_that_was_seen_refuses_a_provider_that_lost_it_and_one_that_nobody_made_is_told() {
    let place = Place::begin();
    let store = place.repository("store");
    write_store(&store, &["/notes", "'/drafts/{id}'"]);
    let front = place.repository("front");
    front.write("lockstep.toml", &manifest("front", "", "[requires]\nstore = \">=1.0\""));
    front.write("service.py", &misbehaving("TEXT", "pass", ASKING).replace("b'TEXT'", "answer"));
    let versions = [place.first_release(&store, "store"), place.first_release(&front, "front")];
    place.run(&["deploy", &versions[0], &versions[1], "--env", ENVIRONMENT]);
    eventually("calls are seen", || {
        assert_eq!(place.ask("/front"), (200, "the store".to_owned()));
        place.run(&["calls", ENVIRONMENT, "store"]).contains("GET /drafts/*").then_some(())
    });

    let release = |paths: &[&str], what: &str| {
        write_store(&store, paths);
        store.commit(what);
        place.release("store")
    };
    // Nobody was seen to ask for notes.
    let without_notes = release(&["'/drafts/{id}'"], "feat!: no notes");
    let plan = place.told(&["deploy", &without_notes, "--env", ENVIRONMENT, "--dry-run"]);
    says(&plan, &["does not have `GET /notes` any more", "nobody was seen to call it"]);
    place.run(&["can-i-deploy", &without_notes, "--env", ENVIRONMENT]);

    let without_drafts = release(&["/notes"], "feat!: no drafts");
    let seen = "`GET /drafts/*` is not in the contract of";
    let refused = place.fail(&["deploy", &without_drafts, "--env", ENVIRONMENT], 3);
    says(
        &refused,
        &["`front@1.0.0` does not work with store", seen, "front@1.0.0 was seen to call it", "baseline 1 of"],
    );
    let can = place.json_ending(&["can-i-deploy", &without_drafts, "--env", ENVIRONMENT], 1);
    says(&can.to_string(), &[seen]);
    says(&place.run(&["compat", "front", "store"]), &["no", seen]);
    assert_eq!(place.status()["baseline"], 1);
    assert_eq!(place.ask("/front").0, 200);
}
