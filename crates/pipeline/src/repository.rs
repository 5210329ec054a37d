//! Where a source lies: a repository, a folder in it, and a reference. Checked once, so that nothing of it can be taken for an
//! option or a command by git.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lockstep_domain::repository_address::{self, NO_REPOSITORY};
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
    SourceError { what, text: repository_address::shown(text).chars().take(80).collect(), why }
}

/// A git repository: a folder of this machine, or a URL with https, ssh or file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepositoryLocation {
    /// A folder: a work tree or a bare repository.
    Local(PathBuf),
    /// A URL, or `user@host:path`.
    Remote(RemoteLocation),
    /// None: the service has no repository.
    Nowhere,
}

/// A repository that is reached by a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemoteLocation {
    /// As it was recorded, perhaps with a password: releases of Lockstep before this one took them.
    recorded: String,
    /// What git is given: without user and password, where git can be told them otherwise.
    given: String,
    credential: Option<Credential>,
}

/// Who git says it is, of an address that was recorded with a user or password.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Credential {
    /// The scheme and host that it is for.
    pub(crate) host: String,
    pub(crate) user: String,
    pub(crate) password: Option<String>,
}

impl RepositoryLocation {
    /// Reads the address of a repository that is to be recorded: one that holds no secret.
    ///
    /// # Errors
    /// When it names no repository, or could hold a password or token.
    pub fn to_record(text: &str) -> Result<Self, SourceError> {
        match repository_address::secret_in(text) {
            Some(why) => Err(refusal("repository that can be recorded", text, why)),
            None => text.parse(),
        }
    }

    /// Returns what git is given, always after `--`.
    #[must_use]
    pub fn as_argument(&self) -> &std::ffi::OsStr {
        match self {
            Self::Local(path) => path.as_os_str(),
            Self::Remote(remote) => remote.given.as_ref(),
            Self::Nowhere => NO_REPOSITORY.as_ref(),
        }
    }

    /// Returns the text by which the repository is told from others.
    pub(crate) fn identity(&self) -> &[u8] {
        match self {
            Self::Local(path) => path.as_os_str().as_encoded_bytes(),
            Self::Remote(remote) => remote.recorded.as_bytes(),
            Self::Nowhere => NO_REPOSITORY.as_bytes(),
        }
    }

    /// Tells whether two addresses name the same place: with or without a user, `.git` or a slash at the end.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        let plain = |location: &Self| {
            let text = repository_address::shown(&String::from_utf8_lossy(location.identity())).into_owned();
            let text = text.strip_prefix("file://").map_or(text.clone(), str::to_owned);
            let text = text.trim_end_matches('/');
            text.strip_suffix(".git").unwrap_or(text).trim_end_matches('/').to_owned()
        };
        plain(self) == plain(other)
    }

    /// Returns who git says it is, where the address tells.
    pub(crate) const fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Remote(remote) => remote.credential.as_ref(),
            Self::Local(_) | Self::Nowhere => None,
        }
    }

    /// Returns the texts that no log may show.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let Self::Remote(RemoteLocation { recorded, credential, .. }) = self else { return Vec::new() };
        let query = recorded.split_once(['?', '#']).map(|(_, query)| query.to_owned());
        let user = recorded.split_once("://").and_then(|(_, rest)| rest.split('/').next()?.rsplit_once('@'));
        let written =
            user.and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password.to_owned());
        let decoded = credential.as_ref().and_then(|credential| credential.password.clone());
        [query, written, decoded].into_iter().flatten().filter(|secret| !secret.is_empty()).collect()
    }

    /// Returns the folder, when it is one of this machine.
    #[must_use]
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local(path) => Some(path),
            Self::Remote(_) | Self::Nowhere => None,
        }
    }
}

