//! `lockstep environment`: create an environment, change its settings.

mod entry;

use std::str::FromStr;

use lockstep_api::types::{
    CreateEnvironment, EnvironmentView, GatewayIdentityView, RemoveRequest, SettingsChange,
};
use lockstep_domain::clients_at::ClientsAt;
use lockstep_domain::gateway_rules::{NamedServices, Network, NetworkError, ViaField};
use lockstep_domain::injection::FaultInjection;
use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::lane::LanesAccept;
use lockstep_domain::lost_host::{EvacuateAfter, HostLost};
use lockstep_domain::proven::ProvenAfter;
use lockstep_domain::request_path::{EscapedSlashes, PathForm, PathParameters};
use lockstep_domain::watch::AnswerChecks;
use lockstep_domain::{CallAddress, EnvironmentName, StageName, Strategy};

use crate::confirm::ConfirmOption;
use entry::EntryOptions;

use crate::context::Context;
use crate::failure::Failure;
use crate::operate::plan_text::strategy;
use crate::operate::strategy::StrategyOptions;
use crate::output::counted::counted;
use crate::output::style::Style;
use crate::output::table::Table;
use crate::output::times::exact;
use crate::parse::duration;

/// Creates environments and changes their settings.
///
/// An environment is a place where versions run, with a gateway of its own. It accepts versions from a stage on.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep environment create staging --accepts-from testing
  lockstep environment set production --warm 1h")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: EnvironmentCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum EnvironmentCommand {
    Create(CreateArgs),
    Set(SetArgs),
    Remove(RemoveArgs),
}

/// Creates an environment.
///
/// It begins with the empty baseline 0. Settings that are left out get defaults.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("strategy", |arg| arg.help("How new instances take over; all at once when left out")))]
#[command(after_help = "Examples:
  lockstep environment create staging --accepts-from testing
  lockstep environment create production --strategy canary --steps 5,25,100 --bake 10m --warm 1h")]
struct CreateArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: EnvironmentName,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// Changes settings of an environment.
///
/// Settings that are left out stay as they are.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("strategy", |arg| arg.help("How new instances take over")))]
#[command(after_help = "Examples:
  lockstep environment set production --warm 1h
  lockstep environment set production --strategy blue-green --bake 5m
  lockstep environment set production --gateway-url http://127.0.0.1:8080
  lockstep environment set production --trusted-network 10.0.0.0/8 --trusted-network ::1
  lockstep environment set staging --named-services allow
  lockstep environment set staging --lanes-accept created
  lockstep environment set production --https-port 8443 --http redirect
  lockstep environment set production --client-ca people.pem --client-certificates optional
  lockstep environment set production --proxy-protocol 10.0.0.0/8")]
struct SetArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: EnvironmentName,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// Removes an environment that runs nothing.
///
/// Its history, its configurations, its holds and the keys of its gateways go with it, and nothing brings them back; versions stay. An
/// environment of the same name that is created later is another one: it begins with nothing, and a gateway needs a new key for it. Take its services out first:
/// `lockstep rollback NAME --to 0`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep environment remove review-17 --yes")]
struct RemoveArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: EnvironmentName,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    confirm: ConfirmOption,
}

