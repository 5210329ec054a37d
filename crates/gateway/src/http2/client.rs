//! One stream of a client: the request that comes in it, and the answer that goes back.

use std::future::{pending, poll_fn};
use std::io;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Response, StatusCode};

use super::send::send_body;
use super::tunnel::{StreamReader, StreamWriter};
use crate::answer::AnswerHead;
use crate::chunked::ChunkError;
use crate::exchange::Client;
use crate::framing::{Body, Recode};
use crate::grpc_web::WebForm;
use crate::leaving::Delivery;
use crate::outgoing::{Frames, Outgoing, Pieces};
use crate::problem::Problem;
use crate::relay::{AnswerSink, RequestSource};
use crate::tunnel::Side;

/// What of a body is sent with its head, so that the request can be sent again as a whole.
const MAX_EARLY: usize = 16 * 1_024;

/// One stream of a client.
pub(super) struct StreamClient {
    body: RecvStream,
    /// What was taken of the body after its beginning; `None` when that was more than is kept.
    kept: Option<BytesMut>,
    answer: Answering,
}

/// How far the answer came.
enum Answering {
    Waited(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
    Ended,
}

impl StreamClient {
    pub(super) fn new(body: RecvStream, answer: SendResponse<Bytes>) -> Self {
        Self { body, kept: Some(BytesMut::new()), answer: Answering::Waited(answer) }
    }

    /// Takes what is here of the body; returns it, and whether that is all of it. What is to be a tunnel has none.
    pub(super) fn early(&mut self, is_tunnel: bool) -> (Bytes, bool) {
        if is_tunnel {
            return (Bytes::new(), true);
        }
        let mut early = BytesMut::new();
        let mut first = Bytes::new();
        let cx = &mut Context::from_waker(Waker::noop());
        while early.len() + first.len() < MAX_EARLY && !self.body.is_end_stream() {
            let Poll::Ready(Some(Ok(piece))) = self.body.poll_data(cx) else { break };
            // It is on its way; without this the client would wait for room.
            let _ = self.body.flow_control().release_capacity(piece.len());
            if first.is_empty() && early.is_empty() {
                first = piece;
            } else {
                early.extend_from_slice(&std::mem::take(&mut first));
                early.extend_from_slice(&piece);
            }
        }
        let early = if early.is_empty() { first } else { early.freeze() };
        (early, self.body.is_end_stream())
    }

    /// Ends the stream so that what was sent of an answer does not look like the whole.
    pub(super) async fn fail(&mut self) {
        if let Answering::Begun(stream) = &mut self.answer {
            // A reset overtakes what waits to be sent: let the connection send what it can first.
            tokio::task::yield_now().await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

impl Client for StreamClient {
    type Output = Frames;
    type Source<'c> = StreamSource<'c>;
    type Sink<'c> = StreamSink<'c>;
    type Reader<'c> = StreamReader<'c>;
    type Writer<'c> = StreamWriter<'c>;

    fn ends<'c>(&'c mut self, body: &'c mut Body) -> (StreamSource<'c>, StreamSink<'c>) {
        let source = StreamSource {
            stream: &mut self.body,
            body,
            kept: &mut self.kept,
            got: None,
            owed: 0,
            end: None,
        };
        (source, StreamSink { answer: &mut self.answer })
    }

    fn tunnel(&mut self) -> Option<Side<'_, StreamReader<'_>, StreamWriter<'_>>> {
        let Answering::Begun(stream) = &mut self.answer else { return None };
        let input = self.kept.get_or_insert_default();
        Some((StreamReader::new(&mut self.body), input, StreamWriter::new(stream)))
    }

    fn end_tunnel(&mut self) {
        if let Answering::Begun(stream) = &mut self.answer {
            // A client that has gone hears nothing.
            let _ = stream.send_data(Bytes::new(), true);
            self.answer = Answering::Ended;
        }
    }

    fn kept(&self) -> Option<Bytes> {
        self.kept.clone().map(BytesMut::freeze)
    }

    fn end_call(&mut self, problem: &Problem, web: Option<WebForm>) {
        if let Answering::Begun(stream) = &mut self.answer {
            let mut frames = Frames::default();
            let end = problem.end_of_call();
            let recode = web.map_or(Recode::Plain, |form| Recode::Web { form, chunks: false });
            frames.trailers(end.iter().map(|(name, value)| (*name, value.as_bytes())), recode);
            // A client that has gone hears nothing.
            let _ = match frames.trailers {
                Some(trailers) => stream.send_trailers(trailers),
                None => stream.send_data(frames.data.concat().into(), true),
            };
            self.answer = Answering::Ended;
        }
    }
}

fn keep(kept: &mut Option<BytesMut>, piece: &[u8]) {
    match kept {
        Some(kept) if kept.len() + piece.len() <= MAX_EARLY => kept.extend_from_slice(piece),
        _ => *kept = None,
    }
}

/// The body of a request.
pub(super) struct StreamSource<'c> {
    stream: &'c mut RecvStream,
    body: &'c mut Body,
    kept: &'c mut Option<BytesMut>,
    got: Option<Bytes>,
    /// What was taken and has not been sent on yet: the client may send as much again only after that.
    owed: usize,
    end: Option<HeaderMap>,
}

impl RequestSource for StreamSource<'_> {
    fn take(&mut self, piece: &mut impl Outgoing, recode: Recode) -> Result<bool, ChunkError> {
        if let Some(got) = self.got.take() {
            let got = self.body.read_piece(got)?;
            keep(self.kept, &got);
            piece.lend().piece(got, recode);
        }
        let Some(trailers) = self.end.take() else { return Ok(false) };
        self.body.end()?;
        if !trailers.is_empty() {
            *self.kept = None;
        }
        piece.lend().pass_trailers(trailers, recode);
        piece.lend().whole();
        Ok(true)
    }

