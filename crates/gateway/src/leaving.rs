//! Telling a client that has left from one that only sends no more.
//!
//! Both look the same: the end of what it sends. One that ends its sending with its request, as simple programs do, waits for
//! its answer; one that ends it later, or when its answer has begun, has lost interest. The first is given a while, since
//! an instance that works for nobody should hear of it soon; a reset always means that nobody is there.

use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::AsyncRead;
use tokio::time::sleep;

use crate::buffers::HEAD_ROOM;
use crate::wire::fill;

/// A client that ends its sending within this time after its request may be waiting for its answer.
const WITH_REQUEST: Duration = Duration::from_secs(1);
/// How long such a client may hear nothing before it is taken for one that has left.
const SILENCE: Duration = Duration::from_secs(2);

/// How much of an answer its client has taken.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pieces: AtomicU64,
}

impl Delivery {
    /// Takes note that the client took a piece of its answer.
    pub(crate) fn note(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
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
            Ok(_) if sent.elapsed() < WITH_REQUEST && delivery.pieces() == 0 => {
                return silence(delivery).await;
            }
            _ => return,
        }
    }
    pending::<()>().await;
}

/// Ends when a client that sends no more was given nothing for a while.
async fn silence(delivery: &Delivery) {
    loop {
        let before = delivery.pieces();
        sleep(SILENCE).await;
        if delivery.pieces() == before {
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
        assert!(!watched(Instant::now(), &delivery, SILENCE / 2).await);
        assert!(watched(Instant::now(), &delivery, SILENCE * 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_ends_late_or_within_its_answer_has_left() {
        let delivery = Delivery::default();
        let early = Instant::now().checked_sub(WITH_REQUEST).unwrap();
        assert!(watched(early, &delivery, SILENCE / 2).await);
        delivery.note();
        assert!(watched(Instant::now(), &delivery, SILENCE / 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_its_answer_stays() {
        let delivery = Delivery::default();
        let feeding = async {
            for _ in 0..20 {
                sleep(SILENCE / 2).await;
                delivery.note();
            }
        };
        let watching = watched(Instant::now(), &delivery, SILENCE * 9);
        assert!(!tokio::join!(watching, feeding).0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_too_far_ahead_is_not_read_and_not_lost() {
        let (mut client, mut gateway) = duplex(4_096);
        client.write_all(&[b'a'; 2_048]).await.unwrap();
        drop(client);
        let (mut input, delivery) = (BytesMut::new(), Delivery::default());
        let watching = watch(&mut gateway, &mut input, 1_024, Instant::now(), &delivery);
        assert!(timeout(SILENCE * 4, watching).await.is_err());
    }
}