impl RemoveArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let history = ctx.client.history(&self.name)?;
        let keys = self.keys(ctx)?;
        let baselines = counted(history.baselines.len(), "baseline");
        let held = counted(ctx.client.environment(&self.name)?.holds.len(), "hold");
        self.confirm.ask(&format!(
            "this removes environment {} with its history ({baselines}), its configurations with their secrets, \
             and {held}{keys}; data folders of its services stay (lockstep data list {})",
            self.name,
            self.name
        ))?;
        let left = ctx.client.remove_environment(&self.name, &RemoveRequest { reason: self.reason })?;
        let name = self.name;
        ctx.out.show(&left, |_, style| format!("{}: environment {name} is removed\n", style.good("done")))
    }

    /// Says which keys of gateways go with it, and which go on for other environments alone.
    fn keys(&self, ctx: &Context) -> Result<String, Failure> {
        let gateways = ctx.client.gateways()?;
        let of_it = gateways.iter().filter(|gateway| gateway.environments.contains(&self.name));
        let (ending, staying): (Vec<_>, Vec<_>) = of_it.partition(|gateway| gateway.environments.len() == 1);
        let names = |all: Vec<&GatewayIdentityView>| {
            all.iter().map(|gateway| gateway.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let mut text = String::new();
        if !ending.is_empty() {
            text += &format!(", and ends the keys of the gateways {}", names(ending));
        }
        if !staying.is_empty() {
            text += &format!(", and the keys of {} are for their other environments alone", names(staying));
        }
        Ok(text)
    }
}

#[derive(Debug, Clone, clap::Args)]
struct SettingsOptions {
    /// The first stage whose versions are accepted.
    #[arg(long, value_name = "STAGE")]
    accepts_from: Option<StageName>,
    /// The first stage whose versions may run in lanes (`lockstep lane`) although they are not accepted for deployments, or `none`.
    #[arg(long, value_name = "STAGE")]
    lanes_accept: Option<LanesAccept>,
    /// How long old instances stay after a change, so that going back is a change of routes.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    warm: Option<u64>,
    /// How long a version must be healthy there, without a restart, before it counts as having run there.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    stay: Option<u64>,
    /// How long an instance that gets no more requests has for those that it has begun; when left out as long as the longest time
    /// limit of its routes, and at least a minute.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    drain: Option<u64>,
    /// The port of its gateway.
    #[arg(long, value_name = "PORT")]
    gateway_port: Option<u16>,
    /// Where clients from outside come in: `server`, to the gateway in the server alone; or `hosts:` with labels, as well to the gateways of its hosts that
    /// have them all, at the addresses of these hosts and the ports of the environment.
    #[arg(long = "gateway", value_name = "WHERE")]
    clients_at: Option<ClientsAt>,
    /// Where the ports of its instances are taken from: a range, such as `21000-21999`, or `server` for the range of the server.
    #[arg(long, value_name = "FIRST-LAST")]
    instance_ports: Option<InstancePorts>,
    /// Where instances call other services: the URL of a gateway of its own, or `server` for the one inside the server.
    #[arg(long, value_name = "URL")]
    gateway_url: Option<CallAddress>,
    /// Who may ask for a service by its name, without a route: only `instances`, or everybody (`allow`).
    #[arg(long, value_name = "WHO")]
    named_services: Option<NamedServices>,
    /// Believe what clients in this network say of the request before them; may be repeated, `none` for none.
    #[arg(long = "trusted-network", value_name = "NETWORK")]
    trusted_networks: Vec<TrustedNetwork>,
    /// How long a service may say nothing before its answer and within it, where its route does not say.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    request_timeout: Option<u64>,
    /// Whether faults can be injected (`lockstep fault`): `allow`, or `refuse`, which also ends all there are.
    #[arg(long, value_name = "WHAT")]
    fault_injection: Option<FaultInjection>,
    /// Whether services see the gateway in the field `via`: `add`, or `omit` for services that do less when they see it (nginx does not compress).
    #[arg(long, value_name = "WHAT")]
    via: Option<ViaField>,
    /// How paths are written when they are sent on: `normalized`, as routes see them; `keep-slashes`, where several slashes stay several; or `as-sent`,
    /// byte for byte, where paths with `.` or `..` are refused. Routes see the one form of each.
    #[arg(long, value_name = "FORM")]
    path_form: Option<PathForm>,
    /// What becomes of slashes that a path has encoded (`%2F`, `%5C`): `keep`, so that `/admin%2Fx` is not below `/admin`, also where its service takes it
    /// for that; `refuse`; `decode`; or `redirect` to where they are slashes.
    #[arg(long, value_name = "WHAT")]
    escaped_slashes: Option<EscapedSlashes>,
    /// What becomes of parameters in a path (`/admin;v=2`): `keep`, so that it is not below `/admin`, also where its service takes it for that, as servlets
    /// do; or `refuse`.
    #[arg(long, value_name = "WHAT")]
    path_parameters: Option<PathParameters>,
    /// Whether a few answers of versions on trial are compared with their contracts: `sampled`, or `off`, and no body is looked at.
    #[arg(long, value_name = "WHAT", value_parser = answer_checks)]
    check_answers: Option<AnswerChecks>,
    /// How long a baseline has to be current without an alarm before it is proven, so that `rollback --to-last-good` goes to it.
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    proven_after: Option<u64>,
    /// How many requests it has to answer in that time before it is proven; 0 lets time alone decide.
    #[arg(long, value_name = "COUNT")]
    proven_requests: Option<u64>,
    /// What an operation does when a host fails before the switch and no other can take what was to start there: `go-back`, `wait` for it, or `go-on`
    /// without it where at least half of the instances remain.
    #[arg(long, value_name = "WHAT")]
    host_lost: Option<HostLost>,
    /// Move what runs on a host to others once it was not reached for this time, or `never`, and a person does (`lockstep host evacuate`).
    #[arg(long, value_name = "DURATION", value_parser = evacuate_after)]
    evacuate_after: Option<EvacuateAfter>,
    #[command(flatten)]
    entry: EntryOptions,
    #[command(flatten)]
    strategy: StrategyOptions,
}

/// Reads a duration, or `never`.
fn evacuate_after(text: &str) -> Result<EvacuateAfter, String> {
    match text {
        "never" => Ok(EvacuateAfter::Never),
        _ => duration::milliseconds(text).map(EvacuateAfter::Ms),
    }
}

/// Reads `sampled` or `off`.
fn answer_checks(text: &str) -> Result<AnswerChecks, String> {
    match text {
        "sampled" => Ok(AnswerChecks::Sampled),
        "off" => Ok(AnswerChecks::Off),
        _ => Err("expected `sampled` or `off`".to_owned()),
    }
}

/// One value of `--trusted-network`.
#[derive(Debug, Clone, Copy)]
enum TrustedNetwork {
    None,
    One(Network),
}

impl FromStr for TrustedNetwork {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "none" { Ok(Self::None) } else { text.parse().map(Self::One) }
    }
}

