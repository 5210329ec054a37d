//! A service built by make, in whatever language.

use super::{Draft, RepositoryView, steps, tool, unit_tests, words};
use crate::model::Build;

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let text = view.text("Makefile")?;
    let has = |target: &str| {
        let rule =
            |line: &str| line.strip_prefix(target).is_some_and(|rest| rest.trim_start().starts_with(':'));
        text.lines().any(rule)
    };
    let build = if has("build") { "make build" } else { "make" };
    let command = if has("run") { words("make run") } else { Vec::new() };
    let mut draft = Draft {
        build: Build { tools: tool("make", None), steps: steps(&[build.into()]), ..Build::default() },
        tests: if has("test") { unit_tests("make test", None) } else { Vec::new() },
        assumptions: vec![
            "everything in the folder after the build is packaged: name only what is needed".into(),
        ],
        command,
        ..Draft::default()
    };
    if !draft.command.is_empty() {
        draft.assume("`make run` runs the service");
    }
    if draft.tests.is_empty() {
        draft.assumptions.push("the Makefile has no target test, so nothing is tested".into());
    }
    Some(draft)
}
