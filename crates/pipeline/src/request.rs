//! What a build is asked to do, and how it tells what it is doing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use lockstep_domain::build_variables::is_reserved;
use lockstep_domain::evidence::EvidenceKind;
use lockstep_domain::service::GivenFile;
use lockstep_domain::{BuildVariables, ServiceName};
use serde::{Deserialize, Serialize};

use crate::guard::GuardCommand;
use crate::repository::{Reference, RepositoryLocation, SourceFolder};

/// A build to be made.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The name of the build, for `lockstep logs BUILD`.
    pub build: String,
    /// Where the source comes from.
    pub repository: RepositoryLocation,
    /// The folder of the service in it.
    pub folder: SourceFolder,
    /// The branch, tag or commit; `None` is what the repository's `HEAD` points to.
    pub reference: Option<Reference>,
    /// The commit, where `reference` only names the branch that it is of.
    pub commit: Option<Reference>,
    /// The text of a manifest that is given, where the commit has none.
    pub manifest: Option<String>,
    /// What was made elsewhere, in place of a build.
    pub given: Option<Given>,
    /// The folder of this build alone: absolute, kept by the caller. See [`BuildOutput`](crate::BuildOutput) for what is in it.
    pub work_folder: PathBuf,
    /// The folder of all mirrors, shared by all builds.
    pub mirror_folder: PathBuf,
    /// The folder of the caches of all services; `None` where nothing is cached.
    pub cache_folder: Option<PathBuf>,
    /// What no step and no test may see: the data folder of Lockstep. `None` when there is none.
    pub data_folder: Option<PathBuf>,
    /// How large each of its contracts may be.
    pub largest_contract: LargestContract,
    /// How a guard is started.
    pub guard: GuardCommand,
    /// The variables that manifests can name, and where tools are found.
    pub host: HostEnvironment,
}

/// What was made elsewhere.
#[derive(Debug, Clone)]
pub struct Given {
    /// Where the archive lies.
    pub archive: PathBuf,
    /// What it was when it was given.
    pub facts: GivenFile,
    /// Reports of tests.
    pub reports: Vec<TestReport>,
    /// Where it is an image.
    pub image: Option<OfImage>,
}

/// Which image is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfImage {
    /// What it was asked for by: a name in a registry, or of a file or folder.
    pub reference: String,
    /// Which one, where the file has several.
    pub name: Option<String>,
}

/// A report of tests that was given.
#[derive(Debug, Clone)]
pub struct TestReport {
    /// Of which tests, when who gave it said so.
    pub kind: Option<EvidenceKind>,
    /// The name of the file.
    pub name: String,
    /// What it says.
    pub content: Vec<u8>,
}

/// How large one contract may be, with all its files: reading one takes some 20 times its size in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargestContract(u16);

impl LargestContract {
    /// So many MiB.
    #[must_use]
    pub const fn mib(mib: u16) -> Self {
        Self(mib)
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        (self.0 as usize) << 20
    }
}

impl Default for LargestContract {
    /// 64 MiB: the largest public ones have a fifth of that.
    fn default() -> Self {
        Self(64)
    }
}

impl fmt::Display for LargestContract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

/// Variables that every program needs and no artifact should depend on.
pub(crate) const PASSED_ON: [&str; 3] = ["PATH", "HOME", "USER"];

/// The environment that the builds of one service can ask for, normally a part of the server's.
///
/// Invariant: it holds no value that a build of this service may not have, so nothing that reads it can give one away.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct HostEnvironment {
    values: BTreeMap<String, String>,
    /// Names of variables that are set and not allowed.
    withheld: BTreeSet<String>,
    asking: Asking,
}

/// Whether it is known yet whose build it is.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Asking {
    #[default]
    AService,
    /// A manifest is only read: nothing runs, so nothing that it asks for is looked for.
    Nobody,
}

