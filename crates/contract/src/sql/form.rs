//! Which part of a migration's file runs: all of it, but for the way down that the form of a tool parts off.
//!
//! Invariant: a mark is the exact line of its tool, outside of strings, bodies and comments, in a file that has the other marks of that
//! tool too. Nothing else parts anything off: what only looks like a mark is told, so that nobody runs the file; what is left out is told
//! by its lines.

pub use lockstep_domain::database::Lines;

use super::scan::{Line, lines};
use crate::SqlDialect;

/// What the first lines of a file say all of which is to run, whatever is written there.
pub const FORWARD: &str = "-- lockstep: forward";
/// How many lines of a file are looked at for what it says to Lockstep.
pub const HEAD: usize = 5;

/// What keeps a file from being run as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nobody can tell what of it is to run.
    Form,
    /// Only a client of the database can run it.
    Client,
}

/// Why a file must not be run as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// What it is about.
    pub kind: Kind,
    /// Where that shows.
    pub line: u32,
    /// What stands there.
    pub why: String,
    /// What to write instead.
    pub hint: &'static str,
}

/// The part of a file that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// Its text: every line is where it was, and what does not run is empty.
    pub text: String,
    /// The lines with statements that do not run.
    pub left_out: Vec<Lines>,
    /// The text of the way down, where it was too: all that [`Self::text`] lacks.
    pub back: String,
    /// Why it must not run as it is.
    pub unclear: Vec<Unclear>,
}

const ON_MARKS: &str = "put the way down into a file of its own beside it (NAME.down.sql), or say it in other words; where all of the file is to run, \
                        write `-- lockstep: forward` in its first five lines (also into one that ran)";
const ON_CLIENTS: &str = "write it as SQL (INSERT in the place of COPY), or let a program of the version apply migrations: `apply`";
const ON_LIQUIBASE: &str = "let Liquibase apply it: `apply` and `level`";

/// A tool that keeps both ways in one file, and its marks without the comment sign, in lower case.
struct Tool {
    name: &'static str,
    up: &'static [&'static str],
    down: &'static [&'static str],
}

const TOOLS: [Tool; 11] = [
    Tool { name: "goose", up: &["+goose up"], down: &["+goose down"] },
    Tool { name: "sql-migrate", up: &["+migrate up"], down: &["+migrate down"] },
    Tool { name: "micrate", up: &["+micrate up"], down: &["+micrate down"] },
    Tool { name: "dbmate", up: &["migrate:up"], down: &["migrate:down"] },
    Tool { name: "node-pg-migrate", up: &["up migration"], down: &["down migration"] },
    Tool { name: "rambler", up: &["rambler up"], down: &["rambler down"] },
    Tool { name: "Play", up: &["!ups"], down: &["!downs"] },
    Tool { name: "shmig", up: &["==== up ===="], down: &["==== down ===="] },
    Tool { name: "node-sqlite", up: &["up"], down: &["down"] },
    Tool { name: "tern", up: &[], down: &["create above / drop below"] },
    Tool { name: "MyBatis", up: &[], down: &["//@undo", "// @undo", "@undo"] },
];

/// What a tool writes beside its marks that parts nothing off.
const OTHER_MARKS: [&str; 5] =
    ["statementbegin", "statementend", "no transaction", "envsub off", "notransaction"];
/// Words of which a line says that a way back begins.
const BACK: [&str; 9] =
    ["down", "downs", "undo", "rollback", "rollbacks", "revert", "reverts", "downgrade", "downgrades"];
/// Words that may stand beside them in a line that is a mark and no sentence.
const FILLER: [&str; 26] = [
    "up",
    "migration",
    "migrations",
    "migrate",
    "sql",
    "script",
    "scripts",
    "section",
    "part",
    "begin",
    "begins",
    "start",
    "starts",
    "below",
    "change",
    "changes",
    "schema",
    "way",
    "step",
    "steps",
    "code",
    "statements",
    "roll",
    "back",
    "the",
    "of",
];
/// What may be said of a changeset of Liquibase that changes nothing here.
const HARMLESS: [&str; 9] = [
    "splitstatements:",
    "stripcomments:",
    "logicalfilepath:",
    "created:",
    "comment:",
    "runalways:false",
    "runonchange:false",
    "failonerror:true",
    "runintransaction:true",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// A comment that is all of a line.
struct Comment<'t> {
    line: usize,
    text: &'t str,
    /// Without signs and layout, in lower case.
    bare: String,
    /// The tool whose mark it is.
    mark: Option<(usize, Way)>,
}

