//! A request that an old version has begun, and that calls another service only after everything has moved on to versions which the
//! old one does not work with.

use std::fs;
use std::thread;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};
use super::support::{eventually, get};

/// Says that a request has begun, and waits for leave where it asks for that; then asks payments.
const ASKS: &str = "
        import urllib.request
        if self.path.endswith('held'):
            open('SIGNS/begun', 'w').close()
            while not os.path.exists('SIGNS/go'): time.sleep(0.02)
        paid = urllib.request.urlopen(os.environ['LOCKSTEP_URL_PAY'] + '/pay').read()";

fn write(repository: &Repository, signs: &str, version: &str, pay: &str) {
    let needs = format!("[requires.pay]\nversion = \"{pay}\"");
    repository.write("lockstep.toml", &manifest("orders", "", &needs));
    let answer = format!("' + paid + b' by {version}");
    repository.write("service.py", &misbehaving(&answer, "pass", &ASKS.replace("SIGNS", signs)));
}

/// Tells whether an instance of a version is healthy.
fn is_healthy(place: &Place, version: &str) -> bool {
    let status = place.status();
    let services = status["services"].as_array().unwrap().iter();
    let mut instances = services.flat_map(|it| it["instances"].as_array().unwrap());
    let begin = version.replace('@', "-");
    instances.any(|it| it["id"].as_str().unwrap().starts_with(&begin) && it["state"]["state"] == "healthy")
}

#[test]
fn a_request_that_an_old_version_has_begun_still_finds_what_it_calls() {
    let place = Place::begin();
    let signs = place.path("signs");
    fs::create_dir(&signs).unwrap();
    let (pay, orders) = (place.repository("pay"), place.repository("orders"));
    pay.write("lockstep.toml", &manifest("pay", "", ""));
    pay.write("service.py", &service("one"));
    write(&orders, &signs, "one", "^1");
    let first = [place.first_release(&pay, "pay"), place.first_release(&orders, "orders")];
    place.run(&["deploy", &first[0], &first[1], "--env", ENVIRONMENT]);
    pay.write("service.py", &service("two"));
    pay.commit("feat!: two");
    write(&orders, &signs, "two", ">=1, <3");
    orders.commit("feat: work with both");
    let (pay, orders) = (place.release("pay"), place.release("orders"));
    assert_eq!(pay, "pay@2.0.0");

    let address = place.status()["gateway"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let ask = |path: &str| get(&address, path, 0).unwrap().1;
    let held = thread::spawn({
        let address = address.clone();
        move || get(&address, "/orders/held", 0)
    });
    eventually("the request has begun", || fs::exists(format!("{signs}/begun")).unwrap().then_some(()));
    let operation = place.begin_operation(&["deploy", &pay, &orders, "--env", ENVIRONMENT]);
    eventually("the new payments are ready", || is_healthy(&place, &pay).then_some(()));
    // They could take over with any of these.
    (0..30).for_each(|_| assert_eq!((ask("/orders"), ask("/pay")), ("one by two".into(), "one".into())));
    fs::write(format!("{signs}/go"), "").unwrap();
    assert_eq!(held.join().unwrap(), Ok((200, "one by one".to_owned())));
    assert_eq!(place.settled(operation)["phase"], "done");
    assert_eq!((ask("/orders"), ask("/pay")), ("two by two".into(), "two".into()));
}
