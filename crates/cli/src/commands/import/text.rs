//! What an import says of itself: to people, and to programs.

use std::fmt::Write as _;
use std::path::Path;

use lockstep_domain::resource::ResourceKind;
use lockstep_manifest::compose::{ImportedService, Remark, Said};
use serde_json::{Value, json};

use super::register::Registered;
use super::{Done, Fate};
use crate::output::counted::counted;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

impl Done {
    /// Everything as one document; values of the configuration are not in it.
    pub(super) fn json(&self) -> Value {
        let service = |service: &ImportedService| {
            let ImportedService { name, folder, manifest, is_kept, replicas, configuration, what, image } =
                service;
            let variables: Vec<_> = configuration.keys().collect();
            json!({ "name": name, "kind": what, "folder": folder, "manifest": manifest, "kept": is_kept, "replicas": replicas, "configuration": variables, "image": image })
        };
        let resources = self
            .import
            .resources
            .iter()
            .map(|it| json!({ "name": it.name, "kind": it.kind, "image": it.image }));
        json!({
            "services": self.import.services.iter().map(service).collect::<Vec<_>>(),
            "resources": resources.collect::<Vec<_>>(),
            "files": self.files,
            "remarks": self.import.remarks,
            "done": self.registered.as_ref().map(|registered| &registered.done),
            "next": self.next(),
        })
    }

    pub(super) fn text(&self, style: &Style) -> String {
        let services = counted(self.import.services.len(), "service");
        let resources = counted(self.import.resources.len(), "resource");
        let mut text = format!("{}: {} has {services} and {resources}\n", style.good("done"), self.file);
        let mut table = Table::new(["", "", ""]).indented(2);
        for service in &self.import.services {
            let kept = match &service.image {
                Some(image) => format!(", to be kept with it; the image {}", printable(image)),
                None if service.is_kept => ", to be kept with it".to_owned(),
                None => String::new(),
            };
            table.row([
                service.name.to_string(),
                service.what.clone(),
                format!("{}{kept}", service.manifest),
            ]);
        }
        for resource in &self.import.resources {
            table.row([
                resource.name.to_string(),
                resource.kind.to_string(),
                format!("resource of an environment, in place of {}", printable(&resource.image)),
            ]);
        }
        text += &table.render(style);
        self.files_text(&mut text, style);
        self.said(&mut text, Remark::NotTaken, &style.warn("not taken:"));
        self.said(&mut text, Remark::Question, &style.warn("to be answered:"));
        self.said(&mut text, Remark::Assumed, "assumed:");
        if let Some(registered) = &self.registered {
            for done in &registered.done {
                let _ = writeln!(text, "{}: {}", style.good("done"), printable(done));
            }
            for refused in &registered.refused {
                let _ = writeln!(text, "{} {}", style.warn("warning:"), printable(refused));
            }
        }
        if self.dry_run {
            text += "nothing was changed: this is a dry run\n";
        }
        let _ = writeln!(text, "next:");
        for line in self.next() {
            let _ = writeln!(text, "  {line}");
        }
        text
    }

    fn files_text(&self, text: &mut String, style: &Style) {
        for (kind, words) in [
            (Fate::Written, "written:"),
            (Fate::WouldBeWritten, "would be written:"),
            (Fate::Kept, "there already, and left as it is (it differs from what would be written):"),
        ] {
            let files: Vec<_> =
                self.files.iter().filter(|(_, written)| **written == kind).map(|(path, _)| path).collect();
            if !files.is_empty() {
                let words = if kind == Fate::Kept { style.warn(words) } else { words.into() };
                let _ = writeln!(text, "{words}");
                for path in files {
                    let _ = writeln!(text, "  {}", self.shown(path));
                }
            }
        }
    }

    fn said(&self, text: &mut String, kind: Remark, title: &str) {
        let all: Vec<&Said> = self.import.remarks.iter().filter(|said| said.kind == kind).collect();
        if all.is_empty() {
            return;
        }
        let _ = writeln!(text, "{title}");
        for said in all {
            let place =
                if said.line == 0 { self.file.clone() } else { format!("{}:{}", self.file, said.line) };
            let service = if said.service.is_empty() { String::new() } else { format!(" {}:", said.service) };
            let _ = writeln!(text, "  {}", printable(&format!("{place}{service} {}", said.text)));
            if let Some(hint) = &said.hint {
                let _ = writeln!(text, "      {}", printable(hint));
            }
        }
    }

    /// What is left to type.
    fn next(&self) -> Vec<String> {
        let file = quoted(&self.shown(&self.file));
        match &self.registered {
            Some(registered) if !registered.uncommitted => self.to_production(registered),
            _ => {
                let environment = self
                    .registered
                    .as_ref()
                    .map_or("development", |registered| registered.environment.as_str());
                let is_new = self
                    .files
                    .values()
                    .any(|written| matches!(written, Fate::Written | Fate::WouldBeWritten))
                    || self.registered.is_some();
                let commit = is_new.then(|| {
                    let files: Vec<_> = self.files.keys().map(|path| quoted(&self.shown(path))).collect();
                    format!("git add {} && git commit --message 'feat: run with Lockstep'", files.join(" "))
                });
                commit
                    .into_iter()
                    .chain([format!("lockstep import compose {file} --env {environment}")])
                    .collect()
            }
        }
    }

    /// A release of all, and one deploy.
    fn to_production(&self, registered: &Registered) -> Vec<String> {
        let environment = &registered.environment;
        let mut lines: Vec<String> = registered
            .missing
            .iter()
            .map(|(name, kind)| add_text(name.as_str(), *kind, environment.as_str()))
            .collect();
        let all = &self.import.services;
        if all.iter().any(|service| service.image.is_none()) {
            lines.push("lockstep release --changed".into());
        }
        lines.extend(all.iter().filter_map(|service| {
            Some(format!("lockstep release {} --image {}", service.name, quoted(service.image.as_deref()?)))
        }));
        let versions: Vec<String> = registered
            .services
            .iter()
            .map(|view| {
                let number = view
                    .versions
                    .first()
                    .map_or_else(|| "1.0.0".to_owned(), |version| version.number.to_string());
                format!("{}@{number}", view.name)
            })
            .collect();
        lines.push(format!("lockstep deploy {} --env {environment}", versions.join(" ")));
        let scaled = self.import.services.iter().filter(|service| service.replicas > 1);
        lines.extend(scaled.map(|service| {
            format!("lockstep scale {} {} --env {environment}", service.name, service.replicas)
        }));
        lines
    }

    fn shown(&self, path: &str) -> String {
        if self.folder == Path::new(".") {
            path.to_owned()
        } else {
            self.folder.join(path).display().to_string()
        }
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

/// How a resource is declared that Lockstep does not run.
fn add_text(name: &str, kind: ResourceKind, environment: &str) -> String {
    format!("lockstep resource add {name} --kind {kind} --env {environment}")
}
