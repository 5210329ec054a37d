//! What the demonstration on hosts came to, in words.

use std::fmt;
use std::time::Duration;

use crate::load::Totals;

use super::super::summary::{Rollback, time};
use super::failures::Judged;

/// What it came to. Every number that must be so was checked where it was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// How many hosts there are.
    pub(super) hosts: usize,
    /// Versions that were built.
    pub(super) versions: usize,
    /// What customers saw.
    pub(super) totals: Totals,
    /// The host that was switched off.
    pub(super) lost: String,
    /// Why requests failed.
    pub(super) failures: Judged,
    /// The way back meanwhile.
    pub(super) rollback: Option<Rollback>,
    /// Whether the host was off before that was over.
    pub(super) in_the_middle: bool,
    /// Requests that were answered while no server ran.
    pub(super) without_server: usize,
    /// The host that booted again without a server, and how long it took until it served.
    pub(super) rebooted: Option<(String, Duration)>,
    /// Instances that the next server found where they were.
    pub(super) adopted: usize,
    /// How long everything took.
    pub(super) elapsed: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hosts, versions, totals, lost, failures, without_server, adopted, .. } = self;
        let Judged { there, on_the_way, .. } = failures;
        let Totals { requests, failed, .. } = totals;
        writeln!(f, "\n== Summary ==")?;
        writeln!(f, "hosts               {hosts}, with an instance of each of 4 services")?;
        writeln!(f, "versions built      {versions}")?;
        writeln!(f, "requests made       {requests}")?;
        writeln!(
            f,
            "requests failed     {}, apart from those that the dead host took along",
            failed.saturating_sub(failures.all())
        )?;
        writeln!(
            f,
            "lost with {lost:<10}{there} requests that were there, and {on_the_way} that called something there"
        )?;
        writeln!(f, "without a server    {without_server} requests were answered, 0 failed")?;
        if let Some((host, elapsed)) = &self.rebooted {
            writeln!(f, "boot without server {host} served again after {}", time(*elapsed))?;
        }
        writeln!(f, "adopted             {adopted} instances, each where it was")?;
        if let Some(Rollback { what, readiness, command, last_old_answer }) = &self.rollback {
            let when = if self.in_the_middle { "while" } else { "just before" };
            let last = last_old_answer.map_or_else(|| "none came".to_owned(), time);
            writeln!(f, "going back          {what} ({readiness}) {when} {lost} was switched off:")?;
            writeln!(f, "                    command {}, last old answer after {last}", time(*command))?;
        }
        writeln!(f, "everything took {}", time(self.elapsed))
    }
}
