//! Reading the head of a request of HTTP/2, by the same rules.
//!
//! What HTTP/2 forbids and its library has refused before is refused here once more: what is read here is what is sent on.

use h2::ext::Protocol;
use http::Method;
use http::header::{COOKIE, HeaderMap};
use http::request::Parts;
use httparse::Header;
use lockstep_domain::request_path::PathReading;

use super::{ASTERISK, MAX_FIELDS, Request, bad, read_authority};
use crate::field::Field;
use crate::framing::Body;
use crate::problem::{Problem, Status};

/// Joins fields that HTTP/2 lets a client split, and others have not (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(fields: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    if crumbs.len() > 1
        && let Ok(cookies) = http::HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        fields.insert(COOKIE, cookies);
    }
}

impl<'b> Request<'b> {
    /// Reads a head; `ends` tells whether no body follows.
    pub(crate) fn of_parts(
        parts: &'b Parts,
        ends: bool,
        room: &'b mut Vec<Header<'b>>,
        reading: impl FnOnce() -> PathReading,
    ) -> Result<Request<'b>, Problem> {
        let headers = fill(&parts.headers, room)?;
        let target = match parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            Some(target) if target.starts_with('/') || target == ASTERISK => target,
            _ => return Err(bad("the target is no path")),
        };
        if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
            return Err(bad("the scheme is neither http nor https"));
        }
        let method = method(parts)?;
        let mut request = Self::new((method, target), 2, headers, reading)?;
        for (index, header) in headers.iter().enumerate() {
            let kind = request.kinds[index];
            check(kind, header)?;
            request.note(kind, header.value)?;
        }
        request.settle_host(parts.uri.authority().map(http::uri::Authority::as_str))?;
        request.settle_rest()?;
        request.body = match (ends, request.length) {
            (true, None | Some(0)) => Body::Done,
            (true, Some(_)) => return Err(bad("`content-length` names a body and none follows")),
            (false, Some(length)) => Body::Length(length),
            (false, None) => Body::Framed(u64::MAX),
        };
        (request.persistent, request.websocket) = (true, parts.method == Method::CONNECT);
        request.parts = Some(parts);
        Ok(request)
    }

    /// A host that is named twice must be the same.
    fn settle_host(&mut self, authority: Option<&'b str>) -> Result<(), Problem> {
        let hosts: Vec<&str> = self.values(Field::Host).collect();
        if hosts.len() > 1 {
            return Err(bad("`host` is given twice"));
        }
        let host = hosts.first().map(|host| read_authority(host)).transpose()?;
        let named = authority.map(read_authority).transpose()?;
        self.authority = match (named, host) {
            (Some(named), Some(host)) if named.as_str() != host.as_str() => {
                return Err(bad("`host` is not that of the target"));
            }
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => return Err(bad("`host` is missing")),
        };
        Ok(())
    }
}

fn fill<'b>(fields: &'b HeaderMap, room: &'b mut Vec<Header<'b>>) -> Result<&'b [Header<'b>], Problem> {
    let count = fields.len();
    if count > MAX_FIELDS {
        let detail = format!("there are more than {MAX_FIELDS} header fields");
        return Err(Problem::new(Status::FieldsTooLarge, "too_many_fields", detail));
    }
    room.extend(fields.iter().map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() }));
    Ok(room)
}

/// Returns the method that is asked with: a tunnel to a path (RFC 8441) is what HTTP/1.1 asks for by `GET` and an upgrade.
fn method(parts: &Parts) -> Result<&str, Problem> {
    if parts.method != Method::CONNECT {
        return Ok(parts.method.as_str());
    }
    match parts.extensions.get::<Protocol>() {
        Some(protocol) if protocol.as_str() == "websocket" => Ok("GET"),
        _ => Err(Problem::new(Status::NotImplemented, "tunnel", "the only tunnel there is is a WebSocket")),
    }
}

