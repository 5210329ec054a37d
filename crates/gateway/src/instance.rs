//! What all workers know of an instance: requests under way, how slow it seems, whether it fails or refuses connections.
//!
//! Everything is an atomic number: nothing on the path of a request waits for another worker. Pairs that belong
//! together may be written by two workers at once; then one sample counts a little wrong, and nothing else happens.
//!
//! Invariant: once [`Instance::retire`] returned, no request is counted in, so those under way only get fewer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use lockstep_domain::InstanceId;
use lockstep_domain::approach::Approach;
use lockstep_domain::outliers::{Counted, EjectionRule};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::affinity::Mark;
use crate::between::{Neighbours, Route};
use crate::departure::last_words;
use crate::dial::{Dialling, Speaks, dial};
use crate::ejection::Ejection;
use crate::keeping::Keeping;
use crate::latency::{Latency, Load, Sample};
use crate::moment::Moment;
use crate::proxy_out::Told;
use crate::room::Doubtful;
use crate::tls::Tls;
use crate::wire::Wire;

/// How long an instance is avoided after the first connection that could not be opened; doubles with each further one.
const FIRST_AVOIDANCE: Duration = Duration::from_millis(100);
/// The longest avoidance: an instance that came back is found within this time.
const LONGEST_AVOIDANCE: Duration = Duration::from_secs(10);

/// What all workers know of an instance.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    id: Option<InstanceId>,
    /// What names it to clients that are kept at it.
    pub(crate) mark: Mark,
    pub(crate) keeping: Keeping,
    /// How connections to it begin; nothing where they begin with what is spoken.
    dialling: ArcSwapOption<Dialling>,
    /// Whether a connection to it serves the client that it was opened for alone.
    is_for_one: AtomicBool,
    in_flight: AtomicU64,
    /// Those under way whose clients may have left, where it takes only so many at once.
    pub(crate) doubtful: Arc<Doubtful>,
    retired: AtomicBool,
    refusals: AtomicU32,
    avoid_until: AtomicU64,
    /// Requests that were sent as a whole and are not answered yet.
    unanswered: AtomicU32,
    /// When it last answered, or last got a request while it had none to answer.
    heard: AtomicU64,
    latency: AtomicU64,
    latency_at: AtomicU64,
    failures_in_row: AtomicU32,
    out_until: AtomicU64,
    times_out: AtomicU32,
    /// How often it was taken out since the gateway knows it, for people.
    ejections: AtomicU64,
    /// When it left the table; 0 while it is in it.
    retired_at: AtomicU64,
    /// Told when connections to it that pass bytes have to end.
    left: Notify,
    /// Told when its WebSockets are to end, before it does, and over how many milliseconds.
    replaced: Notify,
    farewells_ms: AtomicU64,
    /// When the gateway first knew it.
    since: Moment,
    /// What was counted since then, where instances of its version are compared.
    requests: AtomicU64,
    failures: AtomicU64,
    total_us: AtomicU64,
}

impl Instance {
    pub(crate) fn new(address: SocketAddr, mark: Mark) -> Self {
        Self::known_since(address, mark, Moment::now())
    }

    pub(crate) fn known_since(address: SocketAddr, mark: Mark, since: Moment) -> Self {
        Self {
            address,
            id: None,
            mark,
            keeping: Keeping::default(),
            dialling: ArcSwapOption::empty(),
            is_for_one: AtomicBool::new(false),
            in_flight: AtomicU64::new(0),
            doubtful: Arc::default(),
            retired: AtomicBool::new(false),
            refusals: AtomicU32::new(0),
            avoid_until: AtomicU64::new(0),
            unanswered: AtomicU32::new(0),
            heard: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            latency_at: AtomicU64::new(0),
            failures_in_row: AtomicU32::new(0),
            out_until: AtomicU64::new(0),
            times_out: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            retired_at: AtomicU64::new(0),
            left: Notify::new(),
            replaced: Notify::new(),
            farewells_ms: AtomicU64::new(0),
            since,
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            total_us: AtomicU64::new(0),
        }
    }

    /// Gives it the id by which people know it.
    pub(crate) fn named(self, id: &InstanceId) -> Self {
        Self { id: Some(id.clone()), ..self }
    }

    /// Returns the id by which people know it.
    pub(crate) const fn id(&self) -> Option<&InstanceId> {
        self.id.as_ref()
    }

    /// Returns what people know it by: its id, or its address where it has none.
    pub(crate) fn name(&self) -> String {
        self.id.as_ref().map_or_else(|| self.address.to_string(), ToString::to_string)
    }

    /// Counts a request as under way; returns `false`, and does not, when the instance has left the table, or `most` are under way.
    ///
    /// The count is raised before the flag is read, and `retire` writes the flag before anyone reads the count: so
    /// either the request sees that it must not go there, or the receipt after the change shows it.
    pub(crate) fn enter(&self, most: Option<u32>) -> bool {
        let before = self.in_flight.fetch_add(1, Ordering::SeqCst);
        let enters = !self.is_retired() && most.is_none_or(|most| before < u64::from(most));
        if !enters {
            self.leave();
        }
        enters
    }

