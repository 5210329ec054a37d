//! `lockstep service manifest`: the manifest that is kept with a service outside of its repository.

use std::path::PathBuf;

use lockstep_api::types::{ManifestRequest, ServiceView};
use lockstep_domain::ServiceName;

use super::read_manifest;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::output::style::Style;

/// Keeps a manifest with a service outside of its repository, or writes the one that is kept.
///
/// For a repository that is not yours. It counts for the releases from then on, in place of one in the repository; versions that are
/// there stay as they are. Who gave which one, and when, is recorded.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep service manifest orders                      writes the one that is kept
  lockstep service manifest orders orders.toml
  lockstep service manifest orders --from-repository    that of the repository counts again")]
pub(super) struct ManifestArgs {
    /// The service.
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// The manifest; the one that is kept is written when this is left out.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Let the manifest in the repository count again.
    #[arg(long, conflicts_with = "file")]
    from_repository: bool,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl ManifestArgs {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let manifest = match (&self.file, self.from_repository) {
            (None, false) => return self.show(ctx),
            (Some(file), _) => Some(read_manifest(file)?.0),
            (None, true) => None,
        };
        let request = ManifestRequest { manifest, reason: self.reason };
        let view = ctx.client.keep_manifest(&self.service, &request)?;
        ctx.out.show(&view, kept_text)
    }

    fn show(&self, ctx: &Context) -> Result<(), Failure> {
        let content = ctx.client.manifest(&self.service)?;
        match ctx.out.format {
            Format::Text => ctx.out.copy(content.as_slice()),
            Format::Json => {
                let content = String::from_utf8_lossy(&content);
                ctx.out.document(&serde_json::json!({ "service": self.service, "content": content }))
            }
        }
    }
}

fn kept_text(view: &ServiceView, style: &Style) -> String {
    let name = &view.name;
    let what = match view.manifests.first().filter(|kept| kept.until.is_none()) {
        Some(kept) => format!("a manifest of {} bytes is kept with {name}", kept.bytes),
        None => format!("the manifest in the repository counts for {name}"),
    };
    format!("{}: {what}\nnext: lockstep release {name}\n", style.good("done"))
}
