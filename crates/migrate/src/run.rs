//! What a step does, one migration after the other, whatever the database is.

use lockstep_domain::database::{Act, Lines, Step, Told};

use crate::engine::{Engine, Fault, Ran, Row};
use crate::folder::{Folder, Migration, Script};
use crate::notes::Notes;
use crate::standing::{Standing, behind, missing};

/// What was found at the end, and whether what was asked for was done.
pub(crate) type Outcome = (Told, Result<(), Fault>);

/// Where a step writes: what it leaves if it dies, and the lines of its log.
type Log<'l> = (&'l mut Notes, &'l mut dyn FnMut(&str));

/// Does a step. What is returned was read after everything else.
pub(crate) fn run(
    step: &Step,
    folder: &Folder,
    engine: &mut dyn Engine,
    log: Log<'_>,
) -> Result<Outcome, Fault> {
    let (notes, say) = log;
    let before = engine.rows()?;
    let done = act(step, folder, engine, (&mut *notes, &mut *say));
    let rows = match engine.rows() {
        Ok(rows) => rows,
        // Why it is not as it should be is told before that it cannot be looked at.
        Err(unread) => return Err(done.err().unwrap_or(unread)),
    };
    let told = Told { untouched: rows == before, ..Standing::of(&rows, folder).told(&rows) };
    told.drift.iter().for_each(|drift| say(&format!("drift: {drift}")));
    let level = told.recorded.last().map_or("none", |last| last.name.as_str());
    say(&format!("{} migrations are recorded, the last one is {level}", told.recorded.len()));
    Ok((told, done))
}

fn act(step: &Step, folder: &Folder, engine: &mut dyn Engine, (notes, say): Log<'_>) -> Result<(), Fault> {
    match &step.act {
        Act::Look | Act::Accept => Ok(()),
        Act::Apply { through: None } => sound(engine, folder),
        Act::Apply { through: Some(name) } => {
            let through = place(folder, name)?;
            engine.claim()?;
            sound(engine, folder)?;
            let rows = engine.rows()?;
            let missing = missing(&rows, folder, through);
            missing.iter().try_for_each(|migration| may_run(step, &migration.name))?;
            // Nothing runs where it is not clear what is to, also not what stands before it.
            if let Some(why) = missing.iter().find_map(|migration| migration.unclear.clone()) {
                return Err(Fault::new(why));
            }
            missing.into_iter().try_for_each(|it| apply(step, it, engine, (&mut *notes, &mut *say)))
        }
        Act::Revert { migrations, to } => {
            engine.claim()?;
            sound(engine, folder)?;
            revert(step, (migrations, to.as_deref()), folder, engine, (&mut *notes, &mut *say))
        }
        Act::Adopt { through } => {
            notes.begins()?;
            adopt(step, folder, place(folder, through)?, engine)
        }
        Act::Settle { migration, done } => {
            notes.begins()?;
            settle(step, folder, (migration, *done), engine)
        }
    }
}

fn place(folder: &Folder, name: &str) -> Result<usize, Fault> {
    folder.place(name).ok_or_else(|| Fault::new(format!("there is no migration `{name}` in this version")))
}

/// Refuses where the record and the folder disagree.
fn sound(engine: &mut dyn Engine, folder: &Folder) -> Result<(), Fault> {
    let rows = engine.rows()?;
    Standing::of(&rows, folder).fault().map_or(Ok(()), |why| Err(Fault::new(why)))
}

/// Refuses what was not missing when it was planned: the database is not the one that was planned for, or has lost it.
pub(crate) fn may_run(step: &Step, name: &str) -> Result<(), Fault> {
    if step.expected.as_ref().is_none_or(|expected| expected.iter().any(|it| it == name)) {
        return Ok(());
    }
    Err(Fault::new(format!(
        "the database lacks `{name}`, which it had when this was planned: nothing is applied"
    )))
}

