//! Comparing contracts with the real binary: files, folders and git revisions, without a server.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fake::{FakeServer, Reply};
use crate::{code, err, out};

const OPENAPI: &str = "openapi: 3.1.0
info: {title: payments, version: '1'}
paths:
  /charges:
    post:
      requestBody:
        content:
          application/json:
            schema: {$ref: '../common/charge.yaml#/Charge'}
      responses: {'201': {description: made}}
";
const CHARGE: &str = "Charge:
  type: object
  properties:
    amount: {type: integer, maximum: 100}
";

/// A folder with a git repository in it, in which commands run.
struct Place(TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let place = Self(TempDir::new().unwrap());
        files.iter().for_each(|(path, text)| place.write(path, text));
        place
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn commit(&self) {
        self.git(&["init", "--quiet", "--initial-branch", "main"]);
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "one"]);
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args([
            "-c",
            "user.name=Ann",
            "-c",
            "user.email=ann@example.org",
            "-c",
            "commit.gpgsign=false",
        ]);
        assert!(command.args(arguments).current_dir(self.path()).status().unwrap().success());
    }

    fn run_in(&self, folder: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lockstep"))
            .arg("contract")
            .args(arguments)
            .current_dir(self.path().join(folder))
            // Nothing listens there: what is compared is on disk, or a test starts a server of its own.
            .env("LOCKSTEP_SERVER", "http://127.0.0.1:1")
            .output()
            .expect("the binary starts")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.run_in("", arguments)
    }

    fn diff(&self, old: &str, new: &str) -> Output {
        self.run(&["diff", old, new])
    }

    fn json(&self, old: &str, new: &str) -> Value {
        let output = self.run(&["diff", old, new, "--json"]);
        serde_json::from_str(&out(&output)).unwrap_or_else(|error| panic!("{error}: {}", err(&output)))
    }
}

/// Payments in a repository, with a maximum that was lowered since the commit.
fn payments() -> Place {
    let place = Place::new(&[("api/openapi.yaml", OPENAPI), ("common/charge.yaml", CHARGE)]);
    place.commit();
    place.write("common/charge.yaml", CHARGE.replace("100", "50"));
    place
}

