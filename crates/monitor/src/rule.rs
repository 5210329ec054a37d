//! Rules: what is wrong, for how long it must be so, and how bad it is. Some are there by themselves; people add others.
//!
//! The form of a person is TOML, a `[[rule]]` each. A rule of the same name as one that is there by itself replaces it, so
//! each of those can be changed or turned off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::notice::Severity;
use crate::subject::{Subject, matches};

/// More rules than this are a mistake: each is looked at for each service at each look.
pub const MAX_RULES: usize = 500;
/// The longest time that a rule looks back: what is kept of counters reaches so far.
pub const MAX_OVER_SECONDS: u64 = 3 * 24 * 3_600;
/// The largest bound by which it is counted how long answers take, in milliseconds.
pub const MAX_SLOWER_MS: u64 = 65_536;
/// The longest time for which a rule waits or goes on firing.
const MAX_FOR_SECONDS: u64 = 24 * 3_600;

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name: a label in alerts, and what a silence names.
    pub name: String,
    /// What is wrong.
    pub condition: Condition,
    /// How bad that is.
    #[serde(default)]
    pub severity: Severity,
    /// Only in environments with such a name; `*` stands for anything.
    #[serde(default)]
    pub environment: Option<String>,
    /// Only of services with such a name; `*` stands for anything.
    #[serde(default)]
    pub service: Option<String>,
    /// How long it must be seen before it fires.
    #[serde(default)]
    pub for_seconds: u64,
    /// How long it must not be seen before it recovers.
    #[serde(default = "a_minute")]
    pub keep_firing_seconds: u64,
    /// What it means when nothing is known.
    #[serde(default)]
    pub no_data: NoData,
    /// Whether it is looked at.
    #[serde(default = "yes")]
    pub enabled: bool,
}

const fn a_minute() -> u64 {
    60
}

const fn yes() -> bool {
    true
}

/// What it means when nothing is known. An error is never taken for "nothing is wrong": it keeps, or it alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Nothing is wrong.
    Ok,
    /// That is wrong.
    Alert,
    /// All stays as it is.
    #[default]
    Keep,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// The error budget of a service is used up so many times faster than it lasts, in a long and in a short time.
    BudgetBurn {
        /// The share of requests that is to succeed.
        objective_percent: f64,
        /// How many times faster than the budget lasts.
        burn_rate: f64,
        /// The long time.
        long_seconds: u64,
        /// The short time: it must go on.
        short_seconds: u64,
        /// Fewer failures in the long time are none.
        #[serde(default = "ten")]
        at_least_failures: u64,
    },
    /// A share of the requests of a service fails.
    FailureShare {
        /// The share.
        above_percent: f64,
        /// In which time.
        over_seconds: u64,
        /// Fewer failures are none.
        #[serde(default = "ten")]
        at_least_failures: u64,
    },
    /// A share of the requests of a service takes long.
    SlowShare {
        /// The share.
        above_percent: f64,
        /// What is long; one of the bounds that are counted.
        slower_than_ms: u64,
        /// In which time.
        over_seconds: u64,
        /// Fewer slow requests are none.
        #[serde(default = "ten")]
        at_least_slow: u64,
    },
    /// A service is asked less than so much.
    TooFewRequests {
        /// How much.
        below_per_minute: f64,
        /// In which time.
        over_seconds: u64,
    },
    /// An instance that should serve does not, or has been starting for too long.
    InstanceDown {
        /// How long an instance may take to start.
        #[serde(default = "ten_minutes")]
        starting_seconds: u64,
    },
    /// An instance was started again and again.
    CrashLoop {
        /// How often.
        at_least_restarts: u32,
        /// In which time.
        over_seconds: u64,
    },
    /// No instance of a version that should serve does.
    AllDown {},
    /// There is no way back to the version before.
    WayBackLost {},
    /// A certificate ends.
    CertificateEnds {
        /// How soon.
        within_days: f64,
    },
    /// A disk of a host or of the server is nearly full.
    DiskLow {
        /// What is left of it.
        below_free_percent: f64,
        /// A share of a large disk is much: with more left than this nothing is wrong.
        #[serde(default = "no_bytes")]
        and_below_free_bytes: u64,
    },
    /// A check of a gateway fails.
    CheckFails {
        /// How often one after the other, at one gateway.
        #[serde(default = "two")]
        at_least_in_a_row: u32,
    },
    /// The judge failed a version in its rollout.
    CanaryFailed {},
    /// An operation waits for somebody.
    OperationWaits {
        /// How long.
        longer_than_seconds: u64,
    },
    /// An operation went back for another reason than the judge.
    WentBack {},
    /// A host cannot be reached.
    HostAway {},
    /// A gateway is silent, or does not take a table.
    GatewayBehind {
        /// How long it may be silent or behind.
        longer_than_seconds: u64,
    },
    /// Something cannot be looked at.
    Unwatched {},
}

