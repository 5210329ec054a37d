//! Which pages of other origins may read answers, as browsers ask for it (Fetch, "CORS protocol").

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::conditions::check_method;
use crate::request_host::normalize_route_host;

/// Most members of each list.
const MAX_MEMBERS: usize = 64;
/// Longest time for which a browser remembers what it may do: what Firefox takes at most.
pub const MAX_AGE_S: u64 = 24 * 60 * 60;

/// Which pages of other origins may read answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// `https://shop.test`, `https://*.shop.test` for all hosts below it, or `*` for all.
    pub origins: Vec<String>,
    /// Methods that pages may use beside GET, HEAD and POST.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Header fields that pages may send beside the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<String>,
    /// Header fields of answers that pages may read beside the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// Whether pages may send cookies and the like.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("default" = bool::default()))]
    pub credentials: bool,
    /// For how many seconds a browser remembers it; as the browser has it when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
}

/// Why it cannot be said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CorsError {
    /// Nobody would be allowed.
    #[error("cors names at least one origin")]
    Nobody,
    /// It is no origin.
    #[error("`{0}` is not an origin: write https://shop.test, https://*.shop.test or *, without a path")]
    Origin(String),
    /// Everybody could act in the name of a visitor.
    #[error("pages of every origin cannot have credentials: name the origins")]
    Everybody,
    /// It is no method.
    #[error("`{0}` is not a method: write it in capitals, such as PUT")]
    Method(String),
    /// It is no name of a header field.
    #[error("`{0}` is not the name of a header field")]
    Header(String),
    /// A list is too long.
    #[error("a list of cors has at most {MAX_MEMBERS} members")]
    TooMany,
    /// It is longer than browsers remember.
    #[error("a browser remembers it for at most a day")]
    Age,
}

impl Cors {
    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<CorsError> {
        let Self { origins, methods, headers, expose, credentials, max_age_s } = self;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte);
        let is_name = |name: &&String| !name.is_empty() && name.len() <= 64 && name.bytes().all(is_token);
        let mut problems = Vec::new();
        problems.extend(origins.is_empty().then_some(CorsError::Nobody));
        problems.extend(origins.iter().filter(|it| !is_origin(it)).map(|it| CorsError::Origin(cut(it))));
        problems.extend((*credentials && origins.iter().any(|it| it == "*")).then_some(CorsError::Everybody));
        problems.extend(
            methods.iter().filter(|it| check_method(it).is_err()).map(|it| CorsError::Method(cut(it))),
        );
        let names = headers.iter().chain(expose);
        problems.extend(names.filter(|it| !is_name(it)).map(|it| CorsError::Header(cut(it))));
        let lists = [origins, methods, headers, expose];
        problems.extend(lists.iter().any(|list| list.len() > MAX_MEMBERS).then_some(CorsError::TooMany));
        problems.extend(max_age_s.filter(|age| *age > MAX_AGE_S).map(|_| CorsError::Age));
        problems
    }

    /// Tells whether pages of an origin may read answers.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| is_of(known, origin))
    }

    /// Returns the fields of an answer to a page of an allowed origin.
    #[must_use]
    pub fn answer_fields(&self, origin: &str) -> Vec<(&'static str, String)> {
        let mut fields = self.origin_fields(origin);
        if !self.expose.is_empty() {
            fields.push(("access-control-expose-headers", self.expose.join(", ")));
        }
        fields
    }

    /// Returns the fields of an answer to the question what a page of an allowed origin may do.
    #[must_use]
    pub fn preflight_fields(&self, origin: &str) -> Vec<(&'static str, String)> {
        let mut fields = self.origin_fields(origin);
        let usual = ["GET", "HEAD", "POST"].map(str::to_owned);
        let mut methods: Vec<_> = usual.iter().chain(&self.methods).cloned().collect();
        methods.dedup();
        fields.push(("access-control-allow-methods", methods.join(", ")));
        if !self.headers.is_empty() {
            fields.push(("access-control-allow-headers", self.headers.join(", ")));
        }
        fields.extend(self.max_age_s.map(|age| ("access-control-max-age", age.to_string())));
        fields
    }

    fn origin_fields(&self, origin: &str) -> Vec<(&'static str, String)> {
        let any = !self.credentials && self.origins.iter().any(|it| it == "*");
        let mut fields = vec![("access-control-allow-origin", if any { "*" } else { origin }.to_owned())];
        fields.extend(self.credentials.then(|| ("access-control-allow-credentials", "true".to_owned())));
        fields
    }
}

fn is_of(known: &str, origin: &str) -> bool {
    if known == "*" || known.eq_ignore_ascii_case(origin) {
        return true;
    }
    let Some((scheme, name)) = known.split_once("://*") else { return false };
    // A port stands behind the name, so `https://*.shop.test` takes the usual port only.
    let host = origin.split_once("://").filter(|(its, _)| *its == scheme).map(|(_, host)| host);
    host.and_then(|host| host.strip_suffix(name)).is_some_and(|below| {
        !below.is_empty() && below.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return text == "*" || text == "null" };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let is_scheme =
        !scheme.is_empty() && scheme.bytes().all(|it| it.is_ascii_lowercase() || b"+-.".contains(&it));
    is_scheme && is_port && normalize_route_host(host).is_ok_and(|form| form == host)
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        Cors { origins: origins.iter().map(|&it| it.into()).collect(), ..Cors::default() }
    }

    #[test]
    fn an_origin_is_taken_as_a_whole() {
        let table = [
            ("https://shop.test", "https://shop.test", true),
            ("https://shop.test", "HTTPS://Shop.test", true),
            ("https://shop.test", "http://shop.test", false),
            ("https://shop.test", "https://shop.test:8443", false),
            ("https://shop.test", "https://shop.test.evil.test", false),
            ("https://*.shop.test", "https://a.shop.test", true),
            ("https://*.shop.test", "https://a.b.shop.test", true),
            ("https://*.shop.test", "https://shop.test", false),
            ("https://*.shop.test", "https://evilshop.test", false),
            ("https://*.shop.test", "http://a.shop.test", false),
            ("https://*.shop.test", "https://evil.test/.shop.test", false),
            ("https://*.shop.test", "https://evil.test#.shop.test", false),
            ("https://*.shop.test:8443", "https://a.shop.test:8443", true),
            ("*", "null", true),
            ("null", "null", true),
        ];
        for (known, origin, expected) in table {
            assert_eq!(cors(&[known]).problems(), [], "{known}");
            assert_eq!(cors(&[known]).allows(origin), expected, "{known} {origin}");
        }
    }

    #[test]
    fn what_would_open_too_much_or_nothing_cannot_be_said() {
        for bad in
            ["", "shop.test", "https://", "https://shop.test/", "https://*", "https://Shop.test", "ht tp://a"]
        {
            assert!(matches!(cors(&[bad]).problems().as_slice(), [CorsError::Origin(_)]), "{bad}");
        }
        assert_eq!(cors(&[]).problems(), [CorsError::Nobody]);
        let open = Cors { credentials: true, ..cors(&["*"]) };
        assert_eq!(open.problems(), [CorsError::Everybody]);
    }

    #[test]
    fn everybody_is_told_so_and_one_origin_by_its_name() {
        let first = |cors: &Cors| cors.answer_fields("https://a.test")[0].1.clone();
        assert_eq!(first(&cors(&["*"])), "*");
        assert_eq!(first(&cors(&["https://a.test"])), "https://a.test");
    }
}
