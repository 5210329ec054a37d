//! The name of an image in a registry, as `registry.example/team/orders:1.4` or `orders@sha256:…`.

use std::fmt;
use std::str::FromStr;

use lockstep_domain::Digest;
use thiserror::Error;

/// Where a name without a registry leads.
const USUAL: &str = "docker.io";
/// Where that is asked.
const USUAL_HOST: &str = "registry-1.docker.io";
/// The tag of a name that has none.
const LATEST: &str = "latest";
/// Longest part of a name that is taken.
const MAX_LENGTH: usize = 255;

/// Why a text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not the name of an image: {why}")]
pub struct NameError {
    text: String,
    why: &'static str,
}

/// A name, with a tag, a digest, or both: then the digest counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName {
    /// The registry, as `docker.io` or `localhost:5000`.
    pub registry: String,
    /// The image there.
    pub repository: String,
    tag: Option<String>,
    pub(crate) digest: Option<Digest>,
}

impl ImageName {
    /// Returns the host that is asked.
    #[must_use]
    pub fn host(&self) -> &str {
        if self.registry == USUAL { USUAL_HOST } else { &self.registry }
    }

    /// What is asked for: a digest or a tag.
    pub(crate) fn reference(&self) -> String {
        match &self.digest {
            Some(digest) => format!("sha256:{digest}"),
            None => self.tag.clone().unwrap_or_else(|| LATEST.to_owned()),
        }
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |why| NameError { text: text.chars().take(100).collect(), why };
        if text.contains("://") {
            return Err(wrong("leave the scheme out: registry.example/team/orders:1.4"));
        }
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
                (rest, Some(digest.ok_or_else(|| wrong("a digest is sha256: and 64 digits"))?))
            }
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
            _ => (rest, None),
        };
        let (registry, repository) = match path.split_once('/') {
            Some((host, path)) if is_host(host) => (host.to_owned(), path.to_owned()),
            Some(_) => (USUAL.to_owned(), path.to_owned()),
            None => (USUAL.to_owned(), format!("library/{path}")),
        };
        if !repository.split('/').all(is_part) || repository.len() > MAX_LENGTH {
            return Err(wrong("its parts have a-z, 0-9, `.`, `_` and `-`"));
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("a tag has letters, digits, `.`, `_` and `-`, and at most 128 of them"));
        }
        Ok(Self { registry, repository, tag, digest })
    }
}

fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

fn is_part(part: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    part.bytes().all(allowed) && part.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn is_tag(tag: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !tag.is_empty() && tag.len() <= 128 && tag.bytes().all(allowed)
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@sha256:{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_docker_reads_them() {
        let digest = "0".repeat(64);
        for (text, whole, host) in [
            ("nginx", "docker.io/library/nginx", "registry-1.docker.io"),
            ("team/orders:1.4", "docker.io/team/orders:1.4", "registry-1.docker.io"),
            ("r.example/a/b/c:x_1", "r.example/a/b/c:x_1", "r.example"),
            ("localhost:5000/a", "localhost:5000/a", "localhost:5000"),
            ("localhost/a:1", "localhost/a:1", "localhost"),
            (
                &format!("r.example/a:1@sha256:{digest}"),
                &format!("r.example/a:1@sha256:{digest}"),
                "r.example",
            ),
        ] {
            let name: ImageName = text.parse().unwrap();
            assert_eq!((name.to_string().as_str(), name.host()), (whole, host));
        }
        for bad in
            ["", "Nginx", "a/../b", "a:b c", "http://r.example/a", "a@md5:1", "r.example/", "a//b", "-a"]
        {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }
}
