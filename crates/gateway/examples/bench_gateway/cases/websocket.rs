//! Messages over many WebSocket connections, each sent back by the instance.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::load::{Backend, read_head};
use crate::measure::{Amount, Latencies, compare};
use crate::peers::{Setup, start_all};
use crate::{Outcome, local};

/// Clients that stay connected.
const CONNECTIONS: usize = 1_000;
const MESSAGE: usize = 100;
/// A frame of one binary message from a client, under the mask of zeros, and as it comes back.
const FROM_CLIENT: [u8; 6] = [0x82, 0x80 | MESSAGE as u8, 0, 0, 0, 0];
const FROM_SERVER: [u8; 2] = [0x82, MESSAGE as u8];

pub(super) fn echo(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let backends = [Backend::bind()?, Backend::bind()?];
    let instances = backends.each_ref().map(Backend::address);
    for backend in backends {
        let listener = backend.listener(runtime)?;
        runtime.spawn(accept(listener));
    }
    let proxies = start_all(&Setup::http1(instances))?;
    let what = format!("WebSocket messages of {MESSAGE} bytes there and back on {CONNECTIONS} connections");
    compare(runtime, &proxies, amount, &what, run)
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream));
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    read_head(&mut stream).await?;
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    stream.write_all(switch).await?;
    let mut frame = [0; FROM_CLIENT.len() + MESSAGE];
    let mut back = [0; FROM_SERVER.len() + MESSAGE];
    back[..FROM_SERVER.len()].copy_from_slice(&FROM_SERVER);
    loop {
        stream.read_exact(&mut frame).await?;
        back[FROM_SERVER.len()..].copy_from_slice(&frame[FROM_CLIENT.len()..]);
        stream.write_all(&back).await?;
    }
}

/// Opens all connections, and then sends one message after the other on each.
async fn run(address: SocketAddr, messages: usize) -> io::Result<Latencies> {
    let mut open = Vec::new();
    for client in 0..CONNECTIONS {
        open.push(connect(address, client).await?);
    }
    let each = messages.div_ceil(CONNECTIONS);
    let clients: Vec<_> = open.into_iter().map(|stream| tokio::spawn(talk(stream, each))).collect();
    let mut all = Latencies::new();
    for client in clients {
        all.extend(client.await.map_err(io::Error::other)??);
    }
    Ok(all)
}

async fn connect(address: SocketAddr, client: usize) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(local(address.port())).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /chat HTTP/1.1\r\nhost: shop.test\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nx-lockstep-key: client-{client}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(&mut stream).await?;
    let switched = head.starts_with(b"HTTP/1.1 101 ");
    if switched { Ok(stream) } else { Err(io::Error::other("the proxy did not switch to WebSocket")) }
}

async fn talk(mut stream: TcpStream, times: usize) -> io::Result<Latencies> {
    let message = [FROM_CLIENT.as_slice(), &[b'x'; MESSAGE]].concat();
    let (mut back, mut took) = ([0; FROM_SERVER.len() + MESSAGE], Latencies::with_capacity(times));
    for _ in 0..times {
        let sent = Instant::now();
        stream.write_all(&message).await?;
        stream.read_exact(&mut back).await?;
        took.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(took)
}
