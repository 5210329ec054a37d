//! Contracts of a commit: read with what they refer to, printed by what was built, or refused.

use lockstep_domain::contract::{ContractKind, SqlDialect};
use lockstep_pipeline::{BuildEvent, BuildFault, Contracts, LargestContract, Phase, make, prepare};

use crate::bench::Bench;

const OPENAPI: &str = "openapi: 3.1.0\ninfo: {title: orders, version: '1'}\npaths:\n  /orders:\n    get: {responses: {'200': {description: all}}}\n";

#[test]
fn a_contract_larger_than_the_server_takes_is_refused_with_what_to_do() {
    let mut bench = Bench::new("[contract]\nopenapi = \"api.yaml\"\n[package]\ninclude = [\"**\"]\n");
    let document = "openapi: 3.1.0\ninfo: {title: t, version: \"1\"}\npaths: {}\n";
    bench.repository.write("api.yaml", &format!("{document}{}", "#\n".repeat(1 << 19)));
    bench.repository.commit("feat: a contract");
    bench.request.largest_contract = LargestContract::mib(1);
    let refused = bench.run().unwrap_err().to_string();
    assert!(refused.contains("more than 1 MiB") && refused.contains("--largest-contract"), "{refused}");
    bench.request.largest_contract = LargestContract::mib(2);
    assert_eq!(bench.run().unwrap().1.contracts.offered.len(), 1);
}

#[test]
fn contracts_are_read_with_the_files_they_refer_to() {
    let bench = Bench::new(
        "[contract]\nopenapi = \"api/openapi.yaml\"\nsql = { path = \"migrations\", dialect = \"sqlite\" }\n\
         json_schema = \"events\"\n[requires]\npayments = { contract = \"clients/payments.yaml\", \
         operations = [\"GET /orders\"] }\n",
    );
    let with_reference = OPENAPI.replace("{description: all}", "{$ref: 'answers.yaml#/ok'}");
    bench.repository.write("api/openapi.yaml", &with_reference);
    bench.repository.write("api/answers.yaml", "ok: {description: fine}\n");
    bench.repository.write("migrations/V1__orders.sql", "CREATE TABLE orders (id INTEGER);\n");
    bench.repository.write("events/paid.json", "{\"type\": \"object\"}\n");
    bench.repository.write("events/sent.json", "{\"type\": \"string\"}\n");
    bench.repository.write("clients/payments.yaml", OPENAPI);
    bench.repository.commit("feat: contracts");
    let contracts = bench.run().unwrap().1.contracts;
    let names: Vec<_> = contracts.offered.iter().map(|taken| taken.name.as_str()).collect();
    assert_eq!(names, ["api/openapi.yaml", "migrations", "events/paid.json", "events/sent.json"]);
    let files: Vec<_> = contracts.offered[0].snapshot.source.files().map(|(path, _)| path).collect();
    assert_eq!(files, ["api/answers.yaml", "api/openapi.yaml"]);
    assert_eq!(contracts.offered[1].snapshot.settings.dialect, Some(SqlDialect::Sqlite));
    assert_eq!(contracts.used[&"payments".parse().unwrap()].snapshot.kind, ContractKind::OpenApi);
}

#[test]
fn a_contract_can_be_what_a_built_program_prints() {
    let bench = Bench::step(
        "printf '#!/bin/sh\\necho noise >&2\\ncat api.yaml\\n' > print; chmod +x print",
        "[contract]\nopenapi = { command = \"./print\" }\n[package]\ninclude = [\"start\"]\n",
    );
    bench.repository.write("api.yaml", OPENAPI);
    bench.repository.commit("feat: api");
    let taken = bench.run().unwrap().1.contracts.offered.remove(0);
    assert_eq!(taken.name, "./print");
    let (_, printed) = taken.snapshot.source.entry().unwrap();
    assert_eq!(printed, OPENAPI.as_bytes());
    assert!(bench.log().contains("noise"));
}

#[test]
fn everything_that_is_wrong_with_contracts_is_said_at_once_and_nothing_is_built() {
    let bench = Bench::step(
        "echo built",
        "[contract]\nopenapi = \"api.yaml\"\ngraphql = \"outside.graphql\"\n\
         [requires]\npayments = { contract = \"payments.yaml\", operations = [\"GET /order\"] }\n",
    );
    bench.repository.write("api.yaml", "openapi: 3.1.0\npaths: {");
    bench.repository.write("payments.yaml", OPENAPI);
    std::os::unix::fs::symlink("/etc/passwd", bench.repository.folder.join("outside.graphql")).unwrap();
    bench.repository.commit("feat: broken");
    let failure = bench.failure();
    assert_eq!(failure.phase, Phase::Contract);
    let BuildFault::Contracts(problems) = &failure.fault else { panic!("{failure}") };
    let words: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 3, "{words:#?}");
    assert!(words[0].starts_with("contract.openapi: api.yaml:"), "{words:#?}");
    assert_eq!(words[1], "contract.graphql: outside.graphql: it leads out of the service's folder");
    assert!(words[2].contains("did you mean `GET /orders`?"), "{words:#?}");
    assert!(!bench.log().contains("\nbuilt\n"));
}

#[test]
fn contracts_that_are_not_wanted_end_the_build_before_it_begins() {
    let bench = Bench::step("echo built", "[contract]\nopenapi = \"api.yaml\"\n");
    bench.repository.write("api.yaml", OPENAPI);
    bench.repository.commit("feat: api");
    let silent = |_: &BuildEvent| {};
    let prepared = prepare(&bench.request, &silent, &bench.cancel).unwrap();
    let refuse = |contracts: &Contracts| Err(format!("{} is not wanted", contracts.offered[0].name));
    let failure = make(&bench.request, &prepared, &refuse, &silent, &bench.cancel).unwrap_err();
    assert_eq!(failure.to_string(), "contract failed: api.yaml is not wanted");
    assert!(!bench.log().contains("\nbuilt\n"));
    bench.nothing_is_left();
}
