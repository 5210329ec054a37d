//! How what is connected to a worker ends when its gateway leaves, in the order that clients notice least.
//!
//! First answers are the last ones of their connections while everybody is served as before; then idle connections have a moment for a
//! request that is on its way, and are closed; and what never ends by itself is told at moments of its own, so that not all clients come
//! back at once. Each step is final. Invariant: a connection is never closed while a request of it was read and not answered.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use crate::instance::Instance;
use crate::random::Random;
use crate::worker::Worker;

/// Over how long tunnels are told to end, at most: clients that come back spread over it, and an end that somebody waits for is not
/// held up for longer.
pub(crate) const SPREAD: Duration = Duration::from_secs(5);
/// How long before its end an instance has no tunnel any more that could be told: a gateway looks once a second, and the server counts
/// from another moment.
const BEFORE_ITS_END: Duration = Duration::from_secs(2);

/// How far the leaving of a worker has come.
#[derive(Debug)]
pub(crate) struct Departure {
    /// Answers are the last ones of their connections: for whoever looks with each request, since looking at a token takes a lock.
    is_leaving: AtomicBool,
    /// The same, for whoever waits for it.
    leaving: CancellationToken,
    /// Another process takes the clients that come.
    handed_on: CancellationToken,
    /// Connections that are idle end.
    closing: CancellationToken,
    /// Tunnels end, over a time.
    farewells: CancellationToken,
    /// Over how long they do, in milliseconds.
    spread_ms: AtomicU64,
}

impl Departure {
    pub(crate) fn new() -> Self {
        Self {
            is_leaving: AtomicBool::new(false),
            leaving: CancellationToken::new(),
            handed_on: CancellationToken::new(),
            closing: CancellationToken::new(),
            farewells: CancellationToken::new(),
            spread_ms: AtomicU64::new(SPREAD.as_millis() as u64),
        }
    }

    /// Lets each answer be the last one of its connection, so that clients go elsewhere. Those that come are served.
    pub(crate) fn begin(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.leaving.cancel();
    }

    /// Tells whether each answer is the last one of its connection.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Takes no more clients, because another process does.
    pub(crate) fn hand_on(&self) {
        self.begin();
        self.handed_on.cancel();
    }

    /// Closes connections that are idle.
    pub(crate) fn close_idle(&self) {
        self.closing.cancel();
    }

    /// Lets tunnels be told to end within this time from when they hear of it.
    pub(crate) fn spread(&self, over: Duration) {
        self.spread_ms.store(over.min(SPREAD).as_millis() as u64, Ordering::Relaxed);
    }

    /// Tells all tunnels to end.
    pub(crate) fn end_tunnels(&self) {
        self.farewells.cancel();
    }

    /// Tells whether the connection of a client ends with its answer: the gateway leaves, or its listener stopped.
    pub(crate) fn ends(&self, listener: &CancellationToken) -> bool {
        self.is_leaving() || listener.is_cancelled()
    }

    /// Returns when answers are the last ones of their connections.
    pub(crate) fn leaving(&self) -> WaitForCancellationFuture<'_> {
        self.leaving.cancelled()
    }

    /// Returns when another process takes the clients that come.
    pub(crate) fn handed_on(&self) -> WaitForCancellationFuture<'_> {
        self.handed_on.cancelled()
    }

    /// Returns when connections that are idle end.
    pub(crate) fn closing(&self) -> WaitForCancellationFuture<'_> {
        self.closing.cancelled()
    }

    /// Returns at the moment at which what never ends by itself is to end because the gateway goes away, or its listener stopped.
    async fn farewell(&self, listener: &CancellationToken, random: &Random) {
        let (stopped, told) = (pin!(listener.cancelled()), pin!(self.farewells.cancelled()));
        tokio::select! {
            () = stopped => {}
            () = told => {}
        }
        let over = Duration::from_millis(self.spread_ms.load(Ordering::Relaxed));
        tokio::time::sleep(part_of(over, random)).await;
    }
}

/// Returns at the moment at which what never ends by itself is to end: the gateway goes away, its listener stopped, or its instance was replaced.
pub(crate) async fn farewell(worker: &Worker, listener: &CancellationToken, instance: &Instance) {
    let replaced = instance.is_replaced();
    tokio::select! {
        () = worker.departure.farewell(listener, &worker.random) => {}
        () = replaced => tokio::time::sleep(part_of(instance.farewells(), &worker.random)).await,
    }
}

/// Draws a part of a time.
fn part_of(time: Duration, random: &Random) -> Duration {
    time.mul_f64(random.draw() as f64 / u64::MAX as f64)
}

/// Returns when tunnels at an instance begin to be told that it left the table, and over how long: all of them before its drain time is over.
pub(crate) fn last_words(drain: Duration) -> (Duration, Duration) {
    let part = drain / 4;
    let over = part.min(SPREAD);
    (drain - over - part.min(BEFORE_ITS_END), over)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everybody_is_told_before_an_instance_ends(drain_ms in 0_u64..10_000_000, draws in 1_usize..50) {
            let drain = Duration::from_millis(drain_ms);
            let (begin, over) = last_words(drain);
            let random = Random::new(draws);
            for _ in 0..draws {
                prop_assert!(begin + part_of(over, &random) <= drain - (drain / 4).min(BEFORE_ITS_END));
            }
            prop_assert!(begin >= drain / 2, "it has most of its time");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tunnels_are_told_at_moments_of_their_own_and_all_in_time() {
        let (departure, random, listener) = (Departure::new(), Random::new(1), CancellationToken::new());
        departure.spread(Duration::from_secs(2));
        let began = tokio::time::Instant::now();
        listener.cancel();
        let mut moments = Vec::new();
        let all: Vec<_> = (0..50).map(|_| departure.farewell(&listener, &random)).collect();
        for one in all {
            let began = tokio::time::Instant::now();
            one.await;
            moments.push(began.elapsed());
        }
        assert!(moments.iter().all(|it| *it <= Duration::from_millis(2_001)), "{moments:?}");
        let early = moments.iter().filter(|it| **it < Duration::from_secs(1)).count();
        assert!((5..45).contains(&early), "{early} of 50 in the first half");
        assert!(began.elapsed() > Duration::ZERO);
    }
}
