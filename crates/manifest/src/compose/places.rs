//! The names that services of a compose file call each other by, and references in their places.
//!
//! `http://web:8000` and `DB_HOST=db` work because Compose makes names of services names of hosts. Here each becomes the
//! address that Lockstep gives: `${service.web.host}` and `${resource.db.host}` with their ports.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::ServiceName;
use lockstep_domain::name::ResourceName;
use lockstep_domain::resource::ResourceKind;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A service, with the ports that it listens on in its container.
    Service { name: ServiceName, ports: Vec<u16> },
    /// A database or the like.
    Resource { name: ResourceName, kind: ResourceKind, known: Known },
}

/// What a database is told of itself, which those who use it are told as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) port: u16,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) name: Option<String>,
}

/// All names.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(pub(super) BTreeMap<String, Place>);

/// What was referred to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) services: BTreeSet<ServiceName>,
    pub(super) resources: BTreeMap<ResourceName, ResourceKind>,
    /// The ports at which services are called.
    pub(super) called: BTreeMap<ServiceName, BTreeSet<u16>>,
    /// Names with a port that nothing there listens on.
    pub(super) odd_ports: BTreeSet<String>,
}

impl Named {
    fn note(&mut self, place: &Place) {
        match place {
            Place::Service { name, .. } => drop(self.services.insert(name.clone())),
            Place::Resource { name, kind, .. } => drop(self.resources.insert(name.clone(), *kind)),
        }
    }
}

impl Named {
    fn note_port(&mut self, place: &Place, name: &str, port: u16) {
        if !place.listens_on(port) {
            self.odd_ports.insert(format!("{name}:{port}"));
        }
        if let Place::Service { name, .. } = place {
            self.called.entry(name.clone()).or_default().insert(port);
        }
    }
}

impl Place {
    fn host(&self) -> String {
        match self {
            Self::Service { name, .. } => format!("${{service.{name}.host}}"),
            Self::Resource { name, .. } => format!("${{resource.{name}.host}}"),
        }
    }

    fn port(&self) -> String {
        match self {
            Self::Service { name, .. } => format!("${{service.{name}.port}}"),
            Self::Resource { name, .. } => format!("${{resource.{name}.port}}"),
        }
    }

    fn listens_on(&self, port: u16) -> bool {
        match self {
            Self::Service { ports, .. } => ports.is_empty() || ports.contains(&port),
            Self::Resource { known, .. } => known.port == 0 || known.port == port,
        }
    }
}

/// Where an authority or a path ends.
const ENDS: [char; 11] = ['/', '?', '#', '"', '\'', ',', ';', ')', '}', '|', '`'];

impl Places {
    /// Puts references in the places of names in addresses; `None` where there are none.
    pub(super) fn in_text(&self, text: &str, named: &mut Named) -> Option<String> {
        self.in_text_but(text, &BTreeSet::new(), named)
    }

