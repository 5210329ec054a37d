//! A folder of migrations: which files run, in which order, and what each of them is.
//!
//! The way back never runs here.

use std::{collections::HashSet, rc::Rc};

use super::{
    back::{self, NoWay, WayDown},
    compare::{self, Purpose},
    form::{self, Lines, Unclear},
    names::{Role, is_numbered, is_part, is_sql, order, roles},
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
    /// The lines of its way back, which do not run.
    pub left_out: Vec<Lines>,
    /// Why nobody can tell what of it is to run.
    pub unclear: Vec<Unclear>,
    /// Statements that were not understood, with where they stand and why.
    pub not_understood: Vec<(Location, String)>,
    /// The way down that is brought for it, or why there is none that can be run.
    pub way_down: Result<WayDown, NoWay>,
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
    pub(super) left_out: Vec<Lines>,
    pub(super) unclear: Vec<Unclear>,
}

/// Reads the migrations of a source, in the order in which they run.
///
/// # Errors
/// Files that are not text, and folders that hold no SQL.
pub(super) fn read(source: &Source, dialect: SqlDialect) -> Result<Vec<File>, Vec<InputError>> {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for (path, role) in roles(source.files().map(|(path, _)| path).filter(|path| is_part(path))) {
        let Some(content) = source.get(path).filter(|_| role != Role::WayBack) else { continue };
        match utf8(path, content) {
            Ok(text) => files.push(part(source, (path, role), text, dialect)),
            Err(_) if !is_sql(path) => files.push(unread(path, &String::from_utf8_lossy(content))),
            Err(error) => errors.push(error),
        }
    }
    if !files.iter().any(|file| is_sql(&file.name)) && errors.is_empty() && source.files().next().is_some() {
        errors.push(InputError::new("", "there is no .sql file").with_hint("name the folder of migrations"));
    }
    files.sort_by(|a, b| order(&a.name, &b.name));
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
        left_out: Vec::new(),
        unclear: Vec::new(),
    }
}

fn part(source: &Source, (path, role): (&str, Role), text: &str, dialect: SqlDialect) -> File {
    if !is_sql(path) {
        return unread(path, text);
    }
    let form::Forward { left_out, unclear, .. } = form::forward(text, dialect);
    let (statements, broken) = match split::split(text, dialect) {
        Ok(statements) => (statements, None),
        Err(error) => {
            let reason = format!("the file cannot be parted into statements: {}", error.message);
            (Vec::new(), Some((error.line, reason)))
        }
    };
    let by_name = match role {
        Role::Unclear(why) if !form::says_forward(text) => Some((1, why)),
        _ => None,
    };
    let by_text =
        || unclear.iter().find(|it| it.kind == form::Kind::Form).map(|it| (it.line, it.why.clone()));
    let broken = by_name.or_else(by_text).or(broken);
    let beside = [path.replace("up.sql", "down.sql"), path.replace(".sql", ".down.sql")];
    let has_file = beside.iter().any(|back| back != path && source.get(back).is_some());
    File {
        name: path.into(),
        key: path.into(),
        text: text.to_owned(),
        statements,
        broken,
        has_way_back: has_file || !left_out.is_empty(),
        left_out,
        unclear,
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
    let ways = back::Ways::of(source);
    let mut replay = Replay::new(dialect);
    let classified = files.iter().map(|file| {
        let before = replay.database.clone();
        let migration = classify_file(&mut replay, file, dialect);
        let way = ways.of_file((&file.name, &file.text), dialect);
        let way_down = way.map(|way| back::judge(&replay, &before, way, dialect));
        Migration { way_down, ..migration }
    });
    Ok(classified.collect())
}

/// What a file does to the versions around it, with the reasons, and what nothing brings back.
pub(super) struct Judged {
    pub(super) class: Class,
    pub(super) reasons: Vec<String>,
    pub(super) one_way: Vec<String>,
}

pub(super) fn judge(before: &Database, after: &Database, data: &[Moved], dialect: SqlDialect) -> Judged {
    let changes = compare::schemas(before, after, dialect, Purpose::Deploy).changes;
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
    Judged { class, reasons, one_way }
}

fn classify_file(replay: &mut Replay, file: &File, dialect: SqlDialect) -> Migration {
    let before = replay.database.clone();
    let mut log = Log::default();
    run_file(replay, file, &mut log, dialect);
    let Log { unknown, data } = log;
    let Judged { class, reasons, one_way } = judge(&before, &replay.database, &data, dialect);
    Migration {
        file: file.name.to_string(),
        class,
        reasons,
        one_way,
        has_way_back: file.has_way_back,
        left_out: file.left_out.clone(),
        unclear: file.unclear.clone(),
        not_understood: unknown.into_iter().map(|one| (one.location, one.reason)).collect(),
        way_down: Err(NoWay::default()),
    }
}
