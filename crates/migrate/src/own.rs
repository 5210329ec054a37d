//! Migrations that a program of the version applies: it is started, and another one is asked which the database has.
//!
//! What the database has is what the second one says, also when the first one ended well.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use lockstep_contract::sql::{is_repeatable, order};
use lockstep_domain::database::{Act, Recorded, Step, Told};
use serde_json::Value;

use crate::engine::Fault;
use crate::folder;
use crate::notes::Notes;
use crate::run::{Outcome, may_run};

/// Most bytes of what the program of the level prints: each migration has a name of at most 200.
const MAX_ANSWER: u64 = 1024 * 1024;
/// What stands for the last migration that may run.
const TO: &str = "{to}";

/// The programs of a version.
pub(crate) struct Programs<'a> {
    /// Applies what is missing.
    pub(crate) apply: &'a [String],
    /// Says what the database has.
    pub(crate) level: &'a [String],
    /// Takes migrations back; empty where there is none.
    pub(crate) revert: &'a [String],
}

/// Does a step with the programs of a version.
pub(crate) fn work(step: &Step, programs: &Programs<'_>, notes: &mut Notes) -> Result<Outcome, Fault> {
    let Programs { apply, level, revert } = programs;
    let names = folder::forward(&folder::names(Path::new(&step.folder))?);
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    let done = match &step.act {
        Act::Apply { through: Some(through) } => {
            as_planned(step, through, level, &names).and_then(|()| run(apply, (through, through), notes))
        }
        Act::Revert { migrations, to } => back((revert, level), (migrations, to.as_deref()), &names, notes),
        Act::Adopt { .. } => {
            Err(Fault::new("the program of the version keeps the record, so it is its to take over"))
        }
        Act::Look | Act::Accept | Act::Apply { through: None } | Act::Settle { .. } => Ok(()),
    };
    let mut told = match ask(level, &names) {
        Ok(told) => told,
        Err(unread) => return Err(done.err().unwrap_or(unread)),
    };
    let last = told.recorded.last().map_or("none", |last| last.name.as_str());
    println!("the database says that its last migration is {last}");
    let done = done.and_then(|()| as_asked(&step.act, programs, &told));
    told.half = notes.half().filter(|_| done.is_err());
    told.untouched = notes.is_untouched();
    Ok((told, done))
}

