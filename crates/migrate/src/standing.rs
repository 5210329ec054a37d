//! How the record of a database and the folder of migrations stand to each other. Pure.

use std::collections::BTreeMap;

use lockstep_contract::sql::{is_repeatable, order};
use lockstep_domain::database::{Recorded, Told};

use crate::engine::Row;
use crate::folder::{Folder, Migration, is_storable};

/// Most rows that are no migrations and are told one by one.
const MAX_STRANGE: usize = 20;

/// What the record says of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Migrations whose text is another one than the one that ran.
    pub(crate) changed: Vec<String>,
    /// Migrations that ran and are not in the folder, although later ones are.
    pub(crate) gone: Vec<String>,
    /// The migration of which nobody knows how far it came.
    pub(crate) half: Option<String>,
    /// Rows whose name is none of a migration, as they can be shown.
    pub(crate) unknown: Vec<String>,
}

impl Standing {
    /// Compares.
    pub(crate) fn of(rows: &[Row], folder: &Folder) -> Self {
        let files: BTreeMap<_, _> = folder.migrations.iter().map(|it| (it.name.as_str(), it)).collect();
        let is_changed =
            |row: &&Row| files.get(row.name.as_str()).is_some_and(|it| it.checksum() != row.checksum);
        let numbered = folder.migrations.iter().rfind(|it| !is_repeatable(&it.name));
        let last = numbered.map(|it| it.name.as_str());
        // One that is later than all of the folder was applied by a newer version.
        let is_gone = |row: &&Row| {
            !files.contains_key(row.name.as_str()) && last.is_some_and(|last| order(&row.name, last).is_lt())
        };
        let name = |row: &Row| row.name.clone();
        let (rows, strange): (Vec<_>, Vec<_>) = rows.iter().partition(|row| is_storable(&row.name));
        let rows = || rows.iter().copied();
        Self {
            unknown: strange.iter().take(MAX_STRANGE).map(|row| hidden(&row.name)).collect(),
            changed: rows().filter(is_changed).map(name).collect(),
            gone: rows().filter(is_gone).map(name).collect(),
            half: rows().find(|row| !row.finished).map(name),
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
        let unknown = self.unknown.iter().map(|name| {
            format!("the record has a row that is no migration: its name begins with {name}; remove it, or find out who wrote it")
        });
        changed.chain(gone).chain(unknown).collect()
    }

    /// Says what was found, for the server.
    pub(crate) fn told(&self, rows: &[Row]) -> Told {
        let mut rows: Vec<_> = rows.iter().filter(|row| row.finished && is_storable(&row.name)).collect();
        rows.sort_by(|a, b| order(&a.name, &b.name));
        let recorded =
            |row: &&Row| Recorded { name: row.name.clone(), digest: row.checksum.parse().ok(), class: None };
        Told {
            recorded: rows.iter().map(recorded).collect(),
            half: self.half.clone(),
            drift: self.drift(),
            ..Told::default()
        }
    }
}

/// What can be shown of a name that hides, or never ends.
fn hidden(name: &str) -> String {
    let begin: String = name.chars().take(40).collect();
    format!("{begin:?} and has {} bytes", name.len())
}

/// Returns the migrations that the record has behind one, the last one first; behind none all of them. What is repeated has no place.
pub(crate) fn behind(rows: &[Row], after: Option<&str>) -> Vec<String> {
    let is_behind = |row: &&Row| after.is_none_or(|after| order(&row.name, after).is_gt());
    let mut behind: Vec<_> = rows.iter().filter(|row| !is_repeatable(&row.name)).filter(is_behind).collect();
    behind.sort_by(|a, b| order(&b.name, &a.name));
    behind.into_iter().map(|row| row.name.clone()).collect()
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
    use crate::folder::Script;

    fn folder(texts: &[(u8, u8)]) -> Folder {
        let migration = |(number, text): &(u8, u8)| Migration {
            name: format!("{number:03}_a.sql"),
            digest: Digest::from_bytes([*text; 32]),
            script: Script { file: String::new(), parts: Vec::new(), is_alone: false },
            left_out: Vec::new(),
            unclear: None,
        };
        Folder { migrations: texts.iter().map(migration).collect(), ..Folder::default() }
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

    #[test]
    fn a_row_whose_name_hides_is_drift_and_never_told_as_a_migration() {
        let all = folder(&[(1, 1)]);
        let mut found = rows(&all);
        for name in ["2_a\n.sql".to_owned(), "x".repeat(100_000)] {
            found.push(Row { name, checksum: String::new(), finished: true });
        }
        let standing = Standing::of(&found, &all);
        let told = standing.told(&found);
        assert_eq!((told.recorded.len(), told.drift.len()), (1, 2));
        assert!(told.is_sound() && standing.fault().is_some(), "{told:?}");
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
