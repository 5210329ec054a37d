//! What a step does, one migration after the other, whatever the database is.

use lockstep_domain::database::{Act, Step, Told};

use crate::engine::{Engine, Fault, Ran, Row};
use crate::folder::{Folder, Migration};
use crate::standing::{Standing, missing};

/// What was found at the end, and whether what was asked for was done.
pub(crate) type Outcome = (Told, Result<(), Fault>);

/// Does a step; `say` writes a line to its log. What is returned was read after everything else.
pub(crate) fn run(
    step: &Step,
    folder: &Folder,
    engine: &mut dyn Engine,
    say: &mut dyn FnMut(&str),
) -> Result<Outcome, Fault> {
    let done = act(step, folder, engine, say);
    let rows = match engine.rows() {
        Ok(rows) => rows,
        // Why it is not as it should be is told before that it cannot be looked at.
        Err(unread) => return Err(done.err().unwrap_or(unread)),
    };
    let told = Standing::of(&rows, folder).told(&rows);
    told.drift.iter().for_each(|drift| say(&format!("drift: {drift}")));
    let level = told.recorded.last().map_or("none", |last| last.name.as_str());
    say(&format!("{} migrations are recorded, the last one is {level}", told.recorded.len()));
    Ok((told, done))
}

fn act(
    step: &Step,
    folder: &Folder,
    engine: &mut dyn Engine,
    say: &mut dyn FnMut(&str),
) -> Result<(), Fault> {
    match &step.act {
        Act::Look => Ok(()),
        Act::Apply { through: None } => sound(engine, folder),
        Act::Apply { through: Some(name) } => {
            let through = place(folder, name)?;
            engine.claim()?;
            sound(engine, folder)?;
            let rows = engine.rows()?;
            let missing = missing(&rows, folder, through);
            missing.into_iter().try_for_each(|migration| apply(step, migration, engine, say))
        }
        Act::Adopt { through } => adopt(step, folder, place(folder, through)?, engine),
        Act::Settle { migration, done } => settle(step, folder, (migration, *done), engine),
    }
}

fn place(folder: &Folder, name: &str) -> Result<usize, Fault> {
    folder.place(name).ok_or_else(|| Fault(format!("there is no migration `{name}` in this version")))
}

/// Refuses where the record and the folder disagree.
fn sound(engine: &mut dyn Engine, folder: &Folder) -> Result<(), Fault> {
    let rows = engine.rows()?;
    Standing::of(&rows, folder).fault().map_or(Ok(()), |why| Err(Fault(why)))
}

fn apply(
    step: &Step,
    migration: &Migration,
    engine: &mut dyn Engine,
    say: &mut dyn FnMut(&str),
) -> Result<(), Fault> {
    say(&format!("{} begins", migration.name));
    if migration.is_alone {
        engine.record(&row(migration, false), &step.by)?;
        engine.run_alone(migration).map_err(|Fault(why)| {
            Fault(format!("{why}; it is no transaction, so what it did before that stays"))
        })?;
        engine.record(&row(migration, true), &step.by)?;
    } else if engine.apply(migration, &step.by)? == Ran::Before {
        say(&format!("{} was applied by somebody else meanwhile", migration.name));
        return Ok(());
    }
    say(&format!("{} is applied", migration.name));
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
        return Err(Fault(format!("`{name}` is not one of which nobody knows how far it came")));
    }
    if !done {
        return engine.forget(name);
    }
    let migration = &folder.migrations[place(folder, name)?];
    engine.record(&row(migration, true), &step.by)
}
