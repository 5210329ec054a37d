//! `[contract]` and what is needed of the contracts of others.

use std::collections::BTreeSet;

use lockstep_domain::contract::{ContractKind, ContractSettings, MAX_OPERATION_LENGTH};

use super::field::command;
use crate::model::{AcceptedBreak, ContractOrigin, ContractSource, Requirement};
use crate::reader::{Field, Table};

/// How the table is written.
pub(super) const EXAMPLE: &str = "[contract] with openapi = \"api/openapi.yaml\"";

/// How long messages are kept.
const RETENTION: &str = "retention = \"7d\"";

/// Most operations of one requirement.
const MAX_OPERATIONS: usize = 1_000;
/// Longest reason of an accepted break.
const MAX_REASON_LENGTH: usize = 1_000;

/// The field of each kind, with how it is written.
const KINDS: [(ContractKind, &str, &str); 7] = [
    (ContractKind::OpenApi, "openapi", "openapi = \"api/openapi.yaml\""),
    (ContractKind::Protobuf, "protobuf", "protobuf = { path = \"proto\", policy = \"json\" }"),
    (ContractKind::GraphQl, "graphql", "graphql = \"schema.graphql\""),
    (ContractKind::Sql, "sql", "sql = { path = \"migrations\", dialect = \"postgresql\" }"),
    (
        ContractKind::JsonSchema,
        "json_schema",
        "json_schema = { path = \"events/paid.json\", role = \"writer\" }",
    ),
    (ContractKind::Avro, "avro", "avro = { path = \"events/order.avsc\", role = \"writer\" }"),
    (ContractKind::AsyncApi, "asyncapi", "asyncapi = \"api/asyncapi.yaml\""),
];

/// Reads the contracts that a service offers, and the breaks of them that are accepted.
pub(super) fn contract(table: Table<'_>) -> (Vec<ContractSource>, Vec<AcceptedBreak>) {
    let mut contracts: Vec<ContractSource> = Vec::new();
    for (kind, name, example) in KINDS {
        if let Some(field) = table.get(name, example) {
            let elements = field.as_list();
            let sources = elements.as_deref().unwrap_or(std::slice::from_ref(&field));
            sources.iter().for_each(|source| read_source(kind, source, &mut contracts));
        }
    }
    if let Some(field) = table.get("retention", RETENTION)
        && let Some(retention) = retention_ms(&table)
    {
        let of_events = contracts.iter_mut().filter(|contract| contract.kind.is_of_events());
        let kept = of_events.map(|contract| {
            contract.settings.retention_ms.get_or_insert(retention);
        });
        if kept.count() == 0 {
            field.wrong_because(
                "no contract of messages is named",
                "name one under json_schema, avro or asyncapi, or remove it",
            );
        }
    }
    let accepts = table.get("accept", "[[contract.accept]]");
    if contracts.is_empty() && accepts.is_none() {
        table.missing("openapi", "the table names no contract", KINDS[0].2);
    }
    let accepts = accepts.map_or_else(Vec::new, |field| super::tables(&field, accept));
    table.finish();
    (contracts, accepts)
}

fn read_source(kind: ContractKind, field: &Field<'_>, contracts: &mut Vec<ContractSource>) {
    let Some(contract) = source(kind, field) else { return };
    if contracts.iter().any(|other| other.kind == kind && other.origin == contract.origin) {
        field.wrong_because("the same contract is named above", "remove one of them");
    }
    contracts.push(contract);
}

fn source(kind: ContractKind, field: &Field<'_>) -> Option<ContractSource> {
    let Some(table) = field.as_table() else {
        let path = field.parse()?;
        return Some(ContractSource {
            kind,
            origin: ContractOrigin::Path(path),
            settings: ContractSettings::default(),
        });
    };
    let path = table.get("path", "path = \"api/openapi.yaml\"");
    let printed = table.get("command", "command = \"./orders --print-openapi\"");
    let settings = settings(kind, &table);
    if let (Some(_), Some(printed)) = (&path, &printed) {
        printed.wrong_because("a contract is either a path or what a command prints", "remove one of them");
    }
    if path.is_none() && printed.is_none() {
        table.missing("path", "`path` or `command` is missing", "path = \"api/openapi.yaml\"");
    }
    table.finish();
    let origin = match (path, printed) {
        (Some(path), _) => ContractOrigin::Path(path.parse()?),
        (None, printed) => ContractOrigin::Command(command(&printed?)?),
    };
    Some(ContractSource { kind, origin, settings })
}

