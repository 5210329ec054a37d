//! What an explanation says, in words.

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::injection::Fault;
use lockstep_domain::request_path::{RequestPath, Spelled};
use lockstep_domain::routes::index::Verdict;
use lockstep_domain::routes::service_policy::{Balance, Fallback};
use lockstep_domain::routes::{
    Endpoint, FULL_WEIGHT, SHARE_SALT, Split, SplitRole, SplitRule, SplitTakes, slot,
};

use super::super::{Notes, Routed};
use super::Share;
use crate::injection::Met;
use crate::lanes::LaneSeat;
use crate::priority::Said;
use crate::problem::{Problem, Status};
use crate::recent::Chosen;
use crate::request::Request;
use crate::table::ServiceTargets;

/// Says whether such a request may be copied, and where to.
pub(super) fn copies(service: &ServiceTargets, request: &Request<'_>, routed: &Routed) -> Option<String> {
    let copies = service.mirror.as_ref()?;
    let is_meant = !routed.ruled && copies.which.takes(request.method, request.call.is_some());
    let share = lockstep_domain::share::percent(copies.which.share);
    let label = &service.targets[copies.target].label;
    is_meant.then(|| format!("{share} of such requests are copied to {label}, whose answers nobody gets"))
}

/// Says which part of such requests meets a fault.
pub(super) fn fault(fault: &Fault) -> String {
    let met = Met { number: fault.number, does: fault.does };
    format!("{} of such requests are {met}, the others are not", lockstep_domain::share::percent(fault.share))
}

pub(super) fn no_head() -> Problem {
    Problem::new(Status::BadRequest, "bad_request", "the head is not complete")
}

pub(super) fn or_none(host: &str) -> &str {
    if host.is_empty() { "(none)" } else { host }
}

pub(super) fn caller(caller: Caller, client: &str) -> String {
    match caller {
        Caller::Outside => {
            format!(
                "{client} is in no trusted network: what it says of who came before is not believed, keys and rules in baggage and tracestate neither"
            )
        }
        Caller::Proxy => {
            format!("{client} is in a trusted network: what it says of who came before is believed")
        }
        Caller::Instance => "an instance of the environment, by the token in the path".to_owned(),
    }
}

/// Says how a path is sent on where that is not the form that is matched, and that its slashes were decoded.
pub(super) fn path(path: &RequestPath<'_>, Spelled { matched, sent }: Spelled<'_>) -> Option<String> {
    let decoded = Some("its encoded slashes are decoded").filter(|_| path.is_decoded());
    let alike = matched == sent;
    let spelled =
        (!alike).then(|| format!("it is sent on as {sent}, and everything here looks at {matched}"));
    match (decoded, spelled) {
        (None, None) => None,
        (Some(decoded), Some(spelled)) => Some(format!("{decoded}; {spelled}")),
        (one, other) => one.map(str::to_owned).or(other),
    }
}

/// Says what becomes of an id that a request came with.
pub(super) fn id(said: Option<&str>, caller: Caller) -> String {
    match said {
        Some(said) if caller.is_trusted() => format!("x-request-id {said} is believed, and goes on"),
        _ => "its x-request-id is replaced by one that is made".to_owned(),
    }
}

pub(super) fn tls(is_https: bool, caller: Caller, answered: Option<&str>) -> &'static str {
    match (is_https, caller, answered) {
        (_, _, Some("acme_challenge")) => {
            "the gateway itself answers an authority that looks whether the host is served here"
        }
        (_, _, Some(_)) => "came in the clear, and clients come by https here",
        (true, Caller::Proxy, _) => "came by https, here or to the proxy",
        (true, ..) => "came by https",
        (false, Caller::Instance, _) => "came in the clear, as instances may",
        (false, ..) => "came in the clear, which this environment serves",
    }
}

pub(super) fn why_not(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::OtherHost => Some("is for another host".to_owned()),
        Verdict::OtherPath => Some("is for other paths".to_owned()),
        Verdict::Fails(what) => Some(format!("does not hold: {what}")),
        Verdict::Takes => None,
    }
}

