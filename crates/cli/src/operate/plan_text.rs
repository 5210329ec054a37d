//! Plans for people: waves, moves, every reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use lockstep_api::types::WhatItNeeds;
use lockstep_domain::changelog::{Changelog, ChangelogEntry};
use lockstep_domain::database::Taken;
use lockstep_domain::intent::{Leaving, WithoutEvidence};
use lockstep_domain::job::When;
use lockstep_domain::lost::Lost;
use lockstep_domain::operation::{Move, NewReplicas, Readiness};
use lockstep_domain::placement::PlannedPlaces;
use lockstep_domain::process::ProcessMove;
use lockstep_domain::run::Takeover;
use lockstep_domain::variables::{SecretAge, VariableChange, VariableValue};
use lockstep_domain::{BaselineEntry, EnvironmentName, Intent, Plan, Strategy, VersionRef};

use super::database;
use crate::output::style::{Style, printable};
use crate::output::table::Table;
use crate::output::times::exact;
use crate::output::work;
use crate::parse::share::percent;

/// What becomes of a version that has everything at once.
pub(crate) const NOT_COMPARED: &str = "what ends, is not ready or fails everything goes back, what fails above 5 % and three times what was usual \
                            before does not pass, and the rest is not seen";

/// Changes that are shown of a service that goes back: as many as a person reads before deciding.
const MAX_LOST: usize = 5;

/// Writes a plan that was asked for with `--dry-run`.
pub(crate) fn render(
    plan: &Plan,
    lost: &[Lost],
    (environment, intent): (&EnvironmentName, &Intent),
    style: &Style,
) -> String {
    let title = format!("plan for {environment}: {intent}");
    let mut text = format!("{}\n", style.strong(&printable(&title)));
    let _ = writeln!(text, "from baseline {}, {}", plan.parent, strategy(&plan.strategy));
    if matches!(plan.strategy, Strategy::BlueGreen { .. }) && !plan.moves_nothing() {
        let _ = writeln!(text, "nothing is beside it to compare it with: {NOT_COMPARED}");
    }
    for (index, wave) in plan.waves.iter().enumerate() {
        let _ = writeln!(text, "wave {} of {}", index + 1, plan.waves.len());
        wave.iter().for_each(|step| text.push_str(&move_text(step)));
    }
    if plan.waves.is_empty() && plan.relocations.is_empty() {
        text.push_str("nothing moves\n");
    }
    write_records(&mut text, plan);
    text.push_str(&variables_text(plan));
    lost.iter().for_each(|lost| text.push_str(&lost_text(lost)));
    for warning in &plan.warnings {
        let _ = writeln!(text, "{} {}", style.warn("warning:"), printable(warning));
    }
    text.push_str("nothing was changed: this is a dry run\n");
    text
}

fn write_records(text: &mut String, plan: &Plan) {
    for new in plan.new_configurations() {
        let keys: Vec<_> = new.values.keys().map(String::as_str).collect();
        let keys = printable(&keys.join(", ")).into_owned();
        let _ = writeln!(text, "configuration {} of {}: {keys}", new.revision, new.service);
    }
    if let Some(new) = &plan.replicas {
        let _ = writeln!(text, "instances of {}: {}", whose(new), new.replicas);
    }
    for relocation in &plan.relocations {
        let _ = writeln!(text, "moved: {}", printable(&relocation.to_string()));
    }
    if !plan.restarts.is_empty() && plan.relocations.is_empty() {
        let restarts = plan.restarts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "replaced, one after the other: {restarts}");
    }
    for places in plan.places.iter().filter(|places| !places.hosts.is_empty()) {
        let _ = writeln!(text, "starts on hosts: {}", places_line(places));
    }
    for entrance in &plan.entrances {
        let urls = printable(&entrance.urls.join(" and ")).into_owned();
        let _ = writeln!(text, "clients come in at {}, {urls}", entrance.host);
    }
    text.push_str(&without_hosts_text(plan));
    for planned in &plan.jobs {
        let _ =
            writeln!(text, "{}: {planned}, for at most {}", when(planned.when), exact(planned.timeout_ms));
        text.push_str(&database::step_text(planned));
    }
    text.push_str(&Taken::by(plan).map(database::taken_text).unwrap_or_default());
    // What ends first is told with its move, and can be kept by nothing.
    let left = plan.moves().filter(|step| !step.gives_way() && step.kind.is_web()).filter_map(Move::from_arm);
    let left = left.map(|arm| arm.to_string()).collect::<Vec<_>>().join(", ");
    if plan.leaving == Leaving::Ends && !left.is_empty() {
        let _ =
            writeln!(text, "ended afterwards: {left} (--keep-warm keeps what is left running for a while)");
    }
    for base in &plan.work_before {
        let _ = writeln!(text, "compared with: {}", work::before(base));
    }
    for held in held(plan) {
        let _ = writeln!(text, "held afterwards: {held}");
    }
}

