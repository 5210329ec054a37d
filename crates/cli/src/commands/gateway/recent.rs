//! `lockstep gateway recent`: the last requests of a gateway, and why each went where it went.

use lockstep_gateway::recent::{Recent, RecentList, TcpKnown};

use super::admin::{self, AdminOption};
use crate::failure::Failure;
use crate::output::Output;
use crate::output::style::{Style, printable};
use crate::output::table::Table;

/// Shows the last requests of a gateway, and why each went where it went.
///
/// A gateway with an admin address keeps its last 10,000 requests in memory: method, host, path without query and token, the client's
/// address, and of header fields, cookies and query parameters what the conditions of its routes ask for; of those that let somebody in, such as authorization, only
/// whether they are there. It shows them to programs of its own host alone.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep gateway recent
  lockstep gateway recent --failed --limit 100 --admin-address 9901")]
pub(super) struct RecentArgs {
    #[command(flatten)]
    admin: AdminOption,
    /// How many are looked at.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Only those of this environment.
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<lockstep_domain::EnvironmentName>,
    /// Only those that ended badly: 500 or more, a client that left, an answer that broke off; TCP connections that neither side ended in order.
    #[arg(long)]
    failed: bool,
}

impl RecentArgs {
    pub(super) fn run(self, out: &Output) -> Result<(), Failure> {
        let mut list = fetch(self.admin.address, self.limit as usize, self.environment.as_ref())?;
        list.requests.retain(|request| !self.failed || failed(request));
        out.show(&list, |list, style| render(&list.requests, style))
    }
}

/// Asks for the last requests.
pub(super) fn fetch(
    address: std::net::SocketAddr,
    limit: usize,
    environment: Option<&lockstep_domain::EnvironmentName>,
) -> Result<RecentList, Failure> {
    let of = environment.map(|name| format!("&environment={name}")).unwrap_or_default();
    admin::ask(address, &format!("/-/recent?limit={limit}{of}"))
}

fn failed(request: &Recent) -> bool {
    request.ended.as_ref().is_some_and(|ended| match request.tcp {
        Some(_) => !matches!(ended.end.as_str(), "client" | "instance"),
        None => ended.status >= 500 || ended.end != "whole",
    })
}

fn render(requests: &[Recent], style: &Style) -> String {
    if requests.is_empty() {
        return "no request yet\n".to_owned();
    }
    let mut table = Table::new(["TIME", "CLIENT", "REQUEST", "ROUTE", "WENT TO", "BY", "STATUS", "MS"]);
    for request in requests {
        let Recent { time, client, .. } = request;
        let short = time.get(11..23).unwrap_or(time);
        let (status, ms) = ended(request);
        table.row([
            short.to_owned(),
            client.clone(),
            asked(request),
            request.route.clone().unwrap_or_default(),
            went(request),
            request.chosen_by.clone().unwrap_or_default(),
            status,
            ms,
        ]);
    }
    table.render(style)
}

fn asked(Recent { tcp, method, host, path, .. }: &Recent) -> String {
    match tcp {
        Some(TcpKnown { port, server_name, .. }) => {
            let name = server_name.as_deref().map(|name| format!(" {}", printable(name))).unwrap_or_default();
            format!("tcp :{port}{name}")
        }
        None => format!("{method} {host}{path}"),
    }
}

fn went(Recent { service, version, ended, .. }: &Recent) -> String {
    let at = ended.as_ref().and_then(|ended| ended.instance.as_ref());
    let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
    // Where another version was asked in the end, the instance is of that.
    let last = ended.as_ref().and_then(|ended| ended.version.as_ref());
    match (service, last.or(version.as_ref())) {
        (Some(service), Some(version)) => format!("{service}@{version}{at}"),
        (Some(service), None) => service.clone(),
        _ => String::new(),
    }
}

/// Says how it ended, and how long it took.
fn ended(request: &Recent) -> (String, String) {
    let Some(ended) = &request.ended else { return ("under way".to_owned(), String::new()) };
    if let Some(TcpKnown { bytes_up, bytes_down, .. }) = &request.tcp {
        let mut said = format!("{}, {bytes_up} B up, {bytes_down} B down", ended.end);
        if ended.tries > 1 {
            said = format!("{said}, {} tries", ended.tries);
        }
        return (said, format!("{:.1}", ended.ms));
    }
    let mut status = match ended.status {
        0 => "none".to_owned(),
        status => status.to_string(),
    };
    for said in ended.code.iter().chain((ended.end != "whole").then_some(&ended.end)) {
        status = format!("{status} {said}");
    }
    if ended.tries > 1 {
        status = format!("{status}, {} tries", ended.tries);
    }
    if ended.hedged.as_deref() == Some("won") {
        status = format!("{status}, hedged");
    }
    if ended.shielded {
        status = format!("{status}, shielded");
    }
    if ended.degraded {
        status = format!("{status}, degraded");
    }
    if ended.mirrored {
        status = format!("{status}, copied");
    }
    if let Some(fault) = &ended.fault {
        status = format!("{status}, {}", printable(fault));
    }
    (status, format!("{:.1}", ended.ms))
}
