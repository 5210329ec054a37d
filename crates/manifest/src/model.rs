//! A manifest as data: every default filled in, every time in milliseconds, every size in bytes.

use std::collections::BTreeMap;

use lockstep_domain::check::Check;
use lockstep_domain::contract::{ContractKind, ContractSettings};
use lockstep_domain::criticality::Criticality;
use lockstep_domain::database::Database;
use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::job::Job;
use lockstep_domain::name::ResourceName;
use lockstep_domain::process::Processes;
use lockstep_domain::resource::ResourceNeed;
use lockstep_domain::routes::RouteRule;
use lockstep_domain::run::RunSpec;
use lockstep_domain::{ServiceName, VersionRange};
use serde::Serialize;

use crate::cache::CacheFolder;
use crate::path::{Pattern, RelativePath};

/// Longest time of all build steps together, unless the manifest says otherwise.
pub const DEFAULT_BUILD_TIMEOUT_MS: u64 = 30 * 60 * 1_000;
/// Longest time of one test suite, unless the manifest says otherwise.
pub const DEFAULT_TEST_TIMEOUT_MS: u64 = 10 * 60 * 1_000;
/// Most that one build may log, unless the manifest says otherwise: far more than a person reads.
pub const DEFAULT_LOG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// Most that one build may write below its checkout, unless the manifest says otherwise.
pub const DEFAULT_DISK_LIMIT_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// What a service says about itself at one commit. All paths are relative to the folder of the manifest.
///
/// It is made by [`crate::parse()`] only; so it can be written as JSON, and not be read from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The service.
    pub name: ServiceName,
    /// Who answers for it: a team or a person, in their own notation.
    pub owner: Option<String>,
    /// What it costs that it moves, where a plan chooses what does.
    #[serde(skip_serializing_if = "Criticality::is_usual")]
    pub criticality: Criticality,
    /// How its files come about.
    pub build: Build,
    /// What is run to find out whether it works, in this order.
    pub tests: Vec<TestSuite>,
    /// Which files make up the artifact.
    pub package: Package,
    /// How an instance is run.
    pub run: RunSpec,
    /// Programs of it that run beside the one of `run`.
    #[serde(skip_serializing_if = "Processes::is_empty")]
    pub processes: Processes,
    /// The services it calls, and what of them it works with.
    pub requires: BTreeMap<ServiceName, Requirement>,
    /// Databases and the like that it needs.
    pub resources: BTreeMap<ResourceName, ResourceNeed>,
    /// Databases that it brings migrations for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<Database>,
    /// The contracts it offers.
    pub contracts: Vec<ContractSource>,
    /// Breaks of its contracts that the team has agreed to.
    pub accepts: Vec<AcceptedBreak>,
    /// The requests from outside that it takes; none when only other services call it.
    pub routes: Vec<RouteRule>,
    /// Requests that gateways make by themselves to see whether it works.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// Programs of it that run once.
    pub jobs: Vec<Job>,
}

/// What is needed of another service; at least one field says something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// The versions of it that it works with.
    pub range: Option<VersionRange>,
    /// The contract of it that this one was built against: a file or a folder.
    pub contract: Option<RelativePath>,
    /// The operations of it that are called; all when there are none.
    pub operations: Vec<String>,
    /// The port at which it is called, where the program knows no other.
    pub port: Option<u16>,
}

/// A contract that the service offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContractSource {
    /// Its format.
    pub kind: ContractKind,
    /// Where it comes from.
    pub origin: ContractOrigin,
    /// How it is compared.
    pub settings: ContractSettings,
}

/// Where a contract comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContractOrigin {
    /// A file or a folder in the checkout, when it has been built.
    Path(RelativePath),
    /// A command that prints it, run in the folder of the manifest after the build; never empty, without a shell.
    Command(Vec<String>),
    /// The newest schema of a subject in a schema registry, asked for at each release.
    Registry(RegistrySubject),
}

