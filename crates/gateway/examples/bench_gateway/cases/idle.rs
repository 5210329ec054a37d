//! What a connection costs in memory while nothing happens on it, new and after much went through it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::load::{Backend, read_head};
use crate::measure::Amount;
use crate::peers::{Setup, start_all};
use crate::proxies::Proxy;

const UPLOAD: usize = 200 * 1_024;
const DOWNLOAD: usize = 1_024 * 1_024;
/// How long memory is given time to go back.
const SETTLED: Duration = Duration::from_secs(3);
/// Connections that are used at the same time.
const AT_ONCE: usize = 16;

pub(super) fn measure(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let proxies = start_all(&Setup::http1(Backend::pair(runtime, DOWNLOAD)?))?;
    let connections = amount.requests;
    println!(
        "private memory of the process for each of {connections} connections that are open and idle, in bytes:\n\
         new; after each sent {UPLOAD} bytes and took {DOWNLOAD}; left of it when all are closed"
    );
    println!("{:<24} {:>10} {:>10} {:>10}", "proxy", "new", "used", "closed");
    for proxy in &proxies {
        let [new, used, closed] = of(runtime, proxy, connections)?;
        println!("{:<24} {new:>10.0} {used:>10.0} {closed:>10.0}", proxy.name);
    }
    Ok(())
}

fn of(runtime: &Runtime, proxy: &Proxy, connections: usize) -> Outcome<[f64; 3]> {
    // What the first ones allocate for all is not theirs.
    runtime.block_on(async { use_all(open(proxy.address, AT_ONCE).await?).await })?;
    let before = proxy.private_bytes()?;
    let each = |proxy: &Proxy| -> Outcome<f64> {
        Ok((proxy.private_bytes()? as f64 - before as f64) / connections as f64)
    };
    let clients = runtime.block_on(open(proxy.address, connections))?;
    let new = each(proxy)?;
    let clients = runtime.block_on(use_all(clients))?;
    settle(runtime);
    let used = each(proxy)?;
    drop(clients);
    settle(runtime);
    Ok([new, used, each(proxy)?])
}

/// Waits, since allocators give memory back some time after it is free, while the instances live on.
fn settle(runtime: &Runtime) {
    runtime.block_on(async { tokio::time::sleep(SETTLED).await });
}

async fn open(address: SocketAddr, connections: usize) -> io::Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(TcpStream::connect(address).await?);
    }
    Ok(open)
}

async fn use_all(mut left: Vec<TcpStream>) -> io::Result<Vec<TcpStream>> {
    let mut used = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let some: Vec<_> =
            left.drain(..left.len().min(AT_ONCE)).map(|it| tokio::spawn(use_one(it))).collect();
        for client in some {
            used.push(client.await.map_err(io::Error::other)??);
        }
    }
    Ok(used)
}

async fn use_one(mut stream: TcpStream) -> io::Result<TcpStream> {
    let head = format!("POST /orders HTTP/1.1\r\nhost: shop.test\r\ncontent-length: {UPLOAD}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b'x'; UPLOAD]).await?;
    read_head(&mut stream).await?;
    let mut left = DOWNLOAD;
    let mut buffer = vec![0; 64 * 1_024];
    while left > 0 {
        let most = left.min(buffer.len());
        match stream.read(&mut buffer[..most]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(stream)
}
