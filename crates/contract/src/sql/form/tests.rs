use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Forward {
    forward(text, SqlDialect::PostgreSql)
}

/// The statements that run, and what is told of the rest.
fn runs(text: &str) -> (String, usize, usize) {
    let found = read(text);
    let code: Vec<_> =
        lines(&found.text, SqlDialect::PostgreSql).iter().map(|line| line.code.trim().to_owned()).collect();
    let code = code.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    (code, found.left_out.len(), found.unclear.len())
}

#[test]
fn the_way_down_of_every_known_form_is_left_out_and_told() {
    for (up, down) in [
        ("-- +goose Up", "-- +goose Down"),
        ("-- +goose Up\n-- +goose StatementBegin", "-- +goose StatementEnd\n-- +goose DOWN"),
        ("-- +migrate Up notransaction", "-- +migrate Down"),
        ("-- +micrate Up", "-- +micrate Down"),
        ("-- migrate:up transaction:false", "--migrate:down transaction:false"),
        ("-- Up Migration", "-- Down Migration"),
        ("-- rambler up", "-- rambler down"),
        ("# --- !Ups", "# --- !Downs"),
        ("-- ==== UP ====", "-- ==== DOWN ===="),
        ("-- Up", "-- Down"),
        ("", "---- create above / drop below ----"),
        ("--", "-- //@UNDO"),
    ] {
        let text = format!("{up}\nA;\n\n{down}\nB;\nC;\n");
        assert_eq!(runs(&text), ("A;".to_owned(), 1, 0), "{down}");
        let to = number(text.lines().count() - 1);
        assert_eq!(read(&text).left_out, [Lines { from: to - 1, to }], "{down}");
        assert_eq!(runs(&format!("-- lockstep: forward\n{text}")).1, 0, "{down}");
    }
}

#[test]
fn a_way_down_is_one_only_in_a_file_of_its_tool() {
    for down in
        ["-- +goose Down", "-- migrate:down", "-- Down Migration", "-- rambler down", "-- Down", "-- !Downs"]
    {
        assert_eq!(runs(&format!("A;\n{down}\nB;")), ("A; B;".to_owned(), 0, 1), "{down}");
        assert_eq!(runs(&format!("{down}\nA;\n-- +micrate Up\nB;")).2, 1, "{down}");
        assert_eq!(
            runs(&format!("A;\n{down}\n-- DROP a;\n")),
            ("A;".to_owned(), 0, 0),
            "nothing follows {down}"
        );
    }
    assert_eq!(runs("-- Up\n-- migrate:up\nA;\n-- migrate:down\nB;\n-- Down\nC;").2, 1);
    assert_eq!(runs("-- +goose Up\nA;\n-- +goose Down\nB;\n-- +goose Up\nC;"), ("A; C;".to_owned(), 1, 0));
}

#[test]
fn a_sentence_is_no_mark() {
    for words in [
        "-- rollback is not possible here",
        "-- Rollback plan: see wiki",
        "-- rollback: restore from backup",
        "-- down the road we will need this",
        "-- to undo this, restore a backup",
        "--rollback DROP TABLE q",
        "/* rollback is not possible here */",
    ] {
        assert_eq!(runs(&format!("A;\n{words}\nB;")), ("A; B;".to_owned(), 0, 0), "{words}");
    }
}

#[test]
fn what_looks_like_a_mark_is_told_and_nothing_is_left_out() {
    for words in [
        "-- migrate:down is not supported",
        "-- +goose down is not needed",
        "-- +goose Dwon",
        "-- +goose ENVSUB ON",
        "-- +mig Down",
        "-- @DOWN",
        "-- rollback",
        "-- ===== ROLLBACK =====",
        "--- Rollback script ---",
        "-- [down]",
        "-- roll back",
        "/* DOWN */",
        "-- down migration, if you must",
    ] {
        let found = read(&format!("A;\n{words}\nB;"));
        assert!(found.left_out.is_empty() && found.text.contains("B;"), "{words}");
        assert_eq!(found.unclear.first().map(|it| it.line), Some(2), "{words}");
    }
}

