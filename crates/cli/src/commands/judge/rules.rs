//! Options that say how sure the judge has to be, and what is tolerated.

use lockstep_judge::{Plan, Rules, Share, Times};

use crate::failure::Failure;
use crate::parse::share;

/// Options that say how sure the judge has to be, and what is tolerated.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct RulesOptions {
    /// How probable it may be that a version that is not worse is failed, over the whole rollout [default: 1%].
    #[arg(long, value_name = "SHARE", value_parser = share::in_10000)]
    alpha: Option<u32>,
    /// How many times the old version's odds of failing are tolerated; 1 is strict [default: 1.25].
    #[arg(long, value_name = "TIMES", value_parser = times)]
    tolerated: Option<Times>,
}

impl RulesOptions {
    pub(super) fn rules(&self) -> Rules {
        self.over(Rules::default())
    }

    /// Puts what was typed over other rules.
    pub(super) fn over(&self, usual: Rules) -> Rules {
        Rules {
            alpha: self.alpha.map_or(usual.alpha, millionths),
            tolerated: self.tolerated.unwrap_or(usual.tolerated),
            ..usual
        }
    }
}

/// Makes a share of parts of 10,000.
pub(super) fn millionths(in_10000: u32) -> Share {
    Share(in_10000.saturating_mul(100))
}

/// Refuses a plan that cannot be used, with everything that is wrong.
pub(super) fn check(plan: &Plan) -> Result<(), Failure> {
    let part = |error: lockstep_judge::RulesError| Failure::usage(error.to_string()).into_part();
    plan.check().map_err(|errors| {
        let problems = errors.into_iter().map(part).collect();
        Failure::usage("the rules cannot be used").problems(problems)
    })
}

fn times(text: &str) -> Result<Times, String> {
    let number: Option<f64> = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Times::from_ratio).ok_or_else(|| "a number of times, such as 1.25, is expected".to_owned())
}
