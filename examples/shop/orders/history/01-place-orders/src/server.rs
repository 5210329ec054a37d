//! A thread for every connection, and a stop that no client notices.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, Services};
use crate::http::Message;
use crate::orders::{Orders, Reply};
use crate::signal;

/// More connections at once are closed right away.
const MAX_CONNECTIONS: usize = 512;
/// A client that says nothing for this long is sent away.
const IDLE: Duration = Duration::from_secs(75);
/// A request that stalls half-way for this long is given up.
const STALLED: Duration = Duration::from_secs(10);
/// How often a waiting thread looks whether it should end.
const GLANCE: Duration = Duration::from_millis(100);
/// After SIGTERM answers say `Connection: close` for this long; then idle connections are closed.
const DRAIN: Duration = Duration::from_millis(300);
/// Requests under way are waited for this long at most.
const LAST_CALL: Duration = Duration::from_secs(8);

/// What all connections share.
struct Shared {
    orders: Orders,
    services: Services,
    connections: AtomicUsize,
    drained: AtomicBool,
}

/// Serves until SIGTERM or SIGINT, then finishes the requests under way.
pub fn serve(listener: TcpListener, orders: Orders, services: Services) -> io::Result<()> {
    let connections = AtomicUsize::new(0);
    let shared = Arc::new(Shared { orders, services, connections, drained: AtomicBool::new(false) });
    let address = listener.local_addr()?;
    let acceptor = thread::spawn({
        let shared = Arc::clone(&shared);
        move || accept(&listener, &shared)
    });
    while !signal::asked_to_stop() {
        thread::sleep(GLANCE / 10);
    }
    thread::sleep(DRAIN);
    shared.drained.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(address)); // wakes the acceptor, which closes the listener
    let _ = acceptor.join();
    let until = Instant::now() + LAST_CALL;
    while shared.connections.load(Ordering::SeqCst) > 0 && Instant::now() < until {
        thread::sleep(GLANCE / 10);
    }
    Ok(())
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.drained.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.connections.fetch_add(1, Ordering::SeqCst) >= MAX_CONNECTIONS {
            shared.connections.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            if let Err(error) = converse(stream, &shared) {
                eprintln!("a connection ended: {error}");
            }
            shared.connections.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Answers the requests of one connection, one after the other.
fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut catalog = Client::new(&shared.services.catalog);
    let mut payments = Client::new(&shared.services.payments);
    while wait_for_request(&mut reader, shared)? {
        reader.get_ref().set_read_timeout(Some(STALLED))?;
        let request = match Message::read(&mut reader) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) => {
                let reply = Reply::error(400, &error.to_string());
                return write(reader.get_mut(), &reply, shared, true);
            }
        };
        let reply = shared.orders.answer(&request, &mut catalog, &mut payments);
        let closes = request.closes() || signal::asked_to_stop();
        write(reader.get_mut(), &reply, shared, closes)?;
        if closes {
            break;
        }
    }
    Ok(())
}

/// Waits for the first byte of a request; false when there will be none.
fn wait_for_request(reader: &mut BufReader<TcpStream>, shared: &Shared) -> io::Result<bool> {
    reader.get_ref().set_read_timeout(Some(GLANCE))?;
    let until = Instant::now() + IDLE;
    while Instant::now() < until && !shared.drained.load(Ordering::SeqCst) {
        match reader.fill_buf() {
            Ok(bytes) => return Ok(!bytes.is_empty()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn write(stream: &mut TcpStream, reply: &Reply, shared: &Shared, closes: bool) -> io::Result<()> {
    let connection = if closes { "Connection: close\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {} \r\nContent-Type: application/json\r\nContent-Length: {}\r\nX-Served-By: {}\r\n{connection}\r\n",
        reply.status,
        reply.body.len(),
        shared.orders.served_by,
    );
    stream.write_all((head + &reply.body).as_bytes())
}
