//! Writes what a version asks of gateways for all its requests.

use lockstep_domain::breaker::BreakerRule;
use lockstep_domain::routes::service_policy::{Degrade, ServicePolicy, StandIn};

use super::{Writer, duration, inline, quoted};

impl Writer<'_> {
    pub(super) fn gateway(&mut self, policy: &ServicePolicy) {
        let ServicePolicy { breaker, degrade } = policy;
        let breaker = breaker.as_ref().map(|rule| ("breaker", self::breaker(rule)));
        let degrade = (!degrade.is_usual()).then(|| ("degrade", self::degrade(degrade)));
        self.field("gateway", inline(breaker.into_iter().chain(degrade)));
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

fn degrade(Degrade { to, requests }: &Degrade) -> String {
    let to = match to {
        StandIn::Previous => "previous",
        StandIn::Nobody => "nobody",
    };
    inline([("to", quoted(to)), ("requests", requests.to_string())].into_iter())
}