#[test]
fn what_stands_in_strings_bodies_and_comments_is_no_mark() {
    let text = "-- migrate:up\nCREATE FUNCTION g() AS $$\n-- +goose Down\n-- migrate:down\n$$;\nA;\n/*\n-- migrate:down\n*/\nB;\nC '\n-- migrate:down\n';\nD;";
    let found = read(text);
    assert_eq!((found.text.as_str(), found.left_out.len(), found.unclear.len()), (text, 0, 0));
}

#[test]
fn every_changeset_of_liquibase_runs_and_what_only_liquibase_does_is_told() {
    let text = "--liquibase formatted sql\n--changeset ann:1 splitStatements:false\nA;\n--rollback DROP a;\n--changeset ann:2\nB;\n--rollback empty\nC;";
    assert_eq!(runs(text), ("A; B; C;".to_owned(), 0, 0));
    for said in [
        "--changeset ann:3 dbms:oracle",
        "--changeset ann:3 runOnChange:true",
        "--changeset ann:3 context:test",
        "--preconditions onFail:MARK_RAN",
        "--property name:a value:b",
    ] {
        let found = read(&format!("{text}\n{said}\nD;"));
        assert_eq!((found.unclear.len(), found.unclear[0].line), (1, 9), "{said}");
    }
}

#[test]
fn what_only_a_client_does_is_told_with_its_line() {
    for (text, line, word) in [
        ("A;\nCOPY c (id, n)\n FROM stdin;\n1\tit's\n\\.\nB;", 2, "COPY"),
        ("COPY c FROM STDIN WITH (FORMAT csv);", 1, "COPY"),
        ("A;\n\\set ON_ERROR_STOP on\nB;", 2, "`\\set`"),
        ("SELECT 1 \\gexec", 1, "`\\gexec`"),
        ("A;\n.read b.sql", 2, "`.read`"),
    ] {
        let found = read(text);
        assert_eq!((found.unclear.len(), found.unclear[0].line), (1, line), "{text}");
        assert!(found.unclear[0].why.contains(word), "{}", found.unclear[0].why);
    }
    for text in [
        "COPY c FROM '/tmp/stdin';",
        "SELECT E'\\n', '\\';",
        "INSERT INTO copy SELECT a FROM stdin;",
        "-- \\set\nA\n.b;",
    ] {
        assert_eq!(read(text).unclear, [], "{text}");
    }
}

#[test]
fn a_mark_of_bytes_at_the_beginning_is_none_of_the_text() {
    assert_eq!(read("\u{feff}-- +goose Up\nA;\n-- +goose Down\nB;").text.trim_end(), "-- +goose Up\nA;");
    assert_eq!(read("\u{feff}A;").text, "A;");
}

proptest! {
    #[test]
    fn nothing_is_ever_left_out_without_a_word(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "A;", "B;", "-- +goose Up", "-- +goose Down", "-- migrate:up", "-- migrate:down", "-- Down", "-- rollback", "$$", "'", "/*", "*/",
            "-- //@UNDO", "# --- !Downs", "--rollback x", "\\set", "COPY a FROM stdin;",
        ]), 0..12)
    ) {
        let text = pieces.join("\n");
        let found = read(&text);
        let before = lines(&text, SqlDialect::PostgreSql);
        for (index, (line, now)) in before.iter().zip(found.text.split('\n')).enumerate() {
            let at = number(index);
            let is_told = found.left_out.iter().any(|it| it.from <= at && at <= it.to);
            let is_mark = line.text.starts_with('#');
            prop_assert!(line.text == now || is_told || is_mark || line.is_blank(), "{text}");
        }
        prop_assert_eq!(before.len(), found.text.split('\n').count());
    }
}