impl SettingsOptions {
    fn change(&self, strategy: Option<Strategy>) -> Result<SettingsChange, Failure> {
        Ok(SettingsChange {
            accepts_from: self.accepts_from.clone(),
            lanes_accept: self.lanes_accept.clone(),
            strategy,
            warm_ms: self.warm,
            stay_ms: self.stay,
            drain_ms: self.drain,
            gateway_port: self.gateway_port,
            instance_ports: self.instance_ports,
            gateway_url: self.gateway_url.clone(),
            named_services: self.named_services,
            trusted_networks: self.trusted_networks(),
            request_timeout_ms: self.request_timeout,
            fault_injection: self.fault_injection,
            via: self.via,
            path_form: self.path_form,
            escaped_slashes: self.escaped_slashes,
            path_parameters: self.path_parameters,
            answer_checks: self.check_answers,
            proven_ms: self.proven_after,
            proven_requests: self.proven_requests,
            host_lost: self.host_lost,
            evacuate_after: self.evacuate_after,
            clients_at: self.clients_at.clone(),
            entry: self.entry.change()?,
        })
    }

    fn trusted_networks(&self) -> Option<Vec<Network>> {
        let one = |network: &TrustedNetwork| match network {
            TrustedNetwork::None => None,
            TrustedNetwork::One(network) => Some(*network),
        };
        let given = !self.trusted_networks.is_empty();
        given.then(|| self.trusted_networks.iter().filter_map(one).collect())
    }
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let view = match self.command {
            EnvironmentCommand::Create(args) => {
                let request = CreateEnvironment {
                    name: args.name,
                    settings: args.settings.change(args.settings.strategy.alone()?)?,
                };
                ctx.client.create_environment(&request)?
            }
            EnvironmentCommand::Set(args) => {
                let strategy = args.settings.strategy.resolve(ctx, &args.name)?;
                let change = args.settings.change(strategy)?;
                if change == SettingsChange::default() {
                    return Err(Failure::usage("nothing to set")
                        .hint(format!("for example lockstep environment set {} --warm 1h", args.name)));
                }
                ctx.client.change_environment(&args.name, &change)?
            }
            EnvironmentCommand::Remove(args) => return args.run(ctx),
        };
        ctx.out.show(&view, settings_text)
    }
}

