//! Which answers are compressed, and how: what the client takes, and what the route says.
//!
//! Source: RFC 9110, 12.5.3 (`accept-encoding`) and 8.4 (content codings).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most types that a route names.
const MAX_TYPES: usize = 64;
/// Fewer bytes than these are mostly not worth the fields that tell it.
const USUAL_MIN_BYTES: u64 = 1_024;
/// What is compressed where a route does not say: text, and what is written like it.
const USUAL_TYPES: [&str; 11] = [
    "text/*",
    "application/json",
    "application/*+json",
    "application/javascript",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "application/*+xml",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "image/svg+xml",
];

/// How the answers of a route are compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compress {
    /// The codings that are used, the best first: it is taken when a client likes several alike.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    #[schemars(extend("default" = all()))]
    pub encodings: Vec<Coding>,
    /// The types of content that are compressed, in lower case; `*` stands for what does not matter.
    #[serde(default = "usual_types", skip_serializing_if = "are_usual")]
    #[schemars(extend("default" = usual_types()))]
    pub types: Vec<String>,
    /// Answers that are known to have fewer bytes are not.
    #[serde(default = "usual_min", skip_serializing_if = "is_usual_min")]
    #[schemars(extend("default" = usual_min()))]
    pub min_bytes: u64,
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Coding {
    /// Zstandard, RFC 8878.
    Zstd,
    /// Brotli, RFC 7932.
    Br,
    /// RFC 1952.
    Gzip,
}

const ALL: [Coding; 3] = [Coding::Zstd, Coding::Br, Coding::Gzip];

fn all() -> Vec<Coding> {
    ALL.to_vec()
}

fn is_all(codings: &[Coding]) -> bool {
    codings == ALL
}

fn usual_types() -> Vec<String> {
    USUAL_TYPES.map(str::to_owned).to_vec()
}

fn are_usual(types: &[String]) -> bool {
    types == USUAL_TYPES
}

const fn usual_min() -> u64 {
    USUAL_MIN_BYTES
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_usual_min(bytes: &u64) -> bool {
    *bytes == USUAL_MIN_BYTES
}

/// Why answers cannot be compressed so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CompressError {
    /// No coding is named.
    #[error("at least one of \"zstd\", \"br\" and \"gzip\" is used to compress")]
    NoCoding,
    /// One is named twice.
    #[error("`{0}` is named twice")]
    Twice(&'static str),
    /// No type is named, or too many.
    #[error("1 to {MAX_TYPES} types are compressed")]
    Types,
    /// Nothing has no bytes.
    #[error("an answer that is compressed has at least one byte")]
    Min,
    /// It is no type.
    #[error("`{0}` is no type such as `text/html`, `text/*` or `application/*+json`, in lower case")]
    Type(String),
}

impl Default for Compress {
    fn default() -> Self {
        Self { encodings: all(), types: usual_types(), min_bytes: USUAL_MIN_BYTES }
    }
}

impl Coding {
    /// Finds one by its name, in any case.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(name))
    }

    /// Returns its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

impl Compress {
    /// Returns everything that is wrong with it.
    #[must_use]
    pub fn problems(&self) -> Vec<CompressError> {
        let mut problems = Vec::new();
        problems.extend(self.encodings.is_empty().then_some(CompressError::NoCoding));
        let is_again = |at: usize| self.encodings[..at].contains(&self.encodings[at]);
        let again = (0..self.encodings.len()).find(|&at| is_again(at));
        problems.extend(again.map(|at| CompressError::Twice(self.encodings[at].as_str())));
        problems.extend((!(1..=MAX_TYPES).contains(&self.types.len())).then_some(CompressError::Types));
        problems.extend((self.min_bytes == 0).then_some(CompressError::Min));
        let wrong = self.types.iter().filter(|it| !is_type(it));
        problems.extend(wrong.map(|it| CompressError::Type(it.chars().take(80).collect())));
        problems
    }

    /// Tells whether content of a type is compressed, as an answer names it with its parameters.
    #[must_use]
    pub fn takes(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        self.types.iter().any(|wanted| match wanted.split_once('*') {
            None => *wanted == essence,
            Some((before, after)) => {
                let rest = essence.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                rest.is_some_and(|rest| !rest.is_empty())
            }
        })
    }

    /// Chooses a coding by what a client says that it takes (all its `accept-encoding`); `None` where it takes none of these, or the
    /// content as it is more gladly.
    #[must_use]
    pub fn choose<'a>(&self, accepted: impl Iterator<Item = &'a str>) -> Option<Coding> {
        let members = accepted.flat_map(|list| list.split(',')).map(weighed);
        let (mut weights, mut any, mut plain) = ([None; ALL.len()], None, None);
        for (name, weight) in members {
            match Coding::of(name) {
                Some(coding) => weights[coding as usize] = Some(weight),
                None if name == "*" => any = Some(weight),
                None if name.eq_ignore_ascii_case("identity") => plain = Some(weight),
                // An old name of the same.
                None if name.eq_ignore_ascii_case("x-gzip") => weights[Coding::Gzip as usize] = Some(weight),
                None => {}
            }
        }
        let weight = |coding: Coding| weights[coding as usize].or(any).unwrap_or(0);
        let best = self
            .encodings
            .iter()
            .copied()
            .reduce(|best, it| if weight(it) > weight(best) { it } else { best })?;
        (weight(best) > 0 && weight(best) >= plain.unwrap_or(0)).then_some(best)
    }
}

