//! What is known of a request while instances are asked, and how asking one went.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::routes::retries::RetryOn;
use tokio_util::sync::CancellationToken;

use crate::affinity::Affinity;
use crate::answer::AnswerHead;
use crate::deadline::Deadline;
use crate::endpoint::{Endpoint, Lease};
use crate::http2::instance::StreamLoan;
use crate::leaving::Delivery;
use crate::limiter::Waiting;
use crate::loan::Loan;
use crate::policy::OutOfTime;
use crate::relay::ClientEnd;
use crate::repeat::{Counted, Loss};
use crate::report::Report;
use crate::table::ServiceTargets;
use crate::trial::Seen;
use crate::way::{Desk, Notes, Passage};

use super::ends::Client;
use super::facts::{After, Facts};
use super::head::Head;
use super::hedge::Second;

/// What an instance is asked on.
#[derive(Debug)]
pub(super) enum Line {
    Connection(Loan),
    Stream(Box<StreamLoan>),
}

/// One request and its answer. It stays where it was made: whoever is handed it would have a place of its own for it, in every request.
pub(crate) struct Exchange<'c, C: Client> {
    pub(crate) client: &'c mut C,
    pub(crate) deadline: &'c mut Deadline,
    pub(crate) output: &'c mut C::Output,
    /// The head for the instance, with the body behind it when that was short and there.
    pub(crate) head: &'c Head,
    pub(crate) desk: &'c Desk,
    pub(crate) notes: &'c Notes,
    pub(crate) stop: &'c CancellationToken,
    pub(crate) facts: Facts,
    pub(crate) service: Arc<ServiceTargets>,
    /// Where the client is to be kept at one instance.
    pub(crate) affinity: Option<Box<Affinity>>,
    /// How it came past the breakers, where it did not simply pass.
    pub(crate) passage: Option<Box<Passage>>,
    /// Its place among those that wait for an answer, until that begins.
    pub(crate) waiting: Option<Box<Waiting>>,
    pub(crate) course: Course<'c, C::Output>,
    /// What the client took of the answer, also when its time is over in the middle of it.
    pub(crate) delivery: &'c Delivery,
    pub(crate) report: &'c mut Report,
}

/// What became of a request so far.
pub(crate) struct Course<'c, O> {
    pub(super) tried: Vec<Arc<Endpoint>>,
    pub(super) repeated: bool,
    /// Counts the request for the budget of repeats.
    pub(super) under_way: Option<Counted<'c>>,
    /// Whether all of the body stands behind the head.
    pub(super) body_is_here: bool,
    /// Whether the arm was counted, so that what its route asks again is not.
    pub(super) is_counted: bool,
    /// The part of the budget that the repeat takes.
    pub(super) permit: Option<Counted<'c>>,
    /// The arm on trial that failed and for which the stable one is asked.
    pub(super) shielded: Option<String>,
    /// How the first instance that read the request failed, in case no other does better.
    pub(super) lost: Option<Lost<O>>,
    /// Whether some of the body was taken from the client for an instance that did not look at it.
    pub(super) is_touched: bool,
    /// Another instance that has the request as well, where it is of use.
    pub(super) second: Option<Box<Second<O>>>,
    /// The head for another instance than the first, where it is told another span.
    pub(super) head: Option<Box<Head>>,
    /// Since when the answer to a call is passed on whose end decides how it is counted, and how long it took to begin.
    pub(super) open_call: Option<Duration>,
}

impl<O> Default for Course<'_, O> {
    fn default() -> Self {
        let (tried, repeated, shielded, lost) = <(_, _, _, _)>::default();
        Self {
            tried,
            repeated,
            under_way: None,
            body_is_here: false,
            is_counted: false,
            permit: None,
            shielded,
            lost,
            is_touched: false,
            second: None,
            head: None,
            open_call: None,
        }
    }
}

/// A request that an instance read in vain.
pub(super) struct Lost<O> {
    pub(super) service: Arc<ServiceTargets>,
    /// Index of the arm in the service's targets.
    pub(super) target: usize,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) how: Failure<O>,
}

/// How asking an instance went.
pub(super) enum Asking<O> {
    /// The answer was passed on.
    Passed(After),
    /// The answer is here but not passed on: a failed one, or a switch of protocols.
    Held(Box<Held<O>>),
}

/// An answer that was not passed on. Its request counts as under way, and its connection is closed when this is dropped.
pub(super) struct Held<O> {
    pub(super) line: Line,
    pub(super) head: AnswerHead,
    pub(super) output: O,
}

/// What was heard on a connection.
pub(super) enum Talk {
    Passed(After),
    Hold(AnswerHead),
}

/// Why an instance gave no answer that could be passed on.
pub(super) enum Failure<O> {
    /// No connection, or one that took no byte; it was not asked.
    Unreachable(io::Error),
    /// It had closed a connection from before, and it is safe to ask on another.
    Stale(Lease),
    /// It closed the connection or answered what is not HTTP.
    Broken(String),
    /// It said nothing in time.
    Silent,
    /// It answered with a failure, which was held back.
    Held(Box<Held<O>>),
    /// The client is at fault or gone.
    Client(ClientEnd),
    /// The time that somebody gave the request is over.
    Late(OutOfTime),
}

impl<O> Failure<O> {
    /// Returns what it is for the counters of the arm.
    pub(super) fn seen(&self) -> Seen {
        match self {
            Self::Held(held) => Seen::Status(held.head.counted()),
            _ => Seen::Nothing,
        }
    }

    /// Returns the status that was answered; 0 for none.
    pub(super) fn status(&self) -> u16 {
        if let Self::Held(held) = self { held.head.status } else { 0 }
    }

    /// Returns what kind of error it is, where no status says it.
    pub(super) const fn word(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable(_) => Some("unreachable"),
            Self::Stale(_) => Some("closed"),
            Self::Broken(_) => Some("broken"),
            Self::Silent => Some("silent"),
            Self::Held(_) | Self::Client(_) | Self::Late(_) => None,
        }
    }

    /// Returns for what it may be asked again, beside what was not sent.
    pub(super) fn reason(&self) -> Option<RetryOn> {
        match self {
            Self::Broken(_) => Some(RetryOn::Reset),
            Self::Silent => Some(RetryOn::Timeout),
            Self::Held(held) => Some(RetryOn::Status(held.head.counted())),
            Self::Unreachable(_) | Self::Stale(_) | Self::Client(_) | Self::Late(_) => None,
        }
    }

    pub(super) fn loss(&self) -> Loss {
        match self {
            Self::Unreachable(_) | Self::Stale(_) => Loss::Unsent,
            Self::Broken(_) | Self::Client(_) => Loss::Broken,
            Self::Silent | Self::Late(_) => Loss::Silent,
            Self::Held(_) => Loss::Failed,
        }
    }
}
