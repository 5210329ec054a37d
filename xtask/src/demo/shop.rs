//! The shop's services as git repositories that grow commit by commit, as their histories tell.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::installation;

/// The services that answer customers, with the versions that their histories lead to, providers first.
pub(super) const SERVICES: [(&str, &[&str]); 4] = [
    ("payments", &["1.0.0", "1.1.0", "1.1.1", "2.0.0"]),
    ("catalog", &["1.0.0", "1.1.0", "1.1.1", "1.2.0", "1.3.0", "1.3.1", "1.4.0"]),
    ("orders", &["1.0.0", "1.1.0", "1.1.1", "1.2.0"]),
    ("storefront", &["1.0.0", "1.1.0", "1.1.1", "1.1.2"]),
];

/// The services of a chain that moves as one, providers first, with the versions that come in that chapter. The last but one of
/// the shop window joins it to the chain.
pub(super) const CHAIN: [(&str, &[&str]); 3] =
    [("payments", &["3.0.0"]), ("orders", &["2.0.0"]), ("storefront", &["1.2.0", "1.3.0"])];

/// Returns how many commits of a history are kept for the chapter about the chain.
pub(super) fn kept_for_the_chain(name: &str) -> usize {
    CHAIN.iter().filter(|(service, _)| *service == name).map(|(_, versions)| versions.len()).sum()
}

/// The worker that sends mails, with its versions.
pub(super) const MAILER: (&str, [&str; 2]) = ("mailer", ["1.0.0", "1.1.0"]);

/// A service's repository, and the commits that are still to come.
pub(super) struct Repository {
    /// The name of the service.
    pub(super) name: &'static str,
    /// Where it is.
    pub(super) folder: PathBuf,
    history: Vec<PathBuf>,
    next: usize,
}

impl Repository {
    /// Makes a repository with the first commit of a service's history.
    pub(super) fn begin(name: &'static str, below: &Path) -> Result<Self> {
        let folder = below.join(name);
        fs::create_dir_all(&folder)?;
        let history = commits(&installation::shop().join(name).join("history"))?;
        let mut repository = Self { name, folder, history, next: 0 };
        repository.first_commit()?;
        Ok(repository)
    }

    fn first_commit(&mut self) -> Result<()> {
        let first = self.history.first().with_context(|| format!("`{}` has no history", self.name))?;
        let message = first.with_extension("message");
        ensure!(first.is_dir() && message.is_file(), "the history of `{}` has no beginning", self.name);
        let mut copy = Command::new("cp");
        let contents = first.join(".");
        run(copy.arg("-RL").arg(contents).arg(&self.folder))?;
        self.git(["init", "--quiet", "--initial-branch", "main"])?;
        self.git(["add", "--all"])?;
        self.git([OsStr::new("commit"), OsStr::new("--quiet"), OsStr::new("--file"), message.as_os_str()])?;
        self.next = 1;
        Ok(())
    }

    /// Returns how many commits of the history are still to come.
    pub(super) fn commits_left(&self) -> usize {
        self.history.len() - self.next
    }

    /// Adds the next commit of the history and returns its name.
    pub(super) fn grow(&mut self) -> Result<String> {
        let patch = self.history.get(self.next);
        let patch = patch.with_context(|| format!("the history of `{}` is at its end", self.name))?;
        self.git([OsStr::new("am"), OsStr::new("--quiet"), patch.as_os_str()])?;
        let name = patch.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.next += 1;
        Ok(name)
    }

    /// Runs git in the repository, untouched by how the person at this machine has set it up.
    pub(super) fn git<T: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = T>) -> Result<()> {
        let mut command = Command::new("git");
        command.arg("-C").arg(&self.folder).args(arguments);
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
            command.env_remove(variable);
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        for person in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{person}_NAME"), "The Shop");
            command.env(format!("GIT_{person}_EMAIL"), "team@shop.example");
        }
        run(&mut command)
    }
}

/// Lists a history in its order: the folder of the first commit, then patches.
fn commits(history: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(history).with_context(|| format!("cannot read {}", history.display()))?;
    let mut commits = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    commits.retain(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "patch"));
    commits.sort();
    Ok(commits)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_history_has_a_commit_for_each_version() {
        let mailer = (MAILER.0, &MAILER.1[..]);
        for (name, versions) in SERVICES.into_iter().chain([mailer]) {
            let commits = commits(&installation::shop().join(name).join("history")).unwrap();
            assert_eq!(commits.len(), versions.len() + kept_for_the_chain(name), "{name}");
            assert!(commits[0].is_dir() && commits[1..].iter().all(|commit| commit.is_file()), "{name}");
        }
    }
}