pub(super) fn key(key: Option<&[u8]>, place: Option<&str>) -> String {
    match (key, place) {
        (Some(key), Some(place)) => format!("`{}` from {place}", String::from_utf8_lossy(key)),
        _ => "none: each such request is drawn anew".to_owned(),
    }
}

/// `1.4.0` of `orders@1.4.0`.
pub(super) fn version_of(label: &str) -> &str {
    label.split_once('@').map_or(label, |(_, version)| version)
}

pub(super) fn shares(service: &ServiceTargets) -> Vec<Share> {
    let share = |(split, target): (&Split, &crate::table::Target)| Share {
        version: version_of(&target.label).to_owned(),
        weight: split.weight,
        protocol: split.protocol.as_str(),
        instances: instances(split),
    };
    service.routes.splits.iter().zip(&service.targets).map(share).collect()
}

/// Names the instances of a version.
pub(super) fn instances(split: &Split) -> Vec<String> {
    split.endpoints.iter().map(instance_name).collect()
}

pub(super) fn version(
    service: &ServiceTargets,
    rule: Option<&SplitRule>,
    key: Option<&[u8]>,
    fixed: bool,
) -> String {
    if let Some(rule) = rule {
        return by_rule(rule, key);
    }
    let splits = &service.routes.splits;
    let lines = places(splits);
    match key.filter(|_| splits.len() > 1) {
        Some(key) => {
            let place = slot(&service.routes.salt, key);
            format!("place {place} of {FULL_WEIGHT} (drawn with {}): {lines}", service.routes.salt)
        }
        None if fixed => format!("all clients get the same: {lines}"),
        None => format!("by a place on {FULL_WEIGHT} that is drawn for each such request: {lines}"),
    }
}

/// Says which lane a request is in, and what that gives of its service.
pub(super) fn lane(lane: &LaneSeat, service: &ServiceTargets) -> String {
    let (name, of) = (lane.name(), &service.service);
    let Some(gives) = lane.lane().of_service(of) else {
        return format!("in lane {name}, which says nothing of {of}: it gets what all others get of it");
    };
    let serves = service.routes.version_rules.iter().any(|rule| rule.id == lane.id());
    match serves {
        true => format!("in lane {name}, which gives {of} {}", gives.version),
        false => {
            format!(
                "in lane {name}, which gives {of} {}, of which no instance serves: it gets what all others get",
                gives.version
            )
        }
    }
}

fn by_rule(rule: &SplitRule, key: Option<&[u8]>) -> String {
    let SplitRule { id, version, takes, .. } = rule;
    match takes {
        SplitTakes::Header(pattern) => {
            format!("rule {id} gives {version}: header {}: {}", pattern.name, pattern.value)
        }
        SplitTakes::Cookie(pattern) => {
            format!("rule {id} gives {version}: cookie {}={}", pattern.name, pattern.value)
        }
        SplitTakes::Lane => format!("its lane gives {version}"),
        SplitTakes::Places(_) => {
            let place = slot(SHARE_SALT, key.unwrap_or_default());
            format!(
                "rule {id} gives {version}: place {place} of {FULL_WEIGHT} (drawn with {SHARE_SALT}) is in its share"
            )
        }
    }
}

fn places(splits: &[Split]) -> String {
    let mut end = 0;
    let part = |split: &Split| {
        let begin = end;
        end += split.weight;
        let role = match split.role {
            SplitRole::Stable => "",
            SplitRole::Candidate => " (on trial)",
            SplitRole::Pinned => " (without a share)",
        };
        let version = &split.version;
        match split.weight {
            0 => format!("{version}{role} none"),
            weight if weight == FULL_WEIGHT => format!("{version}{role} all"),
            _ => format!("{version}{role} {begin} to {}", end - 1),
        }
    };
    splits.iter().map(part).collect::<Vec<_>>().join(", ")
}