/// Reads the settings that mean something for this kind; others are unknown fields.
fn settings(kind: ContractKind, table: &Table<'_>) -> ContractSettings {
    let mut settings = ContractSettings::default();
    if kind.is_of_events() {
        settings.retention_ms = retention_ms(table);
    }
    match kind {
        ContractKind::Protobuf => {
            settings.policy = table.get("policy", "policy = \"json\"").and_then(|field| field.parse());
        }
        ContractKind::Sql => {
            settings.dialect =
                table.get("dialect", "dialect = \"postgresql\"").and_then(|field| field.parse());
            settings.version = table.get("version", "version = \"14\"").and_then(|field| field.parse());
        }
        ContractKind::OpenApi | ContractKind::AsyncApi => settings.unknown_fields = unknown_fields(table),
        ContractKind::JsonSchema => {
            settings.unknown_fields = unknown_fields(table);
            settings.role = table.get("role", "role = \"writer\"").and_then(|field| field.parse());
        }
        ContractKind::Avro => {
            settings.role = table.get("role", "role = \"writer\"").and_then(|field| field.parse());
        }
        ContractKind::GraphQl => {}
    }
    settings
}

/// Reads how long messages are kept where readers find them.
fn retention_ms(table: &Table<'_>) -> Option<u64> {
    super::field::retention(table, "retention", RETENTION)
}

fn unknown_fields(table: &Table<'_>) -> Option<lockstep_domain::contract::UnknownFields> {
    table.get("unknown_fields", "unknown_fields = \"forbidden\"").and_then(|field| field.parse())
}

fn accept(table: Table<'_>) -> Option<AcceptedBreak> {
    let line = |name, example| {
        let field = table.require(name, example)?;
        let text = field.text()?;
        let good =
            !text.trim().is_empty() && text.len() <= MAX_REASON_LENGTH && !text.contains(char::is_control);
        if !good {
            field.wrong(format_args!("from 1 to {MAX_REASON_LENGTH} printable characters are needed"));
        }
        good.then(|| text.to_owned())
    };
    let rule = line("rule", "rule = \"request-property-removed\"");
    let place = line("place", "place = \"/paths/~1charges/post/requestBody\"");
    let reason = line("reason", "reason = \"nobody sends it\"");
    let until = table.get("until", "until = 2027-01-31").map(|field| field.day());
    table.finish();
    Some(AcceptedBreak {
        rule: rule?,
        place: place?,
        reason: reason?,
        until: until.map_or(Some(None), |day| day.map(Some))?,
    })
}

/// Reads what is needed of another service.
pub(super) fn requirement(table: Table<'_>) -> Option<Requirement> {
    let range = table.get("version", "version = \"^2.1\"").map(|field| field.parse());
    let contract = table.get("contract", "contract = \"clients/payments.yaml\"").map(|field| field.parse());
    let operations = table.get("operations", "operations = [\"POST /charges\"]");
    if range.is_none() && contract.is_none() && operations.is_none() {
        table.missing("version", "`version`, `contract` or `operations` is missing", "version = \"^2.1\"");
        return None;
    }
    let operations = operations.map_or(Some(Vec::new()), |field| operation_names(&field));
    table.finish();
    Some(Requirement {
        range: range.map_or(Some(None), |range| range.map(Some))?,
        contract: contract.map_or(Some(None), |path| path.map(Some))?,
        operations: operations?,
    })
}

fn operation_names(field: &Field<'_>) -> Option<Vec<String>> {
    let elements = field.list()?;
    if elements.is_empty() || elements.len() > MAX_OPERATIONS {
        field.wrong(format_args!(
            "from 1 to {MAX_OPERATIONS} operations are named; all count when there is no list"
        ));
        return None;
    }
    let mut taken = BTreeSet::new();
    let mut name = |element: &Field<'_>| {
        let text = element.text()?.trim();
        if text.is_empty() || text.len() > MAX_OPERATION_LENGTH || text.contains(char::is_control) {
            element.wrong(format_args!(
                "an operation has from 1 to {MAX_OPERATION_LENGTH} printable characters"
            ));
            return None;
        }
        if !taken.insert(text.to_owned()) {
            element.wrong_because(format_args!("`{text}` is already in this list"), "remove it");
        }
        Some(text.to_owned())
    };
    elements.iter().map(&mut name).collect()
}