    /// The same, where some names mean something else.
    pub(super) fn in_text_but(
        &self,
        text: &str,
        but: &BTreeSet<String>,
        named: &mut Named,
    ) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("://") {
            let (before, after) = rest.split_at(at + 3);
            out += &self.plain(before, but, named);
            let end = after.find(|c: char| c.is_whitespace() || ENDS.contains(&c)).unwrap_or(after.len());
            let (authority, tail) = after.split_at(end);
            match self.authority(authority, but, named) {
                // Its address may have a password, which this one does not say.
                Some((Place::Resource { name, kind: ResourceKind::Redis, .. }, _))
                    if !authority.contains('@') && is_first_database(tail) =>
                {
                    let scheme =
                        out.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || ":/+".contains(c)).len();
                    out.truncate(scheme);
                    out += &format!("${{resource.{name}.url}}");
                    rest = tail.strip_prefix("/0").or_else(|| tail.strip_prefix('/')).unwrap_or(tail);
                }
                Some((place, new)) => {
                    let is_redis = matches!(place, Place::Resource { kind: ResourceKind::Redis, .. });
                    if is_redis && !authority.contains('@') {
                        out += &login(place, "");
                    }
                    out += &new;
                    rest = path(place, tail, &mut out);
                }
                None => {
                    out += &self.plain(authority, but, named);
                    rest = tail;
                }
            }
        }
        out += &self.plain(rest, but, named);
        (out != text).then_some(out)
    }

    /// Reads `user:password@name:port`.
    fn authority(
        &self,
        authority: &str,
        but: &BTreeSet<String>,
        named: &mut Named,
    ) -> Option<(&Place, String)> {
        let (user, address) =
            authority.rsplit_once('@').map_or((None, authority), |(user, rest)| (Some(user), rest));
        let (name, port) = address.split_once(':').map_or((address, None), |(name, port)| (name, Some(port)));
        let place = self.0.get(name).filter(|_| !but.contains(name))?;
        if let Some(port) = port {
            let port: u16 = port.parse().ok()?;
            named.note_port(place, name, port);
        }
        named.note(place);
        let user = user.map(|user| login(place, user)).unwrap_or_default();
        Some((place, format!("{user}{}:{}", place.host(), place.port())))
    }

    /// Finds `name:port` outside of addresses with a scheme.
    fn plain(&self, text: &str, but: &BTreeSet<String>, named: &mut Named) -> String {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let (mut out, mut rest, mut before) = (String::new(), text, ' ');
        while let Some(first) = rest.chars().next() {
            if is_part(before) || !is_part(first) {
                out.push(first);
                before = first;
                rest = &rest[first.len_utf8()..];
                continue;
            }
            let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let digits = after
                .strip_prefix(':')
                .map_or(0, |after| after.bytes().take_while(u8::is_ascii_digit).count());
            let port = after.get(1..=digits).and_then(|port| port.parse::<u16>().ok());
            match (self.0.get(word).filter(|_| !but.contains(word)), port) {
                (Some(place), Some(port)) => {
                    named.note_port(place, word, port);
                    named.note(place);
                    out += &format!("{}:{}", place.host(), place.port());
                    rest = &after[1 + digits..];
                }
                _ => {
                    out += word;
                    rest = after;
                }
            }
            before = 'x';
        }
        out
    }

    /// Puts references in the value of a variable, by its name and by what the other variables say.
    pub(super) fn in_variable(
        &self,
        name: &str,
        value: &str,
        all: &BTreeMap<&str, &str>,
        named: &mut Named,
    ) -> Option<String> {
        if let Some(new) = self.in_text(value, named) {
            return Some(new);
        }
        let upper = name.to_ascii_uppercase();
        if let Some(place) = self.0.get(value).filter(|_| names_a_host(&upper)) {
            named.note(place);
            return Some(place.host());
        }
        let (prefix, detail) = detail_of(&upper)?;
        let place = self.host_of(&prefix, all).or_else(|| self.only_with(&prefix, detail, value))?;
        let new = match (place, detail) {
            (place, Detail::Port) if value.parse().is_ok_and(|port| place.listens_on(port)) => place.port(),
            (Place::Resource { name, known, .. }, Detail::User) if known.user.as_deref() == Some(value) => {
                format!("${{resource.{name}.user}}")
            }
            (Place::Resource { name, known, .. }, Detail::Password)
                if known.password.as_deref() == Some(value) =>
            {
                format!("${{resource.{name}.password}}")
            }
            (Place::Resource { name, known, .. }, Detail::Name) if known.name.as_deref() == Some(value) => {
                format!("${{resource.{name}.name}}")
            }
            _ => return None,
        };
        named.note(place);
        Some(new)
    }

    /// Finds the place that the variable with the host of the same prefix names: `DB_HOST` for `DB_PORT`.
    fn host_of(&self, prefix: &str, all: &BTreeMap<&str, &str>) -> Option<&Place> {
        let of = |(name, value): (&&str, &&str)| {
            let upper = name.to_ascii_uppercase();
            (names_a_host(&upper) && prefix_of(&upper, &HOSTS) == Some(prefix.to_owned()))
                .then(|| self.0.get(*value))
                .flatten()
        };
        all.iter().find_map(of)
    }

    /// Finds the only database that is told this value, for a variable that is called like one: another password may be the same text.
    fn only_with(&self, prefix: &str, detail: Detail, value: &str) -> Option<&Place> {
        let of_name =
            |name: &ResourceName| prefix.ends_with(&name.as_str().to_ascii_uppercase().replace('-', "_"));
        let is_named = |place: &&Place| match place {
            Place::Resource { name, .. } => {
                of_name(name) || DATABASES.iter().any(|word| prefix.ends_with(word))
            }
            Place::Service { .. } => false,
        };
        let has = |place: &&Place| match (place, detail) {
            (Place::Resource { known, .. }, Detail::User) => known.user.as_deref() == Some(value),
            (Place::Resource { known, .. }, Detail::Password) => known.password.as_deref() == Some(value),
            (Place::Resource { known, .. }, Detail::Name) => known.name.as_deref() == Some(value),
            _ => false,
        };
        let mut found: Vec<&Place> = self.0.values().filter(has).filter(is_named).collect();
        found.dedup();
        if let [only] = found.as_slice() { Some(only) } else { None }
    }
}

