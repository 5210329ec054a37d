//! `lockstep status`: what runs where, right now.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use lockstep_api::types::{
    DataFolderView, EntryView, EnvironmentView, ExposedInstance, GatewayView, HostConnection, HostView,
    LimitedArm, OtherVersion, PreparedArm, ProcessStatus, ScheduleView, ServiceStatus,
};
use lockstep_domain::breaker::Phase;
use lockstep_domain::host::Stance;
use lockstep_domain::routes::LeftAlone;
use lockstep_domain::{Instance, InstanceId, InstanceState, Timestamp};

use super::route::takes;
use crate::context::Context;
use crate::failure::Failure;
use crate::operate::plan_text::entry;
use crate::output::hosts;
use crate::output::instances::of_environment;
use crate::output::runs::outcome;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times::{self, exact, until};
use crate::output::work;
use crate::parse::share::percent;
use crate::select::EnvironmentArgument;

/// Shows what runs, right now.
///
/// Shows the baseline of an environment, every service with its version, instances, share of the requests and
/// failures, where it can go back to at once, the operation under way, rules, and holds. Without an environment, all of them.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep status\n  lockstep status production\n  lockstep status production --json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    environment: EnvironmentArgument,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        if let Some(name) = self.environment.given() {
            let (view, hosts) = (ctx.client.environment(name)?, ctx.client.hosts()?);
            return ctx.out.show(&view, |view, style| {
                render((view, &hosts), style) + &unprotected(&view.unprotected, style)
            });
        }
        let hosts = ctx.client.hosts()?;
        let summaries = ctx.client.environments()?;
        let views: Result<Vec<_>, _> =
            summaries.iter().map(|summary| ctx.client.environment(&summary.name)).collect();
        ctx.out.show(&views?, |views, style| match views.as_slice() {
            [] => "there is no environment yet; create one: lockstep environment create NAME\n".to_owned(),
            views => all((views, &hosts), style),
        })
    }
}

/// What the host does not protect is said once, after all environments.
fn all((views, hosts): (&[EnvironmentView], &[HostView]), style: &Style) -> String {
    let texts: Vec<_> = views.iter().map(|view| render((view, hosts), style)).collect();
    let host = views.first().map(|view| unprotected(&view.unprotected, style)).unwrap_or_default();
    texts.join("\n") + &host
}

fn unprotected(open: &[String], style: &Style) -> String {
    let line = |open: &String| format!("  {} {}\n", style.warn("not protected:"), printable(open));
    open.iter().map(line).collect()
}

/// Where clients come in by https, and what is to be known of it.
fn https(entry: &EntryView, style: &Style) -> String {
    let mut text = String::new();
    if let Some(https) = &entry.https {
        let _ = writeln!(text, "  https {}", printable(https));
    }
    for entrance in &entry.hosts {
        let urls = printable(&entrance.urls.join(" and ")).into_owned();
        let _ = writeln!(text, "  clients come in at {}, {urls}", entrance.host);
    }
    for warning in &entry.warnings {
        let _ = writeln!(text, "  {} {}", style.warn("entry:"), printable(warning));
    }
    text
}

/// What keeps instances from starting on hosts of an environment, or from being seen there.
fn hosts_in_the_way(view: &EnvironmentView, all: &[HostView], style: &Style) -> String {
    let serves = |host: &&HostView| host.settings.environments.contains(&view.name);
    let line = |host: &HostView| {
        let is_good = (&host.connection, host.stance) == (&HostConnection::Here, Stance::Open);
        let (mark, name) = (style.warn("host:"), &host.name);
        let state = printable(&hosts::short_state(&host.connection)).into_owned();
        let goes = host.evacuates_after_ms.filter(|_| host.connection != HostConnection::Here);
        let goes = goes.filter(|_| host.stance != Stance::Draining);
        let goes = goes.map(|ms| format!(", evacuated by itself after {}", exact(ms))).unwrap_or_default();
        (!is_good).then(|| {
            format!("  {mark} {name} is {state}, {}{goes} (lockstep host show {name})\n", host.stance)
        })
    };
    let here = |host: &HostView, id: &InstanceId| {
        host.instances.iter().any(|it| it.id == *id && it.environment == view.name)
    };
    let misplaced = all.iter().flat_map(|host| host.misplaced.iter().map(move |it| (host, it)));
    let misplaced = misplaced.filter(|(host, it)| here(host, &it.instance));
    let misplaced = misplaced.map(|(host, it)| hosts::misplaced_line(host, it, style));
    all.iter().filter(serves).filter_map(line).chain(misplaced).collect()
}

