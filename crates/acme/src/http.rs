//! Requests to an authority: each on a connection of its own, bounded in time and size, and only to where it can be known who answers.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient, Problem};
use lockstep_domain::acme::said;
use lockstep_reach::{Reach, ReachError, ServerAddress, Trust};

use crate::AcmeError;

/// Longest answer: a chain of certificates has 10 KB, an order for 100 hosts 20 KB.
const MAX_ANSWER: usize = 256 * 1_024;
/// How long a request may take: authorities answer within a second or two, and some make certificates meanwhile.
const LIMIT: Duration = Duration::from_secs(30);
/// Who we are, as RFC 8555 (6.1) wants it.
const WHO: &str = concat!("lockstep/", env!("CARGO_PKG_VERSION"));
/// Longest text of an error that is looked at.
const MAX_CAUSES: usize = 8;

/// The way to an authority, for one step.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    trust: Arc<Trust>,
    /// Whether the directory was reached by TLS; then nothing else is.
    is_secure: bool,
    /// How long the authority asked to wait, in its last answer.
    after: Arc<Mutex<Option<Duration>>>,
}

/// What an authority answered, or why it did not, on the way through the library.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Passing(String);

/// Splits an address of an authority into where it is and what is asked there.
///
/// # Errors
/// When it is none, or everybody on the way could read and change what is said.
pub(crate) fn target(url: &str) -> Result<(ServerAddress, String), AcmeError> {
    let bad =
        |why: &str| AcmeError::refused(&format!("`{}` is no address of an authority: {why}", said(url)));
    let uri: Uri = url.parse().map_err(|_| bad("write https://HOST/PATH"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(bad("write https://HOST/PATH"));
    };
    let address = format!("{scheme}://{authority}").parse::<ServerAddress>();
    let address = address.map_err(|error| bad(&error.to_string()))?;
    if !address.is_tls() && address.loopback_port().is_none() {
        return Err(bad("https, since everybody on the way could change what is said"));
    }
    let path = uri.path_and_query().map_or("/", |it| it.as_str());
    Ok((address, path.to_owned()))
}

impl Http {
    pub(crate) fn new(trust: Arc<Trust>, is_secure: bool) -> Self {
        Self { trust, is_secure, after: Arc::default() }
    }

    /// Reads what is at an address.
    pub(crate) async fn get(&self, url: &str) -> Result<Bytes, AcmeError> {
        let request = Request::builder().uri(url).body(Bytes::new());
        let request = request.map_err(|error| AcmeError::odd(&error.to_string()))?;
        let answer = self.exchange(request).await.map_err(|why| self.later(&why))?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(AcmeError::odd(&format!("it answered {status} to GET {url}"))),
        }
    }

    /// Says what became of a step as the library tells it.
    pub(crate) fn told(&self, error: instant_acme::Error) -> AcmeError {
        use instant_acme::Error;
        match error {
            Error::Api(problem) => self.refused(&problem),
            Error::Other(error) => self.later(&error.to_string()),
            Error::Json(error) => {
                self.later(&format!("its answer is not what ACME (RFC 8555) has it: {error}"))
            }
            other => self.later(&other.to_string()),
        }
    }

    fn later(&self, why: &str) -> AcmeError {
        AcmeError::Later { why: said(why), after: self.after() }
    }

    /// Says what a problem of an authority means.
    pub(crate) fn refused(&self, problem: &Problem) -> AcmeError {
        let (why, after) = (words(problem), self.after());
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let passes = ["badNonce", "serverInternal"].iter().any(|word| kind.ends_with(word));
        if passes { AcmeError::Later { why, after } } else { AcmeError::Refused { why, after } }
    }

    /// Returns how long the authority asked to wait, in its last answer.
    pub(crate) fn after(&self) -> Option<Duration> {
        *self.after.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request and reads the whole answer. What says that it is too busy is no answer.
    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let asked = tokio::time::timeout(LIMIT, self.ask(request)).await;
        let answer =
            asked.unwrap_or_else(|_| Err(format!("it did not answer within {} s", LIMIT.as_secs())))?;
        let (mut head, body) = answer.into_parts();
        // The library adds it to the time of now, and would fall over a number that is too large.
        let after = head.headers.remove(RETRY_AFTER).and_then(|it| seconds(it.to_str().ok()?));
        let answer = Response::from_parts(head, body);
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = after.map(Duration::from_secs);
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let problem = serde_json::from_slice::<Problem>(answer.body()).ok();
            let said = problem.as_ref().map(words).unwrap_or_default();
            return Err(format!("it answered {status} {said}"));
        }
        Ok(answer)
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let (parts, body) = request.into_parts();
        let (address, path) = target(&parts.uri.to_string()).map_err(|error| error.to_string())?;
        if self.is_secure && !address.is_tls() {
            return Err(format!("it leads to {address}, where everybody on the way could read what is said"));
        }
        let reach = self.reach(address).map_err(|error| reached(&error))?;
        let kept = parts.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let mut fields: Vec<(HeaderName, &str)> = vec![(USER_AGENT, WHO)];
        fields.extend(kept.map(|kind| (CONTENT_TYPE, kind)));
        let answer = reach.ask(parts.method, &path, &fields, body).await.map_err(|error| reached(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| {
            format!("its answer broke off, or is longer than {MAX_ANSWER} bytes: {error}")
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    fn reach(&self, address: ServerAddress) -> Result<Reach, ReachError> {
        Reach::shared(address, Arc::clone(&self.trust))
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body =
                body.collect().await.map_or_else(|never| match never {}, http_body_util::Collected::to_bytes);
            let answer = http.exchange(Request::from_parts(parts, body)).await;
            let answer = answer.map_err(|why| instant_acme::Error::Other(Box::new(Passing(why))))?;
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

/// Says what an authority said.
pub(crate) fn words(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let detail = problem.detail.as_deref().unwrap_or_default();
    let parts = problem.subproblems.iter().filter_map(|it| it.detail.as_deref());
    let all: Vec<&str> = [detail].into_iter().chain(parts).filter(|it| !it.is_empty()).collect();
    said(&format!("{} ({kind})", all.join("; ")))
}

/// Says why there was no answer; the error's own words are about servers of ours.
fn reached(error: &ReachError) -> String {
    let mut text = match error {
        ReachError::Unreachable { address, .. } => format!("nobody answers at {address}"),
        ReachError::Redirect { address, status, .. } => {
            format!("{address} answered {status} and leads elsewhere, where nothing is sent")
        }
        other => other.to_string(),
    };
    let mut cause = StdError::source(error);
    for _ in 0..MAX_CAUSES {
        let Some(next) = cause else { break };
        text = format!("{text}: {next}");
        cause = next.source();
    }
    said(&text)
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(at.saturating_sub(now).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_asked_by_tls_or_on_this_machine() {
        let of = |url: &str| target(url).map(|(address, path)| (address.to_string(), path));
        assert_eq!(of("https://ca.test/dir?x=1").unwrap(), ("https://ca.test".into(), "/dir?x=1".into()));
        assert_eq!(of("http://127.0.0.1:14000/dir").unwrap().1, "/dir");
        for bad in [
            "http://ca.test/dir",
            "ftp://ca.test",
            "ca.test/dir",
            "https://u:p@ca.test/",
            "",
            "/dir",
            "https://",
        ] {
            let error = of(bad).unwrap_err();
            assert!(!error.is_passing(), "{bad}");
            assert!(error.to_string().contains("is no address of an authority"), "{error}");
        }
    }

    #[test]
    fn a_pause_is_read_in_both_forms_and_nonsense_is_none() {
        assert_eq!(seconds(" 120 "), Some(120));
        assert_eq!(seconds("Fri, 31 Dec 1999 23:59:59 GMT"), Some(0), "it is over");
        assert!(seconds("Fri, 31 Dec 2100 23:59:59 GMT").unwrap() > 0);
        for bad in ["", "-1", "soon", "99999999999999999999999"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_problem_is_said_with_all_of_its_parts_on_one_short_line() {
        let text = r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "no\nnames",
            "subproblems": [{"detail": "a.test: policy"}, {"detail": ""}]}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!(words(&problem), "no names; a.test: policy (rejectedIdentifier)");
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let http = Http::new(Arc::new(Trust::in_system()), true);
        let of = |kind: &str| {
            let text = format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "x"}}"#);
            http.refused(&serde_json::from_str(&text).unwrap()).is_passing()
        };
        assert!(of("badNonce") && of("serverInternal"));
        assert!(!of("unauthorized") && !of("malformed") && !of("rateLimited"));
    }
}
