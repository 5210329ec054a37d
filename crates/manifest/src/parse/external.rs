//! `[run]` of a service that somebody else runs: `kind = "external"`.

use lockstep_domain::external::{self, Clients, External, VersionQuestion};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::reference::{self, Reader, Reference, Scope};
use lockstep_domain::run::{HealthCheck, Probe, ReplaceAfter, RunSpec};

use super::field::{duration, environment};
use super::reference::filled_variables;
use super::run::{HEALTH_EXAMPLE, KIND_EXAMPLE, STOP_EXAMPLE, health, stop};
use super::{approach, gateway, protocol};
use crate::reader::{Field, Table};
use crate::value;

/// What the kind is called.
pub(super) const KIND: &str = "external";

const ADDRESS: &str =
    "address = \"https://api.partner.test/v1\", or \"${env.PARTNER_URL}\" with a value for each environment";
const CA: &str =
    "ca = \"partner-ca.pem\"; the only authorities that it is believed by, a file of the artifact";
const CERTIFICATE: &str = "certificate = \"${env.PARTNER_IDENTITY}\"; a secret of each environment with the certificate and its key as PEM";
const CONNECT: &str = "connect_timeout = \"4s\"";
const TIMEOUT: &str = "timeout = \"20s\"; how long it may take to begin an answer";
const CLIENTS: &str = "clients = \"told\"; it learns who asked";
const VERSION: &str = "version = { path = \"/version\", field = \"version\" }";
/// What no other kind has; `timeout` is that of a job there.
const OWN: [(&str, &str); 6] = [
    ("address", ADDRESS),
    ("ca", CA),
    ("certificate", CERTIFICATE),
    ("connect_timeout", CONNECT),
    ("clients", CLIENTS),
    ("version", VERSION),
];
/// What is said of a program of ours.
const OF_PROGRAMS: [&str; 19] = [
    "command",
    "prepare",
    "image",
    "arguments",
    "port",
    "data",
    "files",
    "limits",
    "user",
    "hosts",
    "replace",
    "replace_after",
    "restart",
    "root",
    "fallback",
    "immutable",
    "schedule",
    "metrics",
    "queue",
];
/// Longest time for a connection: whoever asks is given up by then.
const MAX_CONNECT_MS: u64 = 60_000;
/// Longest time for an answer, as for a route.
const MAX_TIMEOUT_MS: u64 = lockstep_domain::gateway_rules::MAX_TIMEOUT_MS;
/// Longest name of a field, with its dots.
const MAX_FIELD: usize = 200;

/// Tells whether a table is of such a service.
pub(super) fn is_one(table: &Table<'_>) -> bool {
    table.get("kind", KIND_EXAMPLE).is_some_and(|kind| kind.as_text() == Some(KIND))
}

/// Reads how the relays to it are run.
pub(super) fn run(table: Table<'_>, scope: &Scope<'_>) -> Option<RunSpec> {
    for field in OF_PROGRAMS.iter().filter_map(|name| table.get(name, "")) {
        field.wrong_because("somebody else runs it, so there is no program of it here", "remove it");
    }
    let variables = table.table("env", "env = { PARTNER_URL = \"https://api.partner.test\" }");
    variables.iter().for_each(|variables| filled_variables(variables, scope));
    let address = table.require("address", ADDRESS).and_then(|field| address(&field, scope));
    let ca = table.get("ca", CA).and_then(|field| field.parse());
    let certificate = table.get("certificate", CERTIFICATE);
    if let (Some(field), Some(address)) = (&certificate, &address)
        && address.starts_with("http://")
    {
        field.wrong_because("nothing is shown without TLS", "address = \"https://...\"");
    }
    let external = External {
        ca,
        certificate: certificate.and_then(|field| self::certificate(&field, scope)),
        connect_ms: bounded(&table, ("connect_timeout", CONNECT), MAX_CONNECT_MS)
            .unwrap_or(External::at("").connect_ms),
        timeout_ms: bounded(&table, ("timeout", TIMEOUT), MAX_TIMEOUT_MS),
        clients: table.get("clients", CLIENTS).and_then(|field| clients(&field)).unwrap_or_default(),
        version: table.table("version", VERSION).and_then(version),
        address: address.unwrap_or_default(),
    };
    let usual = External::usual_health();
    let asked =
        table.table("health", HEALTH_EXAMPLE).and_then(|health_table| health(health_table, &usual, scope));
    if let (Some(HealthCheck { probe: Probe::Command { .. }, .. }), Some(field)) =
        (&asked, table.get("health", HEALTH_EXAMPLE))
    {
        field.wrong_because(
            "somebody else runs it, so there is no program of it here",
            "ask by `http` or `tcp`",
        );
    }
    let why = "a service that somebody else runs is asked in HTTP/1.1";
    approach::refuse(&table, why);
    protocol::refuse(&table, asked.as_ref().map(|health| &health.probe), why);
    let stop = table.table("stop", STOP_EXAMPLE).map(stop);
    let gateway = gateway::of(&table, lockstep_domain::run::Kind::Web, Protocol::Http1);
    table.finish();
    let run = RunSpec {
        kind: lockstep_domain::run::Kind::Web,
        variables: variables.as_ref().map(environment).unwrap_or_default(),
        health: asked.unwrap_or(usual),
        stop: stop.unwrap_or_default(),
        replace_after: ReplaceAfter::Never,
        external: Some(external),
        gateway,
        ..RunSpec::of_jobs()
    };
    Some(run.with_values_noted())
}

