//! Whether a crate is pure: it names nothing of the standard library that does I/O or asks a clock outside its tests,
//! and depends on nothing that would.
//!
//! A look at the words of the source, not a proof: enough against accidents, which is all that is needed in review.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::workspace::{Package, cargo, root};

/// Paths that no pure source names. Plain data such as `std::net::SocketAddr` is fine.
const IMPURE_PATHS: [&str; 10] = [
    "std::env",
    "std::fs",
    "std::process",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::io::stdin",
    "std::io::stdout",
];
/// Words that no pure source contains.
const IMPURE_WORDS: [&str; 2] = ["SystemTime", "Instant"];
/// Crates that no pure crate depends on, directly or through others.
const IMPURE_CRATES: [&str; 8] =
    ["axum", "hyper", "mio", "reqwest", "rusqlite", "rustls", "socket2", "tokio"];

/// Returns everything that makes a crate impure.
pub(crate) fn problems(package: &Package) -> Result<Vec<String>> {
    let mut problems = dependency_problems(package)?;
    for path in sources(&package.folder.join("src"))? {
        let source =
            fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display();
        problems.extend(source_problems(&source).into_iter().map(|(line, what)| {
            format!("{shown}:{line}: `{}` is pure and must not use `{what}`", package.name)
        }));
    }
    Ok(problems)
}

fn dependency_problems(package: &Package) -> Result<Vec<String>> {
    let tree =
        ["tree", "--package", &package.name, "--edges", "normal", "--prefix", "none", "--format", "{p}"];
    let output = cargo(&tree).output().context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "cargo tree failed:\n{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let tree = String::from_utf8_lossy(&output.stdout);
    let mut found: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    found.retain(|name| IMPURE_CRATES.contains(name));
    found.sort_unstable();
    found.dedup();
    let problem = |name| format!("`{}` is pure and must not depend on `{name}`", package.name);
    Ok(found.into_iter().map(problem).collect())
}

/// Lists the Rust files below a folder, without the modules of tests.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "tests" {
            continue;
        }
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Returns the lines, from 1, that name something impure. Tests stand at the end of a file, after `#[cfg(test)]`.
fn source_problems(source: &str) -> Vec<(usize, String)> {
    let code = source.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    let numbered = (1..).zip(code).filter(|(_, line)| !line.trim_start().starts_with("//"));
    numbered
        .flat_map(|(number, line)| impure_names(line).into_iter().map(move |name| (number, name)))
        .collect()
}

fn impure_names(line: &str) -> Vec<String> {
    let paths = IMPURE_PATHS.iter().filter(|path| names_path(line, path));
    let words = IMPURE_WORDS.iter().filter(|word| words(line).any(|found| found == **word));
    paths.chain(words).map(|name| (*name).to_owned()).collect()
}

/// Says whether a line names a path, also inside a group such as `std::{fmt, fs}`.
fn names_path(line: &str, path: &str) -> bool {
    if line.match_indices(path).any(|(at, _)| ends_there(&line[at + path.len()..], path)) {
        return true;
    }
    let Some((_, group)) = line.split_once("std::{") else { return false };
    let first = path.trim_start_matches("std::").split("::").next().unwrap_or_default();
    !path["std::".len()..].contains("::") && words(group).any(|word| word == first)
}

/// `std::net::Tcp` is the beginning of several names; a lower-case path is a whole one.
fn ends_there(rest: &str, path: &str) -> bool {
    let prefix = path.rsplit("::").next().is_some_and(|last| last.starts_with(char::is_uppercase));
    prefix || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impure_line_is_named_and_tests_and_comments_are_not() {
        let source = "//! Never uses std::fs.\nuse std::net::SocketAddr;\nuse std::{fmt, fs};\nlet now = Instant::now();\n\
                      let id = InstanceId::new();\nstd::fs::read(path);\nuse std::fsx;\nuse std::net::TcpStream;\n\
                      #[cfg(test)]\nmod tests { use std::process; }\n";
        let found: Vec<_> = source_problems(source);
        let found: Vec<_> = found.iter().map(|(line, name)| (*line, name.as_str())).collect();
        assert_eq!(found, [(3, "std::fs"), (4, "Instant"), (6, "std::fs"), (8, "std::net::Tcp")]);
    }
}
