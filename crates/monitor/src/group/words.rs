//! The words of a notice.

use std::collections::BTreeSet;

use super::Group;
use crate::alert::Alert;
use crate::mute::Alerts;
use crate::notice::{NoticeAlert, NoticeKind};
use crate::seen::Observation;

/// Names that a line lists before it says how many more there are.
const MAX_NAMES: usize = 3;

/// Writes the line of a notice; alerts come with those that fire first.
pub(super) fn title(kind: NoticeKind, group: &Group, told: &[(&String, &Alert)]) -> String {
    let firing: Vec<&Alert> =
        told.iter().map(|(_, alert)| *alert).filter(|alert| alert.is_firing()).collect();
    let all: Vec<&Alert> = told.iter().map(|(_, alert)| *alert).collect();
    match kind {
        NoticeKind::Recovered => what(group, &all),
        NoticeKind::Changed if firing.is_empty() => format!("less of it: {}", what(group, &all)),
        NoticeKind::Changed if firing.len() < all.len() => {
            format!("{}; {} over", what(group, &firing), all.len() - firing.len())
        }
        _ => what(group, &all),
    }
}

fn what(group: &Group, alerts: &[&Alert]) -> String {
    let Some(first) = alerts.first() else { return "nothing".to_owned() };
    let services: BTreeSet<&str> = alerts.iter().filter_map(|alert| alert.subject.service()).collect();
    match (alerts.len(), services.len()) {
        (1, _) => first.finding.summary.clone(),
        (_, 2..) if group.service.is_none() => {
            let place = group.environment.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
            format!("{} services have faults{place}: {}", services.len(), listed_names(&services))
        }
        (count, _) => format!("{}, and {} more", first.finding.summary, count - 1),
    }
}

fn listed_names(names: &BTreeSet<&str>) -> String {
    let shown = names.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMES { format!("{shown} and {} more", names.len() - MAX_NAMES) } else { shown }
}

/// Writes an alert with what follows from it.
pub(super) fn listed(name: &str, alert: &Alert, alerts: &Alerts) -> NoticeAlert {
    let notice = alert.notice();
    let following: Vec<&Alert> = following(name, alerts).collect();
    if following.is_empty() {
        return notice;
    }
    let own = alert.subject.service();
    let services = following.iter().filter_map(|alert| alert.subject.service());
    let services: BTreeSet<&str> = services.filter(|service| own != Some(service)).collect();
    let what = if services.is_empty() { String::new() } else { format!(": {}", listed_names(&services)) };
    let follow = if following.len() == 1 { "follows" } else { "follow" };
    let more = format!("{} more {follow} from it{what}", following.len());
    let detail = notice.detail.as_ref().map_or_else(|| more.clone(), |detail| format!("{detail}; {more}"));
    NoticeAlert { detail: Some(detail), ..notice }
}

fn following<'a>(name: &'a str, alerts: &'a Alerts) -> impl Iterator<Item = &'a Alert> {
    let follows = move |alert: &&Alert| alert.muted.as_ref().is_some_and(|muted| muted.by == name);
    alerts.values().filter(|alert| alert.is_firing()).filter(follows)
}

/// Returns who owns what alerts are about, and what follows from them.
pub(super) fn owners(told: &[(&String, &Alert)], alerts: &Alerts, look: &Observation) -> BTreeSet<String> {
    let following = told.iter().flat_map(|(name, _)| following(name, alerts));
    let all = told.iter().map(|(_, alert)| *alert).chain(following);
    let services =
        all.filter_map(|alert| look.service(alert.subject.environment()?, alert.subject.service()?));
    services.flat_map(|service| service.owners.iter().cloned()).collect()
}
