//! What became of a request, as its client saw it: for counters and the access log.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use lockstep_domain::priority::Priority;

use crate::answer::is_failure;
use crate::counts::Counts;
use crate::grpc::GrpcStatus;
use crate::injection::Met;
use crate::instance::Instance;
use crate::lanes::LaneSeat;
use crate::policy::{Hedged, RetryCause};
use crate::problem::Problem;
use crate::spans::Hops;

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) began: Instant,
    /// The status that the client got; 0 for none.
    pub(crate) status: u16,
    /// The code of an answer that the gateway gave itself.
    pub(crate) code: Option<&'static str>,
    /// The arm that was asked last.
    pub(crate) arm: Option<Arc<Counts>>,
    /// The instance that was asked last.
    pub(crate) instance: Option<Arc<Instance>>,
    /// Each instance that was asked, where the request has spans.
    pub(crate) hops: Option<Box<Hops>>,
    /// Instances that were asked, or were to be asked.
    pub(crate) tries: u32,
    /// Why another instance was asked, the last time.
    pub(crate) retried: Option<RetryCause>,
    /// What came of asking another instance as well, where that was wanted.
    pub(crate) hedged: Option<Hedged>,
    /// Whether the stable arm was asked for one on trial that failed.
    pub(crate) shielded: bool,
    /// Whether the arm stood in for one that is left alone.
    pub(crate) degraded: bool,
    /// Whether it was sent on later, because of a fault that it met on purpose.
    pub(crate) delayed: bool,
    /// The fault that it met on purpose.
    pub(crate) fault: Option<Met>,
    /// Whether a copy was sent to a version that is tried.
    pub(crate) mirrored: bool,
    /// How important it is.
    pub(crate) priority: Priority,
    /// The lane that it was in.
    pub(crate) lane: Option<Arc<LaneSeat>>,
    /// Whether its version turned it away, so that no instance was asked.
    pub(crate) is_turned_away: bool,
    /// Bytes that the client took, with the head.
    pub(crate) bytes: u64,
    pub(crate) end: End,
    /// How a call of gRPC ended; `None` for others, and where nobody said it.
    pub(crate) grpc: Option<GrpcStatus>,
}

/// How a request ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It got an answer as a whole.
    Whole,
    /// It left before.
    ClientLeft,
    /// The instance broke off its answer.
    BrokenOff,
    /// The time that the route gives was over before the end of its answer.
    OutOfTime,
    /// The gateway ended before it did.
    Cut,
}

impl End {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::ClientLeft => "client_left",
            Self::BrokenOff => "broken_off",
            Self::OutOfTime => "out_of_time",
            Self::Cut => "cut",
        }
    }
}

impl Report {
    /// Tells whether the client got a failure, or nothing that it can use.
    pub(crate) fn is_failure(&self) -> bool {
        let status = self.grpc.filter(|_| self.status == 200).map_or(self.status, GrpcStatus::as_http);
        status == 0 || is_failure(status)
    }

    /// Begins with a request whose head has been read.
    pub(crate) fn begin() -> Self {
        Self {
            began: Instant::now(),
            status: 0,
            code: None,
            arm: None,
            instance: None,
            hops: None,
            tries: 0,
            retried: None,
            hedged: None,
            shielded: false,
            degraded: false,
            delayed: false,
            fault: None,
            mirrored: false,
            priority: Priority::Normal,
            lane: None,
            is_turned_away: false,
            bytes: 0,
            end: End::Whole,
            grpc: None,
        }
    }

    /// Notes who is asked next.
    pub(crate) fn asks(&mut self, arm: &Arc<Counts>, instance: &Arc<Instance>) {
        self.tries += 1;
        self.arm = Some(Arc::clone(arm));
        self.instance = Some(Arc::clone(instance));
    }

    /// Returns the address of the instance that was asked last.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.instance.as_ref().map(|instance| instance.address)
    }

    /// Tells whether the server is at fault: no answer, one of 500 or more or the like of gRPC, or a part of one.
    pub(crate) fn is_failed(&self) -> bool {
        let by_call = self.grpc.is_some_and(|status| is_failure(status.as_http()));
        let broke = matches!(self.end, End::BrokenOff | End::OutOfTime | End::Cut);
        is_failure(self.status) || by_call || broke
    }

    /// Notes an answer that the gateway gives itself.
    pub(crate) fn answers(&mut self, problem: &Problem) {
        self.status = problem.status();
        self.code = Some(problem.code());
    }
}
