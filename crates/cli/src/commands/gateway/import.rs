//! `lockstep gateway import`: a route table out of the configuration of another proxy.

use std::path::PathBuf;

use lockstep_domain::EnvironmentName;
use lockstep_manifest::nginx::{Imported, Left, import};
use serde_json::json;

use crate::failure::Failure;
use crate::given_file;
use crate::output::style::printable;
use crate::output::{Format, Output};

/// Longest file that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Makes a route table out of the configuration of another proxy.
///
/// The table is written in TOML, for a gateway without a server. What is not taken over is named, with its line, so that nothing is
/// lost without a word.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway import nginx /etc/nginx/nginx.conf > table.toml")]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum From {
    Nginx(NginxArgs),
}

/// Takes over the usual parts of an nginx configuration.
///
/// Upstreams, servers, locations with proxy_pass or return, header fields and proxy_read_timeout become a table in TOML on standard output.
/// Every directive that is not taken over, or means something else here, is named on standard error with its line. Files that it includes are not read.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway import nginx /etc/nginx/nginx.conf > table.toml
  lockstep gateway check table.toml")]
struct NginxArgs {
    /// The configuration.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the environment of the table is called.
    #[arg(long = "env", value_name = "ENV", default_value = "production")]
    environment: EnvironmentName,
}

impl ImportArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let From::Nginx(NginxArgs { file, environment }) = self.from;
        let text = given_file::text(&file, MAX_FILE)?;
        let shown = file.display();
        let Imported { toml, left } = import(&text, environment.as_str())
            .map_err(|error| Failure::usage(format!("{shown} is no configuration of nginx: {error}")))?;
        if out.format == Format::Json {
            let left: Vec<_> = left.iter().map(document).collect();
            return out.document(&json!({ "toml": toml, "left": left }));
        }
        for Left { line, directive, why } in &left {
            out.message(&printable(&format!("{shown}:{line}: `{directive}`: {why}")));
        }
        out.text(&toml)
    }
}

fn document(Left { line, directive, why }: &Left) -> serde_json::Value {
    json!({ "line": line, "directive": directive, "why": why })
}