fn counted_requests(requests: u64) -> String {
    match requests {
        0 => "whatever is asked".to_owned(),
        1 => "1 request".to_owned(),
        many => format!("{many} requests"),
    }
}

fn call_address(view: &EnvironmentView) -> String {
    match &view.settings.gateway_url {
        CallAddress::Server => "the gateway inside the server".to_owned(),
        CallAddress::Elsewhere(url) => format!("{url}, from their next start on"),
    }
}

fn trusted(networks: &[Network]) -> String {
    let texts: Vec<String> = networks.iter().map(Network::to_string).collect();
    if texts.is_empty() { "no network".to_owned() } else { texts.join(", ") }
}

fn settings_text(view: &EnvironmentView, style: &Style) -> String {
    let settings = &view.settings;
    let mut table = Table::new(["", ""]).indented(2);
    table.row(["accepts from".into(), settings.accepts_from.to_string()]);
    if !settings.lanes_accept.is_usual() {
        table.row(["in lanes from".into(), settings.lanes_accept.to_string()]);
    }
    table.row(["strategy".into(), strategy(&settings.strategy)]);
    table.row(["warm".into(), exact(settings.warm_ms)]);
    table.row(["stay".into(), exact(settings.stay_ms)]);
    let drain = settings.drain_ms.map_or_else(|| "as long as time limits, at least 1m".to_owned(), exact);
    table.row(["drain".into(), drain]);
    table.row(["gateway".into(), view.gateway.clone()]);
    if !settings.clients_at.is_server() {
        table.row(["clients come to".into(), settings.clients_at.to_string()]);
    }
    for entrance in &view.entry.hosts {
        table.row([String::new(), format!("{} at {}", entrance.host, entrance.urls.join(" and "))]);
    }
    if let InstancePorts::Own(range) = settings.instance_ports {
        table.row(["instance ports".into(), range.to_string()]);
    }
    table.row(["instances call".into(), call_address(view)]);
    let rules = &settings.gateway_rules;
    table.row(["named services".into(), rules.named_services.to_string()]);
    table.row(["trusted".into(), trusted(&rules.trusted_networks)]);
    table.row(["request timeout".into(), rules.timeout_ms.map_or_else(|| "1m".into(), exact)]);
    if !rules.fault_injection.is_refused() {
        table.row(["fault injection".into(), rules.fault_injection.to_string()]);
    }
    if !rules.via.is_added() {
        table.row(["via".into(), rules.via.to_string()]);
    }
    if !rules.path_form.is_normalized() {
        table.row(["path form".into(), rules.path_form.to_string()]);
    }
    if !rules.escaped_slashes.is_keep() {
        table.row(["escaped slashes".into(), rules.escaped_slashes.to_string()]);
    }
    if !rules.path_parameters.is_keep() {
        table.row(["path parameters".into(), rules.path_parameters.to_string()]);
    }
    for page in &rules.maintenance {
        table.row([format!("maintenance {}", page.number), page.to_string()]);
    }
    let ProvenAfter { ms, requests } = settings.proven_after;
    table.row(["proven after".into(), format!("{}, {}", exact(ms), counted_requests(requests))]);
    let compared = if settings.answer_checks.is_off() { "off" } else { "sampled while on trial" };
    table.row(["answers checked".into(), compared.into()]);
    if !settings.lost_hosts.is_usual() {
        table.row(["host lost".into(), settings.lost_hosts.before_switch.to_string()]);
    }
    if let EvacuateAfter::Ms(ms) = settings.lost_hosts.evacuate_after {
        table.row(["evacuated after".into(), exact(ms)]);
    }
    entry::rows(&settings.entry).into_iter().for_each(|row| table.row(row));
    let warning = settings.entry.warning().map(|why| format!("  {} {why}\n", style.warn("warning:")));
    let warning = warning.unwrap_or_default();
    format!("{}: environment {}\n{}{warning}", style.good("done"), view.name, table.render(style))
}