/// Refuses what only such a service has.
pub(super) fn refuse(table: &Table<'_>) {
    for field in OWN.iter().filter_map(|(name, example)| table.get(name, example)) {
        field.wrong_because("only a service that somebody else runs has it", "add kind = \"external\"");
    }
}

/// Refuses what such a service cannot have beside its table.
pub(super) fn refuse_beside(root: &Table<'_>) {
    let why = "somebody else runs it, so nothing of it can be run here";
    if let Some(field) = root.get("job", super::job::EXAMPLE) {
        field.wrong_because(why, "remove the jobs, or make them a service of their own");
    }
    let steps = root.table("build", "[build]").and_then(|build| build.get("steps", ""));
    if let Some(field) = steps {
        field.wrong_because(why, "remove them: its artifact is what is packaged, its contract for example");
    }
}

fn address(field: &Field<'_>, scope: &Scope<'_>) -> Option<String> {
    let text = field.text()?;
    if let Err(why) = external::check_address(text) {
        field.wrong_because(why, ADDRESS);
        return None;
    }
    let hint = || format!("there are {}", reference::known_names(scope).join(", "));
    let found = reference::check(text, Reader::File, scope)
        .map_err(|error| field.wrong_because(error, hint()))
        .ok()?;
    if found.iter().any(Reference::names_its_port) {
        field.wrong_because("requests would go back to where they come from", ADDRESS);
        return None;
    }
    Some(text.to_owned())
}

/// Reads what is shown, which is never written here.
fn certificate(field: &Field<'_>, scope: &Scope<'_>) -> Option<String> {
    let text = field.text()?;
    let hint = || format!("there are {}", reference::known_names(scope).join(", "));
    let found = reference::check(text, Reader::File, scope)
        .map_err(|error| field.wrong_because(error, hint()))
        .ok()?;
    let [Reference::Variable(_)] = found.as_slice() else {
        field.wrong_because("it is one variable, and no text: a manifest is no place for a key", CERTIFICATE);
        return None;
    };
    if !(text.starts_with("${") && text.ends_with('}')) {
        field.wrong_because("it is one variable, and no text: a manifest is no place for a key", CERTIFICATE);
        return None;
    }
    Some(text.to_owned())
}

fn bounded(table: &Table<'_>, (name, example): (&'static str, &'static str), most: u64) -> Option<u64> {
    let ms = duration(table, name, example)?;
    if !(1..=most).contains(&ms) {
        let field = table.get(name, example)?;
        field.wrong(format_args!("it is from 1 ms to {} s", most / 1_000));
        return None;
    }
    Some(ms)
}

fn clients(field: &Field<'_>) -> Option<Clients> {
    match field.text()? {
        "withheld" => Some(Clients::Withheld),
        "told" => Some(Clients::Told),
        _ => {
            field.wrong_because("who asked is `withheld` from it, or it is `told`", CLIENTS);
            None
        }
    }
}

fn version(table: Table<'_>) -> Option<VersionQuestion> {
    let path = table.require("path", "path = \"/version\"");
    let path = path.and_then(|field| value::url_path(field.text()?).map_err(|error| field.wrong(error)).ok());
    let field = table.get("field", "field = \"version\"").and_then(|field| json_field(&field));
    table.finish();
    Some(VersionQuestion { path: path?.to_owned(), field })
}

fn json_field(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    let is_name = |name: &str| !name.is_empty() && !name.chars().any(char::is_control);
    if text.len() > MAX_FIELD || !text.split('.').all(is_name) {
        field.wrong_because("it is no name of a field, with dots between names", "field = \"build.version\"");
        return None;
    }
    Some(text.to_owned())
}
