//! How the record of a database and the folder of migrations stand to each other. Pure.

use std::collections::BTreeMap;

use lockstep_contract::sql::natural;
use lockstep_domain::database::{Recorded, Told};

use crate::engine::Row;
use crate::folder::{Folder, Migration};

/// What the record says of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Migrations whose text is another one than the one that ran.
    pub(crate) changed: Vec<String>,
    /// Migrations that ran and are not in the folder, although later ones are.
    pub(crate) gone: Vec<String>,
    /// The migration of which nobody knows how far it came.
    pub(crate) half: Option<String>,
}

impl Standing {
    /// Compares.
    pub(crate) fn of(rows: &[Row], folder: &Folder) -> Self {
        let files: BTreeMap<_, _> = folder.migrations.iter().map(|it| (it.name.as_str(), it)).collect();
        let is_changed =
            |row: &&Row| files.get(row.name.as_str()).is_some_and(|it| it.checksum() != row.checksum);
        let last = folder.migrations.last().map(|it| it.name.as_str());
        // One that is later than all of the folder was applied by a newer version.
        let is_gone = |row: &&Row| {
            !files.contains_key(row.name.as_str())
                && last.is_some_and(|last| natural(&row.name, last).is_lt())
        };
        let name = |row: &Row| row.name.clone();
        Self {
            changed: rows.iter().filter(is_changed).map(name).collect(),
            gone: rows.iter().filter(is_gone).map(name).collect(),
            half: rows.iter().find(|row| !row.finished).map(name),
        }
    }

    /// Says why nothing can be applied.
    pub(crate) fn fault(&self) -> Option<String> {
        if let Some(half) = &self.half {
            return Some(format!(
                "`{half}` began before, and nobody knows how far it came: look at the database, mend it, and say which it is with \
                 `lockstep database settle`"
            ));
        }
        self.drift().into_iter().next()
    }

    /// Says where the two disagree.
    pub(crate) fn drift(&self) -> Vec<String> {
        let changed = self.changed.iter().map(|name| {
            format!(
                "`{name}` was changed after it ran: a migration that ran stays as it is; write another one"
            )
        });
        let gone = self
            .gone
            .iter()
            .map(|name| format!("`{name}` ran, and is not in the folder any more, although later ones are"));
        changed.chain(gone).collect()
    }

    /// Says what was found, for the server.
    pub(crate) fn told(&self, rows: &[Row]) -> Told {
        let mut rows: Vec<_> = rows.iter().filter(|row| row.finished).collect();
        rows.sort_by(|a, b| natural(&a.name, &b.name));
        let recorded =
            |row: &&Row| Recorded { name: row.name.clone(), digest: row.checksum.parse().ok(), class: None };
        Told { recorded: rows.iter().map(recorded).collect(), half: self.half.clone(), drift: self.drift() }
    }
}

/// Returns the migrations of a folder up to one and with it that are not recorded.
pub(crate) fn missing<'a>(rows: &[Row], folder: &'a Folder, through: usize) -> Vec<&'a Migration> {
    let is_missing = |it: &&Migration| !rows.iter().any(|row| row.name == it.name);
    folder.migrations.iter().take(through + 1).filter(is_missing).collect()
}

#[cfg(test)]
mod tests {
    use lockstep_domain::Digest;
    use proptest::prelude::*;

    use super::*;

    fn folder(texts: &[(u8, u8)]) -> Folder {
        let migration = |(number, text): &(u8, u8)| Migration {
            name: format!("{number:03}_a.sql"),
            digest: Digest::from_bytes([*text; 32]),
            parts: Vec::new(),
            is_alone: false,
        };
        Folder { migrations: texts.iter().map(migration).collect() }
    }

    fn rows(folder: &Folder) -> Vec<Row> {
        let row = |it: &Migration| Row { name: it.name.clone(), checksum: it.checksum(), finished: true };
        folder.migrations.iter().map(row).collect()
    }

    #[test]
    fn what_a_newer_version_applied_is_no_drift_and_a_hole_is() {
        let (older, newer) = (folder(&[(1, 1), (2, 2)]), folder(&[(1, 1), (2, 2), (3, 3)]));
        assert_eq!(Standing::of(&rows(&newer), &older), Standing::default());
        let hole = folder(&[(1, 1), (3, 3)]);
        assert_eq!(Standing::of(&rows(&newer), &hole).gone, ["002_a.sql"]);
    }

    proptest! {
        #[test]
        fn a_folder_that_only_grows_never_disagrees(numbers in prop::collection::btree_map(0_u8..200, any::<u8>(), 1..40), ran in 0_usize..40) {
            let all: Vec<_> = numbers.into_iter().collect();
            let ran = ran.min(all.len());
            let (before, after) = (folder(&all[..ran]), folder(&all));
            let standing = Standing::of(&rows(&before), &after);
            prop_assert_eq!(standing.fault(), None);
            let left = missing(&rows(&before), &after, all.len());
            prop_assert_eq!(left.len(), all.len() - ran);
            prop_assert_eq!(standing.told(&rows(&before)).recorded.len(), ran);
        }

        #[test]
        fn any_change_of_what_ran_is_found(texts in prop::collection::vec(any::<u8>(), 1..20), at in any::<prop::sample::Index>()) {
            let numbered: Vec<_> = (0_u8..).zip(texts).collect();
            let mut changed = numbered.clone();
            let at = at.index(changed.len());
            changed[at].1 = changed[at].1.wrapping_add(1);
            let standing = Standing::of(&rows(&folder(&numbered)), &folder(&changed));
            prop_assert_eq!(standing.changed.len(), 1);
            prop_assert!(standing.fault().is_some());
        }
    }
}
