//! Finds and reads the report files of a suite, and removes those that lay there before it ran.

use std::fs;
use std::io;
use std::path::Path;

use lockstep_files::foreign;
use lockstep_manifest::{Pattern, Selection};

use crate::failure::{BuildFault, io_fault};
use crate::guard::masked;
use crate::junit::{self, JunitResult, MAX_REPORT_BYTES};
use crate::request::TestReport;

/// Most entries looked at while reports are searched.
const MAX_ENTRIES: usize = 1_000_000;
/// Most report files of a suite: Java tools write one for each class.
const MAX_FILES: usize = 20_000;

/// What became of a suite's report.
#[derive(Debug)]
pub(crate) enum Report {
    NotDeclared,
    Read { result: JunitResult, bytes: Vec<u8> },
    Bad { reason: String, bytes: Option<Vec<u8>> },
}

/// Removes what a report of this run could be mistaken for: files that were committed, or that the build wrote.
pub(crate) fn remove_old(folder: &Path, pattern: Option<&Pattern>) -> Result<(), BuildFault> {
    let Some(pattern) = pattern else { return Ok(()) };
    for path in find(folder, pattern)? {
        let path = folder.join(path);
        fs::remove_file(&path).map_err(|source| io_fault(&path, "removed", source))?;
    }
    Ok(())
}

/// Reads all reports of a suite, with secrets masked: reports are kept and shown like logs.
pub(crate) fn read(
    folder: &Path,
    pattern: Option<&Pattern>,
    secrets: &[String],
) -> Result<Report, BuildFault> {
    let Some(pattern) = pattern else { return Ok(Report::NotDeclared) };
    let paths = find(folder, pattern)?;
    let bad = |reason| Ok(Report::Bad { reason, bytes: None });
    if paths.is_empty() {
        return bad(format!(
            "the suite wrote no report that matches `{pattern}`, so nothing shows that its tests ran"
        ));
    }
    if paths.len() > MAX_FILES {
        return bad(format!("more than {MAX_FILES} files match `{pattern}`"));
    }
    let content = |path: &String, room| {
        let content = read_file(&folder.join(path), room).map_err(|error| format!("`{path}`: {error}"))?;
        Ok(masked(secrets, &content))
    };
    Ok(sum(paths.iter().map(|path| (path.as_str(), path)), content))
}

/// Reads reports that were given.
pub(crate) fn read_given(reports: &[&TestReport]) -> Report {
    sum(reports.iter().map(|report| (report.name.as_str(), *report)), |report, room| {
        let fits = report.content.len() as u64 <= room;
        fits.then(|| report.content.clone()).ok_or_else(too_large)
    })
}

/// Sums reports up, each with its name, until one cannot be believed. `content` gets how many bytes it may have.
fn sum<'a, T>(
    reports: impl ExactSizeIterator<Item = (&'a str, T)>,
    content: impl Fn(T, u64) -> Result<Vec<u8>, String>,
) -> Report {
    let mut sum = Sum { result: JunitResult::default(), bytes: Vec::new() };
    let count = reports.len();
    for (name, report) in reports {
        let room = MAX_REPORT_BYTES.saturating_sub(sum.bytes.len() as u64);
        if let Err(reason) = content(report, room).and_then(|content| sum.add(name, &content, count)) {
            return Report::Bad { reason, bytes: Some(sum.bytes) };
        }
    }
    Report::Read { result: sum.result, bytes: sum.bytes }
}

fn too_large() -> String {
    format!("the reports are larger than {MAX_REPORT_BYTES} bytes")
}

struct Sum {
    result: JunitResult,
    bytes: Vec<u8>,
}

impl Sum {
    fn add(&mut self, name: &str, content: &[u8], files: usize) -> Result<(), String> {
        if files > 1 {
            self.bytes.extend_from_slice(format!("<!-- {} -->\n", name.replace("--", "- -")).as_bytes());
        }
        self.bytes.extend_from_slice(content);
        let result = junit::read(content).map_err(|error| format!("`{name}`: {error}"))?;
        self.result.add(result);
        Ok(())
    }
}

/// Reads a regular file, not through a link and not more than `room`.
fn read_file(path: &Path, room: u64) -> io::Result<Vec<u8>> {
    foreign::read(foreign::open_no_link(path)?, room).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => io::Error::other(too_large()),
        _ => error,
    })
}

/// Lists the files that match, sorted.
fn find(folder: &Path, pattern: &Pattern) -> Result<Vec<String>, BuildFault> {
    let unusable =
        |error: lockstep_manifest::PathError| io_fault(folder, "searched", io::Error::other(error));
    let selection = Selection::new(std::slice::from_ref(pattern), &[]).map_err(unusable)?;
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    let mut looked_at = 0;
    while let Some(below) = folders.pop() {
        let path = folder.join(&below);
        let entries = fs::read_dir(&path).map_err(|source| io_fault(&path, "searched", source))?;
        for entry in entries.flatten() {
            looked_at += 1;
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            if kind.is_dir() && path != ".git" {
                folders.push(path);
            } else if !kind.is_dir() && selection.contains(&path) {
                found.push(path);
            }
        }
        if looked_at > MAX_ENTRIES {
            let error = io::Error::other(format!("it has more than {MAX_ENTRIES} files"));
            return Err(io_fault(folder, "searched", error));
        }
    }
    found.sort_unstable();
    Ok(found)
}
