//! Two people who act at the same moment, and hints of what is refused because something is under way, carried out.

use std::collections::BTreeSet;
use std::fs;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, misbehaving, service};

fn says(text: &str, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(text.contains(part), "`{part}` is not in:\n{text}"));
}

/// A service whose first version does not start as long as a gate is shut, and whose second runs.
struct Gated {
    place: Place,
    gate: String,
    versions: [String; 2],
}

impl Gated {
    fn begin() -> Self {
        let place = Place::begin();
        let gate = place.path("gate");
        let repository = place.repository("store");
        repository.write("lockstep.toml", &manifest("store", "", ""));
        let shut = format!("while os.path.exists('{gate}'): time.sleep(0.05)");
        repository.write("service.py", &misbehaving("one", &shut, "pass"));
        let first = place.first_release(&repository, "store");
        let second = next(&place, &repository, "two");
        Self { place, gate, versions: [first, second] }
    }

    /// Lets the second version run where the first one did; that one is not warm and cannot start.
    fn with_second() -> Self {
        let gated = Self::begin();
        let Self { place, versions: [first, second], .. } = &gated;
        place.run(&["environment", "set", ENVIRONMENT, "--warm", "0s"]);
        place.run(&["deploy", first, "--env", ENVIRONMENT]);
        place.run(&["deploy", second, "--env", ENVIRONMENT]);
        gated.shut();
        gated
    }

    fn shut(&self) {
        fs::write(&self.gate, "").unwrap();
    }

    fn open(&self) {
        fs::remove_file(&self.gate).unwrap();
    }
}

fn next(place: &Place, repository: &Repository, text: &str) -> String {
    repository.write("service.py", &service(text));
    repository.commit(&format!("feat: say {text}"));
    place.release("store")
}

fn number(version: &str) -> &str {
    version.split_once('@').unwrap().1
}

#[test]
fn the_second_of_two_who_go_back_at_once_is_answered_with_the_first_ones_operation() {
    let gated = Gated::with_second();
    let Gated { place, versions: [first, _], .. } = &gated;
    let back = ["rollback", "store", "--to", number(first), "--env", ENVIRONMENT, "--interrupt"];
    // At the very same moment: who comes second is answered with what the first has begun.
    let both: Vec<_> = (0..2)
        .map(|_| place.command(&[&back[..], &["--json", "--no-wait"]].concat()))
        .map(|mut command| command.stdout(std::process::Stdio::piped()).spawn().unwrap())
        .collect();
    let both = both.into_iter().map(|child| child.wait_with_output().unwrap());
    let both: Vec<serde_json::Value> =
        both.map(|output| serde_json::from_slice(&output.stdout).unwrap()).collect();
    let id = both[0]["operation"]["id"].as_u64().unwrap();
    assert_eq!(both[1]["operation"]["id"].as_u64(), Some(id));
    assert_eq!(both.iter().filter(|answer| answer["already"] == true).count(), 1, "{both:?}");

    let already = format!("already going there: operation {id} (roll back store to {}), by", number(first));
    for intent in [&back[..], &["undo", ENVIRONMENT], &["undo", ENVIRONMENT, "--expect", "2"]] {
        says(&place.run(&[intent, &["--no-wait"]].concat()), &[&already, "ann@example.org"]);
        says(&place.run(&[intent, &["--dry-run"]].concat()), &[&already, "nothing was changed"]);
    }
    // What becomes of what is left was decided by who began it, and whoever asks for something else hears that.
    let keeping = [&back[..], &["--keep-warm", "--no-wait"]].concat();
    says(&place.run(&keeping), &[&already, "warning: it was begun without --keep-warm: what is left ends"]);
    // Who waits follows it to its end, like the first.
    let follower = place.command(&back).stdout(std::process::Stdio::piped()).spawn().unwrap();
    gated.open();
    let followed = follower.wait_with_output().unwrap();
    assert!(followed.status.success());
    says(&String::from_utf8(followed.stdout).unwrap(), &["done: ", "is at baseline 3"]);
    assert_eq!(place.settled(id)["phase"], "done");
    assert_eq!(place.json(&["operations"])[0]["id"].as_u64(), Some(id), "nobody began another one");
    assert_eq!(place.ask("/store").1, "one");
}

#[test]
fn who_goes_back_beside_somebody_who_keeps_what_is_left_running_hears_that_it_runs_on() {
    let gated = Gated::with_second();
    let Gated { place, versions: [first, _], .. } = &gated;
    let back = ["rollback", "store", "--to", number(first), "--env", ENVIRONMENT, "--no-wait"];
    let begun = place.run(&[&back[..], &["--keep-warm"]].concat());
    assert!(!begun.contains("warning"), "{begun}");
    let end = format!("lockstep environment set {ENVIRONMENT} --warm 0s");
    for more in ["--no-wait", "--dry-run"] {
        let told = place.run(&[&back[..6], &[more]].concat());
        says(&told, &["already going there", "begun with --keep-warm: what is left runs on", &end]);
    }
    let same = place.run(&[&back[..], &["--keep-warm"]].concat());
    assert!(same.contains("already going there") && !same.contains("warning"), "{same}");
    gated.open();
}