const fn two() -> u32 {
    2
}

const fn ten() -> u64 {
    10
}

const fn ten_minutes() -> u64 {
    600
}

const fn no_bytes() -> u64 {
    u64::MAX
}

/// What kind of fault a condition is about: by it one fault explains another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Requests fail or are slow.
    Traffic,
    /// A check fails.
    Check,
    /// An instance is down.
    Instance,
    /// An instance ends again and again.
    CrashLoop,
    /// All instances of a version are down.
    AllDown,
    /// No way back.
    WayBack,
    /// A certificate ends.
    Certificate,
    /// A disk is nearly full.
    Disk,
    /// A version failed in its rollout, or an operation went back.
    Rollout,
    /// An operation waits.
    Waits,
    /// A host is away.
    Host,
    /// A gateway is silent or behind.
    Gateway,
    /// Something cannot be looked at.
    Unwatched,
}

impl Condition {
    /// Returns what kind of fault it is about.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::BudgetBurn { .. }
            | Self::FailureShare { .. }
            | Self::SlowShare { .. }
            | Self::TooFewRequests { .. } => Family::Traffic,
            Self::CheckFails { .. } => Family::Check,
            Self::InstanceDown { .. } => Family::Instance,
            Self::CrashLoop { .. } => Family::CrashLoop,
            Self::AllDown {} => Family::AllDown,
            Self::WayBackLost {} => Family::WayBack,
            Self::CertificateEnds { .. } => Family::Certificate,
            Self::DiskLow { .. } => Family::Disk,
            Self::CanaryFailed {} | Self::WentBack {} => Family::Rollout,
            Self::OperationWaits { .. } => Family::Waits,
            Self::HostAway {} => Family::Host,
            Self::GatewayBehind { .. } => Family::Gateway,
            Self::Unwatched {} => Family::Unwatched,
        }
    }

    /// Returns the bound of which it must be counted how many answers took longer, in milliseconds.
    #[must_use]
    pub const fn slower_than_ms(&self) -> Option<u64> {
        match self {
            Self::SlowShare { slower_than_ms, .. } => Some(*slower_than_ms),
            _ => None,
        }
    }

    /// Returns the numbers that must be in a range: their names, themselves, and the range.
    fn numbers(&self) -> Vec<(&'static str, f64, f64, f64)> {
        let over = MAX_OVER_SECONDS as f64;
        match *self {
            Self::BudgetBurn { objective_percent, burn_rate, long_seconds, short_seconds, .. } => vec![
                ("objective_percent", objective_percent, 50.0, 99.999),
                ("burn_rate", burn_rate, 0.1, 10_000.0),
                ("long_seconds", long_seconds as f64, 60.0, over),
                ("short_seconds", short_seconds as f64, 10.0, long_seconds as f64),
            ],
            Self::FailureShare { above_percent, over_seconds, .. }
            | Self::SlowShare { above_percent, over_seconds, .. } => vec![
                ("above_percent", above_percent, 0.001, 99.999),
                ("over_seconds", over_seconds as f64, 2.0, over),
            ],
            Self::TooFewRequests { below_per_minute, over_seconds } => vec![
                ("below_per_minute", below_per_minute, 0.001, 1e9),
                ("over_seconds", over_seconds as f64, 60.0, over),
            ],
            Self::CrashLoop { at_least_restarts, over_seconds } => vec![
                ("at_least_restarts", f64::from(at_least_restarts), 2.0, 20.0),
                ("over_seconds", over_seconds as f64, 10.0, 86_400.0),
            ],
            Self::CheckFails { at_least_in_a_row } => {
                vec![("at_least_in_a_row", f64::from(at_least_in_a_row), 1.0, 100.0)]
            }
            Self::CertificateEnds { within_days } => vec![("within_days", within_days, 0.01, 366.0)],
            Self::DiskLow { below_free_percent, .. } => {
                vec![("below_free_percent", below_free_percent, 0.1, 90.0)]
            }
            _ => Vec::new(),
        }
    }
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RuleError {
    /// The text is no TOML, or has another form.
    #[error("{0}")]
    Form(String),
    /// A name is not one.
    #[error("`{0}` is not a name of a rule: 1 to 63 characters of a-z, 0-9 and - are expected")]
    Name(String),
    /// Two rules have a name.
    #[error("there are two rules with the name `{0}`")]
    Twice(String),
    /// A number is out of its range.
    #[error("rule `{rule}`: `{field}` is {is}, and must be from {low} to {high}")]
    Range {
        /// The rule.
        rule: String,
        /// The field.
        field: &'static str,
        /// What it is.
        is: f64,
        /// The least it may be.
        low: f64,
        /// The most it may be.
        high: f64,
    },
    /// How long answers took is counted by certain bounds alone.
    #[error(
        "rule `{rule}`: `slower_than_ms` is {is}, and must be 1, 2, 4, 8 and so on up to 65536: answers are counted by these"
    )]
    Bound {
        /// The rule.
        rule: String,
        /// What it is.
        is: u64,
    },
    /// There are too many.
    #[error("there are {0} rules; at most {MAX_RULES} are looked at")]
    TooMany(usize),
}

