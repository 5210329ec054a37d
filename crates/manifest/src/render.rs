//! Writes a manifest as `lockstep.toml`: what differs from the defaults, in the order a person reads it, with notes.
//!
//! Invariant: `parse(render(m)) == m` for every manifest.

mod check;
mod gateway;
mod route;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use lockstep_domain::approach::{Believes, InstanceTls};
use lockstep_domain::contract::{ContractKind, ContractSettings};
use lockstep_domain::database::{Applied, Database, USUAL_LOCK_MS, USUAL_TIMEOUT_MS, USUAL_VARIABLE};
use lockstep_domain::external::{Clients, External};
use lockstep_domain::host_wish::{HostWish, Label};
use lockstep_domain::job::{Job, USUAL_JOB_TIMEOUT_MS};
use lockstep_domain::limits::{Limits, processors};
use lockstep_domain::name::ResourceName;
use lockstep_domain::preparation::{Preparation, USUAL_PREPARE_TIMEOUT_MS};
use lockstep_domain::process::Processes;
use lockstep_domain::resource::ResourceNeed;
use lockstep_domain::run::{
    HealthCheck, Kind, Port, Probe, Replace, ReplaceAfter, Restart, RunSpec, RunUser, Stop, StopSignal,
};
use lockstep_domain::schedule::{Schedule, USUAL_ZONE};
use lockstep_domain::static_files::StaticFiles;
use lockstep_domain::work::signs::{USUAL_QUEUE_INTERVAL_MS, USUAL_QUEUE_TIMEOUT_MS};
use lockstep_domain::work::{MetricsPlace, Series, WorkSigns};
use lockstep_domain::work_path::WorkPath;
use toml::Value;

use crate::model::{
    AcceptedBreak, Build, ContractOrigin, ContractSource, DEFAULT_TEST_TIMEOUT_MS, Elsewhere, Manifest,
    Package, Requirement, Step, TestSuite,
};
use crate::path::Pattern;
use crate::value::{ValueError, split_command, split_filled_command, write_duration, write_size};

/// Comments above tables and fields, by their path: `build`, `run.port`.
pub type Notes = BTreeMap<&'static str, String>;

/// Writes a manifest.
#[must_use]
pub fn render(manifest: &Manifest) -> String {
    render_with_notes(manifest, &Notes::new())
}

/// Writes a manifest with comments. A note on a field that is not written is left out.
#[must_use]
pub fn render_with_notes(manifest: &Manifest, notes: &Notes) -> String {
    let mut writer = Writer { out: String::new(), notes, table: "" };
    writer.field("name", quoted(manifest.name.as_str()));
    if let Some(owner) = &manifest.owner {
        writer.field("owner", quoted(owner));
    }
    if !manifest.criticality.is_usual() {
        writer.field("criticality", manifest.criticality);
    }
    writer.build(&manifest.build);
    manifest.tests.iter().for_each(|suite| writer.suite(suite));
    writer.package(&manifest.package, &manifest.build);
    writer.runs(&manifest.run, &manifest.processes);
    writer.requires(manifest);
    manifest.resources.iter().for_each(|(name, need)| writer.resource(name, need));
    manifest.databases.iter().for_each(|database| writer.database(database));
    writer.contracts(&manifest.contracts);
    manifest.accepts.iter().for_each(|accepted| writer.accept(accepted));
    manifest.routes.iter().for_each(|route| writer.route(route));
    manifest.checks.iter().for_each(|check| writer.check(check));
    manifest.jobs.iter().for_each(|job| writer.job(job));
    writer.out
}

struct Writer<'n> {
    out: String,
    notes: &'n Notes,
    table: &'static str,
}

/// What is not written of a process, because it holds where nothing is said.
#[derive(Clone)]
struct Usual {
    kind: Kind,
    stop: Stop,
    restart: Restart,
    files: Vec<WorkPath>,
    /// Whether it is said already that versions are images.
    image: bool,
    user: RunUser,
    hosts: HostWish,
}

