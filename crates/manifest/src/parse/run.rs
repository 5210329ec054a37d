//! `[run]`: how an instance is started, asked for its health, ended, and started again.

use std::collections::BTreeMap;

use lockstep_domain::host_wish::HostWish;
use lockstep_domain::limits::Limits;
use lockstep_domain::reference::Scope;
use lockstep_domain::run::{
    HealthCheck, Kind, Port, Probe, Replace, ReplaceAfter, Restart, RunSpec, RunUser, Stop, StopSignal,
    Values,
};
use lockstep_domain::work::WorkSigns;
use lockstep_domain::work_path::WorkPath;

use super::field::{duration, environment};
use super::limits;
use super::reference::{filled_command, filled_variables, names_its_port, refuse_own_port};
use super::{approach, external, gateway, hosts, image, prepare, protocol, static_files, work};
use crate::reader::{Field, Table};
use crate::value;

/// More restarts without a healthy moment in between are a loop.
const MAX_RESTARTS: u32 = 1_000;
/// More failed checks in a row do not make a check surer.
const MAX_UNHEALTHY_AFTER: u32 = 1_000;

/// How many files are open while the root of an image is put together, twice.
const MIN_FILES_OF_IMAGE: u32 = 64;

const PORT_EXAMPLE: &str =
    "port = 8080; without it Lockstep picks a free one for each instance and gives it as PORT";
pub(super) const DATA_EXAMPLE: &str = "data = [\"var\"]; folders that the service keeps over its versions";
pub(super) const FILES_EXAMPLE: &str =
    "files = [\"conf/nginx.conf\"]; files of the artifact with references such as ${self.port}";
/// How old the last touch of a file may be where a manifest does not say.
const USUAL_FRESH_MS: u64 = 30_000;

pub(super) const RESTART_EXAMPLE: &str = "restart = { max = 5 }";
pub(super) const STOP_EXAMPLE: &str = "stop = { signal = \"TERM\", timeout = \"10s\" }";
pub(super) const KIND_EXAMPLE: &str = "kind = \"worker\"; it fetches its work itself and listens on no port";
pub(super) const HEALTH_EXAMPLE: &str = "health = { http = \"/health\" }";

const REPLACED_EXAMPLE: &str = "replace = \"old-first\"; the old instances have ended before new ones start";
const REPLACE_EXAMPLE: &str = "replace_after = \"1m\", or \"never\"";

/// Reads what kind of a service a table is of.
pub(super) fn kind_of(table: &Table<'_>) -> Kind {
    table.get("kind", KIND_EXAMPLE).and_then(|field| kind(&field)).unwrap_or_default()
}

/// What the processes of a service have in common.
#[derive(Default)]
pub(super) struct Shared {
    /// Variables that each may override.
    pub(super) variables: BTreeMap<String, String>,
    /// Folders that all of them keep.
    pub(super) data: Vec<WorkPath>,
    /// Files that are filled in for each of them.
    pub(super) files: Vec<WorkPath>,
    /// How each ends that does not say.
    pub(super) stop: Option<Stop>,
    /// How each is started again that does not say.
    pub(super) restart: Option<Restart>,
    /// What each may use at most that says nothing else.
    pub(super) limits: Limits,
    /// Whether all of them are programs of an image.
    pub(super) image: bool,
    /// Whom each runs as that does not say.
    pub(super) user: Option<RunUser>,
    /// On which hosts each runs that does not say.
    pub(super) hosts: Option<HostWish>,
}

impl Shared {
    /// What the only process of a service has.
    fn of_one(table: &Table<'_>) -> Self {
        let data = table.get("data", DATA_EXAMPLE).and_then(|field| paths(&field, &[], image::is_one(table)));
        Self { data: data.unwrap_or_default(), ..Self::default() }
    }
}