#[test]
fn a_person_sees_what_breaks_whom_and_a_request_that_shows_it() {
    let output = payments().diff("main:api/openapi.yaml", "api/openapi.yaml");
    assert_eq!(code(&output), 1);
    assert_eq!(
        out(&output),
        "breaking: 1 change, 1 breaking, 0 not checked
bump owed: major; may deploy: no; may roll back: yes

error: in a request, the maximum is lower: 100 before, 50 now; the body of POST /charges
  where: common/charge.yaml#/Charge/properties/amount
  old:   main:common/charge.yaml:4
  new:   common/charge.yaml:4
  hurts: consumers that send it
  why:   In a request, the maximum is lower. A consumer of the old contract may still send what
         the provider no longer accepts. Accept both for a while, or offer a new operation.
  rule:  request-maximum-lowered
  was fine, fails now:
    POST /charges
    content-type: application/json
    {\"amount\":51}
"
    );
    assert_eq!(
        err(&output),
        "error: api/openapi.yaml breaks consumers of main:api/openapi.yaml
hint: lockstep contract rules --explain request-maximum-lowered
"
    );
}

#[test]
fn a_program_gets_the_report_as_json() {
    let report = payments().json("main:api/openapi.yaml", "api/openapi.yaml");
    let change = serde_json::json!({
        "rule": "request-maximum-lowered",
        "level": "error",
        "flow": "request",
        "place": "common/charge.yaml#/Charge/properties/amount",
        "old": {"file": "main:common/charge.yaml", "line": 4},
        "new": {"file": "common/charge.yaml", "line": 4},
        "message": "in a request, the maximum is lower: 100 before, 50 now; the body of POST /charges",
        "witness": {
            "method": "POST", "path": "/charges", "content_type": "application/json", "body": {"amount": 51},
        },
    });
    let expected = serde_json::json!({
        "verdict": "breaking", "bump": "major", "may_deploy": false, "may_roll_back": true, "kind": "openapi",
        "changes": [change], "not_checked": [],
    });
    assert_eq!(report, expected);
}

#[test]
fn the_exit_code_says_the_verdict() {
    let message = |text: &str| format!("syntax = \"proto3\";\nmessage A {{ {text} }}\n");
    let place = Place::new(&[
        ("one.proto", &message("int32 n = 1;")),
        ("more.proto", &message("int32 n = 1; string s = 2;")),
        ("other.proto", &message("string n = 1;")),
        ("edition.proto", "edition = \"2023\";\nmessage A {}\n"),
        ("broken.proto", "syntax = \"proto3\";\nmessage A {\n"),
    ]);
    for (new, expected, verdict) in [
        ("one.proto", 0, "compatible: 0 changes"),
        ("more.proto", 0, "compatible: 1 change"),
        ("other.proto", 1, "breaking:"),
        ("edition.proto", 3, "not checked:"),
        ("broken.proto", 2, ""),
        ("none.proto", 2, ""),
    ] {
        let output = place.diff("one.proto", new);
        assert_eq!(code(&output), expected, "{new}: {}", err(&output));
        assert!(out(&output).starts_with(verdict), "{new}: {}", out(&output));
        assert_eq!(err(&output).is_empty(), expected == 0, "{new}");
    }
}

#[test]
fn everything_wrong_with_both_sides_is_told_at_once() {
    let place = Place::new(&[
        ("old/a.graphql", "type Query {\n a: }\n"),
        ("old/b.graphql", "type"),
        ("new.graphql", "type Query { a: Int }\n\ntype Query { b: Int }"),
    ]);
    let output = place.diff("old", "new.graphql");
    assert_eq!((code(&output), out(&output).as_str()), (2, ""));
    for part in
        ["  - old/a.graphql:2: ", "  - old/b.graphql:1: ", "  - new.graphql:3: type `Query` is defined twice"]
    {
        assert!(err(&output).contains(part), "{part} in {}", err(&output));
    }
}

#[test]
fn a_location_that_cannot_be_read_says_what_to_do() {
    let place = payments();
    for (location, expected) in [
        ("nope.yaml", "nope.yaml: there is no such file or folder"),
        ("mian:api/openapi.yaml", "`mian` is no revision of this repository"),
        ("--all:x", "unexpected argument"),
        ("main:api/none.yaml", "there is no `api/none.yaml` in revision `main`"),
        ("main:../x.yaml", "the path leads out of the repository"),
        ("orders@1.4.0", "no Lockstep server answers at http://127.0.0.1:1"),
    ] {
        let output = place.diff(location, "api/openapi.yaml");
        assert_eq!(code(&output), 2, "{location}");
        assert!(err(&output).contains(expected), "{expected} in {}", err(&output));
    }
    let outside = Place::new(&[("a.yaml", OPENAPI)]);
    let output = outside.diff("main:a.yaml", "a.yaml");
    assert!(err(&output).contains("this folder is in no git repository"), "{}", err(&output));
}

#[test]
fn the_contract_of_a_released_version_comes_from_the_server_with_its_settings() {
    let place = Place::new(&[("new.proto", "syntax = \"proto3\";\nmessage A { int32 renamed = 1; }\n")]);
    let files =
        json!([{"path": "a.proto", "text": "syntax = \"proto3\";\nmessage A { int32 before = 1; }\n"}]);
    let snapshot = json!({"format": 1, "kind": "protobuf", "settings": {"policy": "json"}, "entry": "a.proto", "files": files});
    let server = FakeServer::start(vec![(
        "GET /api/v1/services/orders/versions/1.4.0/contracts/protobuf",
        Reply::json(200, &snapshot),
    )]);
    let arguments = ["diff", "orders@1.4.0", "new.proto", "--kind", "protobuf", "--server", &server.url()];
    let output = place.run(&arguments);
    // A renamed field breaks JSON, which the version says it speaks, and not the wire.
    assert_eq!(code(&output), 1, "{}", err(&output));
    assert!(out(&output).contains("orders@1.4.0:a.proto:2"), "{}", out(&output));
    let output = place.run(&[&arguments[..], &["--policy", "wire"]].concat());
    assert_eq!(code(&output), 0, "{}", out(&output));
}

#[test]
fn paths_in_a_revision_are_seen_from_the_root_unless_they_say_otherwise() {
    let place = payments();
    for revision in ["main:api/openapi.yaml", "main:./openapi.yaml", "HEAD:../api/openapi.yaml"] {
        let output = place.run_in("api", &["diff", revision, "openapi.yaml"]);
        assert_eq!(code(&output), 1, "{revision}: {}", err(&output));
    }
}

#[test]
fn folders_and_folders_of_revisions_are_contracts() {
    let orders =
        "syntax = \"proto3\";\nimport \"money/money.proto\";\nmessage Order { money.Money total = 1; }\n";
    let money = "syntax = \"proto3\";\npackage money;\nmessage Money { int64 cents = 1; }\n";
    let place = Place::new(&[
        ("proto/orders.proto", orders),
        ("proto/money/money.proto", money),
        ("migrations/001_orders.sql", "CREATE TABLE orders (id INTEGER, note TEXT);"),
        ("api/openapi.yaml", OPENAPI),
        ("api/pets.yaml", "type: object"),
    ]);
    place.commit();
    place.write("proto/money/money.proto", money.replace("int64", "string"));
    place.write("migrations/002_note.sql", "ALTER TABLE orders DROP COLUMN note;");
    let money = place.json("main:proto", "proto");
    assert_eq!((&money["kind"], &money["verdict"]), (&"protobuf".into(), &"breaking".into()));
    assert_eq!(money["changes"][0]["new"]["file"], "proto/money/money.proto");
    let imported = place.json("main:proto/orders.proto", "proto/orders.proto");
    assert_eq!(imported["changes"][0]["old"]["file"], "main:proto/money/money.proto", "imports come along");
    let migrations = place.json("main:migrations", "migrations");
    assert_eq!((&migrations["kind"], &migrations["may_roll_back"]), (&"sql".into(), &false.into()));
    assert_eq!(place.json("main:api", "api")["kind"], "openapi");
    let mixed = place.diff("main:", ".");
    assert_eq!(code(&mixed), 2);
    assert!(err(&mixed).contains("name one with --kind"), "{}", err(&mixed));
    assert_eq!(code(&place.run(&["diff", "main:", ".", "--kind", "sql"])), 1);
}

#[test]
fn a_reference_leads_nowhere_outside_the_repository() {
    let place = Place::new(&[
        ("secret.yaml", "Secret: {type: string, description: hidden}"),
        ("repository/old.yaml", "openapi: 3.1.0\npaths: {}\n"),
        ("repository/new.yaml", &OPENAPI.replace("../common/charge.yaml#/Charge", "../secret.yaml#/Secret")),
        ("repository/linked.yaml", &OPENAPI.replace("../common/charge.yaml#/Charge", "link.yaml#/Secret")),
        (
            "repository/string.yaml",
            &OPENAPI.replace("{$ref: '../common/charge.yaml#/Charge'}", "{type: string}"),
        ),
    ]);
    fs::create_dir(place.path().join("repository/.git")).unwrap();
    std::os::unix::fs::symlink("../secret.yaml", place.path().join("repository/link.yaml")).unwrap();
    for contract in ["new.yaml", "linked.yaml"] {
        let output = place.run_in("repository", &["diff", "string.yaml", contract]);
        assert_eq!(code(&output), 3, "{contract}: {}", out(&output));
        assert!(out(&output).contains("leads to nothing that was given"), "{contract}: {}", out(&output));
    }
}

#[test]
fn reports_for_reviews_and_editors() {
    let place = payments();
    let arguments = ["diff", "main:api/openapi.yaml", "api/openapi.yaml", "--format"];
    let with = |format: &str| out(&place.run(&[arguments.as_slice(), &[format]].concat()));
    assert!(with("markdown").starts_with("## Breaking\n"), "{}", with("markdown"));
    let sarif: Value = serde_json::from_str(&with("sarif")).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "request-maximum-lowered");
    let page = with("html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("id=\"request-maximum-lowered\""), "{page}");
    let both = place.run(&[arguments.as_slice(), &["sarif", "--json"]].concat());
    assert_eq!((code(&both), out(&both).as_str()), (2, ""));
}

