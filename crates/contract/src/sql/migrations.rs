//! A folder of migrations: which files run, in which order, and what each of them is.
//!
//! Files run in the order of their names, with numbers compared as numbers. The way back (`*.down.sql`, `down.sql`,
//! `U2__undo.sql`) never runs here.

use std::{cmp::Ordering, collections::HashSet, rc::Rc};

use super::{
    compare::{self, Purpose},
    dialect::parser_dialect,
    replay::{Effect, Replay, Rows},
    rules,
    split::{self, Statement},
    state::Database,
    transactions::Transaction,
};
use crate::{InputError, Level, Location, Source, SqlDialect, text::utf8};

/// What a migration does to the versions of the code around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It only adds: the running version does not notice.
    Expand,
    /// It changes rows.
    Data,
    /// It takes away or demands: the running version may fail.
    Contract,
}

impl Class {
    /// The word used on the command line and in documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Data => "data",
            Self::Contract => "contract",
        }
    }
}

/// One migration and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its file.
    pub file: String,
    /// What it does to the versions around it.
    pub class: Class,
    /// Why it is of this class, where it is more than an expansion.
    pub reasons: Vec<String>,
    /// Why nothing brings back what was before; empty when it can be undone.
    pub one_way: Vec<String>,
    /// It brings its own way back, in its file or in one beside it.
    pub has_way_back: bool,
    /// Statements that were not understood, with where they stand and why.
    pub not_understood: Vec<(Location, String)>,
}

/// A file of a folder, parted into statements.
#[derive(Debug)]
pub(super) struct File {
    /// Its path, as it is told.
    pub(super) name: Rc<str>,
    /// What it is called on both sides of a comparison: its path below the folder of migrations.
    pub(super) key: Rc<str>,
    pub(super) text: String,
    pub(super) statements: Vec<Statement>,
    /// Why the file cannot be parted, and where.
    pub(super) broken: Option<(u32, String)>,
    pub(super) has_way_back: bool,
}

/// Reads the migrations of a source, in the order in which they run.
///
/// # Errors
/// Files that are not text, and folders that hold no SQL.
pub(super) fn read(source: &Source, dialect: SqlDialect) -> Result<Vec<File>, Vec<InputError>> {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for (path, content) in source.files().filter(|(path, _)| is_part(path) && !is_way_back(path)) {
        match utf8(path, content) {
            Ok(text) => files.push(part(source, path, text, dialect)),
            Err(_) if !is_sql(path) => files.push(unread(path, &String::from_utf8_lossy(content))),
            Err(error) => errors.push(error),
        }
    }
    if !files.iter().any(|file| is_sql(&file.name)) && errors.is_empty() && source.files().next().is_some() {
        errors.push(InputError::new("", "there is no .sql file").with_hint("name the folder of migrations"));
    }
    files.sort_by(|a, b| natural(&a.name, &b.name));
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// A migration that is written in something else than SQL.
fn unread(path: &str, text: &str) -> File {
    let ending = path.rsplit('.').next().unwrap_or_default();
    let reason = format!("it is a migration in .{ending}, which may do anything: only .sql is read");
    File {
        name: path.into(),
        key: path.into(),
        text: text.to_owned(),
        statements: Vec::new(),
        broken: Some((1, reason)),
        has_way_back: false,
    }
}

fn part(source: &Source, path: &str, text: &str, dialect: SqlDialect) -> File {
    if !is_sql(path) {
        return unread(path, text);
    }
    let (statements, broken) = match split::split(text, parser_dialect(dialect)) {
        Ok(statements) => (statements, None),
        Err(error) => {
            let reason = format!("the file cannot be parted into statements: {}", error.message);
            (Vec::new(), Some((error.line, reason)))
        }
    };
    let beside = [path.replace("up.sql", "down.sql"), path.replace(".sql", ".down.sql")];
    let has_file = beside.iter().any(|back| back != path && source.get(back).is_some());
    File {
        name: path.into(),
        key: path.into(),
        text: text.to_owned(),
        statements,
        broken,
        has_way_back: has_file || split::has_way_back(text),
    }
}

/// Gives both sides the same keys when one is told from another folder than the other: nothing is called the same then.
pub(super) fn align(old: &mut [File], new: &mut [File]) {
    let names: HashSet<Rc<str>> = old.iter().map(|file| file.name.clone()).collect();
    if new.iter().any(|file| names.contains(&file.name)) {
        return;
    }
    for side in [old, new] {
        let folder = common_folder(side).to_owned();
        for file in side {
            file.key = file.name.strip_prefix(folder.as_str()).unwrap_or(&file.name).into();
        }
    }
}

/// The folder that all files are in; a folder with a number is a migration itself.
fn common_folder(files: &[File]) -> &str {
    let Some(first) = files.first() else { return "" };
    let ends = first.name.match_indices('/').map(|(at, _)| at + 1);
    let common = |end: &usize| {
        let folder = &first.name[..*end];
        !is_numbered(folder) && files.iter().all(|file| file.name.starts_with(folder))
    };
    ends.take_while(common).last().map_or("", |end| &first.name[..end])
}

/// Says whether a path is SQL.
pub(super) fn is_sql(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".sql")
}

