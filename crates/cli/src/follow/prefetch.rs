//! Waiting until artifacts are where an environment runs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use lockstep_api::client::ClientError;
use lockstep_api::types::{PrefetchRequest, PrefetchState, Prefetched, Sent};
use lockstep_domain::{EnvironmentName, VersionRef};

use super::Patience;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::sizes::size;
use crate::output::style::Style;
use crate::output::times::exact;
use crate::parse::wanted::Typed;
use crate::progress::Progress;

/// Over how long a rate is measured.
const RATE_OVER: Duration = Duration::from_secs(2);

/// Has the artifacts of versions brought to where an environment runs, and waits for that.
pub(crate) fn run(ctx: &Context, environment: &EnvironmentName, services: Vec<Typed>) -> Result<(), Failure> {
    let versions = services.into_iter().map(version).collect::<Result<Vec<_>, _>>()?;
    let wanted = Wanted { environment, request: PrefetchRequest { versions } };
    let out = ctx.out.clone();
    let words = "what was asked for goes on being sent";
    interrupt::on_ctrl_c(move || out.message(words))?;
    let rows = until_there(ctx, &wanted, wanted.begin(ctx)?)?;
    ctx.out.show(&rows, |rows, style| rows.iter().map(|row| line(row, style)).collect())?;
    match rows.iter().filter(|row| row.state != PrefetchState::Here).count() {
        0 => Ok(()),
        missing => Err(Failure::new(
            Exit::EndedBadly,
            format!("{missing} of {} artifacts did not get there", rows.len()),
        )
        .hint("what is in the way stands above, and lockstep hosts says which are away; for a day it is tried again")),
    }
}

/// What is to be where.
struct Wanted<'a> {
    environment: &'a EnvironmentName,
    request: PrefetchRequest,
}

impl Wanted<'_> {
    fn begin(&self, ctx: &Context) -> Result<Vec<Prefetched>, ClientError> {
        Ok(self.of(ctx.client.prefetch(self.environment, &self.request)?))
    }

    /// Asks how far they have come. A server that was started anew knows nothing of it, and is asked for it again.
    fn look(&self, ctx: &Context) -> Result<Vec<Prefetched>, ClientError> {
        let rows = self.of(ctx.client.prefetched(self.environment)?);
        let is_known = |version: &VersionRef| rows.iter().any(|row| row.version == *version);
        if self.request.versions.iter().all(is_known) { Ok(rows) } else { self.begin(ctx) }
    }

    fn of(&self, rows: Vec<Prefetched>) -> Vec<Prefetched> {
        rows.into_iter().filter(|row| self.request.versions.contains(&row.version)).collect()
    }
}

fn version(typed: Typed) -> Result<VersionRef, Failure> {
    match typed {
        Typed::Version(version) => Ok(version),
        Typed::Wish(wish) => {
            let detail =
                format!("`{}` is named without a version, so nothing of it can be brought", wish.service);
            Err(Failure::usage(detail).hint("lockstep show SERVICE lists versions"))
        }
    }
}

fn until_there(
    ctx: &Context,
    wanted: &Wanted<'_>,
    first: Vec<Prefetched>,
) -> Result<Vec<Prefetched>, Failure> {
    let (progress, mut rate, mut patience) = (Progress::begin(&ctx.out), Rate::default(), Patience::new());
    let (mut rows, mut told) = (first, BTreeSet::new());
    loop {
        if rows.is_empty() {
            let detail = format!("no host of `{}` takes anything now", wanted.environment);
            return Err(Failure::new(Exit::Refused, detail).hint("lockstep hosts"));
        }
        for row in rows.iter().filter(|row| row.state == PrefetchState::Here) {
            if told.insert((row.version.clone(), row.host.clone())) {
                progress.line(&format!("  {}", arrived(row)));
            }
        }
        let coming: Vec<&Prefetched> = rows.iter().filter(|row| row.state == PrefetchState::Coming).collect();
        if coming.is_empty() {
            return Ok(rows);
        }
        progress.status(&status(&coming, rows.len(), &mut rate));
        match wanted.look(ctx) {
            Ok(next) => {
                rows = next;
                patience.renew();
            }
            Err(error) => patience.bear(error)?,
        }
    }
}

fn place(row: &Prefetched) -> String {
    row.host.as_ref().map_or_else(|| "the machine of the server".to_owned(), ToString::to_string)
}

fn arrived(row: &Prefetched) -> String {
    let sent = match row.sent {
        Some(Sent { of, whole, .. }) if of < whole => format!(": {} of {} were sent", size(of), size(whole)),
        Some(Sent { whole, .. }) => format!(": {} were sent", size(whole)),
        None => String::new(),
    };
    format!("{} has {}{sent}", place(row), row.version)
}

fn line(row: &Prefetched, style: &Style) -> String {
    match &row.state {
        PrefetchState::Here => format!("{}: {}\n", style.good("done"), arrived(row)),
        PrefetchState::Coming => format!("{} does not have {} yet\n", place(row), row.version),
        PrefetchState::Away => format!(
            "{}: {} is away and does not have {} for certain; it is sent when the host is back\n",
            style.bad("missing"),
            place(row),
            row.version
        ),
        PrefetchState::Failed { why } => {
            format!("{}: {} does not have {}: {why}\n", style.bad("failed"), place(row), row.version)
        }
    }
}

fn status(coming: &[&Prefetched], all: usize, rate: &mut Rate) -> String {
    let known: Vec<Sent> = coming.iter().filter_map(|row| row.sent).collect();
    let (sent, of): (u64, u64) = known.iter().fold((0, 0), |(sent, of), it| (sent + it.bytes, of + it.of));
    let mut text = format!("{} of {all} artifacts are on their way", coming.len());
    if of > 0 {
        let _ = write!(text, ": {} of {}", size(sent), size(of));
    }
    if let Some(speed) = rate.of(sent).filter(|speed| *speed > 0.0) {
        let left = (of.saturating_sub(sent) as f64 / speed).ceil() as u64;
        let _ = write!(text, ", {}/s, {} left", size(speed as u64), exact(left * 1_000));
    }
    text
}

/// How many bytes are sent a second.
#[derive(Debug, Default)]
struct Rate {
    since: Option<(Instant, u64)>,
    last: Option<f64>,
}

impl Rate {
    fn of(&mut self, sent: u64) -> Option<f64> {
        let (begun, before) = *self.since.get_or_insert((Instant::now(), sent));
        // Artifacts that have arrived are no longer counted.
        if sent < before {
            (self.since, self.last) = (Some((Instant::now(), sent)), None);
        } else if begun.elapsed() >= RATE_OVER {
            self.last = Some((sent - before) as f64 / begun.elapsed().as_secs_f64());
            self.since = Some((Instant::now(), sent));
        }
        self.last
    }
}
