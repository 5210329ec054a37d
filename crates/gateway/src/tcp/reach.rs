//! Which instance a connection is given, and how it is opened. It is drawn once: over the versions of the service as a request is, and over
//! the instances of a version to the less busy of two.
//!
//! What is judged of a version is what its clients meet: that no instance of it could be reached, or that it broke off before it sent a byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::ServiceName;
use lockstep_domain::priority::Priority;

use super::TcpReport;
use super::counts::TcpEnd;
use super::pass::Witness;
use crate::balance::{Pick, Search, pick, pick_in};
use crate::dial::Speaks;
use crate::environment::Environment;
use crate::failures::Cause;
use crate::moment::Moment;
use crate::repeat::MAX_TRIES;
use crate::table::{Asks, Outcome, ServiceTargets, Target};
use crate::trial::{Key, Seen};
use crate::wire::Wire;
use crate::worker::Worker;

/// A connection to an instance.
pub(super) struct Reached<'a> {
    pub(super) wire: Wire,
    pub(super) pick: Pick,
    pub(super) judged: Judged<'a>,
}

/// What is counted of one connection for the arm that it was drawn to.
pub(super) struct Judged<'a> {
    service: Arc<ServiceTargets>,
    /// The arm that has it.
    target: usize,
    /// Whether it is the one that was drawn, and by no rule.
    is_drawn: bool,
    key: Key<'a>,
    took: Duration,
    is_counted: bool,
}

/// Notes how many bytes passed, up and down, while they pass: how a connection ends may be sudden.
pub(super) struct Noting<'j, 'a> {
    judged: &'j mut Judged<'a>,
    bytes: &'j mut (u64, u64),
}

/// Opens a connection to an instance of a service.
///
/// # Errors
/// Why there is none.
pub(super) async fn reach<'a>(
    (environment, worker): (&Environment, &Worker),
    name: &ServiceName,
    key: Key<'a>,
    report: &mut TcpReport,
) -> Result<Reached<'a>, TcpEnd> {
    let service = worker_service(environment, worker, name).ok_or(TcpEnd::NoService)?;
    let asks = Asks { key: key.bytes, rules: &[], visit: None, admission: "" };
    let choice = service.choose(&asks, None).ok_or(TcpEnd::NoService)?;
    // Whoever is drawn to a version that is maintained gets no other one, and nothing is counted.
    if service.page_of(choice.target).is_some() {
        return Err(TcpEnd::Maintenance);
    }
    let (began, mut tried, mut is_failed) = (Instant::now(), Vec::new(), false);
    loop {
        let search = Search {
            tried: &tried,
            affinity: None,
            random: &worker.random,
            now: Moment::now(),
            priority: Priority::Normal,
        };
        // Whoever was drawn is asked, also when it refused others just now: that is what is judged.
        let own = pick_in(&service, choice.target, search);
        let Some(pick) = own.or_else(|| pick(&service, choice.target, search)) else { break };
        let is_drawn = pick.target == choice.target;
        if !is_drawn && !tried.is_empty() && !std::mem::replace(&mut is_failed, true) {
            fail(&service.targets[choice.target], &service, key, choice.ruled, began.elapsed());
        }
        let (target, endpoint) = (&service.targets[pick.target], Arc::clone(pick.lease.endpoint()));
        report.asks(&target.counts, &endpoint.instance);
        let instance = &endpoint.instance;
        match instance.dial(&report.told(), Speaks::Bytes, worker.timeouts.connect).await {
            Ok(wire) => {
                let is_drawn = is_drawn && !choice.ruled;
                let (target, took) = (pick.target, began.elapsed());
                let judged = Judged { service, target, is_drawn, key, took, is_counted: false };
                return Ok(Reached { wire, pick, judged });
            }
            Err(error) => {
                target.counts.tcp.refused();
                environment.failures().note(
                    &target.label,
                    endpoint.instance.address,
                    Cause::Unreachable,
                    (&error, ""),
                );
                report.why = Some(error.to_string());
            }
        }
        tried.push(endpoint);
        if tried.len() >= MAX_TRIES {
            break;
        }
    }
    if !tried.is_empty() && !is_failed {
        fail(&service.targets[choice.target], &service, key, choice.ruled, began.elapsed());
    }
    Err(if tried.is_empty() { TcpEnd::NoService } else { TcpEnd::Unreachable })
}

fn worker_service(
    environment: &Environment,
    worker: &Worker,
    name: &ServiceName,
) -> Option<Arc<ServiceTargets>> {
    let table = environment.table(worker.index).load();
    table.as_ref()?.services.get(name).filter(|service| service.speaks_tcp).cloned()
}

/// Counts that no instance of an arm could be reached.
fn fail(target: &Target, service: &ServiceTargets, key: Key<'_>, ruled: bool, took: Duration) {
    target.tally.count(Outcome::Failed);
    if let Some(meter) = target.meter.as_ref().filter(|_| !ruled) {
        meter.count(service.classify("", ""), key, Seen::Nothing, took);
    }
}

impl<'a> Judged<'a> {
    pub(super) fn target(&self) -> &Target {
        &self.service.targets[self.target]
    }

    /// Returns what notes the bytes that pass.
    pub(super) fn noting<'j>(&'j mut self, bytes: &'j mut (u64, u64)) -> Noting<'j, 'a> {
        Noting { judged: self, bytes }
    }

    /// Notes how the connection ended. An instance that ends it before it said anything has failed; nobody can say how one would have answered
    /// whose client left before.
    pub(super) fn ends(&mut self, end: TcpEnd) {
        self.count(match end {
            TcpEnd::Instance | TcpEnd::InstanceReset => Seen::Nothing,
            _ => Seen::Left,
        });
    }

    fn count(&mut self, seen: Seen) {
        if std::mem::replace(&mut self.is_counted, true) {
            return;
        }
        let target = &self.service.targets[self.target];
        target.tally.count(if seen == Seen::Nothing { Outcome::Failed } else { Outcome::Served });
        if matches!(seen, Seen::Status(_)) {
            target.tally.took(self.took);
        }
        if let Some(meter) = target.meter.as_ref().filter(|_| self.is_drawn) {
            meter.count(self.service.classify("", ""), self.key, seen, self.took);
        }
    }
}

impl Witness for Noting<'_, '_> {
    fn up(&mut self, bytes: usize) {
        if bytes > 0 {
            self.bytes.0 += bytes as u64;
            self.judged.target().counts.tcp.sent_up(bytes);
        }
    }

    /// The first byte shows that it serves.
    fn down(&mut self, bytes: usize) {
        if bytes > 0 {
            self.bytes.1 += bytes as u64;
            self.judged.target().counts.tcp.sent_down(bytes);
            self.judged.count(Seen::Status(SERVED));
        }
    }
}

/// What a connection that serves is counted as, where answers of HTTP are.
const SERVED: u16 = 200;