/// Endings of what tools run between migrations that are SQL, in the order of their names.
const OTHER_ENDINGS: [&str; 26] = [
    "java", "kt", "groovy", "scala", "py", "rb", "xml", "yaml", "yml", "json", "js", "mjs", "cjs", "ts",
    "php", "go", "cs", "fs", "ex", "exs", "pl", "sh", "rs", "clj", "edn", "lua",
];
/// Endings of SQL under other names: written for one client, or one object a file.
const SQL_ENDINGS: [&str; 8] = ["psql", "pgsql", "ddl", "mysql", "plsql", "tsql", "prc", "pks"];

/// Says whether a file is a migration, read or not: SQL by its ending, anything else by a name that has a number, or that
/// tools give to migrations.
#[must_use]
pub fn is_part(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
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

/// Says whether a file is the way back of a migration.
#[must_use]
pub fn is_way_back(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let undo =
        name.strip_prefix('u').is_some_and(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()));
    name == "down.sql"
        || name.ends_with(".down.sql")
        || name.ends_with("_down.sql")
        || undo && name.contains("__")
}

/// Says whether a file is a numbered migration, which never changes once released.
pub(super) fn is_numbered(path: &str) -> bool {
    path.split('/').any(|part| {
        let part = part.strip_prefix(['v', 'V']).unwrap_or(part);
        part.starts_with(|letter: char| letter.is_ascii_digit())
    })
}

/// Orders names with the numbers in them as numbers.
#[must_use]
pub fn natural(a: &str, b: &str) -> Ordering {
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

/// A folder that has been run.
pub(super) struct Run {
    pub(super) database: Database,
    /// What was not understood.
    pub(super) unknown: Vec<Unknown>,
    /// Where rows change.
    pub(super) data: Vec<Moved>,
}

/// A statement that moved rows.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    pub(super) location: Location,
    pub(super) key: Rc<str>,
    pub(super) word: String,
    pub(super) rows: Rows,
}

impl Moved {
    /// It may have changed or removed rows that were there.
    fn overwrites(&self) -> bool {
        !matches!(self.word.as_str(), "INSERT" | "COPY" | "LOAD")
    }
}

#[derive(Debug, Clone)]
pub(super) struct Unknown {
    pub(super) location: Location,
    pub(super) key: Rc<str>,
    /// What stands there: the same on both sides has the same effect on both.
    pub(super) essence: String,
    pub(super) reason: String,
}

/// What a run could not model, and what it did to rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) unknown: Vec<Unknown>,
    pub(super) data: Vec<Moved>,
}

/// Runs all files over an empty database.
pub(super) fn run(files: &[File], dialect: SqlDialect) -> Run {
    let (mut replay, mut log) = (Replay::new(dialect), Log::default());
    for file in files {
        run_file(&mut replay, file, &mut log, dialect);
    }
    Run { database: replay.database, unknown: log.unknown, data: log.data }
}