impl Usual {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            stop: Stop::default(),
            restart: Restart::default(),
            files: Vec::new(),
            image: false,
            user: RunUser::Own,
            hosts: HostWish::default(),
        }
    }

    /// What all processes have that do not say otherwise.
    fn shared(run: &RunSpec) -> Self {
        let (stop, restart, files) = (run.stop.clone(), run.restart.clone(), run.files.clone());
        let (user, hosts) = (run.user.clone(), run.hosts.clone());
        Self { kind: Kind::Worker, stop, restart, files, image: false, user, hosts }
    }
}

impl Writer<'_> {
    fn note(&mut self, path: &str) {
        for line in self.notes.get(path).into_iter().flat_map(|note| note.lines()) {
            self.line(format_args!("# {line}"));
        }
    }

    fn line(&mut self, line: impl Display) {
        writeln!(self.out, "{line}").expect("writing to a String cannot fail");
    }

    fn table(&mut self, name: &'static str, header: &str) {
        self.out.push('\n');
        self.note(name);
        self.line(header);
        self.table = name;
    }

    fn field(&mut self, name: &str, value: impl Display) {
        let path = if self.table.is_empty() { name.to_owned() } else { format!("{}.{name}", self.table) };
        self.note(&path);
        self.line(format_args!("{name} = {value}"));
    }

    fn build(&mut self, build: &Build) {
        let default = Build::default();
        if *build == default {
            return;
        }
        self.table("build", "[build]");
        if !build.tools.is_empty() {
            self.field("tools", inline(build.tools.iter().map(|(k, v)| (k, quoted(&v.to_string())))));
        }
        if !build.variables.is_empty() {
            self.field("variables", strings(&build.variables));
        }
        if !build.optional_variables.is_empty() {
            self.field("optional_variables", strings(&build.optional_variables));
        }
        if !build.env.is_empty() {
            self.field("env", environment(&build.env));
        }
        if !build.sources.is_empty() {
            self.field("sources", list(build.sources.iter().map(|path| quoted(path.as_str()))));
        }
        if !build.cache.is_empty() {
            self.field("cache", list(build.cache.iter().map(|folder| quoted(&folder.to_string()))));
        }
        self.elsewhere("lfs", build.lfs, "pointers");
        self.elsewhere("submodules", build.submodules, "empty");
        if !build.steps.is_empty() {
            self.field("steps", list(build.steps.iter().map(step)));
        }
        if build.timeout_ms != default.timeout_ms {
            self.field("timeout", duration(build.timeout_ms));
        }
        if build.log_limit_bytes != default.log_limit_bytes {
            self.field("log_limit", quoted(&write_size(build.log_limit_bytes)));
        }
        if build.disk_limit_bytes != default.disk_limit_bytes {
            self.field("disk_limit", quoted(&write_size(build.disk_limit_bytes)));
        }
    }

    fn elsewhere(&mut self, name: &str, what: Elsewhere, left: &str) {
        match what {
            Elsewhere::Refused => {}
            Elsewhere::Fetched => self.field(name, quoted("fetch")),
            Elsewhere::Left => self.field(name, quoted(left)),
        }
    }

    fn suite(&mut self, suite: &TestSuite) {
        self.table("test", "[[test]]");
        self.field("kind", quoted(suite.kind.as_str()));
        self.field("run", command(&suite.command));
        if let Some(folder) = &suite.folder {
            self.field("folder", quoted(folder.as_str()));
        }
        if let Some(report) = &suite.report {
            self.field("report", quoted(report.as_str()));
        }
        if suite.timeout_ms != DEFAULT_TEST_TIMEOUT_MS {
            self.field("timeout", duration(suite.timeout_ms));
        }
    }

    fn schedule(&mut self, schedule: &Schedule) {
        self.field("schedule", quoted(&schedule.expression));
        if schedule.zone != USUAL_ZONE {
            self.field("timezone", quoted(&schedule.zone));
        }
        if !schedule.missed.is_usual() {
            self.field("missed", quoted(schedule.missed.as_str()));
        }
        if !schedule.overlap.is_usual() {
            self.field("overlap", quoted(schedule.overlap.as_str()));
        }
    }

    fn job(&mut self, job: &Job) {
        self.table("job", "[[job]]");
        self.field("name", quoted(job.name.as_str()));
        match &job.schedule {
            None => self.field("when", quoted(job.when.as_str())),
            Some(schedule) => self.schedule(schedule),
        }
        self.field("command", filled_command(&job.command));
        if !job.variables.is_empty() {
            self.field("env", environment(&job.variables));
        }
        if job.timeout_ms != USUAL_JOB_TIMEOUT_MS {
            self.field("timeout", duration(job.timeout_ms));
        }
        self.limits(&job.limits);
    }

    fn database(&mut self, database: &Database) {
        self.table("database", &format!("[database.{}]", database.name));
        self.field("migrations", quoted(database.migrations.as_str()));
        match &database.applied {
            Applied::ByLockstep => {}
            Applied::ByProgram { apply, level, revert } => {
                self.field("apply", command(apply));
                self.field("level", command(level));
                if !revert.is_empty() {
                    self.field("revert", command(revert));
                }
            }
            Applied::Elsewhere => self.field("external", true),
        }
        if database.variable != USUAL_VARIABLE {
            self.field("variable", quoted(&database.variable));
        }
        if let Some(dialect) = database.dialect {
            self.field("dialect", quoted(dialect.as_str()));
        }
        if database.timeout_ms != USUAL_TIMEOUT_MS {
            self.field("timeout", duration(database.timeout_ms));
        }
        if database.lock_ms != USUAL_LOCK_MS {
            self.field("lock_timeout", duration(database.lock_ms));
        }
    }

    fn limits(&mut self, limits: &Limits) {
        if limits.is_none() {
            return;
        }
        let memory = limits.memory_bytes.map(|bytes| ("memory", quoted(&write_size(bytes))));
        let cpu = limits.cpu_thousandths.map(|cpu| ("cpu", processors(cpu)));
        let processes = limits.processes.map(|most| ("processes", most.to_string()));
        let open_files = limits.open_files.map(|most| ("open_files", most.to_string()));
        self.field("limits", inline([memory, cpu, processes, open_files].into_iter().flatten()));
    }

    fn package(&mut self, package: &Package, build: &Build) {
        if *package == Package::default() && build.steps.is_empty() {
            return;
        }
        self.table("package", "[package]");
        if let Some(root) = &package.root {
            self.field("root", quoted(root.as_str()));
        }
        self.field("include", patterns(&package.include));
        if !package.exclude.is_empty() {
            self.field("exclude", patterns(&package.exclude));
        }
    }

    /// Writes all processes: what they share stands in one table, and the rest with each.
    fn runs(&mut self, run: &RunSpec, processes: &Processes) {
        if processes.is_empty() {
            self.table("run", "[run]");
            self.run(run, &Usual::of(Kind::Web));
            self.paths("data", &run.data);
            self.paths("files", &run.files);
            return;
        }
        self.shared(run);
        let usual = if run.kind.has_instances() { Usual::of(Kind::Web) } else { Usual::shared(run) };
        let main = processes.main.iter().map(|name| (name, run));
        let mut is_first = true;
        for (name, run) in main.chain(&processes.others) {
            // What is noted of `run` is noted of the first.
            let table = if is_first { "run" } else { "process" };
            is_first = false;
            self.table(table, &format!("[process.{name}]"));
            let kind = if name.as_str() == "web" { Kind::Web } else { Kind::Worker };
            self.run(run, &Usual { kind, image: run.image.is_some(), ..usual.clone() });
            let own = run.files.iter().filter(|file| !usual.files.contains(file)).cloned();
            self.paths("files", &own.collect::<Vec<_>>());
        }
    }

    /// Writes what a service without a process for requests has for its jobs, and the folders of all.
    fn shared(&mut self, run: &RunSpec) {
        let of_jobs = !run.kind.has_instances() && (!run.variables.is_empty() || !run.files.is_empty());
        let default = (Stop::default(), Restart::default());
        let ends = !run.kind.has_instances() && (run.stop.clone(), run.restart.clone()) != default;
        let is_limited = !run.kind.has_instances()
            && (!run.limits.is_none() || !run.user.is_own() || !run.hosts.is_none());
        if run.data.is_empty() && !of_jobs && !ends && !is_limited && run.image.is_none() {
            return;
        }
        // What is noted of the table as a whole is of what it starts, which stands with the first process.
        self.table("", "[run]");
        self.table = "run";
        if run.kind.has_instances() && run.image.is_some() {
            self.field("image", true);
        }
        self.paths("data", &run.data);
        if !run.kind.has_instances() {
            self.run(run, &Usual::of(Kind::Job));
            self.paths("files", &run.files);
        }
    }

    fn paths(&mut self, name: &str, paths: &[WorkPath]) {
        if !paths.is_empty() {
            self.field(name, list(paths.iter().map(|path| quoted(path.as_str()))));
        }
    }

    fn run(&mut self, run: &RunSpec, usual: &Usual) {
        if let Some(external) = &run.external {
            self.external(external);
        } else if let Some(files) = &run.static_files {
            self.static_files(files);
        } else if run.kind.has_instances() && !(run.image.is_some() && run.command.is_empty()) {
            self.field("command", filled_command(&run.command));
        }
        run.prepare.iter().for_each(|it| self.field("prepare", prepare(it)));
        if let Some(image) = &run.image {
            if !usual.image {
                self.field("image", true);
            }
            image.arguments.iter().for_each(|words| self.field("arguments", filled_command(words)));
        }
        if run.kind != usual.kind && run.static_files.is_none() {
            self.field("kind", quoted(run.kind.as_str()));
        }
        if let Port::Fixed(port) = run.port {
            self.field("port", port);
        }
        if !run.variables.is_empty() {
            self.field("env", environment(&run.variables));
        }
        if run.health != run.usual_health() {
            self.field("health", health(&run.health, &run.usual_health()));
        }
        if run.protocol != run.health.probe.usual_protocol() {
            self.field("protocol", quoted(run.protocol.as_str()));
        }
        run.gateway.iter().for_each(|policy| self.gateway(policy));
        if let Some(version) = run.approach.proxy_protocol {
            self.field("proxy_protocol", quoted(version.as_str()));
        }
        if let Some(tls) = &run.approach.tls {
            self.field("tls", of_tls(tls));
        }
        if run.stop != usual.stop {
            self.field("stop", stop(&run.stop));
        }
        if run.restart != usual.restart {
            self.field("restart", restart(&run.restart));
        }
        if run.replace != run.kind.usual_replace() {
            self.field("replace", quoted(replace(run.replace)));
        }
        match run.replace_after {
            ReplaceAfter::Never if run.external.is_some() => {}
            usual if usual.is_usual() => {}
            ReplaceAfter::Never => self.field("replace_after", quoted("never")),
            ReplaceAfter::Ms(ms) => self.field("replace_after", duration(ms)),
        }
        self.work(&run.work);
        self.limits(&run.limits);
        if run.user != usual.user
            && let RunUser::Named(name) = &run.user
        {
            self.field("user", quoted(name));
        }
        if run.hosts != usual.hosts {
            self.hosts(&run.hosts);
        }
    }

    fn hosts(&mut self, wish: &HostWish) {
        let list = |labels: &[Label]| {
            let labels: Vec<_> = labels.iter().map(|label| quoted(&label.to_string())).collect();
            format!("[{}]", labels.join(", "))
        };
        let require = (!wish.require.is_empty()).then(|| ("require", list(&wish.require)));
        let avoid = (!wish.avoid.is_empty()).then(|| ("avoid", list(&wish.avoid)));
        self.field("hosts", inline([require, avoid].into_iter().flatten()));
    }

    fn work(&mut self, work: &WorkSigns) {
        if let Some(metrics) = &work.metrics {
            let place = match &metrics.place {
                MetricsPlace::File { path } => ("file", quoted(path.as_str())),
                MetricsPlace::Http { path } => ("http", quoted(path)),
            };
            let series = |series: &Series| quoted(&series.to_string());
            let fields = [place, ("done", series(&metrics.done)), ("failed", series(&metrics.failed))];
            self.field("metrics", inline(fields.into_iter()));
        }
        if let Some(queue) = &work.queue {
            let mut fields = vec![("command", filled_command(&queue.command))];
            push_duration(&mut fields, "interval", queue.interval_ms, USUAL_QUEUE_INTERVAL_MS);
            push_duration(&mut fields, "timeout", queue.timeout_ms, USUAL_QUEUE_TIMEOUT_MS);
            self.field("queue", inline(fields.into_iter()));
        }
    }

    fn external(&mut self, external: &External) {
        let usual = External::at("");
        self.field("kind", quoted("external"));
        self.field("address", quoted(&external.address));
        if let Some(ca) = &external.ca {
            self.field("ca", quoted(ca.as_str()));
        }
        if let Some(certificate) = &external.certificate {
            self.field("certificate", quoted(certificate));
        }
        if external.connect_ms != usual.connect_ms {
            self.field("connect_timeout", duration(external.connect_ms));
        }
        external.timeout_ms.iter().for_each(|ms| self.field("timeout", duration(*ms)));
        if external.clients == Clients::Told {
            self.field("clients", quoted("told"));
        }
        if let Some(version) = &external.version {
            let path = Some(("path", quoted(&version.path)));
            let field = version.field.as_ref().map(|field| ("field", quoted(field)));
            self.field("version", inline([path, field].into_iter().flatten()));
        }
    }

    fn static_files(&mut self, files: &StaticFiles) {
        self.field("kind", quoted("static"));
        if let Some(root) = &files.root {
            self.field("root", quoted(root.as_str()));
        }
        if let Some(fallback) = &files.fallback {
            self.field("fallback", quoted(fallback.as_str()));
        }
        if !files.immutable.is_empty() {
            self.field("immutable", list(files.immutable.iter().map(|it| quoted(it.as_str()))));
        }
    }

    fn requires(&mut self, manifest: &Manifest) {
        if !manifest.requires.is_empty() {
            self.table("requires", "[requires]");
        }
        for (service, requirement) in &manifest.requires {
            self.field(service.as_str(), needed(requirement));
        }
    }

    fn resource(&mut self, name: &ResourceName, need: &ResourceNeed) {
        self.table("resource", &format!("[resource.{name}]"));
        self.field("kind", quoted(need.kind.as_str()));
    }

    fn contracts(&mut self, contracts: &[ContractSource]) {
        if !contracts.is_empty() {
            self.table("contract", "[contract]");
        }
        for kind in ContractKind::ALL {
            let of_kind = contracts.iter().filter(|contract| contract.kind == *kind).map(contract_source);
            match of_kind.collect::<Vec<_>>().as_slice() {
                [] => {}
                [only] => self.field(kind.as_str(), only),
                several => self.field(kind.as_str(), list(several.iter().cloned())),
            }
        }
    }

    fn accept(&mut self, accepted: &AcceptedBreak) {
        self.table("contract.accept", "[[contract.accept]]");
        self.field("rule", quoted(&accepted.rule));
        self.field("place", quoted(&accepted.place));
        self.field("reason", quoted(&accepted.reason));
        if let Some(until) = &accepted.until {
            self.field("until", until);
        }
    }
}

