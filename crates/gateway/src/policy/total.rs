//! The time that a request may take as a whole: by its client's word (`grpc-timeout`), and by its route's.
//!
//! The client's holds to the end. The route's ends with the head of an answer that is a stream: how long one lasts is no fault.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

/// How long a request may take as a whole, as its route says.
#[derive(Debug)]
pub(crate) struct Total {
    /// How long that is.
    pub(crate) limit: Duration,
    until: Instant,
    lifted: AtomicBool,
}

impl Total {
    /// Begins now.
    pub(crate) fn begin(limit: Duration) -> Arc<Self> {
        Arc::new(Self { limit, until: Instant::now() + limit, lifted: AtomicBool::new(false) })
    }

    /// Lets the request take as long as it does from here on.
    pub(crate) fn lift(&self) {
        self.lifted.store(true, Ordering::Relaxed);
    }

    /// Tells whether an instance that had all of the request then had it for at least half of the time: it is to blame, and not who sent
    /// slowly.
    pub(crate) fn was_theirs(&self, sent: Option<Instant>) -> bool {
        sent.is_some_and(|sent| self.until.saturating_duration_since(sent) >= self.limit / 2)
    }

    async fn passed(&self) {
        sleep_until(self.until.into()).await;
        if self.lifted.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
    }
}

/// Whose time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutOfTime {
    /// The client had said how long it waits.
    Client,
    /// The route had.
    Route,
}

/// Does something within both times; what is under way when one is over has to be dropped, which tells the instance.
///
/// It takes the work by its place: an `async fn` would keep what it is given twice.
pub(crate) async fn in_time<T>(
    until: Option<Instant>,
    total: Option<Arc<Total>>,
    work: Pin<&mut impl Future<Output = T>>,
) -> Result<T, OutOfTime> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = passed(until) => Err(OutOfTime::Client),
        () = total_passed(total.as_deref()) => Err(OutOfTime::Route),
    }
}

async fn passed(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => pending().await,
    }
}

async fn total_passed(total: Option<&Total>) {
    match total {
        Some(total) => total.passed().await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::leaving::Delivery;
    use crate::upload::Upload;

    #[tokio::test(start_paused = true)]
    async fn the_shorter_time_ends_it_and_says_whose_it_was() {
        let soon = Instant::now() + Duration::from_secs(1);
        let total = |seconds| Some(Total::begin(Duration::from_secs(seconds)));
        assert_eq!(in_time(Some(soon), total(2), pin!(pending::<()>())).await, Err(OutOfTime::Client));
        assert_eq!(in_time(None, total(2), pin!(pending::<()>())).await, Err(OutOfTime::Route));
        assert_eq!(in_time(None, total(0), pin!(async { 7 })).await, Ok(7));
        assert_eq!(in_time(None, None, pin!(async { 7 })).await, Ok(7));
    }

    #[test]
    fn an_instance_is_to_blame_that_had_the_request_for_half_of_the_time() {
        let total = |left| Total {
            until: Instant::now() + Duration::from_secs(left),
            ..Arc::into_inner(Total::begin(Duration::from_secs(60))).unwrap()
        };
        let (early, late, never) = (Delivery::default(), Delivery::default(), Delivery::default());
        let upload = Upload::default();
        drop(never.watch(&upload));
        upload.is_sent();
        drop((early.watch(&upload), late.watch(&upload)));
        let seen = [(total(60), early), (total(29), late), (total(60), never)];
        assert_eq!(seen.map(|(total, of)| total.was_theirs(of.sent())), [true, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lifted_ends_nothing() {
        let total = Total::begin(Duration::from_secs(1));
        let lifted = Arc::clone(&total);
        let work = async move {
            lifted.lift();
            tokio::time::sleep(Duration::from_secs(60)).await;
        };
        assert_eq!(in_time(None, Some(total), pin!(work)).await, Ok(()));
    }
}
