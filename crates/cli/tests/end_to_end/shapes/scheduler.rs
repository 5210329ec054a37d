//! A scheduler of its own, of which one may work, beside a job by the clock. Both keep what they have done in a data folder.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::support::next_minute;
use crate::support::place::Place;
use crate::support::repository::{Repository, python};

use super::queue::work_of_one_at_a_time;
use super::story::{Shape, Version};

/// Counts on from where the last one has stopped; says that it is alive with each tick.
const CLOCK: &str = r#"
import os, signal, time

going, me, log = True, f"WORDS/{os.getpid()}", open("state/log", "a", 1)

def end(*_):
    global going
    going = False

signal.signal(signal.SIGTERM, end)
log.write(me + " begins\n")
while going:
    time.sleep(0.02)
    AT_TICK
    next = int(open("state/next").read()) if os.path.exists("state/next") else 0
    log.write(f"{me} tick {next}\n")
    with open("state/new", "w") as new: new.write(str(next + 1))
    os.rename("state/new", "state/next")
    open("alive", "w").close()
log.write(me + " ends\n")
"#;

const MINUTE: &str = "\
import time
with open('state/minutes', 'a') as log: log.write('WORDS %d\\n' % (time.time() // 60))
";

#[derive(Default)]
pub(super) struct Clock {
    state: OnceLock<PathBuf>,
}

impl Clock {
    fn file(&self, name: &str) -> String {
        let folder = self.state.get().unwrap();
        fs::read_to_string(folder.join(name)).unwrap_or_default()
    }
}

impl Shape for Clock {
    const SERVICES: &'static [&'static str] = &["clock"];
    const GAP: Option<&'static str> = Some("nobody works in between");

    fn begin(_: &Place, _: &str) -> Self {
        Self::default()
    }

    fn write(&self, _: &str, repository: &Repository, version: Version) {
        let python = python();
        let toml = format!(
            "name = \"clock\"\n\n[run]\nkind = \"worker\"\ncommand = \"{python} clock.py\"\ndata = [\"state\"]\n\
             health = {{ file = \"alive\", fresh = \"5s\", interval = \"100ms\", start_timeout = \"3s\" }}\n\n\
             [[job]]\nname = \"minute\"\nschedule = \"* * * * *\"\ncommand = \"{python} minute.py\"\n"
        );
        repository.write("lockstep.toml", &toml);
        // It hangs, and lives.
        let at_tick = if version == Version::Bad { "continue" } else { "pass" };
        repository.write("clock.py", &CLOCK.replace("WORDS", version.words()).replace("AT_TICK", at_tick));
        repository.write("minute.py", &MINUTE.replace("WORDS", version.words()));
    }

    fn is_deployed(&self, place: &Place) {
        let listed = place.json(&["data", "list"]);
        self.state.set(listed[0]["path"].as_str().unwrap().into()).unwrap();
    }

    fn at_work(&self) -> Option<String> {
        let log = self.file("log");
        let (who, what) = log.lines().last()?.split_once(' ')?;
        what.starts_with("tick").then(|| who.split('/').next().unwrap().to_owned())
    }

    fn judge(&self, _: &Place, _: u64) {
        let log = self.file("log");
        let ticks = work_of_one_at_a_time(&log);
        let all: Vec<_> = (0..ticks.len()).map(|tick| ticks.get(&format!("tick {tick}"))).collect();
        assert!(all.iter().all(|times| *times == Some(&1)), "{log}");
        let before = self.file("minutes").lines().count();
        next_minute("the job of the version that is there", || {
            let lines = self.file("minutes");
            lines.lines().skip(before).any(|line| line.starts_with("two ")).then_some(())
        });
        let lines = self.file("minutes");
        let minutes: Vec<_> = lines.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert!(minutes.is_sorted_by(|(_, one), (_, other)| one < other), "{lines}");
        assert!(minutes.iter().all(|(words, _)| *words != "bad"), "{lines}");
    }
}
