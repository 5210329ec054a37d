//! Telling a client that has left from one that only sends no more.
//!
//! Both look the same: the end of what it sends. One that ends its sending with its request, as simple programs do, waits for
//! its answer; one that ends it later has lost interest. The first is given a while, but not for long, since an instance that
//! works for nobody should hear of it soon, and no longer than nobody else needs the places that it takes ([`crate::room`]); a reset
//! always means that nobody is there.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::time::timeout;

use crate::buffers::HEAD_ROOM;
use crate::room::{Doubt, Doubtful, HalfClosed, Place};
use crate::upload::Upload;
use crate::wire::fill;

/// A client that ends its sending within this time after its request may be waiting for its answer. Both ends come with the
/// same packets; the rest is for a machine that is busy.
const WITH_REQUEST: Duration = Duration::from_millis(250);
/// How long such a client may wait for its answer before it is taken for one that has left.
const BEFORE_ANSWER: Duration = Duration::from_secs(2);
/// How long it may wait for the next piece: whoever has begun to answer rarely pauses.
const WITHIN_ANSWER: Duration = Duration::from_millis(500);

/// How much of an answer its client has taken, and since when it waits for one.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    bytes: AtomicU64,
    sent: OnceLock<Instant>,
    /// The limits that its request counts for until it is over.
    limits: Vec<Arc<Doubtful>>,
    /// That of the instance that is asked.
    instance: Mutex<Option<Arc<Doubtful>>>,
    /// What ends it for another, once its client has ended its sending.
    half_closed: OnceLock<Arc<HalfClosed>>,
}

impl Delivery {
    /// Begins with a request that takes these places until it is over.
    pub(crate) fn with<'a>(places: impl Iterator<Item = &'a Place>) -> Self {
        Self { limits: places.map(|place| Arc::clone(place.doubtful())).collect(), ..Self::default() }
    }

    /// Notes which instance is asked, where that takes only so many requests at once.
    pub(crate) fn asks(&self, instance: Option<&Arc<Doubtful>>) {
        *self.instance.lock().unwrap_or_else(PoisonError::into_inner) = instance.cloned();
    }

    /// Returns the request as one whose client has ended its sending, where that is so.
    pub(crate) fn half_closed(&self) -> Option<&Arc<HalfClosed>> {
        self.half_closed.get()
    }

    /// Tells whether it was ended for another request.
    pub(crate) fn gave_way(&self) -> bool {
        self.half_closed().is_some_and(|who| who.is_ended())
    }

    /// Gives its places up for others from now on, until what is returned is dropped.
    fn doubt(&self, who: &Arc<HalfClosed>) -> Vec<Doubt> {
        let instance = self.instance.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.limits.iter().chain(&instance).map(|limit| limit.add(who)).collect()
    }

    /// Takes note that the client took so much of its answer.
    pub(crate) fn note(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Notes when an instance had all of the request, however the sending ends.
    pub(crate) fn watch<'a>(&'a self, upload: &'a Upload) -> Watch<'a> {
        Watch { delivery: self, upload }
    }

    /// Returns when the first instance had all of the request.
    pub(crate) fn sent(&self) -> Option<Instant> {
        self.sent.get().copied()
    }

    /// Begins with another answer.
    pub(crate) fn begin(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Returns how much it took, with the head.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Looks at how a request is sent until it is dropped.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    delivery: &'a Delivery,
    upload: &'a Upload,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(sent) = self.upload.sent() {
            // Only the first counts.
            let _ = self.delivery.sent.set(sent);
        }
    }
}

/// Watches a client whose request was sent as a whole at `sent`; ends when it has left. What it sends meanwhile is the
/// beginning of its next requests: no more than `limit` bytes are read, so that it has to wait for its answers.
pub(crate) async fn watch<R: AsyncRead + Unpin>(
    client: &mut R,
    input: &mut BytesMut,
    limit: usize,
    sent: Instant,
    delivery: &Delivery,
) {
    while input.len() < limit {
        match fill(client, input, HEAD_ROOM).await {
            Ok(read) if read > 0 => {}
            // What only few requests need is not part of all of them.
            Ok(_) if sent.elapsed() < WITH_REQUEST => return Box::pin(silence(delivery)).await,
            _ => return,
        }
    }
    pending::<()>().await;
}

/// Ends when a client that sends no more was given nothing for a while, or when another needs its place.
async fn silence(delivery: &Delivery) {
    let who = delivery.half_closed.get_or_init(Arc::default);
    let _doubts = delivery.doubt(who);
    loop {
        let before = delivery.bytes();
        let waited = timeout(if before == 0 { BEFORE_ANSWER } else { WITHIN_ANSWER }, who.ended()).await;
        if waited.is_ok() || delivery.bytes() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::sleep;

    use super::*;
    use crate::room::Room;

    async fn watched(sent: Instant, delivery: &Delivery, limit: Duration) -> bool {
        let (mut client, mut gateway) = duplex(64);
        client.write_all(b"GET").await.unwrap();
        client.shutdown().await.unwrap();
        let mut input = BytesMut::new();
        let left = timeout(limit, watch(&mut gateway, &mut input, 1_024, sent, delivery)).await.is_ok();
        assert_eq!(&input[..], b"GET", "what it sent is kept");
        left
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_more_is_given_a_while_for_its_answer() {
        let delivery = Delivery::default();
        assert!(!watched(Instant::now(), &delivery, BEFORE_ANSWER / 2).await);
        assert!(watched(Instant::now(), &delivery, BEFORE_ANSWER * 2).await);
        delivery.note(1);
        assert!(!watched(Instant::now(), &delivery, WITHIN_ANSWER / 2).await);
        assert!(watched(Instant::now(), &delivery, WITHIN_ANSWER * 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_no_more_gives_its_places_up_for_another() {
        let room = Arc::new(Room::default());
        let place = room.enter(1).unwrap();
        let instance = Arc::default();
        let delivery = Delivery::with([&place].into_iter());
        delivery.asks(Some(&instance));
        let began = tokio::time::Instant::now();
        let needs = async {
            sleep(BEFORE_ANSWER / 4).await;
            assert!(instance.is_some() && !delivery.gave_way());
            room.enter(1)
        };
        let (left, other) = tokio::join!(watched(Instant::now(), &delivery, BEFORE_ANSWER * 2), needs);
        assert!(left && other.is_some() && delivery.gave_way());
        assert_eq!(began.elapsed(), BEFORE_ANSWER / 4);
        assert!(!instance.is_some(), "nor is it waited for elsewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_ends_its_sending_later_has_left() {
        let early = Instant::now().checked_sub(WITH_REQUEST).unwrap();
        assert!(watched(early, &Delivery::default(), WITHIN_ANSWER / 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_answer_stays() {
        let delivery = Delivery::default();
        let feeding = async {
            for _ in 0..20 {
                sleep(WITHIN_ANSWER / 2).await;
                delivery.note(1);
            }
        };
        let watching = watched(Instant::now(), &delivery, WITHIN_ANSWER * 9);
        assert!(!tokio::join!(watching, feeding).0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_too_far_ahead_is_not_read_and_not_lost() {
        let (mut client, mut gateway) = duplex(4_096);
        client.write_all(&[b'a'; 2_048]).await.unwrap();
        drop(client);
        let (mut input, delivery) = (BytesMut::new(), Delivery::default());
        let watching = watch(&mut gateway, &mut input, 1_024, Instant::now(), &delivery);
        assert!(timeout(BEFORE_ANSWER * 4, watching).await.is_err());
    }
}
