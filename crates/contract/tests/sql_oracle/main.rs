//! Old statements against the new schema, on real databases: a statement that worked and fails although the verdict says
//! "compatible" is a bug, and so are rows that change without a word.
//!
//! `LOCKSTEP_SQL_CASES` sets how many migrations are tried on each database (the default keeps a test run short) and
//! `LOCKSTEP_SQL_SEED` where to start. PostgreSQL and MariaDB are tried where they are installed; `LOCKSTEP_SQL_ALL` makes
//! their absence a failure.

mod databases;
mod grammar;
mod locks;
#[path = "../support/schemas.rs"]
#[expect(dead_code, reason = "only its dice are used here")]
mod schemas;

use databases::{Database, MariaDb, Outcome, Postgres, Sqlite};
use grammar::{Case, case, dump, insert, statement};
use lockstep_contract::{Change, Kind, Level, Options, Report, Source, SqlDialect, Verdict, diff_as};
use schemas::Dice;

/// Statements of the old version tried against every migration, in each direction.
const STATEMENTS: usize = 12;
/// Rows that are there before the migration, and that the new version writes after it.
const ROWS: usize = 5;
/// Cases in one call of a database.
const BATCH: u64 = 50;
/// Failures that are shown in full.
const SHOWN: usize = 3;
/// Changes whose statements are tried.
const WITNESSES: usize = 4;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A case with everything that is run for it.
struct Trial {
    seed: u64,
    /// How the session begins.
    session: &'static str,
    case: Case,
    report: Report,
    seeds: Vec<String>,
    statements: Vec<String>,
    /// Rows of the new version, whole, and as the old version would have written them.
    written: Vec<(String, Option<String>)>,
    witnesses: Vec<Witness>,
}

/// What shows a change that breaks.
struct Witness {
    message: String,
    /// What is there before the migration.
    rows: Vec<String>,
    statements: Vec<String>,
    shows: Shows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// A statement fails, or the migration does.
    Failure,
    /// The last statement gives something else.
    Answer,
}

/// What a session without strictness says first: MySQL then takes what does not fit, and puts something else in its place.
const LAX: &str = "SET SESSION sql_mode = ''";

fn trial(seed: u64, dialect: SqlDialect) -> Trial {
    let mut dice = Dice::new(seed);
    let session =
        if dialect == SqlDialect::MySql && seed % 4 == 3 { LAX } else { "PRAGMA foreign_keys = ON" };
    let case = case(&mut dice, dialect);
    let report = compare(&case, dialect);
    let seeds = (0..ROWS).map(|_| insert(&mut dice, &case.old, &[], 0).0).collect();
    let statements = (0..STATEMENTS).map(|_| {
        let beside = case.beside.query(&mut dice, dialect);
        beside.unwrap_or_else(|| statement(&mut dice, dialect, &case.old))
    });
    let statements = statements.collect();
    let rows = if case.new.is_empty() { 0 } else { ROWS };
    let written = (0..rows).map(|_| insert(&mut dice, &case.new, &case.old, 4)).collect();
    let witnesses = report.changes.iter().filter(|change| change.breaks()).filter_map(witness);
    // Witnesses are about sessions that refuse what does not fit.
    let shown = if session == LAX { 0 } else { WITNESSES };
    let witnesses = witnesses.take(shown).collect();
    Trial { seed, session, case, report, seeds, statements, written, witnesses }
}

fn compare(case: &Case, dialect: SqlDialect) -> Report {
    let text = |statements: &[String]| statements.iter().map(|one| format!("{one};\n")).collect::<String>();
    let first = ("1.sql", text(&case.schema).into_bytes());
    let second = ("2.sql", text(&guarded(&case.migration)).into_bytes());
    let (old, new) = (Source::tree([first.clone()]), Source::tree([first, second]));
    let options = Options { sql_dialect: Some(dialect), ..Options::default() };
    diff_as(Kind::Sql, &old, &new, &options).expect("text")
}

