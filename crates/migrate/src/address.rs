//! Where a database is, as a variable of the service says it.
//!
//! Invariant: no error has a part of the address: it may be a password.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::engine::Fault;

/// How long a connection may take, where the address does not say.
const CONNECT: Duration = Duration::from_secs(10);
/// Endings of a path that is an SQLite database without being said so.
const SQLITE_ENDINGS: [&str; 4] = [".db", ".sqlite", ".sqlite3", ".db3"];

/// Where a database is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Address {
    Sqlite(PathBuf),
    Postgres(Box<Config>, Encryption),
}

/// Whether a connection is encrypted, and its other end known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    None,
    Checked,
}

impl Address {
    /// Reads the value of a variable.
    pub(crate) fn read(variable: &str, value: Option<OsString>) -> Result<Self, Fault> {
        let value = value.filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| {
            Fault::new(format!(
                "the variable `{variable}` is not set, which should have the address of the database: set it in [run] env, by \
                 `lockstep config set`, or name another with `variable`"
            ))
        })?;
        let unreadable = || {
            Fault::new(format!(
                "`{variable}` is no address of PostgreSQL or SQLite: write postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:PATH"
            ))
        };
        value.to_str().and_then(Self::parse).ok_or_else(unreadable)
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = sqlite_path(text) {
            let (path, options) = path.split_once('?').unwrap_or((path, ""));
            let path = if options.contains("mode=memory") { ":memory:" } else { path };
            return (!path.is_empty()).then(|| Self::Sqlite(path.into()));
        }
        let (plain, encryption) = without_encryption(text)?;
        let mut config: Config = plain.parse().ok()?;
        if config.get_hosts().is_empty() {
            return None;
        }
        config.ssl_mode(match encryption {
            Encryption::None => SslMode::Disable,
            Encryption::Checked => SslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        config.application_name("lockstep");
        Some(Self::Postgres(Box::new(config), encryption))
    }
}

pub(crate) fn sqlite_path(text: &str) -> Option<&str> {
    for scheme in ["sqlite3", "sqlite", "file"] {
        if let Some(rest) = text.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':')) {
            return Some(rest.strip_prefix("//").unwrap_or(rest));
        }
    }
    let is_path = !text.contains("://") && SQLITE_ENDINGS.iter().any(|ending| text.ends_with(ending));
    is_path.then_some(text)
}

/// Takes `sslmode` out of a URL: the words of libpq are more than those of the library, and `require` is checked here.
fn without_encryption(text: &str) -> Option<(String, Encryption)> {
    if !text.starts_with("postgresql://") && !text.starts_with("postgres://") {
        return None;
    }
    let Some((before, query)) = text.split_once('?') else {
        return Some((text.to_owned(), Encryption::None));
    };
    let mut encryption = Encryption::None;
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", "disable" | "allow" | "prefer")) => {}
            Some(("sslmode", "require" | "verify-ca" | "verify-full")) => encryption = Encryption::Checked,
            Some(("sslmode", _)) => return None,
            _ => rest.push(pair),
        }
    }
    let separator = if rest.is_empty() { "" } else { "?" };
    Some((format!("{before}{separator}{}", rest.join("&")), encryption))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(text: &str) -> Option<String> {
        match Address::parse(text) {
            Some(Address::Sqlite(path)) => path.to_str().map(str::to_owned),
            _ => None,
        }
    }

    #[test]
    fn paths_and_their_schemes_are_sqlite() {
        for (text, path) in [
            ("sqlite:var/a.db", "var/a.db"),
            ("sqlite://var/a", "var/a"),
            ("sqlite:///srv/a.db", "/srv/a.db"),
            ("sqlite3:a?mode=rwc", "a"),
            ("file:a.db", "a.db"),
            ("var/notes.sqlite3", "var/notes.sqlite3"),
        ] {
            assert_eq!(sqlite(text).as_deref(), Some(path), "{text}");
        }
        assert_eq!(sqlite("sqlite:"), None);
    }

    #[test]
    fn what_is_encrypted_is_said_by_the_words_of_libpq() {
        let encryption = |mode: &str| {
            let text = format!("postgresql://a:b@c:1/d?{mode}application_name=x");
            match Address::parse(&text) {
                Some(Address::Postgres(_, encryption)) => Some(encryption),
                _ => None,
            }
        };
        assert_eq!(encryption(""), Some(Encryption::None));
        assert_eq!(encryption("sslmode=prefer&"), Some(Encryption::None));
        assert_eq!(encryption("sslmode=verify-full&"), Some(Encryption::Checked));
        assert_eq!(encryption("sslmode=sure&"), None);
    }

    #[test]
    fn an_error_never_has_the_address() {
        for text in ["mysql://ann:s3cret@h/d", "s3cret", "postgresql://ann:s3cret@h:port/d?s3cret=1", ""] {
            let Fault { why, .. } = Address::read("DATABASE_URL", Some(text.into())).unwrap_err();
            assert!(why.contains("DATABASE_URL") && !why.contains("s3cret"), "{text}: {why}");
        }
    }
}
