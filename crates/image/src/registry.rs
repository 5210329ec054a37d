//! Fetches an image from a registry into a layout folder.
//!
//! Invariants: what is kept has the digest that was asked for; credentials go to the registry and to where it says that tokens are
//! given, over TLS or to this machine; a token goes to the registry alone. Where a registry leads elsewhere for a blob, nothing goes along.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderName, LOCATION, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};
use lockstep_archive::UnpackLimits;
use lockstep_domain::Digest;
use lockstep_reach::{PlainHttp, Reach, ReachError, ServerAddress, Trust};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::credentials::Credentials;
use crate::layout::{blob_path, must_be, read};
use crate::name::ImageName;
use crate::oci::{
    Descriptor, INDEX, INDEX_OF_DOCKER, Index, MANIFEST, MANIFEST_OF_DOCKER, MAX_DOCUMENT_BYTES, Manifest,
};
use crate::platform::Platform;
use crate::{ImageError, reading};

/// How often it is led elsewhere for one blob.
const MAX_REDIRECTS: usize = 5;
/// How often a blob is begun anew when it broke off.
const MAX_TRIES: usize = 3;
/// A registry that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest token.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

/// Why an image was not fetched.
#[derive(Debug, Error)]
pub enum PullError {
    /// There was no answer.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// It answered, and not with what was asked for.
    #[error("{host} answered {status} for {what}")]
    Status {
        /// Who.
        host: String,
        /// What.
        what: String,
        /// The status.
        status: u16,
    },
    /// Credentials are wanted, or others.
    #[error("{host} does not let us read {repository}{}", if *.with_credentials { " with these credentials" } else { " without credentials" })]
    Denied {
        /// Who.
        host: String,
        /// What.
        repository: String,
        /// Whether there were some.
        with_credentials: bool,
    },
    /// It sends elsewhere where nothing may be sent.
    #[error("{host} leads to `{to}`: {why}")]
    Led {
        /// Who.
        host: String,
        /// Where.
        to: String,
        /// Why not.
        why: &'static str,
    },
    /// It broke off, or was silent.
    #[error("{host} broke off while it sent {what}: {why}")]
    BrokeOff {
        /// Who.
        host: String,
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// It is too large.
    #[error("the image has {bytes} bytes, and at most {limit} are taken")]
    TooLarge {
        /// How large.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It is not taken.
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The digest of what the name led to: of an index, where it is for several platforms.
    pub digest: Digest,
    /// How many bytes were fetched.
    pub bytes: u64,
}

/// What is fetched of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// All of it.
    All,
    /// What it says of itself, without its files.
    Description,
}

/// Fetches an image into a folder that is empty, as a layout. `told` hears of each blob before it is fetched.
///
/// # Errors
/// When it cannot be had, or is not taken.
pub async fn pull(
    name: &ImageName,
    platform: &Platform,
    credentials: Option<Credentials>,
    plain: PlainHttp,
    folder: &Path,
    parts: Parts,
    told: impl Fn(&str),
) -> Result<Pulled, PullError> {
    let mut registry = Registry::new(name, credentials, plain)?;
    let top = registry.document(&name.reference()).await?;
    let digest = digest_of(&top);
    if let Some(expected) = &name.digest {
        must_be(&top, expected, "manifest")?;
    }
    let (manifest, bytes) = registry.manifest_of(top, platform).await?;
    let read_manifest: Manifest = read(&bytes, "manifest")?;
    read_manifest.check()?;
    must_fit(&read_manifest)?;
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(reading("blobs/sha256"))?;
    keep(folder, &blob_path(&manifest.sha256("manifest")?), &bytes)?;
    let mut fetched = bytes.len() as u64;
    let layers = match parts {
        Parts::All => &read_manifest.layers[..],
        Parts::Description => &[],
    };
    for (number, blob) in std::iter::once(&read_manifest.config).chain(layers).enumerate() {
        told(&format!("part {} of {}: {} bytes", number + 1, layers.len() + 1, blob.size));
        registry.blob(blob, folder).await?;
        fetched += blob.size;
    }
    let index = Index { schema_version: 2, manifests: vec![manifest] };
    let index = serde_json::to_vec(&index).map_err(|error| reading("index.json")(error.into()))?;
    keep(folder, Path::new("index.json"), &index)?;
    keep(folder, Path::new("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(Pulled { digest, bytes: fetched })
}

fn keep(folder: &Path, below: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    fs::write(folder.join(below), bytes).map_err(reading(below.display().to_string()))
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

fn must_fit(manifest: &Manifest) -> Result<(), PullError> {
    let all = std::iter::once(&manifest.config).chain(&manifest.layers);
    let bytes = all.fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    let limit = UnpackLimits::USUAL.bytes;
    if bytes > limit { Err(PullError::TooLarge { bytes, limit }) } else { Ok(()) }
}

struct Registry<'a> {
    name: &'a ImageName,
    at: Reach,
    credentials: Option<Credentials>,
    plain: PlainHttp,
    /// What was given for the credentials: as the field `authorization` has it.
    authorization: Option<String>,
}

/// How a registry wants to be asked.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

impl<'a> Registry<'a> {
    fn new(
        name: &'a ImageName,
        credentials: Option<Credentials>,
        plain: PlainHttp,
    ) -> Result<Self, PullError> {
        let address = address_of(name.host(), plain);
        let at = reach(name.host(), &address, plain)?;
        Ok(Self { name, at, credentials, plain, authorization: None })
    }

    fn path(&self, kind: &str, reference: &str) -> String {
        format!("/v2/{}/{kind}/{reference}", self.name.repository)
    }

    /// Fetches an index or a manifest.
    async fn document(&mut self, reference: &str) -> Result<Vec<u8>, PullError> {
        let accept = [INDEX, MANIFEST, INDEX_OF_DOCKER, MANIFEST_OF_DOCKER].join(", ");
        let path = self.path("manifests", reference);
        let response = self.ask(&path, &[(ACCEPT, &accept)]).await?;
        let what = format!("{}:{reference}", self.name.repository);
        let response = self.good(response, &what)?;
        let mut bytes = Vec::new();
        self.read_body(response, &what, MAX_DOCUMENT_BYTES, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        Ok(bytes)
    }

    /// Finds the manifest for the platform, when the name leads to an index.
    async fn manifest_of(
        &mut self,
        top: Vec<u8>,
        platform: &Platform,
    ) -> Result<(Descriptor, Vec<u8>), PullError> {
        let of_itself = |bytes: &[u8], kind: String| Descriptor {
            media_type: kind,
            digest: format!("sha256:{}", digest_of(bytes)),
            size: bytes.len() as u64,
            platform: None,
            annotations: std::collections::BTreeMap::new(),
        };
        let kind = kind_of(&top)?;
        if ![INDEX, INDEX_OF_DOCKER].contains(&kind.as_str()) {
            return Ok((of_itself(&top, kind), top));
        }
        let index: Index = read(&top, "index")?;
        let known = index.manifests.iter().filter_map(|one| Some((one, one.platform.clone()?)));
        let known: Vec<_> = known.filter(|(_, there)| there.is_known()).collect();
        let Some((chosen, _)) = known.iter().find(|(_, there)| platform.takes(there)) else {
            let there = known.into_iter().map(|(_, there)| there).collect();
            return Err(ImageError::Platform { wanted: platform.clone(), there }.into());
        };
        let digest = chosen.sha256("index")?;
        let bytes = self.document(&chosen.digest).await?;
        must_be(&bytes, &digest, "manifest")?;
        let kind = kind_of(&bytes)?;
        Ok((of_itself(&bytes, kind), bytes))
    }

    /// Fetches a blob, and begins anew when it broke off.
    async fn blob(&mut self, blob: &Descriptor, folder: &Path) -> Result<(), PullError> {
        let digest = blob.sha256("manifest")?;
        let path = folder.join(blob_path(&digest));
        for _ in 1..MAX_TRIES {
            match self.blob_once(blob, &digest, &path).await {
                Err(PullError::BrokeOff { .. } | PullError::Reach(ReachError::BrokeOff { .. })) => {}
                other => return other,
            }
        }
        self.blob_once(blob, &digest, &path).await
    }

    async fn blob_once(&mut self, blob: &Descriptor, digest: &Digest, to: &Path) -> Result<(), PullError> {
        let what = format!("sha256:{}", digest.short());
        let response = self.ask(&self.path("blobs", &blob.digest), &[]).await?;
        let response = self.led(response).await?;
        let response = self.good(response, &what)?;
        let writing = || reading(to.display().to_string());
        let mut file = File::create(to).map_err(writing())?;
        let mut hasher = Sha256::new();
        let bytes = self
            .read_body(response, &what, blob.size, |piece| {
                hasher.update(piece);
                file.write_all(piece)
            })
            .await?;
        let found = Digest::from_bytes(hasher.finalize().into());
        if found != *digest && bytes < blob.size {
            let (host, why) = (self.name.host().to_owned(), format!("{bytes} of {} bytes came", blob.size));
            return Err(PullError::BrokeOff { host, what, why });
        }
        if found != *digest {
            return Err(crate::layout::other(&what, digest, &found).into());
        }
        Ok(())
    }

    /// Follows where a registry leads for a blob, with nothing in hand.
    async fn led(&self, mut response: Response<Incoming>) -> Result<Response<Incoming>, PullError> {
        let mut from = self.at.address().clone();
        for _ in 0..MAX_REDIRECTS {
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
            let refused = |why| PullError::Led { host: self.name.host().to_owned(), to: shown(to), why };
            let (address, path) = split(&from, to).ok_or_else(|| refused("that is no address"))?;
            if from.is_tls() && !address.is_tls() {
                return Err(refused("from there on nothing would be encrypted"));
            }
            let reach = Reach::new(address.clone(), Trust::in_system(), None, self.plain)?;
            response = reach.ask_once(Method::GET, &path, &[]).await?;
            from = address;
        }
        let why = "it was led on again and again";
        Err(PullError::Led { host: self.name.host().to_owned(), to: String::new(), why })
    }

    /// Asks, and once more with what the registry wants to see.
    async fn ask(
        &mut self,
        path: &str,
        fields: &[(HeaderName, &str)],
    ) -> Result<Response<Incoming>, PullError> {
        let response = self.ask_once(path, fields).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let challenge = response.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenge.filter_map(|value| challenge_of(value.to_str().ok()?)).next();
        self.authorization = match challenge {
            Some(Challenge::Bearer { realm, service, scope }) => {
                Some(self.token(&realm, service.as_deref(), scope.as_deref()).await?)
            }
            Some(Challenge::Basic) => self.credentials_for(self.at.address())?,
            None => None,
        };
        match self.authorization {
            None => Err(self.denied()),
            Some(_) => Ok(self.ask_once(path, fields).await?),
        }
    }

    async fn ask_once(
        &self,
        path: &str,
        fields: &[(HeaderName, &str)],
    ) -> Result<Response<Incoming>, ReachError> {
        let authorization = self.authorization.iter().map(|value| (AUTHORIZATION, value.as_str()));
        let fields: Vec<_> = fields.iter().cloned().chain(authorization).collect();
        self.at.ask_once(Method::GET, path, &fields).await
    }

    /// Fetches a token from where the registry says, as whoever we are.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, PullError> {
        let host = || self.name.host().to_owned();
        let odd = |why| PullError::Led { host: host(), to: shown(realm), why };
        let (address, path) = split(self.at.address(), realm).ok_or_else(|| odd("that is no address"))?;
        if self.at.address().is_tls() && !address.is_tls() {
            return Err(odd("tokens would come from there unencrypted"));
        }
        let scope = scope.map_or_else(|| format!("repository:{}:pull", self.name.repository), str::to_owned);
        let mut path =
            format!("{path}{}scope={}", if path.contains('?') { '&' } else { '?' }, quoted(&scope));
        if let Some(service) = service {
            path = format!("{path}&service={}", quoted(service));
        }
        let authorization = self.credentials_for(&address)?;
        let fields: Vec<_> = authorization.iter().map(|value| (AUTHORIZATION, value.as_str())).collect();
        let reach = Reach::new(address, Trust::in_system(), None, self.plain)?;
        let response = reach.ask_once(Method::GET, &path, &fields).await?;
        if [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&response.status()) {
            return Err(self.denied());
        }
        let response = self.good(response, "a token")?;
        let mut bytes = Vec::new();
        self.read_body(response, "a token", MAX_TOKEN_BYTES, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        // What is wrong in it is not shown: it may be a token all the same.
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| odd("what it gave is no token"))?;
        Ok(format!("Bearer {}", token.token))
    }

    /// Credentials as they may be sent to an address.
    fn credentials_for(&self, address: &ServerAddress) -> Result<Option<String>, PullError> {
        let Some(credentials) = &self.credentials else { return Ok(None) };
        let is_safe =
            address.is_tls() || address.loopback_port().is_some() || self.plain == PlainHttp::Everywhere;
        if !is_safe {
            return Err(ReachError::PlainToken { address: address.clone() }.into());
        }
        Ok(Some(credentials.basic()))
    }

    fn denied(&self) -> PullError {
        let (host, repository) = (self.name.host().to_owned(), self.name.repository.clone());
        PullError::Denied { host, repository, with_credentials: self.credentials.is_some() }
    }

    fn good(&self, response: Response<Incoming>, what: &str) -> Result<Response<Incoming>, PullError> {
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied()),
            status => {
                let (host, what) = (self.name.host().to_owned(), what.to_owned());
                Err(PullError::Status { host, what, status: status.as_u16() })
            }
        }
    }

    /// Reads an answer up to a size. More than that is not read, and is no answer.
    async fn read_body(
        &self,
        response: Response<Incoming>,
        what: &str,
        limit: u64,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<u64, PullError> {
        let broke = |why: String| PullError::BrokeOff {
            host: self.name.host().to_owned(),
            what: what.to_owned(),
            why,
        };
        let mut body = response.into_body();
        let mut bytes = 0_u64;
        loop {
            let frame = tokio::time::timeout(SILENCE, body.frame()).await;
            let frame = frame.map_err(|_| broke(format!("nothing was said for {} s", SILENCE.as_secs())))?;
            let Some(frame) = frame else { return Ok(bytes) };
            let piece = frame.map_err(|error| broke(error.to_string()))?.into_data().unwrap_or_default();
            bytes += piece.len() as u64;
            if bytes > limit {
                let (part, expected) = (what.to_owned(), format!("{limit} bytes"));
                return Err(ImageError::Digest { part, expected, found: "larger".to_owned() }.into());
            }
            take(&piece).map_err(reading(what))?;
        }
    }
}

/// A registry on this machine is asked without TLS, as Docker does; any other only where that is said.
fn address_of(host: &str, plain: PlainHttp) -> String {
    let http = format!("http://{host}");
    let is_near = http.parse::<ServerAddress>().is_ok_and(|address| address.loopback_port().is_some());
    if is_near || plain == PlainHttp::Everywhere { http } else { format!("https://{host}") }
}

fn reach(host: &str, address: &str, plain: PlainHttp) -> Result<Reach, PullError> {
    let address = address.parse().map_err(|_| PullError::Led {
        host: host.to_owned(),
        to: address.to_owned(),
        why: "that is no address",
    })?;
    Ok(Reach::new(address, Trust::in_system(), None, plain)?)
}

/// The kind of a document: as it says itself, or as what it has in it shows.
fn kind_of(bytes: &[u8]) -> Result<String, ImageError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        schema_version: u32,
        media_type: Option<String>,
        manifests: Option<serde_json::Value>,
    }
    let kind: Kind = read(bytes, "manifest")?;
    if kind.schema_version != 2 {
        let what = format!("an image of schema {}", kind.schema_version);
        return Err(ImageError::Kind { what, why: "it is older than 2016; push it again".to_owned() });
    }
    let told_by_content = || if kind.manifests.is_some() { INDEX } else { MANIFEST }.to_owned();
    Ok(kind.media_type.unwrap_or_else(told_by_content))
}

/// Takes a place apart that an answer names: a server, and a path there.
fn split(from: &ServerAddress, to: &str) -> Option<(ServerAddress, String)> {
    if to.starts_with('/') && !to.starts_with("//") {
        return Some((from.clone(), to.to_owned()));
    }
    let begins = to.find("://")? + 3;
    let path_at = to[begins..].find(['/', '?']).map_or(to.len(), |at| begins + at);
    let (server, path) = to.split_at(path_at);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Some((server.parse().ok()?, path))
}

/// Where it leads, without what may be a secret in it.
fn shown(address: &str) -> String {
    address.split(['?', '#']).next().unwrap_or_default().chars().take(200).collect()
}

fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/' | b':');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn challenge_of(value: &str) -> Option<Challenge> {
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let parameter = |name: &str| {
        let begin = format!("{name}=\"");
        let at = rest.find(&begin)? + begin.len();
        rest[at..].split('"').next().map(str::to_owned)
    };
    Some(Challenge::Bearer {
        realm: parameter("realm")?,
        service: parameter("service"),
        scope: parameter("scope"),
    })
}

#[cfg(test)]
mod tests;
