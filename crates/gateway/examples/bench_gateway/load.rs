//! The load and the instances behind the proxies: as little work as possible for each request.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::measure::Latencies;

/// Connections that ask at the same time.
pub(crate) const CONNECTIONS: usize = 64;

/// An instance that answers every request with the same bytes.
pub(crate) struct Backend {
    listener: StdListener,
    address: SocketAddr,
}

impl Backend {
    pub(crate) fn bind() -> io::Result<Self> {
        let listener = StdListener::bind(crate::local(0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts the two versions behind the proxies; returns where they listen.
    pub(crate) fn pair(runtime: &Runtime, size: usize) -> io::Result<[SocketAddr; 2]> {
        let both = [Self::bind()?, Self::bind()?];
        let addresses = both.each_ref().map(Self::address);
        both.into_iter().try_for_each(|instance| instance.serve(runtime, size))?;
        Ok(addresses)
    }

    /// Hands over the socket, for an instance that answers otherwise.
    pub(crate) fn listener(self, runtime: &Runtime) -> io::Result<TcpListener> {
        let _inside = runtime.enter();
        TcpListener::from_std(self.listener)
    }

    fn serve(self, runtime: &Runtime, size: usize) -> io::Result<()> {
        let answer: &'static [u8] = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n{}",
            "x".repeat(size)
        )
        .leak()
        .as_bytes();
        let listener = self.listener(runtime)?;
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer_all(stream, answer));
            }
        });
        Ok(())
    }
}

async fn answer_all(mut stream: TcpStream, answer: &'static [u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1_024];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let Some(head) = buffer[..filled].windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let mut left = announced(&buffer[..head]).saturating_sub(filled - head - 4);
        while left > 0 {
            left = match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                read => left.saturating_sub(read),
            };
        }
        filled = 0;
        stream.write_all(answer).await?;
    }
}

/// Returns the `content-length` of a request.
fn announced(head: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length:";
    let at = head.windows(NAME.len()).position(|it| it.eq_ignore_ascii_case(NAME));
    let digits = at.map(|at| head[at + NAME.len()..].trim_ascii_start()).unwrap_or_default();
    digits.iter().take_while(|it| it.is_ascii_digit()).fold(0, |all, it| all * 10 + usize::from(it - b'0'))
}

/// Reads up to the end of a head, and no further.
pub(crate) async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// Asks `requests` times over all connections; returns how long each took.
pub(crate) async fn run(address: SocketAddr, requests: usize) -> io::Result<Latencies> {
    let each = requests.div_ceil(CONNECTIONS);
    let clients: Vec<_> = (0..CONNECTIONS).map(|n| tokio::spawn(client(address, n, each))).collect();
    let mut all = Latencies::with_capacity(requests);
    for client in clients {
        all.extend(client.await.map_err(io::Error::other)??);
    }
    Ok(all)
}

async fn client(address: SocketAddr, number: usize, times: usize) -> io::Result<Latencies> {
    let (mut stream, mut took) = (TcpStream::connect(address).await?, Latencies::with_capacity(times));
    stream.set_nodelay(true)?;
    ask(&mut stream, number, times, &mut took).await?;
    Ok(took)
}

/// Asks so many times on one connection, and notes how long each time took.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    client: usize,
    times: usize,
    took: &mut Latencies,
) -> io::Result<()> {
    let request = format!(
        "GET /orders/{client} HTTP/1.1\r\nhost: shop.test\r\nuser-agent: bench\r\naccept: */*\r\n\
         x-lockstep-key: client-{client}\r\n\r\n"
    );
    let mut buffer = vec![0; 64 * 1_024];
    for _ in 0..times {
        let sent = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        read_answer(stream, &mut buffer).await?;
        took.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(())
}

pub(crate) async fn read_answer<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    let mut whole = None;
    while whole.is_none_or(|whole| filled < whole) {
        // Once its length is known, an answer may be longer than the buffer.
        let from = if whole.is_none() { filled } else { 0 };
        let read = stream.read(&mut buffer[from..]).await?;
        if read == 0 {
            return Err(io::Error::other("the proxy closed the connection"));
        }
        filled += read;
        if whole.is_none() {
            whole = length(&buffer[..filled])?;
        }
    }
    Ok(())
}

/// Returns the length of an answer with its head, once the head is there.
fn length(bytes: &[u8]) -> io::Result<Option<usize>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(head) = answer.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    if answer.code != Some(200) {
        return Err(io::Error::other(format!("the proxy answered {:?}", answer.code)));
    }
    let field = answer.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let body = field.and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok());
    Ok(Some(head + body.ok_or_else(|| io::Error::other("no content-length"))?))
}