impl RemoteLocation {
    fn of(recorded: &str) -> Self {
        let plain = Self { recorded: recorded.to_owned(), given: recorded.to_owned(), credential: None };
        let Some((scheme, rest)) = recorded.split_once("://") else { return plain };
        let authority = rest.split('/').next().unwrap_or_default();
        let Some((user, host)) = authority.rsplit_once('@') else { return plain };
        let path = &rest[authority.len()..];
        let (user, password) = user.split_once(':').map_or((user, None), |(user, word)| (user, Some(word)));
        if scheme != "https" {
            // Ssh asks for no password here; it only must not stand in a list of processes.
            return Self { given: format!("{scheme}://{user}@{host}{path}"), ..plain };
        }
        let credential = Credential {
            host: format!("{scheme}://{host}"),
            user: percent_decoded(user),
            password: password.map(percent_decoded),
        };
        Self { given: format!("{scheme}://{host}{path}"), credential: Some(credential), ..plain }
    }
}

/// Decodes `%40` and the like, as git does with user and password.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => (bytes.push(byte), rest = &after[2..]),
            None => (bytes.push(*first), rest = after),
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl FromStr for RepositoryLocation {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        checked("git repository", text, None)?;
        let why = match text.split_once("://") {
            Some(("https" | "ssh", rest)) if rest.starts_with(['-', '/']) || rest.is_empty() => {
                "the host is missing or would be taken for an option"
            }
            Some(("https" | "ssh" | "file", _)) => return Ok(Self::Remote(RemoteLocation::of(text))),
            Some(_) => "only https, ssh, file and folders of this machine are fetched",
            None if text == NO_REPOSITORY => return Ok(Self::Nowhere),
            None if text.starts_with('/') => return Ok(Self::Local(text.into())),
            None if text.contains("::") => "transport helpers could run commands",
            None if is_scp_like(text) => return Ok(Self::Remote(RemoteLocation::of(text))),
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
            Self::Remote(remote) => f.write_str(&repository_address::shown(&remote.recorded)),
            Self::Nowhere => f.write_str("no repository"),
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
            Some(
                "`..` and `@{` are not part of a name; name the commit by its id, which `git rev-parse` tells",
            )
        } else if text.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) {
            Some(
                "it contains a space or one of ~ ^ : ? * [ \\; name the commit by its id, which `git rev-parse` tells",
            )
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
    fn passwords_are_neither_shown_nor_given_as_arguments() {
        let parse = |text: &str| text.parse::<RepositoryLocation>().unwrap();
        let location = parse("https://ann:s3cr%40t@example.com/x");
        assert_eq!(format!("{location} {location:?}"), "https://example.com/x https://example.com/x");
        assert_eq!(location.as_argument(), "https://example.com/x");
        let Credential { host, user, password } = location.credential().unwrap();
        assert_eq!((host.as_str(), user.as_str()), ("https://example.com", "ann"));
        assert_eq!(password.as_deref(), Some("s3cr@t"));
        assert_eq!(location.secrets(), ["s3cr%40t", "s3cr@t"]);
        assert_eq!(parse("https://t0ken@example.com:1/x").as_argument(), "https://example.com:1/x");
        assert_eq!(parse("ssh://git:s3cret@example.com/x").as_argument(), "ssh://git@example.com/x");
        assert_eq!(parse("ssh://git@example.com/x").as_argument(), "ssh://git@example.com/x");
        assert_eq!(parse("https://example.com/x?t=s3cret").secrets(), ["t=s3cret"]);
        let error = "http://ann:s3cret@example.com/x".parse::<RepositoryLocation>().unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let error = RepositoryLocation::to_record("https://ann:s3cret@example.com/x").unwrap_err();
        assert!(error.to_string().ends_with("it holds a password") && !error.to_string().contains("s3cret"));
    }

    #[test]
    fn the_same_place_has_several_addresses() {
        let same = |a: &str, b: &str| {
            let parse = |text: &str| text.parse::<RepositoryLocation>().unwrap();
            parse(a).is_same_place(&parse(b))
        };
        assert!(same("https://example.com/x", "https://ann:pw@example.com/x.git/"));
        assert!(same("/srv/git/x", "file:///srv/git/x/"));
        assert!(!same("https://example.com/x", "https://example.com/y"));
        assert!(!same("https://example.com/x", "https://example.org/x"));
        assert!(!same("/srv/git/x", "/srv/git/x/y"));
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