fn witness(change: &Change) -> Option<Witness> {
    let shown = change.witness.as_ref()?;
    let texts = |key: &str| -> Vec<String> {
        let all = shown[key].as_array().into_iter().flatten();
        all.filter_map(|one| Some(one.as_str()?.to_owned())).collect()
    };
    let shows = if shown.get("was").is_some() { Shows::Answer } else { Shows::Failure };
    let message = change.message.clone();
    Some(Witness { message, rows: texts("rows"), statements: texts("statements"), shows })
}

impl Witness {
    /// Says whether it works before, and does not after.
    fn is_shown(&self, before: &[Outcome], migration: &[Outcome], after: &[Outcome]) -> bool {
        let stops = migration.iter().any(Result::is_err) || after.iter().any(Result::is_err);
        let differs = self.shows == Shows::Answer && before.last() != after.last();
        before.iter().all(Result::is_ok) && (stops || differs)
    }
}

/// Says whether a change may be the reason for other rows; how long tables are held is none.
fn tells_of_rows(change: &Change) -> bool {
    change.level != Level::Info && !change.rule.id.starts_with("sql-lock-")
}

/// Says whether every line of a text stands in another.
fn is_part(text: &str, whole: &str) -> bool {
    text.lines().all(|line| whole.lines().any(|other| other == line))
}

/// A script made of parts, so that the outcomes of each part can be told.
#[derive(Default)]
struct Script {
    statements: Vec<String>,
    ends: Vec<usize>,
}

impl Script {
    fn of(session: &str, parts: &[&[String]]) -> Self {
        let mut script = Self { statements: vec![session.to_owned()], ends: vec![1] };
        for part in parts {
            script.statements.extend(part.iter().cloned());
            script.ends.push(script.statements.len());
        }
        script
    }

    fn part<'o>(&self, outcomes: &'o [Outcome], part: usize) -> &'o [Outcome] {
        &outcomes[self.ends[part]..self.ends[part + 1]]
    }
}

/// SQLite's own recipe: references are not followed while tables are rebuilt.
fn guarded(migration: &[String]) -> Vec<String> {
    let pragma = |on: &str| format!("PRAGMA foreign_keys = {on}");
    [pragma("OFF")].into_iter().chain(migration.iter().cloned()).chain([pragma("ON")]).collect()
}

impl Trial {
    fn scripts(&self) -> Vec<Script> {
        let Case { schema, migration, old, .. } = &self.case;
        let (seen, migration) = (dump(old), guarded(migration));
        let new: Vec<String> = self.written.iter().map(|(row, _)| row.clone()).collect();
        let as_old: Vec<String> = self.written.iter().filter_map(|(_, row)| row.clone()).collect();
        let none: &[String] = &[];
        let mut scripts = vec![
            Script::of(self.session, &[schema, &self.seeds, none, &seen, &self.statements]),
            Script::of(self.session, &[schema, &self.seeds, &migration, &seen, &self.statements]),
            Script::of(self.session, &[schema, none, none, &seen, &self.statements]),
            Script::of(self.session, &[schema, none, &migration, &seen, &self.statements]),
            Script::of(self.session, &[schema, none, &as_old, &seen, &self.statements]),
            Script::of(self.session, &[schema, none, &migration, &new, &self.statements]),
        ];
        for Witness { rows, statements, .. } in &self.witnesses {
            scripts.push(Script::of(self.session, &[schema, rows, none, statements]));
            scripts.push(Script::of(self.session, &[schema, rows, &migration, statements]));
        }
        scripts
    }

