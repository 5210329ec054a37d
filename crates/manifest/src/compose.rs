//! What a compose file says, as manifests of services, resources of an environment, and what could not be taken.
//!
//! Nothing here reads files or asks a server: a [`RepositoryView`] goes in, an [`Import`] comes out. Names of other services in
//! addresses become references (`places.rs`), databases become resources, nginx becomes a service with its configuration as a
//! template (`front.rs`), and everything that is left out is said with its line.
//!
//! Invariant: every manifest can be parsed, and no file of it is one that is there already.

mod beside;
mod extend;
mod file;
mod front;
mod images;
mod limits;
mod parts;
mod places;
mod roles;
mod services;
mod variables;

use std::collections::BTreeMap;

use lockstep_domain::ServiceName;
use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceKind;

use crate::init::RepositoryView;

/// What comes of a compose file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Import {
    /// Services, in the order of the file.
    pub services: Vec<ImportedService>,
    /// Databases and the like, in the order of their names.
    pub resources: Vec<ImportedResource>,
    /// Files to write, by their paths from the folder of the compose file, in the order of their paths.
    pub files: BTreeMap<String, String>,
    /// What was assumed, is asked, or was not taken, in the order of the file.
    pub remarks: Vec<Said>,
}

/// A service that comes of a compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedService {
    /// Its name.
    pub name: ServiceName,
    /// Its folder, from the folder of the compose file; empty for that folder itself.
    pub folder: String,
    /// Where its manifest is, from the folder of the compose file.
    pub manifest: String,
    /// Whether the manifest is kept with the service, because others share its folder.
    pub is_kept: bool,
    /// How many instances of it run.
    pub replicas: u32,
    /// What belongs to the environment and not to the version.
    pub configuration: BTreeMap<String, Configured>,
    /// What it is, for people.
    pub what: String,
    /// The image that its versions are.
    pub image: Option<String>,
}

/// A value that belongs to an environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Configured {
    /// The value.
    pub value: String,
    /// Whether nobody may see it.
    pub is_secret: bool,
}

impl std::fmt::Debug for Configured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Configured").field("is_secret", &self.is_secret).finish_non_exhaustive()
    }
}

/// A database or the like that comes of a compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedResource {
    /// Its name.
    pub name: ResourceName,
    /// What it is.
    pub kind: ResourceKind,
    /// The image that it was.
    pub image: String,
}

/// What kind of a remark it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// It could not be taken over.
    NotTaken,
    /// Nobody but a person knows.
    Question,
    /// It was taken to be so.
    Assumed,
}

/// A remark.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Said {
    /// What kind it is.
    pub kind: Remark,
    /// The line of the compose file; 0 where it is about all of it.
    pub line: usize,
    /// The service of the compose file.
    pub service: String,
    /// What is said.
    pub text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What is said while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    service: String,
    all: Vec<Said>,
}

impl Remarks {
    fn push(&mut self, kind: Remark, line: usize, text: String, hint: Option<String>) {
        let said = Said { kind, line, service: self.service.clone(), text, hint };
        if !self.all.contains(&said) {
            self.all.push(said);
        }
    }
}

/// Reads a compose file in the folder that a view shows, with the services of these profiles.
#[must_use]
pub fn import(file: &str, view: &RepositoryView, profiles: &[String]) -> Import {
    let mut remarks = Remarks::default();
    let services = file::read(file, view, &mut remarks);
    let roles = roles::roles(&services, view, profiles, &mut remarks);
    let mut import = services::manifests(&services, &roles, file, view, &mut remarks);
    import.remarks = remarks.all;
    import.remarks.sort_by_key(|said| (said.kind, said.line));
    import
}

#[cfg(test)]
mod strangers;
#[cfg(test)]
mod tests;
