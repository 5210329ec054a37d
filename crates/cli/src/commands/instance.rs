//! `lockstep instance`: single instances, named by their ids.

use std::time::Duration;

use lockstep_api::types::{DismissRequest, EnvironmentView};
use lockstep_domain::{EnvironmentName, Instance, InstanceId, Intent};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operate::ChangeOptions;

/// How often it is looked whether an instance has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Ends or replaces single instances.
///
/// `lockstep status` lists instances with their ids.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep instance restart orders-1.4.0-0-9f3a2c
  lockstep instance stop orders-1.3.2-0-77e1b0 --env production")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: InstanceCommand,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum InstanceCommand {
    Stop(StopArgs),
    Restart(RestartArgs),
}

/// Ends an instance.
///
/// It leaves the table, its requests finish, and it is told to end. Where its version is wanted another is started at the
/// same time, or with a fixed port or `old-first` when it has ended; a warm one is not replaced. The only healthy instance of a version that has requests is not ended.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep instance stop orders-1.3.2-0-77e1b0 --env production")]
struct StopArgs {
    #[command(flatten)]
    named: Named,
    /// Why, for the journal.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Return as soon as it is recorded.
    #[arg(long)]
    no_wait: bool,
}

/// Puts a new instance in the place of one.
///
/// The new one is started and becomes healthy first; then the other leaves the table, its requests finish, and it ends. With a
/// fixed port it is the other way round.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:\n  lockstep instance restart orders-1.4.0-0-9f3a2c")]
struct RestartArgs {
    #[command(flatten)]
    named: Named,
    #[command(flatten)]
    change: ChangeOptions,
}

#[derive(Debug, Clone, clap::Args)]
struct Named {
    /// The instance; `lockstep status` lists them.
    #[arg(value_name = "INSTANCE")]
    instance: InstanceId,
    /// Its environment; may be left out.
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<EnvironmentName>,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        match self.command {
            InstanceCommand::Stop(args) => args.run(ctx),
            InstanceCommand::Restart(args) => {
                let found = args.named.find(ctx)?;
                let (service, instances) = (found.arm.service, vec![found.id]);
                args.change.change(found.environment, Intent::Restart { service, instances }).run(ctx)
            }
        }
    }
}

impl StopArgs {
    fn run(self, ctx: &Context) -> Result<(), Failure> {
        let Instance { id, environment, .. } = self.named.find(ctx)?;
        let mut view =
            ctx.client.stop_instance(&environment, &id, &DismissRequest { reason: self.reason })?;
        while !self.no_wait && runs(&view, &id) {
            std::thread::sleep(LOOK_AGAIN);
            view = ctx.client.environment(&environment)?;
        }
        let words = if self.no_wait { "is to end" } else { "has ended" };
        ctx.out.show(&view, |_, style| format!("{}: {id} {words}\n", style.good("done")))
    }
}

fn runs(view: &EnvironmentView, id: &InstanceId) -> bool {
    let mut instances = view.services.iter().flat_map(|service| &service.instances);
    instances.any(|instance| instance.id == *id && !instance.state.is_over())
}

impl Named {
    fn find(&self, ctx: &Context) -> Result<Instance, Failure> {
        let names = match &self.environment {
            Some(name) => vec![name.clone()],
            None => ctx.client.environments()?.into_iter().map(|environment| environment.name).collect(),
        };
        for name in names {
            let view = ctx.client.environment(&name)?;
            let mut instances = view.services.into_iter().flat_map(|service| service.instances);
            if let Some(found) = instances.find(|instance| instance.id == self.instance) {
                return Ok(found);
            }
        }
        Err(Failure::new(Exit::NotFound, format!("there is no instance `{}`", self.instance))
            .hint("lockstep status"))
    }
}
