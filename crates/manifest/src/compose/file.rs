//! The services of a compose file as data, with the lines that they stand on.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::limits::Limits;

use super::parts::{aliases, call, env_files, links, many, needs, replicas, replicas_text};
use super::variables::{Filled, env_file, filled};
use super::{Remark, Remarks, images, limits};
use super::{beside, extend};
use crate::init::RepositoryView;
use crate::init::call::Call;
use crate::init::dockerfile::join;
use crate::yaml::{Node, Value, parse};

/// Deepest chain of `extends`.
const MAX_EXTENDS: usize = 16;
/// Most services of a file: each is looked for in all others.
const MAX_SERVICES: usize = 300;

/// A service as the file has it, with variables put in.
#[derive(Debug, Clone, Default)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) image: Option<String>,
    pub(super) build: Option<BuildContext>,
    /// Whether it has one that cannot be taken, of which was said why.
    pub(super) is_built_elsewhere: bool,
    /// `Some(None)` is an entrypoint that is taken away.
    pub(super) entrypoint: Option<Option<Call>>,
    pub(super) command: Option<Call>,
    pub(super) environment: Vec<Setting>,
    /// Ports inside of the container, and whether they are reached from outside.
    pub(super) ports: Vec<(u16, bool)>,
    pub(super) needs: BTreeMap<String, Condition>,
    pub(super) health: Option<(BTreeMap<String, String>, Call)>,
    pub(super) mounts: Vec<Mount>,
    pub(super) replicas: u32,
    pub(super) profiles: Vec<String>,
    pub(super) stop_signal: Option<String>,
    pub(super) stop_grace: Option<String>,
    pub(super) working_dir: Option<String>,
    /// Other names that it is known by.
    pub(super) aliases: Vec<String>,
    /// Other services by the names that it knows them by.
    links: Vec<(String, String)>,
    pub(super) limits: Limits,
}

/// Where it is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BuildContext {
    pub(super) context: String,
    pub(super) dockerfile: Option<String>,
    /// The text of the Dockerfile, where it stands in the compose file.
    pub(super) inline: Option<String>,
    pub(super) target: Option<String>,
}

/// A variable of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) value: String,
    /// Whether the value is in the compose file itself, and not in a file beside it.
    pub(super) is_own: bool,
    /// What of it stands in `.env`, by the names there.
    pub(super) beside: Vec<(String, String)>,
}

/// What has to be of another service before this one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    Started,
    Completed,
}

/// Something that is put into the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) line: usize,
    /// A path of the host, or the name of a volume; empty for one without a name.
    pub(super) source: String,
    pub(super) target: String,
}

impl Mount {
    /// Tells whether it is a file or a folder of the project.
    pub(super) fn is_bind(&self) -> bool {
        self.source.starts_with(['.', '/', '~'])
    }

    /// Where its source is, below the folder of the compose file.
    pub(super) fn in_project(&self) -> Option<String> {
        let source = &self.source;
        (self.is_bind() && !source.starts_with(['/', '~'])).then(|| in_project(source)).flatten()
    }
}

/// Returns a path below the folder of the compose file; `None` where it leads out.
pub(super) fn in_project(path: &str) -> Option<String> {
    let mut depth = 0i32;
    for part in path.split('/') {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 {
            return None;
        }
    }
    Some(join("/", path).trim_start_matches('/').to_owned())
}

/// Reads the services of a compose file.
pub(super) fn read(file: &str, view: &RepositoryView, remarks: &mut Remarks) -> Vec<Service> {
    let Some(text) = view.text(file) else {
        remarks.not_taken(0, "the file cannot be read", "it must be a text of at most 256 KiB");
        return Vec::new();
    };
    let root = match parse(text) {
        Ok(root) => root,
        Err(error) => {
            remarks.not_taken(error.line, error.why, "mend the file");
            return Vec::new();
        }
    };
    let known = view.text(".env").map(env_file).unwrap_or_default();
    let services = root.get("services").map(Node::entries).unwrap_or_default();
    if services.len() > MAX_SERVICES {
        let why =
            format!("it has {} services, and {MAX_SERVICES} are the most that are taken", services.len());
        remarks.not_taken(root.line, why, "split it");
        return Vec::new();
    }
    let names = services.iter().map(|(name, _)| name.clone()).collect();
    let mut reader = Reader { view, known, marked: BTreeMap::new(), names, remarks, asked: BTreeSet::new() };
    reader.top(&root);
    let mut services: Vec<Service> =
        services.iter().map(|(name, node)| reader.service(name, node, &root)).collect();
    let links: Vec<(String, String)> =
        services.iter_mut().flat_map(|one| std::mem::take(&mut one.links)).collect();
    for (name, alias) in links {
        services.iter_mut().filter(|one| one.name == name).for_each(|one| one.aliases.push(alias.clone()));
    }
    services
}

