//! The names of migrations: which files are some, in which order they run, and which are the way back of another one.
//!
//! Invariant: a file is a way back only beside the migration that it takes back. A name that sounds like one, with nothing beside it, is
//! neither: nobody may run it, and nobody may leave it out without a word.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// What a file is among others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It runs.
    Forward,
    /// It takes another one back.
    WayBack,
    /// Its name says neither; why not, and what to do.
    Unclear(String),
}

/// Endings of what tools run between migrations that are SQL, in the order of their names.
const OTHER_ENDINGS: [&str; 26] = [
    "java", "kt", "groovy", "scala", "py", "rb", "xml", "yaml", "yml", "json", "js", "mjs", "cjs", "ts",
    "php", "go", "cs", "fs", "ex", "exs", "pl", "sh", "rs", "clj", "edn", "lua",
];
/// Endings of SQL under other names: written for one client, or one object a file.
const SQL_ENDINGS: [&str; 8] = ["psql", "pgsql", "ddl", "mysql", "plsql", "tsql", "prc", "pks"];
/// Words for a way back in names, each with the words for the way forward that stand in its place; the empty one is no word at all.
const BACK: [(&str, &[&str]); 7] = [
    ("down", &["up", "", "migration"]),
    ("undo", &["do", "up", ""]),
    ("rollback", &["up", "", "migration"]),
    ("revert", &["up", "", "migration"]),
    ("downs", &["ups"]),
    ("rollbacks", &[""]),
    ("downgrade", &["upgrade", "up", ""]),
];

/// Says whether a path is SQL.
pub(super) fn is_sql(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".sql")
}

/// Says whether a file is a migration, read or not: SQL by its ending, anything else by a name that has a number, or that
/// tools give to migrations.
#[must_use]
pub fn is_part(path: &str) -> bool {
    let name = file_name(path).to_ascii_lowercase();
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let numbered = |stem: &str| {
        let stem = stem.strip_prefix(['v', 'b']).unwrap_or(stem);
        stem.starts_with(|letter: char| letter.is_ascii_digit())
    };
    let hashed = |stem: &str| {
        let hash = stem.split('_').next().unwrap_or_default();
        hash.len() >= 10 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let named = numbered(stem) || hashed(stem) || stem.starts_with("r__") || stem.contains("changelog");
    ending == "sql" || SQL_ENDINGS.contains(&ending) || OTHER_ENDINGS.contains(&ending) && named
}

/// Says whether a file is a numbered migration, which never changes once released.
pub(super) fn is_numbered(path: &str) -> bool {
    path.split('/').any(|part| {
        let part = part.strip_prefix(['v', 'V']).unwrap_or(part);
        part.starts_with(|letter: char| letter.is_ascii_digit())
    })
}

/// Says whether a file is a migration that Flyway runs after all that have a number.
#[must_use]
pub fn is_repeatable(path: &str) -> bool {
    matches!(Flyway::of(path), Some(Flyway::Repeatable))
}

/// Says what each of the files of a folder is.
pub fn roles<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<(&'n str, Role)> {
    let all: Vec<&str> = names.into_iter().collect();
    let lower: BTreeSet<String> = all.iter().map(|name| name.to_ascii_lowercase()).collect();
    let versions: BTreeSet<Vec<&str>> = all.iter().filter_map(|name| Flyway::versioned(name)).collect();
    all.iter().map(|name| (*name, role(name, &lower, &versions))).collect()
}

/// Says of each file that is a way back which migrations it may take back: several where its name means more than one.
#[must_use]
pub fn taken_back<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<(&'n str, Vec<&'n str>)> {
    let all: Vec<&str> = names.into_iter().collect();
    let roles = roles(all.iter().copied());
    let lower: BTreeMap<String, &str> = all.iter().map(|name| (name.to_ascii_lowercase(), *name)).collect();
    let backs = roles.iter().filter(|(_, role)| *role == Role::WayBack);
    backs.map(|(back, _)| (*back, forwards_of(back, &all, &lower))).collect()
}

fn forwards_of<'n>(back: &str, all: &[&'n str], lower: &BTreeMap<String, &'n str>) -> Vec<&'n str> {
    if let Some(Flyway::Undo(version)) = Flyway::of(back) {
        return all
            .iter()
            .copied()
            .filter(|name| Flyway::versioned(name).as_ref() == Some(&version))
            .collect();
    }
    let path = back.to_ascii_lowercase();
    let paired = words(&path).filter_map(|(from, word)| Some((from, from + word.len(), forwards(word)?)));
    let paired = paired.flat_map(|(from, to, words)| words.iter().map(move |word| (from, to, *word)));
    let found = paired.filter_map(|(from, to, word)| lower.get(&replaced(&path, from, to, word)?).copied());
    found.collect::<BTreeSet<_>>().into_iter().collect()
}

