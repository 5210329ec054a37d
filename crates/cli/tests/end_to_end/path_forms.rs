//! How paths are sent on, as a setting of an environment: its service, its gateway and `explain` say the same.

use super::support::eventually;
use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, misbehaving};

#[test]
fn a_service_gets_paths_as_its_environment_says_and_explain_tells_the_same() {
    let place = Place::begin();
    let store = place.repository("store");
    store.write("lockstep.toml", &manifest("store", "", ""));
    let echo = misbehaving("TEXT", "pass", "answer = self.path.encode()").replace("b'TEXT'", "answer");
    store.write("service.py", &echo);
    let version = place.first_release(&store, "store");
    place.run(&["deploy", &version, "--env", ENVIRONMENT]);
    let set = |options: &[&str]| place.run(&[&["environment", "set", ENVIRONMENT], options].concat());
    let said = |path: &str, expected: (u16, &str)| {
        eventually("the gateway does as it was told", || {
            let (status, body) = place.ask(path);
            (status == expected.0 && body.contains(expected.1)).then_some(())
        });
        let address = format!("http://shop.test{path}");
        let told = place.json(&["explain", "GET", &address, "--env", ENVIRONMENT]);
        let outcome = &told["outcome"];
        match expected.0 {
            200 => assert_eq!(outcome["path"], expected.1, "{told}"),
            _ => assert_eq!(outcome["location"], "/store/a/b", "{told}"),
        }
    };
    said("/store//a%2fb", (200, "/store/a%2Fb"));

    let text = set(&["--path-form", "keep-slashes", "--escaped-slashes", "redirect"]);
    assert!(text.contains("path form") && text.contains("keep-slashes"), "{text}");
    said("/store//a", (200, "/store//a"));
    said("/store/a%2fb", (307, ""));
    set(&["--path-form", "as-sent", "--escaped-slashes", "keep", "--path-parameters", "refuse"]);
    said("/store/%61%2fb", (200, "/store/%61%2fb"));
    assert_eq!(place.ask("/store/a;x").0, 400);
    let shown = place.json(&["environments"]).to_string();
    assert!(shown.contains("as_sent"), "{shown}");

    let both = place.fail(&["environment", "set", ENVIRONMENT, "--escaped-slashes", "decode"], 3);
    assert!(both.contains("not sent on as it came"), "{both}");
    let wrong = place.fail(&["environment", "set", ENVIRONMENT, "--path-form", "raw"], 2);
    assert!(wrong.contains("`keep-slashes`"), "{wrong}");
    set(&["--path-form", "normalized", "--path-parameters", "keep"]);
    said("/store/%61;x//b", (200, "/store/a;x/b"));
}