    fn judge(&self, scripts: &[Script], outcomes: &[Vec<Outcome>], tally: &mut Tally) -> Result<(), String> {
        let part = |script: usize, part: usize| scripts[script].part(&outcomes[script], part);
        if part(0, 0).iter().any(Result::is_err) || part(3, 2).iter().any(Result::is_err) {
            tally.invalid += 1;
            return Ok(());
        }
        tally.count(&self.report);
        let seeded = part(1, 2).iter().all(Result::is_ok);
        if seeded {
            self.rows(part(0, 3), part(1, 3))?;
            self.kept(part(0, 3), part(1, 3))?;
            if part(0, 3) == part(1, 3) {
                self.statements(self.report.verdict, part(0, 4), part(1, 4), "deploying", tally)?;
            }
        }
        // Rows that the migration itself wrote are there as any other client's may be.
        if part(2, 3) == part(3, 3) {
            self.statements(self.report.verdict, part(2, 4), part(3, 4), "deploying without rows", tally)?;
        }
        self.back(part(4, 2), part(5, 3), (part(4, 4), part(5, 4)), tally)?;
        for (index, witness) in self.witnesses.iter().enumerate() {
            let (old, new) = (6 + 2 * index, 7 + 2 * index);
            let (before, after) = (part(old, 3), part(new, 3));
            tally.witnesses += 1;
            let taken = part(old, 1).iter().all(Result::is_ok);
            if !taken || !witness.is_shown(before, part(new, 2), after) {
                let Witness { message, rows, statements, .. } = witness;
                return Err(self.told(&format!("the witness of \"{message}\" shows nothing: {rows:?} {statements:?}: {before:?} before, {after:?} after")));
            }
        }
        Ok(())
    }

    /// Rows that are not what they were, and nothing that was found says so.
    fn rows(&self, before: &[Outcome], after: &[Outcome]) -> Result<(), String> {
        let told =
            self.report.verdict != Verdict::Compatible || self.report.changes.iter().any(tells_of_rows);
        if before == after || told {
            return Ok(());
        }
        Err(self.told(&format!("rows changed without a word: {before:?} before, {after:?} after")))
    }

    /// Rows that are gone or others, although the old version may come back to them. What SQLite keeps in another form is told.
    fn kept(&self, before: &[Outcome], after: &[Outcome]) -> Result<(), String> {
        let told = self.report.changes.iter().any(|change| change.rule.id == "sql-column-affinity-changed");
        let is_kept = |(before, after): (&Outcome, &Outcome)| match (before, after) {
            (Ok(before), Ok(after)) => is_part(before, after),
            _ => false,
        };
        if told
            || self.report.roll_back.verdict() != Verdict::Compatible
            || before.iter().zip(after).all(is_kept)
        {
            return Ok(());
        }
        Err(self.told(&format!("coming back: rows are gone or others: {before:?} before, {after:?} after")))
    }

