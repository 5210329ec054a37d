//! A client's connection to a service that speaks TCP: where it goes, and what became of it.
//!
//! Clients come from outside at a port that the environment opens, or are instances at a listener of their own. Nothing of a connection says for whom it is, so
//! each is drawn for itself, as a request without a key. Invariant: a connection stays at the instance that it was given.

mod counts;
mod hello;
mod pass;
mod ports;
mod reach;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use lockstep_domain::ServiceName;
use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::priority::Priority;
use lockstep_domain::tcp_port::{TcpPort, asks_for_names, find};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::access::{Rate, TcpLine, now};
use crate::calls::CallPoint;
use crate::counts::Counts;
use crate::environment::Environment;
use crate::instance::Instance;
use crate::peer::At;
use crate::proxy_header::{Header, Proxied, take};
use crate::proxy_out::Told;
use crate::recent::{self, Passed, Way};
use crate::spans::{Connection, Record, Spans};
use crate::tls::HandshakeEnd;
use crate::trial::Key;
use crate::wire::Wire;
use crate::worker::Worker;

pub(crate) use counts::{TcpCounts, TcpEnd, TcpSums};
use hello::{MAX_HELLO, Said, server_name};
pub(crate) use pass::{Witness, pass};
use reach::reach;

/// What is read of a client's first message at once.
const PIECE: usize = 4 * 1_024;

/// How a client came.
pub(crate) enum Came {
    /// To a port that the environment opens; perhaps behind a PROXY header.
    Outside(Option<Header>),
    /// To a listener of an instance.
    Call(Box<At>),
}

/// A client's connection to a service that speaks TCP.
pub(crate) struct Guest {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    /// Where it connected to.
    pub(crate) to: SocketAddr,
    pub(crate) came: Came,
    pub(crate) environment: Arc<Environment>,
    pub(crate) worker: Arc<Worker>,
}

/// What became of a connection.
pub(crate) struct TcpReport {
    began: Instant,
    client: SocketAddr,
    /// Where the client connected to.
    to: SocketAddr,
    /// What the client asked for within TLS.
    name: Option<String>,
    service: Option<ServiceName>,
    arm: Option<Arc<Counts>>,
    instance: Option<Arc<Instance>>,
    /// Instances that were asked for a connection.
    tries: u32,
    bytes: (u64, u64),
    /// Why the last instance that was asked gave none.
    why: Option<String>,
    /// Its number among the last ones; 0 where those are not kept.
    kept: u64,
}

impl TcpReport {
    fn begin(client: SocketAddr, to: SocketAddr) -> Self {
        Self {
            began: Instant::now(),
            client,
            to,
            name: None,
            service: None,
            arm: None,
            instance: None,
            tries: 0,
            bytes: (0, 0),
            why: None,
            kept: 0,
        }
    }

    /// Returns what an instance is told that wants to know for whom a connection is opened.
    fn told(&self) -> Told<'_> {
        let (client, to, name) = (self.client, self.to, self.name.as_deref());
        Told { client, to, tls: None, has_certificate: false, name }
    }

    /// Keeps it among the last ones, where somebody can ask for them.
    fn keep(&mut self, came: &Came, port: u16, (environment, worker): (&Environment, &Worker)) {
        let Some(ring) = &worker.recent else { return };
        let caller = match came {
            Came::Call(at) => at.origin().map_or(Caller::Outside, |origin| origin.caller),
            Came::Outside(_) => Caller::Outside,
        };
        let way = Way {
            environment: environment.name().clone(),
            client: self.client.ip().to_canonical(),
            caller,
            https: false,
            seat: None,
            arm: None,
            place: 0,
            priority: Priority::Normal,
        };
        self.kept = ring.keep_connection(way, self.passed(port));
    }

    fn passed(&self, port: u16) -> Passed {
        Passed { port, name: self.name.clone(), service: self.service.clone(), bytes: self.bytes }
    }

    fn asks(&mut self, counts: &Arc<Counts>, instance: &Arc<Instance>) {
        self.tries += 1;
        self.arm = Some(Arc::clone(counts));
        self.instance = Some(Arc::clone(instance));
    }
}

