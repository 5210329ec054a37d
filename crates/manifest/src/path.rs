//! Paths and patterns below a folder. They cannot lead out of it: no leading slash, no `..`, no backslash.

use std::fmt;
use std::str::FromStr;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::Package;

/// Longest path or pattern: what the usual file systems can hold.
pub const MAX_PATH_LENGTH: usize = 1_024;

/// Why a text is not a path or a pattern below a folder.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a {what}: {why}")]
pub struct PathError {
    /// What the text was meant to be.
    pub what: &'static str,
    /// The text, cut to a printable length.
    pub text: String,
    /// The rule that it breaks.
    pub why: String,
}

impl PathError {
    /// The folder itself, where a part of it is asked for.
    pub(crate) fn whole(text: &str) -> Self {
        Self::new("folder to keep", text, "it is all of it, and not a part")
    }

    fn new(what: &'static str, text: &str, why: impl Into<String>) -> Self {
        Self { what, text: text.chars().take(80).collect(), why: why.into() }
    }
}

fn problem(text: &str) -> Option<&'static str> {
    let path = simplified(text);
    if text.is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_PATH_LENGTH {
        Some("it is longer than 1024 bytes")
    } else if text.starts_with('/') {
        Some("it must be relative to the folder of the manifest")
    } else if text.contains('\\') {
        Some("folders are separated by /")
    } else if text.chars().any(char::is_control) {
        Some("it contains a control character")
    } else if path.split('/').any(|part| part == "..") {
        Some("`..` leads out of its folder")
    } else if path != "." && path.split('/').any(|part| matches!(part, "" | ".")) {
        Some("it has an empty part or `.` between its parts")
    } else {
        None
    }
}

/// Takes off what does not change the meaning, `./` in front and `/` at the end; the folder itself is `.`.
fn simplified(text: &str) -> &str {
    match text.strip_prefix("./").unwrap_or(text).trim_end_matches('/') {
        "" => ".",
        path => path,
    }
}

/// A file or folder below another folder, such as `web/dist`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    /// Returns the path as text, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelativePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        match problem(text) {
            Some(why) => Err(PathError::new("path", text, why)),
            None => Ok(Self(simplified(text).into())),
        }
    }
}

impl TryFrom<String> for RelativePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> String {
        path.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A pattern over paths: `*` and `?` stay within one part, `**` crosses parts, `{a,b}` and `[a-z]` as usual. A pattern
/// that names a folder takes everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    text: String,
    itself: Glob,
    below: Glob,
}

impl Pattern {
    /// Returns the pattern that every path matches.
    #[must_use]
    pub fn everything() -> Self {
        "**".parse().expect("`**` is a pattern")
    }

    /// Returns the pattern as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn glob(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build()
}

impl FromStr for Pattern {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let fail = |why: String| PathError::new("pattern", text, why);
        if let Some(why) = problem(text) {
            return Err(fail(why.into()));
        }
        let text = match simplified(text) {
            "." => "**",
            path => path,
        };
        let build = |text: &str| glob(text).map_err(|e| fail(e.kind().to_string()));
        Ok(Self { text: text.into(), itself: build(text)?, below: build(&format!("{text}/**"))? })
    }
}

impl TryFrom<String> for Pattern {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.text
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// Patterns made ready to be asked about many paths.
#[derive(Debug, Clone)]
pub struct Selection {
    include: GlobSet,
    exclude: GlobSet,
}

impl Selection {
    /// Makes a selection of the paths that match one of `include` and none of `exclude`.
    ///
    /// # Errors
    /// When the patterns together are too large to be compiled.
    pub fn new(include: &[Pattern], exclude: &[Pattern]) -> Result<Self, PathError> {
        Ok(Self { include: set(include)?, exclude: set(exclude)? })
    }

    /// Tells whether a file is selected; `path` is relative, with `/` between its parts.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.include.is_match(path) && !self.exclude.is_match(path)
    }
}

fn set(patterns: &[Pattern]) -> Result<GlobSet, PathError> {
    let mut builder = GlobSetBuilder::new();
    for pattern in patterns {
        builder.add(pattern.itself.clone());
        builder.add(pattern.below.clone());
    }
    builder.build().map_err(|e| {
        let text = e.glob().unwrap_or_default();
        PathError::new("pattern", text, e.kind().to_string())
    })
}

impl Package {
    /// Makes the package's patterns ready; the version-control folder `.git` is never selected.
    ///
    /// # Errors
    /// When the patterns together are too large to be compiled.
    pub fn selection(&self) -> Result<Selection, PathError> {
        let git = Pattern::from_str("**/.git").expect("`**/.git` is a pattern");
        let exclude: Vec<Pattern> = self.exclude.iter().cloned().chain([git]).collect();
        Selection::new(&self.include, &exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn paths_cannot_leave_their_folder() {
        for bad in
            ["", "/etc/passwd", "..", "a/../b", "a\\b", "a\nb", "a//b", "a/./b", "a/.", &"a".repeat(2_000)]
        {
            assert!(bad.parse::<RelativePath>().is_err(), "{bad}");
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
        for (text, simple) in [("web/", "web"), ("./web", "web"), (".", "."), ("./", "."), ("a..b", "a..b")] {
            assert_eq!(text.parse::<RelativePath>().unwrap().as_str(), simple);
        }
    }

    #[test]
    fn patterns_stay_within_a_part_unless_doubled() {
        let selection = Selection::new(&patterns(&["*.py", "config/**", "lib", "./bin/x"]), &[]).unwrap();
        for path in ["server.py", "config/a/b.toml", "lib/deep/c.py", "bin/x"] {
            assert!(selection.contains(path), "{path}");
        }
        for path in ["deep/server.py", "configs/a", "library/c.py", "bin/xy"] {
            assert!(!selection.contains(path), "{path}");
        }
    }

    #[test]
    fn package_never_selects_version_control() {
        let package = Package { exclude: patterns(&["tests"]), ..Package::default() };
        let selection = package.selection().unwrap();
        assert!(selection.contains("src/a.js") && selection.contains(".gitignore"));
        for path in [".git/config", "vendor/x/.git/HEAD", "tests/a.js"] {
            assert!(!selection.contains(path), "{path}");
        }
    }

    #[test]
    fn a_broken_glob_is_refused_with_its_reason() {
        let error = "src/[a-".parse::<Pattern>().unwrap_err();
        assert!(error.to_string().starts_with("`src/[a-` is not a pattern: "), "{error}");
    }
}
