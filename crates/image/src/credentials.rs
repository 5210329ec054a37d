//! Who asks a registry: what `docker login` has left in `config.json`, or what variables say. Never printed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockstep_files::foreign;
use serde::Deserialize;
use thiserror::Error;

/// Largest `config.json` that is read.
const MAX_BYTES: u64 = 1024 * 1024;
/// What Docker calls its own registry in there.
const OF_DOCKER: &str = "https://index.docker.io/v1/";

/// User and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the password.
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why credentials cannot be had.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The file is not readable.
    #[error("`{}` cannot be read: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// They are kept by a program that is not asked here.
    #[error("the credentials for {registry} are kept by docker-credential-{helper}, which is not asked")]
    Helper {
        /// The registry.
        registry: String,
        /// What comes after `docker-credential-`.
        helper: String,
    },
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl Credentials {
    /// Makes some.
    #[must_use]
    pub const fn new(user: String, password: String) -> Self {
        Self { user, password }
    }

    /// Finds those for a registry in the `config.json` of a folder, as `~/.docker`. There may be none.
    ///
    /// # Errors
    /// When the file cannot be read, or names a program that keeps them.
    pub fn in_folder(folder: &Path, registry: &str) -> Result<Option<Self>, CredentialsError> {
        let path = folder.join("config.json");
        if !path.exists() {
            return Ok(None);
        }
        let unreadable = |why: String| CredentialsError::Unreadable { path: path.clone(), why };
        let text = foreign::open(&path).and_then(|file| foreign::read_text(file, MAX_BYTES));
        let text = text.map_err(|error| unreadable(error.to_string()))?;
        // What is wrong in it is told by its place: the text has secrets.
        let config: Config = serde_json::from_str(&text)
            .map_err(|error| unreadable(format!("line {}, column {}", error.line(), error.column())))?;
        config.find(registry).map_err(|found| match found {
            Missing::Helper(helper) => CredentialsError::Helper { registry: registry.to_owned(), helper },
            Missing::Broken => {
                unreadable(format!("what it has for {registry} is not base64 of USER:PASSWORD"))
            }
        })
    }

    /// As the field `authorization` has it.
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password)))
    }
}

enum Missing {
    Helper(String),
    Broken,
}

impl Config {
    fn find(&self, registry: &str) -> Result<Option<Credentials>, Missing> {
        if let Some(helper) = self.cred_helpers.get(registry) {
            return Err(Missing::Helper(helper.clone()));
        }
        let is_it = |key: &str| {
            let host = key.trim_start_matches("https://").trim_start_matches("http://");
            host.split('/').next() == Some(registry) || (registry == "docker.io" && key == OF_DOCKER)
        };
        let Some((_, auth)) = self.auths.iter().find(|(key, _)| is_it(key)) else { return Ok(None) };
        match (auth.credentials()?, &self.creds_store) {
            (None, Some(store)) => Err(Missing::Helper(store.clone())),
            (found, _) => Ok(found),
        }
    }
}

impl Auth {
    fn credentials(&self) -> Result<Option<Credentials>, Missing> {
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Ok(Some(Credentials::new(user.clone(), password.clone())));
        }
        let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or(Missing::Broken)?;
        Ok(Some(Credentials::new(user.to_owned(), password.trim_end_matches('\0').to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, registry: &str) -> Result<Option<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), json).unwrap();
        let found = Credentials::in_folder(folder.path(), registry);
        found.map(|found| found.map(|one| one.basic())).map_err(|error| error.to_string())
    }

    #[test]
    fn what_docker_login_left_is_found_by_registry() {
        let json = r#"{"auths":{"r.example":{"auth":"YW5uOnMzY3JldA=="},"https://index.docker.io/v1/":{"auth":"YW5uOng="}}}"#;
        assert_eq!(found(json, "r.example").unwrap().unwrap(), "Basic YW5uOnMzY3JldA==");
        assert_eq!(found(json, "docker.io").unwrap().unwrap(), "Basic YW5uOng=");
        assert_eq!(found(json, "example"), Ok(None));
        let nothing = tempfile::tempdir().unwrap();
        assert!(Credentials::in_folder(nothing.path(), "r.example").unwrap().is_none());
    }

    #[test]
    fn helpers_are_named_and_secrets_are_not() {
        let helper = found(r#"{"credHelpers":{"r.example":"gcr"}}"#, "r.example").unwrap_err();
        assert!(helper.contains("docker-credential-gcr"), "{helper}");
        let store = found(r#"{"auths":{"r.example":{}},"credsStore":"pass"}"#, "r.example").unwrap_err();
        assert!(store.contains("docker-credential-pass"), "{store}");
        for json in [r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#, r#"{"auths": "c2VjcmV0" "secret"}"#] {
            let error = found(json, "r.example").unwrap_err();
            assert!(!error.contains("secret") && !error.contains("c2VjcmV0"), "{error}");
        }
        let shown = format!("{:?}", Credentials::new("ann".into(), "s3cret".into()));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
