//! A step at a database: applies migrations, each once, and says which the database has.
//!
//! It is a process of its own, run like a job of the version whose migrations they are: confined like it, with its variables and its log.
//! What it found is in a file that the server reads when it has ended. What may run is decided elsewhere: it is told the last migration.
//!
//! Invariants: a migration, or its way down, and the record of it are one transaction, or the record says that it began before it did; a migration whose
//! text changed after it ran, or of which nobody knows how far it came, stops everything; an address is in no output; wherever a step
//! dies, what it left is no worse than what its notes say.

mod address;
mod engine;
mod folder;
mod lasting;
mod notes;
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

use lockstep_domain::database::{Applied, Step};

pub use lasting::lost;
pub use read::{Wrong, files};

use address::Address;
use engine::{Engine, Fault};
use folder::Folder;
use notes::Notes;
use run::Outcome;

/// Does what the only argument says at the database whose address is in a variable of the environment.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let told = arguments.next().and_then(|text| text.into_string().ok());
    let step = told.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let Some(step) = step else {
        return failed("this is a step between Lockstep and a database, and no command");
    };
    match work(&step) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => failed(&fault.to_string()),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("lockstep: {why}");
    ExitCode::FAILURE
}

/// Does a step, and leaves what was found where the server finds it, however it ended.
fn work(step: &Step) -> Result<(), Fault> {
    let mut notes = Notes::begin()?;
    let (found, done) = match do_it(step, &mut notes) {
        Ok((found, done)) => (Some(found), done),
        Err(fault) => (None, Err(fault)),
    };
    notes.end(found, done.as_ref().err())?;
    done
}

fn do_it(step: &Step, notes: &mut Notes) -> Result<Outcome, Fault> {
    match &step.applied {
        Applied::ByProgram { apply, level, revert } => {
            own::work(step, &own::Programs { apply, level, revert }, notes)
        }
        Applied::ByLockstep => by_lockstep(step, notes),
        Applied::Elsewhere => Err(Fault::new("its migrations are applied outside of Lockstep")),
    }
}

fn by_lockstep(step: &Step, notes: &mut Notes) -> Result<Outcome, Fault> {
    let address = Address::read(&step.variable, env::var_os(&step.variable))?;
    lasting::check(&step.variable, &address, &step.data)?;
    let mut engine = open(&address, step)?;
    let folder = Folder::read(Path::new(&step.folder), engine.dialect())?;
    run::run(step, &folder, engine.as_mut(), (notes, &mut |line: &str| println!("{line}")))
}

fn open(address: &Address, step: &Step) -> Result<Box<dyn Engine>, Fault> {
    match address {
        Address::Sqlite(path) => Ok(Box::new(sqlite::Sqlite::new(path, step))),
        Address::Postgres(config, encryption) => {
            Ok(Box::new(postgres::Postgres::new(config, *encryption, step)?))
        }
    }
}
