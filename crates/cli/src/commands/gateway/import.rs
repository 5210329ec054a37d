//! `lockstep gateway import`: a route table out of the configuration of another proxy.

use std::path::PathBuf;

use lockstep_domain::EnvironmentName;
use lockstep_manifest::{envoy, nginx};
use serde_json::json;

use crate::exit::Exit;
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
  lockstep gateway import nginx /etc/nginx/nginx.conf > table.toml
  lockstep gateway import envoy envoy.yaml > table.toml")]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum From {
    Nginx(NginxArgs),
    Envoy(EnvoyArgs),
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

/// Takes over the usual parts of a static Envoy configuration, in YAML or JSON.
///
/// Listeners of HTTP with their virtual hosts and routes, and clusters, become a table in TOML on standard output: matches of paths, header fields, methods and queries, weighted clusters, redirects, direct
/// responses, rewrites, timeouts, retries, outlier detection, circuit breakers and TLS of instances. Every field that is not taken over, or means something else here, is named on standard error with its
/// line and place. A route that would take other requests than in Envoy, or send them elsewhere, is not taken over. Files that it names are not read.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway import envoy envoy.yaml > table.toml
  lockstep gateway import envoy envoy.yaml --listener ingress > table.toml
  lockstep gateway check table.toml")]
struct EnvoyArgs {
    /// The configuration.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the environment of the table is called.
    #[arg(long = "env", value_name = "ENV", default_value = "production")]
    environment: EnvironmentName,
    /// The listener whose routes are taken over; the first that serves HTTP when left out.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

impl ImportArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        match self.from {
            From::Nginx(args) => args.run(out),
            From::Envoy(args) => args.run(out),
        }
    }
}

impl NginxArgs {
    fn run(self, out: &Output) -> Result<(), Failure> {
        let (text, shown) = (given_file::text(&self.file, MAX_FILE)?, self.file.display());
        let imported = nginx::import(&text, self.environment.as_str());
        let nginx::Imported { toml, left, astray } = imported
            .map_err(|error| Failure::usage(format!("{shown} is no configuration of nginx: {error}")))?;
        let line = |it: &nginx::Left| format!("{shown}:{}: `{}`: {}", it.line, it.directive, it.why);
        show(out, &toml, left.iter().map(line), left.iter().map(of_nginx))?;
        if astray.is_empty() {
            return Ok(());
        }
        let places: Vec<_> = astray.iter().map(line).collect();
        let what = format!(
            "the table is not what nginx does until somebody has looked at this: {}",
            places.join("; ")
        );
        Err(Failure::new(Exit::EndedBadly, printable(&what)).hint("the table is on standard output"))
    }
}

impl EnvoyArgs {
    fn run(self, out: &Output) -> Result<(), Failure> {
        let (text, shown) = (given_file::text(&self.file, MAX_FILE)?, self.file.display());
        let imported = envoy::import(&text, self.environment.as_str(), self.listener.as_deref());
        let envoy::Imported { toml, left } = imported
            .map_err(|error| Failure::usage(format!("{shown} is no configuration of Envoy: {error}")))?;
        let said = left.iter().map(|it| format!("{shown}:{}: `{}`: {}", it.line, it.place, it.why));
        show(out, &toml, said, left.iter().map(of_envoy))
    }
}

/// Writes the table to standard output, and what is not in it to standard error.
fn show(
    out: &Output,
    toml: &str,
    said: impl Iterator<Item = String>,
    left: impl Iterator<Item = serde_json::Value>,
) -> Result<(), Failure> {
    if out.format == Format::Json {
        return out.document(&json!({ "toml": toml, "left": left.collect::<Vec<_>>() }));
    }
    said.for_each(|line| out.message(&printable(&line)));
    out.text(toml)
}

fn of_nginx(nginx::Left { line, directive, why }: &nginx::Left) -> serde_json::Value {
    json!({ "line": line, "directive": directive, "why": why })
}

fn of_envoy(envoy::Left { line, place, why }: &envoy::Left) -> serde_json::Value {
    json!({ "line": line, "place": place, "why": why })
}