fn needed(requirement: &Requirement) -> String {
    let Requirement { range, contract, operations, port } = requirement;
    if let (Some(range), None, [], None) = (range, contract, operations.as_slice(), port) {
        return quoted(&range.to_string());
    }
    let version = range.as_ref().map(|range| ("version", quoted(&range.to_string())));
    let contract = contract.as_ref().map(|path| ("contract", quoted(path.as_str())));
    let operations = (!operations.is_empty()).then(|| ("operations", strings(operations)));
    let port = port.map(|port| ("port", port.to_string()));
    inline([version, contract, operations, port].into_iter().flatten())
}

fn contract_source(contract: &ContractSource) -> String {
    let ContractSettings { policy, unknown_fields, role, dialect, version, retention_ms } = contract.settings;
    let origin = match &contract.origin {
        ContractOrigin::Path(path) if contract.settings == ContractSettings::default() => {
            return quoted(path.as_str());
        }
        ContractOrigin::Path(path) => ("path", quoted(path.as_str())),
        ContractOrigin::Command(words) => ("command", command(words)),
        ContractOrigin::Registry(subject) => ("registry", quoted(&subject.address)),
    };
    let subject = match &contract.origin {
        ContractOrigin::Registry(subject) => Some(subject),
        ContractOrigin::Path(_) | ContractOrigin::Command(_) => None,
    };
    let settings = [
        subject.map(|subject| ("subject", quoted(&subject.subject))),
        subject.and_then(|subject| subject.user.as_ref()).map(|user| ("user", quoted(user))),
        policy.map(|policy| ("policy", quoted(policy.as_str()))),
        unknown_fields.map(|fields| ("unknown_fields", quoted(fields.as_str()))),
        role.map(|role| ("role", quoted(role.as_str()))),
        dialect.map(|dialect| ("dialect", quoted(dialect.as_str()))),
        version.map(|version| ("version", quoted(&version.to_string()))),
        retention_ms.map(|ms| ("retention", duration(ms))),
    ];
    inline(std::iter::once(origin).chain(settings.into_iter().flatten()))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn duration(ms: u64) -> String {
    quoted(&write_duration(ms))
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

/// Writes texts as a list of TOML.
#[must_use]
pub fn strings(texts: &[String]) -> String {
    list(texts.iter().map(|text| quoted(text)))
}

fn patterns(patterns: &[Pattern]) -> String {
    list(patterns.iter().map(|pattern| quoted(pattern.as_str())))
}

fn inline(fields: impl Iterator<Item = (impl AsRef<str>, String)>) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fields = fields.map(|(key, value)| match key.as_ref() {
        key if key.chars().all(bare) => format!("{key} = {value}"),
        key => format!("{} = {value}", quoted(key)),
    });
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

fn environment(variables: &BTreeMap<String, String>) -> String {
    inline(variables.iter().map(|(name, value)| (name, quoted(value))))
}

/// Writes a command as a string where that reads back the same, else as an array.
fn command(words: &[String]) -> String {
    command_split_by(words, split_command)
}

/// As [`command`], for one in which references are filled in; they need no quotes.
fn filled_command(words: &[String]) -> String {
    command_split_by(words, split_filled_command)
}

fn command_split_by(words: &[String], split: impl Fn(&str) -> Result<Vec<String>, ValueError>) -> String {
    let is_plain = |word: &String| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=,@%+${}".contains(&b))
    };
    let quoted_word = |word: &String| match shlex::try_quote(word) {
        _ if is_plain(word) => Some(word.clone()),
        quoted => quoted.ok().map(Cow::into_owned),
    };
    let joined = words.iter().map(quoted_word).collect::<Option<Vec<_>>>().map(|words| words.join(" "));
    // A text that needs quotes of both kinds is read more easily word by word.
    let joined = joined.filter(|joined| !joined.contains('"'));
    match joined.filter(|joined| split(joined).as_deref() == Ok(words)) {
        Some(joined) => quoted(&joined),
        None => strings(words),
    }
}

fn step(step: &Step) -> String {
    match &step.folder {
        None => command(&step.command),
        Some(folder) => {
            inline([("run", command(&step.command)), ("folder", quoted(folder.as_str()))].into_iter())
        }
    }
}

fn health(health: &HealthCheck, default: &HealthCheck) -> String {
    let mut fields = vec![match &health.probe {
        Probe::Http { path } => ("http", quoted(path)),
        Probe::Tcp => ("tcp", "true".into()),
        Probe::Grpc { service } if service.is_empty() => ("grpc", "true".into()),
        Probe::Grpc { service } => ("grpc", quoted(service)),
        Probe::Command { command: words } => ("command", filled_command(words)),
        Probe::Lives { for_ms } => ("lives", duration(*for_ms)),
        Probe::File { path, .. } => ("file", quoted(path.as_str())),
        // No manifest has it: it is how jobs run.
        Probe::Ends => ("tcp", "true".into()),
    }];
    if let Probe::File { fresh_ms, .. } = health.probe {
        fields.push(("fresh", duration(fresh_ms)));
    }
    push_duration(&mut fields, "interval", health.interval_ms, default.interval_ms);
    push_duration(&mut fields, "timeout", health.timeout_ms, default.timeout_ms);
    push_duration(&mut fields, "start_timeout", health.start_timeout_ms, default.start_timeout_ms);
    if health.unhealthy_after != default.unhealthy_after {
        fields.push(("unhealthy_after", health.unhealthy_after.to_string()));
    }
    inline(fields.into_iter())
}

fn prepare(preparation: &Preparation) -> String {
    let words = filled_command(&preparation.command);
    match preparation.timeout_ms {
        USUAL_PREPARE_TIMEOUT_MS => words,
        ms => inline([("command", words), ("timeout", duration(ms))].into_iter()),
    }
}

fn replace(replace: Replace) -> &'static str {
    match replace {
        Replace::NewFirst => "new-first",
        Replace::OldFirst => "old-first",
        Replace::SideBySide => "side-by-side",
    }
}