/// Tells whether one of the first lines of a file says something to Lockstep.
#[must_use]
pub fn says(text: &str, what: &str) -> bool {
    text.trim_start_matches('\u{feff}').lines().take(HEAD).any(|line| line.trim() == what)
}

/// Tells whether a file says that all of it is to run, whatever its name and its lines look like.
#[must_use]
pub fn says_forward(text: &str) -> bool {
    says(text, FORWARD)
}

/// Finds what of a file runs.
#[must_use]
pub fn forward(text: &str, dialect: SqlDialect) -> Forward {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = lines(text, dialect);
    // Play writes its marks so, whatever the database takes for a comment.
    lines.iter_mut().filter(|line| is_of_play(line)).for_each(|line| line.code.clear());
    let mut found = Forward { unclear: of_clients(&lines), ..Forward::default() };
    let mut is_left_out = vec![false; lines.len()];
    if !says_forward(text) {
        let comments = comments(&lines);
        match sections(&lines, &comments) {
            Ok(sections) => is_left_out = sections,
            Err(unclear) => found.unclear.push(unclear),
        }
        let seen = comments.iter().filter(|it| !is_left_out[it.line] && has_code_after(&lines, it.line));
        let is_liquibase = comments.iter().any(|it| it.bare.starts_with("liquibase formatted sql"));
        found.unclear.extend(seen.filter_map(|comment| unclear(comment, is_liquibase)));
    }
    found.unclear.retain(|it| {
        !is_left_out.iter().enumerate().any(|(line, is_out)| *is_out && number(line) == it.line)
    });
    found.unclear.sort_by_key(|it| it.line);
    found.left_out = told(&lines, &is_left_out);
    found.text = kept(&lines, |line| !is_left_out[line]);
    found.back = kept(&lines, |line| is_left_out[line]);
    found
}

fn number(line: usize) -> u32 {
    u32::try_from(line).map_or(u32::MAX, |line| line.saturating_add(1))
}

