//! Where a request says that it comes from, and what that allows. Pure.
//!
//! A browser on the host of the server, or on the desk of an operator, must not be turned against us. What a web page can
//! send without asking first has one of these marks: a `Host` that is not ours (DNS rebinding), an `Origin` that is not ours,
//! `Sec-Fetch-Site`, or a body that is not `application/json`. Each is refused by itself, so that one missing is no way in.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, Uri};
use lockstep_api::{ErrorCode, FILE_MEDIA_TYPE, Problem};

const SEC_FETCH_SITE: &str = "sec-fetch-site";
const SEC_FETCH_MODE: &str = "sec-fetch-mode";

/// The names that a server answers to.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    listen: IpAddr,
    /// Names that the operator gave, in lower case.
    public: Vec<String>,
}

/// A host name or address with the port, as a `Host` field gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    /// In lower case; an IPv6 address without brackets.
    name: String,
    port: Option<u16>,
}

impl Hosts {
    /// Makes the names of a server that listens at an address. Returns the first public name that is not one.
    pub(crate) fn new(listen: SocketAddr, public: &[String]) -> Result<Self, String> {
        let names = public.iter().map(|name| match Authority::parse(name) {
            Some(Authority { name, port: None }) => Ok(name),
            _ => Err(name.clone()),
        });
        Ok(Self { listen: listen.ip(), public: names.collect::<Result<_, _>>()? })
    }

    /// Checks what a request says about its way here.
    ///
    /// # Errors
    /// A problem that names the field.
    pub(crate) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let host = asked_host(uri, headers)?;
        if !self.answers_to(&host.name) {
            let detail = format!("this server does not answer to the name `{}`", host.name);
            return Err(Problem::new(ErrorCode::Forbidden, detail).with_hint(format!(
                "if it is a name of this server: lockstep server --public-host {}",
                host.name
            )));
        }
        self.check_origin(&host, headers)?;
        check_fetch_site(method, headers)
    }

    fn answers_to(&self, name: &str) -> bool {
        if name == "localhost" || self.public.iter().any(|public| public == name) {
            return true;
        }
        // A name can be made to point here by whoever owns it, an address cannot.
        let beyond_loopback = |ip: IpAddr| self.listen.is_unspecified() || ip == self.listen;
        name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback() || beyond_loopback(ip))
    }

    fn check_origin(&self, host: &Authority, headers: &HeaderMap) -> Result<(), Problem> {
        let foreign = || Problem::new(ErrorCode::Forbidden, "requests with a foreign Origin are refused");
        match at_most_one(headers, &ORIGIN)? {
            None => Ok(()),
            Some(origin) if self.is_own(origin, host) => Ok(()),
            Some(_) => Err(foreign()),
        }
    }

    /// The same scheme, host and port. `https` only where something in front of the server, named by the operator, ends TLS.
    fn is_own(&self, origin: &str, host: &Authority) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let Some(origin) = Authority::parse(authority) else { return false };
        let usual = match scheme {
            "http" => 80,
            "https" if self.public.contains(&host.name) => 443,
            _ => return false,
        };
        origin.name == host.name && origin.port.unwrap_or(usual) == host.port.unwrap_or(usual)
    }
}

/// Refuses a change whose body a browser would send without asking first.
pub(crate) fn check_content_type(
    method: &Method,
    headers: &HeaderMap,
    takes_a_file: impl Fn() -> bool,
) -> Result<(), Problem> {
    if !changes(method) {
        return Ok(());
    }
    let media_type = at_most_one(headers, &CONTENT_TYPE)?.and_then(|value| value.split(';').next());
    let taken = |media_type: &str| {
        media_type.eq_ignore_ascii_case("application/json")
            || media_type.eq_ignore_ascii_case(FILE_MEDIA_TYPE) && takes_a_file()
    };
    match media_type.map(str::trim) {
        Some(media_type) if taken(media_type) => Ok(()),
        _ => {
            let detail = "a change is taken as `content-type: application/json` only, also without a body";
            Err(Problem::new(ErrorCode::UnsupportedMedia, detail)
                .with_hint("curl --header 'content-type: application/json' --data '{}' ..."))
        }
    }
}

/// Tells whether a method is more than looking.
fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// A page of another site may be followed here by a person, and nothing else.
fn check_fetch_site(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let site = at_most_one(headers, &HeaderName::from_static(SEC_FETCH_SITE))?;
    let mode = at_most_one(headers, &HeaderName::from_static(SEC_FETCH_MODE))?;
    match site {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) if !changes(method) && mode == Some("navigate") => Ok(()),
        Some(_) => Err(Problem::new(ErrorCode::Forbidden, "requests of pages of another site are refused")),
    }
}

/// Returns the host that is asked for: one `Host` field of plain letters, which an absolute target repeats.
fn asked_host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    let wrong = |detail: &str| Problem::new(ErrorCode::BadRequest, detail);
    let text = at_most_one(headers, &HOST)?.ok_or_else(|| wrong("the request has no Host"))?;
    let host =
        Authority::parse(text).ok_or_else(|| wrong("the Host is not a name or address with a port"))?;
    match uri.authority().map(|authority| Authority::parse(authority.as_str())) {
        Some(target) if target.as_ref() != Some(&host) => Err(wrong("the target and the Host differ")),
        _ => Ok(host),
    }
}

/// Returns the text of a field that may stand in a request once.
fn at_most_one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let wrong = |what: &str| Problem::new(ErrorCode::BadRequest, format!("the field `{name}` {what}"));
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong("stands in the request twice"));
    }
    value.to_str().map(Some).map_err(|_| wrong("has bytes that do not belong there"))
}

