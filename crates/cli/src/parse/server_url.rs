//! The address of a server.

use std::fmt;
use std::str::FromStr;

/// The address of a server, such as `http://127.0.0.1:8470`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(String);

impl ServerUrl {
    /// Returns the address as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            format!(
                "write http://HOST:PORT, for example http://{}",
                text.rsplit("://").next().unwrap_or("127.0.0.1:8470")
            )
        })?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]/".contains(c);
        if rest.is_empty() || rest.starts_with(['/', ':']) || !rest.chars().all(allowed) {
            return Err("write http://HOST:PORT".to_owned());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_addresses_are_servers() {
        assert_eq!("http://a:1/".parse::<ServerUrl>().unwrap().as_str(), "http://a:1");
        assert!("http://[::1]:8470".parse::<ServerUrl>().is_ok());
        let error = "localhost:8470".parse::<ServerUrl>().unwrap_err();
        assert_eq!(error, "write http://HOST:PORT, for example http://localhost:8470");
        for bad in ["", "https://a", "http://", "http:///x", "http://a b"] {
            assert!(bad.parse::<ServerUrl>().is_err(), "{bad}");
        }
    }
}
