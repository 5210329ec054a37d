//! `[run.gateway]`: what a version asks of gateways for all its requests. A version in a table by hand says the same.

use std::sync::Arc;

use lockstep_domain::adaptive::AdaptiveRule;
use lockstep_domain::breaker::BreakerRule;
use lockstep_domain::outliers::EjectionRule;
use lockstep_domain::priority::Shares;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::service_policy::{Balance, Degrade, MAX_DEGRADED, ServicePolicy, StandIn};
use lockstep_domain::run::Kind;
use lockstep_domain::share::in_10000;

use super::field::duration;
use crate::reader::{Field, Table};

const EXAMPLE: &str = "[run.gateway] with breaker = true";
const BREAKER: &str = "breaker = { failures = \"50%\", requests = 20, window = \"10s\" }, or true";
const DEGRADE: &str = "degrade = \"previous\", or \"nobody\"";

const EJECTION: &str = "ejection = { failures = \"50%\", slower = 5 }";
const BALANCE: &str = "balance = \"round-robin\"";
const ADAPTIVE: &str =
    "adaptive_limit = true, or { least = 3, start = 20, most = 1000, tolerance = \"150%\" }";
const PRIORITIES: &str = "priorities = { normal = \"90%\", low = \"50%\", bulk = \"20%\" }";
const SLOW_START: &str = "slow_start = \"30s\"";

/// Reads what the table of a process says.
pub(super) fn of(run: &Table<'_>, kind: Kind, protocol: Protocol) -> Option<Arc<ServicePolicy>> {
    let field = run.get("gateway", EXAMPLE)?;
    if !kind.is_web() {
        field.wrong_because("only a `web` service gets requests", "remove it");
    } else if !protocol.is_http() {
        field.wrong_because("of what speaks TCP nobody knows whether it fails", "remove it");
    }
    let table = field.table()?;
    let policy = policy(&table);
    table.finish();
    if policy.is_none() {
        field.wrong("it asks for nothing");
    }
    policy
}

/// Reads what a table says beside other things.
pub(crate) fn policy(table: &Table<'_>) -> Option<Arc<ServicePolicy>> {
    let breaker = table.get("breaker", BREAKER);
    let degrade = table.get("degrade", DEGRADE);
    let ejection = table.get("ejection", EJECTION);
    let balance = table.get("balance", BALANCE);
    let max_requests = table.get("max_requests", "max_requests = 100");
    let adaptive_limit = table.get("adaptive_limit", ADAPTIVE);
    let priorities = table.get("priorities", PRIORITIES);
    let policy = ServicePolicy {
        breaker: breaker.as_ref().and_then(self::breaker),
        degrade: degrade.as_ref().and_then(self::degrade).unwrap_or_default(),
        ejection: ejection.as_ref().and_then(self::ejection),
        balance: balance.as_ref().and_then(self::balance).unwrap_or_default(),
        slow_start_ms: duration(table, "slow_start", SLOW_START),
        max_requests: max_requests.as_ref().and_then(|field| field.integer(0..=u32::MAX)),
        adaptive_limit: adaptive_limit.as_ref().and_then(adaptive),
        priorities: priorities.as_ref().and_then(shares),
    };
    let slow_start = table.get("slow_start", SLOW_START);
    let said = [
        ("breaker", &breaker),
        ("degrade", &degrade),
        ("ejection", &ejection),
        ("slow_start", &slow_start),
        ("max_requests", &max_requests),
        ("adaptive_limit", &adaptive_limit),
        ("priorities", &priorities),
    ];
    for problem in policy.problems() {
        let place = said.iter().find(|(name, _)| *name == problem.place());
        place.and_then(|(_, field)| field.as_ref()).into_iter().for_each(|field| field.wrong(&problem));
    }
    (!policy.is_none()).then(|| Arc::new(policy))
}

