//! The last table of each environment on disk, so that a gateway can start without its server.
//!
//! Invariant: the file of an environment is always a whole table: it is written beside and renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lockstep_domain::EnvironmentName;
use lockstep_domain::routes::{ROUTE_TABLE_FORMAT, RouteTable};
use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use super::parse::{TableError, parse_table};
use crate::by_hand::{Refused, Written, read_json, read_toml};
use crate::table::TableProblem;

/// Largest file that is read as a table: ten thousand instances take about 1 MiB.
const MAX_TABLE: u64 = 64 * 1_024 * 1_024;

/// Why a table could not be stored or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file or its folder could not be written.
    #[error("cannot write the route table `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file could not be read.
    #[error("cannot read the route table `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is longer than any table.
    #[error("`{}` has {length} bytes; a route table has at most {MAX_TABLE}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// The file was written by a newer program.
    #[error("`{}` has format {format}; this gateway reads up to {ROUTE_TABLE_FORMAT}, upgrade it first", path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The file, which a person wrote, cannot be served as it stands.
    #[error("`{}` is not a table that can be served: {}", path.display(), listed(problems))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it, in its order.
        problems: Vec<TableProblem>,
    },
    /// The file is not a table.
    #[error("`{}` is not a route table", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The file is the table of another environment.
    #[error("`{}` is the table of `{found}`, not of `{expected}`", path.display())]
    OtherEnvironment {
        /// The file.
        path: PathBuf,
        /// The environment that was asked for.
        expected: EnvironmentName,
        /// The environment it names.
        found: EnvironmentName,
    },
}

/// A folder with the last table of each environment.
#[derive(Debug, Clone)]
pub struct TableStore {
    folder: PathBuf,
}

impl TableStore {
    /// Uses this folder; it is made with the first table.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the file of an environment.
    #[must_use]
    pub fn path(&self, environment: &EnvironmentName) -> PathBuf {
        self.folder.join(format!("{environment}.routes.json"))
    }

    /// Stores a table in place of the one before; after a crash at any moment one of the two is there.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn save(&self, table: &RouteTable) -> Result<(), StoreError> {
        let path = self.path(&table.environment);
        let beside = path.with_extension("new");
        let write = || {
            let _alone = self.alone()?;
            let mut file = File::create(&beside)?;
            file.write_all(&serde_json::to_vec(table)?)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|source| StoreError::Write { path: path.clone(), source })
    }

    /// Makes the folder, and keeps other processes from writing into it until the result is dropped: while a gateway takes over from
    /// another both write here.
    pub(super) fn alone(&self) -> io::Result<File> {
        fs::create_dir_all(&self.folder)?;
        let folder = File::open(&self.folder)?;
        flock(&folder, FlockOperation::LockExclusive)?;
        Ok(folder)
    }

    /// Reads the stored table of an environment; `None` when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or is not the table of this environment.
    pub fn load(&self, environment: &EnvironmentName) -> Result<Option<RouteTable>, StoreError> {
        let path = self.path(environment);
        let table = match read_served(&path) {
            Err(StoreError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        };
        if table.environment == *environment {
            Ok(Some(table))
        } else {
            let (expected, found) = (environment.clone(), table.environment);
            Err(StoreError::OtherEnvironment { path, expected, found })
        }
    }
}

/// Most problems that an error names; `lockstep gateway check` names all.
const MAX_LISTED: usize = 10;

fn listed(problems: &[TableProblem]) -> String {
    let shown: Vec<_> = problems.iter().take(MAX_LISTED).map(ToString::to_string).collect();
    let more = problems.len().saturating_sub(MAX_LISTED);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join("; "))
}

/// Reads a table that a server made. What one of a newer release says beside it is for gateways of newer releases.
fn read_served(path: &Path) -> Result<RouteTable, StoreError> {
    let path_of = || path.to_path_buf();
    parse_table(&read_bytes(path)?).map_err(|error| match error {
        TableError::NewerFormat { format } => StoreError::NewerFormat { path: path_of(), format },
        TableError::Text(source) => StoreError::Parse { path: path_of(), source },
    })
}

/// Reads a table that a person wrote, who may have made mistakes.
///
/// # Errors
/// When the file cannot be read, is too long, or is not a table that can be served.
pub(crate) fn read_written(path: &Path) -> Result<Written, StoreError> {
    let path_of = || path.to_path_buf();
    let bytes = read_bytes(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let read = &bytes[..error.valid_up_to()];
        let line = 1 + read.iter().filter(|&&byte| byte == b'\n').count();
        let problem = TableProblem::new(String::new(), "it is not text in UTF-8".to_owned());
        StoreError::Wrong { path: path_of(), problems: vec![TableProblem { line: Some(line), ..problem }] }
    })?;
    let is_toml = path.extension().is_some_and(|end| end == "toml");
    let read = if is_toml { read_toml(text, &path.display().to_string()) } else { read_json(text) };
    read.map_err(|refused| match refused {
        Refused::NewerFormat(format) => StoreError::NewerFormat { path: path_of(), format },
        Refused::Wrong(problems) => StoreError::Wrong { path: path_of(), problems },
    })
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, StoreError> {
    let read = |source| StoreError::Read { path: path.to_path_buf(), source };
    let metadata = fs::metadata(path).map_err(read)?;
    // A pipe would be waited for, a device has no end.
    if !metadata.is_file() {
        return Err(read(io::Error::other("it is no file")));
    }
    let length = metadata.len();
    if length > MAX_TABLE {
        return Err(StoreError::TooLong { path: path.to_path_buf(), length });
    }
    fs::read(path).map_err(read)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn table(environment: &str, revision: u64) -> RouteTable {
        RouteTable {
            listeners: None,
            entry: None,
            visits: None,
            lanes: Vec::new(),
            switches: None,
            between: None,
            checks: Vec::new(),
            aliases: BTreeMap::new(),
            format: ROUTE_TABLE_FORMAT,
            environment: environment.parse().unwrap(),
            history: Default::default(),
            revision,
            baseline: 1,
            routes: Vec::new(),
            services: BTreeMap::new(),
            rules: None,
            callers: Vec::new(),
        }
    }

    #[test]
    fn the_last_table_of_each_environment_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = TableStore::new(folder.path().join("tables"));
        let production = "production".parse().unwrap();
        assert_eq!(store.load(&production).unwrap(), None);
        for table in [table("production", 1), table("staging", 7), table("production", 2)] {
            store.save(&table).unwrap();
        }
        assert_eq!(store.load(&production).unwrap(), Some(table("production", 2)));
        assert_eq!(fs::read_dir(folder.path().join("tables")).unwrap().count(), 2);
    }

    #[test]
    fn what_is_not_a_table_of_this_environment_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let store = TableStore::new(folder.path().to_path_buf());
        let production = "production".parse().unwrap();
        let path = store.path(&production);
        let error_of = |text: &str| {
            fs::write(&path, text).unwrap();
            store.load(&production).unwrap_err().to_string()
        };
        assert!(error_of("{").ends_with("production.routes.json` is not a route table"));
        let newer = ROUTE_TABLE_FORMAT + 1;
        let refused = format!("has format {newer}; this gateway reads up to {ROUTE_TABLE_FORMAT}");
        assert!(error_of(&format!("{{\"format\":{newer},\"new\":1}}")).contains(&refused));
        let other = serde_json::to_string(&table("staging", 1)).unwrap();
        assert!(error_of(&other).ends_with("is the table of `staging`, not of `production`"));
    }
}