/// Reads how the only process of a service is run.
pub(super) fn run(table: Table<'_>, kind: Kind, scope: &Scope<'_>) -> Option<RunSpec> {
    let shared = Shared::of_one(&table);
    process(table, kind, scope, &shared)
}

/// Reads how one of several processes is run.
pub(super) fn process(table: Table<'_>, kind: Kind, scope: &Scope<'_>, shared: &Shared) -> Option<RunSpec> {
    external::refuse(&table);
    let static_files = static_files::of(&table);
    let image = image::of(&table, scope, shared.image);
    if let (Some(_), Some(_), Some(field)) = (&static_files, &image, table.get("image", "")) {
        field
            .wrong_because("the files of a `static` service are served by Lockstep", "remove one of the two");
    }
    let run = match (&static_files, &image) {
        (Some(_), _) => Some(Vec::new()),
        (None, Some(_)) if table.get("command", "").is_none() => Some(Vec::new()),
        _ => table
            .require("command", "command = \"./bin/server\"")
            .and_then(|field| filled_command(&field, scope)),
    };
    let variables = table.table("env", "env = { LOG = \"info\" }");
    variables.iter().for_each(|variables| filled_variables(variables, scope));
    let port = table.get("port", PORT_EXAMPLE).and_then(|field| field.integer(1..=u16::MAX));
    let data = shared.data.clone();
    let health = table
        .table("health", HEALTH_EXAMPLE)
        .and_then(|table| health(table, &HealthCheck::new(kind.usual_probe()), scope));
    let health = health.unwrap_or(HealthCheck::new(kind.usual_probe()));
    if let (Probe::File { .. }, Some(_), Some(field)) =
        (&health.probe, &image, table.get("health", HEALTH_EXAMPLE))
    {
        field.wrong_because(
            "a file of an image cannot be looked at from outside",
            "ask by `command`, `lives` or a port",
        );
    }
    let work = work::of(&table, scope, &work::Around { kind, data: &data, is_image: image.is_some() });
    let listens = kind.is_web() || health.probe.needs_a_port() || work.needs_a_port();
    signs_are_possible(&table, (&health, &work), listens, &data, scope);
    if !listens {
        no_port(&table);
    }
    if static_files.is_some() {
        prepare::refuse(
            &table,
            "the files of a `static` service are served by Lockstep, and never change",
            "remove it, or do it in a build step",
        );
    }
    let prepare = prepare::of(&table, scope, listens);
    let protocol = protocol::of(&table, &health.probe, listens);
    let gateway = gateway::of(&table, kind, protocol);
    let approach = approach::of(&table, false);
    approach::fits(&table, &approach, &health.probe);
    if !listens {
        approach::refuse(&table, "it listens on no port, so nobody connects to it");
    } else if static_files.is_some() {
        approach::refuse(&table, "the files of a `static` service are served by Lockstep");
    }
    let stop = table.table("stop", STOP_EXAMPLE).map(stop);
    let restart = table.table("restart", RESTART_EXAMPLE).map(restart);
    let others = [data.as_slice(), shared.files.as_slice()].concat();
    let own = table.get("files", FILES_EXAMPLE).and_then(|field| paths(&field, &others, image.is_some()));
    let files = shared.files.iter().cloned().chain(own.unwrap_or_default()).collect();
    let replace = table.get("replace", REPLACED_EXAMPLE).and_then(|field| replace(&field, kind));
    let limits = limits::of(&table).or(shared.limits);
    let user = limits::user(&table, image.is_some()).or_else(|| shared.user.clone());
    let hosts = hosts::of(&table);
    if let (Some(_), Some(..MIN_FILES_OF_IMAGE), Some(field)) =
        (&image, limits.open_files, table.get("limits", ""))
    {
        field.wrong_because("an image needs some open files before it starts", "open_files of at least 64");
    }
    let replace_after = table.get("replace_after", REPLACE_EXAMPLE).and_then(|field| replace_after(&field));
    if !listens {
        let why = "a worker whose health is not asked on a port has none, so `${self.port}` and `${self.host}` say nothing";
        let hint =
            "remove the reference, ask for the health by `http` or `tcp`, or let it be a `web` service";
        let command = table.get("command", "command = \"./bin/worker\"");
        refuse_own_port((command.as_ref(), run.as_deref()), variables.as_ref(), scope, why, hint);
    }
    table.finish();
    let mut all = shared.variables.clone();
    all.extend(variables.as_ref().map(environment).unwrap_or_default());
    let run = RunSpec {
        kind,
        command: run?,
        prepare,
        variables: all,
        port: port.map(Port::Fixed).unwrap_or_default(),
        health,
        stop: stop.or_else(|| shared.stop.clone()).unwrap_or_default(),
        restart: restart.or_else(|| shared.restart.clone()).unwrap_or_default(),
        data,
        files,
        values: Values::Verbatim,
        replace: replace.unwrap_or(kind.usual_replace()),
        replace_after: replace_after.unwrap_or_default(),
        static_files: static_files.flatten(),
        external: None,
        limits,
        image,
        user: user.unwrap_or_default(),
        hosts: hosts.or_else(|| shared.hosts.clone()).unwrap_or_default(),
        work,
        protocol,
        gateway,
        approach,
    };
    Some(run.with_values_noted())
}