impl Rule {
    /// Makes a rule that waits for nothing, goes on firing for a minute, and keeps its state when nothing is known.
    #[must_use]
    pub fn new(name: &str, severity: Severity, condition: Condition) -> Self {
        Self {
            name: name.to_owned(),
            condition,
            severity,
            environment: None,
            service: None,
            for_seconds: 0,
            keep_firing_seconds: a_minute(),
            no_data: NoData::Keep,
            enabled: true,
        }
    }

    /// Changes how long it must be seen before it fires.
    #[must_use]
    pub fn after_seconds(self, for_seconds: u64) -> Self {
        Self { for_seconds, ..self }
    }

    /// Tells whether it is about a subject. A rule for services is not about what is no service.
    #[must_use]
    pub fn is_about(&self, subject: &Subject) -> bool {
        let fits = |pattern: &Option<String>, is: Option<&str>| {
            pattern.as_deref().is_none_or(|pattern| is.is_some_and(|is| matches(pattern, is)))
        };
        fits(&self.environment, subject.environment()) && fits(&self.service, subject.service())
    }

    fn problems(&self) -> Vec<RuleError> {
        let mut problems = Vec::new();
        if !is_name(&self.name) {
            problems.push(RuleError::Name(self.name.chars().take(80).collect()));
        }
        let longest = MAX_FOR_SECONDS as f64;
        let times = [("for_seconds", self.for_seconds), ("keep_firing_seconds", self.keep_firing_seconds)];
        let times = times.map(|(field, seconds)| (field, seconds as f64, 0.0, longest));
        let out = |&(_, is, low, high): &(_, f64, f64, f64)| !(low..=high).contains(&is);
        let range =
            |(field, is, low, high)| RuleError::Range { rule: self.name.clone(), field, is, low, high };
        problems.extend(times.into_iter().chain(self.condition.numbers()).filter(out).map(range));
        if let Some(is) = self.condition.slower_than_ms().filter(|ms| !is_counted(*ms)) {
            problems.push(RuleError::Bound { rule: self.name.clone(), is });
        }
        problems
    }
}