pub(super) fn run_file(replay: &mut Replay, file: &File, log: &mut Log, dialect: SqlDialect) {
    let location = |line| Location { file: file.name.to_string(), line };
    if let Some((line, reason)) = &file.broken {
        let unknown = Unknown {
            location: location(*line),
            key: file.key.clone(),
            essence: file.text.clone(),
            reason: reason.clone(),
        };
        log.unknown.push(unknown);
    }
    let mut transaction = Transaction::new(file, dialect);
    for statement in &file.statements {
        let location = location(statement.line);
        let unknown = |reason| Unknown {
            location: location.clone(),
            key: file.key.clone(),
            essence: statement.essence(),
            reason,
        };
        if let Err(reason) = transaction.follow(statement, replay, log) {
            log.unknown.push(unknown(reason));
        }
        match replay.run((&file.name, &file.key), statement) {
            Effect::Schema => {}
            Effect::Data(rows) => {
                log.data.push(Moved { location, key: file.key.clone(), word: statement.word(0), rows });
            }
            Effect::Unknown(reason) => log.unknown.push(unknown(reason)),
        }
        transaction.ran(statement, replay, log);
    }
    if let Some(line) = transaction.left_open() {
        let reason = "nothing in this file commits the transaction that begins here".to_owned();
        log.unknown.push(Unknown {
            location: location(line),
            key: file.key.clone(),
            essence: "BEGIN".to_owned(),
            reason,
        });
    }
}

/// Classifies every migration of a folder.
///
/// # Errors
/// Files that are not text, and folders that hold no SQL.
pub fn classify(source: &Source, dialect: Option<SqlDialect>) -> Result<Vec<Migration>, Vec<InputError>> {
    let dialect = dialect.unwrap_or_else(|| super::dialect::guess([source, source]));
    let files = read(source, dialect)?;
    let mut replay = Replay::new(dialect);
    Ok(files.iter().map(|file| classify_file(&mut replay, file, dialect)).collect())
}

fn classify_file(replay: &mut Replay, file: &File, dialect: SqlDialect) -> Migration {
    let before = replay.database.clone();
    let mut log = Log::default();
    run_file(replay, file, &mut log, dialect);
    let Log { unknown, data } = log;
    let changes = compare::schemas(&before, &replay.database, dialect, Purpose::Deploy).changes;
    let broken: Vec<_> = changes.iter().filter(|change| change.level == Level::Error).collect();
    let mut one_way: Vec<String> = changes.iter().filter_map(super::one_way).collect();
    one_way.extend(data.iter().filter(|moved| moved.rows == Rows::Some && moved.overwrites()).map(
        |Moved { location, word, .. }| {
            format!("{word} at {location} changes rows whose former values are lost")
        },
    ));
    one_way.extend(
        changes
            .iter()
            .filter(|change| change.rule.id == rules::ENUM_VALUE_ADDED.id)
            .map(|change| change.message.clone()),
    );
    let mut reasons: Vec<String> = broken.iter().map(|change| change.message.clone()).collect();
    reasons.extend(data.iter().map(|moved| format!("{} at {}", moved.word, moved.location)));
    let class = match (broken.is_empty(), data.is_empty()) {
        (false, _) => Class::Contract,
        (true, false) => Class::Data,
        (true, true) => Class::Expand,
    };
    Migration {
        file: file.name.to_string(),
        class,
        reasons,
        one_way,
        has_way_back: file.has_way_back,
        not_understood: unknown.into_iter().map(|one| (one.location, one.reason)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_ordered_as_numbers() {
        let mut names = ["10_a.sql", "9_b.sql", "V1.10__c.sql", "V1.9__d.sql", "0009_e.sql"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["9_b.sql", "0009_e.sql", "10_a.sql", "V1.9__d.sql", "V1.10__c.sql"]);
    }
}