/// Tells whether what follows an address of Redis names the database that is taken when none is named.
fn is_first_database(tail: &str) -> bool {
    let rest = tail.strip_prefix("/0").or_else(|| tail.strip_prefix('/')).unwrap_or(tail);
    rest.chars().next().is_none_or(|c| !c.is_ascii_digit() && c != '/' && c != '?')
}

/// The user and the password in the address of a database are those that it has here.
fn login(place: &Place, user: &str) -> String {
    let Place::Resource { name, kind, .. } = place else { return format!("{user}@") };
    let password = format!("${{resource.{name}.password}}");
    match (kind, user.split_once(':')) {
        (ResourceKind::Redis, _) => format!(":{password}@"),
        (_, Some(_)) => format!("${{resource.{name}.user}}:{password}@"),
        (_, None) => format!("${{resource.{name}.user}}@"),
    }
}

/// Puts the name of the database in the place of the one in an address; returns what follows.
fn path<'t>(place: &Place, tail: &'t str, out: &mut String) -> &'t str {
    let Place::Resource { name, kind: ResourceKind::Postgresql | ResourceKind::Mysql, .. } = place else {
        return tail;
    };
    let Some(rest) = tail.strip_prefix('/') else { return tail };
    let end = rest.find(|c: char| c.is_whitespace() || ENDS.contains(&c)).unwrap_or(rest.len());
    if end == 0 {
        return tail;
    }
    *out += &format!("/${{resource.{name}.name}}");
    &rest[end..]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Port,
    User,
    Password,
    Name,
}

/// How variables of databases are called, before what they say of them.
const DATABASES: [&str; 16] = [
    "DB",
    "DATABASE",
    "SQL",
    "PG",
    "POSTGRES",
    "POSTGRESQL",
    "MARIADB",
    "MYSQL",
    "REDIS",
    "CACHE",
    "BROKER",
    "RABBITMQ",
    "MONGO",
    "MONGODB",
    "MYSQL_ROOT",
    "INITDB_ROOT",
];

const HOSTS: [&str; 9] =
    ["HOSTNAME", "HOST", "SERVER", "ADDRESS", "ADDR", "ENDPOINT", "SERVICE", "URL", "URI"];

fn names_a_host(upper: &str) -> bool {
    HOSTS.iter().any(|word| {
        upper.ends_with(word) || upper.contains(&format!("{word}_")) || upper.ends_with(&format!("{word}S"))
    })
}

fn prefix_of(upper: &str, words: &[&str]) -> Option<String> {
    words
        .iter()
        .find_map(|word| upper.strip_suffix(word))
        .map(|prefix| prefix.trim_end_matches('_').to_owned())
}

