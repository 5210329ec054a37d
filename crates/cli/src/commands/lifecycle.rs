//! `lockstep lifecycle`: the stages of versions and their gates.

use std::fmt::Write as _;
use std::path::PathBuf;

use lockstep_api::types::LifecycleView;
use lockstep_domain::StageName;
use lockstep_domain::lifecycle::{Availability, Entry, Gate, Given, Lifecycle, Stage};

use crate::context::Context;
use crate::failure::Failure;
use crate::input;
use crate::output::style::Style;
use crate::output::times::exact;

/// Lists and defines lifecycles.
///
/// A lifecycle is the line of stages that a version goes through, each with its gates: evidence that must be green,
/// people who must approve, time in the stage before.
#[derive(Debug, Clone, clap::Args)]
#[command(
    after_help = "Examples:\n  lockstep lifecycle list\n  lockstep lifecycle define careful careful.json"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: LifecycleCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum LifecycleCommand {
    List(ListArgs),
    Define(DefineArgs),
}

/// Lists lifecycles with their stages and gates.
///
/// The JSON form of one, without its name, is what `lockstep lifecycle define` reads.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep lifecycle list\n  lockstep lifecycle list --json")]
struct ListArgs {}

/// Defines a lifecycle, or defines it anew.
///
/// The file holds {\"stages\": [...]}; each stage has a name, gates, what makes a version enter it, and whether its versions may be
/// deployed.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep lifecycle define careful careful.json
where careful.json holds
  {\"stages\": [
    {\"name\": \"created\", \"entry\": {\"entry\": \"automatic\"}},
    {\"name\": \"approved\", \"gates\": [{\"gate\": \"approvals\", \"count\": 2}, {\"gate\": \"evidence\", \"kind\": \"unit\"}]}
  ]}")]
struct DefineArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: StageName,
    /// A JSON file with its stages.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            LifecycleCommand::List(ListArgs {}) => ctx.out.show(&ctx.client.lifecycles()?, |all, style| {
                all.iter().map(|lifecycle| render(lifecycle, style)).collect::<Vec<_>>().join("\n")
            }),
            LifecycleCommand::Define(args) => {
                let view = LifecycleView { lifecycle: args.read()?, name: args.name };
                let defined = ctx.client.define_lifecycle(&view)?;
                ctx.out.show(&defined, |view, style| {
                    format!("{}: lifecycle {}\n", style.good("done"), view.name)
                })
            }
        }
    }
}

impl DefineArgs {
    fn read(&self) -> Result<Lifecycle, Failure> {
        let lifecycle: Lifecycle = input::json(&self.file, "lockstep lifecycle list --json")?;
        lifecycle.check().map_err(|errors| {
            let part = |error: &dyn std::error::Error| lockstep_api::problem::ProblemPart {
                detail: error.to_string(),
                file: Some(self.file.display().to_string()),
                ..Default::default()
            };
            let parts = errors.iter().map(|error| part(error)).collect();
            Failure::usage("the lifecycle cannot be used").problems(parts)
        })?;
        Ok(lifecycle)
    }
}

fn render(view: &LifecycleView, style: &Style) -> String {
    let mut text = format!("{}\n", style.strong(view.name.as_str()));
    for stage in &view.lifecycle.stages {
        let _ = writeln!(text, "  {}{}", stage.name, rules(stage));
    }
    text
}

fn rules(stage: &Stage) -> String {
    let gates = stage.gates.iter().map(gate);
    let entry = match &stage.entry {
        Entry::Manual => Some("by hand".to_owned()),
        Entry::Automatic => None,
        Entry::OnDeploy { environment } => Some(format!("when deployed to {environment}")),
    };
    let ended = (stage.availability == Availability::Ended).then(|| "not deployable".to_owned());
    let rules: Vec<_> = gates.chain(entry).chain(ended).collect();
    if rules.is_empty() { String::new() } else { format!(": {}", rules.join(", ")) }
}

fn gate(gate: &Gate) -> String {
    match gate {
        Gate::Evidence { kind, given: Given::Accepted } => format!("evidence {kind} green"),
        Gate::Evidence { kind, given: Given::Refused } => format!("evidence {kind} green, run by Lockstep"),
        Gate::NothingRed => "nothing red".into(),
        Gate::Approvals { count } => format!("{count} approvals"),
        Gate::TimeInStage { duration_ms } => format!("{} in the stage before", exact(*duration_ms)),
    }
}