fn breaker(field: &Field<'_>) -> Option<BreakerRule> {
    let Some(table) = field.as_table() else {
        return field.boolean()?.then(BreakerRule::default);
    };
    let usual = BreakerRule::default();
    let number = |name, example| table.get(name, example).and_then(|field| field.integer(0..=u32::MAX));
    let failures = table.get("failures", "failures = \"50%\"").and_then(|field| percent(&field));
    let rule = BreakerRule {
        failures_percent: failures.unwrap_or(usual.failures_percent),
        requests: number("requests", "requests = 20").unwrap_or(usual.requests),
        window_ms: duration(&table, "window", "window = \"10s\"").unwrap_or(usual.window_ms),
        consecutive: number("consecutive", "consecutive = 10; 0 is never").unwrap_or(usual.consecutive),
        open_ms: duration(&table, "open", "open = \"5s\"").unwrap_or(usual.open_ms),
        longest_ms: duration(&table, "longest", "longest = \"1m\"").unwrap_or(usual.longest_ms),
        trials: number("trials", "trials = 3").unwrap_or(usual.trials),
    };
    table.finish();
    Some(rule)
}

fn adaptive(field: &Field<'_>) -> Option<AdaptiveRule> {
    let usual = AdaptiveRule::default();
    let Some(table) = field.as_table() else { return field.boolean()?.then_some(usual) };
    let number = |name, example| table.get(name, example).and_then(|field| field.integer(0..=u32::MAX));
    let tolerance = table.get("tolerance", "tolerance = \"150%\"").and_then(|field| beyond_all(&field));
    let rule = AdaptiveRule {
        least: number("least", "least = 3").unwrap_or(usual.least),
        start: number("start", "start = 20").unwrap_or(usual.start),
        most: number("most", "most = 1000").unwrap_or(usual.most),
        tolerance_percent: tolerance.unwrap_or(usual.tolerance_percent),
    };
    table.finish();
    Some(rule)
}

fn shares(field: &Field<'_>) -> Option<Shares> {
    let table = field.table()?;
    let usual = Shares::default();
    let share = |name, example| table.get(name, example).and_then(|field| percent(&field));
    let normal_percent = share("normal", "normal = \"90%\"").unwrap_or(usual.normal_percent);
    // Who says less of a higher one means no more of a lower one.
    let low_percent = share("low", "low = \"50%\"").unwrap_or_else(|| usual.low_percent.min(normal_percent));
    let bulk_percent = share("bulk", "bulk = \"20%\"").unwrap_or_else(|| usual.bulk_percent.min(low_percent));
    table.finish();
    Some(Shares { normal_percent, low_percent, bulk_percent })
}

/// Reads whole percents that may be more than all.
fn beyond_all(field: &Field<'_>) -> Option<u32> {
    let number = field.text()?.strip_suffix('%').and_then(|number| number.parse().ok());
    if number.is_none() {
        field.wrong("it is a whole number of percents, such as 150%");
    }
    number
}

fn ejection(field: &Field<'_>) -> Option<EjectionRule> {
    let table = field.table()?;
    let usual = EjectionRule::default();
    let number = |name, example| table.get(name, example).and_then(|field| field.integer(0..=u32::MAX));
    let share = |name, example| table.get(name, example).and_then(|field| percent(&field));
    let floor = table.get("floor", "floor = 2, or floor = \"60%\"");
    let floor_percent = floor.as_ref().filter(|field| field.as_text().is_some()).and_then(percent);
    let floor = floor.filter(|field| field.as_text().is_none());
    let floor = floor.and_then(|field| field.integer(1..=10_000));
    let rule = EjectionRule {
        floor: floor.unwrap_or(usual.floor),
        floor_percent: floor_percent.unwrap_or(usual.floor_percent),
        consecutive: number("consecutive", "consecutive = 5; 0 is never").unwrap_or(usual.consecutive),
        failures_percent: share("failures", "failures = \"50%\"").unwrap_or(usual.failures_percent),
        slower: number("slower", "slower = 5").unwrap_or(usual.slower),
        requests: number("requests", "requests = 50").unwrap_or(usual.requests),
        window_ms: duration(&table, "window", "window = \"10s\"").unwrap_or(usual.window_ms),
        first_ms: duration(&table, "first", "first = \"30s\"").unwrap_or(usual.first_ms),
        longest_ms: duration(&table, "longest", "longest = \"5m\"").unwrap_or(usual.longest_ms),
        most_percent: share("most", "most = \"10%\"").unwrap_or(usual.most_percent),
        panic_percent: share("panic", "panic = \"50%\"").unwrap_or(usual.panic_percent),
    };
    table.finish();
    Some(rule)
}

