//! One migration for each rule: what it says about deploying and about coming back.

use std::collections::BTreeSet;

use lockstep_contract::{Flow, Kind, Level, Options, Source, SqlDialect, Verdict, detect, diff, sql};

use super::{FIRST, SECOND, migrated};
use Level::{Error, Info, Warning};
use SqlDialect::{MySql, PostgreSql, Sqlite};

struct Case {
    rule: &'static str,
    level: Level,
    /// The level when the old version comes back.
    back: Level,
    place: &'static str,
    dialect: SqlDialect,
    before: &'static str,
    migration: &'static str,
}

const fn case(
    rule: &'static str,
    (level, back): (Level, Level),
    place: &'static str,
    dialect: SqlDialect,
    before: &'static str,
    migration: &'static str,
) -> Case {
    Case { rule, level, back, place, dialect, before, migration }
}

const NOTES: &str = "CREATE TABLE notes (id bigint PRIMARY KEY, title varchar(40) NOT NULL, author int, colour text NOT NULL DEFAULT 'red');
    CREATE TABLE people (id int PRIMARY KEY);";

const CASES: &[Case] = &[
    case("sql-table-dropped", (Error, Error), "notes", PostgreSql, NOTES, "DROP TABLE public.notes"),
    case("sql-table-renamed", (Error, Error), "notes", PostgreSql, NOTES, "ALTER TABLE notes RENAME TO remarks"),
    case("sql-table-renamed", (Error, Error), "notes", MySql, NOTES, "RENAME TABLE notes TO remarks"),
    case("sql-table-added", (Info, Info), "tags", PostgreSql, NOTES, "CREATE TABLE IF NOT EXISTS tags (id int)"),
    case("sql-column-dropped", (Error, Error), "notes.author", PostgreSql, NOTES, "ALTER TABLE notes DROP COLUMN author"),
    case("sql-column-renamed", (Error, Error), "notes.author", PostgreSql, NOTES, "ALTER TABLE notes RENAME COLUMN author TO writer"),
    case("sql-column-renamed", (Error, Error), "notes.author", MySql, NOTES, "ALTER TABLE notes CHANGE COLUMN author writer int"),
    case("sql-column-added", (Info, Info), "notes.size", PostgreSql, NOTES, "ALTER TABLE notes ADD COLUMN size int"),
    case("sql-column-added", (Info, Info), "notes.size", PostgreSql, NOTES, "ALTER TABLE notes ADD COLUMN size int NOT NULL DEFAULT 0"),
    case("sql-column-added", (Info, Info), "notes.size", PostgreSql, NOTES, "ALTER TABLE notes ADD COLUMN size int GENERATED ALWAYS AS IDENTITY"),
    case("sql-column-added", (Info, Info), "notes.size", PostgreSql, NOTES, "ALTER TABLE notes ADD COLUMN size bigserial"),
    case("sql-column-added", (Info, Info), "notes(mentor)", PostgreSql, NOTES,
        "ALTER TABLE notes ADD COLUMN mentor int REFERENCES people (id) ON DELETE SET NULL"),
    case(
        "sql-column-added",
        (Info, Info),
        "notes(key)",
        PostgreSql,
        NOTES,
        "ALTER TABLE notes ADD COLUMN key uuid NOT NULL UNIQUE DEFAULT gen_random_uuid()",
    ),
    case(
        "sql-column-added",
        (Info, Info),
        "notes(size)",
        PostgreSql,
        NOTES,
        "ALTER TABLE notes ADD COLUMN size int NOT NULL DEFAULT 4 CHECK (size > 3)",
    ),
    case(
        "sql-unique-added",
        (Error, Error),
        "notes(size)",
        PostgreSql,
        NOTES,
        "ALTER TABLE notes ADD COLUMN size int NOT NULL DEFAULT 4 UNIQUE",
    ),
    case("sql-required-column-added", (Error, Error), "notes.size", PostgreSql, NOTES, "ALTER TABLE notes ADD COLUMN size int NOT NULL"),
    case("sql-column-type-narrowed", (Error, Error), "notes.title", PostgreSql, NOTES, "ALTER TABLE notes ALTER COLUMN title TYPE varchar(20)"),
    case("sql-column-type-narrowed", (Error, Error), "notes.author", MySql, NOTES, "ALTER TABLE notes MODIFY COLUMN author int unsigned"),
    case("sql-column-type-widened", (Warning, Warning), "notes.author", PostgreSql, NOTES, "ALTER TABLE notes ALTER author SET DATA TYPE bigint"),
    case("sql-column-type-changed", (Error, Error), "notes.author", PostgreSql, NOTES, "ALTER TABLE notes ALTER COLUMN author TYPE uuid USING gen_random_uuid()"),
    case("sql-column-affinity-changed", (Warning, Warning), "notes.author", Sqlite, NOTES,
        "CREATE TABLE new_notes (id bigint PRIMARY KEY, title varchar(40) NOT NULL, author text, colour text NOT NULL DEFAULT 'red');
         INSERT INTO new_notes SELECT * FROM notes; DROP TABLE notes; ALTER TABLE new_notes RENAME TO notes;"),
    case("sql-not-null-added", (Error, Error), "notes.author", PostgreSql, NOTES, "ALTER TABLE notes ALTER COLUMN author SET NOT NULL"),
    case("sql-not-null-dropped", (Warning, Error), "notes.title", PostgreSql, NOTES, "ALTER TABLE notes ALTER COLUMN title DROP NOT NULL"),
    case("sql-default-removed", (Error, Error), "notes.colour", PostgreSql, NOTES, "ALTER TABLE notes ALTER COLUMN colour DROP DEFAULT"),
    case("sql-default-changed", (Warning, Warning), "notes.colour", PostgreSql, NOTES, "ALTER TABLE notes ALTER COLUMN colour SET DEFAULT 'blue'"),
    case("sql-column-computed", (Error, Error), "notes.author", PostgreSql, NOTES,
        "ALTER TABLE notes DROP COLUMN author; ALTER TABLE notes ADD COLUMN author int GENERATED ALWAYS AS (id) STORED"),
    case("sql-unique-added", (Error, Error), "notes(title)", PostgreSql, NOTES, "CREATE UNIQUE INDEX CONCURRENTLY notes_title ON notes (title)"),
    case("sql-unique-added", (Error, Error), "notes(title)", PostgreSql, NOTES, "ALTER TABLE notes ADD CONSTRAINT u UNIQUE (title)"),
    case("sql-unique-removed", (Error, Error), "a(b)", PostgreSql, "CREATE TABLE a (b int UNIQUE)", "ALTER TABLE a DROP CONSTRAINT a_b_key"),
    case("sql-unique-removed", (Error, Error), "a(b)", PostgreSql, "CREATE TABLE a (b int UNIQUE)",
        "ALTER TABLE a DROP CONSTRAINT a_b_key; ALTER TABLE a ADD UNIQUE (b) DEFERRABLE"),
    case("sql-unique-removed", (Error, Error), "a(b)", MySql, "CREATE TABLE a (b int, UNIQUE u (b))", "ALTER TABLE a DROP INDEX u"),
    case("sql-unique-removed", (Warning, Warning), "a(b,c)", MySql, "CREATE TABLE a (b int, c int, UNIQUE v (b), UNIQUE u (b, c))",
        "ALTER TABLE a DROP INDEX u; CREATE INDEX u ON a (b, c)"),
    case("sql-unique-removed", (Warning, Error), "a(b)", PostgreSql, "CREATE TABLE a (b int UNIQUE DEFERRABLE)", "ALTER TABLE a DROP CONSTRAINT a_b_key"),
    case("sql-numbering-removed", (Error, Error), "a.id", Sqlite, "CREATE TABLE a (id INTEGER PRIMARY KEY, b int)",
        "CREATE TABLE n (id INT PRIMARY KEY, b int); INSERT INTO n SELECT * FROM a; DROP TABLE a; ALTER TABLE n RENAME TO a"),
    case("sql-column-type-narrowed", (Error, Error), "a.id", Sqlite, "CREATE TABLE a (id INT PRIMARY KEY, b int)",
        "CREATE TABLE n (id INTEGER PRIMARY KEY, b int); INSERT INTO n SELECT * FROM a; DROP TABLE a; ALTER TABLE n RENAME TO a"),
    case("sql-unique-removed", (Warning, Warning), "a(b)", PostgreSql, "CREATE TABLE a (b int NOT NULL); CREATE UNIQUE INDEX u ON a (b)",
        "ALTER TABLE a ADD PRIMARY KEY (b); DROP INDEX u"),
    case("sql-unique-added", (Error, Error), "a(b)", MySql, "CREATE TABLE a (b int, c int, UNIQUE u (b, c))", "ALTER TABLE a DROP COLUMN c"),
    case("sql-delete-refused", (Warning, Error), "people<-tags(who)", PostgreSql, NOTES, "CREATE TABLE tags (id int, who int REFERENCES people)"),
    case("sql-delete-refused", (Warning, Error), "people<-notes(mentor)", PostgreSql, NOTES,
        "ALTER TABLE notes ADD COLUMN mentor int REFERENCES people (id)"),
    case("sql-delete-refused", (Warning, Error), "people<-b(a)", PostgreSql, NOTES,
        "CREATE TABLE a (id int PRIMARY KEY REFERENCES people ON DELETE CASCADE); CREATE TABLE b (a int REFERENCES a)"),
    case("sql-delete-refused", (Warning, Error), "people<-tags(who)", PostgreSql, NOTES,
        "CREATE TABLE tags (who int NOT NULL REFERENCES people ON DELETE SET NULL)"),
    case("sql-table-added", (Info, Info), "tags", PostgreSql, NOTES, "CREATE TABLE tags (who int REFERENCES people ON DELETE CASCADE)"),
    case("sql-table-added", (Info, Info), "tags", PostgreSql, NOTES, "CREATE TABLE tags (who int REFERENCES people ON DELETE SET NULL)"),
    case("sql-on-update-changed", (Warning, Warning), "a.b", MySql, "CREATE TABLE a (b timestamp NULL)",
        "ALTER TABLE a MODIFY b timestamp NULL ON UPDATE current_timestamp"),
    case("sql-collation-changed", (Warning, Warning), "a.b", MySql, "CREATE TABLE a (b varchar(9))", "ALTER TABLE a MODIFY b varchar(9) COLLATE utf8mb4_bin"),
    case("sql-collation-changed", (Error, Error), "a.b", MySql, "CREATE TABLE a (b varchar(9) COLLATE utf8mb4_bin UNIQUE)", "ALTER TABLE a MODIFY b varchar(9)"),
    case("sql-collation-changed", (Error, Error), "a.b", MySql, "CREATE TABLE a (b varchar(9))", "ALTER TABLE a MODIFY b varchar(9) CHARACTER SET latin1"),
    case("sql-numbering-added", (Error, Error), "people.id", MySql, NOTES, "ALTER TABLE people MODIFY id int AUTO_INCREMENT"),
    case("sql-key-renamed", (Error, Error), "a.u", PostgreSql, "CREATE TABLE a (b int CONSTRAINT u UNIQUE)", "ALTER TABLE a RENAME CONSTRAINT u TO w"),
    case("sql-default-refused", (Error, Error), "a.b", PostgreSql, "CREATE TABLE a (id int PRIMARY KEY, b int DEFAULT 1 UNIQUE)", "ALTER TABLE a ALTER b SET DEFAULT 2"),
    case("sql-column-added", (Info, Info), "notes.kind", MySql, NOTES, "ALTER TABLE notes ADD kind enum('x', 'y') NOT NULL"),
    case("sql-lock-rewrite", (Warning, Info), "notes", PostgreSql, NOTES, "ALTER TABLE notes ALTER author TYPE bigint"),
    case("sql-lock-scan", (Warning, Info), "notes", PostgreSql, NOTES, "ALTER TABLE notes ADD CHECK (id IS NOT NULL)"),
    case("sql-lock-index", (Warning, Info), "notes", PostgreSql, NOTES, "CREATE INDEX ON notes (author)"),
    case("sql-lock-transaction", (Warning, Info), "notes", PostgreSql, NOTES, "BEGIN; ALTER TABLE notes ADD size int; UPDATE notes SET size = 0; COMMIT"),
    case("sql-lock-unbounded", (Warning, Info), "notes", PostgreSql, NOTES, "ALTER TABLE notes ALTER author TYPE bigint"),
    case("sql-transaction-refused", (Warning, Info), "CREATE INDEX CONCURRENTLY i", PostgreSql, NOTES,
        "BEGIN; CREATE INDEX CONCURRENTLY i ON notes (author); COMMIT"),
    case("sql-check-added", (Error, Error), "notes(author)", PostgreSql, NOTES, "ALTER TABLE notes ADD CHECK (author > 3) NOT VALID"),
    case("sql-check-removed", (Warning, Error), "a(b)", PostgreSql, "CREATE TABLE a (b int CONSTRAINT c CHECK (b > 0))", "ALTER TABLE a DROP CONSTRAINT c"),
    case("sql-foreign-key-added", (Error, Error), "notes(author)", PostgreSql, NOTES, "ALTER TABLE notes ADD FOREIGN KEY (author) REFERENCES people (id)"),
    case("sql-foreign-key-removed", (Warning, Error), "a(b)", MySql,
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE a (b int, CONSTRAINT f FOREIGN KEY (b) REFERENCES p (id)) ENGINE=InnoDB",
        "ALTER TABLE a DROP FOREIGN KEY f"),
    case("sql-primary-key-removed", (Error, Error), "notes(id)", PostgreSql, NOTES, "ALTER TABLE notes DROP CONSTRAINT notes_pkey"),
    case("sql-enum-value-dropped", (Error, Error), "a.c.red", PostgreSql,
        "CREATE TYPE colour AS ENUM ('red', 'blue'); CREATE TABLE a (c colour)", "ALTER TYPE colour RENAME VALUE 'red' TO 'crimson'"),
    case("sql-enum-value-dropped", (Error, Error), "a.c", MySql, "CREATE TABLE a (c enum('x', 'y'))", "ALTER TABLE a MODIFY c enum('x')"),
    case("sql-enum-value-added", (Warning, Error), "a.c.green", PostgreSql,
        "CREATE TYPE colour AS ENUM ('red', 'blue'); CREATE TABLE a (c public.colour)", "ALTER TYPE colour ADD VALUE 'green'"),
    case("sql-view-dropped", (Error, Error), "v", PostgreSql, "CREATE TABLE a (b int); CREATE VIEW v AS SELECT b FROM a", "DROP VIEW v"),
    case("sql-view-column-dropped", (Error, Error), "v.c", PostgreSql,
        "CREATE TABLE a (b int); CREATE VIEW v AS SELECT b, a.b AS c FROM a", "CREATE OR REPLACE VIEW v AS SELECT b FROM a"),
    case("sql-view-changed", (Warning, Warning), "v", PostgreSql,
        "CREATE TABLE a (b int); CREATE VIEW v AS SELECT b FROM a", "CREATE OR REPLACE VIEW v AS SELECT b FROM a WHERE b > 0"),
    case("sql-view-added", (Info, Info), "v", PostgreSql, "CREATE TABLE a (b int)", "CREATE VIEW v AS SELECT * FROM a"),
    case("sql-index-changed", (Info, Info), "notes(author)", PostgreSql, NOTES, "CREATE INDEX ON notes (author)"),
    case("sql-values-lost", (Error, Error), "notes.author", PostgreSql, NOTES, "ALTER TABLE notes DROP COLUMN author; ALTER TABLE notes ADD COLUMN author int"),
    case("sql-values-exchanged", (Error, Error), "notes.colour", PostgreSql, NOTES,
        "ALTER TABLE notes DROP COLUMN colour; ALTER TABLE notes RENAME title TO colour; ALTER TABLE notes ADD title varchar(40) NOT NULL DEFAULT ''"),
    case("sql-values-moved", (Warning, Error), "people", PostgreSql, NOTES,
        "ALTER TABLE people RENAME TO former; CREATE TABLE people (id int PRIMARY KEY)"),
    case("sql-rows-removed", (Warning, Error), "notes", PostgreSql, NOTES, "TRUNCATE notes"),
    case("sql-default-refused", (Error, Error), "a.b", PostgreSql, "CREATE TABLE a (b int DEFAULT 1 CHECK (b < 9))", "ALTER TABLE a ALTER b SET DEFAULT 9"),
    case("sql-data-changed", (Warning, Warning), "0002_second.sql:2", PostgreSql, NOTES, "\nINSERT INTO people VALUES (1)"),
    case("sql-rows-removed", (Warning, Error), "notes.author", PostgreSql, NOTES, "UPDATE notes SET author = 1"),
];

/// Rules about files and not about statements; the tests below show them.
const SHOWN_ELSEWHERE: &[&str] = &["sql-history-altered", "sql-history-removed", "sql-history-out-of-order"];

#[test]
fn every_rule_has_its_level_both_ways() {
    for case in CASES {
        let report = migrated(case.dialect, case.before, case.migration);
        assert_eq!(report.not_checked, [], "{}", case.migration);
        let level = |changes: &[lockstep_contract::Change]| {
            let found =
                changes.iter().find(|change| change.rule.id == case.rule && change.place == case.place);
            // What a statement holds is over when the old version comes back.
            if found.is_none() && (case.rule.contains("-lock-") || case.rule == "sql-transaction-refused") {
                return Info;
            }
            found
                .map(|change| change.level)
                .unwrap_or_else(|| panic!("{}: {}: {changes:#?}", case.rule, case.migration))
        };
        assert_eq!(level(&report.changes), case.level, "{}", case.migration);
        assert_eq!(level(&report.roll_back.changes), case.back, "{}", case.migration);
        assert_eq!(report.may_deploy, case.level != Error, "{}: {:#?}", case.migration, report.changes);
        assert_eq!(report.may_roll_back, case.back != Error, "{}", case.migration);
    }
}

#[test]
fn every_rule_is_shown_by_a_case() {
    let shown: BTreeSet<&str> =
        CASES.iter().map(|case| case.rule).chain(SHOWN_ELSEWHERE.iter().copied()).collect();
    let all: BTreeSet<&str> = sql::RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(shown, all);
    assert!(sql::RULES.iter().all(|rule| rule.kind == Kind::Sql && rule.flow == Flow::Storage));
}

#[test]
fn changes_carry_file_and_line_of_both_sides() {
    let report =
        migrated(PostgreSql, "\nCREATE TABLE a (b int);", "-- why\n\nALTER TABLE a ALTER b SET NOT NULL;");
    let change = &report.changes[0];
    assert_eq!(change.old.as_ref().map(ToString::to_string), Some(format!("{FIRST}:2")));
    assert_eq!(change.new.as_ref().map(ToString::to_string), Some(format!("{SECOND}:3")));
}

fn report(old: &[(&str, &str)], new: &[(&str, &str)]) -> lockstep_contract::Report {
    let tree =
        |files: &[(&str, &str)]| Source::tree(files.iter().map(|(name, text)| (*name, text.as_bytes())));
    assert_eq!(detect(&tree(old)), Some(Kind::Sql));
    diff(&tree(old), &tree(new), &Options::default()).expect("valid")
}

#[test]
fn released_migrations_may_not_change() {
    let old = [("1_a.sql", "CREATE TABLE a (b int);"), ("3_b.sql", "CREATE INDEX i ON a (b);")];
    let altered = report(&old, &[("1_a.sql", "CREATE TABLE a (b int, c int);"), old[1]]);
    assert_eq!((altered.verdict, altered.changes[0].rule.id), (Verdict::Breaking, "sql-history-altered"));
    let removed = report(&old, &[old[0]]);
    assert_eq!((removed.verdict, removed.changes[0].rule.id), (Verdict::Breaking, "sql-history-removed"));
    let late = report(&old, &[old[0], old[1], ("2_c.sql", "CREATE TABLE d (e int);")]);
    assert_eq!(late.verdict, Verdict::Compatible);
    assert!(
        late.changes
            .iter()
            .any(|change| change.rule.id == "sql-history-out-of-order" && change.place == "2_c.sql")
    );
    let layout = report(&old, &[("1_a.sql", "CREATE TABLE a (b int);  \r\n"), old[1]]);
    assert_eq!(layout.changes, []);
}

#[test]
fn schema_files_without_a_number_may_change() {
    let report = report(
        &[("schema.sql", "CREATE TABLE a (b int);")],
        &[("schema.sql", "CREATE TABLE a (b int, c int);")],
    );
    assert_eq!(report.changes.iter().map(|change| change.rule.id).collect::<Vec<_>>(), ["sql-column-added"]);
}

#[test]
fn what_is_not_understood_is_not_checked_with_its_place() {
    let cases = [
        "\nCREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION f()",
        "\nCREATE FUNCTION f() RETURNS trigger AS $$ BEGIN RETURN NULL; END; $$ LANGUAGE plpgsql",
        "\nDO $$ BEGIN EXECUTE 'DROP TABLE notes'; END $$",
        "\nALTER TABLE notes ENABLE ROW LEVEL SECURITY",
        "\nALTER TABLE unknown_table ADD COLUMN a int",
        "\nALTER TABLE notes FROBNICATE",
        "\nSELECT drop_everything()",
        "\nCREATE TABLE copy AS SELECT * FROM notes",
        "\nREVOKE ALL ON notes FROM app",
        "\nSET search_path TO other",
        "\nDROP SEQUENCE numbers",
        "\nDROP TYPE colour CASCADE",
        "\nDROP EXTENSION citext CASCADE",
        "\nALTER SCHEMA public RENAME TO private",
    ];
    for migration in cases {
        let report = migrated(PostgreSql, NOTES, migration);
        assert_eq!(report.verdict, Verdict::NotChecked, "{migration}: {:?}", report.changes);
        assert_eq!(report.not_checked[0].place, format!("{SECOND}:2"), "{migration}");
        assert!(!report.may_deploy && !report.may_roll_back);
    }
}

#[test]
fn what_neither_side_understands_is_the_same_on_both() {
    let trigger = "CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION f();";
    let report = migrated(PostgreSql, &format!("{NOTES} {trigger}"), "ALTER TABLE notes ADD COLUMN a int");
    assert_eq!(report.verdict, Verdict::Compatible, "{:?}", report.not_checked);
}

#[test]
fn dialects_are_guessed_from_their_words() {
    let columns = [
        ("id bigserial PRIMARY KEY, b jsonb", PostgreSql),
        ("`id` int AUTO_INCREMENT PRIMARY KEY, `b` int unsigned", MySql),
        ("id INTEGER PRIMARY KEY AUTOINCREMENT, b text", Sqlite),
    ];
    for (columns, dialect) in columns {
        let text = format!("CREATE TABLE a ({columns});");
        let read = |sql_dialect| {
            let source = Source::tree([(FIRST, text.as_bytes())]);
            let options = Options { sql_dialect, ..Options::default() };
            diff(&Source::tree([("0000_none.sql", b"".as_slice())]), &source, &options).expect("valid")
        };
        assert_eq!(read(None), read(Some(dialect)));
        assert_eq!(read(None).not_checked, []);
    }
}