    /// Counts a request as ended.
    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Returns how many requests are under way.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Takes the instance out of the table.
    pub(crate) fn retire(&self) {
        let now = Moment::now().0.max(1);
        // It may have left long ago.
        let _ = self.retired_at.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        self.retired.store(true, Ordering::SeqCst);
    }

    /// Takes the instance in again after [`Self::retire`].
    pub(crate) fn revive(&self) {
        self.retired.store(false, Ordering::SeqCst);
        self.retired_at.store(0, Ordering::Relaxed);
    }

    /// Ends connections that pass bytes, where it left the table so long ago.
    pub(crate) fn leave_after(&self, drain: Duration, now: Moment) {
        let since = self.retired_at.load(Ordering::Relaxed);
        if since > 0 && now >= Moment(since) + drain {
            self.left.notify_waiters();
        }
    }

    /// Ends when connections that pass bytes have to; it is to be polled from the beginning of each on.
    pub(crate) fn is_left(&self) -> impl Future<Output = ()> {
        self.left.notified()
    }

    /// Lets its WebSockets end, where it left the table so long ago that it may end soon.
    pub(crate) fn replace_after(&self, drain: Duration, now: Moment) {
        let since = self.retired_at.load(Ordering::Relaxed);
        let (begin, over) = last_words(drain);
        if since > 0 && now >= Moment(since) + begin {
            self.farewells_ms.store(over.as_millis() as u64, Ordering::Relaxed);
            self.replaced.notify_waiters();
        }
    }

    /// Ends when its WebSockets are to end, within what [`Self::farewells`] says.
    pub(crate) fn is_replaced(&self) -> impl Future<Output = ()> {
        self.replaced.notified()
    }

    /// Returns over how long its WebSockets are to end.
    pub(crate) fn farewells(&self) -> Duration {
        Duration::from_millis(self.farewells_ms.load(Ordering::Relaxed))
    }

    /// Begins connections in another way from now on, where it is another; returns whether it is.
    pub(crate) fn begin_by(
        &self,
        approach: &Approach,
        route: &Route,
        (store, neighbours): (&Arc<Tls>, &Arc<Neighbours>),
    ) -> bool {
        let known = self.dialling.load();
        let is_usual = approach.is_plain() && *route == Route::Straight;
        let is_same = known.as_ref().map_or(is_usual, |known| known.is_of(approach, route));
        if !is_same {
            self.dialling.store(Dialling::of((approach, route), self.address, store, neighbours));
            self.is_for_one.store(approach.proxy_protocol.is_some(), Ordering::Relaxed);
        }
        !is_same
    }

    /// Opens a connection; it counts as an attempt whether it opens or not.
    pub(crate) async fn dial(&self, told: &Told<'_>, speaks: Speaks, limit: Duration) -> io::Result<Wire> {
        let dialling = self.dialling.load_full();
        let dialled = timeout(limit, dial(self.address, dialling.as_deref(), told, speaks)).await;
        let dialled = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        match &dialled {
            Ok(_) => self.connected(),
            Err(_) => self.refused(Moment::now()),
        }
        dialled
    }

