//! Options that say how new instances take over.

use lockstep_domain::intent::{FailureBound, Step, WithoutEvidence};
use lockstep_domain::{EnvironmentName, Strategy};

use crate::context::Context;
use crate::failure::Failure;
use crate::parse::{duration, share};

/// Shares of a canary that names none, in parts of 10,000.
const DEFAULT_SHARES: [u32; 3] = [500, 2_500, 10_000];
/// How long a step is watched when nothing is said.
const DEFAULT_BAKE_MS: u64 = 30_000;

/// How new instances take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum StrategyKind {
    /// Everything at once, wave by wave.
    AllAtOnce,
    /// A whole second set, then one switch.
    BlueGreen,
    /// A growing share of the clients.
    Canary,
}

/// Options that say how new instances take over.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct StrategyOptions {
    /// How new instances take over; the environment's own strategy when left out.
    #[arg(long, value_name = "STRATEGY")]
    strategy: Option<StrategyKind>,
    /// Shares of the clients in percent, growing to 100 (for a canary) [default: as the environment has it, else 5,25,100].
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = share::in_10000)]
    steps: Option<Vec<u32>>,
    /// How long each step is watched (for a canary or blue-green) [default: as the environment has it, else 30s].
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    bake: Option<u64>,
    /// The share of failed requests that is too much, also where it is little more than before (for a canary or blue-green) [default: as the environment has it, else 1%].
    #[arg(long, value_name = "SHARE", value_parser = share::in_10000)]
    max_failures: Option<u32>,
    /// Requests that must be seen before a step is passed; without them it waits (for a canary or blue-green).
    #[arg(long, value_name = "COUNT", conflicts_with = "accept_unproven")]
    min_requests: Option<u64>,
    /// Let time alone pass a step for which there were too few requests; it is recorded for ever that nothing was proven.
    #[arg(long)]
    accept_unproven: bool,
    /// What a step does whose time is over and that had too few requests: `wait`, `ask`, or go on after a time such as 30m (for a canary or blue-green) [default: as the environment has it, else wait].
    #[arg(long, value_name = "WHAT", value_parser = without_evidence, conflicts_with = "accept_unproven")]
    without_evidence: Option<WithoutEvidence>,
}

/// Reads `wait`, `ask` or a duration.
fn without_evidence(text: &str) -> Result<WithoutEvidence, String> {
    match text {
        "wait" => Ok(WithoutEvidence::Wait),
        "ask" => Ok(WithoutEvidence::Ask),
        text => duration::milliseconds(text)
            .map(WithoutEvidence::GoOnAfter)
            .map_err(|error| format!("expected `wait`, `ask` or a duration: {error}")),
    }
}

impl StrategyOptions {
    /// Returns the strategy that was typed, with all else as the environment has it; `None` when nothing was.
    pub(crate) fn resolve(
        &self,
        ctx: &Context,
        environment: &EnvironmentName,
    ) -> Result<Option<Strategy>, Failure> {
        if self.is_empty() {
            return Ok(None);
        }
        // What is wrong whatever the environment has is said without asking for it.
        self.check()?;
        if self.strategy == Some(StrategyKind::AllAtOnce) {
            return Ok(Some(Strategy::AllAtOnce));
        }
        let usual = ctx.client.environment(environment)?.settings.strategy;
        self.over(&usual).map(Some)
    }

    /// Returns the strategy that was typed where there is none yet; `None` when nothing was.
    pub(crate) fn alone(&self) -> Result<Option<Strategy>, Failure> {
        if self.is_empty() {
            return Ok(None);
        }
        self.check()?;
        self.over(&Strategy::AllAtOnce).map(Some)
    }

    fn is_empty(&self) -> bool {
        self.strategy.is_none() && self.steps.is_none() && !self.watches()
    }

