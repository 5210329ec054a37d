//! Databases that are one and the same although environments, or services, know them by several names. What tells that is the digest of
//! where they are: the address without who asks there.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::{KnownDatabase, Users, VersionDatabase, at_work, in_force};
use crate::digest::Digest;
use crate::environment::Environment;
use crate::name::DatabaseName;
use crate::time::Timestamp;
use crate::version::VersionRef;
use crate::world::World;

/// Another name of a database.
pub(crate) struct Other<'a> {
    world: &'a World,
    pub(crate) environment: &'a Environment,
    database: &'a DatabaseName,
    pub(crate) known: &'a KnownDatabase,
}

/// Finds the other names of a database.
pub(crate) fn others<'a>(
    world: &'a World,
    environment: &Environment,
    database: &DatabaseName,
) -> Vec<Other<'a>> {
    let Some(place) = environment.databases.get(database).and_then(|known| known.told.place) else {
        return Vec::new();
    };
    let all = world.environments.values().flat_map(|it| it.databases.iter().map(move |found| (&**it, found)));
    let same = all.filter(|(it, (name, known))| {
        known.told.place == Some(place) && (it.name != environment.name || *name != database)
    });
    same.map(|(environment, (database, known))| Other { world, environment, database, known }).collect()
}

impl Other<'_> {
    fn users(&self) -> Users<'_> {
        Users::of(self.world, self.environment, self.database, self.environment.entries())
    }

    /// The versions in force there that do not know a migration.
    pub(crate) fn needs(&self, migration: &str) -> BTreeSet<VersionRef> {
        let users = self.users();
        in_force(self.environment).into_iter().filter(|it| users.is_stranger(it, migration)).collect()
    }

    /// The versions there that are in force or warm and of which something is so.
    pub(crate) fn at_work(
        &self,
        now: Timestamp,
        is_so: impl Fn(Option<&VersionDatabase>) -> bool,
    ) -> BTreeSet<VersionRef> {
        let users = self.users();
        at_work(self.environment, now).into_iter().filter(|it| is_so(users.brings(it))).collect()
    }

    /// The versions that ever ran there and of which something is so.
    pub(crate) fn all_that_ran(
        &self,
        is_so: impl Fn(Option<&VersionDatabase>) -> bool,
    ) -> BTreeSet<VersionRef> {
        let users = self.users();
        users.ran(self.environment).into_iter().filter(|it| is_so(users.brings(it))).collect()
    }

    /// The versions that ever ran there and do not know a migration.
    pub(crate) fn ran(&self, migration: &str) -> BTreeSet<VersionRef> {
        self.users().strangers(self.environment, migration)
    }
}

/// Digests where a database is: scheme, host, port and name of an address, or the path of a file. `inside` is where paths begin that do not
/// begin at the root. Who asks, and with which password, is no part of it; `None` for what is no address.
#[must_use]
pub fn place_of(address: &str, inside: &str) -> Option<Digest> {
    let text = canonical(address.trim(), inside)?;
    Some(Digest::from_bytes(Sha256::digest(text).into()))
}

fn canonical(address: &str, inside: &str) -> Option<String> {
    let (scheme, rest) = match address.split_once(':') {
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+') => {
            (scheme, rest)
        }
        _ => ("sqlite", address),
    };
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "sqlite" | "sqlite3" | "file" => file(rest, inside),
        _ => served(&scheme, rest.strip_prefix("//")?),
    }
}

fn file(rest: &str, inside: &str) -> Option<String> {
    let path = rest.strip_prefix("//").unwrap_or(rest).split('?').next().unwrap_or_default();
    let path = path.trim_start_matches("./");
    match path {
        "" => None,
        path if path.starts_with('/') => Some(format!("file {path}")),
        path => Some(format!("file of {inside}: {path}")),
    }
}

fn served(scheme: &str, rest: &str) -> Option<String> {
    let scheme = if scheme.starts_with("postgres") { "postgresql" } else { scheme };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let said = |key: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(it, _)| *it == key).map(|(_, value)| decoded(value)).next_back()
    };
    let usual = said("port").or_else(|| usual_port(scheme).map(str::to_owned)).unwrap_or_default();
    let hosts = said("host").unwrap_or_else(|| decoded(hosts));
    let hosts: BTreeSet<_> = hosts.split(',').map(|host| host_of(host, &usual)).collect();
    let name = said("dbname").unwrap_or_else(|| decoded(name));
    // One that names no database means the one that is called like the user.
    let name = if name.is_empty() { decoded(user.split(':').next().unwrap_or_default()) } else { name };
    let hosts: Vec<_> = hosts.into_iter().collect();
    (!hosts.iter().all(|host| host.starts_with(' '))).then(|| format!("{scheme} {} {name}", hosts.join(",")))
}

/// A host with its port. The names of this machine for itself are one.
fn host_of(text: &str, usual: &str) -> String {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, if port.is_empty() { usual } else { port })
        }
        _ => (text, usual),
    };
    let host = host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    let is_here = host == "localhost" || host == "::1" || host.starts_with("127.");
    let host = if is_here { "localhost" } else { &host };
    format!("{host} {port}")
}

fn usual_port(scheme: &str) -> Option<&'static str> {
    match scheme {
        "postgresql" => Some("5432"),
        "mysql" | "mariadb" => Some("3306"),
        _ => None,
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let pair = after.get(..2).filter(|_| first == b'%').and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_database_is_one_whoever_asks_and_however_its_address_is_written() {
        let same = [
            "postgresql://app:secret@db.example.org:5432/shop",
            "postgres://other:word@DB.example.org/shop?sslmode=require",
            "postgresql://db.example.org./sh%6Fp",
            "postgres+asyncpg://app@/shop?host=db.example.org",
        ];
        let places: BTreeSet<_> = same.map(|it| place_of(it, "a").unwrap()).into_iter().collect();
        assert_eq!(places.len(), 1, "{same:?}");
        let here = ["postgres://localhost/a", "postgres://127.0.0.1/a", "postgres://[::1]:5432/a"];
        assert_eq!(here.map(|it| place_of(it, "a")).into_iter().collect::<BTreeSet<_>>().len(), 1);
    }

    #[test]
    fn others_are_others() {
        let all = [
            ("postgresql://db/shop", "a"),
            ("postgresql://db/desk", "a"),
            ("postgresql://db:5433/shop", "a"),
            ("postgresql://other/shop", "a"),
            ("mysql://db/shop", "a"),
            ("sqlite:var/shop.db", "a"),
            ("sqlite:var/shop.db", "b"),
            ("sqlite:/srv/shop.db", "a"),
        ];
        let places: BTreeSet<_> = all.iter().map(|(text, inside)| place_of(text, inside).unwrap()).collect();
        assert_eq!(places.len(), all.len());
        assert_eq!(place_of("/srv/shop.db", "a"), place_of("file:///srv/shop.db?mode=rwc", "b"));
        for none in ["", "sqlite:", "postgresql:///"] {
            assert_eq!(place_of(none, "a"), None, "{none}");
        }
    }
}
