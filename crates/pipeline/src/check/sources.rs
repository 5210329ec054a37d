//! Is everything in the repository that a build is made from? Files of Git LFS and submodules are not: a pointer or an empty
//! folder is never shipped in their place unless the manifest says so.

use std::path::Path;

use lockstep_manifest::{Build, Elsewhere};

use super::{CheckProblem, MAX_NAMED_FILES};
use crate::git::{Answer, CommitId, GitError};
use crate::mirror::Mirror;
use crate::repository::RepositoryLocation;
use crate::scope::Scope;

/// Sizes that pointers have: three lines, and a few more where extensions are used.
const POINTER_BYTES: std::ops::RangeInclusive<u64> = 100..=1_024;
/// How pointers begin.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// The mode of a folder that is another repository.
const SUBMODULE: &str = "160000";

/// An entry of a tree.
struct Entry {
    mode: String,
    id: String,
    size: Option<u64>,
    path: String,
}

/// Finds all problems with what a build is made from.
pub(super) fn check(
    mirror: &Mirror,
    commit: &CommitId,
    scope: &Scope,
    build: &Build,
    secret: Option<&Path>,
) -> Result<Vec<CheckProblem>, GitError> {
    let mut problems = missing(mirror, commit, scope)?;
    let entries = entries(mirror, commit, scope)?;
    if build.submodules == Elsewhere::Refused {
        let folders = entries.iter().filter(|entry| entry.mode == SUBMODULE).map(|entry| entry.path.clone());
        let folders: Vec<_> = folders.collect();
        problems.extend(few(&folders).map(|(folders, count)| CheckProblem::Submodules { folders, count }));
    }
    if build.lfs == Elsewhere::Refused {
        let files = pointers(mirror, &entries)?;
        problems.extend(few(&files).map(|(files, count)| CheckProblem::LfsPointers { files, count }));
    }
    if build.submodules == Elsewhere::Fetched {
        problems.extend(addresses(mirror, commit, secret)?);
    }
    Ok(problems)
}

fn missing(mirror: &Mirror, commit: &CommitId, scope: &Scope) -> Result<Vec<CheckProblem>, GitError> {
    let mut problems = Vec::new();
    for path in scope.named() {
        if mirror.git().ask(&["ls-tree", "--full-tree", commit.as_str(), "--", path])?.is_empty() {
            problems.push(CheckProblem::NoSource { path: path.to_owned() });
        }
    }
    Ok(problems)
}

fn entries(mirror: &Mirror, commit: &CommitId, scope: &Scope) -> Result<Vec<Entry>, GitError> {
    let words = ["ls-tree", "-r", "-z", "--long", "--full-tree", commit.as_str(), "--"];
    let output = mirror.git().ask(&[&words[..], &scope.paths()[..]].concat())?;
    let text = String::from_utf8_lossy(&output);
    let entry = |line: &str| {
        let (facts, path) = line.split_once('\t')?;
        let mut facts = facts.split_ascii_whitespace();
        let (mode, id) = (facts.next()?.to_owned(), facts.nth(1)?.to_owned());
        Some(Entry { mode, id, size: facts.next()?.parse().ok(), path: path.to_owned() })
    };
    Ok(text.split_terminator('\0').filter_map(entry).collect())
}

fn pointers(mirror: &Mirror, entries: &[Entry]) -> Result<Vec<String>, GitError> {
    let small = entries.iter().filter(|entry| entry.size.is_some_and(|size| POINTER_BYTES.contains(&size)));
    let small: Vec<_> = small.collect();
    if small.is_empty() {
        return Ok(Vec::new());
    }
    let input: String = small.iter().flat_map(|entry| [entry.id.as_str(), "\n"]).collect();
    let output = mirror.git().ask_fed(&["cat-file", "--batch=%(objectsize)"], input.as_bytes())?;
    let mut rest = output.as_slice();
    let mut found = Vec::new();
    for entry in small {
        let Some(content) = next_object(&mut rest) else { break };
        if content.starts_with(POINTER) {
            found.push(entry.path.clone());
        }
    }
    Ok(found)
}

/// Takes one object from what `cat-file --batch` wrote: its size, itself, and the end of a line.
fn next_object<'o>(rest: &mut &'o [u8]) -> Option<&'o [u8]> {
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    let content = rest.get(end + 1..end + 1 + size)?;
    *rest = rest.get(end + 2 + size..)?;
    Some(content)
}

fn few(names: &[String]) -> Option<(Vec<String>, usize)> {
    (!names.is_empty()).then(|| (names.iter().take(MAX_NAMED_FILES).cloned().collect(), names.len()))
}

/// Submodules are fetched by git with the rights of the server, so their addresses are looked at before.
fn addresses(
    mirror: &Mirror,
    commit: &CommitId,
    secret: Option<&Path>,
) -> Result<Vec<CheckProblem>, GitError> {
    let blob = format!("{commit}:.gitmodules");
    let words = ["config", "--null", "--blob", &blob, "--get-regexp", "^submodule\\..*\\.url$"];
    let Answer::Yes(output) = mirror.git().try_ask(&words)? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&output).into_owned();
    let urls = text.split_terminator('\0').filter_map(|entry| Some(entry.split_once('\n')?.1));
    let bad = urls.filter(|url| !may_be_fetched(url, mirror.location(), secret));
    Ok(bad.map(|url| CheckProblem::SubmoduleFrom { url: url.to_owned() }).collect())
}

/// Tells whether a submodule may be fetched: from elsewhere always; from this machine only for a repository of this machine, and
/// never from what no build may see.
fn may_be_fetched(url: &str, of: &RepositoryLocation, secret: Option<&Path>) -> bool {
    let is_relative = url.starts_with("./") || url.starts_with("../");
    let path = match (of.local(), url.parse::<RepositoryLocation>()) {
        (None, _) if is_relative => return true,
        (Some(root), _) if is_relative => root.join(url),
        (Some(_), Ok(RepositoryLocation::Local(path))) => path,
        (Some(_), Ok(RepositoryLocation::Remote(_))) if url.starts_with("file://") => {
            url["file://".len()..].into()
        }
        (_, Ok(RepositoryLocation::Remote(_))) => return !url.starts_with("file:"),
        _ => return false,
    };
    path.canonicalize().is_ok_and(|path| secret.is_none_or(|secret| !path.starts_with(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submodules_come_from_where_builds_may_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["shop", "lib", "data/mirrors/lib"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("data"), root.join("hidden")).unwrap();
        let (data, shop) = (root.join("data"), root.join("shop"));
        let local: RepositoryLocation = shop.to_str().unwrap().parse().unwrap();
        let remote: RepositoryLocation = "https://git.example.org/shop".parse().unwrap();
        let may = |url: &str, of: &RepositoryLocation| may_be_fetched(url, of, Some(&data));
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        for url in [
            "../lib",
            "https://git.example.org/lib",
            "git@git.example.org:lib",
            &at("lib"),
            &format!("file://{}", at("lib")),
        ] {
            assert!(may(url, &local), "{url}");
        }
        for url in [
            "../data/mirrors/lib",
            "../hidden/mirrors/lib",
            &at("data/mirrors/lib"),
            "ext::sh -c x",
            "http://x/y",
            &format!("file://{}", at("hidden/mirrors")),
        ] {
            assert!(!may(url, &local), "{url}");
        }
        assert!(may("../lib", &remote) && may("ssh://git.example.org/lib", &remote));
        assert!(!may(&at("lib"), &remote) && !may("file:///srv/lib", &remote));
    }
}
