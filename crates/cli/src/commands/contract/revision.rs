//! Contracts in git revisions, read with git by arguments: nothing is checked out and no shell is involved.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lockstep_api::problem::ProblemPart;
use lockstep_contract::{Files, Kind, Source, assemble, is_wanted};
use lockstep_domain::contract::ContractSettings;

use super::budget::{Budget, problem};
use super::location::{Loaded, Origin};

/// Longest list of files that is read: 100,000 files with long names.
const MAX_LIST_BYTES: u64 = 32 * 1024 * 1024;

/// Reads the file or folder at a path of a revision.
pub(super) fn load(
    revision: &str,
    path: &str,
    kind: Option<Kind>,
    mut budget: Budget,
) -> Result<Loaded, ProblemPart> {
    let shown = format!("{revision}:{path}");
    let commit = resolve(revision).map_err(|error| error.at(&shown))?;
    let path = from_root(path).map_err(|error| error.at(&shown))?;
    let mut tree = Tree::open(&commit, &shown)?;
    match tree.read(&path, &mut budget)? {
        None => Err(problem(shown.as_str(), format!("there is no `{path}` in revision `{revision}`"))),
        Some(Object::Folder) => tree.folder(&path, revision, kind, budget),
        Some(Object::File(bytes)) => {
            let source = Source::gather(&path, bytes, |path| match tree.read(path, &mut budget)? {
                Some(Object::File(bytes)) => Ok(Some(bytes)),
                _ => Ok(None),
            })?;
            Ok(Loaded {
                source,
                settings: ContractSettings::default(),
                origin: Origin::Revision(format!("{revision}:")),
            })
        }
    }
}

/// Why git did not answer.
struct GitError {
    detail: String,
    hint: Option<&'static str>,
}

impl GitError {
    fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), hint: None }
    }

    fn at(self, shown: &str) -> ProblemPart {
        ProblemPart { hint: self.hint.map(str::to_owned), ..problem(shown, self.detail) }
    }
}

impl From<io::Error> for GitError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::new("git is needed to read a revision, and is not installed"),
            _ => Self::new(format!("git cannot be asked: {error}")),
        }
    }
}

/// A git command that asks nothing of anybody: no prompt, no pager, no fetching of what a partial clone lacks.
fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(["--no-pager", "--no-optional-locks"]).args(arguments);
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_LAZY_FETCH", "1").env("LC_ALL", "C");
    command.stdin(Stdio::null());
    command
}

fn resolve(revision: &str) -> Result<String, GitError> {
    let commit = format!("{revision}^{{commit}}");
    let output = git(&["rev-parse", "--verify", "--end-of-options", &commit]).output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("not a git repository") {
        return Err(GitError::new("this folder is in no git repository"));
    }
    Err(GitError {
        detail: format!("`{revision}` is no revision of this repository"),
        hint: Some("`git branch --all` and `git tag` list names; a shallow clone has few commits"),
    })
}

/// The path from the root of the repository. As git has it, only a path that begins with `./` or `../` is seen from here.
fn from_root(path: &str) -> Result<String, GitError> {
    let relative = path == "." || path == ".." || path.starts_with("./") || path.starts_with("../");
    let prefix = if relative { prefix()? } else { String::new() };
    let mut parts: Vec<&str> = Vec::new();
    for part in prefix.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => {
                return Err(GitError::new("the path leads out of the repository"));
            }
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

fn prefix() -> Result<String, GitError> {
    let output = git(&["rev-parse", "--show-prefix"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches(['\n', '\r']).to_owned())
}

/// What is at a path.
enum Object {
    File(Vec<u8>),
    Folder,
}

/// A commit whose files are read one after the other, by one process of git.
struct Tree<'s> {
    commit: String,
    shown: &'s str,
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl<'s> Tree<'s> {
    fn open(commit: &str, shown: &'s str) -> Result<Self, ProblemPart> {
        let mut command = git(&["cat-file", "--batch"]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = spawned.map_err(|error| GitError::from(error).at(shown))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(ask), Some(answers)) => {
                let answers = BufReader::new(answers);
                Ok(Self { commit: commit.to_owned(), shown, child, ask, answers })
            }
            _ => Err(problem(shown, "git cannot be asked: it has no pipes")),
        }
    }

    /// Reads what is at a path, as far as the budget goes.
    fn read(&mut self, path: &str, budget: &mut Budget) -> Result<Option<Object>, ProblemPart> {
        // Questions are lines, so a name with a line break cannot be asked for.
        if path.contains('\n') {
            return Ok(None);
        }
        let cut_off = |error: io::Error| problem(self.shown, format!("git ended in the middle: {error}"));
        writeln!(self.ask, "{}:{path}", self.commit).and_then(|()| self.ask.flush()).map_err(cut_off)?;
        let mut header = String::new();
        self.answers.read_line(&mut header).map_err(cut_off)?;
        let words: Vec<&str> = header.split_whitespace().collect();
        let [_, kind, size] = words.as_slice() else { return Ok(None) };
        let Ok(size) = size.parse::<u64>() else { return Ok(None) };
        if *kind == "blob" {
            budget.spend(path, size)?;
        }
        let mut bytes = Vec::new();
        let read =
            (&mut self.answers).take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(cut_off)?;
        if read as u64 != size.saturating_add(1) {
            return Err(problem(self.shown, "git ended in the middle of a file"));
        }
        bytes.pop();
        Ok(match *kind {
            "blob" => Some(Object::File(bytes)),
            "tree" => Some(Object::Folder),
            _ => None,
        })
    }

    fn folder(
        mut self,
        path: &str,
        revision: &str,
        kind: Option<Kind>,
        mut budget: Budget,
    ) -> Result<Loaded, ProblemPart> {
        let below = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut files = Files::new();
        for name in self.list(&below)? {
            if let Some(Object::File(bytes)) = self.read(&name, &mut budget)? {
                files.insert(name[below.len()..].to_owned(), bytes);
            }
        }
        let source = assemble(files, kind).map_err(|detail| problem(self.shown, detail))?;
        Ok(Loaded {
            source,
            settings: ContractSettings::default(),
            origin: Origin::Revision(format!("{revision}:{below}")),
        })
    }

    /// The ordinary files below a folder that may be part of a contract; links are left out.
    fn list(&self, below: &str) -> Result<Vec<String>, ProblemPart> {
        let failed = |error: io::Error| GitError::from(error).at(self.shown);
        let mut command = git(&["--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", &self.commit]);
        if !below.is_empty() {
            command.args(["--", below]);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(failed)?;
        let mut bytes = Vec::new();
        let read = child.stdout.take().map(|out| out.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes));
        end(&mut child);
        read.transpose().map_err(failed)?;
        if bytes.len() as u64 > MAX_LIST_BYTES {
            return Err(problem(self.shown, "the folder holds too many files"));
        }
        let lines = bytes.split(|byte| *byte == 0).filter_map(|line| std::str::from_utf8(line).ok());
        let files = lines.filter(|line| line.starts_with("100")).filter_map(|line| line.split_once('\t'));
        Ok(files.map(|(_, name)| name.to_owned()).filter(|name| is_wanted(name)).collect())
    }
}

impl Drop for Tree<'_> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Ends a process that is not needed any more; one that has ended already is only waited for.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