impl Authority {
    /// Reads `name`, `name:port`, `address:port` or `[address]:port`; nothing else, so that no two programs read it differently.
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = match text.strip_prefix('[') {
            Some(inner) => {
                let (address, rest) = inner.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), rest)
            }
            None => {
                let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
                let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
                if name.is_empty() || name.len() > 255 || !name.bytes().all(plain) {
                    return None;
                }
                (name.to_ascii_lowercase(), rest)
            }
        };
        let port = match rest.strip_prefix(':') {
            Some(port) if port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit()) => {
                Some(port.parse().ok()?)
            }
            None if rest.is_empty() => None,
            _ => return None,
        };
        Some(Self { name, port })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn hosts(listen: &str) -> Hosts {
        Hosts::new(listen.parse().unwrap(), &["Lockstep.example.org".to_owned()]).unwrap()
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(name.parse::<HeaderName>().unwrap(), value);
        }
        headers
    }

    fn status(listen: &str, method: &Method, pairs: &[(&str, &str)]) -> u16 {
        let uri = Uri::from_static("/api/v1/health");
        hosts(listen).check(method, &uri, &headers(pairs)).map_or_else(|problem| problem.status, |()| 200)
    }

    fn host_status(listen: &str, host: &str) -> u16 {
        status(listen, &Method::GET, &[("host", host)])
    }

    #[test]
    fn a_server_answers_to_its_own_names_only() {
        for good in [
            "127.0.0.1:8470",
            "LOCALHOST:8470",
            "[::1]:8470",
            "localhost",
            "127.9.9.9",
            "lockstep.example.org",
        ] {
            assert_eq!(host_status("127.0.0.1:8470", good), 200, "{good}");
        }
        let foreign = ["evil.test", "evil.test:8470", "localhost.evil.test", "localhost.", "10.0.0.1:8470"];
        for bad in foreign {
            assert_eq!(host_status("127.0.0.1:8470", bad), 403, "{bad}");
        }
        assert_eq!(host_status("10.0.0.1:8470", "10.0.0.1:8470"), 200);
        assert_eq!(host_status("10.0.0.1:8470", "10.0.0.2:8470"), 403);
        assert_eq!(host_status("0.0.0.0:8470", "10.0.0.2:8470"), 200);
        assert_eq!(host_status("0.0.0.0:8470", "evil.test:8470"), 403);
    }

    #[test]
    fn a_host_that_two_programs_could_read_differently_is_not_read() {
        let odd = [
            "",
            ":8470",
            "localhost:",
            "localhost:x",
            "localhost:084700",
            "localhost:70000",
            "[::1",
            "[::1]8470",
            "[evil.test]",
            "::1",
            "localhost@evil.test",
            "localhost/",
            "localhost,evil.test",
            "local host",
            "localh\u{f6}st",
            "localhost\t",
        ];
        for bad in odd {
            assert_eq!(host_status("127.0.0.1:8470", bad), 400, "{bad:?}");
        }
        assert_eq!(status("127.0.0.1:8470", &Method::GET, &[]), 400);
        let twice = [("host", "localhost:8470"), ("host", "localhost:8470")];
        assert_eq!(status("127.0.0.1:8470", &Method::GET, &twice), 400);
        let absolute = Uri::from_static("http://evil.test/api/v1/health");
        let checked = hosts("127.0.0.1:1").check(&Method::GET, &absolute, &headers(&[("host", "localhost")]));
        assert_eq!(checked.unwrap_err().status, 400);
    }

    #[test]
    fn only_the_own_origin_is_one() {
        let status = |host: &str, origin: &str| {
            status("127.0.0.1:8470", &Method::POST, &[("host", host), ("origin", origin)])
        };
        assert_eq!(status("localhost:8470", "http://localhost:8470"), 200);
        assert_eq!(status("localhost:8470", "http://LOCALHOST:8470"), 200);
        assert_eq!(status("[::1]:8470", "http://[::1]:8470"), 200);
        assert_eq!(status("localhost", "http://localhost:80"), 200);
        assert_eq!(status("lockstep.example.org", "https://lockstep.example.org"), 200);
        let foreign = [
            "null",
            "",
            "http://localhost",
            "http://localhost:3000",
            "https://localhost:8470",
            "http://127.0.0.1:8470",
            "http://localhost:8470/",
            "http://localhost:8470.evil.test",
            "http://evil.test",
            "file://localhost:8470",
            "localhost:8470",
            "http://user@localhost:8470",
        ];
        for bad in foreign {
            assert_eq!(status("localhost:8470", bad), 403, "{bad:?}");
        }
    }

    #[test]
    fn pages_of_another_site_can_lead_here_and_do_nothing() {
        let status = |method: Method, site: &str, mode: &str| {
            let fields = [("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
            status("127.0.0.1:8470", &method, &fields)
        };
        for site in ["same-origin", "none"] {
            assert_eq!(status(Method::POST, site, "cors"), 200);
        }
        for site in ["cross-site", "same-site", "", "anything"] {
            assert_eq!(status(Method::POST, site, "navigate"), 403, "{site}");
            assert_eq!(status(Method::GET, site, "no-cors"), 403, "{site}");
            assert_eq!(status(Method::GET, site, "navigate"), 200, "{site}");
        }
    }

    #[test]
    fn public_names_are_names_without_more() {
        let listen = "127.0.0.1:1".parse().unwrap();
        for bad in ["", "a b", "http://a", "a:80", "a/b"] {
            assert_eq!(Hosts::new(listen, &[bad.to_owned()]).unwrap_err(), bad);
        }
    }
}