fn role(path: &str, all: &BTreeSet<String>, versions: &BTreeSet<Vec<&str>>) -> Role {
    match Flyway::of(path) {
        Some(Flyway::Undo(version)) if versions.contains(&version) => return Role::WayBack,
        Some(Flyway::Undo(_)) => {
            return Role::Unclear(format!(
                "`{path}` takes back a migration by its name (Flyway), and there is no migration of its number: remove it"
            ));
        }
        Some(Flyway::Baseline) => {
            return Role::Unclear(format!(
                "`{path}` is a baseline by its name (Flyway), which stands for all before it: Lockstep would run it beside them. Leave it \
                 out of the folder"
            ));
        }
        Some(_) => return Role::Forward,
        None => {}
    }
    if !versions.is_empty() && is_callback(file_name(path)) {
        return Role::Unclear(format!(
            "`{path}` is by its name what Flyway runs around each migration, which Lockstep does not: leave it out of the folder"
        ));
    }
    match takes_back(&path.to_ascii_lowercase(), all) {
        None => Role::Forward,
        Some(true) => Role::WayBack,
        Some(false) => Role::Unclear(format!(
            "`{path}` sounds like a way back, and the migration that it would take back is not beside it: rename it; where it is \
             to run, write `-- lockstep: forward` in its first five lines (also into one that ran)"
        )),
    }
}

/// Says of a name with a word for a way back whether the migration that it takes back is there.
fn takes_back(path: &str, all: &BTreeSet<String>) -> Option<bool> {
    let ranges: Vec<_> = words(path).filter_map(|(from, word)| Some((from, word, forwards(word)?))).collect();
    let is_paired = |(from, word, forwards): &(usize, &str, &[&str])| {
        let to = from + word.len();
        forwards.iter().any(|forward| replaced(path, *from, to, forward).is_some_and(|it| all.contains(&it)))
    };
    (!ranges.is_empty()).then(|| ranges.iter().any(is_paired))
}

/// The words of a path with their places; a sign of another kind parts them.
fn words(path: &str) -> impl Iterator<Item = (usize, &str)> {
    path.split(|letter: char| !letter.is_alphanumeric())
        .map(|word| (word.as_ptr().addr() - path.as_ptr().addr(), word))
}

fn forwards(word: &str) -> Option<&'static [&'static str]> {
    BACK.iter().find(|(back, _)| *back == word).map(|(_, forwards)| *forwards)
}

/// A path with another word in a place; without one, what parts it from the word before goes too.
fn replaced(path: &str, from: usize, to: usize, word: &str) -> Option<String> {
    let before = &path[..from];
    match word {
        "" => {
            let sign = before.chars().next_back().filter(|sign| *sign != '/')?;
            Some(format!("{}{}", &before[..before.len() - sign.len_utf8()], &path[to..]))
        }
        word => Some(format!("{before}{word}{}", &path[to..])),
    }
}

