//! A folder of migrations: which files run, in which order, and what each of them is.
//!
//! Files run in the order of their names, with numbers compared as numbers. The way back (`*.down.sql`, `down.sql`,
//! `U2__undo.sql`) never runs here.

use std::{cmp::Ordering, rc::Rc};

use super::{
    compare::{self, Purpose},
    dialect::parser_dialect,
    replay::{Effect, Replay},
    split::{self, Statement},
    state::Database,
};
use crate::{InputError, Level, Location, Source, SqlDialect, text::utf8};

/// Far above the largest known folder of migrations.
const MAX_BYTES: usize = 64 * 1024 * 1024;

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
    pub(super) name: Rc<str>,
    pub(super) text: String,
    pub(super) statements: Vec<Statement>,
    /// Why the file cannot be parted, and where.
    pub(super) broken: Option<(u32, String)>,
    pub(super) has_way_back: bool,
}

/// Reads the migrations of a source, in the order in which they run.
///
/// # Errors
/// Files that are not text, and folders that are too large or hold no SQL.
pub(super) fn read(source: &Source, dialect: SqlDialect) -> Result<Vec<File>, Vec<InputError>> {
    let (mut files, mut errors, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (path, content) in source.files().filter(|(path, _)| is_sql(path) && !is_way_back(path)) {
        bytes += content.len();
        if bytes > MAX_BYTES {
            errors.push(InputError::new(path, format!("more than {MAX_BYTES} bytes of SQL")));
            break;
        }
        match utf8(path, content) {
            Ok(text) => files.push(part(source, path, text, dialect)),
            Err(error) => errors.push(error),
        }
    }
    if files.is_empty() && errors.is_empty() && source.files().next().is_some() {
        errors.push(InputError::new("", "there is no .sql file").with_hint("name the folder of migrations"));
    }
    files.sort_by(|a, b| natural(&a.name, &b.name));
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

fn part(source: &Source, path: &str, text: &str, dialect: SqlDialect) -> File {
    let (statements, broken) = match split::split(text, parser_dialect(dialect)) {
        Ok(statements) => (statements, None),
        Err(error) => (Vec::new(), Some((error.line, error.message))),
    };
    let beside = [path.replace("up.sql", "down.sql"), path.replace(".sql", ".down.sql")];
    let has_file = beside.iter().any(|back| back != path && source.get(back).is_some());
    File {
        name: path.into(),
        text: text.to_owned(),
        statements,
        broken,
        has_way_back: has_file || split::has_way_back(text),
    }
}

/// Says whether a path is SQL.
pub(super) fn is_sql(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".sql")
}

fn is_way_back(path: &str) -> bool {
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
pub(super) fn natural(a: &str, b: &str) -> Ordering {
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
    pub(super) data: Vec<(Location, String)>,
}

#[derive(Debug, Clone)]
pub(super) struct Unknown {
    pub(super) location: Location,
    /// What stands there: the same on both sides has the same effect on both.
    pub(super) essence: String,
    pub(super) reason: String,
}

/// Runs all files over an empty database.
pub(super) fn run(files: &[File], dialect: SqlDialect) -> Run {
    let mut replay = Replay::new(dialect);
    let (mut unknown, mut data) = (Vec::new(), Vec::new());
    for file in files {
        run_file(&mut replay, file, &mut unknown, &mut data);
    }
    Run { database: replay.database, unknown, data }
}

fn run_file(
    replay: &mut Replay,
    file: &File,
    unknown: &mut Vec<Unknown>,
    data: &mut Vec<(Location, String)>,
) {
    let location = |line| Location { file: file.name.to_string(), line };
    if let Some((line, reason)) = &file.broken {
        let reason = format!("the file cannot be parted into statements: {reason}");
        unknown.push(Unknown { location: location(*line), essence: file.text.clone(), reason });
    }
    for statement in &file.statements {
        match replay.run(&file.name, statement) {
            Effect::Schema => {}
            Effect::Data => data.push((location(statement.line), statement.word(0))),
            Effect::Unknown(reason) => {
                unknown.push(Unknown {
                    location: location(statement.line),
                    essence: statement.essence(),
                    reason,
                });
            }
        }
    }
}

/// Classifies every migration of a folder.
///
/// # Errors
/// Files that are not text, and folders that are too large or hold no SQL.
pub fn classify(source: &Source, dialect: Option<SqlDialect>) -> Result<Vec<Migration>, Vec<InputError>> {
    let dialect = dialect.unwrap_or_else(|| super::dialect::guess([source, source]));
    let files = read(source, dialect)?;
    let mut replay = Replay::new(dialect);
    Ok(files.iter().map(|file| classify_file(&mut replay, file, dialect)).collect())
}

fn classify_file(replay: &mut Replay, file: &File, dialect: SqlDialect) -> Migration {
    let before = replay.database.clone();
    let (mut unknown, mut data) = (Vec::new(), Vec::new());
    run_file(replay, file, &mut unknown, &mut data);
    let changes = compare::schemas(&before, &replay.database, dialect, Purpose::Deploy).changes;
    let broken: Vec<_> = changes.iter().filter(|change| change.level == Level::Error).collect();
    let lost =
        changes.iter().filter(|change| compare::loses_data(change.rule)).map(|change| change.message.clone());
    let mut one_way: Vec<String> = lost.collect();
    one_way.extend(
        data.iter().filter(|(_, word)| word != "INSERT" && word != "COPY").map(|(location, word)| {
            format!("{word} at {location} changes rows whose former values are lost")
        }),
    );
    let mut reasons: Vec<String> = broken.iter().map(|change| change.message.clone()).collect();
    reasons.extend(data.iter().map(|(location, word)| format!("{word} at {location}")));
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
