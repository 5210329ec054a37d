//! What a kind of repository says about itself, on its way to a manifest.

use std::collections::BTreeMap;

use lockstep_domain::image_run::ImageRun;
use lockstep_domain::job::Job;
use lockstep_domain::limits::Limits;
use lockstep_domain::name::ProcessName;
use lockstep_domain::run::{HealthCheck, Kind, Stop};
use lockstep_domain::static_files::StaticFiles;
use lockstep_domain::work_path::WorkPath;

use crate::model::{Build, Package, TestSuite};

/// What a kind of repository says about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub(crate) name: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) build: Build,
    pub(crate) tests: Vec<TestSuite>,
    pub(crate) package: Package,
    /// Empty where nothing says how it is started.
    pub(crate) command: Vec<String>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) health_path: Option<String>,
    /// What something said of its health, with its times.
    pub(crate) health: Option<HealthCheck>,
    /// Whether something besides its command and its variables tells it where to listen.
    pub(crate) is_told: bool,
    pub(crate) stop: Stop,
    pub(crate) limits: Limits,
    pub(crate) data: Vec<WorkPath>,
    pub(crate) files: Vec<WorkPath>,
    pub(crate) jobs: Vec<Job>,
    /// What its process is called, where it has several.
    pub(crate) process: Option<ProcessName>,
    /// Its other processes: each works unasked.
    pub(crate) workers: Vec<Worker>,
    /// The ports that something says it listens on.
    pub(crate) ports: Vec<u16>,
    /// The files that Lockstep serves by itself, where it has no program.
    pub(crate) pages: Option<StaticFiles>,
    /// How it is run where it is an image.
    pub(crate) image: Option<ImageRun>,
    /// Whether it answers with pages for a browser, so that its paths begin at the root.
    pub(crate) is_page: bool,
    pub(crate) assumptions: Vec<String>,
    /// What nobody but a person knows, and the field of the manifest that it is about.
    pub(crate) questions: Vec<(&'static str, String)>,
}

/// A process that runs beside the one that a draft is of.
#[derive(Debug, Clone)]
pub(crate) struct Worker {
    pub(crate) name: ProcessName,
    pub(crate) command: Vec<String>,
    pub(crate) variables: BTreeMap<String, String>,
}

impl Draft {
    /// Tells whether something says what it runs or serves.
    pub(crate) fn is_started(&self) -> bool {
        !self.command.is_empty() || self.pages.is_some() || self.image.is_some()
    }

    /// Lets Lockstep serve the files of a folder; pages that find their own way get the first one for every other.
    pub(crate) fn serve(&mut self, folder: &str, fallback: Option<&str>) {
        let root = folder.parse().ok();
        let fallback = fallback.and_then(|file| file.parse().ok());
        self.pages = Some(StaticFiles { root, fallback, immutable: Vec::new() });
        self.is_page = true;
    }

    /// Notes what was taken to be so.
    pub(crate) fn assume(&mut self, text: impl Into<String>) {
        self.assumptions.push(text.into());
    }

    /// Lets Python look for modules in one more folder.
    pub(crate) fn python_path(&mut self, folder: &str) {
        let path = self.variables.entry("PYTHONPATH".into()).or_default();
        if !path.split(':').any(|one| one == folder) {
            *path = if path.is_empty() { folder.to_owned() } else { format!("{folder}:{path}") };
        }
    }

    /// Notes what a person has to answer.
    pub(crate) fn ask(&mut self, field: &'static str, text: impl Into<String>) {
        self.questions.push((field, text.into()));
    }
}
