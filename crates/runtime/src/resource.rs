//! Databases that Lockstep runs for an environment: what to run, where its data is, whom it runs as, and whether it answers.
//!
//! A supervisor looks after the process as after an instance. Between the two stands a *step* ([`step::main`]), which makes the
//! data where there is none yet, takes the lock of its folder, and becomes the database. Invariant: whatever has the files of a
//! resource open holds that lock, so there are never two.

pub mod greet;
mod postgresql;
pub mod programs;
mod redis;
pub mod step;
mod user;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use lockstep_confine::{Launch, Policy};
use lockstep_domain::fault::Fault;
use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceKind;
use lockstep_domain::{EnvironmentName, ServiceName};
use serde::{Deserialize, Serialize};

use crate::data::DataFolders;
use crate::folder::InstanceFolder;
use crate::machine::Trouble;
use crate::process::MARKER;
use crate::spec::SpecFile;

pub(crate) use user::owner_for;

/// The user that services connect as, where a kind of resource has users.
pub const USER: &str = "app";
/// What is said where the data of a resource was lost.
pub(crate) const GONE: &str = "the data of the resource is gone; put it back, or begin anew: lockstep resource remove NAME \
                               --delete-data, then lockstep resource run NAME";
/// What only a folder has in which a database is still to be made.
pub(crate) const EMPTY: &str = "empty";
/// Where the files of the database itself are, in the folder of its data.
pub(crate) const FILES: &str = "data";
/// The variable by which the step is told the password.
pub const PASSWORD: &str = "LOCKSTEP_RESOURCE_PASSWORD";
/// The name of the password, by which one is told from another.
pub(crate) const SECRET: &str = "LOCKSTEP_RESOURCE_SECRET";
/// Variables that the step gets as they are here.
const HANDED_ON: [&str; 2] = ["PATH", "TZ"];

/// What a supervisor must know of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRun {
    /// Its name.
    pub name: ResourceName,
    /// What it is.
    pub kind: ResourceKind,
    /// The name of its password in the secret store.
    pub secret: String,
}

/// Returns the command that a resource is shown with.
#[must_use]
pub fn command(kind: ResourceKind) -> Vec<String> {
    vec![if kind == ResourceKind::Redis { "redis-server" } else { "postgres" }.to_owned()]
}

/// Returns the name of the database in a resource.
#[must_use]
pub fn database(kind: ResourceKind, name: &ResourceName) -> &str {
    if kind == ResourceKind::Redis { "0" } else { name.as_str() }
}

/// Makes the folder in which the data of a resource will lie, unless it is there, also from a time before.
///
/// # Errors
/// When it cannot be made, or there is no user for it.
pub fn make_folder(
    folders: &DataFolders,
    environment: &EnvironmentName,
    name: &ResourceName,
    kind: ResourceKind,
) -> io::Result<()> {
    let folder = folder_of(folders, environment, name, kind);
    if folder.symlink_metadata().is_ok() {
        return Ok(());
    }
    let above = folder.parent().ok_or_else(|| io::Error::other("it has no folder above it"))?;
    DirBuilder::new().recursive(true).mode(0o700).create(above)?;
    // Under its name when it is complete.
    let new = above.join(format!(".new-{kind}"));
    lockstep_files::tree::remove(&new)?;
    DirBuilder::new().mode(0o700).create(&new)?;
    File::create(new.join(EMPTY))?.sync_all()?;
    fs::rename(&new, &folder)?;
    File::open(above)?.sync_all()
}

/// Returns the folder of a resource below the folders of all.
#[must_use]
pub fn folder_of(
    folders: &DataFolders,
    environment: &EnvironmentName,
    name: &ResourceName,
    kind: ResourceKind,
) -> PathBuf {
    folders.of(environment, &as_owner(name)).join(kind.as_str())
}

/// Resources and services are named alike.
#[must_use]
pub fn as_owner(name: &ResourceName) -> ServiceName {
    name.as_str().parse().expect("resources are named like services")
}

/// Where the data of all resources is, seen from an instance: never by a path that was written down, because a folder that
/// was copied would lead to the files of its original.
fn folders_beside(folder: &InstanceFolder) -> io::Result<DataFolders> {
    let root = folder.path().ancestors().nth(2);
    let root = root.ok_or_else(|| io::Error::other("the folder of the instance lies nowhere"))?;
    Ok(DataFolders::at(root.join("resources")))
}

fn data_of(folder: &InstanceFolder, spec: &SpecFile, run: &ResourceRun) -> io::Result<PathBuf> {
    Ok(folder_of(&folders_beside(folder)?, &spec.environment, &run.name, run.kind))
}

/// Makes sure that the data is there, and that whoever runs the database may use it.
///
/// # Errors
/// Says why the process must not be started.
pub(crate) fn furnish(folder: &InstanceFolder, spec: &SpecFile, run: &ResourceRun) -> Result<(), Trouble> {
    let lost = |path: &Path, error: &io::Error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => format!("{GONE} (`{}` is not there)", path.display()),
            _ => format!("the data of the resource cannot be used, `{}`: {error}", path.display()),
        };
        Trouble { why, fault: Fault::Host }
    };
    let data = data_of(folder, spec, run).map_err(|error| lost(folder.path(), &error))?;
    owner_for(&data, run.kind).map_err(|error| lost(&data, &error))?;
    check_files(&data).map_err(|error| lost(&data.join(FILES), &error))
}

/// A database that was made once has its files; one that is still to be made is noted.
fn check_files(data: &Path) -> io::Result<()> {
    match fs::symlink_metadata(data.join(FILES)) {
        Err(error) if fs::symlink_metadata(data.join(EMPTY)).is_err() => Err(error),
        _ => Ok(()),
    }
}

/// Says how the process of a resource is started.
///
/// # Errors
/// When its folder cannot be looked at.
pub(crate) fn launch(folder: &InstanceFolder, spec: &SpecFile, run: &ResourceRun) -> io::Result<Launch> {
    let data = data_of(folder, spec, run)?;
    let user = owner_for(&data, run.kind)?;
    let hidden = spec.rooms.as_ref().map_or_else(|| data.clone(), |rooms| rooms.hidden.clone());
    let port = spec.port.unwrap_or_default().to_string();
    let mut variables = spec.variables.clone();
    for name in HANDED_ON {
        if let Some(value) = std::env::var_os(name).and_then(|value| value.into_string().ok()) {
            variables.insert(name.to_owned(), value);
        }
    }
    variables.insert(SECRET.to_owned(), run.secret.clone());
    variables.insert(MARKER.to_owned(), folder.path().to_string_lossy().into_owned());
    Ok(Launch {
        // This program, whatever has become of its file.
        program: "/proc/self/exe".into(),
        arguments: vec![
            step::WORD.to_owned(),
            run.kind.to_string(),
            port,
            database(run.kind, &run.name).to_owned(),
        ],
        policy: Policy::of_service(&hidden, &data, vec![data.clone(), folder.stdout(), folder.stderr()]),
        folder: data,
        variables,
        user,
        root: None,
    })
}

/// Tells whether a folder belongs to the user of this process.
fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}