fn is_callback(name: &str) -> bool {
    let rest = name.strip_prefix("before").or_else(|| name.strip_prefix("after"));
    rest.is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_uppercase()))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A name as Flyway gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Flyway<'n> {
    Versioned(Vec<&'n str>),
    Undo(Vec<&'n str>),
    Baseline,
    Repeatable,
}

impl<'n> Flyway<'n> {
    fn of(path: &'n str) -> Option<Self> {
        let name = file_name(path);
        let kind = name.chars().next()?.to_ascii_uppercase();
        let (version, _) = name.get(1..)?.split_once("__")?;
        let is_version = version.starts_with(|it: char| it.is_ascii_digit())
            && version.chars().all(|it| it.is_ascii_digit() || it == '.' || it == '_');
        match kind {
            'R' if version.is_empty() => Some(Self::Repeatable),
            'V' if is_version => Some(Self::Versioned(numbers(version))),
            'U' if is_version => Some(Self::Undo(numbers(version))),
            'B' if is_version => Some(Self::Baseline),
            _ => None,
        }
    }

    fn versioned(path: &'n str) -> Option<Vec<&'n str>> {
        match Self::of(path) {
            Some(Self::Versioned(version)) => Some(version),
            _ => None,
        }
    }
}

/// The numbers of a version without what does not count: `1.0` is `1`.
fn numbers(version: &str) -> Vec<&str> {
    let mut numbers: Vec<_> =
        version.split(['.', '_']).map(|number| number.trim_start_matches('0')).collect();
    while numbers.len() > 1 && numbers.last().is_some_and(|last| last.is_empty()) {
        numbers.pop();
    }
    numbers
}

/// Orders migrations as they run: by their names with the numbers in them as numbers; those that are named as for Flyway by their version,
/// after all others, and at the end what Flyway repeats.
#[must_use]
pub fn order(a: &str, b: &str) -> Ordering {
    let rank = |name: &Option<Flyway<'_>>| match name {
        None | Some(Flyway::Undo(_) | Flyway::Baseline) => 0,
        Some(Flyway::Versioned(_)) => 1,
        Some(Flyway::Repeatable) => 2,
    };
    let (left, right) = (Flyway::of(a), Flyway::of(b));
    let by_version = match (&left, &right) {
        (Some(Flyway::Versioned(left)), Some(Flyway::Versioned(right))) => by_numbers(left, right),
        _ => Ordering::Equal,
    };
    rank(&left).cmp(&rank(&right)).then(by_version).then_with(|| natural(a, b))
}

fn by_numbers(a: &[&str], b: &[&str]) -> Ordering {
    let key = |number: &&str| (number.len(), (*number).to_owned());
    a.iter().map(key).cmp(b.iter().map(key))
}

/// Orders names with the numbers in them as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (left, right) = (digits(a), digits(b));
        if left > 0 && right > 0 {
            let (x, y) = (a[..left].trim_start_matches('0'), b[..right].trim_start_matches('0'));
            match x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| left.cmp(&right)) {
                Ordering::Equal => (a, b) = (&a[left..], &b[right..]),
                other => return other,
            }
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted<const N: usize>(mut names: [&str; N]) -> [&str; N] {
        names.sort_by(|a, b| order(a, b));
        names
    }

    #[test]
    fn numbers_in_names_are_ordered_as_numbers() {
        assert_eq!(
            sorted(["10_a.sql", "9_b.sql", "V1.10__c.sql", "V1.9__d.sql", "0009_e.sql"]),
            ["9_b.sql", "0009_e.sql", "10_a.sql", "V1.9__d.sql", "V1.10__c.sql"]
        );
    }

    #[test]
    fn names_for_flyway_are_ordered_as_flyway_does() {
        assert_eq!(
            sorted([
                "R__a.sql",
                "V2.1__a.sql",
                "V1_5__b.sql",
                "V10__b.sql",
                "x/V2__b.sql",
                "V1__z.sql",
                "V1.05.1__b.sql"
            ]),
            [
                "V1__z.sql",
                "V1_5__b.sql",
                "V1.05.1__b.sql",
                "x/V2__b.sql",
                "V2.1__a.sql",
                "V10__b.sql",
                "R__a.sql"
            ]
        );
    }

    fn told<'n>(names: &[&'n str]) -> Vec<(&'n str, &'static str)> {
        let word = |role: &Role| match role {
            Role::Forward => "forward",
            Role::WayBack => "back",
            Role::Unclear(_) => "unclear",
        };
        roles(names.iter().copied()).into_iter().map(|(name, role)| (name, word(&role))).collect()
    }

    #[test]
    fn a_way_back_is_known_beside_its_migration_and_is_unclear_alone() {
        for (forward, back) in [
            ("1_a.up.sql", "1_a.down.sql"),
            ("1_a.sql", "1_a.down.sql"),
            ("1_a_up.sql", "1_a_down.sql"),
            ("sqls/1-a-up.sql", "sqls/1-a-down.sql"),
            ("1/up.sql", "1/down.sql"),
            ("1/migration.sql", "1/down.sql"),
            ("up/1.sql", "down/1.sql"),
            ("1.do.sql", "1.undo.sql"),
            ("1.do.a.sql", "1.undo.a.sql"),
            ("8_x.sql", "8_x.undo.sql"),
            ("5.x.sql", "5.x.rollback.sql"),
            ("V2__a.sql", "U2__b.sql"),
            ("V2.0__a.sql", "U2__b.SQL"),
            ("1_A.UP.SQL", "1_A.Down.sql"),
        ] {
            assert_eq!(told(&[forward, back]), [(forward, "forward"), (back, "back")]);
            assert_eq!(told(&["0_z.sql", back])[1], (back, "unclear"));
        }
    }

    #[test]
    fn a_way_back_is_that_of_one_migration_or_its_name_means_several() {
        for (forward, back) in
            [("1_a.up.sql", "1_a.down.sql"), ("V2__a.sql", "U2__b.sql"), ("1_A.SQL", "1_A.Down.sql")]
        {
            assert_eq!(taken_back(["0_z.sql", forward, back]), [(back, vec![forward])]);
        }
        let both = taken_back(["1.up.sql", "1.sql", "1.down.sql"]);
        assert_eq!(both, [("1.down.sql", vec!["1.sql", "1.up.sql"])]);
        assert_eq!(taken_back(["1.sql", "2.down.sql"]), []);
    }

    #[test]
    fn what_nobody_can_tell_is_unclear_and_words_inside_of_others_are_none() {
        for name in
            ["3_tear_down.sql", "3_add_rollback_flag.sql", "revert/a.sql", "B5__all.sql", "1.rollbacks.sql"]
        {
            assert_eq!(told(&["0_z.sql", name])[1], (name, "unclear"));
        }
        for name in
            ["3_downloads.sql", "3_countdown.sql", "4_undone.sql", "afterMigrate.sql", "U_x.sql", "Bb__c.sql"]
        {
            assert_eq!(told(&["0_z.sql", name])[1], (name, "forward"));
        }
        assert_eq!(told(&["V1__a.sql", "afterMigrate.sql"])[1].1, "unclear");
    }

    proptest! {
        #[test]
        fn the_order_is_one_for_all(names in prop::collection::vec("[VRUB]?[0-9._]{0,4}(__)?[a-b]{0,2}", 3)) {
            let [a, b, c] = [&names[0], &names[1], &names[2]];
            prop_assert_eq!(order(a, b), order(b, a).reverse());
            prop_assert_eq!(order(a, b) == Ordering::Equal, a == b);
            if order(a, b).is_le() && order(b, c).is_le() {
                prop_assert!(order(a, c).is_le());
            }
        }
    }
}
