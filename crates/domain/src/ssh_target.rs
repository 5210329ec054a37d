//! Where `ssh` connects to.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::as_text::as_text;

/// Where `ssh` connects to: `[USER@]HOST[:PORT]`, HOST a name, an alias of its configuration, or an address (IPv6 in brackets).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct SshTarget {
    /// Who logs in; what the configuration says otherwise.
    pub user: Option<String>,
    /// The host.
    pub host: String,
    /// The port; what the configuration says otherwise.
    pub port: Option<u16>,
}

/// Why a text names no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is not [USER@]HOST[:PORT], such as deploy@10.0.0.5, web1 or deploy@[fd00::5]:2222: {why}")]
pub struct TargetError {
    /// The text, cut to a printable length.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for SshTarget {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let fail = |why| TargetError { text: text.chars().take(80).collect(), why };
        let (user, place) = match text.split_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (host, port) = parts(place).ok_or_else(|| fail("an address of IPv6 stands in brackets"))?;
        let port =
            port.map(str::parse::<u16>).transpose().map_err(|_| fail("the port is no number to 65535"))?;
        // What begins with a hyphen would be an option of `ssh`.
        let is_word = |text: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '%');
            !text.is_empty() && !text.starts_with('-') && text.len() <= 253 && text.chars().all(allowed)
        };
        if !is_word(host) {
            return Err(fail("the host has letters, digits and .-_ in it, and begins with no -"));
        }
        if !user.is_none_or(is_word) {
            return Err(fail("the user has letters, digits and .-_ in it, and begins with no -"));
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port: port.filter(|port| *port > 0) })
    }
}

fn parts(place: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match place.split_once(':') {
        Some((_, rest)) if rest.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
        None => Some((place, None)),
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

as_text!(SshTarget);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_ssh_users_write_it_and_never_an_option() {
        let shown = |text: &str| text.parse::<SshTarget>().map(|target| target.to_string());
        for text in ["web1", "deploy@10.0.0.5", "deploy@web1:2222", "[fd00::5]:22", "root@[fe80::1%eth0]"] {
            assert_eq!(shown(text).unwrap(), text);
        }
        for text in [
            "",
            "-oProxyCommand=x",
            "a@-b",
            "-l@b",
            "a@b:x",
            "a@b:70000",
            "fd00::5",
            "a b",
            "a@b;c",
            "[::1",
            "a@",
        ] {
            assert!(shown(text).is_err(), "{text}");
        }
    }
}
