//! The load and the instances behind the proxies: as little work as possible for each request.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

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

    pub(crate) fn serve(self, runtime: &Runtime, size: usize) -> io::Result<()> {
        let answer: &'static [u8] = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n{}",
            "x".repeat(size)
        )
        .leak()
        .as_bytes();
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(self.listener)?;
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
    let mut buffer = [0; 4_096];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            stream.write_all(answer).await?;
        }
    }
}

/// Asks `requests` times over all connections; returns how long it took.
pub(crate) async fn run(address: SocketAddr, requests: usize) -> io::Result<Duration> {
    let begun = Instant::now();
    let each = requests.div_ceil(CONNECTIONS);
    let clients: Vec<_> = (0..CONNECTIONS).map(|n| tokio::spawn(ask(address, n, each))).collect();
    for client in clients {
        client.await.map_err(io::Error::other)??;
    }
    Ok(begun.elapsed())
}

async fn ask(address: SocketAddr, client: usize, times: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET /orders/{client} HTTP/1.1\r\nhost: shop.test\r\nuser-agent: bench\r\naccept: */*\r\n\
         x-lockstep-key: client-{client}\r\n\r\n"
    );
    let mut buffer = vec![0; 64 * 1_024];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    let mut whole = None;
    while whole.is_none_or(|whole| filled < whole) {
        let read = stream.read(&mut buffer[filled..]).await?;
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