struct Reader<'r> {
    view: &'r RepositoryView,
    known: BTreeMap<String, String>,
    /// The same, with marks in the places of values that no manifest may have.
    marked: BTreeMap<String, String>,
    names: Vec<String>,
    remarks: &'r mut Remarks,
    asked: BTreeSet<String>,
}

/// What is known at the top of a file, and of a service, and changes nothing here.
const IDLE_TOP: [&str; 5] = ["version", "name", "services", "volumes", "networks"];
const IDLE: [&str; 17] = [
    "container_name",
    "hostname",
    "networks",
    "labels",
    "logging",
    "tty",
    "stdin_open",
    "init",
    "platform",
    "pull_policy",
    "develop",
    "attach",
    "annotations",
    "links",
    "domainname",
    "deploy",
    "extends",
];
/// What is read of `build`, and what changes nothing here.
const BUILD: [&str; 12] = [
    "context",
    "dockerfile",
    "dockerfile_inline",
    "target",
    "cache_from",
    "cache_to",
    "labels",
    "no_cache",
    "platforms",
    "pull",
    "tags",
    "provenance",
];
/// The same of `deploy`.
const DEPLOY: [&str; 9] = [
    "resources",
    "replicas",
    "mode",
    "endpoint_mode",
    "labels",
    "placement",
    "restart_policy",
    "update_config",
    "rollback_config",
];
const READ: [&str; 17] = [
    "image",
    "build",
    "command",
    "entrypoint",
    "environment",
    "env_file",
    "ports",
    "expose",
    "depends_on",
    "healthcheck",
    "volumes",
    "scale",
    "profiles",
    "stop_signal",
    "stop_grace_period",
    "restart",
    "working_dir",
];

/// What is put in the places of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    Values,
    Marks,
}

/// What goes to a manifest as it is.
const STARTED_BY: [&str; 3] = ["command", "entrypoint", "healthcheck"];