fn apply(
    step: &Step,
    migration: &Migration,
    engine: &mut dyn Engine,
    (notes, say): Log<'_>,
) -> Result<(), Fault> {
    say(&format!("{} begins", migration.name));
    if !migration.left_out.is_empty() {
        say(&format!("{} without {}, its way down", migration.name, Lines::all(&migration.left_out)));
    }
    if migration.script.is_alone {
        notes.leaves(&migration.name)?;
        run_alone(step, migration, engine)?;
        notes.is_recorded()?;
    } else {
        notes.begins()?;
        if engine.apply(migration, &step.by)? == Ran::Before {
            say(&format!("{} was applied by somebody else meanwhile", migration.name));
            return Ok(());
        }
    }
    say(&format!("{} is applied", migration.name));
    Ok(())
}

fn run_alone(step: &Step, migration: &Migration, engine: &mut dyn Engine) -> Result<(), Fault> {
    engine.record(&row(migration, false), &step.by)?;
    engine.run_alone(&migration.script).map_err(|fault| Fault {
        why: format!("{}; it is no transaction, so what it did before that stays", fault.why),
        ..fault
    })?;
    engine.record(&row(migration, true), &step.by)
}

/// Takes migrations back, the last one first: those that were asked for by name, and only where no other one stands on them.
fn revert(
    step: &Step,
    (names, to): (&[String], Option<&str>),
    folder: &Folder,
    engine: &mut dyn Engine,
    (notes, say): Log<'_>,
) -> Result<(), Fault> {
    let there = behind(&engine.rows()?, to);
    if there != names {
        let to = to.map_or_else(|| "there".to_owned(), |to| format!("behind `{to}`"));
        return Err(Fault::new(format!(
            "{to} the record has {there:?}, and {names:?} were to be taken back"
        )));
    }
    let dialect = engine.dialect();
    let read = |name: &String| {
        let migration = &folder.migrations[place(folder, name)?];
        Ok((migration, folder.way_down(migration, dialect)?))
    };
    // Nothing is taken back where something of it cannot be.
    let ways = names.iter().map(read).collect::<Result<Vec<_>, Fault>>()?;
    ways.into_iter()
        .try_for_each(|(migration, way)| take_back(step, (migration, &way), engine, (&mut *notes, &mut *say)))
}

fn take_back(
    step: &Step,
    (migration, way): (&Migration, &Script),
    engine: &mut dyn Engine,
    (notes, say): Log<'_>,
) -> Result<(), Fault> {
    let name = &migration.name;
    say(&format!("{name} is taken back by {}", way.file));
    if way.is_alone {
        notes.leaves(name)?;
        engine.record(&row(migration, false), &step.by)?;
        engine.run_alone(way).map_err(|fault| Fault {
            why: format!("{}; it is no transaction, so what it did before that stays", fault.why),
            ..fault
        })?;
        engine.forget(name)?;
        notes.is_recorded()?;
    } else {
        notes.begins()?;
        if engine.take_back(name, way)? == Ran::Before {
            say(&format!("{name} was taken back by somebody else meanwhile"));
            return Ok(());
        }
    }
    say(&format!("{name} is taken back"));
    Ok(())
}

fn row(migration: &Migration, finished: bool) -> Row {
    Row { name: migration.name.clone(), checksum: migration.checksum(), finished }
}

fn adopt(step: &Step, folder: &Folder, through: usize, engine: &mut dyn Engine) -> Result<(), Fault> {
    engine.claim()?;
    sound(engine, folder)?;
    let rows = engine.rows()?;
    let missing = missing(&rows, folder, through);
    missing.into_iter().try_for_each(|migration| engine.record(&row(migration, true), &step.by))
}

fn settle(
    step: &Step,
    folder: &Folder,
    (name, done): (&str, bool),
    engine: &mut dyn Engine,
) -> Result<(), Fault> {
    engine.claim()?;
    let is_half = engine.rows()?.iter().any(|row| row.name == name && !row.finished);
    if !is_half {
        return Err(Fault::new(format!("`{name}` is not one of which nobody knows how far it came")));
    }
    if !done {
        return engine.forget(name);
    }
    let migration = &folder.migrations[place(folder, name)?];
    engine.record(&row(migration, true), &step.by)
}