#[test]
fn only_what_breaks_is_shown_when_only_that_is_wanted() {
    let place = payments();
    place.write("api/openapi.yaml", OPENAPI.replace("paths:\n", "paths:\n  /new: {get: {responses: {}}}\n"));
    let run = |options: &[&str]| {
        let output = place.run(&[&["diff", "main:api/openapi.yaml", "api/openapi.yaml"], options].concat());
        assert_eq!(code(&output), 1, "{}", err(&output));
        out(&output)
    };
    let changes = |text: &str| {
        let report: Value = serde_json::from_str(text).unwrap();
        report["changes"].as_array().unwrap().len()
    };
    assert!(
        run(&[]).contains("operation-added") && !run(&["--only", "breaking"]).contains("operation-added")
    );
    assert!(run(&["--only", "breaking"]).contains("2 changes, 1 breaking"));
    assert_eq!((changes(&run(&["--json"])), changes(&run(&["--json", "--only", "breaking"]))), (2, 1));
    assert!(!run(&["--format", "html", "--only", "breaking"]).contains("operation-added"));
}

#[test]
fn an_accepted_break_does_not_count() {
    let place = payments();
    let accept = "request-maximum-lowered=common/charge.yaml#/Charge/properties/amount";
    let output = place.run(&["diff", "main:api/openapi.yaml", "api/openapi.yaml", "--accept", accept]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("error (accepted): "), "{}", out(&output));
}

