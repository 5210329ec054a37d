//! What is true of a worker besides its replacement, whose story is told of in `shapes`.

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::python;

/// Works when nobody has told it where to listen.
const WORKER: &str = "\
import os, time
assert 'PORT' not in os.environ and 'HOST' not in os.environ
while True: time.sleep(1)
";

#[test]
fn a_worker_is_called_by_nobody() {
    let place = Place::begin();
    let repository = place.repository("mailer");
    let run =
        format!("kind = \"worker\"\ncommand = \"{} worker.py\"\nhealth = {{ lives = \"300ms\" }}", python());
    repository.write("lockstep.toml", &format!("name = \"mailer\"\n\n[run]\n{run}\n"));
    repository.write("worker.py", WORKER);
    let one = place.first_release(&repository, "mailer");
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/@mailer").0, 404);
    let status = place.status();
    let instance = &status["services"][0]["instances"][0];
    assert!(instance["address"].is_null(), "{instance}");
}
