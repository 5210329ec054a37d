//! One request of HTTP/1.1 on a connection of its own, and its answer, bounded in time and size. No redirect is followed.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONNECTION, DATE, HOST, HeaderMap, HeaderName, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use crate::answer::Answer;
use crate::dial::{self, Stream};
use crate::message::Post;
use crate::outcome::Outcome;
use crate::target::Place;

/// Most bytes of an answer that are read: those of chats have a hundred.
const MAX_ANSWER: usize = 16 * 1_024;
/// Longest pause that a target may ask for; beyond it is asked again all the same.
const MAX_PAUSE_MS: u64 = 24 * 3_600_000;
/// Who we are.
const WHO: &str = concat!("lockstep/", env!("CARGO_PKG_VERSION"));

/// Sends a request, and reads what is answered within a time.
pub(crate) async fn exchange(
    place: &Place,
    post: &Post,
    config: Option<Arc<ClientConfig>>,
    limit: Duration,
) -> Result<Answer, Outcome> {
    let request = request(place, post)?;
    let host = place.address.host();
    let tcp = dial::tcp(host, place.port()).await?;
    let stream: Box<dyn Stream> = match config {
        Some(config) => dial::tls(host, config, tcp).await?,
        None => Box::new(tcp),
    };
    let deadline = Instant::now() + limit;
    let late = || Outcome::unknown(format!("{host} did not answer within {} s", limit.as_secs()));
    let response = timeout_at(deadline, send(stream, request)).await.unwrap_or_else(|_| Err(late()))?;
    Ok(read(response, deadline).await)
}

fn request(place: &Place, post: &Post) -> Result<Request<Full<Bytes>>, Outcome> {
    let base = Request::builder()
        .method(Method::POST)
        .uri(&post.path)
        .header(HOST, place.address.authority())
        .header(CONNECTION, "close")
        .header(ACCEPT, "*/*")
        .header(USER_AGENT, WHO);
    let request = post
        .fields
        .iter()
        .fold(base, |request, (name, value)| request.header(HeaderName::from_static(name), value));
    let body = Full::new(Bytes::from(post.body.clone()));
    request.body(body).map_err(|_| {
        Outcome::never("the request cannot be written", "look at the address and the keys of the target")
    })
}

async fn send(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Outcome> {
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) =
        opened.map_err(|error| Outcome::later(format!("the connection broke off: {error}")))?;
    // Ends by itself with the answer, or when the sender goes.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.send_request(request).await.map_err(|error| match error.is_canceled() {
        true => Outcome::later(format!("the connection broke off before anything was sent: {error}")),
        false => Outcome::unknown(format!("there was no answer: {error}")),
    })
}

/// Reads an answer as far as it comes.
async fn read(response: Response<Incoming>, deadline: Instant) -> Answer {
    let (head, mut incoming) = response.into_parts();
    let mut body = Vec::new();
    let mut is_whole = false;
    while body.len() <= MAX_ANSWER {
        match timeout_at(deadline, incoming.frame()).await {
            Ok(Some(Ok(frame))) => body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new())),
            Ok(None) => {
                is_whole = true;
                break;
            }
            Ok(Some(Err(_))) | Err(_) => break,
        }
    }
    body.truncate(MAX_ANSWER);
    let (date_ms, pause_ms) = (date(&head.headers), pause(&head.headers));
    Answer { status: head.status.as_u16(), date_ms, pause_ms, body, is_whole }
}

fn date(fields: &HeaderMap) -> Option<u64> {
    let at = httpdate::parse_http_date(fields.get(DATE)?.to_str().ok()?).ok()?;
    u64::try_from(at.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// What Feishu has in the place of `Retry-After` (open.feishu.cn/document/server-docs/api-call-guide/frequency-control).
const RESET_OF_FEISHU: &str = "x-ogw-ratelimit-reset";

/// Reads `Retry-After`: seconds, or a date, which is taken from the date of the answer, not from our clock (RFC 9110, 10.2.3).
fn pause(fields: &HeaderMap) -> Option<u64> {
    let text = fields.get(RETRY_AFTER).or(fields.get(RESET_OF_FEISHU))?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        // GitHub and others send fractions; what is no number of seconds is none.
        return (seconds.is_finite() && seconds >= 0.0).then(|| clamped(seconds * 1_000.0));
    }
    let at = httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let at = u64::try_from(at.as_millis()).ok()?;
    Some(at.saturating_sub(date(fields)?).min(MAX_PAUSE_MS))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is within 0 and a day"
)]
fn clamped(ms: f64) -> u64 {
    ms.min(MAX_PAUSE_MS as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_read_in_both_forms_and_nonsense_is_none() {
        let of = |text: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(RETRY_AFTER, text.parse().unwrap());
            fields.insert(DATE, "Fri, 31 Dec 1999 23:59:29 GMT".parse().unwrap());
            pause(&fields)
        };
        assert_eq!((of(" 120 "), of("0.5"), of("0")), (Some(120_000), Some(500), Some(0)));
        assert_eq!(of("Fri, 31 Dec 1999 23:59:59 GMT"), Some(30_000));
        assert_eq!(of("Thu, 30 Dec 1999 23:59:59 GMT"), Some(0), "it is over");
        assert_eq!(of("999999999999999999999"), Some(MAX_PAUSE_MS));
        for bad in ["", "-1", "soon", "NaN", "inf"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