    /// Tells whether a connection to it serves the client that it was opened for alone.
    pub(crate) fn is_for_one(&self) -> bool {
        self.is_for_one.load(Ordering::Relaxed)
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Notes that a connection was opened.
    pub(crate) fn connected(&self) {
        if self.refusals.load(Ordering::Relaxed) > 0 {
            self.refusals.store(0, Ordering::Relaxed);
            self.avoid_until.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that a connection could not be opened: the instance is avoided for a growing time.
    pub(crate) fn refused(&self, now: Moment) {
        let before = self.refusals.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = FIRST_AVOIDANCE.saturating_mul(1 << before).min(LONGEST_AVOIDANCE);
        self.avoid_until.store((now + pause).0, Ordering::Relaxed);
    }

    /// Tells whether it refused connections just now.
    pub(crate) fn is_avoided(&self, now: Moment) -> bool {
        now.0 < self.avoid_until.load(Ordering::Relaxed)
    }

    /// Tells whether it failed so often that it is left alone for a while.
    pub(crate) fn is_out(&self, now: Moment) -> bool {
        self.ejection().is_out(now)
    }

    /// Returns what speaks for and against asking it.
    pub(crate) fn load(&self, now: Moment) -> Load {
        let silent = (self.unanswered.load(Ordering::Relaxed) > 0)
            .then(|| now.since(Moment(self.heard.load(Ordering::Relaxed))));
        Load {
            under_way: self.in_flight.load(Ordering::Relaxed),
            latency: self.latency().now(now).max(silent),
        }
    }

    /// Notes that a request was sent as a whole.
    pub(crate) fn ask(self: &Arc<Self>, now: Moment) -> Unanswered {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) == 0 {
            self.heard.store(now.0, Ordering::Relaxed);
        }
        Unanswered { instance: Arc::clone(self) }
    }

    /// Takes in what was seen of one request.
    pub(crate) fn see(&self, sample: Sample, now: Moment) {
        let after = self.latency().after(sample, now);
        self.latency.store(after.micros, Ordering::Relaxed);
        self.latency_at.store(after.at.map_or(0, |at| at.0), Ordering::Relaxed);
    }

    /// Notes that a request was answered to its end.
    pub(crate) fn succeeded(&self) {
        if self.failures_in_row.load(Ordering::Relaxed) > 0 {
            self.failures_in_row.store(0, Ordering::Relaxed);
        }
    }

    /// Notes that a request failed; returns whether that is reason to take the instance out.
    pub(crate) fn failed(&self, rule: &EjectionRule) -> bool {
        let row = self.failures_in_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        rule.consecutive > 0 && row >= rule.consecutive
    }

    /// Counts a request for the comparison with others of its version.
    pub(crate) fn count(&self, failed: bool, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        } else {
            self.total_us.fetch_add(crate::moment::micros(took), Ordering::Relaxed);
        }
    }

    /// Returns what was counted since the gateway knows it.
    pub(crate) fn counted(&self) -> Counted {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        // Failures first: read in between, none must show before its request.
        let failures = read(&self.failures);
        Counted { requests: read(&self.requests), failures, total_us: read(&self.total_us) }
    }

    /// Returns the part of requests that a fresh instance gets beside others, from a tenth to all, over a time from its beginning or its
    /// return: Envoy's `slow_start` with an aggression of 1.
    pub(crate) fn warmth(&self, over: Duration, now: Moment) -> f64 {
        let since = self.since.max(Moment(self.out_until.load(Ordering::Relaxed)));
        let share = now.since(since) as f64 / crate::moment::micros(over).max(1) as f64;
        share.clamp(0.1, 1.0)
    }

    /// Returns when it comes or came back the last time.
    pub(crate) fn back_at(&self) -> Moment {
        Moment(self.out_until.load(Ordering::Relaxed))
    }

    /// Takes the instance out for a while. After it, it is as good as new. Returns how long that is.
    pub(crate) fn take_out(&self, rule: &EjectionRule, now: Moment) -> Duration {
        self.ejections.fetch_add(1, Ordering::Relaxed);
        let next = self.ejection().again(rule, now);
        self.times_out.store(next.times, Ordering::Relaxed);
        self.failures_in_row.store(0, Ordering::Relaxed);
        self.latency_at.store(0, Ordering::Relaxed);
        self.out_until.store(next.until.0, Ordering::Relaxed);
        Duration::from_micros(next.until.since(now))
    }

    /// Takes the instance in again before its time, as if that were over.
    pub(crate) fn take_in(&self, now: Moment) {
        self.out_until.store(now.0, Ordering::Relaxed);
    }

    /// Returns how often it was taken out since the gateway knows it.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    fn ejection(&self) -> Ejection {
        let until = Moment(self.out_until.load(Ordering::Relaxed));
        Ejection { until, times: self.times_out.load(Ordering::Relaxed) }
    }

    fn latency(&self) -> Latency {
        let at = Some(self.latency_at.load(Ordering::Relaxed)).filter(|&at| at > 0).map(Moment);
        Latency { micros: self.latency.load(Ordering::Relaxed), at }
    }
}

/// A request that was sent as a whole and is not answered yet.
#[derive(Debug)]
pub(crate) struct Unanswered {
    instance: Arc<Instance>,
}

impl Unanswered {
    /// Notes that an answer came, which shows that the instance lives.
    pub(crate) fn heard(self, now: Moment) {
        self.instance.heard.store(now.0, Ordering::Relaxed);
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.instance.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance() -> Arc<Instance> {
        Arc::new(Instance::new(SocketAddr::from(([127, 0, 0, 1], 1)), Mark::default()))
    }

    #[test]
    fn an_instance_that_refuses_connections_is_avoided_until_one_opens() {
        let (instance, now) = (instance(), Moment(1));
        assert!(!instance.is_avoided(now));
        instance.refused(now);
        assert!(instance.is_avoided(now) && !instance.is_avoided(now + FIRST_AVOIDANCE));
        instance.refused(now);
        assert!(instance.is_avoided(now + FIRST_AVOIDANCE));
        instance.connected();
        assert!(!instance.is_avoided(now));
    }

    #[test]
    fn the_longer_an_instance_is_silent_the_slower_it_seems_but_not_while_nobody_waits() {
        let (instance, now) = (instance(), Moment(1));
        instance.see(Sample::Served(1_000), now);
        let unanswered = instance.ask(now);
        let later = now + Duration::from_secs(2);
        assert_eq!(instance.load(later).latency, Some(2_000_000));
        drop(unanswered);
        assert!(instance.load(later).latency < Some(10_000));
    }

    #[test]
    fn five_failures_in_a_row_are_a_reason_and_a_success_begins_anew() {
        let instance = instance();
        let rule = EjectionRule::default();
        assert!((0..4).all(|_| !instance.failed(&rule)));
        instance.succeeded();
        assert!((0..4).all(|_| !instance.failed(&rule)));
        assert!(instance.failed(&rule));
        assert!(!instance.failed(&EjectionRule { consecutive: 0, ..rule }));
    }
}
