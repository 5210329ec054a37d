//! Which environment a command means when it may be left out.

use lockstep_api::types::EnvironmentSummary;
use lockstep_domain::EnvironmentName;

use crate::context::Context;
use crate::failure::Failure;

/// The environment that is meant while nothing runs anywhere.
const FIRST_ENVIRONMENT: &str = "development";

/// `--env ENV`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EnvironmentOption {
    /// The environment; may be left out while only one has services.
    #[arg(long = "env", value_name = "ENV")]
    pub(crate) environment: Option<EnvironmentName>,
}

impl EnvironmentOption {
    /// Returns the environment that is meant.
    pub(crate) fn resolve(&self, ctx: &Context) -> Result<EnvironmentName, Failure> {
        resolve(ctx, self.environment.as_ref())
    }
}

/// `ENV` or `--env ENV`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EnvironmentArgument {
    /// The environment; may be left out while only one has services.
    #[arg(value_name = "ENV")]
    positional: Option<EnvironmentName>,
    /// The same as the argument.
    #[arg(long = "env", value_name = "ENV", conflicts_with = "positional")]
    environment: Option<EnvironmentName>,
}

impl EnvironmentArgument {
    /// Returns what was typed.
    pub(crate) fn given(&self) -> Option<&EnvironmentName> {
        self.positional.as_ref().or(self.environment.as_ref())
    }

    /// Returns the environment that is meant.
    pub(crate) fn resolve(&self, ctx: &Context) -> Result<EnvironmentName, Failure> {
        resolve(ctx, self.given())
    }
}

fn resolve(ctx: &Context, given: Option<&EnvironmentName>) -> Result<EnvironmentName, Failure> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let environments = ctx.client.environments()?;
    let chosen = only_sensible(&environments).cloned().ok_or_else(|| ambiguous(&environments))?;
    if ctx.globals.verbose {
        ctx.out.message(&format!("environment: {chosen}"));
    }
    Ok(chosen)
}

/// Returns the only environment with services; while there is none, `development` or the only environment.
fn only_sensible(environments: &[EnvironmentSummary]) -> Option<&EnvironmentName> {
    let mut used = environments.iter().filter(|environment| environment.services > 0);
    match (used.next(), used.next(), environments) {
        (Some(only), None, _) | (None, _, [only]) => Some(&only.name),
        (None, ..) => environments
            .iter()
            .map(|environment| &environment.name)
            .find(|name| name.as_str() == FIRST_ENVIRONMENT),
        _ => None,
    }
}

fn ambiguous(environments: &[EnvironmentSummary]) -> Failure {
    let names: Vec<_> = environments.iter().map(|environment| environment.name.as_str()).collect();
    match names.as_slice() {
        [] => Failure::usage("there is no environment").hint("lockstep environment create development"),
        names => Failure::usage(format!("which environment? there are {}", names.join(", ")))
            .hint(format!("add --env {}", names[0])),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::environment::EnvironmentSettings;
    use lockstep_domain::gateway_rules::GatewayRules;
    use lockstep_domain::{CallAddress, Strategy};

    use super::*;

    fn environments(list: &[(&str, usize)]) -> Vec<EnvironmentSummary> {
        let settings = EnvironmentSettings {
            accepts_from: "created".parse().unwrap(),
            lanes_accept: Default::default(),
            strategy: Strategy::AllAtOnce,
            stay_ms: 0,
            drain_ms: None,
            instance_ports: lockstep_domain::instance_ports::InstancePorts::Server,
            warm_ms: 0,
            gateway_port: 1,
            gateway_url: CallAddress::Server,
            gateway_rules: GatewayRules::usual(),
            entry: Box::default(),
            answer_checks: lockstep_domain::watch::AnswerChecks::usual(),
            proven_after: Default::default(),
            lost_hosts: Default::default(),
            clients_at: Default::default(),
        };
        let summary = |&(name, services): &(&str, usize)| EnvironmentSummary {
            name: name.parse().unwrap(),
            settings: settings.clone(),
            baseline: 0,
            services,
            operation: None,
            under_way: Vec::new(),
        };
        list.iter().map(summary).collect()
    }

    #[test]
    fn an_environment_may_be_left_out_only_where_one_makes_sense() {
        let chosen = |list: &[(&str, usize)]| only_sensible(&environments(list)).map(ToString::to_string);
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(chosen(&[("development", 2), ("production", 0)]), some("development"));
        assert_eq!(chosen(&[("development", 0), ("production", 3)]), some("production"));
        assert_eq!(chosen(&[("development", 1), ("production", 3)]), None);
        assert_eq!(chosen(&[("development", 0), ("production", 0)]), some("development"));
        assert_eq!(chosen(&[("blue", 0)]), some("blue"));
        assert_eq!(chosen(&[("blue", 0), ("green", 0)]), None);
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn the_environments_are_listed_when_one_must_be_named() {
        let shown =
            ambiguous(&environments(&[("a", 1), ("b", 1)])).render(&crate::output::style::Style::plain());
        assert_eq!(shown, "error: which environment? there are a, b\nhint: add --env a\n");
    }
}