fn render((view, hosts): (&EnvironmentView, &[HostView]), style: &Style) -> String {
    let title = style.strong(view.name.as_str());
    let mut text = format!("{title}  baseline {}, {}", view.baseline, style.ago(view.baseline_since));
    let _ = writeln!(text, ", gateway {}", printable(&view.gateway));
    text.push_str(&https(&view.entry, style));
    for page in &view.settings.gateway_rules.maintenance {
        let (number, word) = (page.number, style.warn("maintenance:"));
        let said = printable(&page.to_string()).into_owned();
        let _ = writeln!(text, "  {word} {said} (lockstep maintenance off {number} --env {})", view.name);
    }
    for operation in view.operation.iter().chain(&view.beside) {
        let under_way = style.warn("under way:");
        let (id, intent) = (operation.id, printable(&operation.intent.to_string()).into_owned());
        let _ = writeln!(text, "  {under_way} operation {id}, {intent} (lockstep watch {id})");
    }
    for missing in &view.waits_for {
        let _ = writeln!(text, "  {} {}", style.warn("waits:"), printable(missing));
    }
    for (gateway, problem) in view.gateways.iter().filter_map(|seen| Some((seen, seen.problem.as_ref()?))) {
        let (mark, who) = (style.warn("gateway:"), printable(&gateway.gateway));
        let _ = writeln!(text, "  {mark} {who} {}: {}", style.ago(gateway.seen), printable(problem));
    }
    text.push_str(&hosts_in_the_way(view, hosts, style));
    text.push_str(&left_alone(&view.gateways, style));
    text.push_str(&services(&view.services, style));
    text.push_str(&instances(&view.services, style));
    text.push_str(&work::lines(&view.services, style));
    text.push_str(&prepared(&view.services, style));
    text.push_str(&externals(&view.services, style));
    text.push_str(&exposed(&view.exposed, style));
    text.push_str(&limits(&view.limits, style));
    text.push_str(&schedules(&view.schedules, style));
    if !view.resources.is_empty() {
        text.push_str(&super::resource::rows(&view.resources).indented(2).render(style));
    }
    text.push_str(&data(&view.data, style));
    for rule in &view.version_rules {
        let (takes, service, version) = (takes(&rule.takes), &rule.service, &rule.version);
        let _ = writeln!(text, "  rule {}: {takes} -> {service} {version}", rule.number);
    }
    for lane in &view.lanes {
        let (name, when) = (&lane.new.name, printable(&lane.condition()).into_owned());
        let _ = writeln!(text, "  lane {name}: {when} -> {}", super::lane::services(lane));
    }
    for held in &view.holds {
        let reason = printable(&held.hold.reason).into_owned();
        let _ = writeln!(text, "  held: {} {}: {reason}", held.version, style.ago(held.hold.since));
    }
    for (gateway, refused) in view.gateways.iter().filter_map(|it| Some((&it.gateway, it.refused.as_ref()?)))
    {
        let (gateway, why) = (printable(gateway), printable(&refused.why));
        let _ = writeln!(text, "  gateway {gateway} refused route table {}: {why}", refused.revision);
    }
    text
}

/// What gateways leave alone because it fails.
fn left_alone(gateways: &[GatewayView], style: &Style) -> String {
    let mut text = String::new();
    for (gateway, it) in gateways.iter().flat_map(|seen| seen.left_alone.iter().map(move |it| (seen, it))) {
        let (who, arm) = (printable(&gateway.gateway), it.arm.version_ref());
        let from =
            it.caller.as_ref().map(|caller| format!(" of {}", caller.version_ref())).unwrap_or_default();
        let how = match it.phase {
            Phase::Open => "none of its requests",
            Phase::Closed | Phase::HalfOpen => "one of its requests at a time",
        };
        let (mark, LeftAlone { degraded, answered, .. }) = (style.warn("fails:"), it);
        let _ = writeln!(
            text,
            "  {mark} {arm} gets {how}{from} from gateway {who}; {degraded} went to the version before, {answered} were answered by the gateway"
        );
    }
    text
}

