//! `lockstep logs`: the log of a build or of an instance.

use std::io::{BufRead, BufReader, Read};

use lockstep_api::client::{ClientError, Follow};
use lockstep_api::problem::ErrorCode;
use lockstep_domain::{EnvironmentName, InstanceId};
use lockstep_runtime::EndedLimits;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, cut_off};

/// Longest line that is written as one JSON text; a longer one is cut into several.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Writes the log of a build or an instance.
///
/// An id is looked for among the builds first, then among the instances of all environments; with --env only among
/// the instances of that one. Of a service in an environment, and of each of its jobs, the logs of the 20 instances that ended last are kept, 64 MiB
/// in all, for 7 days that the server runs. With --follow it goes on until the build or instance ends. Control characters are shown
/// escaped, as `\u{1b}`, so that no log can change the terminal.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep logs 7f3a --follow
  lockstep logs orders-1.4.0-9f3a --env production")]
pub(crate) struct Args {
    /// A build or an instance; `lockstep builds` and `lockstep status` list them.
    #[arg(value_name = "BUILD|INSTANCE")]
    id: String,
    /// Go on until it ends.
    #[arg(short, long)]
    follow: bool,
    /// The environment of the instance.
    #[arg(long = "env", value_name = "ENV")]
    environment: Option<EnvironmentName>,
    /// Write the bytes as they are. A log can change a terminal then, and what it shows.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
}

impl Args {
    pub(crate) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let follow = if self.follow { Follow::Yes } else { Follow::No };
        if let Some(environment) = &self.environment {
            let instance = self.id.parse().map_err(|error| Failure::usage(format!("{error}")))?;
            return self.write(ctx, ctx.client.instance_log(environment, &instance, follow)?);
        }
        match ctx.client.build_log(&self.id, follow) {
            Ok(log) => self.write(ctx, log),
            Err(error) if is_not_found(&error) => match self.id.parse().ok() {
                Some(instance) => self.instance(ctx, &instance, follow),
                None => Err(self.unknown()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Asks each environment: one that has ended is not shown any more, and has a log all the same.
    fn instance(&self, ctx: &Context, instance: &InstanceId, follow: Follow) -> Result<(), Failure> {
        for environment in ctx.client.environments()? {
            match ctx.client.instance_log(&environment.name, instance, follow) {
                Ok(log) => return self.write(ctx, log),
                Err(error) if is_not_found(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(self.unknown())
    }

    fn write(&self, ctx: &Context, log: impl Read) -> Result<(), Failure> {
        match ctx.out.format {
            Format::Text if self.raw => ctx.out.copy(log),
            Format::Text => ctx.out.copy_text(log),
            Format::Json => lines(ctx, BufReader::new(log)),
        }
    }

    fn unknown(&self) -> Failure {
        let kept = EndedLimits::default();
        Failure::new(
            Exit::NotFound,
            format!("there is no build and no instance `{}`, or its log is gone", self.id),
        )
        .hint(format!("`lockstep builds` lists builds, `lockstep status` instances; {kept}"))
    }
}

fn is_not_found(error: &ClientError) -> bool {
    matches!(error, ClientError::Problem(problem) if problem.code == ErrorCode::NotFound)
}

fn lines(ctx: &Context, mut log: impl BufRead) -> Result<(), Failure> {
    let mut line = Vec::new();
    while (&mut log).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(|error| cut_off(&error))? > 0 {
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        ctx.out.show_in_stream(&serde_json::json!({ "line": text }), |_, _| String::new())?;
        line.clear();
    }
    Ok(())
}
