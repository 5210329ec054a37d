//! `lockstep metrics`: what is measured, and how Prometheus is told to collect it.

mod delivery;
mod history;

use lockstep_api::types::ScrapeToken;
use lockstep_reach::ServerAddress;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Format;
use crate::output::style::Style;

/// Where the token lies in what is written for Prometheus.
const TOKEN_FILE: &str = "/etc/prometheus/lockstep.token";

/// Shows what is measured, writes what Prometheus needs to collect it, and says how software is delivered.
///
/// The server answers at /metrics, with everything that it knows and what the gateways inside it count. The names are in the guide on
/// monitoring.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep metrics show | grep lockstep_instances\n  lockstep metrics prometheus > prometheus.yml\n  lockstep metrics token > lockstep.token"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: MetricsCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum MetricsCommand {
    Show(ShowArgs),
    Prometheus(PrometheusArgs),
    Token(TokenArgs),
    Delivery(delivery::Args),
    History(history::Args),
}

/// Writes what is measured now, in the text format of Prometheus.
///
/// It is what /metrics of the server answers at this moment; with --json it is one text in a document.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep metrics show | grep lockstep_instances")]
struct ShowArgs {}

/// Writes a configuration by which Prometheus collects from this server, and from the instances that it runs.
///
/// Prometheus shows a token that is good for reading metrics alone: write it to the file that the configuration names.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep metrics prometheus > prometheus.yml")]
struct PrometheusArgs {}

/// Writes the token that is good for reading metrics and for nothing else.
///
/// To exchange it, remove its file and start the server again.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep metrics token > lockstep.token")]
struct TokenArgs {}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            MetricsCommand::Show(_) => show(ctx),
            MetricsCommand::Prometheus(_) => {
                let asks = ctx.client.scrape_token()?.token.is_some();
                ctx.out.text(&configuration(&ctx.globals.server, asks))
            }
            MetricsCommand::Delivery(args) => args.run(ctx),
            MetricsCommand::History(args) => args.run(ctx),
            MetricsCommand::Token(_) => ctx.out.show(&ctx.client.scrape_token()?, token),
        }
    }
}

fn show(ctx: &Context) -> Result<(), Failure> {
    let text = ctx.client.metrics()?;
    match ctx.out.format {
        Format::Text => ctx.out.copy(text.as_slice()),
        Format::Json => ctx.out.document(&serde_json::json!({ "text": String::from_utf8_lossy(&text) })),
    }
}

fn token(token: &ScrapeToken, _style: &Style) -> String {
    token.token.as_ref().map(|token| format!("{token}\n")).unwrap_or_default()
}

/// Writes what `prometheus.yml` needs; `asks` tells whether the server wants a token.
fn configuration(server: &ServerAddress, asks: bool) -> String {
    let scheme = if server.is_tls() { "https" } else { "http" };
    let (authority, base) = (server.authority(), server.base());
    // Prometheus 2.42 leaves `Bearer` out in the discovery where it is not said.
    let by_token = |indent: &str| match asks {
        true => {
            format!(
                "{indent}authorization:\n{indent}  type: Bearer\n{indent}  credentials_file: {TOKEN_FILE}\n"
            )
        }
        false => String::new(),
    };
    let head = match asks {
        true => format!("# lockstep metrics token > {TOKEN_FILE}   (readable by Prometheus alone)\n"),
        false => String::new(),
    };
    format!(
        "{head}scrape_configs:\n\
         # The server, and the gateways inside it. The labels of services stand for what is measured, not for the server.\n\
         - job_name: lockstep\n  \
           scheme: {scheme}\n  \
           metrics_path: {base}/metrics\n  \
           honor_labels: true\n\
         {}  \
           static_configs:\n  \
           - targets: ['{authority}']\n\
         # The instances of services, as they come and go. Those without metrics of their own are shown as down: choose with\n\
         # ?environment=NAME&service=NAME, or by relabel_configs.\n\
         - job_name: lockstep-services\n  \
           http_sd_configs:\n  \
           - url: {scheme}://{authority}{base}/api/v1/targets\n    \
             refresh_interval: 10s\n\
         {}",
        by_token("  "),
        by_token("    "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_names_the_server_and_the_file_of_the_token() {
        let server: ServerAddress = "https://lockstep.example.org/deploy".parse().unwrap();
        let text = configuration(&server, true);
        assert!(
            text.contains("- targets: ['lockstep.example.org:443']")
                || text.contains("- targets: ['lockstep.example.org']")
        );
        assert!(text.contains("  metrics_path: /deploy/metrics\n"));
        assert!(text.contains(
            "    authorization:\n      type: Bearer\n      credentials_file: /etc/prometheus/lockstep.token\n"
        ));
        assert!(!configuration(&server, false).contains("credentials_file"));
    }
}
