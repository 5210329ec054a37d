//! Telling a client that has left from one that only sends no more.
//!
//! Both look the same: the end of what it sends. One that ends its sending with its request, as simple programs do, waits for
//! its answer; one that ends it later has lost interest. The first is given a while, but not for long, since an instance that
//! works for nobody should hear of it soon; a reset always means that nobody is there.

use std::future::pending;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::time::sleep;

use crate::buffers::HEAD_ROOM;
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
}

impl Delivery {
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
            Ok(_) if sent.elapsed() < WITH_REQUEST => return silence(delivery).await,
            _ => return,
        }
    }
    pending::<()>().await;
}

/// Ends when a client that sends no more was given nothing for a while.
async fn silence(delivery: &Delivery) {
    loop {
        let before = delivery.bytes();
        sleep(if before == 0 { BEFORE_ANSWER } else { WITHIN_ANSWER }).await;
        if delivery.bytes() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};
    use tokio::time::timeout;

    use super::*;

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