/// A subject in a schema registry that speaks Confluent's interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistrySubject {
    /// The address of the registry, `http://` or `https://`, without a password.
    pub address: String,
    /// The name of the subject.
    pub subject: String,
    /// The variable of the build that holds `USER:PASSWORD` for the registry.
    pub user: Option<String>,
}

/// A break that the team has agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AcceptedBreak {
    /// The id of the rule.
    pub rule: String,
    /// The place of the change, as the comparison names it.
    pub place: String,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it counts, as `2027-01-31`.
    pub until: Option<String>,
}

/// How the files of a version come about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Build {
    /// Programs that must be found, each in one of these versions.
    pub tools: BTreeMap<String, VersionRange>,
    /// Environment variables that must be set; they are handed to the steps and the tests.
    pub variables: Vec<String>,
    /// Environment variables that are handed over when they are set.
    pub optional_variables: Vec<String>,
    /// Environment variables with a fixed value.
    pub env: BTreeMap<String, String>,
    /// Files and folders that it is built from besides the folder of the manifest, from the root of the repository; `.` is all
    /// of it.
    pub sources: Vec<RelativePath>,
    /// Folders that a build finds as an earlier one left them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache: Vec<CacheFolder>,
    /// What becomes of files that the repository keeps elsewhere, as Git LFS does.
    pub lfs: Elsewhere,
    /// What becomes of folders that are other repositories.
    pub submodules: Elsewhere,
    /// Commands, one after the other; the first that fails ends the build.
    pub steps: Vec<Step>,
    /// Longest time of all steps together.
    pub timeout_ms: u64,
    /// Most that steps and tests may log together.
    pub log_limit_bytes: u64,
    /// Most that steps and tests may write below the checkout.
    pub disk_limit_bytes: u64,
}

impl Default for Build {
    fn default() -> Self {
        Self {
            tools: BTreeMap::new(),
            variables: Vec::new(),
            optional_variables: Vec::new(),
            env: BTreeMap::new(),
            sources: Vec::new(),
            cache: Vec::new(),
            lfs: Elsewhere::Refused,
            submodules: Elsewhere::Refused,
            steps: Vec::new(),
            timeout_ms: DEFAULT_BUILD_TIMEOUT_MS,
            log_limit_bytes: DEFAULT_LOG_LIMIT_BYTES,
            disk_limit_bytes: DEFAULT_DISK_LIMIT_BYTES,
        }
    }
}

/// What becomes of something that a repository names and does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Elsewhere {
    /// A commit with such a thing is not built.
    #[default]
    Refused,
    /// It is fetched.
    Fetched,
    /// What stands in its place is taken as it is: a pointer, an empty folder.
    Left,
}

/// One command of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Program and arguments, never empty, run without a shell.
    pub command: Vec<String>,
    /// Where it runs; `None` is the folder of the manifest.
    pub folder: Option<RelativePath>,
}

/// A command that finds out whether a version works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestSuite {
    /// What its result is evidence of.
    pub kind: EvidenceKind,
    /// Program and arguments, never empty, run without a shell. Exit code 0 means green.
    pub command: Vec<String>,
    /// Where it runs; `None` is the folder of the manifest.
    pub folder: Option<RelativePath>,
    /// The JUnit XML files that it writes, below the folder of the manifest; `None` when only the exit code speaks.
    pub report: Option<Pattern>,
    /// Longest time of the suite.
    pub timeout_ms: u64,
}

/// Which files make up the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// The folder that becomes the root of the artifact and that patterns are relative to; `None` is the folder of
    /// the manifest.
    pub root: Option<RelativePath>,
    /// Files that belong to it, never empty.
    pub include: Vec<Pattern>,
    /// Files among these that do not.
    pub exclude: Vec<Pattern>,
}

impl Default for Package {
    fn default() -> Self {
        Self { root: None, include: vec![Pattern::everything()], exclude: Vec::new() }
    }
}