/// Says what comes of a host that is lost before the switch.
fn without_hosts_text(plan: &Plan) -> String {
    if plan.places.iter().all(|places| places.hosts.is_empty()) && plan.without_hosts.is_empty() {
        return String::new();
    }
    if plan.without_hosts.is_empty() {
        return "if a host is lost before the switch, the others take what is to start there\n".to_owned();
    }
    plan.without_hosts.iter().map(|without| format!("{}\n", printable(&without.to_string()))).collect()
}

/// Says on which hosts instances of an arm would start, as `orders@1.1.0 on web1, web2 (2)`.
fn places_line(places: &PlannedPlaces) -> String {
    let mut counts = BTreeMap::<_, u32>::new();
    places.hosts.iter().for_each(|host| *counts.entry(host).or_default() += 1);
    let each = counts.into_iter().map(|(host, count)| match count {
        1 => host.to_string(),
        _ => format!("{host} ({count})"),
    });
    format!("{} on {}", places.arm, each.collect::<Vec<_>>().join(", "))
}

/// Says in a line what a service loses by going back.
pub(crate) fn lost_line(lost: &Lost) -> String {
    let Lost { service, to, versions, changelog, documents } = lost;
    let left = versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let counts = [
        (changelog.features.len(), "feature", "features"),
        (changelog.fixes.len(), "fix", "fixes"),
        (changelog.optimisations.len(), "optimisation", "optimisations"),
        (changelog.other.len(), "other change", "other changes"),
    ];
    let counts = counts.iter().filter(|(count, ..)| *count > 0);
    let counts = counts.map(|(count, one, many)| format!("{count} {}", if *count == 1 { one } else { many }));
    let documents = (!documents.is_empty()).then(|| format!("the documents {}", documents.join(", ")));
    let what = counts.chain(documents).collect::<Vec<_>>().join(", ");
    let what = if what.is_empty() { "nothing that was recorded".to_owned() } else { what };
    printable(&format!("lost with {service} {to}: {what} of {left}")).into_owned()
}

/// Writes what a service loses, with the first few changes.
fn lost_text(lost: &Lost) -> String {
    let Changelog { features, fixes, optimisations, .. } = &lost.changelog;
    let of = |word: &'static str, list: &'_ [ChangelogEntry]| {
        list.iter().map(|entry| (word, entry.clone())).collect::<Vec<_>>()
    };
    let all = [of("feature", features), of("fix", fixes), of("optimisation", optimisations)].concat();
    let mut text = format!("{}\n", lost_line(lost));
    for (word, ChangelogEntry { scope, text: what, .. }) in all.iter().take(MAX_LOST) {
        let scope = scope.as_ref().map_or_else(String::new, |scope| format!("{scope}: "));
        let _ = writeln!(text, "  {word}  {}", printable(&format!("{scope}{what}")));
    }
    if all.len() > MAX_LOST {
        let _ = writeln!(text, "  and {} more (--json has all)", all.len() - MAX_LOST);
    }
    text
}

