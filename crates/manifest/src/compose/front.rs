//! A configuration of nginx as it is for a container, as a file whose references are filled in on a host.
//!
//! It listens where it is told, finds others where they are, and writes below its working folder and nowhere else.

use std::collections::{BTreeMap, BTreeSet};

use super::Remarks;
use super::places::{Named, Places};

/// What stands around a configuration of servers alone.
const BEFORE: &str = "\
pid nginx.pid;
error_log stderr;
user root;
events {}
http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
";
/// Everything that nginx would write elsewhere.
const FOLDERS: &str = "    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    access_log off;
";
/// Directives of a whole configuration that are said anew.
const SAID_ANEW: [&str; 11] = [
    "pid",
    "user",
    "daemon",
    "error_log",
    "access_log",
    "client_body_temp_path",
    "proxy_temp_path",
    "fastcgi_temp_path",
    "uwsgi_temp_path",
    "scgi_temp_path",
    "resolver",
];

/// Directives that call by another protocol than HTTP/1.1.
const OTHER_PASSES: [&str; 4] = ["uwsgi_pass ", "fastcgi_pass ", "grpc_pass ", "memcached_pass "];

/// Where a text lies that is put in.
pub(super) struct Source<'s> {
    pub(super) text: &'s str,
    /// Whether the image of nginx fills `${NAME}` in it.
    pub(super) is_template: bool,
}

/// What else is known.
pub(super) struct Around<'a> {
    pub(super) places: &'a Places,
    /// The line of the compose file that names the configuration.
    pub(super) line: usize,
    /// Variables that are set.
    pub(super) variables: BTreeSet<String>,
    /// Folders of the container, and where they are in the artifact.
    pub(super) folders: BTreeMap<String, String>,
}

/// Makes one configuration of the main file, where there is one, and those in `conf.d`.
pub(super) fn template(
    main: Option<&Source<'_>>,
    servers: &[Source<'_>],
    around: &Around<'_>,
    named: &mut Named,
    remarks: &mut Remarks,
) -> String {
    let mut rewriter = Rewriter {
        around,
        named,
        remarks,
        upstreams: BTreeSet::new(),
        has_listen: false,
        is_in_upstream: false,
    };
    for source in main.iter().copied().chain(servers) {
        rewriter.upstreams.extend(upstreams(source.text));
    }
    let inner: String = servers.iter().map(|source| rewriter.text(source)).collect();
    let Some(main) = main else { return format!("{BEFORE}{FOLDERS}{}}}\n", indented(&inner)) };
    let mut out = "pid nginx.pid;\nerror_log stderr;\nuser root;\n".to_owned();
    let mut is_included = false;
    for line in rewriter.text(main).lines() {
        let is_include = line.trim_start().starts_with("include") && line.contains("conf.d/");
        if is_include {
            out += &indented(&inner);
            is_included = true;
        } else {
            out += line;
            out.push('\n');
        }
        if line.trim_start().starts_with("http") && line.trim_end().ends_with('{') {
            out += FOLDERS;
        }
    }
    if !is_included && !inner.is_empty() {
        rewriter.remarks.not_taken(
            around.line,
            "the main configuration of nginx includes no conf.d",
            "put the servers into it by hand",
        );
    }
    out
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

fn upstreams(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("upstream ")?.split(['{', ' ']).next().map(str::to_owned))
}

struct Rewriter<'a, 'b> {
    around: &'b Around<'a>,
    named: &'b mut Named,
    remarks: &'b mut Remarks,
    upstreams: BTreeSet<String>,
    has_listen: bool,
    is_in_upstream: bool,
}

impl Rewriter<'_, '_> {
    fn text(&mut self, source: &Source<'_>) -> String {
        let text = if source.is_template {
            self.with_variables(source.text)
        } else {
            source.text.replace("${", "$${")
        };
        let mut out = String::new();
        for line in text.lines() {
            if let Some(line) = self.line(line) {
                out += &line;
                out.push('\n');
            }
        }
        out
    }

    /// The image fills in what is set, and leaves what is a variable of nginx.
    fn with_variables(&self, text: &str) -> String {
        let mut out = text.replace("${", "$${");
        for name in &self.around.variables {
            out = out.replace(&format!("$${{{name}}}"), &format!("${{env.{name}}}"));
        }
        out
    }

    /// Returns a line as it is here; `None` where it goes away.
    fn line(&mut self, line: &str) -> Option<String> {
        let trimmed = line.trim();
        if trimmed.starts_with('#') {
            return Some(line.to_owned());
        }
        let word =
            trimmed.split(|c: char| c.is_whitespace() || c == ';' || c == '{').next().unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        match word {
            "server" if trimmed.contains('{') || trimmed == "server" => self.has_listen = false,
            "upstream" => self.is_in_upstream = !trimmed.contains('}'),
            "listen" => return self.listen(trimmed).map(|new| format!("{indent}{new}")),
            _ if word.starts_with("ssl") => return None,
            _ if SAID_ANEW.contains(&word) && trimmed.ends_with(';') => return None,
            _ => {}
        }
        if OTHER_PASSES.iter().any(|pass| trimmed.contains(pass)) {
            let text =
                format!("`{trimmed}` of nginx reaches nothing: what a service is called by here is HTTP/1.1");
            let hint = "let the service answer HTTP itself, and write proxy_pass";
            self.remarks.not_taken(self.around.line, text, hint);
            return Some(line.to_owned());
        }
        let line = self.folders(line);
        let new = self.server_of_upstream(&line, word).unwrap_or(line);
        if new.contains('}') && !new.contains('{') {
            self.is_in_upstream = false;
        }
        Some(self.around.places.in_text_but(&new, &self.upstreams, self.named).unwrap_or(new))
    }

    /// The first `listen` of a server is the one that counts.
    fn listen(&mut self, line: &str) -> Option<String> {
        if line.contains("443") || line.contains("ssl") {
            self.remarks.not_taken(
                self.around.line,
                format!("`{line}` of nginx: TLS ends before the gateway, not here"),
                "docs/guides/gateway.md says how",
            );
        }
        if self.has_listen {
            return None;
        }
        self.has_listen = true;
        let is_default = if line.contains("default_server") { " default_server" } else { "" };
        Some(format!("listen ${{self.host}}:${{self.port}}{is_default};"))
    }

    /// `server web;` without a port is one as well.
    fn server_of_upstream(&self, line: &str, word: &str) -> Option<String> {
        if !self.is_in_upstream || word != "server" {
            return None;
        }
        let name = line.trim().strip_prefix("server")?.trim_start().split([';', ' ', ':']).next()?.to_owned();
        let has_port = line.contains(&format!("{name}:"));
        (self.around.places.0.contains_key(&name) && !has_port)
            .then(|| line.replacen(&name, &format!("{name}:80"), 1))
    }

    fn folders(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (folder, here) in &self.around.folders {
            line = line.replace(folder, here);
        }
        line
    }
}