/// Says when the version that is asked would be left alone, and what happens then.
pub(super) fn breaker(service: &ServiceTargets, routed: &Routed) -> Option<String> {
    let asked = routed.pick.target;
    let rule = service.routes.splits[asked].policy.as_ref()?.breaker?;
    if matches!(routed.chosen, Chosen::Rule | Chosen::Lane) {
        return Some("none: whom a rule or a lane sends to a version sees how it does".to_owned());
    }
    let stands_in = service.stands_in_for(asked).map(|other| &service.targets[other].label);
    let instead = match (stands_in, &service.routes.fallback) {
        (Some(label), _) => format!("{label} stands in for it"),
        (None, Some(Fallback::Nobody(why))) => format!("nobody stands in for it: {why}"),
        (None, _) => "nobody stands in for it".to_owned(),
    };
    let answer = routed.policy.as_ref().and_then(|policy| policy.fallback.as_ref());
    let answer = answer.map_or(503, |respond| respond.status);
    Some(format!("{}; {instead}, else the answer is {answer}", rule.told()))
}

/// Says how many requests of the version wait at once, and what becomes of more.
pub(super) fn limit(routed: &Routed) -> Option<String> {
    let asked = &routed.service.routes.splits[routed.pick.target];
    let policy = asked.policy.as_ref()?;
    let adaptive = policy.adaptive_limit.map(|rule| rule.told());
    let most = policy.max_requests.map(|most| format!("{most} requests under way at each instance"));
    let limits: Vec<_> = adaptive.into_iter().chain(most).collect();
    let shares = policy.priorities.unwrap_or_default().told();
    let limits = Some(limits.join("; ")).filter(|limits| !limits.is_empty())?;
    Some(format!("{limits}; more are answered 503 at once. {shares}"))
}

/// Says how important a request is, and who says that, where anybody does.
pub(super) fn priority(notes: &Notes) -> Option<String> {
    let (priority, by) = notes.rare.as_ref()?.priority;
    let word = priority.word();
    match by {
        Said::Nobody => None,
        Said::Route => Some(format!("{word}, as its route says")),
        Said::Caller(field) => Some(format!("{word}, by {field} of its caller, who is believed")),
    }
}

fn how_chosen(balance: Balance) -> &'static str {
    match balance {
        Balance::LeastLatency | Balance::Key => "the better of two that are drawn, of ",
        Balance::LeastRequests => "the less busy of two that are drawn, of ",
        Balance::RoundRobin => "one after the other, of ",
    }
}

pub(super) fn instance(service: &ServiceTargets, chosen: Option<usize>, routed: &Routed) -> String {
    let asked = routed.pick.target;
    let split = &service.routes.splits[asked];
    let count = split.endpoints.len();
    let instead = match chosen.filter(|chosen| *chosen != asked) {
        Some(chosen) => {
            let empty = &service.routes.splits[chosen].version;
            format!("{empty} has no instance, so {} is asked: ", split.version)
        }
        None => String::new(),
    };
    let names: Vec<_> = split.endpoints.iter().map(instance_name).collect();
    let how = match (count, routed.affinity.is_some()) {
        (_, true) => "where its client is kept, of ",
        (0 | 1, false) => "",
        (_, false) => how_chosen(service.targets[asked].choosing.balance),
    };
    let zone = match &service.targets[asked].zones {
        Some(zones) if routed.affinity.is_none() => {
            format!(", those of the zone of the gateway first ({} of {count})", zones.near.len())
        }
        _ => String::new(),
    };
    let rule = service.targets[asked].choosing.ejection;
    let stay = match rule.stay(count) {
        stay if rule.has_floor() && count > 1 => format!(", of which {stay} stay whatever is seen of them"),
        _ => String::new(),
    };
    format!("{instead}{how}{}{zone}{stay}, by {}", names.join(", "), split.protocol.as_str())
}

fn instance_name(it: &Endpoint) -> String {
    let zone = it.zone.as_ref().map(|zone| format!(" in {zone}")).unwrap_or_default();
    format!("{} at {}{zone}", it.instance, it.place())
}