    fn statements(
        &self,
        verdict: Verdict,
        before: &[Outcome],
        after: &[Outcome],
        when: &str,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let told: Vec<_> = self.report.changes.iter().filter(|change| tells_of_rows(change)).collect();
        let silent = told.is_empty();
        // A view that shows fewer rows shows no other ones.
        let fewer = !silent && told.iter().all(|change| change.rule.id == "sql-view-changed");
        for ((statement, before), after) in self.statements.iter().zip(before).zip(after) {
            tally.statements += 1;
            match (before, after) {
                (Ok(_), Err(why)) if verdict == Verdict::Compatible => {
                    return Err(self.told(&format!("{when}: `{statement}` worked and fails: {why}")));
                }
                // From here on the two differ.
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => return Ok(()),
                (Ok(was), Ok(is))
                    if was != is && verdict == Verdict::Compatible && fewer && !is_part(is, was) =>
                {
                    return Err(self.told(&format!("{when}: `{statement}` gave {was} and gives more: {is}")));
                }
                (Ok(was), Ok(is)) if was != is && verdict == Verdict::Compatible && silent => {
                    return Err(self.told(&format!("{when}: `{statement}` gave {was} and gives {is}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The old version comes back to rows of the new one.
    fn back(
        &self,
        as_old: &[Outcome],
        new: &[Outcome],
        (before, after): (&[Outcome], &[Outcome]),
        tally: &mut Tally,
    ) -> Result<(), String> {
        let mut as_old = as_old.iter();
        let alike = self.written.iter().zip(new).all(|((_, old), new)| match old {
            Some(_) => as_old.next().is_some_and(|old| old.is_ok() == new.is_ok()),
            None => true,
        });
        if !alike {
            return Ok(());
        }
        self.statements(self.report.roll_back.verdict(), before, after, "coming back", tally)
    }

    fn told(&self, what: &str) -> String {
        let changes: Vec<_> = self
            .report
            .changes
            .iter()
            .map(|change| format!("{}: {}", change.level, change.message))
            .collect();
        format!(
            "seed {}: {what}\nschema {:#?}\nmigration {:#?}\nrows {:#?}\nwritten {:#?}\nstatements {:#?}\nfound {changes:#?}",
            self.seed, self.case.schema, self.case.migration, self.seeds, self.written, self.statements
        )
    }
}

#[derive(Default)]
struct Tally {
    cases: u64,
    invalid: u64,
    verdicts: [u64; 3],
    statements: u64,
    witnesses: u64,
}

impl Tally {
    fn count(&mut self, report: &Report) {
        self.cases += 1;
        self.verdicts[report.verdict as usize] += 1;
    }
}

fn hold_against(database: &mut dyn Database) {
    let (start, cases) = (setting("LOCKSTEP_SQL_SEED", 0), setting("LOCKSTEP_SQL_CASES", 150));
    let mut tally = Tally::default();
    let mut failures = Vec::new();
    let mut seed = start;
    while seed < start + cases {
        let end = (seed + BATCH).min(start + cases);
        let trials: Vec<Trial> = (seed..end).map(|seed| trial(seed, database.dialect())).collect();
        let scripts: Vec<Vec<Script>> = trials.iter().map(Trial::scripts).collect();
        let texts: Vec<Vec<String>> =
            scripts.iter().flatten().map(|script| script.statements.clone()).collect();
        let mut outcomes = database.run(&texts).into_iter();
        for (trial, scripts) in trials.iter().zip(&scripts) {
            let own: Vec<_> = outcomes.by_ref().take(scripts.len()).collect();
            failures.extend(trial.judge(scripts, &own, &mut tally).err());
        }
        seed = end;
    }
    let [compatible, breaking, undecided] = tally.verdicts;
    // Read by `cargo xtask fuzz sql`.
    println!(
        "{} pairs, {} documents: {compatible} compatible, {breaking} breaking ({} witnesses, {} migrations that no database takes), {undecided} not decided",
        tally.cases, tally.statements, tally.witnesses, tally.invalid
    );
    failures.iter().take(SHOWN).for_each(|failure| println!("\n{failure}"));
    let others = failures.iter().skip(SHOWN).filter_map(|failure| failure.lines().next());
    others.for_each(|failure| println!("{failure}"));
    assert!(failures.is_empty(), "{} of {cases} verdicts are wrong", failures.len());
    assert!(tally.cases * 2 > cases, "most migrations are taken: {} of {cases} are not", tally.invalid);
}

#[test]
fn no_statement_contradicts_a_verdict_on_sqlite() {
    hold_against(&mut Sqlite);
}

#[test]
fn no_statement_contradicts_a_verdict_on_postgresql() {
    match Postgres::start() {
        Some(mut server) => hold_against(&mut server),
        None => {
            assert!(
                std::env::var_os("LOCKSTEP_SQL_ALL").is_none(),
                "there is no PostgreSQL 15 or later: install postgresql"
            );
            println!("not run: there is no PostgreSQL 15 or later: install postgresql");
        }
    }
}

#[test]
fn no_statement_contradicts_a_verdict_on_mariadb() {
    match MariaDb::start() {
        Some(mut server) => hold_against(&mut server),
        None => {
            assert!(
                std::env::var_os("LOCKSTEP_SQL_ALL").is_none(),
                "there is no MariaDB: install mariadb-server"
            );
            println!("not run: there is no MariaDB: install mariadb-server");
        }
    }
}