#[test]
fn who_deploys_scales_or_takes_back_what_somebody_else_does_already_follows_that() {
    let gated = Gated::begin();
    let Gated { place, versions: [first, second], .. } = &gated;
    gated.shut();
    let deploy = ["deploy", first, "--env", ENVIRONMENT];
    let id = place.begin_operation(&deploy);
    let again = place.json(&[&deploy[..], &["--no-wait"]].concat());
    assert_eq!((again["operation"]["id"].as_u64(), &again["already"]), (Some(id), &true.into()));
    says(&place.fail(&["deploy", second, "--env", ENVIRONMENT], 6), &["is under way"]);
    let undo = ["undo", ENVIRONMENT, "--operation", &id.to_string()];
    let both: Vec<_> = (0..2).map(|_| place.command(&undo).spawn().unwrap()).collect();
    for mut child in both {
        // Who comes after it is over is told that it was taken back.
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 6)), "{code:?}");
    }
    assert_eq!(place.settled(id)["phase"], "reverted");
}

/// Carries out what a hint says after `or`, and then what was refused.
fn carry_out(place: &Place, said: &str) {
    let hint = said.lines().find_map(|line| line.trim().strip_prefix("hint: ")).unwrap_or(said);
    let commands: Vec<_> =
        hint.split('`').skip(1).step_by(2).filter(|part| !part.contains("watch")).collect();
    assert!(!commands.is_empty(), "no command is named in:\n{said}");
    for command in commands {
        let words: Vec<_> = command.split_whitespace().skip(1).collect();
        place.run(&words);
    }
}

#[test]
fn a_first_deployment_is_taken_back_by_the_command_that_every_hint_names() {
    let gated = Gated::begin();
    let Gated { place, versions: [first, second], .. } = &gated;
    gated.shut();
    let refused: [&[&str]; 7] = [
        &["rollback", "store", "--to", number(second), "--env", ENVIRONMENT, "--interrupt"],
        &["rollback", "store", "--to", number(first), "--env", ENVIRONMENT, "--interrupt"],
        &["rollback", ENVIRONMENT, "--to", "1", "--interrupt"],
        &["remove", "store", "--env", ENVIRONMENT],
        &["scale", "store", "2", "--env", ENVIRONMENT],
        &["undo", ENVIRONMENT, "--expect", "0"],
        &["deploy", second, "--env", ENVIRONMENT],
    ];
    for arguments in refused {
        let id = place.begin_operation(&["deploy", first, "--env", ENVIRONMENT]);
        let output = place.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        says(&said, &[&format!("lockstep undo {ENVIRONMENT} --operation {id}")]);
        if arguments[0] == "deploy" {
            gated.open();
        }
        carry_out(place, &said);
        assert_eq!(place.settled(id)["phase"], "reverted", "{said}");
    }
}

#[test]
fn where_undo_could_mean_several_things_each_command_that_is_named_works() {
    let gated = Gated::with_second();
    let Gated { place, versions: [first, _], .. } = &gated;
    let repository = place.deployed("other");
    repository.write("service.py", &service("new"));
    repository.commit("feat: say new");
    let other = place.release("other");
    let slow = ["--steps", "50,100", "--bake", "1h"];
    let begun = [
        place.begin_operation(&["rollback", "store", "--to", number(first), "--env", ENVIRONMENT]),
        place.begin_operation(&[&["deploy", &other, "--env", ENVIRONMENT][..], &slow].concat()),
    ];
    let guess = place.fail(&["undo", ENVIRONMENT], 6);
    says(&guess, &["undo could mean more than one thing", &format!("--operation {}", begun[0])]);
    carry_out(place, &guess);
    for id in begun {
        assert_eq!(place.settled(id)["phase"], "reverted");
    }
    says(&place.fail(&["service", "remove", "other", "--yes"], 3), &["lockstep remove other"]);
    let id = place.begin_operation(&["rollback", "store", "--to", number(first), "--env", ENVIRONMENT]);
    let named = place.fail(&["service", "remove", "store", "--yes"], 3);
    says(&named, &[&format!("lockstep undo {ENVIRONMENT} --operation {id}")]);
    place.run(&["undo", ENVIRONMENT, "--operation", &id.to_string()]);
}

#[test]
fn environments_that_are_created_at_once_have_gateways_of_their_own() {
    let place = Place::begin_asking(&["--first-gateway-port", "27100"], Vec::new());
    let names: Vec<String> = (0..8).map(|number| format!("team-{number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| place.run(&["environment", "create", name, "--accepts-from", "created"]));
        }
    });
    let gateways: BTreeSet<String> =
        names.iter().map(|name| place.json(&["status", name])["gateway"].to_string()).collect();
    assert_eq!(gateways.len(), names.len(), "{gateways:?}");
}