fn stop(stop: &Stop) -> String {
    let signal = match stop.signal {
        StopSignal::Term => "TERM",
        StopSignal::Int => "INT",
        StopSignal::Quit => "QUIT",
        StopSignal::Hup => "HUP",
    };
    inline([("signal", quoted(signal)), ("timeout", duration(stop.timeout_ms))].into_iter())
}

fn restart(restart: &Restart) -> String {
    let default = Restart::default();
    let mut fields = vec![("max", restart.max_restarts.to_string())];
    push_duration(&mut fields, "backoff", restart.backoff_ms, default.backoff_ms);
    push_duration(&mut fields, "max_backoff", restart.max_backoff_ms, default.max_backoff_ms);
    push_duration(&mut fields, "reset_after", restart.reset_after_ms, default.reset_after_ms);
    inline(fields.into_iter())
}

fn push_duration(fields: &mut Vec<(&str, String)>, name: &'static str, ms: u64, default: u64) {
    if ms != default {
        fields.push((name, duration(ms)));
    }
}

#[cfg(test)]
mod tests;

fn of_tls(tls: &InstanceTls) -> String {
    let text = |name: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("{name} = {}", quoted(value)))
    };
    let certificate = tls.certificate.as_ref().map(|name| format!("certificate = {}", quoted(name.as_str())));
    let any = (tls.believes == Believes::Everybody).then(|| "accept_any_certificate = true".to_owned());
    let fields = [text("server_name", &tls.server_name), text("ca_pem", &tls.ca_pem), certificate, any];
    format!("{{ {} }}", fields.into_iter().flatten().collect::<Vec<_>>().join(", "))
}
