//! Jobs by a schedule, on real processes and the real clock: what a minute brings, who dies meanwhile, and what a rollback ends.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{Repository, manifest, python, service};
use super::support::{eventually, next_minute, processes};

/// Says that it runs, and goes on until a file is there.
const TIDY: &str = r#"
import os, time
folder, version = os.environ["MARKS"], os.environ["LOCKSTEP_VERSION"]

def mark(what):
    with open(folder + "/marks", "a") as marks:
        marks.write(f"{version} {what}\n")

mark("begins")
while not os.path.exists(folder + "/go"): time.sleep(0.01)
print("tidied up")
mark("ends")
"#;

fn write(repository: &Repository, marks: &Path, answer: &str) {
    let job = format!(
        "[[job]]\nname = \"tidy\"\nschedule = \"* * * * *\"\ntimezone = \"Europe/Berlin\"\ncommand = \"{} tidy.py\"\n",
        python()
    );
    let env = format!("env = {{ MARKS = \"{}\" }}", marks.display());
    repository.write("lockstep.toml", &manifest("shop", &env, &job));
    repository.write("tidy.py", TIDY);
    repository.write("service.py", &service(answer));
}

fn marks_in(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("marks")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn history(place: &Place) -> Vec<Value> {
    let runs = place.json(&["job", "history", "shop", "tidy", "--env", ENVIRONMENT]);
    runs.as_array().unwrap().clone()
}

fn newest_run(place: &Place) -> String {
    history(place)[0]["outcome"]["ran"]["instance"].as_str().unwrap().to_owned()
}

/// How the newest run ended, once it has.
fn ended(place: &Place) -> Option<Value> {
    history(place).first()?["outcome"]["ran"].get("end").cloned()
}

#[test]
fn each_minute_once_whoever_dies_and_nothing_of_what_was_taken_back() {
    let mut place = Place::begin();
    let marks = PathBuf::from(place.path("marks"));
    fs::create_dir(&marks).unwrap();
    let repository = place.repository("shop");
    write(&repository, &marks, "one");
    let one = place.first_release(&repository, "shop");
    write(&repository, &marks, "two");
    repository.commit("feat: two");
    let two = place.release("shop");
    let number = |version: &str| version.split_once('@').unwrap().1.to_owned();
    let (first, second) = (number(&one), number(&two));
    place.run(&["deploy", &one, "--env", ENVIRONMENT]);
    place.run(&["deploy", &two, "--env", ENVIRONMENT]);
    let listed = place.told(&["job", "list", "--env", ENVIRONMENT]);
    assert!(listed.contains("* * * * * Europe/Berlin"), "{listed}");
    assert!(place.told(&["show", &two]).contains("tidy (* * * * * Europe/Berlin)"));

    // A minute comes; the server dies while the job runs, and the run goes on and is not begun again.
    let begun = next_minute("the job begins", || marks_in(&marks).last().cloned());
    let is_second = begun == format!("{second} begins");
    place.kill_server();
    place.start_server();
    let run = newest_run(&place);
    assert!(processes::of_instances(&place.data()).contains_key(run.as_str()), "{run} goes on");
    assert_eq!(marks_in(&marks), [begun]);
    assert!(ended(&place).is_none());
    assert!(place.told(&["status", ENVIRONMENT]).contains("it runs"));

    // Going back ends the run of the version that goes.
    place.run(&["undo", ENVIRONMENT]);
    if is_second {
        eventually("the run is told to end", || {
            (ended(&place)?["failure"] == "it was told to end").then_some(())
        });
        assert!(!processes::of_instances(&place.data()).contains_key(run.as_str()));
    }
    assert_eq!(marks_in(&marks).iter().filter(|line| line.ends_with("ends")).count(), 0);

    // The next minute is that of the version that is there.
    next_minute("the older version runs it", || {
        marks_in(&marks).contains(&format!("{first} begins")).then_some(())
    });
    fs::write(marks.join("go"), "").unwrap();
    eventually("it is through", || {
        let end = ended(&place)?;
        end.get("failure").is_none().then_some(())
    });
    assert!(place.told(&["logs", &newest_run(&place)]).contains("tidied up"));
    let times: Vec<_> = history(&place).iter().map(|run| run["due"].as_str().unwrap().to_owned()).collect();
    assert!(
        times.is_sorted_by(|newer, older| newer > older) && times.iter().all(|due| due.ends_with(":00.000Z"))
    );
}
