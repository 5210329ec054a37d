//! Checks out what a build is made from: the folder of the service and what its manifest names, and nothing else of the
//! repository. So a build costs what its service costs, and cannot depend on what its key does not know.

use std::ffi::OsStr;
use std::fs;

use lockstep_manifest::Elsewhere;

use crate::failure::{BuildFault, io_fault};
use crate::git::{Git, PROTOCOLS, REMOTE_PROTOCOLS};
use crate::mirror::{Unfinished, run_git, run_git_allowing};
use crate::run::Prepared;
use crate::workplace::Workplace;

/// Makes a clone that shares the mirror's objects, with the files of the service at its commit.
pub(crate) fn check_out(place: &Workplace<'_>, prepared: &Prepared) -> Result<(), BuildFault> {
    let checkout = Checkout { place, prepared };
    checkout.clone()?;
    checkout.files()?;
    checkout.large_files()?;
    checkout.submodules()
}

struct Checkout<'a> {
    place: &'a Workplace<'a>,
    prepared: &'a Prepared,
}

impl Checkout<'_> {
    fn clone(&self) -> Result<(), BuildFault> {
        let source = self.place.source();
        fs::create_dir_all(&source).map_err(|error| io_fault(&source, "created", error))?;
        let words = ["clone", "--shared", "--no-checkout", "--quiet", "--"].map(OsStr::new);
        let words = [&words[..], &[self.prepared.mirror.folder().as_os_str(), OsStr::new(".")]].concat();
        self.git(&words)
    }

    fn files(&self) -> Result<(), BuildFault> {
        let checked = &self.prepared.checked;
        let commit = checked.commit.as_str();
        let mut words = Vec::new();
        match checked.scope.patterns() {
            None => self.place.say(&format!("checkout {commit}")),
            Some(patterns) => {
                let parts = checked.scope.paths().join(", ");
                self.place
                    .say(&format!("checkout {commit}: {parts}, and nothing else; build.sources names more"));
                self.write_patterns(&patterns)?;
                words.extend(["-c", "core.sparseCheckout=true", "-c", "core.sparseCheckoutCone=false"]);
            }
        }
        words.extend(["checkout", "--quiet", "--detach", commit]);
        self.git(&words.into_iter().map(OsStr::new).collect::<Vec<_>>())
    }

    fn write_patterns(&self, patterns: &str) -> Result<(), BuildFault> {
        let folder = self.place.source().join(".git/info");
        let file = folder.join("sparse-checkout");
        fs::create_dir_all(&folder).map_err(|error| io_fault(&folder, "created", error))?;
        fs::write(&file, patterns).map_err(|error| io_fault(&file, "written", error))
    }

    /// Fetches files of Git LFS, where the manifest says so.
    fn large_files(&self) -> Result<(), BuildFault> {
        if self.prepared.checked.manifest.build.lfs != Elsewhere::Fetched {
            return Ok(());
        }
        self.place.say("fetch files of Git LFS; git-lfs must be installed where the server runs");
        let paths = self.prepared.checked.scope.paths().join(",");
        let include = format!("--include={paths}");
        let words = ["lfs", "pull"].into_iter().chain((!paths.is_empty()).then_some(include.as_str()));
        self.fetch(PROTOCOLS, &words.collect::<Vec<_>>())
    }

    /// Fetches submodules, where the manifest says so; those of submodules only from elsewhere.
    fn submodules(&self) -> Result<(), BuildFault> {
        if self.prepared.checked.manifest.build.submodules != Elsewhere::Fetched {
            return Ok(());
        }
        self.place.say("fetch submodules");
        let (protocols, depth) = match self.prepared.mirror.location().local() {
            Some(_) => (PROTOCOLS, None),
            None => (REMOTE_PROTOCOLS, Some("--recursive")),
        };
        let words = ["submodule", "--quiet", "update", "--init"].into_iter().chain(depth).chain(["--"]);
        let words: Vec<_> = words.chain(self.prepared.checked.scope.paths()).collect();
        self.fetch(protocols, &words)?;
        self.no_submodule_is_empty()
    }

    /// One in another that was not fetched would be an empty folder without a word.
    fn no_submodule_is_empty(&self) -> Result<(), BuildFault> {
        let source = self.place.source();
        let git = Git { folder: &source, cancel: self.place.cancel };
        let words = ["submodule", "status", "--recursive", "--"];
        let output = git.ask(&[&words[..], &self.prepared.checked.scope.paths()].concat())?;
        let text = String::from_utf8_lossy(&output).into_owned();
        let empty = text.lines().find_map(|line| line.strip_prefix('-')?.split_once(' '));
        empty.map_or(Ok(()), |(_, path)| {
            Err(self.fault(Unfinished::Because(format!(
                "the submodule `{path}` is in another one and was not fetched"
            ))))
        })
    }

    /// Fetches more from where the repository is.
    fn fetch(&self, protocols: &str, words: &[&str]) -> Result<(), BuildFault> {
        let location = self.prepared.mirror.location();
        let origin = format!("remote.origin.url={}", location.as_argument().to_string_lossy());
        let words = [&["-c", &origin], words].concat();
        let words: Vec<_> = words.into_iter().map(OsStr::new).collect();
        let (source, root) = (self.place.source(), self.place.root());
        run_git_allowing(protocols, self.place, &source, root, Some(location), &words)
            .map_err(|problem| self.fault(problem))
    }

    fn git(&self, words: &[&OsStr]) -> Result<(), BuildFault> {
        let result = run_git(self.place, &self.place.source(), self.place.root(), None, words);
        result.map_err(|problem| {
            if matches!(problem, Unfinished::Because(_)) {
                self.prepared.mirror.doubt();
            }
            self.fault(problem)
        })
    }

    fn fault(&self, problem: Unfinished) -> BuildFault {
        match problem {
            Unfinished::Fault(fault) => fault,
            Unfinished::Because(reason) => {
                BuildFault::Checkout { commit: self.prepared.checked.commit.to_string(), reason }
            }
        }
    }
}
