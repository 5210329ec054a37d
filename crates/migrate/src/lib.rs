//! A step at a database: applies migrations, each once, and says which the database has.
//!
//! It is a process of its own, run like a job of the version whose migrations they are: confined like it, with its variables and its log.
//! What it found is in a file that the server reads when it has ended. What may run is decided elsewhere: it is told the last migration.
//!
//! Invariants: a migration and the record of it are one transaction, or the record says that it began before it did; a migration whose
//! text changed after it ran, or of which nobody knows how far it came, stops everything; an address is in no output.

mod address;
mod engine;
mod folder;
mod own;
mod postgres;
mod read;
mod run;
mod sqlite;
mod standing;
mod tls;

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use lockstep_domain::database::{Applied, Step, TOLD_FILE, Told};
use lockstep_files::whole;

pub use read::files;

use address::Address;
use engine::{Engine, Fault};
use folder::Folder;

/// Does what the only argument says at the database whose address is in a variable of the environment.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let told = arguments.next().and_then(|text| text.into_string().ok());
    let step = told.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let Some(step) = step else {
        return failed("this is a step between Lockstep and a database, and no command");
    };
    match work(&step) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault(why)) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("lockstep: {why}");
    ExitCode::FAILURE
}

fn work(step: &Step) -> Result<(), Fault> {
    let (told, done) = match &step.applied {
        Applied::ByProgram { apply, level } => own::work(step, apply, level)?,
        Applied::ByLockstep => by_lockstep(step)?,
        Applied::Elsewhere => return Err(Fault::new("its migrations are applied outside of Lockstep")),
    };
    tell(&told)?;
    done
}

fn by_lockstep(step: &Step) -> Result<(Told, Result<(), Fault>), Fault> {
    let address = Address::read(&step.variable, env::var_os(&step.variable))?;
    let mut engine = open(&address, step)?;
    let folder = Folder::read(Path::new(&step.folder), engine.dialect())?;
    run::run(step, &folder, engine.as_mut(), &mut |line| println!("{line}"))
}

fn open(address: &Address, step: &Step) -> Result<Box<dyn Engine>, Fault> {
    match address {
        Address::Sqlite(path) => Ok(Box::new(sqlite::Sqlite::new(path, step))),
        Address::Postgres(config, encryption) => {
            Ok(Box::new(postgres::Postgres::new(config, *encryption, step)?))
        }
    }
}

/// Leaves what was found where the server finds it.
fn tell(told: &Told) -> Result<(), Fault> {
    let text = serde_json::to_vec(told).map_err(|error| Fault::new(format!("what was found: {error}")))?;
    whole::put(Path::new(TOLD_FILE), &text, 0o644)
        .map_err(|error| Fault::new(format!("what was found cannot be written: {error}")))
}