fn has_code_after(lines: &[Line<'_>], line: usize) -> bool {
    lines.iter().skip(line + 1).any(|it| !it.is_blank())
}

fn comments<'t>(lines: &'t [Line<'t>]) -> Vec<Comment<'t>> {
    let of = |(line, it): (usize, &'t Line<'t>)| {
        let text = it.comment()?;
        let bare = bare(text);
        let mark = mark(&bare);
        Some(Comment { line, text, bare, mark })
    };
    lines.iter().enumerate().filter_map(of).collect()
}

fn is_of_play(line: &Line<'_>) -> bool {
    line.is_top && line.text.starts_with('#') && mark(&bare(line.text)).is_some()
}

fn bare(comment: &str) -> String {
    let is_sign = |letter: char| letter.is_whitespace() || "-#".contains(letter);
    let inner = match comment.strip_prefix("/*") {
        Some(block) => block.trim_end_matches("*/").trim_matches(|it: char| it == '*' || it.is_whitespace()),
        None => comment.trim_matches(is_sign),
    };
    inner.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn mark(bare: &str) -> Option<(usize, Way)> {
    TOOLS.iter().enumerate().find_map(|(index, tool)| {
        let is = |marks: &[&str]| marks.iter().any(|mark| is_mark(bare, mark));
        let way = if is(tool.up) { Some(Way::Up) } else { is(tool.down).then_some(Way::Down) };
        Some((index, way?))
    })
}

/// Tells whether a comment is a mark, with what may be said behind it.
fn is_mark(bare: &str, mark: &str) -> bool {
    let Some(rest) = bare.strip_prefix(mark) else { return false };
    let is_option = |word: &str| {
        let is_word =
            |text: &str| !text.is_empty() && text.chars().all(|it| it.is_alphanumeric() || "_-".contains(it));
        word == "notransaction"
            || word.split_once(':').is_some_and(|(key, value)| is_word(key) && is_word(value))
    };
    let takes_options = mark.starts_with("migrate:") || mark.starts_with("+migrate");
    rest.is_empty() || takes_options && rest.starts_with(' ') && rest.split_whitespace().all(is_option)
}

/// Says of each line whether it is part of a way down.
fn sections(lines: &[Line<'_>], comments: &[Comment<'_>]) -> Result<Vec<bool>, Unclear> {
    let mut is_left_out = vec![false; lines.len()];
    let downs = || {
        comments.iter().filter(|it| matches!(it.mark, Some((_, Way::Down))) && has_code_after(lines, it.line))
    };
    let Some(first) = downs().next() else { return Ok(is_left_out) };
    let of = |comment: &Comment<'_>| comment.mark.map(|(tool, _)| tool);
    let wrong = |at: &Comment<'_>, why: String| Unclear {
        kind: Kind::Form,
        line: number(at.line),
        why,
        hint: ON_MARKS,
    };
    if let Some(other) = downs().find(|it| of(it) != of(first)) {
        return Err(wrong(other, format!("`{}` and `{}` are marks of two tools", first.text, other.text)));
    }
    let (tool, name) = first.mark.map_or((0, ""), |(tool, _)| (tool, TOOLS[tool].name));
    let has_up = comments.iter().any(|it| it.line < first.line && it.mark == Some((tool, Way::Up)));
    if !TOOLS[tool].up.is_empty() && !has_up {
        let up = TOOLS[tool].up[0];
        let why = format!("`{}` begins a way down for {name}, and no `-- {up}` stands before it", first.text);
        return Err(wrong(first, why));
    }
    let mut marks = comments.iter().filter(|it| of(it) == Some(tool)).peekable();
    let mut is_back = false;
    for (index, is_out) in is_left_out.iter_mut().enumerate() {
        if let Some(mark) = marks.next_if(|it| it.line == index) {
            is_back = matches!(mark.mark, Some((_, Way::Down)));
        }
        *is_out = is_back;
    }
    Ok(is_left_out)
}

/// Says what is unclear of a comment: a mark that is none, or something to Liquibase that counts.
fn unclear(comment: &Comment<'_>, is_liquibase: bool) -> Option<Unclear> {
    let Comment { text, bare, .. } = comment;
    let line = number(comment.line);
    if is_liquibase && let Some(why) = of_liquibase(bare) {
        return Some(Unclear { kind: Kind::Form, line, why: format!("`{text}`: {why}"), hint: ON_LIQUIBASE });
    }
    if comment.mark.is_some() || is_liquibase && bare.starts_with("rollback") {
        return None;
    }
    let why = format!("`{text}` looks like the mark of a way down, and is none that is known here");
    (begins_like_a_mark(bare) || reads_like_a_mark(bare)).then_some(Unclear {
        kind: Kind::Form,
        line,
        why,
        hint: ON_MARKS,
    })
}

fn begins_like_a_mark(bare: &str) -> bool {
    let mut downs = TOOLS.iter().filter(|tool| tool.name != "node-sqlite").flat_map(|tool| tool.down);
    let is_cut = |rest: &str| !rest.starts_with(char::is_alphanumeric);
    let is_longer = |mark: &&str| bare.strip_prefix(mark).is_some_and(is_cut);
    let tools = ["+goose ", "+migrate ", "+micrate "];
    let of_tool = tools.iter().find_map(|tool| bare.strip_prefix(tool));
    let is_back = |text: &str| text.split(|it: char| !it.is_alphanumeric()).any(|word| BACK.contains(&word));
    downs.any(is_longer)
        || of_tool.is_some_and(|rest| !OTHER_MARKS.contains(&rest))
        || bare.starts_with(['+', '@', '!']) && is_back(bare)
}

/// Tells whether a comment is no sentence, but words of a mark alone.
fn reads_like_a_mark(bare: &str) -> bool {
    let mut words = bare.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let is_back = bare.contains("roll back") || words.clone().any(|word| BACK.contains(&word));
    is_back && words.all(|word| BACK.contains(&word) || FILLER.contains(&word))
}

/// Says what a line says to Liquibase that would be lost.
fn of_liquibase(bare: &str) -> Option<String> {
    let beginnings = ["precondition", "ignore", "property", "include"];
    if beginnings.iter().any(|beginning| bare.starts_with(beginning)) {
        return Some("only Liquibase does what it says".to_owned());
    }
    let mut said = bare.strip_prefix("changeset ")?.split_whitespace().skip(1);
    let counts = |word: &&str| word.contains(':') && !HARMLESS.iter().any(|it| word.starts_with(it));
    let word = said.find(counts)?;
    Some(format!("only Liquibase does what `{word}` says"))
}

/// Finds what only the programs of a database's client do.
fn of_clients(lines: &[Line<'_>]) -> Vec<Unclear> {
    let copy = copy_from_client(lines)
        .map(|line| (line, "`COPY … FROM stdin` reads rows that only psql sends".to_owned()));
    let mut is_between = true;
    let command = lines.iter().enumerate().find_map(|(index, line)| {
        let is_dot = is_between && line.text.starts_with('.');
        if !line.is_blank() {
            is_between = line.code.trim_end().ends_with(';');
        }
        let at = line.code.find('\\').or_else(|| is_dot.then_some(0))?;
        let word: String =
            line.code.get(at..)?.chars().take_while(|it| !it.is_whitespace()).take(20).collect();
        Some((number(index), format!("`{word}` is a command of the database's client, and no SQL")))
    });
    // What follows the first of them need not be SQL at all.
    let first = copy.into_iter().chain(command).min_by_key(|(line, _)| *line);
    first.map(|(line, why)| Unclear { kind: Kind::Client, line, why, hint: ON_CLIENTS }).into_iter().collect()
}

fn copy_from_client(lines: &[Line<'_>]) -> Option<u32> {
    let (mut begun, mut last) = (None, "");
    for (index, line) in lines.iter().enumerate() {
        for piece in line.code.split_inclusive(';') {
            let words =
                piece.split(|it: char| !it.is_alphanumeric() && it != '_').filter(|word| !word.is_empty());
            for word in words {
                let is_copy = word.eq_ignore_ascii_case("copy");
                let (at, is_one) = *begun.get_or_insert((number(index), is_copy));
                if is_one && word.eq_ignore_ascii_case("stdin") && last.eq_ignore_ascii_case("from") {
                    return Some(at);
                }
                last = word;
            }
            if piece.ends_with(';') {
                (begun, last) = (None, "");
            }
        }
    }
    None
}

fn told(lines: &[Line<'_>], is_left_out: &[bool]) -> Vec<Lines> {
    let mut told: Vec<Lines> = Vec::new();
    let mut goes_on = false;
    for (index, line) in lines.iter().enumerate() {
        if is_left_out[index] && !line.is_blank() {
            let at = number(index);
            match told.last_mut().filter(|_| goes_on) {
                Some(last) => last.to = at,
                None => told.push(Lines { from: at, to: at }),
            }
        }
        goes_on = is_left_out[index] && (goes_on || !line.is_blank());
    }
    told
}

fn kept(lines: &[Line<'_>], is_kept: impl Fn(usize) -> bool) -> String {
    let keep = |(index, line): (usize, &Line<'_>)| match is_kept(index) && !is_of_play(line) {
        true => line.text.to_owned(),
        false => String::new(),
    };
    lines.iter().enumerate().map(keep).collect::<Vec<_>>().join("\n")
}

/// Says of the text of a way down why it cannot be run: only a client of the database can.
pub(super) fn only_for_clients(back: &str, dialect: SqlDialect) -> Option<Unclear> {
    of_clients(&lines(back, dialect)).into_iter().next()
}

#[cfg(test)]
mod tests;
