//! Unary calls of gRPC, in HTTP/2 without TLS on both sides.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{RecvStream, client, server};
use http::{HeaderMap, HeaderValue, Request, Response};
use lockstep_domain::protocol::Protocol;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::load::Backend;
use crate::measure::{Amount, Latencies, compare};
use crate::peers::{Setup, start_all};

/// Connections of clients, and calls that each has under way.
const CONNECTIONS: usize = 8;
const AT_ONCE: usize = 8;
/// A message of 50 bytes with its prefix.
const MESSAGE: [u8; 55] = {
    let mut message = [b'x'; 55];
    (message[0], message[1], message[2], message[3], message[4]) = (0, 0, 0, 0, 50);
    message
};

pub(super) fn unary(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let backends = [Backend::bind()?, Backend::bind()?];
    let instances = backends.each_ref().map(Backend::address);
    for backend in backends {
        let listener = backend.listener(runtime)?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
    }
    let proxies = start_all(&Setup { protocol: Protocol::H2c, ..Setup::http1(instances) })?;
    let what = format!("gRPC calls, {AT_ONCE} at once on each of {CONNECTIONS} connections");
    compare(runtime, &proxies, amount, &what, run)
}

async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let _ = stream.set_nodelay(true);
    let mut builder = server::Builder::new();
    builder.max_concurrent_streams(1_000);
    let mut connection = builder.handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(answer(request.into_body(), respond));
    }
    Ok(())
}

async fn answer(mut body: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), h2::Error> {
    while let Some(piece) = body.data().await {
        body.flow_control().release_capacity(piece?.len())?;
    }
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(Bytes::from_static(&MESSAGE), false)?;
    stream.send_trailers(HeaderMap::from_iter([(
        "grpc-status".parse().expect("it is a name"),
        HeaderValue::from_static("0"),
    )]))
}

async fn run(address: SocketAddr, calls: usize) -> io::Result<Latencies> {
    let each = calls.div_ceil(CONNECTIONS * AT_ONCE);
    let mut callers = Vec::new();
    for connection in 0..CONNECTIONS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, driver) = client::handshake(stream).await.map_err(io::Error::other)?;
        tokio::spawn(driver);
        for caller in 0..AT_ONCE {
            let number = connection * AT_ONCE + caller;
            callers.push(tokio::spawn(call(requests.clone(), number, each)));
        }
    }
    let mut all = Latencies::with_capacity(calls);
    for caller in callers {
        all.extend(caller.await.map_err(io::Error::other)?.map_err(io::Error::other)?);
    }
    Ok(all)
}

async fn call(requests: SendRequest<Bytes>, number: usize, times: usize) -> Result<Latencies, h2::Error> {
    let mut took = Latencies::with_capacity(times);
    for _ in 0..times {
        let sent = Instant::now();
        let request = Request::post("http://shop.test/orders.Orders/Get")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "bench")
            .header("x-lockstep-key", format!("client-{number}"))
            .body(())
            .expect("it is a request");
        let mut requests = requests.clone().ready().await?;
        let (response, mut stream) = requests.send_request(request, false)?;
        stream.send_data(Bytes::from_static(&MESSAGE), true)?;
        let response = response.await?;
        assert_eq!(response.status(), 200, "the proxy did not pass the call");
        let mut body = response.into_body();
        while let Some(piece) = body.data().await {
            body.flow_control().release_capacity(piece?.len())?;
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        assert_eq!(trailers.get("grpc-status").map(HeaderValue::as_bytes), Some(&b"0"[..]), "it failed");
        took.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(took)
}