/// Names what is scaled.
pub(super) fn whose(new: &NewReplicas) -> String {
    let process = new.process.as_ref().map(|process| format!(" {process}")).unwrap_or_default();
    format!("{}{process}", new.service)
}

fn when(when: When) -> &'static str {
    match when {
        When::BeforeSwitch => "before anything starts",
        When::AfterDeploy => "afterwards",
        When::ByHand => "by hand",
        When::OnSchedule => "by its schedule",
    }
}

/// Writes the variables that change, a line each. The value of a secret is not known here, only its times.
pub(crate) fn variables_text(plan: &Plan) -> String {
    let kept = plan.secrets_kept.iter().map(|kept| format!("  {}\n", printable(&kept.to_string())));
    variable_lines(&plan.variables) + &kept.collect::<String>()
}

/// Writes changes of variables, a line each.
pub(crate) fn variable_lines(changes: &[VariableChange]) -> String {
    let mut text = String::new();
    for VariableChange { service, key, from, to } in changes {
        let line = match (from, to) {
            (_, Some(VariableValue::Secret(SecretAge { since, until: Some(until) }))) => {
                let set = since.map_or_else(String::new, |since| format!("set on {} and ", since.day()));
                format!("an OLDER secret, {set}replaced on {}", until.day())
            }
            (None, Some(VariableValue::Secret(SecretAge { since: None, until: None }))) => {
                "a secret, which it did not have".to_owned()
            }
            (_, Some(VariableValue::Secret(SecretAge { since: None, until: None }))) => {
                "another secret".to_owned()
            }
            (_, Some(VariableValue::Secret(SecretAge { since: Some(since), until: None }))) => {
                format!("the secret that was set on {}", since.day())
            }
            (Some(VariableValue::Plain(from)), Some(VariableValue::Plain(to))) => format!("{from} -> {to}"),
            (_, Some(VariableValue::Plain(to))) => format!("set to {to}"),
            (Some(VariableValue::Plain(from)), None) => format!("removed (it is {from})"),
            (_, None) => "removed".to_owned(),
        };
        let _ = writeln!(text, "  variable {key} of {service}: {}", printable(&line));
    }
    text
}

/// Returns the versions that are held once a plan is carried out, because it goes back from them.
pub(super) fn held(plan: &Plan) -> impl Iterator<Item = VersionRef> {
    plan.holds.iter().filter_map(|service| Some(plan.move_of(service)?.1.from_arm()?.version_ref()))
}

fn move_text(step: &Move) -> String {
    let Move { service, from, to, .. } = step;
    let readiness = match (to, step.readiness) {
        (None, _) => "",
        _ if !step.has_instances() => "  (it has jobs, and nothing that runs all the time)",
        _ if !step.kind.has_instances() => "  (nothing of it takes requests)",
        _ if step.gives_way() => "  (the old instances end first, then new ones are started)",
        _ if step.takeover == Takeover::SideBySide => "  (side by side: a growing share of the instances)",
        _ if step.hands_over() => "  (new instances are started first, then the old ones end)",
        (_, Readiness::Warm) => "  (warm: only routes change)",
        (_, Readiness::Prepared) => "  (prepared: instances are started)",
        (_, Readiness::Cold) => "  (cold: instances are started)",
    };
    let mut text = format!("  {service} {} -> {}{readiness}\n", entry(from.as_ref()), entry(to.as_ref()));
    for part in &step.processes {
        let _ = writeln!(text, "      process {}: {}", part.process, process_text(part));
    }
    for reason in &step.reasons {
        let _ = writeln!(text, "      {reason}");
    }
    if let Some(start) = &step.start {
        let _ = writeln!(text, "      {}", printable(&start.to_string()));
    }
    text
}