#[test]
fn the_policy_decides_what_counts() {
    let message = |name: &str| format!("syntax = \"proto3\";\nmessage A {{ int32 {name} = 1; }}\n");
    let place = Place::new(&[("old.proto", &message("n")), ("new.proto", &message("m"))]);
    let run = |policy: &str| code(&place.run(&["diff", "old.proto", "new.proto", "--policy", policy]));
    assert_eq!((run("wire"), run("json"), run("source"), run("none")), (0, 1, 1, 2));
    let schema = |values: &str| format!("{{\"enum\": [{values}]}}");
    let place = Place::new(&[("old.json", &schema("1")), ("new.json", &schema("1, 2"))]);
    let run = |role: &str| code(&place.run(&["diff", "old.json", "new.json", "--role", role]));
    assert_eq!((run("reader"), run("writer")), (0, 1));
}

#[test]
fn a_contract_cannot_write_to_the_terminal() {
    let document =
        |path: &str| format!("{{\"openapi\": \"3.1.0\", \"paths\": {{\"{path}\": {{\"get\": {{}}}}}}}}");
    let place = Place::new(&[("old.json", &document("/a\\u001b[2J")), ("new.json", &document("/b"))]);
    let output = place.diff("old.json", "new.json");
    assert_eq!(code(&output), 1);
    assert!(out(&output).contains("GET /a\\u{1b}[2J is gone"), "{}", out(&output));
}

#[test]
fn what_is_too_large_is_not_read() {
    let place = Place::new(&[("old.json", "{\"type\": \"object\"}")]);
    fs::File::create(place.path().join("new.json")).unwrap().set_len(200 << 20).unwrap();
    let output = place.diff("old.json", "new.json");
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("new.json: with this file the contract has more than"), "{}", err(&output));
}

#[test]
fn rules_are_listed_and_explained() {
    let place = Place::new(&[]);
    let list: Value = serde_json::from_str(&out(&place.run(&["rules", "--kind", "sql", "--json"]))).unwrap();
    assert!(
        list.as_array().unwrap().iter().all(|rule| rule["kind"] == "sql" && rule["explanation"].is_string())
    );
    let one = out(&place.run(&["rules", "--explain", "operation-removed"]));
    assert!(
        one.starts_with("operation-removed: an operation is gone\nopenapi, error, bump major, request\n"),
        "{one}"
    );
    let unknown = place.run(&["rules", "--explain", "operation-remove"]);
    assert_eq!(code(&unknown), 4);
    assert!(err(&unknown).contains("--explain operation-removed`?"), "{}", err(&unknown));
}

#[test]
fn a_check_of_the_manifest_looks_at_the_contracts_it_names_unless_a_build_makes_them() {
    let manifest = |more: &str| {
        format!(
            "name = \"orders\"\nrun.command = \"./run\"\n{more}\n[contract]\nopenapi = \"api/openapi.yaml\"\n\
             sql = \"migrations\"\n[requires.payments]\ncontract = \"clients/payments.yaml\"\n\
             operations = [\"POST /charge\"]\n"
        )
    };
    let place = Place::new(&[
        ("lockstep.toml", &manifest("")),
        ("api/openapi.yaml", "openapi: 3.1.0\npaths: {"),
        ("clients/payments.yaml", OPENAPI),
    ]);
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.arg("check").arg(place.path()).output().expect("the binary starts")
    };
    let output = check();
    assert_eq!(code(&output), 2);
    for part in [
        "has 3 problems",
        "openapi.yaml:3: `contract.openapi`: not valid YAML",
        "migrations: `contract.sql`: there is no such file or folder",
        "there is no operation `POST /charge` in this contract",
        "did you mean `POST /charges`?",
    ] {
        assert!(err(&output).contains(part), "{part} in {}", err(&output));
    }
    let made = manifest("build.steps = [\"make\"]\npackage.include = [\"run\"]")
        .replace("POST /charge", "POST /charges");
    place.write("lockstep.toml", &made);
    place.write("api/openapi.yaml", OPENAPI);
    let output = check();
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).contains("2 contracts"), "{}", out(&output));
}
