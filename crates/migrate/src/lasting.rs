//! Whether a file of SQLite is still there when the step, or the service, has ended: their working folder goes with them.

use std::path::{Component, Path};

use lockstep_domain::database::{Applied, Database};
use lockstep_domain::run::RunSpec;
use lockstep_domain::work_path::WorkPath;

use crate::address::{Address, sqlite_path};
use crate::engine::Fault;
use crate::read::Wrong;

/// Says of the address that a manifest gives a database why nothing of it would be left.
#[must_use]
pub fn lost(database: &Database, run: &RunSpec) -> Option<Wrong> {
    let value = run.variables.get(&database.variable).filter(|value| !value.contains("${"))?;
    if database.applied != Applied::ByLockstep || sqlite_path(value).is_none() {
        return None;
    }
    let why = match Address::read(&database.variable, Some(value.into())) {
        Ok(Address::Sqlite(path)) => why_lost(&path, &run.data)?,
        _ => return None,
    };
    let hint = Some(hint(&run.data));
    Some(Wrong { detail: format!("`{}` is {why}", database.variable), hint, ..Wrong::default() })
}

/// Refuses a file that would go with the step.
pub(crate) fn check(variable: &str, address: &Address, data: &[WorkPath]) -> Result<(), Fault> {
    let Address::Sqlite(path) = address else { return Ok(()) };
    match why_lost(path, data) {
        Some(why) => Err(Fault::new(format!("`{variable}` is {why}: {}", hint(data)))),
        None => Ok(()),
    }
}

fn hint(data: &[WorkPath]) -> String {
    let folder = data.first().map_or("var", WorkPath::as_str);
    let first = if data.is_empty() { "add data = [\"var\"] to [run], and " } else { "" };
    format!("keep it in a data folder of the service: {first}write sqlite:{folder}/NAME.db")
}

/// Says why a database is gone with the process that made it. Relative paths are of its working folder, of which only data folders stay.
fn why_lost(path: &Path, data: &[WorkPath]) -> Option<String> {
    let shown = path.display();
    if path.starts_with(":memory:") {
        return Some("a database in memory, which ends with the process that made it".to_owned());
    }
    if path.is_absolute() {
        // The working folder has another path for each process.
        let is_here = std::env::current_dir().is_ok_and(|here| path.starts_with(here));
        return is_here
            .then(|| format!("`{shown}`, which is in the working folder of one process and goes with it"));
    }
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let is_plain = parts.clone().all(|part| matches!(part, Component::Normal(_)));
    let below = parts.collect::<std::path::PathBuf>();
    let stays = is_plain && data.iter().any(|folder| below.starts_with(folder.as_str()));
    (!stays).then(|| format!("`{shown}`, which is in no data folder: it goes with the working folder of the process that made it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_a_data_folder_stays() {
        let data = ["var".parse().unwrap(), "a/b".parse().unwrap()];
        for stays in ["var/x.db", "./var/x.db", "var/sub/x.db", "a/b/x.db", "/srv/x.db"] {
            assert_eq!(why_lost(Path::new(stays), &data), None, "{stays}");
        }
        for lost in ["x.db", "various/x.db", "a/x.db", "../../x.db", "var/../x.db", ":memory:"] {
            assert!(why_lost(Path::new(lost), &data).is_some(), "{lost}");
        }
        assert!(why_lost(Path::new("var/x.db"), &[]).is_some());
        let here = std::env::current_dir().unwrap().join("x.db");
        assert!(why_lost(&here, &data).is_some());
    }
}