fn services(services: &[ServiceStatus], style: &Style) -> String {
    if services.is_empty() {
        return "  nothing runs here\n".to_owned();
    }
    let mut table =
        Table::new(["SERVICE", "VERSION", "HEALTHY", "REQUESTS", "FAILED", "BACK AT ONCE TO"]).indented(2);
    for service in services {
        table.row([
            service.service.to_string(),
            version(service),
            healthy(service),
            service.arms.iter().map(|arm| arm.traffic.requests).sum::<u64>().to_string(),
            service.arms.iter().map(|arm| arm.traffic.failures).sum::<u64>().to_string(),
            warm(service, style),
        ]);
        for process in service.processes.iter().filter(|process| !process.is_main) {
            let (name, healthy) = (format!("  {}", process.process), healthy_of(service, process));
            table.row([name, String::new(), healthy, String::new(), String::new(), String::new()]);
        }
    }
    table.render(style)
}

/// Counts the healthy instances of a process that works beside the main one, and how many are wanted of them.
fn healthy_of(service: &ServiceStatus, process: &ProcessStatus) -> String {
    let of_it = |it: &&Instance| it.arm.process.as_ref() == Some(&process.process);
    let healthy = service.instances.iter().filter(of_it).filter(|it| it.state.is_healthy());
    format!("{} of {}", healthy.count(), process.replicas)
}