/// Fields of a connection have no place where connections are not what carries a request.
fn check(kind: Field, header: &Header<'_>) -> Result<(), Problem> {
    let is_te = header.name == "te" && header.value.eq_ignore_ascii_case(b"trailers");
    match kind {
        Field::Connection | Field::TransferEncoding | Field::Upgrade => {
            Err(bad("a header field is one of connections, which HTTP/2 has not"))
        }
        Field::HopByHop if !is_te => Err(bad("a header field is one of connections, which HTTP/2 has not")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::gateway_rules::Caller;
    use lockstep_domain::request_path::{EscapedSlashes, PathForm};
    use proptest::prelude::*;

    use super::*;
    use crate::request::fields;

    fn parts(method: &str, host: &str, target: &str, given: &[(String, String)]) -> Option<Parts> {
        let uri = http::Uri::builder().scheme("http").authority(host).path_and_query(target).build().ok()?;
        let mut builder = http::Request::builder().method(method).uri(uri);
        for (name, value) in given {
            builder = builder.header(name, value);
        }
        let mut parts = builder.body(()).ok()?.into_parts().0;
        join_cookies(&mut parts.headers);
        Some(parts)
    }

    fn field() -> impl Strategy<Value = (String, String)> {
        let name = prop::sample::select(vec![
            "x-user",
            "x_forwarded_for",
            "x-forwarded-for",
            "x-forwarded-proto",
            "baggage",
            "traceparent",
            "tracestate",
            "x-lockstep-key",
            "via",
            "lockstep-hops",
            "forwarded",
            "lockstep-version",
            "accept",
            "grpc-timeout",
            "content-type",
            "expect",
        ]);
        let value = prop::sample::select(vec![
            "a",
            "lockstep.key=ann,a=1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "lockstep=ann",
            "1.1 lockstep",
            "application/grpc",
            "5S",
            "https",
            "for=1.2.3.4",
            "100-continue",
        ]);
        (name, value).prop_map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    proptest! {
        #[test]
        fn both_wires_read_the_same_request_alike(
            method in prop::sample::select(vec!["GET", "HEAD", "DELETE", "OPTIONS"]),
            host in prop::sample::select(vec!["shop.test", "Shop.Test.:8080", "[::1]:80", "a_b"]),
            target in prop::sample::select(vec![
                "/", "/a/../b?c=d", "/%6frders//x", "/..", "/a;b", "/a%2fb", "/%00", "/a?b#c",
            ]),
            form in prop::sample::select(vec![PathForm::Normalized, PathForm::KeepSlashes, PathForm::AsSent]),
            escaped_slashes in prop::sample::select(vec![
                EscapedSlashes::Keep, EscapedSlashes::Refuse, EscapedSlashes::Redirect,
            ]),
            given in prop::collection::vec(field(), 0..6),
            cookie in prop::option::of(prop::sample::select(vec!["a=1", "lockstep_key=ann; b=2"])),
        ) {
            prop_assume!(!target.contains('#'));
            let reading = PathReading { form, escaped_slashes, ..PathReading::default() };
            let mut given = given;
            given.extend(cookie.map(|cookie| ("cookie".to_owned(), cookie.to_owned())));
            // A map of fields keeps those of one name together, so they are given so.
            given.sort_by(|one, other| one.0.cmp(&other.0));
            let fields_text: String = given.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let bytes = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{fields_text}\r\n");
            let (mut room, mut places) = (fields(), Vec::new());
            let by_bytes = Request::read(bytes.as_bytes(), &mut room, || reading);
            let Some(parts) = parts(method, host, target, &given) else { return Ok(()) };
            let by_parts = Request::of_parts(&parts, true, &mut places, || reading);
            match (by_bytes, by_parts) {
                (Ok(Some((_, one))), Ok(other)) => {
                    prop_assert_eq!(one.method, other.method);
                    prop_assert_eq!(one.authority.as_str(), other.authority.as_str());
                    prop_assert_eq!((&one.path, one.query), (&other.path, other.query));
                    prop_assert_eq!((one.call, one.traced, one.trace_id()), (other.call, other.traced, other.trace_id()));
                    for caller in [Caller::Outside, Caller::Proxy, Caller::Instance] {
                        prop_assert_eq!(one.key(caller), other.key(caller));
                    }
                }
                (Err(one), Err(other)) => prop_assert_eq!(one, other),
                (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
            }
        }
    }

    #[test]
    fn what_http_2_forbids_is_refused() {
        let read = |given: &[(&str, &str)], ends| {
            let given: Vec<_> =
                given.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            let parts = parts("GET", "shop.test", "/", &given).unwrap();
            Request::of_parts(&parts, ends, &mut Vec::new(), PathReading::default)
                .map(|_| ())
                .map_err(|problem| problem.status())
        };
        for bad in [
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("keep-alive", "5"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("host", "other.test"),
            ("content-length", "5"),
            ("content-length", "x"),
        ] {
            assert_eq!(read(&[bad], true), Err(400), "{bad:?}");
        }
        assert_eq!(read(&[("host", "shop.test"), ("host", "shop.test")], true), Err(400));
        assert_eq!(read(&[("te", "trailers"), ("host", "shop.test"), ("content-length", "0")], true), Ok(()));
        assert_eq!(read(&[("content-length", "5")], false), Ok(()));
    }
}