/// Tells whether answers are counted that took longer.
const fn is_counted(ms: u64) -> bool {
    ms.is_power_of_two() && ms <= MAX_SLOWER_MS
}

fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(allowed)
}

/// A file of rules, as a person writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<Rule>,
}

/// Reads rules of a person, a `[[rule]]` each.
///
/// # Errors
/// All that is wrong with them.
pub fn read(text: &str) -> Result<Vec<Rule>, Vec<RuleError>> {
    let file: File = toml::from_str(text).map_err(|error| vec![RuleError::Form(error.to_string())])?;
    check(&file.rule)?;
    Ok(file.rule)
}

/// Tells what is wrong with rules.
///
/// # Errors
/// All of it.
pub fn check(rules: &[Rule]) -> Result<(), Vec<RuleError>> {
    let mut problems: Vec<RuleError> = rules.iter().flat_map(Rule::problems).collect();
    let mut names = BTreeMap::<&str, u32>::new();
    rules.iter().for_each(|rule| *names.entry(&rule.name).or_default() += 1);
    problems.extend(
        names.iter().filter(|(_, count)| **count > 1).map(|(name, _)| RuleError::Twice((*name).to_owned())),
    );
    if rules.len() > MAX_RULES {
        problems.push(RuleError::TooMany(rules.len()));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Returns the rules that are there by themselves, with those of people in their place or behind them.
#[must_use]
pub fn with_built_in(own: &[Rule]) -> Vec<Rule> {
    let is_replaced = |rule: &Rule| own.iter().any(|other| other.name == rule.name);
    let mut rules = built_in();
    rules.retain(|rule| !is_replaced(rule));
    rules.extend(own.iter().cloned());
    rules.retain(|rule| rule.enabled);
    rules
}

/// Returns the rules that are there by themselves. Reasons for their numbers are in `docs/design/watching.md`.
#[must_use]
pub fn built_in() -> Vec<Rule> {
    let mut rules = traffic();
    rules.extend(instances());
    rules.extend(resources());
    rules.extend(changes());
    rules
}

/// Three burn rates of *The Site Reliability Workbook*, chapter 5, table 5-8, for 99.9 % in 30 days; and what needs no budget.
fn traffic() -> Vec<Rule> {
    let burn = |burn_rate, long_seconds, short_seconds| Condition::BudgetBurn {
        objective_percent: 99.9,
        burn_rate,
        long_seconds,
        short_seconds,
        at_least_failures: ten(),
    };
    let fails = Condition::FailureShare { above_percent: 20.0, over_seconds: 10, at_least_failures: 10 };
    vec![
        Rule::new("failing", Severity::Critical, fails),
        Rule::new("check-fails", Severity::Critical, Condition::CheckFails { at_least_in_a_row: two() }),
        Rule::new("budget-burns-fast", Severity::Critical, burn(14.4, 3_600, 300)),
        Rule::new("budget-burns", Severity::Critical, burn(6.0, 6 * 3_600, 1_800)),
        Rule::new("budget-burns-slowly", Severity::Warning, burn(1.0, 3 * 24 * 3_600, 6 * 3_600)),
    ]
}

fn instances() -> Vec<Rule> {
    let loops = Condition::CrashLoop { at_least_restarts: 3, over_seconds: 600 };
    vec![
        Rule::new("all-down", Severity::Critical, Condition::AllDown {}),
        Rule::new(
            "instance-down",
            Severity::Warning,
            Condition::InstanceDown { starting_seconds: ten_minutes() },
        ),
        Rule { keep_firing_seconds: 600, ..Rule::new("crash-loop", Severity::Warning, loops) },
    ]
}

fn resources() -> Vec<Rule> {
    let disk = |below_free_percent, and_below_free_bytes| Condition::DiskLow {
        below_free_percent,
        and_below_free_bytes,
    };
    let ends = |within_days| Condition::CertificateEnds { within_days };
    vec![
        Rule::new("certificate-ends-soon", Severity::Warning, ends(14.0)),
        Rule::new("certificate-ends", Severity::Critical, ends(3.0)),
        Rule::new("disk-low", Severity::Warning, disk(10.0, 50 << 30)).after_seconds(60),
        Rule::new("disk-full", Severity::Critical, disk(3.0, 5 << 30)),
        Rule::new("host-away", Severity::Critical, Condition::HostAway {}),
        Rule::new("gateway-behind", Severity::Critical, Condition::GatewayBehind { longer_than_seconds: 30 }),
        Rule::new("unwatched", Severity::Warning, Condition::Unwatched {}).after_seconds(120),
    ]
}

fn changes() -> Vec<Rule> {
    let waits = Condition::OperationWaits { longer_than_seconds: 1_800 };
    vec![
        Rule::new("canary-failed", Severity::Critical, Condition::CanaryFailed {}),
        Rule::new("went-back", Severity::Warning, Condition::WentBack {}),
        Rule::new("operation-waits", Severity::Warning, waits),
        Rule::new("way-back-lost", Severity::Warning, Condition::WayBackLost {}).after_seconds(300),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r#"
        [[rule]]
        name = "orders-slow"
        condition = { kind = "slow_share", above_percent = 5.0, slower_than_ms = 512, over_seconds = 60 }
        severity = "critical"
        environment = "prod*"
        service = "orders"
        for_seconds = 30
        no_data = "alert"

        [[rule]]
        name = "crash-loop"
        condition = { kind = "crash_loop", at_least_restarts = 5, over_seconds = 600 }
        enabled = false
    "#;

    #[test]
    fn rules_that_are_there_by_themselves_are_right() {
        assert_eq!(check(&built_in()), Ok(()));
    }

    #[test]
    fn a_rule_of_a_person_is_added_or_replaces_one() {
        let rules = with_built_in(&read(OWN).unwrap());
        assert_eq!(rules.len(), built_in().len(), "one more, and one turned off");
        assert!(rules.iter().all(|rule| rule.name != "crash-loop"));
        let slow = rules.iter().find(|rule| rule.name == "orders-slow").unwrap();
        assert_eq!((slow.for_seconds, slow.keep_firing_seconds, slow.no_data), (30, 60, NoData::Alert));
        let orders = Subject::of([("environment", "production"), ("service", "orders")]);
        assert!(slow.is_about(&orders));
        assert!(!slow.is_about(&Subject::of([("environment", "production")])));
        assert!(!slow.is_about(&Subject::of([("environment", "staging"), ("service", "orders")])));
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let text = r#"
            [[rule]]
            name = "Big"
            condition = { kind = "failure_share", above_percent = 120.0, over_seconds = 1 }
            [[rule]]
            name = "b"
            condition = { kind = "all_down" }
            for_seconds = 100000
            [[rule]]
            name = "b"
            condition = { kind = "all_down" }
        "#;
        assert_eq!(read(text).unwrap_err().len(), 5);
    }

    #[test]
    fn a_field_that_is_not_known_is_refused() {
        for wrong in [
            r#"condition = { kind = "all_down", over = 5 }"#,
            r#"condition = { kind = "many_down" }"#,
            "condition = { kind = \"all_down\" }\nfor = \"5m\"",
        ] {
            let text = format!("[[rule]]\nname = \"a\"\n{wrong}\n");
            assert!(matches!(read(&text).unwrap_err()[..], [RuleError::Form(_)]), "{wrong}");
        }
    }
}
