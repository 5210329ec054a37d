//! `lockstep logs`: the log of a build, of an instance, or of all instances of a service.

mod many;

use std::io::{BufRead, BufReader, Read};

use lockstep_api::client::{ClientError, Follow};
use lockstep_api::problem::ErrorCode;
use lockstep_api::types::LogQuery;
use lockstep_domain::{EnvironmentName, InstanceId, VersionNumber};
use lockstep_runtime::EndedLimits;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Format, cut_off};
use crate::parse::duration::milliseconds;
use crate::select::EnvironmentOption;

/// Longest line that is written as one JSON text; a longer one is cut into several.
const MAX_LINE_BYTES: u64 = 1024 * 1024;

/// Writes the log of a build or an instance, or of all instances of a service.
///
/// With --all it is a service that is named, or none for all services of an environment: the lines of all its instances in the order of their
/// times, by the clocks of their machines, each with the version that wrote it, also of instances that have ended. Of lines that are JSON the level, the message and the
/// trace are understood. --trace finds the lines of one trace in every service; it needs no --all.
///
/// An id is looked for among the builds first, then among the instances of all environments; with --env only among
/// the instances of that one. Of a service in an environment, and of each of its jobs, the logs of the 20 instances that ended last are kept, 64 MiB
/// in all, for 7 days that the server runs. With --follow it goes on until the build or instance ends. Control characters are shown
/// escaped, as `\u{1b}`, so that no log can change the terminal.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep logs 7f3a --follow
  lockstep logs orders-1.4.0-9f3a --env production
  lockstep logs orders --env production --all --since 10m --grep timeout
  lockstep logs --env production --trace 4bf92f3577b34da6a3ce929d0e0e4736")]
pub(crate) struct Args {
    /// A build or an instance, which `lockstep builds` and `lockstep status` list; with --all a service.
    #[arg(value_name = "BUILD|INSTANCE|SERVICE", required_unless_present_any = ["all", "trace"])]
    id: Option<String>,
    /// All instances of the service that is named, or of all services of the environment.
    #[arg(long)]
    all: bool,
    /// Only lines of this trace: that say so, or in which its id is.
    #[arg(long, value_name = "ID", conflicts_with = "raw")]
    trace: Option<String>,
    /// Only of the last seconds, minutes or hours, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = milliseconds, conflicts_with = "raw")]
    since: Option<u64>,
    /// Only lines in which this text is, in small or capital letters.
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    grep: Option<String>,
    /// Only of this version, with --all or --trace.
    #[arg(long, value_name = "VERSION", conflicts_with = "raw")]
    version: Option<VersionNumber>,
    /// At most so many lines of before, the newest, with --all or --trace; 1000 where it is left out.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "raw")]
    limit: Option<u32>,
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
        if self.all || self.trace.is_some() {
            return self.many(ctx);
        }
        self.only_with_all()?;
        let follow = if self.follow { Follow::Yes } else { Follow::No };
        if let Some(environment) = &self.environment {
            let instance = self.id().parse().map_err(|error| Failure::usage(format!("{error}")))?;
            return self.write(ctx, ctx.client.instance_log(environment, &instance, follow)?);
        }
        match ctx.client.build_log(self.id(), follow) {
            Ok(log) => self.write(ctx, log),
            Err(error) if is_not_found(&error) => match self.id().parse().ok() {
                Some(instance) => self.instance(ctx, &instance, follow),
                None => Err(self.unknown()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// Reads the logs of many instances as one.
    fn many(&self, ctx: &Context) -> Result<(), Failure> {
        let environment = EnvironmentOption { environment: self.environment.clone() }.resolve(ctx)?;
        let service = self.id.as_ref().map(|id| id.parse()).transpose();
        let query = LogQuery {
            service: service.map_err(|error| Failure::usage(format!("{error}")))?,
            version: self.version.clone(),
            within_ms: self.since,
            contains: self.grep.clone(),
            trace: self.trace.clone(),
            newest: self.limit.map(|limit| limit as usize),
            follow: self.follow,
        };
        many::run(ctx, &environment, &query)
    }

    /// The log of one build or instance is written as it is.
    fn only_with_all(&self) -> Result<(), Failure> {
        let given = [
            ("--since", self.since.is_some()),
            ("--grep", self.grep.is_some()),
            ("--version", self.version.is_some()),
            ("--limit", self.limit.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => {
                let detail = format!("{option} chooses lines of many instances, and one is named");
                Err(Failure::usage(detail).hint(format!("lockstep logs SERVICE --all {option} ...")))
            }
            None => Ok(()),
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
            format!("there is no build and no instance `{}`, or its log is gone", self.id()),
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