fn detail_of(upper: &str) -> Option<(String, Detail)> {
    let all: [(&[&str], Detail); 4] = [
        (&["PORT"], Detail::Port),
        (&["USERNAME", "USER", "LOGIN"], Detail::User),
        (&["PASSWORD", "PASSWD", "PASS", "PWD"], Detail::Password),
        (&["DATABASE_NAME", "DATABASE", "DBNAME", "NAME", "DB"], Detail::Name),
    ];
    all.into_iter().find_map(|(words, detail)| Some((prefix_of(upper, words)?, detail)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn places() -> Places {
        let service = |name: &str, port| Place::Service { name: name.parse().unwrap(), ports: vec![port] };
        let known = Known {
            port: 5432,
            user: Some("shop".into()),
            password: Some("pw".into()),
            name: Some("shopdb".into()),
        };
        let db = Place::Resource { name: "db".parse().unwrap(), kind: ResourceKind::Postgresql, known };
        let redis = Place::Resource {
            name: "redis".parse().unwrap(),
            kind: ResourceKind::Redis,
            known: Known { port: 6379, ..Known::default() },
        };
        Places(BTreeMap::from([
            ("web".into(), service("web", 8000)),
            ("web-api".into(), service("web-api", 80)),
            ("db".into(), db),
            ("redis".into(), redis),
        ]))
    }

    #[test]
    fn addresses_become_references() {
        for (text, new) in [
            ("http://web:8000/api", Some("http://${service.web.host}:${service.web.port}/api")),
            ("http://web-api", Some("http://${service.web-api.host}:${service.web-api.port}")),
            (
                "postgresql+asyncpg://shop:pw@db:5432/shopdb?ssl=no",
                Some(
                    "postgresql+asyncpg://${resource.db.user}:${resource.db.password}@${resource.db.host}:${resource.db.port}/${resource.db.name}?ssl=no",
                ),
            ),
            ("redis://redis:6379/0", Some("${resource.redis.url}")),
            ("a=redis://redis b", Some("a=${resource.redis.url} b")),
            (
                "redis://redis:6379/2",
                Some("redis://:${resource.redis.password}@${resource.redis.host}:${resource.redis.port}/2"),
            ),
            (
                "redis://:x@redis/1",
                Some("redis://:${resource.redis.password}@${resource.redis.host}:${resource.redis.port}/1"),
            ),
            (
                "web:8000,db:5432",
                Some("${service.web.host}:${service.web.port},${resource.db.host}:${resource.db.port}"),
            ),
            (
                "https://example.org/web:8000x",
                Some("https://example.org/${service.web.host}:${service.web.port}x"),
            ),
            ("myweb:8000 web.example:8000 web", None),
            ("ünï http://other/web", None),
        ] {
            assert_eq!(places().in_text(text, &mut Named::default()).as_deref(), new, "{text}");
        }
    }

    #[test]
    fn a_password_that_is_the_same_text_is_another_one() {
        let all = BTreeMap::from([("POSTGRES_PASSWORD", "pw"), ("FIRST_SUPERUSER_PASSWORD", "pw")]);
        let new = |name: &str| places().in_variable(name, "pw", &all, &mut Named::default());
        assert_eq!(new("POSTGRES_PASSWORD").as_deref(), Some("${resource.db.password}"));
        assert_eq!(new("APP_DB_PASSWORD").as_deref(), Some("${resource.db.password}"));
        assert_eq!(new("FIRST_SUPERUSER_PASSWORD"), None);
    }

    #[test]
    fn variables_are_read_with_the_others() {
        let all = [
            ("DB_HOST", "db"),
            ("DB_PORT", "5432"),
            ("DB_USER", "shop"),
            ("DB_PASS", "pw"),
            ("DB_NAME", "shopdb"),
            ("PGHOST", "db"),
            ("PGPORT", "5432"),
            ("WEB_PORT", "8000"),
            ("MODE", "web"),
            ("APP_NAME", "shop"),
        ];
        let all = BTreeMap::from(all);
        let mut named = Named::default();
        let mut new = |name: &str| places().in_variable(name, all[name], &all, &mut named);
        assert_eq!(new("DB_HOST").unwrap(), "${resource.db.host}");
        assert_eq!(new("DB_PORT").unwrap(), "${resource.db.port}");
        assert_eq!(new("DB_USER").unwrap(), "${resource.db.user}");
        assert_eq!(new("DB_PASS").unwrap(), "${resource.db.password}");
        assert_eq!(new("DB_NAME").unwrap(), "${resource.db.name}");
        assert_eq!(new("PGPORT").unwrap(), "${resource.db.port}");
        assert_eq!((new("WEB_PORT"), new("MODE"), new("APP_NAME")), (None, None, None));
        assert_eq!(named.resources.len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "([a-z:/@.,0-9ü$\\{ -]|web|db|://)*", name in "[A-Z_]*") {
            let _ = places().in_variable(&name, &text, &BTreeMap::from([("DB_HOST", text.as_str())]), &mut Named::default());
        }
    }
}
