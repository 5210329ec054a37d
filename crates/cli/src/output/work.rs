//! What workers say of their work, for people.

use std::collections::BTreeMap;

use lockstep_api::types::ServiceStatus;
use lockstep_domain::Arm;
use lockstep_domain::work::{Told, WorkBase};

use super::style::{Style, printable};

/// A line for each version of a worker that says how its work goes, and one for each instance that does not.
pub(crate) fn lines(services: &[ServiceStatus], style: &Style) -> String {
    let mut sums: BTreeMap<&Arm, Told> = BTreeMap::new();
    let mut troubles = String::new();
    for (service, work) in
        services.iter().flat_map(|service| service.work.iter().map(move |it| (service, it)))
    {
        let Some(instance) = service.instances.iter().find(|it| it.id == work.instance) else { continue };
        if instance.state.is_over() {
            continue;
        }
        add(sums.entry(&instance.arm).or_default(), &work.told);
        for why in work.told.silent.iter().chain(&work.told.no_depth) {
            let (mark, why) = (style.warn("work not known:"), printable(why));
            troubles.push_str(&format!("  {mark} {}: {why}\n", work.instance));
        }
    }
    let lines = sums.iter().map(|(arm, told)| format!("  work: {arm}: {}\n", said(told)));
    lines.collect::<String>() + &troubles
}

fn add(sum: &mut Told, told: &Told) {
    sum.done = sum.done.saturating_add(told.done);
    sum.failed = sum.failed.saturating_add(told.failed);
    sum.heard = sum.heard.saturating_add(told.heard);
    sum.depth = told.depth.or(sum.depth);
}

fn said(told: &Told) -> String {
    let jobs = (told.heard > 0).then(|| jobs(told.done, told.failed));
    let depth = told.depth.map(|depth| format!("{depth} in the queue"));
    let said: Vec<_> = jobs.into_iter().chain(depth).collect();
    if said.is_empty() { "nothing is known of it".to_owned() } else { said.join(", ") }
}

fn jobs(done: u64, failed: u64) -> String {
    format!("{done} jobs done, {failed} failed")
}

/// Says what the old version of a worker did before, which the new one is compared with.
pub(crate) fn before(base: &WorkBase) -> String {
    let total = base.total();
    let depth = base.depths().into_iter().max().map(|depth| format!("at most {depth} in its queue"));
    let jobs = (total.jobs() > 0).then(|| jobs(total.done, total.failed));
    let said: Vec<_> = jobs.into_iter().chain(depth).collect();
    let minutes = (total.ms as f64 / 60_000.0 * 10.0).round() / 10.0;
    format!("{} in its last {minutes} minutes: {}", base.arm, said.join(", "))
}