impl Guest {
    /// Serves the connection to its end; `permit` is held until then.
    pub(crate) async fn serve(self, permit: OwnedSemaphorePermit) {
        let Self { mut socket, peer, to, came, environment, worker } = self;
        let _one = permit;
        let (port, mut early) = (to.port(), BytesMut::new());
        let parties = (&*environment, &*worker);
        let report = TcpReport::begin(peer, to);
        let mut visit = Accounted { report, came: &came, port, parties, end: TcpEnd::Cut };
        let report = &mut visit.report;
        let arrived = arrive((&mut socket, &mut early), &came, port, parties, report).await;
        let mut wire = Wire::new(socket);
        wire.input = early;
        // What is cut off for whatever reason, as by the end of this process, must not look like the whole.
        wire.breaks(true);
        let service = arrived.as_ref().ok().cloned();
        report.service = service;
        report.keep(&came, port, parties);
        let end = match arrived {
            Ok(service) => connect(&mut wire, &service, parties, report).await,
            Err(end) => end,
        };
        wire.breaks(!matches!(end, TcpEnd::Client | TcpEnd::Instance));
        visit.end = end;
    }
}

/// A connection that is accounted for when it is over, also where that is because the gateway ends.
struct Accounted<'g> {
    report: TcpReport,
    came: &'g Came,
    port: u16,
    parties: (&'g Environment, &'g Worker),
    end: TcpEnd,
}

impl Drop for Accounted<'_> {
    fn drop(&mut self) {
        account(&self.report, self.came, self.port, self.parties, self.end);
    }
}

/// Finds the service that a client comes to.
async fn arrive(
    begun: (&mut TcpStream, &mut BytesMut),
    came: &Came,
    port: u16,
    (environment, worker): (&Environment, &Worker),
    report: &mut TcpReport,
) -> Result<ServiceName, TcpEnd> {
    let header = match came {
        Came::Call(at) if at.origin().is_err() => return Err(TcpEnd::Stranger),
        Came::Call(at) => return Ok(at.point().service.clone()),
        Came::Outside(header) => *header,
    };
    let asks = with_ports(environment, worker, |ports| asks_for_names(ports, port)).unwrap_or(false);
    if header.is_some() || asks {
        begin(begun, header, asks, (environment, worker), report).await?;
    }
    let name = report.name.as_deref();
    let found = with_ports(environment, worker, |ports| Some(find(ports, port, name)?.service.clone()));
    found.flatten().ok_or(TcpEnd::NoService)
}

/// Looks at the ports of the table of this moment.
fn with_ports<T>(
    environment: &Environment,
    worker: &Worker,
    look: impl FnOnce(&[TcpPort]) -> T,
) -> Option<T> {
    let table = environment.table(worker.index).load();
    let entry = table.as_ref()?.routes.entry.as_ref()?;
    Some(look(&entry.settings.tcp))
}

/// Reads what comes before anything is passed: a PROXY header, and the name that the client asks for. Who says nothing in time asks for none.
async fn begin(
    (socket, early): (&mut TcpStream, &mut BytesMut),
    header: Option<Header>,
    asks_for_name: bool,
    (environment, worker): (&Environment, &Worker),
    report: &mut TcpReport,
) -> Result<(), TcpEnd> {
    let handshakes = &environment.tls().handshakes;
    let refuse = |end| {
        handshakes.count(end);
        TcpEnd::ClientReset
    };
    // It is never closed, so this fails only when there are too many.
    let _one = worker.handshakes.try_acquire().map_err(|_| refuse(HandshakeEnd::TooMany))?;
    let limit = worker.timeouts.handshake;
    if let Some(header) = header {
        let begun = timeout(limit, take(socket, header)).await.map_err(|_| refuse(HandshakeEnd::Slow))?;
        let begun = begun.map_err(|_| refuse(HandshakeEnd::ProxyHeader))?;
        if let Proxied::For { client, to } = begun.proxied {
            (report.client, report.to) = (client, to);
        }
        early.extend_from_slice(&begun.early);
    }
    if asks_for_name {
        report.name = timeout(limit, name_of(socket, early)).await.unwrap_or_default();
    }
    Ok(())
}

/// Reads the name that a client asks for within TLS. What was read is passed on later.
async fn name_of(socket: &mut TcpStream, early: &mut BytesMut) -> Option<String> {
    loop {
        match server_name(early) {
            Said::Name(name) => return Some(name),
            Said::Nothing => return None,
            Said::More => {}
        }
        if early.len() >= MAX_HELLO {
            return None;
        }
        let mut piece = [0; PIECE];
        let read = socket.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        early.extend_from_slice(&piece[..read]);
    }
}

