//! `[contract]` and what is needed of the contracts of others.

use std::collections::BTreeSet;

use lockstep_domain::contract::{ContractKind, ContractSettings, MAX_OPERATION_LENGTH};
use lockstep_domain::listeners::is_given_port;

use super::field::command;
use crate::model::{AcceptedBreak, ContractOrigin, ContractSource, RegistrySubject, Requirement};
use crate::reader::{Field, Table};

/// How the table is written.
pub(super) const EXAMPLE: &str = "[contract] with openapi = \"api/openapi.yaml\"";

/// How long messages are kept.
const REGISTRY: &str = "registry = \"https://registry.example.org\", subject = \"orders-value\"";
/// Longest address of a registry, and longest name of a subject: registries store names of up to 255 bytes.
const MAX_ADDRESS_LENGTH: usize = 500;
const MAX_SUBJECT_LENGTH: usize = 255;
const RETENTION: &str = "retention = \"7d\"";

/// Most operations of one requirement.
const MAX_OPERATIONS: usize = 1_000;
/// Longest reason of an accepted break.
const MAX_REASON_LENGTH: usize = 1_000;

/// The fields of contracts of what is answered to a call.
pub(super) const ANSWERS: [&str; 2] = ["openapi", "graphql"];

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
    let registry = is_kept_by_registries(kind).then(|| table.get("registry", REGISTRY)).flatten();
    let settings = settings(kind, &table);
    let named = [&path, &printed, &registry].into_iter().flatten();
    if let Some(second) = named.clone().nth(1) {
        let message = "a contract is a path, or what a command prints, or a subject of a registry";
        second.wrong_because(message, "keep one of them");
    }
    if named.count() == 0 {
        table.missing("path", "`path` or `command` is missing", "path = \"api/openapi.yaml\"");
    }
    let subject = registry.map(|registry| registry_subject(&table, &registry));
    table.finish();
    let origin = match (path, printed, subject) {
        (Some(path), ..) => ContractOrigin::Path(path.parse()?),
        (None, Some(printed), _) => ContractOrigin::Command(command(&printed)?),
        (None, None, subject) => ContractOrigin::Registry(subject??),
    };
    Some(ContractSource { kind, origin, settings })
}

/// True for what schema registries keep.
const fn is_kept_by_registries(kind: ContractKind) -> bool {
    matches!(kind, ContractKind::Avro | ContractKind::JsonSchema | ContractKind::Protobuf)
}

/// Reads which subject of a registry is meant, and who asks.
fn registry_subject(table: &Table<'_>, registry: &Field<'_>) -> Option<RegistrySubject> {
    let subject = table.get("subject", "subject = \"orders-value\"");
    if subject.is_none() {
        table.missing("subject", "`subject` of the registry is missing", "subject = \"orders-value\"");
    }
    let user = table.get("user", "user = \"REGISTRY_USER\"");
    let user = user.map_or(Some(None), |field| variable(&field).map(Some));
    Some(RegistrySubject {
        address: registry_address(registry)?,
        subject: subject.and_then(|field| registry_name(&field))?,
        user: user?,
    })
}

fn registry_address(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let host = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let is_plain = |host: &str| !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic());
    match host {
        Some(host) if host.contains('@') => {
            field.wrong_because(
                "an address in a manifest holds no password",
                "name the variable of the build that holds USER:PASSWORD: user = \"REGISTRY_USER\"",
            );
            None
        }
        Some(host) if is_plain(host) && text.len() <= MAX_ADDRESS_LENGTH && !host.contains(['?', '#']) => {
            Some(text.to_owned())
        }
        _ => {
            field.wrong(format_args!(
                "the address of a registry begins with http:// or https:// and has at most {MAX_ADDRESS_LENGTH} plain characters, without ? and #"
            ));
            None
        }
    }
}

fn registry_name(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    // A command takes what begins with a hyphen for an option.
    let is_good = (1..=MAX_SUBJECT_LENGTH).contains(&text.len())
        && !text.starts_with('-')
        && !text.contains(char::is_control);
    if !is_good {
        field.wrong(format_args!(
            "a subject has from 1 to {MAX_SUBJECT_LENGTH} printable characters and does not begin with a hyphen"
        ));
    }
    is_good.then(|| text.to_owned())
}

fn variable(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let is_good = !text.is_empty()
        && text.len() <= MAX_SUBJECT_LENGTH
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_good {
        field.wrong_because(
            "`user` is the name of a variable, not what it holds",
            "user = \"REGISTRY_USER\", and the same name under variables of [build]",
        );
    }
    is_good.then(|| text.to_owned())
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
    let port = table.get("port", "port = 8080").map(|field| port(&field));
    table.finish();
    Some(Requirement {
        port: port.map_or(Some(None), |port| port.map(Some))?,
        range: range.map_or(Some(None), |range| range.map(Some))?,
        contract: contract.map_or(Some(None), |path| path.map(Some))?,
        operations: operations?,
    })
}

/// Reads the port at which another service is called: none that Lockstep gives by itself.
fn port(field: &Field<'_>) -> Option<u16> {
    let port = field.integer(1..=u16::MAX)?;
    if is_given_port(port) {
        let hint =
            "name the port that the program calls, or leave it out: ${service.NAME.port} is given then";
        field.wrong_because(format_args!("{port} is one that Lockstep gives by itself"), hint);
        return None;
    }
    Some(port)
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
