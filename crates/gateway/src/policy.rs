//! What a route asks for so that a request does not wait for too long, is asked again where that is safe, and asks for no more than is there. A route that asks for nothing pays one comparison.

mod admit;
mod buckets;
mod hedge;
mod retry;
mod total;

use std::time::Duration;

use crate::problem::{Problem, Status};

pub(crate) use admit::{RouteState, RouteStates, Who, bad_body};
pub(crate) use hedge::{HEDGES, Hedged, Hedging, Pace};
pub(crate) use retry::{CAUSES, Retry, RetryCause};
pub(crate) use total::{OutOfTime, Total, in_time};

/// Returns what a client is told that had ended its sending, and whose place another request needed.
pub(crate) fn gave_way() -> Problem {
    let detail = "all places are taken, and that of a client which has ended its sending is the first to be given to another";
    Problem::new(Status::Unavailable, "gave_way", detail)
        .hint("keep the connection open in both directions until the answer is here")
}

/// Returns what a client is told whose request took longer than its route gives it; `is_sent` tells whether it had sent all of it.
pub(crate) fn out_of_time(limit: Duration, is_sent: bool) -> Problem {
    let (status, what) = if is_sent {
        (Status::GatewayTimeout, "was not answered")
    } else {
        (Status::RequestTimeout, "did not arrive as a whole")
    };
    let detail = format!("the request {what} within the {limit:?} that its route gives it");
    Problem::new(status, "request_timeout", detail)
}