/// Opens a connection to an instance, and passes bytes until it ends.
async fn connect(
    client: &mut Wire,
    service: &ServiceName,
    (environment, worker): (&Environment, &Worker),
    report: &mut TcpReport,
) -> TcpEnd {
    let drawn = worker.random.draw().to_be_bytes();
    let key = Key { bytes: &drawn, is_new: true };
    let reached = match reach((environment, worker), service, key, report).await {
        Ok(reached) => reached,
        Err(end) => return end,
    };
    let reach::Reached { mut wire, pick, mut judged } = reached;
    let instance = Arc::clone(&pick.lease.endpoint().instance);
    wire.breaks(true);
    let idle = idle(environment, worker);
    let mut noting = judged.noting(&mut report.bytes);
    let end = pass(client, &mut wire, idle, instance.is_left(), &mut noting).await;
    judged.ends(end);
    wire.breaks(!matches!(end, TcpEnd::Client | TcpEnd::Instance));
    end
}

fn idle(environment: &Environment, worker: &Worker) -> Option<Duration> {
    let table = environment.table(worker.index).load();
    let settings = &table.as_ref()?.routes.entry.as_ref()?.settings;
    settings.tcp_idle_ms.map(Duration::from_millis)
}

/// Sends the span of a connection, where it has one.
fn span(
    spans: &Spans,
    report: &TcpReport,
    (point, port): (Option<&CallPoint>, u16),
    (environment, worker): (&Environment, &Worker),
    end: TcpEnd,
) {
    let failed = end.is_failure();
    let Some(span) = spans.draw(&worker.random, failed) else { return };
    spans.send(Box::new(Record::Connection(Connection {
        span,
        at: SystemTime::now(),
        took: report.began.elapsed(),
        environment: environment.name().clone(),
        client: report.client,
        port,
        name: report.name.clone(),
        service: report.service.clone(),
        arm: report.arm.clone(),
        instance: report.instance.clone(),
        point: point.map(|point| point.instance.clone()),
        tries: report.tries,
        bytes: report.bytes,
        end: end.word(),
        failed,
    })));
}

/// Counts a connection that is over, and logs it.
fn account(
    report: &TcpReport,
    came: &Came,
    port: u16,
    (environment, worker): (&Environment, &Worker),
    end: TcpEnd,
) {
    match &report.arm {
        Some(counts) => counts.tcp.ended(end),
        None => environment.own(worker.index).tcp.ended(end),
    }
    let arm = report.arm.as_ref().and_then(|counts| counts.arm.as_ref());
    let point = match came {
        Came::Call(at) => Some(at.point()),
        Came::Outside(_) => None,
    };
    if let Some(point) = point {
        environment.calls(worker.index).count_connection(point, arm, end != TcpEnd::Unreachable);
    }
    if let Some(ring) = worker.recent.as_ref().filter(|_| report.kept > 0) {
        let address = report.instance.as_ref().map(|instance| instance.address);
        let ended = recent::Ended::connection(address, report.began.elapsed(), report.tries, end.word());
        ring.end_connection(report.kept, report.arm.clone(), report.passed(port), ended);
    }
    if let Some(spans) = &worker.spans {
        span(spans, report, (point, port), (environment, worker), end);
    }
    let Some(log) = &worker.access else { return };
    // How long a connection lives says nothing about how slow somebody was.
    let is_told = end.is_failure() || end == TcpEnd::Cut;
    let kept = log.keeps(is_told, Duration::ZERO, worker.random.draw());
    let Some(Rate(rate)) = kept else { return };
    let instance = report.instance.as_ref().map(|instance| instance.name());
    log.note_connection(&TcpLine {
        time: now(),
        environment: environment.name().as_str(),
        client: report.client.ip().to_canonical().to_string(),
        caller: point.map(|point| point.instance.as_str()),
        protocol: "tcp",
        port,
        server_name: report.name.as_deref(),
        service: report.service.as_ref().map(ServiceName::as_str),
        version: arm.map(|arm| arm.version_ref().to_string()),
        instance,
        ms: (report.began.elapsed().as_secs_f64() * 1e6).round() / 1e3,
        bytes_up: report.bytes.0,
        bytes_down: report.bytes.1,
        tries: report.tries,
        why: report.why.as_deref(),
        end: end.word(),
        rate,
    });
}
