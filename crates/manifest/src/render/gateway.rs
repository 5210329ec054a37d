//! Writes what a version asks of gateways for all its requests.

use lockstep_domain::adaptive::AdaptiveRule;
use lockstep_domain::breaker::BreakerRule;
use lockstep_domain::outliers::EjectionRule;
use lockstep_domain::priority::Shares;
use lockstep_domain::routes::service_policy::{Degrade, ServicePolicy, StandIn};

use super::{Writer, duration, inline, quoted};

impl Writer<'_> {
    pub(super) fn gateway(&mut self, policy: &ServicePolicy) {
        let ServicePolicy {
            breaker,
            degrade,
            ejection,
            balance,
            slow_start_ms,
            max_requests,
            adaptive_limit,
            priorities,
        } = policy;
        let breaker = breaker.as_ref().map(|rule| ("breaker", self::breaker(rule)));
        let degrade = (!degrade.is_usual()).then(|| ("degrade", self::degrade(degrade)));
        let ejection = ejection.as_ref().map(|rule| ("ejection", self::ejection(rule)));
        let balance = (!balance.is_usual()).then(|| ("balance", quoted(balance.word())));
        let slow_start = slow_start_ms.map(|ms| ("slow_start", duration(ms)));
        let max_requests = max_requests.map(|most| ("max_requests", most.to_string()));
        let limit = adaptive_limit.as_ref().map(|rule| ("adaptive_limit", adaptive(rule)));
        let priorities = priorities.map(|shares| ("priorities", self::priorities(shares)));
        let fields = [breaker, degrade, ejection, balance, slow_start, max_requests, limit, priorities];
        self.field("gateway", inline(fields.into_iter().flatten()));
    }
}

fn breaker(rule: &BreakerRule) -> String {
    let usual = BreakerRule::default();
    let BreakerRule { failures_percent, requests, window_ms, consecutive, open_ms, longest_ms, trials } =
        *rule;
    let number = |name, value: u32, usual: u32| (value != usual).then(|| (name, value.to_string()));
    let time = |name, ms: u64, usual: u64| (ms != usual).then(|| (name, duration(ms)));
    let failures = (failures_percent != usual.failures_percent)
        .then(|| ("failures", quoted(&format!("{failures_percent}%"))));
    let fields = [
        failures,
        number("requests", requests, usual.requests),
        time("window", window_ms, usual.window_ms),
        number("consecutive", consecutive, usual.consecutive),
        time("open", open_ms, usual.open_ms),
        time("longest", longest_ms, usual.longest_ms),
        number("trials", trials, usual.trials),
    ];
    let said: Vec<_> = fields.into_iter().flatten().collect();
    if said.is_empty() { "true".to_owned() } else { inline(said.into_iter()) }
}

fn adaptive(rule: &AdaptiveRule) -> String {
    if *rule == AdaptiveRule::default() {
        return "true".to_owned();
    }
    let AdaptiveRule { least, start, most, tolerance_percent } = *rule;
    let fields = [
        ("least", least.to_string()),
        ("start", start.to_string()),
        ("most", most.to_string()),
        ("tolerance", quoted(&format!("{tolerance_percent}%"))),
    ];
    inline(fields.into_iter())
}

fn priorities(Shares { normal_percent, low_percent, bulk_percent }: Shares) -> String {
    let percent = |percent: u32| quoted(&format!("{percent}%"));
    let fields =
        [("normal", percent(normal_percent)), ("low", percent(low_percent)), ("bulk", percent(bulk_percent))];
    inline(fields.into_iter())
}

fn ejection(rule: &EjectionRule) -> String {
    let EjectionRule { consecutive, failures_percent, slower, requests, .. } = *rule;
    let EjectionRule { window_ms, first_ms, longest_ms, most_percent, panic_percent, .. } = *rule;
    let EjectionRule { floor, floor_percent, .. } = *rule;
    let percent = |percent: u32| quoted(&format!("{percent}%"));
    let fields = [
        ("consecutive", consecutive.to_string()),
        ("failures", percent(failures_percent)),
        ("slower", slower.to_string()),
        ("requests", requests.to_string()),
        ("window", duration(window_ms)),
        ("first", duration(first_ms)),
        ("longest", duration(longest_ms)),
        ("most", percent(most_percent)),
        ("panic", percent(panic_percent)),
    ];
    let floor = if floor_percent > 0 { percent(floor_percent) } else { floor.to_string() };
    let floor = rule.has_floor().then_some(("floor", floor));
    inline(fields.into_iter().chain(floor))
}

fn degrade(Degrade { to, requests }: &Degrade) -> String {
    let to = match to {
        StandIn::Previous => "previous",
        StandIn::Nobody => "nobody",
    };
    inline([("to", quoted(to)), ("requests", requests.to_string())].into_iter())
}