impl Reader<'_> {
    fn top(&mut self, root: &Node) {
        if root.get("services").is_none() {
            self.remarks.not_taken(
                root.line,
                "there are no `services`",
                "it has to be a compose file of the Compose Specification",
            );
        }
        for (key, node) in root.entries() {
            if IDLE_TOP.contains(&key.as_str()) || key.starts_with("x-") {
                continue;
            }
            let hint = match key.as_str() {
                "secrets" | "configs" => {
                    "set what is in it with lockstep config set, --secret where it is one"
                }
                "include" => "import the other file as well",
                _ => "nothing here is like it",
            };
            self.remarks.not_taken(node.line, format!("`{key}` is not taken"), hint);
        }
        let overriding = [
            "compose.override.yaml",
            "compose.override.yml",
            "docker-compose.override.yml",
            "docker-compose.override.yaml",
        ];
        if let Some(file) = self.view.first(&overriding) {
            self.remarks.assume(0, format!("{file} is left aside, which Compose would put over this file"));
        }
    }

    /// Puts variables in, and asks for those that nothing says.
    fn fill(&mut self, node: &Node, put: Put) -> Node {
        let value = match &node.value {
            Value::Nothing => Value::Nothing,
            Value::Text(text) => Value::Text(self.filled(node.line, text, put).text),
            Value::List(items) => Value::List(items.iter().map(|item| self.fill(item, put)).collect()),
            Value::Map(entries) => {
                Value::Map(entries.iter().map(|(key, node)| (key.clone(), self.fill(node, put))).collect())
            }
        };
        Node { line: node.line, value }
    }

    fn filled(&mut self, line: usize, text: &str, put: Put) -> Filled {
        let known = if put == Put::Marks { &self.marked } else { &self.known };
        let filled = filled(text, known);
        for name in &filled.missing {
            if self.asked.insert(name.clone()) {
                self.remarks.ask(line, format!("What is ${{{name}}}? It is neither in .env nor has it a default, so it is empty here."));
            }
        }
        filled
    }

    /// Puts what a service extends under it.
    fn extended(&mut self, node: &Node, root: &Node, depth: usize) -> Node {
        let Some(extends) = node.get("extends").filter(|_| depth < MAX_EXTENDS) else { return node.clone() };
        let name = extends.text().or_else(|| extends.get("service")?.text()).unwrap_or_default().to_owned();
        let file = extends.get("file").and_then(Node::text).and_then(in_project);
        let other = match &file {
            Some(file) => self.view.text(file).and_then(|text| parse(text).ok()),
            None if extends.get("file").is_some() => None,
            None => Some(root.clone()),
        };
        let base = other.as_ref().and_then(|root| Some((root.get("services")?.get(&name)?.clone(), root)));
        match base {
            Some((base, root)) => {
                let base = self.extended(&base, root, depth + 1);
                let base = file.map_or_else(|| base.clone(), |file| extend::from_folder_of(&file, &base));
                extend::over(node, &base)
            }
            None => {
                self.remarks.not_taken(
                    extends.line,
                    format!("`extends` of `{name}` is not found"),
                    "write its fields here",
                );
                node.clone()
            }
        }
    }

    fn service(&mut self, name: &str, node: &Node, root: &Node) -> Service {
        self.remarks.of(name);
        let whole = self.extended(node, root, 0);
        let own = Self::own_values(&whole);
        let (started, rest): (Vec<_>, Vec<_>) =
            whole.entries().iter().cloned().partition(|(key, _)| STARTED_BY.contains(&key.as_str()));
        let of = |entries| Node { line: whole.line, value: Value::Map(entries) };
        let node = self.fill(&of(rest), Put::Values);
        let mut environment = self.environment(&node, &own);
        self.marked = beside::marked(&self.known, &self.names, &environment);
        let started = self.fill(&of(started), Put::Marks);
        environment.extend(beside::settings(&started, &self.known, &environment));
        let node = extend::over(&started, &node);
        self.unknown(&node);
        let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
        let list = |key: &str| {
            node.get(key)
                .map(|node| node.texts().into_iter().map(|(_, text)| text.to_owned()).collect::<Vec<_>>())
        };
        let mut service = Service {
            name: name.to_owned(),
            line: node.line,
            image: text("image"),
            build: None,
            is_built_elsewhere: false,
            entrypoint: node.get("entrypoint").map(call),
            command: node.get("command").and_then(call),
            environment,
            ports: self.ports(&node),
            needs: needs(&node),
            health: node.get("healthcheck").and_then(|health| self.health(health)),
            mounts: self.mounts(&node),
            replicas: replicas(&node),
            profiles: list("profiles").unwrap_or_default(),
            stop_signal: text("stop_signal"),
            stop_grace: text("stop_grace_period"),
            working_dir: text("working_dir"),
            aliases: aliases(&node),
            links: links(&node),
            limits: limits::of(&node, self.remarks),
        };
        let build = node.get("build");
        service.build = build.and_then(|build| self.build(build));
        service.is_built_elsewhere = build.is_some() && service.build.is_none();
        service.line = service.line.saturating_sub(1).max(1);
        service
    }

    /// Variables whose values stand in the compose file as they are, or have their defaults there.
    fn own_values(node: &Node) -> Vec<(usize, String, Option<String>)> {
        node.get("environment").map(Node::pairs).unwrap_or_default()
    }

    fn unknown(&mut self, node: &Node) {
        let image = node.get("image").and_then(Node::text);
        if node.get("build").is_none() && image.is_some_and(|image| images::resource(image).is_some()) {
            for key in ["command", "entrypoint"] {
                if let Some(value) = node.get(key) {
                    let text = format!("its `{key}` is not taken: what it sets is not so here");
                    self.remarks.not_taken(value.line, text, "one that Lockstep runs has the settings that it comes with; where that is not enough, let somebody else run it: lockstep resource add");
                }
            }
            return;
        }
        for (key, value) in node.entries() {
            let is_known = [&READ[..], &IDLE, &limits::KEYS].iter().any(|keys| keys.contains(&key.as_str()));
            if is_known || key.starts_with("x-") {
                continue;
            }
            let hint = match key.as_str() {
                "secrets" | "configs" => {
                    "set what is in it with lockstep config set, --secret where it is one"
                }
                "user" => {
                    "each service has a user of its own where the server is root, else that of the server; [run] user names another"
                }
                "extra_hosts" | "dns" => "names are those of the host",
                "shm_size" => "nothing limits it here",
                _ => "nothing here is like it",
            };
            self.remarks.not_taken(value.line, format!("`{key}` is not taken"), hint);
        }
        self.deploy(node);
        if let Some(tests) = node.get("healthcheck").filter(|check| check.get("test").is_some())
            && self.health(tests).is_none()
            && tests.get("disable").is_none()
            && !tests.get("test").is_some_and(|test| test.texts().iter().any(|(_, word)| *word == "NONE"))
        {
            self.remarks.not_taken(tests.line, "`healthcheck` is not taken", "say it as [run] health");
        }
    }

    fn deploy(&mut self, node: &Node) {
        let deploy = node.get("deploy").map(Node::entries).unwrap_or_default();
        for (key, value) in deploy.iter().filter(|(key, _)| !DEPLOY.contains(&key.as_str())) {
            let text = format!("`deploy.{key}` is not taken");
            self.remarks.not_taken(value.line, text, "nothing here is like it");
        }
        if let Some((line, text)) = replicas_text(node).filter(|(_, text)| many(text).is_none()) {
            self.remarks.not_taken(
                line,
                format!("{text} replicas are not taken: one is assumed"),
                "from 1 to 100 are; one that is not to run is not deployed",
            );
        }
    }

    fn build(&mut self, build: &Node) -> Option<BuildContext> {
        let field = |key: &str| build.get(key).and_then(Node::text).map(str::to_owned);
        let context =
            build.text().map(str::to_owned).or_else(|| field("context")).unwrap_or_else(|| ".".into());
        if context.contains("://") || in_project(&context).is_none() || context.starts_with('/') {
            self.remarks.not_taken(
                build.line,
                format!("it is built in `{context}`, which is not below the folder of the file"),
                "run lockstep init there, or import a compose file that lies above both",
            );
            return None;
        }
        let unknown = build.entries().iter().filter(|(key, _)| !BUILD.contains(&key.as_str()));
        for (key, node) in unknown {
            self.remarks.not_taken(
                node.line,
                format!("`build.{key}` is not taken"),
                "write it to [build] env, or to `variables` where it is a secret",
            );
        }
        let context = in_project(&context)?;
        Some(BuildContext {
            context,
            dockerfile: field("dockerfile"),
            inline: field("dockerfile_inline"),
            target: field("target"),
        })
    }

    fn environment(&mut self, node: &Node, own: &[(usize, String, Option<String>)]) -> Vec<Setting> {
        let mut all: BTreeMap<String, Setting> = BTreeMap::new();
        for (line, file) in node.get("env_file").map(env_files).unwrap_or_default() {
            let path = in_project(&file);
            match path.as_deref().and_then(|path| self.view.text(path)) {
                Some(text) => {
                    for (name, value) in env_file(text) {
                        all.insert(
                            name.clone(),
                            Setting { line, name, value, is_own: false, beside: Vec::new() },
                        );
                    }
                }
                None => {
                    let is_there = path.as_deref().is_some_and(|path| self.view.has(path));
                    let why = match path {
                        None => "lies outside of the folder of the file",
                        Some(_) if is_there => "is not read: its name does not end with .env",
                        Some(_) => "is not there",
                    };
                    let hint = "set what is in it with lockstep config set";
                    self.remarks.not_taken(line, format!("`env_file` {file} {why}"), hint);
                }
            }
        }
        for (line, name, value) in node.get("environment").map(Node::pairs).unwrap_or_default() {
            let raw = own.iter().find(|(_, own, _)| *own == name).and_then(|(_, _, raw)| raw.as_deref());
            let known = raw.map(|raw| filled(raw, &self.known).known).unwrap_or_default();
            let is_own = raw.is_some() && known.is_empty();
            let of = |name: String| Some((name.clone(), self.known.get(&name)?.clone()));
            let beside = known.into_iter().filter_map(of).collect();
            match value.or_else(|| self.known.get(&name).cloned()) {
                Some(value) => drop(all.insert(name.clone(), Setting { line, name, value, is_own, beside })),
                None => self.remarks.ask(line, format!("What is {name}? The file takes it from the shell: lockstep config set SERVICE {name}=VALUE.")),
            }
        }
        all.into_values().collect()
    }

    fn ports(&mut self, node: &Node) -> Vec<(u16, bool)> {
        let mut all = Vec::new();
        for item in node.get("ports").map(Node::items).unwrap_or_default() {
            let text = item.text().or_else(|| item.get("target")?.text()).unwrap_or_default();
            let is_udp = text.ends_with("/udp") || item.get("protocol").and_then(Node::text) == Some("udp");
            let inner = text.split('/').next().and_then(|text| text.rsplit(':').next()).unwrap_or_default();
            match inner.parse() {
                Ok(port) if !is_udp => all.push((port, true)),
                _ => self.remarks.not_taken(
                    item.line,
                    format!("the port `{text}` is not taken"),
                    "one port of TCP is served, through the gateway",
                ),
            }
        }
        let exposed = node.get("expose").map(Node::texts).unwrap_or_default();
        for (line, text) in exposed {
            match text.strip_suffix("/tcp").unwrap_or(text).parse() {
                Ok(port) => all.push((port, false)),
                Err(_) => self.remarks.not_taken(
                    line,
                    format!("`expose` of {text} is not taken"),
                    "name one port of TCP",
                ),
            }
        }
        all
    }

    fn mounts(&mut self, node: &Node) -> Vec<Mount> {
        let mut all = Vec::new();
        for item in node.get("volumes").map(Node::items).unwrap_or_default() {
            let field = |key: &str| item.get(key).and_then(Node::text).unwrap_or_default().to_owned();
            let mount = match item.text() {
                Some(text) => {
                    let parts: Vec<&str> = text.split(':').collect();
                    match parts.as_slice() {
                        [target] => {
                            Mount { line: item.line, source: String::new(), target: (*target).to_owned() }
                        }
                        [source, target, ..] => Mount {
                            line: item.line,
                            source: (*source).to_owned(),
                            target: (*target).to_owned(),
                        },
                        [] => continue,
                    }
                }
                None if field("type") == "tmpfs" => {
                    let text = format!("nothing is kept in memory for it at {}", field("target"));
                    let hint = "what it writes to TMPDIR goes with the instance";
                    self.remarks.not_taken(item.line, text, hint);
                    continue;
                }
                None => Mount { line: item.line, source: field("source"), target: field("target") },
            };
            all.push(mount);
        }
        all
    }

    fn health(&mut self, node: &Node) -> Option<(BTreeMap<String, String>, Call)> {
        if node.get("disable").and_then(Node::text) == Some("true") {
            return None;
        }
        let option = |key: &str| Some((key.replace('_', "-"), node.get(key)?.text()?.to_owned()));
        let options =
            ["interval", "timeout", "retries", "start_period"].into_iter().filter_map(option).collect();
        let test = node.get("test")?;
        let words: Vec<String> =
            test.items().iter().filter_map(|item| item.text().map(str::to_owned)).collect();
        let call = match (test.text(), words.split_first()) {
            (Some(text), _) => Call::read(text),
            (None, Some((kind, rest))) if kind == "CMD" && !rest.is_empty() => {
                Some(Call::Words(rest.to_vec()))
            }
            (None, Some((kind, rest))) if kind == "CMD-SHELL" => {
                rest.first().and_then(|text| Call::read(text))
            }
            _ => None,
        };
        Some((options, call?))
    }
}

impl Remarks {
    /// Sets which service the remarks that follow are about.
    pub(super) fn of(&mut self, service: &str) {
        service.clone_into(&mut self.service);
    }

    pub(super) fn assume(&mut self, line: usize, text: impl Into<String>) {
        self.push(Remark::Assumed, line, text.into(), None);
    }

    pub(super) fn ask(&mut self, line: usize, text: impl Into<String>) {
        self.push(Remark::Question, line, text.into(), None);
    }

    pub(super) fn not_taken(&mut self, line: usize, text: impl Into<String>, hint: impl Into<String>) {
        self.push(Remark::NotTaken, line, text.into(), Some(hint.into()));
    }
}
