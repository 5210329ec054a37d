//! What a client hears before its answer: heads below 200, and the word to go on with its body.

use std::time::{Duration, Instant};

use crate::answer::{AnswerHead, Asked};
use crate::relay::{AnswerSink, ClientEnd};

/// How long an instance may take to say whether it wants the body; then it is sent anyway, as RFC 9110 wants it. Clients
/// such as curl wait no longer either.
const INSTANCE_HESITATES: Duration = Duration::from_secs(1);

/// The way of what comes before an answer to its client.
#[derive(Debug)]
pub(crate) struct Forerun<'a, W> {
    client: &'a mut W,
    asked: Asked,
    /// Whether the client waits to be told to go on.
    waits: &'a mut bool,
    /// Until when the instance may hesitate to tell it.
    until: Option<Instant>,
    stall: Duration,
}

impl<'a, W: AnswerSink> Forerun<'a, W> {
    pub(crate) fn new(client: &'a mut W, asked: Asked, waits: &'a mut bool, stall: Duration) -> Self {
        let until = waits.then(|| Instant::now() + INSTANCE_HESITATES);
        Self { client, asked, waits, until, stall }
    }

    /// Tells until when the instance may hesitate; `None` when the client waits for nothing.
    pub(crate) fn hesitates_until(&self) -> Option<Instant> {
        self.until.filter(|_| *self.waits)
    }

    /// Passes a head below 200 on; `written` is its status line and its fields. HTTP/1.0 knows none, and a word to go on is
    /// only for who waits for it.
    pub(crate) async fn pass(&mut self, head: &AnswerHead, written: &mut W::Output) -> Result<(), ClientEnd> {
        let is_word = head.status == 100;
        if self.asked.minor == 0 || (is_word && !std::mem::take(self.waits)) {
            return Ok(());
        }
        self.client.interim(head, written, self.stall).await.map_err(|_| ClientEnd::Gone)
    }

    /// Tells the client to go on although the instance has not said so.
    pub(crate) async fn go_on(&mut self) -> Result<(), ClientEnd> {
        *self.waits = false;
        self.client.go_on(self.stall).await.map_err(|_| ClientEnd::Gone)
    }

    /// Ends when the client takes no answer any more, where that is not seen by what it sends.
    pub(crate) async fn gone(&mut self) {
        self.client.gone().await;
    }
}
