//! What is wrong with the certificate that a server showed, in words for a person. Pure.

use std::fmt;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

/// Most names of a certificate that are listed.
const MAX_NAMES: usize = 5;

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateFault {
    /// Nobody who is trusted has signed it, or what lies between is missing.
    UnknownIssuer,
    /// It claims an authority that is trusted, which has not signed it.
    Forged,
    /// It is for others.
    WrongName {
        /// For whom it is.
        names: Vec<String>,
    },
    /// Its time is over.
    Expired(Times),
    /// Its time has not come.
    NotYetValid(Times),
    /// It is the certificate of an authority, used as that of a server.
    Authority,
    /// Anything else, in the words of the library.
    Other(String),
}

/// The bound of a certificate and the clock of this machine, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    bound: Option<String>,
    now: Option<String>,
}

impl Times {
    fn new(bound: UnixTime, now: UnixTime) -> Self {
        Self { bound: day_and_time(bound), now: day_and_time(now) }
    }

    const fn unknown() -> Self {
        Self { bound: None, now: None }
    }
}

fn day_and_time(time: UnixTime) -> Option<String> {
    let seconds = i64::try_from(time.as_secs()).ok()?;
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

impl From<&CertificateError> for CertificateFault {
    fn from(error: &CertificateError) -> Self {
        use CertificateError as E;
        match error {
            E::UnknownIssuer => Self::UnknownIssuer,
            // The second: one of the same name has a key of another kind.
            E::BadSignature | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::Forged,
            E::NotValidForName => Self::WrongName { names: Vec::new() },
            E::NotValidForNameContext { presented, .. } => {
                Self::WrongName { names: presented.iter().map(|name| plain_name(name)).collect() }
            }
            E::Expired => Self::Expired(Times::unknown()),
            E::ExpiredContext { time, not_after } => Self::Expired(Times::new(*not_after, *time)),
            E::NotValidYet => Self::NotYetValid(Times::unknown()),
            E::NotValidYetContext { time, not_before } => Self::NotYetValid(Times::new(*not_before, *time)),
            // The library has no word of its own for it.
            E::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Self::Authority,
            other => Self::Other(other.to_string()),
        }
    }
}

/// Takes the name out of `DnsName("a.test")` and `IpAddress(127.0.0.1)`.
fn plain_name(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"').to_owned()
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownIssuer => f.write_str("is signed by nobody that is trusted here"),
            Self::Forged => {
                f.write_str("names a trusted authority that has not signed it with the key known here")
            }
            Self::WrongName { names } if names.is_empty() => {
                f.write_str("is for another name, and has none as `subjectAltName`")
            }
            Self::WrongName { names } => {
                let shown = names.iter().take(MAX_NAMES).map(|name| format!("`{name}`"));
                let more = if names.len() > MAX_NAMES { " and more" } else { "" };
                write!(f, "is for {}{more} only", shown.collect::<Vec<_>>().join(", "))
            }
            Self::Expired(times) => write!(f, "has expired{}", Since("", times)),
            Self::NotYetValid(times) => write!(f, "is not valid yet{}", Since("only from ", times)),
            Self::Authority => f.write_str("is that of an authority and not that of a server"),
            Self::Other(what) => write!(f, "is not accepted: {what}"),
        }
    }
}

struct Since<'a>(&'static str, &'a Times);

impl fmt::Display for Since<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(word, Times { bound: Some(bound), now: Some(now) }) = self else { return Ok(()) };
        write!(f, " ({word}{bound}; the clock of this machine says {now})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_names() {
        assert_eq!(plain_name("DnsName(\"a.test\")"), "a.test");
        assert_eq!(plain_name("IpAddress(127.0.0.1)"), "127.0.0.1");
        assert_eq!(plain_name("odd"), "odd");
        let many = CertificateFault::WrongName { names: (0..9).map(|n| n.to_string()).collect() };
        assert_eq!(many.to_string(), "is for `0`, `1`, `2`, `3`, `4` and more only");
    }
}