fn balance(field: &Field<'_>) -> Option<Balance> {
    let text = field.text()?;
    let known = Balance::ALL.into_iter().find(|it| it.word() == text);
    if known.is_none() {
        field.wrong("instances are chosen by `least-latency`, `least-requests`, `round-robin` or `key`");
    }
    known
}

/// Reads whole percents.
fn percent(field: &Field<'_>) -> Option<u32> {
    let share = in_10000(field.text()?).map_err(|error| field.wrong(error)).ok()?;
    if share % 100 != 0 {
        field.wrong("it is a whole number of percents, such as 50%");
    }
    Some(share / 100)
}

fn degrade(field: &Field<'_>) -> Option<Degrade> {
    let usual = Degrade::default();
    let Some(table) = field.as_table() else { return Some(Degrade { to: stand_in(field)?, ..usual }) };
    let to = table.get("to", "to = \"previous\"").and_then(|field| stand_in(&field));
    let requests = table.get("requests", "requests = 1000").and_then(|field| field.integer(1..=MAX_DEGRADED));
    table.finish();
    Some(Degrade { to: to.unwrap_or(usual.to), requests: requests.unwrap_or(usual.requests) })
}

fn stand_in(field: &Field<'_>) -> Option<StandIn> {
    match field.text()? {
        "previous" => Some(StandIn::Previous),
        "nobody" => Some(StandIn::Nobody),
        _ => {
            field.wrong("what stands in for a version is the `previous` one, or `nobody`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn read(gateway: &str) -> Result<Option<Arc<ServicePolicy>>, Vec<String>> {
        let text = format!("name = \"orders\"\n[run]\ncommand = \"./orders\"\n[run.gateway]\n{gateway}");
        let shown =
            |problem: crate::Problem| format!("{} {}: {}", problem.line, problem.field, problem.message);
        parse(&text, "lockstep.toml")
            .map(|manifest| manifest.run.gateway)
            .map_err(|all| all.into_iter().map(shown).collect())
    }

    #[test]
    fn what_is_left_out_is_as_usual() {
        let policy = read("breaker = true").unwrap().unwrap();
        assert_eq!(policy.breaker, Some(BreakerRule::default()));
        assert!(policy.degrades());
        let policy = read("breaker = { failures = \"20%\", open = \"1s\" }\ndegrade = \"nobody\"");
        let policy = policy.unwrap().unwrap();
        let expected = BreakerRule { failures_percent: 20, open_ms: 1_000, ..BreakerRule::default() };
        assert_eq!((policy.breaker, policy.degrades()), (Some(expected), false));
        let policy = read("breaker = true\ndegrade = { requests = 7 }").unwrap().unwrap();
        assert_eq!(policy.degrade, Degrade { to: StandIn::Previous, requests: 7 });
    }

    #[test]
    fn how_instances_are_chosen_is_read_and_what_is_out_of_bounds_named() {
        let policy = read(
            "balance = \"round-robin\"\nslow_start = \"30s\"\nmax_requests = 9\nejection = { slower = 3, most = \"20%\" }",
        );
        let policy = policy.unwrap().unwrap();
        let ejection = EjectionRule { slower: 3, most_percent: 20, ..EjectionRule::default() };
        assert_eq!((policy.balance, policy.slow_start_ms), (Balance::RoundRobin, Some(30_000)));
        assert_eq!((policy.ejection, policy.max_requests), (Some(ejection), Some(9)));
        let policy = read("adaptive_limit = true").unwrap().unwrap();
        assert_eq!(policy.adaptive_limit, Some(AdaptiveRule::default()));
        let policy = read("adaptive_limit = { most = 50, tolerance = \"200%\" }").unwrap().unwrap();
        let adaptive = AdaptiveRule { most: 50, tolerance_percent: 200, ..AdaptiveRule::default() };
        assert_eq!(policy.adaptive_limit, Some(adaptive));
        let policy =
            read("max_requests = 9\npriorities = { normal = \"90%\", low = \"40%\" }").unwrap().unwrap();
        let shares = Shares { normal_percent: 90, low_percent: 40, bulk_percent: 40 };
        assert_eq!(policy.priorities, Some(shares));
        assert_eq!(
            read("priorities = { low = \"2.5%\", critical = \"100%\" }").unwrap_err(),
            [
                "5 run.gateway.priorities: `priorities` means nothing without `max_requests` or `adaptive_limit`",
                "5 run.gateway.priorities.low: it is a whole number of percents, such as 50%",
                "5 run.gateway.priorities.critical: unknown field",
            ]
        );
        assert_eq!(
            read("max_requests = 9\npriorities = { low = \"40%\", bulk = \"50%\" }").unwrap_err(),
            ["6 run.gateway.priorities: `priorities.bulk` is from 1 to 40"]
        );
        assert_eq!(
            read("adaptive_limit = { least = 30, tolerance = \"1.5\", max = 3 }").unwrap_err(),
            [
                "5 run.gateway.adaptive_limit: `adaptive_limit.start` is from 30 to 1000",
                "5 run.gateway.adaptive_limit.tolerance: it is a whole number of percents, such as 150%",
                "5 run.gateway.adaptive_limit.max: unknown field",
            ]
        );
        assert_eq!(
            read("balance = \"random\"\nejection = { requests = 0 }\nmax_requests = 0").unwrap_err(),
            [
                "5 run.gateway.balance: instances are chosen by `least-latency`, `least-requests`, `round-robin` or `key`",
                "6 run.gateway.ejection: `ejection.requests` is from 1 to 1000000",
                "7 run.gateway.max_requests: `max_requests` is from 1 to 1000000",
            ]
        );
    }

    #[test]
    fn all_that_is_wrong_is_named_with_its_line() {
        let wrong = read(
            "breaker = { failures = \"2.5%\", requests = 0, open = \"2m\", trial = 1 }\ndegrade = \"next\"",
        );
        assert_eq!(
            wrong.unwrap_err(),
            [
                "5 run.gateway.breaker: `breaker.requests` is from 1 to 10000",
                "5 run.gateway.breaker: `breaker.longest` is shorter than `breaker.open`",
                "5 run.gateway.breaker.failures: it is a whole number of percents, such as 50%",
                "5 run.gateway.breaker.trial: unknown field",
                "6 run.gateway.degrade: what stands in for a version is the `previous` one, or `nobody`",
            ]
        );
        assert_eq!(
            read("degrade = \"nobody\"").unwrap_err(),
            ["5 run.gateway.degrade: `degrade` means nothing without `breaker`"]
        );
        assert_eq!(read("breaker = false").unwrap_err(), ["4 run.gateway: it asks for nothing"]);
        let worker =
            "name = \"a\"\n[run]\ncommand = \"./a\"\nkind = \"worker\"\ngateway = { breaker = true }";
        let problems = parse(worker, "lockstep.toml").unwrap_err();
        assert!(problems[0].message.contains("only a `web` service gets requests"), "{problems:?}");
        let tcp = "name = \"a\"\n[run]\ncommand = \"./a\"\nprotocol = \"tcp\"\ngateway = { breaker = true }";
        let problems = parse(tcp, "lockstep.toml").unwrap_err();
        assert!(problems[0].message.contains("of what speaks TCP nobody knows"), "{problems:?}");
    }
}