impl HostEnvironment {
    /// Takes what the builds of a service may have of the environment of this process; values that are not UTF-8 count
    /// as not set.
    #[must_use]
    pub fn of_this_process(service: &ServiceName, allowed: &BuildVariables) -> Self {
        Self::taken(|name| PASSED_ON.contains(&name) || allowed.allow(service, name), Asking::AService)
    }

    /// Takes what is needed to read the manifest of a service whose name is not known yet.
    #[must_use]
    pub fn to_read_a_manifest() -> Self {
        Self::taken(|name| PASSED_ON.contains(&name), Asking::Nobody)
    }

    fn taken(may: impl Fn(&str) -> bool, asking: Asking) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let all = std::env::vars_os().filter_map(text);
        let (values, withheld): (Vec<_>, Vec<_>) = all.partition(|(name, _)| may(name));
        let withheld = withheld.into_iter().map(|(name, _)| name).collect();
        Self { values: values.into_iter().collect(), withheld, asking }
    }

    /// Tells whether a demanded variable is not there.
    #[must_use]
    pub fn lacks(&self, name: &str) -> bool {
        self.asking == Asking::AService && self.get(name).is_none()
    }

    /// Sets a variable, unless it is Lockstep's own.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if !is_reserved(name) {
            self.values.insert(name.to_owned(), value.to_owned());
        }
        self
    }

    /// Tells whether a variable is set and not allowed to these builds.
    #[must_use]
    pub fn withholds(&self, name: &str) -> bool {
        self.withheld.contains(name)
    }

    /// Returns a variable; an empty one counts as not set, because that is what an unset secret of a CI system looks like.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl fmt::Debug for HostEnvironment {
    /// Writes only the number of variables: their values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostEnvironment({} variables)", self.values.len())
    }
}

/// A part of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The repository's mirror is brought up to date.
    Fetch,
    /// Manifest, tools, variables and work tree are checked.
    Check,
    /// The commit is checked out.
    Checkout,
    /// The manifest's steps run.
    Build,
    /// What was made elsewhere is unpacked.
    Unpack,
    /// The contracts are read.
    Contract,
    /// The manifest's test suites run.
    Test,
    /// Reports that were given are read.
    Evidence,
    /// The artifact is made.
    Package,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fetch => "fetch",
            Self::Check => "check",
            Self::Checkout => "checkout",
            Self::Build => "build",
            Self::Unpack => "unpack",
            Self::Contract => "contract",
            Self::Test => "test",
            Self::Evidence => "evidence",
            Self::Package => "package",
        })
    }
}

/// How a phase or a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// As it should.
    Good,
    /// Not as it should.
    Bad,
}

/// Something that a build tells while it runs. The log itself is a file that can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum BuildEvent {
    /// A phase began.
    PhaseStarted {
        /// The phase.
        phase: Phase,
    },
    /// A phase ended.
    PhaseEnded {
        /// The phase.
        phase: Phase,
        /// How.
        ending: Ending,
        /// How long it took.
        duration_ms: u64,
    },
    /// A command of the manifest began.
    CommandStarted {
        /// The phase: build or test.
        phase: Phase,
        /// Its place among the commands of the phase, from 1.
        number: usize,
        /// How many commands the phase has.
        count: usize,
        /// The command, for people.
        command: String,
    },
    /// A command of the manifest ended.
    CommandEnded {
        /// The phase: build or test.
        phase: Phase,
        /// Its place among the commands of the phase, from 1.
        number: usize,
        /// How.
        ending: Ending,
        /// How long it took.
        duration_ms: u64,
    },
    /// Something that a person should know although it stops nothing.
    Note {
        /// The sentence.
        text: String,
    },
}

/// Hears what a build tells.
pub trait Observer {
    /// Takes note of an event. It is called from the thread of the build and must not block for long.
    fn event(&self, event: &BuildEvent);
}

impl<F: Fn(&BuildEvent)> Observer for F {
    fn event(&self, event: &BuildEvent) {
        self(event);
    }
}