/// Reads a member of a list with its weight, in thousandths; one that is not valid weighs nothing.
fn weighed(member: &str) -> (&str, u16) {
    let mut parts = member.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, weight.map_or(1_000, |weight| thousandths(weight).unwrap_or(0)))
}

fn thousandths(weight: &str) -> Option<u16> {
    let (whole, rest) = weight.split_once('.').unwrap_or((weight, ""));
    let is_number = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    let rest = is_number.then(|| format!("{rest:0<3}").parse::<u16>().ok())??;
    match whole {
        "0" => Some(rest),
        "1" if rest == 0 => Some(1_000),
        _ => None,
    }
}

fn is_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || b"!#$&-^_.+".contains(&it))
    };
    let Some((kind, subtype)) = text.split_once('/') else { return false };
    let subtype = match subtype.split_once('*') {
        None => return is_token(kind) && is_token(subtype),
        Some((before, after)) => {
            (before.is_empty() || is_token(before)) && (after.is_empty() || is_token(after))
        }
    };
    is_token(kind) && subtype
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(accepted: &[&str]) -> Option<&'static str> {
        Compress::default().choose(accepted.iter().copied()).map(Coding::as_str)
    }

    #[test]
    fn the_coding_is_one_that_the_client_likes_best_and_then_the_best_of_the_route() {
        assert_eq!(chosen(&["gzip, deflate, br, zstd"]), Some("zstd"));
        assert_eq!(chosen(&["gzip", "br"]), Some("br"));
        assert_eq!(chosen(&["gzip;q=1.0, br;q=0.5"]), Some("gzip"));
        assert_eq!(chosen(&["X-GZIP"]), Some("gzip"));
        assert_eq!(chosen(&["*"]), Some("zstd"));
        assert_eq!(chosen(&["*;q=0.5, zstd;q=0"]), Some("br"));
        assert_eq!(chosen(&["gzip;q=0.3, identity"]), None, "it likes it better as it is");
        for none in [
            "",
            "deflate",
            "identity",
            "gzip;q=0",
            "gzip; q=0.000",
            "*;q=0",
            "gzip;q=2",
            "gzip;q=-1",
            "gzip;q=.",
        ] {
            assert_eq!(chosen(&[none]), None, "{none}");
        }
        assert_eq!(chosen(&[]), None, "who says nothing may not know any");
        let gzip = Compress { encodings: vec![Coding::Gzip], ..Compress::default() };
        assert_eq!(gzip.choose(["zstd, gzip;q=0.1"].into_iter()), Some(Coding::Gzip));
    }

    #[test]
    fn types_are_text_and_what_is_written_like_it() {
        let usual = Compress::default();
        for yes in ["text/html; charset=utf-8", "TEXT/plain", "application/problem+json", "image/svg+xml"] {
            assert!(usual.takes(yes), "{yes}");
        }
        for no in ["", "image/png", "text/", "application/grpc", "application/octet-stream", "json"] {
            assert!(!usual.takes(no), "{no}");
        }
        assert_eq!(usual.problems(), []);
        let wrong = Compress {
            encodings: vec![Coding::Br, Coding::Br],
            types: vec!["html".into(), "Text/*".into()],
            min_bytes: 0,
        };
        assert_eq!(wrong.problems().len(), 4);
        assert_eq!(Compress { encodings: vec![], types: vec![], min_bytes: 1 }.problems().len(), 2);
    }

    proptest! {
        #[test]
        fn whatever_a_client_says_what_it_refuses_is_not_chosen(said in "[a-z*;=,. q01]{0,40}", refused in 0_usize..3) {
            let refused = ALL[refused];
            let said = format!("{said}, {};q=0", refused.as_str());
            prop_assert_ne!(Compress::default().choose([said.as_str()].into_iter()), Some(refused));
        }
    }
}
