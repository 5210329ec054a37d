//! The programs of databases as they are installed on this host.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lockstep_domain::resource::ResourceKind;

/// Where packages put each version of PostgreSQL into a folder of its own, with the folder of programs below it.
const POSTGRESQL_FOLDERS: [(&str, &str); 2] = [("/usr/lib/postgresql", "bin"), ("/usr", "bin")];
/// The names of programs that speak Redis.
const REDIS: [&str; 2] = ["redis-server", "valkey-server"];
/// Most installations of PostgreSQL that are asked for their version.
const MAX_INSTALLED: usize = 20;

/// An installation of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Postgresql {
    pub(crate) folder: PathBuf,
    pub(crate) major: u32,
}

/// Looks whether this host has the programs for a kind of resource.
///
/// # Errors
/// Says what is missing, and which package has it.
pub fn check(kind: ResourceKind) -> Result<(), String> {
    match kind {
        ResourceKind::Postgresql => postgresql(None).map(drop),
        ResourceKind::Redis => redis().map(drop),
        ResourceKind::Mysql | ResourceKind::Other => Err(format!(
            "Lockstep runs databases of the kinds `postgresql` and `redis`, and none of `{kind}`"
        )),
    }
}

/// Finds PostgreSQL: in the version that made the data, or the newest.
pub(crate) fn postgresql(made_by: Option<u32>) -> Result<Postgresql, String> {
    let mut all = installed();
    all.sort_by_key(|found| found.major);
    match made_by {
        None => all.pop().ok_or_else(|| {
            "PostgreSQL is not installed: no `initdb` and `postgres` in PATH or /usr/lib/postgresql/*/bin; the package is \
             `postgresql` (Debian, Ubuntu) or `postgresql-server` (Fedora, SUSE)"
                .to_owned()
        }),
        Some(major) => {
            let others: Vec<_> = all.iter().map(|found| found.major.to_string()).collect();
            let others = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            all.into_iter().find(|found| found.major == major).ok_or_else(|| {
                format!(
                    "the data was made by PostgreSQL {major}, and installed is {others}; the package is `postgresql-{major}` \
                     (Debian, Ubuntu)"
                )
            })
        }
    }
}

/// Finds a server that speaks Redis.
pub(crate) fn redis() -> Result<PathBuf, String> {
    let found =
        REDIS.iter().find_map(|name| path_folders().map(|folder| folder.join(name)).find(|it| it.is_file()));
    found.ok_or_else(|| {
        "Redis is not installed: no `redis-server` or `valkey-server` in PATH; the package is `redis-server` (Debian, Ubuntu) or \
         `redis` or `valkey` (Fedora, SUSE)"
            .to_owned()
    })
}

fn installed() -> Vec<Postgresql> {
    let below = POSTGRESQL_FOLDERS.iter().flat_map(|(folder, programs)| {
        let versions = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_version = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.trim_start_matches("pgsql-").parse::<u32>().is_ok()
        };
        versions.filter(is_version).map(move |path| path.join(programs))
    });
    let whole = |folder: &PathBuf| folder.join("postgres").is_file() && folder.join("initdb").is_file();
    // A link in PATH leads to where the other programs and their files are.
    let real = |folder: PathBuf| {
        let program = folder.join("postgres").canonicalize().ok()?;
        program.parent().map(Path::to_owned).filter(whole)
    };
    let mut folders: Vec<PathBuf> = path_folders().chain(below).filter_map(real).collect();
    folders.sort();
    folders.dedup();
    let found = folders.into_iter().take(MAX_INSTALLED);
    found
        .filter_map(|folder| Some(Postgresql { major: major_of(&folder.join("postgres"))?, folder }))
        .collect()
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> =
        env::split_paths(&path).chain(["/usr/sbin", "/usr/local/bin"].map(PathBuf::from)).collect();
    folders.into_iter().filter(|folder| folder.is_absolute())
}

fn major_of(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    major_in(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian ...)`.
fn major_in(text: &str) -> Option<u32> {
    let (_, version) = text.split_once("(PostgreSQL) ")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_whatever_stands_behind_it() {
        for (text, major) in [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
            ("postgres (PostgreSQL) 18beta1\n", Some(18)),
            ("postgres\n", None),
        ] {
            assert_eq!(major_in(text), major, "{text}");
        }
    }
}