/// Returns the version in the baseline, and the shares of the arms while there are several.
fn version(service: &ServiceStatus) -> String {
    let shared: Vec<_> = service.arms.iter().filter(|arm| arm.weight > 0).collect();
    match shared.as_slice() {
        [] | [_] => entry(service.entry.as_ref()),
        arms => {
            let shares = arms.iter().map(|arm| format!("{} {}", arm.arm.version, percent(arm.weight)));
            shares.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Counts healthy instances of the arms that have requests, and how many are wanted of them.
fn healthy(service: &ServiceStatus) -> String {
    if service.entry.is_none() && service.arms.is_empty() {
        return "-".to_owned();
    }
    let serves = |instance: &&Instance| {
        let arm = service.arms.iter().find(|status| status.arm == instance.arm);
        let is_main = instance.arm.process.is_none();
        is_main
            && instance.state.is_healthy()
            && arm.is_none_or(|arm| arm.weight > 0)
            && !is_warm(service, instance)
    };
    match service.replicas {
        0 if service.processes.is_empty() => return "only jobs".to_owned(),
        0 => return String::new(),
        _ => {}
    }
    let arms = service.arms.iter().filter(|arm| arm.weight > 0).count().max(1);
    format!("{} of {}", service.instances.iter().filter(serves).count(), service.replicas as usize * arms)
}

fn is_warm(service: &ServiceStatus, instance: &Instance) -> bool {
    service.warm.iter().any(|warm| warm.arm == instance.arm)
}

fn warm(service: &ServiceStatus, style: &Style) -> String {
    let warm = service.warm.iter().map(|warm| {
        let config = if warm.arm.config.0 > 0 { format!(" ({})", warm.arm.config) } else { String::new() };
        format!("{}{config} {}", warm.arm.version, kept((warm.until, warm.left_ms), style))
    });
    warm.collect::<Vec<_>>().join(", ")
}

/// Says how long something is kept: by what the server says is left, because its clock may go on ahead of the one here.
fn kept((end, left_ms): (Timestamp, Option<u64>), style: &Style) -> String {
    let now = style.now();
    until(now, left_ms.map_or(end, |left| now.plus_ms(left)))
}

fn instances(services: &[ServiceStatus], style: &Style) -> String {
    let all = services.iter().flat_map(|service| &service.instances);
    let shown: Vec<_> = all.filter(|instance| instance.state != InstanceState::Stopped).collect();
    if shown.is_empty() { String::new() } else { of_environment(&shown, style).indented(2).render(style) }
}

/// A line for each version that is kept ready to be started.
fn prepared(services: &[ServiceStatus], style: &Style) -> String {
    let line = |it: &PreparedArm| {
        let (arm, until) = (&it.arm, kept((it.until, it.left_ms), style));
        match &it.refused {
            Some(why) => format!("  cannot be gone back to: {arm}: {}\n", printable(why)),
            None => format!("  prepared: {arm} {until}: {}\n", printable(&it.start.to_string())),
        }
    };
    services.iter().flat_map(|service| &service.prepared).map(line).collect()
}

/// Where each service is that somebody else runs, which version it is, and what to type where it is not the one that runs here.
fn externals(services: &[ServiceStatus], style: &Style) -> String {
    let line = |service: &ServiceStatus| {
        let external = service.external.as_ref()?;
        let (name, address) = (&service.service, printable(&external.address));
        let version = other_version(&external.version, service, style);
        Some(format!("  external: {name} at {address}, {version}\n"))
    };
    services.iter().filter_map(line).collect()
}

fn other_version(version: &OtherVersion, service: &ServiceStatus, style: &Style) -> String {
    let release = entry(service.entry.as_ref());
    let OtherVersion::Asked { says, since, problem, hint, .. } = version else {
        return format!("version told: {release}");
    };
    let problem = problem.as_ref().map(|why| format!("; {} {}", style.warn("no answer:"), printable(why)));
    let problem = problem.unwrap_or_default();
    let Some(says) = says else { return format!("version not asked yet{problem}") };
    let since = since.map(|at| format!(" since {}", style.ago(at))).unwrap_or_default();
    let says = format!("says {}{since}", printable(says));
    match hint {
        None => format!("{says}{problem}"),
        Some(hint) => {
            let mark = style.warn("and not");
            format!("{says} {mark} {release}, which runs here{problem}\n    next: {}", printable(hint))
        }
    }
}

/// A line for each instance that can be called past the gateway.
fn exposed(instances: &[ExposedInstance], style: &Style) -> String {
    let line = |it: &ExposedInstance| {
        let addresses: Vec<_> = it.addresses.iter().map(ToString::to_string).collect();
        let (mark, addresses) = (style.warn("open to others:"), addresses.join(", "));
        format!(
            "  {mark} {} listens on {addresses}: who reaches this machine can call it past the gateway; let it listen on HOST\n",
            it.instance
        )
    };
    instances.iter().map(line).collect()
}

/// Whom each version runs as, how its limits are held, and what of them is not.
fn limits(arms: &[LimitedArm], style: &Style) -> String {
    let lines = |it: &LimitedArm| {
        let held = (!it.held.held.is_empty())
            .then(|| format!("  limits: {}: {}\n", it.arm, it.held.held.join("; ")));
        let open = it
            .held
            .what_is_open()
            .map(|open| format!("  {} {}: {}\n", style.warn("limits not held:"), it.arm, printable(&open)));
        let user = it.user.as_ref().map(|user| format!("  user: {}: {}\n", it.arm, printable(user)));
        user.into_iter().chain(held).chain(open).collect::<String>()
    };
    arms.iter().map(lines).collect()
}

/// A line for each job with a schedule: when its time comes next, and what became of the last one.
fn schedules(schedules: &[ScheduleView], style: &Style) -> String {
    let line = |it: &ScheduleView| {
        let next = it.next.map_or_else(|| "never".to_owned(), |at| times::ahead(times::now(), at));
        let last = it.last.as_ref().map(|last| format!("; last {}: {}", last.due.day(), outcome(last)));
        let (schedule, last) = (printable(&it.schedule.to_string()).into_owned(), last.unwrap_or_default());
        format!("  job {} of {}: {schedule}, {next}{}\n", it.job, it.service, marked(it, &last, style))
    };
    schedules.iter().map(line).collect()
}

/// What failed stands out.
fn marked(schedule: &ScheduleView, text: &str, style: &Style) -> String {
    let end = schedule.last.as_ref().and_then(|last| last.run()?.end.as_ref());
    if end.is_some_and(|end| end.failure.is_some()) { style.warn(text) } else { text.to_owned() }
}

/// A line for each service that keeps data; what is left behind by name.
fn data(folders: &[DataFolderView], style: &Style) -> String {
    let mut text = String::new();
    let services: BTreeSet<_> = folders.iter().map(|folder| &folder.service).collect();
    for service in services {
        let of_service = || folders.iter().filter(|folder| folder.service == *service);
        let names = |folders: Vec<&DataFolderView>| {
            folders.iter().map(|it| printable(it.folder.as_str()).into_owned()).collect::<Vec<_>>().join(", ")
        };
        let kept: Vec<_> = of_service().filter(|it| !it.declared_by.is_empty()).collect();
        if !kept.is_empty() {
            let _ = writeln!(text, "  data of {service}: {}", names(kept));
        }
        let left: Vec<_> = of_service().filter(|it| it.declared_by.is_empty()).collect();
        if !left.is_empty() {
            let mark = style.warn("left behind:");
            let _ = writeln!(text, "  {mark} data of {service} in {} (lockstep data list)", names(left));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use lockstep_api::types::{ArmStatus, HeldVersion, WarmArm};
    use lockstep_domain::edition::TableHistory;
    use lockstep_domain::environment::{EnvironmentSettings, Hold};
    use lockstep_domain::fault::Fault;
    use lockstep_domain::gateway_rules::GatewayRules;
    use lockstep_domain::routes::ArmTraffic;
    use lockstep_domain::routes::RefusedTable;
    use lockstep_domain::{Arm, BaselineEntry, CallAddress, ConfigRevision, Strategy, VersionNumber};

    use super::*;

    fn arm(minor: u64) -> Arm {
        let service = "orders".parse().unwrap();
        Arm { service, version: VersionNumber::new(1, minor, 0), config: ConfigRevision(0), process: None }
    }

    fn instance(id: &str, minor: u64, state: InstanceState) -> Instance {
        Instance {
            id: id.parse().unwrap(),
            environment: "production".parse().unwrap(),
            arm: arm(minor),
            state,
            address: Some("127.0.0.1:4000".parse().unwrap()),
            since: Timestamp(0),
            restarts: 0,
            job: None,
            resource: None,
            host: None,
        }
    }

    fn folder(name: &str, is_declared: bool) -> DataFolderView {
        DataFolderView {
            environment: "production".parse().unwrap(),
            service: "orders".parse().unwrap(),
            of_resource: None,
            folder: name.parse().unwrap(),
            path: format!("/data/{name}"),
            is_there: true,
            declared_by: if is_declared { vec![VersionNumber::new(1, 4, 0)] } else { Vec::new() },
            last_declared_by: None,
            size: None,
        }
    }

    fn view(weights: [u32; 2]) -> EnvironmentView {
        let status = |minor, weight| ArmStatus {
            arm: arm(minor),
            weight,
            traffic: ArmTraffic { requests: 10, failures: 1 },
        };
        let service = ServiceStatus {
            service: "orders".parse().unwrap(),
            entry: Some(BaselineEntry { version: VersionNumber::new(1, 4, 0), config: ConfigRevision(0) }),
            replicas: 1,
            processes: Vec::new(),
            instances: vec![
                instance("orders-1.4.0-a", 4, InstanceState::Healthy),
                instance("orders-1.3.0-b", 3, InstanceState::failed("exit 1\nlog", Fault::Crash)),
            ],
            arms: vec![status(3, weights[0]), status(4, weights[1])],
            warm: vec![WarmArm { arm: arm(3), until: Timestamp(90_000), left_ms: None }],
            work: Vec::new(),
            prepared: Vec::new(),
            external: None,
        };
        let hold = Hold { reason: "rolled back".into(), since: Timestamp(0), by: "ann".parse().unwrap() };
        EnvironmentView {
            name: "production".parse().unwrap(),
            settings: EnvironmentSettings {
                accepts_from: "created".parse().unwrap(),
                lanes_accept: Default::default(),
                strategy: Strategy::AllAtOnce,
                warm_ms: 0,
                stay_ms: 0,
                drain_ms: None,
                instance_ports: lockstep_domain::instance_ports::InstancePorts::Server,
                gateway_port: 1,
                gateway_url: CallAddress::Server,
                gateway_rules: GatewayRules::usual(),
                entry: Box::default(),
                answer_checks: lockstep_domain::watch::AnswerChecks::usual(),
                proven_after: Default::default(),
                lost_hosts: Default::default(),
                clients_at: Default::default(),
            },
            gateway: "http://127.0.0.1:8500".into(),
            entry: Default::default(),
            baseline: 18,
            baseline_since: Timestamp(0),
            services: vec![service],
            operation: None,
            beside: Vec::new(),
            waits_for: Vec::new(),
            version_rules: Vec::new(),
            lanes: Vec::new(),
            schedules: Vec::new(),
            databases: Vec::new(),
            exposed: Vec::new(),
            limits: Vec::new(),
            resources: Vec::new(),
            holds: vec![HeldVersion { version: "orders@1.5.0".parse().unwrap(), hold }],
            gateways: vec![GatewayView {
                gateway: "edge-1".into(),
                history: TableHistory::default(),
                revision: 4,
                refused: Some(RefusedTable {
                    history: TableHistory::default(),
                    revision: 3,
                    why: "it is older".into(),
                }),
                outside: Vec::new(),
                left_alone: vec![LeftAlone {
                    arm: arm(4),
                    caller: None,
                    phase: Phase::Open,
                    degraded: 120,
                    answered: 3,
                }],
                seen: Timestamp(0),
                problem: None,
            }],
            data: vec![folder("db", true), folder("var", true), folder("old", false)],
            unprotected: vec!["a service can read the keys".into()],
        }
    }

    #[test]
    fn an_environment_is_shown_with_everything_a_person_asks_at_night() {
        let text = render((&view([0, 10_000]), &[]), &Style::at(Timestamp(30_000)));
        assert_eq!(
            text,
            "production  baseline 18, 30 s ago, gateway http://127.0.0.1:8500\n  \
             fails: orders@1.4.0 gets none of its requests from gateway edge-1; 120 went to the version before, 3 were answered by the gateway\n  \
             SERVICE  VERSION  HEALTHY  REQUESTS  FAILED  BACK AT ONCE TO\n  \
             orders   1.4.0    1 of 1   20        2       1.3.0 for 1 min\n  \
             INSTANCE        STATE           ADDRESS         SINCE     RESTARTS\n  \
             orders-1.4.0-a  healthy         127.0.0.1:4000  30 s ago  0\n  \
             orders-1.3.0-b  failed: exit 1  127.0.0.1:4000  30 s ago  0\n  \
             data of orders: db, var\n  \
             left behind: data of orders in old (lockstep data list)\n  \
             held: orders@1.5.0 30 s ago: rolled back\n  \
             gateway edge-1 refused route table 3: it is older\n"
        );
    }

    #[test]
    fn what_is_warm_is_told_by_what_is_left_whatever_the_clocks_say() {
        let mut ahead = view([0, 10_000]);
        ahead.services[0].warm[0].until = Timestamp(86_490_000);
        ahead.services[0].warm[0].left_ms = Some(60_000);
        let text = render((&ahead, &[]), &Style::at(Timestamp(30_000)));
        assert!(text.contains("1.3.0 for 1 min\n"), "{text}");
    }

    #[test]
    fn what_the_host_does_not_protect_is_said_once() {
        let text = all((&[view([0, 10_000]), view([0, 10_000])], &[]), &Style::plain());
        assert_eq!(text.matches("not protected: a service can read the keys\n").count(), 1, "{text}");
    }

    #[test]
    fn a_split_is_shown_with_its_shares() {
        let text = render((&view([500, 9_500]), &[]), &Style::plain());
        assert!(text.contains("1.3.0 5 %, 1.4.0 95 %"), "{text}");
    }
}