/// Reads paths below the working folder, or in an image from its root on, that lie neither in each other nor in others.
pub(super) fn paths(field: &Field<'_>, others: &[WorkPath], image: bool) -> Option<Vec<WorkPath>> {
    let mut paths: Vec<WorkPath> = Vec::new();
    for element in field.list()? {
        let path = if image { image::path(&element) } else { element.parse::<WorkPath>() };
        let Some(path) = path else { continue };
        if let Some(other) = paths.iter().chain(others).find(|other| other.overlaps(&path)) {
            element.wrong(format_args!("`{path}` and `{other}` lie in each other"));
        } else {
            paths.push(path);
        }
    }
    Some(paths)
}

/// Reads a kind.
pub(super) fn kind(field: &Field<'_>) -> Option<Kind> {
    match field.text()? {
        "web" | "static" | external::KIND => Some(Kind::Web),
        "worker" => Some(Kind::Worker),
        "cron" | "job" => Some(Kind::Job),
        _ => {
            field.wrong("the kind of a service is `web`, `worker`, `cron`, `job`, `static` or `external`");
            None
        }
    }
}

/// Finds what nobody could ever be asked by: a port that it does not have, or a file that is of all instances.
fn signs_are_possible(
    table: &Table<'_>,
    (health, work): (&HealthCheck, &WorkSigns),
    listens: bool,
    data: &[WorkPath],
    scope: &Scope<'_>,
) {
    let names_port = |command: &[String]| command.iter().any(|it| names_its_port(it, scope));
    let asked_by = |name: &'static str| {
        let Some(field) = table.get(name, HEALTH_EXAMPLE) else { return };
        field.wrong_because(
            "a worker whose health is not asked on a port has none, so `${self.port}` says nothing",
            "ask by `http` or `tcp`, or remove the reference",
        );
    };
    match &health.probe {
        Probe::Command { command } if !listens && names_port(command) => asked_by("health"),
        Probe::File { path, .. } if data.iter().any(|folder| folder.overlaps(path)) => {
            let Some(field) = table.get("health", HEALTH_EXAMPLE) else { return };
            field.wrong_because(
                format_args!("`{path}` lies in a data folder, which all instances share"),
                "name a file beside it: the file of one instance says nothing of another",
            );
        }
        _ => {}
    }
    if work.queue.as_ref().is_some_and(|queue| !listens && names_port(&queue.command)) {
        asked_by("queue");
    }
}

fn no_port(table: &Table<'_>) {
    if let Some(field) = table.get("port", PORT_EXAMPLE) {
        let hint = "remove the port, ask for the health by `http` or `tcp`, or let it be a `web` service";
        field.wrong_because("a worker whose health is not asked on a port has none", hint);
    }
}