    /// Tells whether something was typed that only means something where requests are watched.
    fn watches(&self) -> bool {
        let numbers =
            self.max_failures.is_some() || self.min_requests.is_some() || self.without_evidence.is_some();
        self.bake.is_some() || numbers || self.accept_unproven
    }

    fn check(&self) -> Result<(), Failure> {
        let steps = self.steps.is_some();
        match self.strategy {
            Some(StrategyKind::AllAtOnce) if steps || self.watches() => {
                Err(Failure::usage("all-at-once has no steps and is not watched")
                    .hint("use --strategy canary or --strategy blue-green"))
            }
            Some(StrategyKind::BlueGreen) if steps => {
                Err(Failure::usage("blue-green switches once and has no steps").hint("use --strategy canary"))
            }
            _ => Ok(()),
        }
    }

    /// Puts what was typed over the environment's own strategy: one thing that is typed changes that thing alone.
    fn over(&self, usual: &Strategy) -> Result<Strategy, Failure> {
        let kind = self.strategy.or(self.steps.as_ref().map(|_| StrategyKind::Canary));
        let strategy = match (kind, usual) {
            (Some(StrategyKind::AllAtOnce), _) => Strategy::AllAtOnce,
            (Some(StrategyKind::BlueGreen), _) | (None, Strategy::BlueGreen { .. }) => {
                Strategy::BlueGreen { bake_ms: self.bake_over(usual), bound: self.bound_over(usual) }
            }
            (Some(StrategyKind::Canary), _) | (None, Strategy::Canary { .. }) => {
                Strategy::Canary { steps: self.steps_over(usual), bound: self.bound_over(usual) }
            }
            (None, Strategy::AllAtOnce) => {
                let options =
                    "--bake, --max-failures, --min-requests, --without-evidence and --accept-unproven";
                return Err(Failure::usage(format!("{options} belong to a strategy that is watched"))
                    .hint("add --strategy canary or --strategy blue-green"));
            }
        };
        strategy.check().map_err(|error| {
            Failure::usage(error.to_string())
                .hint("for example --strategy canary --steps 5,25,100 --bake 30s")
        })?;
        Ok(strategy)
    }

    fn steps_over(&self, usual: &Strategy) -> Vec<Step> {
        let shares = || self.steps.clone().unwrap_or_else(|| DEFAULT_SHARES.into());
        match usual {
            Strategy::Canary { steps, .. } if self.steps.is_none() => {
                let step = |step: &Step| Step { bake_ms: self.bake.unwrap_or(step.bake_ms), ..*step };
                steps.iter().map(step).collect()
            }
            _ => {
                let bake_ms = self.bake_over(usual);
                shares().into_iter().map(|weight| Step { weight, bake_ms }).collect()
            }
        }
    }

    fn bake_over(&self, usual: &Strategy) -> u64 {
        let longest = usual.steps().iter().map(|step| step.bake_ms).max().filter(|ms| *ms > 0);
        self.bake.or(longest).unwrap_or(DEFAULT_BAKE_MS)
    }

