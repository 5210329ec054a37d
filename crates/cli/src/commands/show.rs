//! `lockstep show`: everything about a service or one of its versions.

mod version_text;

use std::fmt::Write as _;
use std::str::FromStr;

use lockstep_api::types::ServiceView;
use lockstep_domain::repository_address::NO_COMMIT;
use lockstep_domain::{EnvironmentName, ServiceName, VersionRef};

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// Shows a service or a version.
///
/// A service is shown with its source and all its versions. A version is shown with its commit, artifact, evidence,
/// changelog, documents, and what keeps it from the next stage. A document is written as it was attached.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep show orders
  lockstep show orders@1.4.0
  lockstep show orders@1.4.0 --document design")]
pub(crate) struct Args {
    /// A service, or a version of it.
    #[arg(value_name = "SERVICE[@VERSION]")]
    what: Subject,
    /// Write the document of this kind.
    #[arg(long, value_name = "KIND")]
    document: Option<String>,
}

#[derive(Debug, Clone)]
enum Subject {
    Service(ServiceName),
    Version(VersionRef),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('@') {
            text.parse()
                .map(Self::Version)
                .map_err(|error: lockstep_domain::version::VersionError| error.to_string())
        } else {
            text.parse()
                .map(Self::Service)
                .map_err(|error: lockstep_domain::name::NameError| error.to_string())
        }
    }
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match (self.what, self.document) {
            (Subject::Service(service), None) => ctx.out.show(&ctx.client.service(&service)?, service_text),
            (Subject::Version(version), None) => {
                ctx.out.show(&ctx.client.version(&version)?, version_text::render)
            }
            (Subject::Version(version), Some(kind)) => document(ctx, &version, &kind),
            (Subject::Service(service), Some(_)) => {
                Err(Failure::usage("documents belong to a version, and none was named")
                    .hint(format!("`lockstep show {service}` lists its versions")))
            }
        }
    }
}

fn document(ctx: &Context, version: &VersionRef, kind: &str) -> Result<(), Failure> {
    let content = ctx.client.document(version, kind)?;
    match ctx.out.format {
        Format::Text => ctx.out.copy(content.as_slice()),
        Format::Json => {
            let content = String::from_utf8_lossy(&content);
            ctx.out.document(&serde_json::json!({ "version": version, "kind": kind, "content": content }))
        }
    }
}

fn service_text(service: &ServiceView, style: &Style) -> String {
    let mut text = format!("{}\n", style.strong(service.name.as_str()));
    let mut facts = Table::new(["", ""]).indented(2);
    let source = if service.source.has_repository() { &service.source.repository } else { "no repository" };
    facts.row(["source".into(), source.into()]);
    if !service.source.folder.is_empty() {
        facts.row(["folder".into(), service.source.folder.clone()]);
    }
    if let Some(kept) = service.manifests.first().filter(|kept| kept.until.is_none()) {
        let since = style.ago(kept.at);
        let place =
            if service.source.has_repository() { "outside of the repository" } else { "with the service" };
        let how =
            format!("kept {place}, {since} by {} (lockstep service manifest {})", kept.by, service.name);
        facts.row(["manifest".into(), how]);
    }
    facts.row(["owner".into(), service.owner.clone().unwrap_or_else(|| "nobody named".into())]);
    facts.row(["lifecycle".into(), service.lifecycle.to_string()]);
    facts.row(["registered".into(), style.ago(service.registered)]);
    let _ = writeln!(text, "{}", facts.render(style));
    if service.versions.is_empty() {
        let _ = writeln!(text, "no version yet; cut one: lockstep release {}", service.name);
        return text;
    }
    let mut versions = Table::new(["VERSION", "STAGE", "CUT", "BRANCH", "COMMIT", "RUNS IN"]);
    for version in &service.versions {
        versions.row([
            version.number.to_string(),
            version.stage.to_string(),
            style.ago(version.recorded),
            version.branch.clone(),
            short(&version.commit),
            join(&version.runs_in),
        ]);
    }
    text.push_str(&versions.render(style));
    text
}

/// Returns the first characters of a commit's hash.
fn short(commit: &str) -> String {
    if commit == NO_COMMIT { "none".to_owned() } else { printable(commit).chars().take(10).collect() }
}

fn join(environments: &[EnvironmentName]) -> String {
    environments.iter().map(EnvironmentName::as_str).collect::<Vec<_>>().join(", ")
}
