//! Where a source lies: a repository, a folder in it, and a reference. Checked once, so that nothing of it can be taken for an
//! option or a command by git.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

/// Longest location, folder or reference.
const MAX_LENGTH: usize = 1_024;

/// Why a text does not name a repository, a folder or a reference.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not a {what}: {why}")]
pub struct SourceError {
    /// What the text was meant to name.
    pub what: &'static str,
    /// The text, cut to a printable length and without a password.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

fn checked(what: &'static str, text: &str, problem: Option<&'static str>) -> Result<(), SourceError> {
    let general = if text.is_empty() {
        Some("it is empty")
    } else if text.len() > MAX_LENGTH {
        Some("it is longer than 1024 bytes")
    } else if text.chars().any(char::is_control) {
        Some("it contains a control character")
    } else if text.starts_with('-') {
        Some("it would be taken for an option")
    } else {
        problem
    };
    general.map_or(Ok(()), |why| Err(refusal(what, text, why)))
}

fn refusal(what: &'static str, text: &str, why: &'static str) -> SourceError {
    SourceError { what, text: without_password(text).chars().take(80).collect(), why }
}

/// Takes the user and password out of a URL, so that it can be shown.
fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

/// A git repository: a folder of this machine, or a URL with https, ssh or file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepositoryLocation {
    /// A folder: a work tree or a bare repository.
    Local(PathBuf),
    /// A URL, or `user@host:path`.
    Remote(String),
}

impl RepositoryLocation {
    /// Returns what git is given, always after `--`.
    #[must_use]
    pub fn as_argument(&self) -> &std::ffi::OsStr {
        match self {
            Self::Local(path) => path.as_os_str(),
            Self::Remote(url) => url.as_ref(),
        }
    }

    /// Returns the part of a URL that no log may show.
    pub(crate) fn password(&self) -> Option<&str> {
        let Self::Remote(url) = self else { return None };
        let (_, rest) = url.split_once("://")?;
        let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
        user.split_once(':').map(|(_, password)| password)
    }

    /// Returns the folder, when it is one of this machine.
    #[must_use]
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Remote(_) => None,
        }
    }
}

impl FromStr for RepositoryLocation {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        checked("git repository", text, None)?;
        let why = match text.split_once("://") {
            Some(("https" | "ssh", rest)) if rest.starts_with(['-', '/']) || rest.is_empty() => {
                "the host is missing or would be taken for an option"
            }
            Some(("https" | "ssh" | "file", _)) => return Ok(Self::Remote(text.to_owned())),
            Some(_) => "only https, ssh, file and folders of this machine are fetched",
            None if text.starts_with('/') => return Ok(Self::Local(text.into())),
            None if text.contains("::") => "transport helpers could run commands",
            None if is_scp_like(text) => return Ok(Self::Remote(text.to_owned())),
            None => "a folder must be an absolute path, and a URL begins with https://, ssh:// or file://",
        };
        Err(refusal("git repository", text, why))
    }
}

/// `git@host:path`, the short form of ssh.
fn is_scp_like(text: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
    };
    text.split_once(':').is_some_and(|(host, path)| {
        let (user, host) = host.split_once('@').unwrap_or(("git", host));
        plain(user) && plain(host) && !host.starts_with('-') && !path.is_empty() && !path.starts_with('-')
    })
}

impl fmt::Display for RepositoryLocation {
    /// Writes the location without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Remote(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for RepositoryLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The folder of a service in its repository; the root by default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SourceFolder(String);

impl SourceFolder {
    /// Returns the folder with `/` between its parts; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path of a file in the folder, as git names it.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        if self.0.is_empty() { name.to_owned() } else { format!("{}/{name}", self.0) }
    }
}

impl FromStr for SourceFolder {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let path = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
        if matches!(path, "" | ".") && !text.starts_with('/') {
            return Ok(Self::default());
        }
        let problem = if path.starts_with('/') {
            Some("it must be relative to the root of the repository")
        } else if path.split('/').any(|part| matches!(part, "" | "." | ".." | ".git")) {
            Some("it has an empty part, `.`, `..` or `.git`")
        } else if path.contains(['\\', ':', '*', '?', '[']) {
            Some("it contains one of \\ : * ? [")
        } else {
            None
        };
        checked("folder of a repository", path, problem)?;
        Ok(Self(path.to_owned()))
    }
}

/// A branch, tag or commit, as a person names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(String);

impl Reference {
    /// Returns the reference as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reference {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let problem = if text.contains("..") || text.contains("@{") {
            Some("`..` and `@{` are not part of a name")
        } else if text.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) {
            Some("it contains a space or one of ~ ^ : ? * [ \\")
        } else {
            None
        };
        checked("branch, tag or commit", text, problem)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_locations_are_taken() {
        for good in [
            "/srv/git/orders",
            "https://example.com/shop/orders.git",
            "ssh://git@example.com:2222/shop/orders",
            "file:///srv/git/orders",
            "git@example.com:shop/orders.git",
            "example.com:orders",
        ] {
            assert!(good.parse::<RepositoryLocation>().is_ok(), "{good}");
        }
    }

    #[test]
    fn locations_that_run_commands_or_look_like_options_are_refused() {
        for bad in [
            "",
            "--upload-pack=touch x",
            "ext::sh -c touch% x",
            "http://example.com/x",
            "git://example.com/x",
            "ssh://-oProxyCommand=x/y",
            "-oProxyCommand=x:y",
            "git@-oProxyCommand=x:y",
            "host:--upload-pack=x",
            "relative/folder",
            "https://",
            "https:///x",
            "/a\nb",
        ] {
            assert!(bad.parse::<RepositoryLocation>().is_err(), "{bad}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let location: RepositoryLocation = "https://ann:s3cret@example.com/x".parse().unwrap();
        assert_eq!(format!("{location} {location:?}"), "https://example.com/x https://example.com/x");
        assert_eq!(location.password(), Some("s3cret"));
        let error = "http://ann:s3cret@example.com/x".parse::<RepositoryLocation>().unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn folders_stay_in_the_repository() {
        for (text, folder) in
            [("", ""), (".", ""), ("./", ""), ("services/orders/", "services/orders"), ("./a", "a")]
        {
            assert_eq!(text.parse::<SourceFolder>().unwrap().as_str(), folder, "{text}");
        }
        for bad in ["/", "/a", "..", "a/../b", "a//b", ".git", "a/.git/b", "-a", "a:b", "a*"] {
            assert!(bad.parse::<SourceFolder>().is_err(), "{bad}");
        }
        assert_eq!("a/b".parse::<SourceFolder>().unwrap().file("x"), "a/b/x");
    }

    #[test]
    fn references_are_names() {
        for good in ["main", "release/1.5", "v1.2.3", "0123abcd", "feature/login#2"] {
            assert!(good.parse::<Reference>().is_ok(), "{good}");
        }
        for bad in ["", "-x", "a..b", "main~1", "main^", "HEAD@{1}", "a:b", "a b"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