fn command(line: &[String]) -> Result<Command, Fault> {
    let (program, arguments) = line.split_first().ok_or_else(|| Fault::new("a command is empty"))?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// Refuses to apply what was not missing when it was planned.
fn as_planned(step: &Step, through: &str, level: &[String], names: &[String]) -> Result<(), Fault> {
    if step.expected.is_none() {
        return Ok(());
    }
    let there = ask(level, names)?.recorded;
    let last = names.iter().position(|name| name == through).map_or(names.len(), |at| at + 1);
    let mut missing = names[..last].iter().filter(|name| there.iter().all(|it| it.name != **name));
    missing.try_for_each(|name| may_run(step, name))
}

/// Refuses what a program says that ended well where the database has not become what was asked for.
fn as_asked(act: &Act, programs: &Programs<'_>, told: &Told) -> Result<(), Fault> {
    let has = |name: &String| told.recorded.iter().any(|it| it.name == *name);
    let wrong = |line: &[String], what: String| {
        Err(Fault::new(format!("`{}` ended well, and the database {what}", line.join(" "))))
    };
    match act {
        Act::Apply { through: Some(through) } if !has(through) => {
            wrong(programs.apply, format!("does not have `{through}`"))
        }
        Act::Revert { migrations, .. } if let Some(left) = migrations.iter().find(|name| has(name)) => {
            wrong(programs.revert, format!("still has `{left}`"))
        }
        Act::Revert { to: Some(to), .. } if !has(to) => {
            wrong(programs.revert, format!("does not have `{to}` any more, which was to stay"))
        }
        _ => Ok(()),
    }
}

/// Takes migrations back by a program, which is told the last one that stays.
fn back(
    (revert, level): (&[String], &[String]),
    (migrations, to): (&[String], Option<&str>),
    names: &[String],
    notes: &mut Notes,
) -> Result<(), Fault> {
    let (Some(to), Some(first), false) = (to, migrations.first(), revert.is_empty()) else {
        return Err(Fault::new("a program takes migrations back to one that stays, and `revert` names it"));
    };
    let there = ask(level, names)?.recorded.into_iter().map(|it| it.name);
    let mut there: Vec<_> = there.filter(|name| order(name, to).is_gt() && !is_repeatable(name)).collect();
    there.sort_by(|a, b| order(b, a));
    if there != migrations {
        return Err(Fault::new(format!(
            "behind `{to}` the database has {there:?}, and {migrations:?} were to be taken back"
        )));
    }
    run(revert, (to, first), notes)
}

/// Runs a program that is told a migration. `half` is the one of which nobody knows how far it came when it dies.
fn run(line: &[String], (to, half): (&str, &str), notes: &mut Notes) -> Result<(), Fault> {
    let line: Vec<_> = line.iter().map(|word| word.replace(TO, to)).collect();
    let before = notes.clone();
    notes.leaves(half)?;
    let mut child = match command(&line)?.spawn() {
        Ok(child) => child,
        Err(error) => {
            // A program that was never there has done nothing.
            notes.take_back(before)?;
            return Err(not_started(&line, &error));
        }
    };
    let ended = child.wait().map_err(|error| not_started(&line, &error))?;
    if ended.success() { Ok(()) } else { Err(Fault::new(format!("`{}` failed: {ended}", line.join(" ")))) }
}

fn not_started(line: &[String], error: &io::Error) -> Fault {
    Fault::new(format!("`{}` cannot be started: {error}", line.join(" ")))
}

fn ask(level: &[String], names: &[String]) -> Result<Told, Fault> {
    let shown = level.join(" ");
    let mut child =
        command(level)?.stdout(Stdio::piped()).spawn().map_err(|error| not_started(level, &error))?;
    let mut answer = Vec::new();
    let output = child.stdout.take().ok_or_else(|| Fault::new("there is no output"))?;
    let read = output.take(MAX_ANSWER + 1).read_to_end(&mut answer);
    if answer.len() as u64 > MAX_ANSWER {
        // What it still wants to say is not waited for.
        let _ = child.kill();
    }
    let ended = child.wait().and_then(|ended| read.map(|_| ended));
    let ended = ended.map_err(|error| Fault::new(format!("`{shown}`: {error}")))?;
    if answer.len() as u64 > MAX_ANSWER {
        return Err(Fault::new(format!("`{shown}` prints more than {MAX_ANSWER} bytes")));
    }
    if !ended.success() {
        return Err(Fault::new(format!("`{shown}` failed: {ended}")));
    }
    let value: Value = serde_json::from_slice(&answer)
        .map_err(|error| Fault::new(format!("`{shown}` prints no JSON: {error}")))?;
    told(&value, names).ok_or_else(|| {
        Fault::new(format!(
            "`{shown}` has to print {{\"level\": \"0005\"}}, {{\"applied\": [\"0001_a.sql\"]}}, or one of these values alone"
        ))
    })
}

/// Understands what the program of the level says: the last migration, or all.
fn told(value: &Value, names: &[String]) -> Option<Told> {
    match value {
        Value::Object(fields) => match (fields.get("applied"), fields.get("level")) {
            (Some(all), _) => told(all, names).filter(|_| all.is_array()),
            (None, Some(level)) => told(level, names).filter(|_| !level.is_object()),
            (None, None) => None,
        },
        Value::Null => Some(Told::default()),
        Value::Array(all) => {
            let said = all.iter().map(text).collect::<Option<Vec<_>>>()?;
            let mut all = Told::default();
            said.iter().for_each(|said| note(&mut all, find(names, said).map(|at| &names[at]), said));
            Some(all)
        }
        single => {
            let said = text(single)?;
            let mut found = Told::default();
            match find(names, &said) {
                Some(last) => names[..=last].iter().for_each(|name| found.recorded.push(recorded(name))),
                None => note(&mut found, None, &said),
            }
            (!said.is_empty()).then_some(found)
        }
    }
}

fn note(told: &mut Told, found: Option<&String>, said: &str) {
    match found {
        // One that is named twice is there once.
        Some(name) if told.recorded.iter().any(|it| it.name == *name) => {}
        Some(name) => told.recorded.push(recorded(name)),
        None => told.drift.push(format!("the database has `{said}`, which this version does not bring")),
    }
}

fn recorded(name: &str) -> Recorded {
    Recorded { name: name.to_owned(), digest: None, class: None }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.len() <= 200 && !text.chars().any(char::is_control) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Finds a migration by its name, by its name without the ending, or by its number.
fn find(names: &[String], said: &str) -> Option<usize> {
    let bare = |name: &str| name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
    let number = |text: &str| {
        let text = text.trim_start_matches(['v', 'V']);
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        (!digits.is_empty()).then(|| digits.trim_start_matches('0').to_owned())
    };
    let is_number = said.bytes().all(|byte| byte.is_ascii_digit());
    let exact = names.iter().position(|name| name == said || bare(name) == said);
    exact.or_else(|| {
        let wanted = number(said).filter(|_| is_number)?;
        names.iter().rposition(|name| number(name).as_ref() == Some(&wanted))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn level(value: &Value) -> Option<(Vec<String>, usize)> {
        let names = ["0001_a.sql", "0002_b.py", "10_c.sql"].map(str::to_owned);
        let told = told(value, &names)?;
        Some((told.recorded.into_iter().map(|it| it.name).collect(), told.drift.len()))
    }

    #[test]
    fn a_level_is_said_as_a_number_a_name_or_all_names() {
        let two = Some((vec!["0001_a.sql".to_owned(), "0002_b.py".to_owned()], 0));
        for said in [
            json!(2),
            json!("2"),
            json!("0002"),
            json!("0002_b"),
            json!({ "level": "0002_b.py" }),
            json!({ "applied": ["0001_a", 2] }),
            json!(["1", "0002_b"]),
        ] {
            assert_eq!(level(&said), two, "{said}");
        }
        assert_eq!(level(&json!(["0001_a", 1, "0002_b.py", 2, "2"])), two);
        assert_eq!(level(&json!(null)), Some((Vec::new(), 0)));
        assert_eq!(level(&json!({ "applied": [] })), Some((Vec::new(), 0)));
    }

    #[test]
    fn what_is_not_known_is_drift_and_what_is_no_level_is_refused() {
        assert_eq!(level(&json!("0099")), Some((Vec::new(), 1)));
        assert_eq!(level(&json!(["0001_a", "other"])).unwrap().1, 1);
        for said in
            [json!(true), json!({}), json!({ "level": {} }), json!([[]]), json!(""), json!("\u{1b}[2J")]
        {
            assert_eq!(level(&said), None, "{said}");
        }
    }

    #[test]
    fn a_program_that_prints_without_end_is_ended() {
        let Fault { why, .. } = ask(&["yes".to_owned()], &[]).unwrap_err();
        assert!(why.contains("more than"), "{why}");
        let Fault { why, .. } = ask(&["false".to_owned()], &[]).unwrap_err();
        assert!(why.contains("failed"), "{why}");
        assert!(ask(&["./none".to_owned()], &[]).unwrap_err().why.contains("cannot be started"));
    }
}