fn replace(field: &Field<'_>, kind: Kind) -> Option<Replace> {
    match field.text()? {
        "new-first" => Some(Replace::NewFirst),
        "old-first" => Some(Replace::OldFirst),
        "side-by-side" if kind == Kind::Worker => Some(Replace::SideBySide),
        "side-by-side" => {
            let hint = "remove it: a canary gives a `web` service a share of the requests";
            field.wrong_because("only workers share their work by instances", hint);
            None
        }
        _ => {
            field.wrong(
                "which instances come first is `new-first`, `old-first`, or of a worker `side-by-side`",
            );
            None
        }
    }
}

fn replace_after(field: &Field<'_>) -> Option<ReplaceAfter> {
    match field.text()? {
        "never" => Some(ReplaceAfter::Never),
        text => value::duration_ms(text).map_err(|error| field.wrong(error)).ok().map(ReplaceAfter::Ms),
    }
}

pub(super) fn health(table: Table<'_>, usual: &HealthCheck, scope: &Scope<'_>) -> Option<HealthCheck> {
    let check = HealthCheck {
        probe: probe(&table, &usual.probe, scope).unwrap_or_else(|| usual.probe.clone()),
        interval_ms: duration(&table, "interval", "interval = \"2s\"").unwrap_or(usual.interval_ms),
        timeout_ms: duration(&table, "timeout", "timeout = \"1s\"").unwrap_or(usual.timeout_ms),
        start_timeout_ms: duration(&table, "start_timeout", "start_timeout = \"30s\"")
            .unwrap_or(usual.start_timeout_ms),
        unhealthy_after: table
            .get("unhealthy_after", "unhealthy_after = 3")
            .and_then(|field| field.integer(1..=MAX_UNHEALTHY_AFTER))
            .unwrap_or(usual.unhealthy_after),
    };
    if let (Probe::Lives { for_ms }, Some(field)) = (&check.probe, table.get("lives", "lives = \"5s\""))
        && *for_ms >= check.start_timeout_ms
    {
        let hint = "raise start_timeout or lower lives";
        field.wrong_because("an instance is given up before it has lived so long", hint);
    }
    table.finish();
    Some(check)
}

/// Reads which one of the probes is asked.
fn probe(table: &Table<'_>, usual: &Probe, scope: &Scope<'_>) -> Option<Probe> {
    let is_web = usual.needs_a_port();
    let asked = [
        table.get("http", HEALTH_EXAMPLE),
        table.get("tcp", "health = { tcp = true }"),
        table.get("command", "health = { command = \"./check\" }"),
        table.get("lives", "health = { lives = \"5s\" }"),
        table.get("file", "health = { file = \"tmp/alive\", fresh = \"30s\" }"),
        table.get("grpc", "health = { grpc = true }"),
    ];
    let fresh = duration(table, "fresh", "fresh = \"30s\"");
    if let (Some(field), None) = (table.get("fresh", "fresh = \"30s\""), &asked[4]) {
        field.wrong_because("only a file is fresh or not", "add `file`, or remove `fresh`");
    }
    match asked.iter().flatten().count() {
        0 => {
            let example = if is_web { HEALTH_EXAMPLE } else { "health = { lives = \"5s\" }" };
            table.missing(
                "http",
                "one of http, tcp, grpc, command, lives and file says what is asked",
                example,
            );
            return None;
        }
        1 => {}
        _ => {
            let extra = asked.iter().flatten().next_back()?;
            extra.wrong_because(
                "only one of http, tcp, grpc, command, lives and file can be asked",
                "remove the others",
            );
            return None;
        }
    }
    let [http, tcp, ask, lives, file, grpc] = asked;
    for field in [&lives, &file].into_iter().flatten().filter(|_| is_web) {
        let hint = "ask by `http`, `tcp`, `grpc` or `command`, or let it be a `worker`";
        field.wrong_because("that a process lives does not say that it can answer requests", hint);
    }
    http.and_then(|field| http_probe(&field))
        .or_else(|| tcp.and_then(|field| tcp_probe(&field)))
        .or_else(|| grpc.and_then(|field| grpc_probe(&field)))
        .or_else(|| Some(Probe::Command { command: filled_command(&ask?, scope)? }))
        .or_else(|| Some(Probe::Lives { for_ms: whole_duration(&lives?)? }))
        .or_else(|| Some(Probe::File { path: file?.parse()?, fresh_ms: fresh.unwrap_or(USUAL_FRESH_MS) }))
}