    async fn more(&mut self) -> Option<()> {
        let owed = std::mem::take(&mut self.owed);
        let _ = self.stream.flow_control().release_capacity(owed);
        match self.stream.data().await {
            Some(got) => {
                let got = got.ok()?;
                self.owed = got.len();
                self.got = Some(got);
                self.end = self.stream.is_end_stream().then(HeaderMap::new);
            }
            None => self.end = Some(self.stream.trailers().await.ok()?.unwrap_or_default()),
        }
        Some(())
    }

    /// Whether the client has left is heard where its answer is sent.
    async fn watch(&mut self, _sent: Instant, _delivery: &Delivery) {
        pending::<()>().await;
    }
}

/// The way of an answer.
pub(super) struct StreamSink<'c> {
    answer: &'c mut Answering,
}

impl AnswerSink for StreamSink<'_> {
    type Output = Frames;

    async fn send(&mut self, output: &mut Frames, limit: Duration) -> io::Result<usize> {
        output.settle();
        let mut bytes = 0;
        if let (Some(status), Answering::Waited(answer)) = (output.status.take(), &mut *self.answer) {
            let ends = output.ends && output.data.is_empty() && output.trailers.is_none();
            let fields = std::mem::take(&mut output.fields);
            bytes += fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
            let mut response = Response::new(());
            (*response.status_mut(), *response.headers_mut()) = (status, fields);
            let stream = answer.send_response(response, ends).map_err(io::Error::other)?;
            *self.answer = if ends { Answering::Ended } else { Answering::Begun(stream) };
        }
        if let Answering::Begun(stream) = &mut *self.answer {
            let ends = output.ends;
            bytes += send_body(stream, output, limit).await?;
            if ends {
                *self.answer = Answering::Ended;
            }
        }
        output.give_back();
        Ok(bytes)
    }

    async fn interim(&mut self, head: &AnswerHead, output: &mut Frames, _limit: Duration) -> io::Result<()> {
        let fields = std::mem::take(&mut output.fields);
        output.give_back();
        self.say(StatusCode::from_u16(head.status).map_err(io::Error::other)?, fields)
    }

    async fn go_on(&mut self, _limit: Duration) -> io::Result<()> {
        self.say(StatusCode::CONTINUE, HeaderMap::new())
    }

    async fn gone(&mut self) {
        match &mut *self.answer {
            // Its end, however it comes.
            Answering::Waited(answer) => drop(poll_fn(|cx| answer.poll_reset(cx)).await),
            Answering::Begun(stream) => drop(poll_fn(|cx| stream.poll_reset(cx)).await),
            Answering::Ended => pending().await,
        }
    }
}

impl StreamSink<'_> {
    fn say(&mut self, status: StatusCode, fields: HeaderMap) -> io::Result<()> {
        let Answering::Waited(answer) = &mut *self.answer else { return Ok(()) };
        let mut response = Response::new(());
        (*response.status_mut(), *response.headers_mut()) = (status, fields);
        answer.send_informational(response).map_err(io::Error::other)
    }
}
