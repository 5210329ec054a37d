//! Ways down: the text that takes a migration back, where a version brings one, and what it takes away by the reading of this engine.
//!
//! Invariant: it is the part of a file that an exact mark of its tool parts off, or a file beside the migration, and never a choice between
//! two. Whatever is not plain has no way down, and says why.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::compare::{self, Purpose};
use super::form::{self, Forward, Kind};
use super::migrations::{Class, File, Judged, Log, judge as judged, run_file};
use super::replay::Replay;
use super::split;
use super::state::Database;
use super::{is_part, taken_back};
use crate::{Level, Location, Source, SqlDialect, text::utf8};

/// The text of a way down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The file that it is, or is part of.
    pub file: String,
    /// What of it runs: every line is where it was.
    pub text: String,
}

/// Why a migration has no way down that can be run; without a reason where nothing speaks of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoWay(pub Option<String>);

/// A way down and what it does, run right after its migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayDown {
    /// Its text.
    pub way: Way,
    /// What it does to the versions around it.
    pub class: Class,
    /// What it takes away or changes, and what nothing brings back then.
    pub takes: Vec<String>,
    /// What it does not make as it was before the migration.
    pub leaves: Vec<String>,
    /// Statements that were not understood, with where they stand and why.
    pub not_understood: Vec<(Location, String)>,
}

/// Finds the way down of a migration among its own text and the files that take it back by their names.
///
/// # Errors
/// Says why there is none, or none that can be run.
pub fn find((name, text): (&str, &str), beside: &[(&str, &str)], dialect: SqlDialect) -> Result<Way, NoWay> {
    let no = |why: String| Err(NoWay(Some(why)));
    let own = form::forward(text, dialect);
    let has_own = !own.left_out.is_empty();
    match beside {
        [] if has_own && own.unclear.is_empty() => {
            runnable(Way { file: name.to_owned(), text: own.back }, dialect)
        }
        [] if has_own => no(format!("nobody can tell which part of `{name}` is its way down")),
        [] => Err(NoWay::default()),
        [(file, _)] if has_own => no(format!("both `{file}` and a part of `{name}` take it back")),
        [(file, text)] => whole(file, text, dialect),
        [(one, _), (other, _), ..] => no(format!("both `{one}` and `{other}` take it back")),
    }
}

/// A file that is a way down as a whole.
fn whole(file: &str, text: &str, dialect: SqlDialect) -> Result<Way, NoWay> {
    let Forward { text, left_out, unclear, .. } = form::forward(text, dialect);
    let unclear = unclear.iter().find(|it| it.kind == Kind::Form);
    if !left_out.is_empty() || unclear.is_some() {
        let place = unclear.map(|it| format!(" (line {}: {})", it.line, it.why)).unwrap_or_default();
        return Err(NoWay(Some(format!("nobody can tell which part of `{file}` is to run{place}"))));
    }
    runnable(Way { file: file.to_owned(), text }, dialect)
}

fn runnable(way: Way, dialect: SqlDialect) -> Result<Way, NoWay> {
    match form::only_for_clients(&way.text, dialect) {
        Some(unclear) => Err(NoWay(Some(format!("{}:{}: {}", way.file, unclear.line, unclear.why)))),
        None => Ok(way),
    }
}

/// The files of a source that take migrations back.
pub(super) struct Ways<'s> {
    source: &'s Source,
    /// Of each migration the files that are ways down of it, and of nothing else.
    beside: BTreeMap<String, Vec<String>>,
    /// Of each migration a file whose name means several.
    several: BTreeMap<String, String>,
}

impl<'s> Ways<'s> {
    pub(super) fn of(source: &'s Source) -> Self {
        let (mut beside, mut several) = (BTreeMap::<_, Vec<String>>::new(), BTreeMap::new());
        for (back, forwards) in taken_back(source.files().map(|(path, _)| path).filter(|path| is_part(path)))
        {
            match forwards.as_slice() {
                [one] => beside.entry((*one).to_owned()).or_default().push(back.to_owned()),
                more => more.iter().for_each(|it| drop(several.insert((*it).to_owned(), back.to_owned()))),
            }
        }
        Self { source, beside, several }
    }

    pub(super) fn of_file(&'s self, (name, text): (&str, &str), dialect: SqlDialect) -> Result<Way, NoWay> {
        if let Some(back) = self.several.get(name) {
            return Err(NoWay(Some(format!("`{back}` is by its name the way down of several migrations"))));
        }
        let names = self.beside.get(name).map(Vec::as_slice).unwrap_or_default();
        let read = |file: &'s String| Some((file.as_str(), utf8(file, self.source.get(file)?).ok()?));
        match names.iter().map(read).collect::<Option<Vec<_>>>() {
            Some(texts) => find((name, text), &texts, dialect),
            None => Err(NoWay(Some(format!("`{}` is no text", names.join("`, `"))))),
        }
    }
}

/// Says what a way down does to a database that has just got its migration. `before` is what there was before that.
pub(super) fn judge(replay: &Replay, before: &Database, way: Way, dialect: SqlDialect) -> WayDown {
    let mut down = replay.clone();
    let mut log = Log::default();
    run_file(&mut down, &file(&way, dialect), &mut log, dialect);
    let Judged { class, mut reasons, one_way } = judged(&replay.database, &down.database, &log.data, dialect);
    reasons.extend(one_way);
    let left = compare::schemas(before, &down.database, dialect, Purpose::Deploy).changes;
    let left = left.into_iter().filter(|change| change.level == Level::Error).map(|change| change.message);
    WayDown {
        way,
        class,
        takes: reasons,
        leaves: left.collect(),
        not_understood: log.unknown.into_iter().map(|one| (one.location, one.reason)).collect(),
    }
}

fn file(way: &Way, dialect: SqlDialect) -> File {
    let sent = split::as_sent(way.text.clone(), dialect);
    let (statements, broken) = match split::of_running(&sent, dialect) {
        Ok(statements) => (statements, None),
        Err(error) => (
            Vec::new(),
            Some((error.line, format!("it cannot be parted into statements: {}", error.message))),
        ),
    };
    let name: Rc<str> = way.file.as_str().into();
    let key = format!("{name} (down)").as_str().into();
    let (left_out, unclear) = (Vec::new(), Vec::new());
    File { name, key, text: sent, statements, broken, has_way_back: false, left_out, unclear }
}