fn http_probe(field: &Field<'_>) -> Option<Probe> {
    let path = value::url_path(field.text()?).map_err(|error| field.wrong(error)).ok()?;
    Some(Probe::Http { path: path.to_owned() })
}

fn tcp_probe(field: &Field<'_>) -> Option<Probe> {
    if !field.boolean()? {
        field.wrong("without a probe nobody knows when an instance can serve");
    }
    Some(Probe::Tcp)
}

/// `true` asks for the server as a whole, a text for one service of it.
fn grpc_probe(field: &Field<'_>) -> Option<Probe> {
    let service = match field.as_text() {
        Some(service) => service.to_owned(),
        None => {
            tcp_probe(field)?;
            String::new()
        }
    };
    let is_name = |part: &str| {
        part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && part.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    };
    if !service.is_empty() && !service.split('.').all(is_name) {
        field.wrong("the name of a gRPC service is like `shop.v1.Catalog`");
    }
    Some(Probe::Grpc { service })
}

fn whole_duration(field: &Field<'_>) -> Option<u64> {
    value::duration_ms(field.text()?).map_err(|error| field.wrong(error)).ok()
}

pub(super) fn stop(table: Table<'_>) -> Stop {
    let default = Stop::default();
    let signal = table.get("signal", "signal = \"TERM\"").and_then(|field| signal(&field));
    let timeout_ms = duration(&table, "timeout", "timeout = \"10s\"").unwrap_or(default.timeout_ms);
    table.finish();
    Stop { signal: signal.unwrap_or_default(), timeout_ms }
}

fn signal(field: &Field<'_>) -> Option<StopSignal> {
    let text = field.text()?;
    match text.strip_prefix("SIG").unwrap_or(text) {
        "TERM" => Some(StopSignal::Term),
        "INT" => Some(StopSignal::Int),
        "QUIT" => Some(StopSignal::Quit),
        "HUP" => Some(StopSignal::Hup),
        "KILL" => {
            let hint = "after `timeout` whatever is left is killed anyway; use TERM";
            field.wrong_because("KILL gives no chance to finish requests", hint);
            None
        }
        _ => {
            field.wrong("the signal is one of TERM, INT, QUIT and HUP");
            None
        }
    }
}

pub(super) fn restart(table: Table<'_>) -> Restart {
    let default = Restart::default();
    let restart = Restart {
        max_restarts: table
            .get("max", "max = 5")
            .and_then(|field| field.integer(0..=MAX_RESTARTS))
            .unwrap_or(default.max_restarts),
        backoff_ms: duration(&table, "backoff", "backoff = \"200ms\"").unwrap_or(default.backoff_ms),
        max_backoff_ms: duration(&table, "max_backoff", "max_backoff = \"30s\"")
            .unwrap_or(default.max_backoff_ms),
        reset_after_ms: duration(&table, "reset_after", "reset_after = \"1m\"")
            .unwrap_or(default.reset_after_ms),
    };
    if let Some(field) = table.get("backoff", "backoff = \"200ms\"")
        && restart.backoff_ms > restart.max_backoff_ms
    {
        field.wrong_because(
            "the first pause is longer than the longest",
            "raise max_backoff or lower backoff",
        );
    }
    table.finish();
    restart
}