    fn bound_over(&self, usual: &Strategy) -> FailureBound {
        let usual = usual.bound().unwrap_or_default();
        let min_requests = self.min_requests.unwrap_or(usual.min_requests);
        FailureBound {
            max_failures_in_10000: self.max_failures.unwrap_or(usual.max_failures_in_10000),
            min_requests: if self.accept_unproven { 0 } else { min_requests },
            without_evidence: self.without_evidence.unwrap_or(usual.without_evidence),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(options: &StrategyOptions) -> Option<Strategy> {
        options.alone().unwrap()
    }

    #[test]
    fn nothing_typed_leaves_the_choice_to_the_environment() {
        assert_eq!(strategy(&StrategyOptions::default()), None);
    }

    #[test]
    fn steps_alone_mean_a_canary() {
        let options = StrategyOptions { steps: Some(vec![1_000, 10_000]), ..StrategyOptions::default() };
        assert_eq!(strategy(&options), Some(Strategy::canary(&[10, 100], DEFAULT_BAKE_MS)));
    }

    #[test]
    fn a_canary_has_useful_defaults() {
        let options = StrategyOptions { strategy: Some(StrategyKind::Canary), ..StrategyOptions::default() };
        assert_eq!(strategy(&options), Some(Strategy::canary(&[5, 25, 100], DEFAULT_BAKE_MS)));
    }

    #[test]
    fn one_thing_that_is_typed_changes_that_thing_alone() {
        let without_evidence = WithoutEvidence::GoOnAfter(1_800_000);
        let bound = FailureBound { max_failures_in_10000: 10, min_requests: 40, without_evidence };
        let step = |weight, bake_ms| Step { weight, bake_ms };
        let usual = Strategy::Canary { steps: vec![step(100, 5_000), step(10_000, 9_000)], bound };
        let over = |options: StrategyOptions| options.over(&usual).unwrap();
        let none = StrategyOptions::default;
        let shorter = over(StrategyOptions { bake: Some(2_000), ..none() });
        assert_eq!(shorter, Strategy::Canary { steps: vec![step(100, 2_000), step(10_000, 2_000)], bound });
        let other_steps = over(StrategyOptions { steps: Some(vec![10_000]), ..none() });
        assert_eq!(other_steps, Strategy::Canary { steps: vec![step(10_000, 9_000)], bound });
        let unproven = over(StrategyOptions { accept_unproven: true, ..none() });
        assert_eq!(unproven.bound(), Some(FailureBound { min_requests: 0, ..bound }));
        let asks = over(StrategyOptions { without_evidence: Some(WithoutEvidence::Ask), ..none() });
        assert_eq!(asks.bound(), Some(FailureBound { without_evidence: WithoutEvidence::Ask, ..bound }));
        let blue_green = over(StrategyOptions { strategy: Some(StrategyKind::BlueGreen), ..none() });
        assert_eq!(blue_green, Strategy::BlueGreen { bake_ms: 9_000, bound });
        let at_once = over(StrategyOptions { strategy: Some(StrategyKind::AllAtOnce), ..none() });
        assert_eq!(at_once, Strategy::AllAtOnce);
    }

    #[test]
    fn what_a_step_does_without_evidence_is_a_word_or_a_time() {
        let read = |text: &str| without_evidence(text).ok();
        assert_eq!(read("wait"), Some(WithoutEvidence::Wait));
        assert_eq!(read("ask"), Some(WithoutEvidence::Ask));
        assert_eq!(read("30m"), Some(WithoutEvidence::GoOnAfter(30 * 60_000)));
        assert_eq!(read("never"), None);
        let week_and_more = Some(WithoutEvidence::GoOnAfter(8 * 24 * 3_600_000));
        let strategy = Some(StrategyKind::Canary);
        let options =
            StrategyOptions { strategy, without_evidence: week_and_more, ..StrategyOptions::default() };
        assert!(options.alone().is_err());
    }

    #[test]
    fn options_that_would_be_ignored_are_refused() {
        let usual = StrategyOptions::default;
        let all_at_once = Some(StrategyKind::AllAtOnce);
        let refused = [
            StrategyOptions { bake: Some(1), ..usual() },
            StrategyOptions { accept_unproven: true, ..usual() },
            StrategyOptions { without_evidence: Some(WithoutEvidence::Ask), ..usual() },
            StrategyOptions { strategy: all_at_once, bake: Some(1), ..usual() },
            StrategyOptions { strategy: all_at_once, steps: Some(vec![10_000]), ..usual() },
            StrategyOptions { strategy: Some(StrategyKind::BlueGreen), steps: Some(vec![10_000]), ..usual() },
            StrategyOptions { steps: Some(vec![5_000]), ..usual() },
            StrategyOptions { steps: Some(vec![5_000, 2_000, 10_000]), ..usual() },
        ];
        for options in refused {
            assert!(options.alone().is_err(), "{options:?}");
        }
    }
}
