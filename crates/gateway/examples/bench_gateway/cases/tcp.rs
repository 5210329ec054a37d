//! Bytes over TCP, passed as they come: requests and answers of HTTP that no proxy reads, and connections that are opened and ended.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use lockstep_domain::protocol::Protocol;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::load::{self, Backend, CONNECTIONS, ask};
use crate::measure::{Amount, Latencies, compare};
use crate::peers::{Setup, start_all};

pub(super) fn small(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    kept(runtime, amount, 100)
}

pub(super) fn large(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    kept(runtime, amount, 1_024 * 1_024)
}

fn kept(runtime: &Runtime, amount: Amount, size: usize) -> Outcome<()> {
    let setup = Setup { protocol: Protocol::Tcp, ..Setup::http1(Backend::pair(runtime, size)?) };
    let what = format!("TCP, answers of {size} bytes on {CONNECTIONS} connections");
    compare(runtime, &start_all(&setup)?, amount, &what, load::run)
}

/// A connection for each request.
pub(super) fn connections(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let setup = Setup { protocol: Protocol::Tcp, ..Setup::http1(Backend::pair(runtime, 100)?) };
    let what = "TCP, connections with one question and its answer of 100 bytes";
    compare(runtime, &start_all(&setup)?, amount, what, open_and_ask)
}

async fn open_and_ask(address: SocketAddr, connections: usize) -> io::Result<Latencies> {
    const AT_ONCE: usize = 16;
    let clients = (0..AT_ONCE).map(|client| {
        tokio::spawn(async move {
            let mut took = Latencies::new();
            for _ in 0..connections.div_ceil(AT_ONCE) {
                let begun = Instant::now();
                let mut stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                ask(&mut stream, client, 1, &mut Latencies::new()).await?;
                took.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            io::Result::Ok(took)
        })
    });
    let (clients, mut all) = (clients.collect::<Vec<_>>(), Latencies::new());
    for client in clients {
        all.extend(client.await.map_err(io::Error::other)??);
    }
    Ok(all)
}
