//! Options that say how new instances take over.

use lockstep_domain::Strategy;
use lockstep_domain::intent::{FailureBound, Step};

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
    /// Shares of the clients in percent, growing to 100 (for a canary) [default: 5,25,100].
    #[arg(long, value_name = "SHARES", value_delimiter = ',', value_parser = share::in_10000)]
    steps: Option<Vec<u32>>,
    /// How long each step is watched (for a canary or blue-green) [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    bake: Option<u64>,
    /// The share of failed requests above which it goes back (for a canary or blue-green) [default: 1%].
    #[arg(long, value_name = "SHARE", value_parser = share::in_10000)]
    max_failures: Option<u32>,
    /// Requests that must be seen before a step is passed (for a canary or blue-green) [default: 0].
    #[arg(long, value_name = "COUNT")]
    min_requests: Option<u64>,
}

impl StrategyOptions {
    /// Returns the strategy that was typed; `None` when none was.
    pub(crate) fn strategy(&self) -> Result<Option<Strategy>, Failure> {
        let Some(kind) = self.kind()? else { return Ok(None) };
        let bake_ms = self.bake.unwrap_or(DEFAULT_BAKE_MS);
        let strategy = match kind {
            StrategyKind::AllAtOnce => Strategy::AllAtOnce,
            StrategyKind::BlueGreen => Strategy::BlueGreen { bake_ms, bound: self.bound() },
            StrategyKind::Canary => {
                let shares = self.steps.clone().unwrap_or_else(|| DEFAULT_SHARES.into());
                let steps = shares.into_iter().map(|weight| Step { weight, bake_ms }).collect();
                Strategy::Canary { steps, bound: self.bound() }
            }
        };
        strategy.check().map_err(|error| {
            Failure::usage(error.to_string())
                .hint("for example --strategy canary --steps 5,25,100 --bake 30s")
        })?;
        Ok(Some(strategy))
    }

    fn kind(&self) -> Result<Option<StrategyKind>, Failure> {
        let watches = self.bake.is_some() || self.max_failures.is_some() || self.min_requests.is_some();
        match (self.strategy, self.steps.is_some(), watches) {
            (None, true, _) => Ok(Some(StrategyKind::Canary)),
            (None, false, true) => Err(Failure::usage(
                "--bake, --max-failures and --min-requests belong to a strategy that is watched",
            )
            .hint("add --strategy canary or --strategy blue-green")),
            (Some(StrategyKind::AllAtOnce), steps, watches) if steps || watches => {
                Err(Failure::usage("all-at-once has no steps and is not watched")
                    .hint("use --strategy canary or --strategy blue-green"))
            }
            (Some(StrategyKind::BlueGreen), true, _) => {
                Err(Failure::usage("blue-green switches once and has no steps").hint("use --strategy canary"))
            }
            (kind, ..) => Ok(kind),
        }
    }

    fn bound(&self) -> FailureBound {
        let usual = FailureBound::default();
        FailureBound {
            max_failures_in_10000: self.max_failures.unwrap_or(usual.max_failures_in_10000),
            min_requests: self.min_requests.unwrap_or(usual.min_requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(options: &StrategyOptions) -> Option<Strategy> {
        options.strategy().unwrap()
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
    fn options_that_would_be_ignored_are_refused() {
        let usual = StrategyOptions::default;
        let all_at_once = Some(StrategyKind::AllAtOnce);
        let refused = [
            StrategyOptions { bake: Some(1), ..usual() },
            StrategyOptions { strategy: all_at_once, bake: Some(1), ..usual() },
            StrategyOptions { strategy: all_at_once, steps: Some(vec![10_000]), ..usual() },
            StrategyOptions { strategy: Some(StrategyKind::BlueGreen), steps: Some(vec![10_000]), ..usual() },
            StrategyOptions { steps: Some(vec![5_000]), ..usual() },
            StrategyOptions { steps: Some(vec![5_000, 2_000, 10_000]), ..usual() },
        ];
        for options in refused {
            assert!(options.strategy().is_err(), "{options:?}");
        }
    }
}