fn process_text(part: &ProcessMove) -> &'static str {
    match (part.from, part.to, part.takeover) {
        (true, false, _) => "ends in the last step",
        (false, _, Takeover::OldFirst) => "starts in the last step, when what it may replace has ended",
        (false, ..) => "starts",
        (_, _, Takeover::OldFirst) => {
            "in the last step the old instances end first, then new ones are started"
        }
        (_, _, Takeover::SideBySide) => "side by side: a growing share of the instances",
        (_, _, Takeover::Beside) => "new instances are started first, then in the last step the old ones end",
    }
}

/// Writes the moves of an operation as a table: service, from, to.
pub(crate) fn moves_table<'a>(moves: impl Iterator<Item = &'a Move>, style: &Style) -> String {
    let mut table = Table::new(["", "", "", ""]).indented(2);
    for step in moves {
        let (from, to) = (entry(step.from.as_ref()), entry(step.to.as_ref()));
        table.row([step.service.to_string(), from, "->".into(), to]);
    }
    table.render(style)
}

/// Writes an entry of a baseline, or that there is none.
pub(crate) fn entry(entry: Option<&BaselineEntry>) -> String {
    entry.map_or_else(|| "none".to_owned(), ToString::to_string)
}

/// Writes a strategy with its times as they are typed.
pub(crate) fn strategy(strategy: &Strategy) -> String {
    let bound = strategy.bound().map_or_else(String::new, |bound| {
        let share = percent(bound.max_failures_in_10000);
        match bound.min_requests {
            0 => format!(", back above {share} failures"),
            count => {
                let without = match bound.without_evidence {
                    WithoutEvidence::Wait => String::new(),
                    WithoutEvidence::Ask => " or somebody's word".to_owned(),
                    WithoutEvidence::GoOnAfter(ms) => format!(" or {} more", exact(ms)),
                };
                format!(", back above {share} failures, at least {count} requests a step{without}")
            }
        }
    });
    match strategy {
        Strategy::AllAtOnce => "all at once".to_owned(),
        Strategy::BlueGreen { bake_ms, .. } => format!("blue-green, watched for {}{bound}", exact(*bake_ms)),
        Strategy::Canary { steps, .. } => {
            let steps =
                steps.iter().map(|step| format!("{} for {}", percent(step.weight), exact(step.bake_ms)));
            format!("canary: {}{bound}", steps.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Names what would come along, and what speaks against that: "payments 2.1.0 and storefront 1.1.0".
pub(crate) fn added(needs: &WhatItNeeds) -> String {
    let added: Vec<_> = needs.added.iter().map(|it| format!("{} {}", it.service, it.version)).collect();
    if needs.despite.is_empty() {
        return listed(&added);
    }
    format!("{}, although {}", listed(&added), printable(&listed(&needs.despite)))
}

fn listed(all: &[String]) -> String {
    match all {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        all => all.join(""),
    }
}

/// Says what would have to move along and why; or why nothing helps.
pub(crate) fn needs(needs: &WhatItNeeds) -> String {
    let answer = &needs.answer;
    if !answer.solvable {
        return format!("{}\n", answer.explanation);
    }
    let mut text = match answer.is_smallest {
        true => "the smallest set that works:\n".to_owned(),
        false => "a set that works (whether a smaller one does was not decided):\n".to_owned(),
    };
    for part in
        answer.steps.iter().flatten().filter_map(|it| answer.moves.iter().find(|part| part.service == *it))
    {
        let is_added = needs.added.iter().any(|it| it.service.as_str() == part.service);
        let must = if is_added { " must come along" } else { "" };
        let because = part.because.join("; ");
        let _ = writeln!(text, "  {} {} -> {}{must}: {because}", part.service, part.from, part.to);
    }
    for other in &answer.alternatives {
        let moves: Vec<_> =
            other.moves.iter().map(|it| format!("{} {} -> {}", it.service, it.from, it.to)).collect();
        let _ = writeln!(text, "or for the same cost: {}", moves.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use lockstep_domain::operation::Reason;
    use lockstep_domain::run::{Kind, Takeover};
    use lockstep_domain::{ConfigRevision, Timestamp, VersionNumber};

    use super::*;

    fn at(minor: u64, config: u32) -> BaselineEntry {
        BaselineEntry { version: VersionNumber::new(1, minor, 0), config: ConfigRevision(config) }
    }

    fn step(service: &str, readiness: Readiness, reasons: Vec<Reason>) -> Move {
        let service = service.parse().unwrap();
        Move {
            service,
            from: Some(at(3, 0)),
            to: Some(at(4, 2)),
            readiness,
            takeover: Takeover::Beside,
            kind: Kind::Web,
            processes: Vec::new(),
            reasons,
            start: None,
        }
    }

    #[test]
    fn a_secret_that_is_set_by_the_change_has_no_date() {
        let secret = |since: Option<u64>| {
            Some(VariableValue::Secret(SecretAge { since: since.map(Timestamp), until: None }))
        };
        let change =
            |from, to| VariableChange { service: "orders".parse().unwrap(), key: "API_KEY".into(), from, to };
        let text = variable_lines(&[change(None, secret(None)), change(secret(Some(1)), secret(None))]);
        let (first, second) = ("a secret, which it did not have", "another secret");
        let of = "variable API_KEY of orders";
        assert_eq!(text, format!("  {of}: {first}\n  {of}: {second}\n"));
    }

    #[test]
    fn a_plan_shows_waves_moves_and_every_reason() {
        let consumer = Reason::ProviderFirst { consumer: "orders".parse().unwrap() };
        let plan = Plan {
            parent: 17,
            target: lockstep_domain::baseline::Entries::new(),
            strategy: Strategy::canary(&[5, 100], 30_000),
            waves: vec![
                vec![step("payments", Readiness::Cold, vec![Reason::Asked, consumer])],
                vec![step("orders", Readiness::Warm, vec![Reason::Asked])],
            ],
            configuration: None,
            replaced: Vec::new(),
            variables: vec![VariableChange {
                service: "orders".parse().unwrap(),
                key: "API_KEY".into(),
                from: Some(VariableValue::Secret(SecretAge { since: Some(Timestamp(2)), until: None })),
                to: Some(VariableValue::Secret(SecretAge {
                    since: Some(Timestamp(1)),
                    until: Some(Timestamp(2)),
                })),
            }],
            replicas: None,
            restarts: Vec::new(),
            relocations: Vec::new(),
            jobs: Vec::new(),
            contraction: None,
            reversal: None,
            leaving: Leaving::Warm,
            rules_ended: Vec::new(),
            holds: vec!["orders".parse().unwrap()],
            work_before: Vec::new(),
            places: Vec::new(),
            without_hosts: Vec::new(),
            entrances: Vec::new(),
            traffic_before: Vec::new(),
            secrets_kept: Vec::new(),
            warnings: vec!["nobody looks".into()],
        };
        let intent = Intent::Deploy { versions: vec!["orders@1.4.0".parse().unwrap()] };
        let text = render(&plan, &[], (&"production".parse().unwrap(), &intent), &Style::plain());
        assert_eq!(
            text,
            "plan for production: deploy orders@1.4.0\n\
             from baseline 17, canary: 5 % for 30s, 100 % for 30s, back above 1 % failures\n\
             wave 1 of 2\n  payments 1.3.0 -> 1.4.0 (c2)  (cold: instances are started)\n      asked for\n      \
             before its consumer orders: providers first\n\
             wave 2 of 2\n  orders 1.3.0 -> 1.4.0 (c2)  (warm: only routes change)\n      asked for\n\
             held afterwards: orders@1.3.0\n  variable API_KEY of orders: an OLDER secret, set on 1 Jan 00:00 and replaced on 1 Jan 00:00\nwarning: nobody looks\nnothing was changed: this is a dry run\n"
        );
    }
}
