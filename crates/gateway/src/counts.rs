//! What the clients of an arm got, as one worker counted it.
//!
//! Only the worker itself writes, so that nothing is shared on the way of a request; whoever looks adds up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lockstep_domain::Arm;
use lockstep_domain::priority::Priority;

use crate::grpc::GrpcStatus;
use crate::injection::Met;
use crate::policy::{CAUSES, HEDGES};
use crate::problem::{BUSY, OVERLOADED};
use crate::report::Report;
use crate::tcp::{TcpCounts, TcpSums};

/// Upper bounds of the histogram of durations in milliseconds; the last class has none.
pub(crate) const BOUNDS_MS: [u64; 13] =
    [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000];
/// Classes of statuses as metrics name them: by the first digit, and `none` for a client that left without an answer.
pub(crate) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The codes of answers to what an arm turns away.
pub(crate) const TURNED_AWAY: [&str; 4] = [OVERLOADED, BUSY, "breaker_open", "no_instance"];

/// What the clients of an arm got; without an arm, what the gateway answered before it had chosen one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Counts {
    pub(crate) arm: Option<Arm>,
    classes: [AtomicU64; CLASSES.len()],
    durations: [AtomicU64; BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
    /// Further instances that were asked.
    retries: AtomicU64,
    /// Requests for which further ones were asked, by cause.
    retried: [AtomicU64; CAUSES.len()],
    /// Reads of which another instance was to be asked as well, by what came of it.
    hedged: [AtomicU64; HEDGES.len()],
    /// Requests that were answered by the stable arm for one on trial.
    shielded: AtomicU64,
    /// Requests that were answered in the place of an arm that is left alone.
    degraded: AtomicU64,
    /// Calls of gRPC by their status.
    calls: [AtomicU64; GrpcStatus::COUNT],
    /// Requests that met a fault on purpose, by what that was and what their clients got. They are counted nowhere else here.
    faulted: [[AtomicU64; CLASSES.len()]; Met::KINDS.len()],
    /// Requests that the arm turned away, by the code of the answer and their priority.
    turned_away: [[AtomicU64; Priority::ALL.len()]; TURNED_AWAY.len()],
    /// Connections that are passed as bytes.
    pub(crate) tcp: TcpCounts,
}

/// Counts of several workers, added up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Sums {
    pub(crate) classes: [u64; CLASSES.len()],
    pub(crate) durations: [u64; BOUNDS_MS.len() + 1],
    pub(crate) total_us: u64,
    pub(crate) retries: u64,
    pub(crate) retried: [u64; CAUSES.len()],
    pub(crate) hedged: [u64; HEDGES.len()],
    pub(crate) shielded: u64,
    pub(crate) degraded: u64,
    pub(crate) calls: [u64; GrpcStatus::COUNT],
    pub(crate) faulted: [[u64; CLASSES.len()]; Met::KINDS.len()],
    pub(crate) turned_away: [[u64; Priority::ALL.len()]; TURNED_AWAY.len()],
    pub(crate) tcp: TcpSums,
}

impl Counts {
    pub(crate) fn of(arm: Arm) -> Self {
        Self { arm: Some(arm), ..Self::default() }
    }

    /// Counts one request that is over.
    pub(crate) fn count(&self, report: &Report, took: Duration) {
        let add = |counter: &AtomicU64, more: u64| {
            counter.fetch_add(more, Ordering::Relaxed);
        };
        let class = usize::from(report.status / 100).min(CLASSES.len() - 1);
        if let Some(met) = report.fault {
            return add(&self.faulted[met.index()][class], 1);
        }
        add(&self.classes[class], 1);
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        // Up to and with the bound, as histograms of Prometheus have it; what is a part of a millisecond counts as more.
        let fits = |&bound: &u64| ms < bound || took == Duration::from_millis(bound);
        add(&self.durations[BOUNDS_MS.iter().position(fits).unwrap_or(BOUNDS_MS.len())], 1);
        add(&self.total_us, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if report.tries > 1 {
            add(&self.retries, u64::from(report.tries - 1));
        }
        if let Some(cause) = report.retried {
            add(&self.retried[cause.index()], 1);
        }
        if let Some(hedged) = report.hedged {
            add(&self.hedged[hedged.index()], 1);
        }
        if let Some(status) = report.grpc {
            add(&self.calls[usize::from(status.code())], 1);
        }
        if report.shielded {
            add(&self.shielded, 1);
        }
        if report.degraded {
            add(&self.degraded, 1);
        }
        if report.is_turned_away
            && let Some(why) = TURNED_AWAY.iter().position(|code| report.code == Some(*code))
        {
            add(&self.turned_away[why][report.priority.index()], 1);
        }
    }

    /// Adds what was counted to `sums`.
    pub(crate) fn add_to(&self, sums: &mut Sums) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (sum, counter) in sums.classes.iter_mut().zip(&self.classes) {
            *sum += read(counter);
        }
        for (sum, counter) in sums.durations.iter_mut().zip(&self.durations) {
            *sum += read(counter);
        }
        for (sum, counter) in sums.retried.iter_mut().zip(&self.retried) {
            *sum += read(counter);
        }
        for (sum, counter) in sums.hedged.iter_mut().zip(&self.hedged) {
            *sum += read(counter);
        }
        for (sum, counter) in sums.calls.iter_mut().zip(&self.calls) {
            *sum += read(counter);
        }
        for (sum, counter) in sums.faulted.iter_mut().flatten().zip(self.faulted.iter().flatten()) {
            *sum += read(counter);
        }
        for (sum, counter) in sums.turned_away.iter_mut().flatten().zip(self.turned_away.iter().flatten()) {
            *sum += read(counter);
        }
        sums.total_us += read(&self.total_us);
        sums.retries += read(&self.retries);
        sums.shielded += read(&self.shielded);
        self.tcp.add_to(&mut sums.tcp);
        sums.degraded += read(&self.degraded);
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::injection::Injected;

    use super::*;

    #[test]
    fn requests_are_counted_by_class_and_duration() {
        let counts = Counts::default();
        let report = |status, tries| Report { status, tries, ..Report::begin() };
        let cases =
            [(200, 1, 500), (204, 2, 1_000), (503, 3, 1_001), (0, 1, 70_000_000), (999, 1, 60_000_000)];
        for (status, tries, us) in cases {
            counts.count(&report(status, tries), Duration::from_micros(us));
        }
        let mut sums = Sums::default();
        counts.add_to(&mut sums);
        assert_eq!(sums.classes, [1, 0, 2, 0, 0, 2]);
        assert_eq!(
            (sums.durations[0], sums.durations[1], sums.durations[12], sums.durations[13]),
            (2, 1, 1, 1)
        );
        assert_eq!((sums.retries, sums.total_us), (3, 130_002_501));
    }

    #[test]
    fn what_met_a_fault_on_purpose_is_counted_apart() {
        let counts = Counts::default();
        for does in [Injected::Abort(503), Injected::DelayMs(2_000)] {
            let fault = Some(Met { number: 3, does });
            counts.count(&Report { status: 503, tries: 2, fault, ..Report::begin() }, Duration::from_secs(2));
        }
        let mut sums = Sums::default();
        counts.add_to(&mut sums);
        assert_eq!(sums.faulted, [[0, 0, 0, 0, 0, 1]; 2]);
        assert_eq!(Sums { faulted: Default::default(), ..sums }, Sums::default());
    }
}
