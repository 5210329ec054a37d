//! What an exchange needs of the two sides, whatever wire they are on: where bodies come from and where they go.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::buffers::Output;
use crate::framing::Body;
use crate::grpc_web::WebForm;
use crate::outgoing::Outgoing;
use crate::problem::Problem;
use crate::relay::{AnswerSink, BodyReader, RequestSource};
use crate::reply::AnswerSource;
use crate::stream::{ReadHalf, WriteHalf};
use crate::tunnel::Side;
use crate::upload::{RequestSink, Upload};
use crate::wire::Wire;

/// The two ends of whatever a client sends its request on.
pub(crate) trait Client {
    type Output: Outgoing;
    type Source<'c>: RequestSource
    where
        Self: 'c;
    type Sink<'c>: AnswerSink<Output = Self::Output>
    where
        Self: 'c;

    /// What is read from and written to where it becomes a tunnel.
    type Reader<'c>: AsyncRead + Unpin + Send
    where
        Self: 'c;
    type Writer<'c>: AsyncWrite + Unpin + Send
    where
        Self: 'c;

    /// Takes it apart, so that both ends can be used at once.
    fn ends<'c>(&'c mut self, body: &'c mut Body) -> (Self::Source<'c>, Self::Sink<'c>);

    /// Takes it apart as a side of a tunnel, where its answer was that it is one.
    fn tunnel(&mut self) -> Option<Side<'_, Self::Reader<'_>, Self::Writer<'_>>>;

    /// Ends a tunnel in an orderly way, where that does not end the connection.
    fn end_tunnel(&mut self);

    /// Ends a call whose answer has begun, where that can be said behind it.
    fn end_call(&mut self, problem: &Problem, web: Option<WebForm>);

    /// Returns all that was taken of the body so far, where it was kept to be sent again.
    fn kept(&self) -> Option<Bytes> {
        None
    }
}

impl Client for Wire {
    type Output = Output;
    type Source<'c> = BodyReader<'c>;
    type Sink<'c> = WriteHalf<'c>;
    type Reader<'c> = ReadHalf<'c>;
    type Writer<'c> = WriteHalf<'c>;

    fn ends<'c>(&'c mut self, body: &'c mut Body) -> (BodyReader<'c>, WriteHalf<'c>) {
        let (half, input, to_client) = self.parts();
        (BodyReader { half, input, body }, to_client)
    }

    fn tunnel(&mut self) -> Option<Side<'_, ReadHalf<'_>, WriteHalf<'_>>> {
        Some(self.parts())
    }

    fn end_tunnel(&mut self) {}

    fn end_call(&mut self, _problem: &Problem, _web: Option<WebForm>) {}
}

/// The two ends of whatever an instance is asked on.
pub(crate) trait Ends {
    type Writer<'l>: RequestSink
    where
        Self: 'l;
    type Reader<'l>: AnswerSource
    where
        Self: 'l;

    /// Takes it apart into its two ends, so that both can be used at once.
    fn ends(&mut self) -> (Self::Writer<'_>, &Upload, Self::Reader<'_>);
}
