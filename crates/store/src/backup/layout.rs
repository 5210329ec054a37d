//! Which files of a data folder a backup holds, and by which names.
//!
//! Invariant: a path that comes out of a backup names a file that we put into one; nothing else is ever written.

use std::path::{Path, PathBuf};

use lockstep_domain::Digest;

/// What a backup holds of a data folder: authority, what cannot be made again, and which folder it was, so that a server asks
/// before it takes the restored one for the one that counts.
pub const IN_BACKUP: [&str; 6] =
    ["journal.db", "journal.head", "journal.key", "place.json", "blobs", "secrets"];
/// What it leaves out: what belongs to the running server, to this host, or can be made again. A restored folder must not go
/// on with the history of route tables, or with what was done by later records: the original has.
pub const LEFT_OUT: [&str; 21] = [
    "alerts.json",
    "alerts-history.json",
    "alerts-turns.json",
    "alerts.unreadable",
    "editions.json",
    "exported-logs",
    "done.json",
    "clock.json",
    "journal.db-wal",
    "journal.db-shm",
    "journal.lock",
    "gateways.json",
    "hosts",
    "proving.json",
    "calls.json",
    "builds",
    "caches",
    "mirrors",
    "runtime",
    "scratch",
    "series",
];

/// Longest name of a secret.
const MAX_NAME: usize = 128;

pub(super) const JOURNAL: &str = "journal.db";
pub(super) const HEAD: &str = "journal.head";
pub(super) const KEY: &str = "journal.key";
const PLACE: &str = "place.json";

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Journal,
    Head,
    Key,
    Place,
    Secret(String),
    Blob(Digest),
}

impl Item {
    /// Reads the path of an entry; `None` when it is none of ours.
    pub(super) fn parse(path: &str) -> Option<Self> {
        match path.split('/').collect::<Vec<_>>()[..] {
            [JOURNAL] => Some(Self::Journal),
            [HEAD] => Some(Self::Head),
            [KEY] => Some(Self::Key),
            [PLACE] => Some(Self::Place),
            ["secrets", name] => is_name(name).then(|| Self::Secret(name.to_owned())),
            ["blobs", "sha256", fan, rest] if fan.len() == 2 => {
                let digest: Digest = format!("{fan}{rest}").parse().ok()?;
                let blob = Self::Blob(digest);
                // One spelling only, so that two entries are never the same file.
                (blob.path() == path).then_some(blob)
            }
            _ => None,
        }
    }

    pub(super) fn path(&self) -> String {
        match self {
            Self::Journal => JOURNAL.to_owned(),
            Self::Head => HEAD.to_owned(),
            Self::Key => KEY.to_owned(),
            Self::Place => PLACE.to_owned(),
            Self::Secret(name) => format!("secrets/{name}"),
            Self::Blob(digest) => {
                let name = digest.to_string();
                let (fan, rest) = name.split_at(2);
                format!("blobs/sha256/{fan}/{rest}")
            }
        }
    }

    pub(super) fn below(&self, folder: &Path) -> PathBuf {
        folder.join(self.path())
    }
}

/// A name that is the same on every system and no way out.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_paths_are_taken_and_each_in_one_spelling() {
        let digest = Digest::from_bytes([0xab; 32]);
        for item in [
            Item::Journal,
            Item::Head,
            Item::Key,
            Item::Place,
            Item::Secret("0a.key".into()),
            Item::Blob(digest),
        ] {
            assert_eq!(Item::parse(&item.path()), Some(item));
        }
        let blob = Item::Blob(digest).path();
        let hostile = [
            "",
            "/journal.db",
            "./journal.db",
            "journal.db/",
            "journal.db-wal",
            "journal.key.next",
            "../journal.db",
            "secrets/..",
            "secrets/.hidden",
            "secrets/a/b",
            "secrets//a",
            "secrets/",
            "secrets/a\0b",
            "blobs/sha256/ab",
            "blobs/sha256/../x",
            "runtime/driver.lock",
            "gateways.json",
        ];
        for path in hostile.into_iter().map(str::to_owned).chain([
            blob.to_uppercase(),
            format!("{blob}0"),
            format!("/{blob}"),
        ]) {
            assert_eq!(Item::parse(&path), None, "{path}");
        }
    }
}
