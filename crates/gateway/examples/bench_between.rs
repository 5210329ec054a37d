//! What it costs that a call between two hosts is carried by the gateway there, within TLS.
//!
//! ```text
//! cargo run --release -p lockstep-gateway --example bench_between -- [SECONDS]
//! ```
//!
//! Both gateways, the instance and those who ask are in one process on one machine, so nothing of a network is measured: plain is one gateway
//! and the instance, carried is two gateways. Runs are interleaved, and the processor time is that of the threads of the gateways alone.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lockstep_domain::between::{Between, BetweenGateway, BetweenHost};
use lockstep_domain::routes::{Endpoint, RouteTable, ServiceRoutes, Split};
use lockstep_domain::{EnvironmentName, HostName, VersionNumber};
use lockstep_gateway::follow::TableStore;
use lockstep_gateway::{Gateway, GatewayConfig, KEY_LIFE};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Who asks at the same time.
const CLIENTS: usize = 8;
const ROUNDS: usize = 5;
/// Ticks in which the system counts processor time, in a second.
const TICKS: f64 = 100.0;

fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(3), |text| text.parse())?;
    let run = Duration::from_secs(seconds);
    println!(
        "{CLIENTS} clients, {ROUNDS} rounds of {seconds} s, medians; CPU of the threads of both gateways"
    );
    println!(
        "{:<12} {:<10} {:>10} {:>10} {:>10} {:>10}",
        "answers", "", "a second", "p50 us", "p99 us", "CPU us"
    );
    for size in [100, 16 * 1024, 1024 * 1024] {
        let instance = instance(size)?;
        let (plain, carried) = (Way::begin(instance, None)?, Way::begin(instance, Some("web2"))?);
        let mut seen = [Vec::new(), Vec::new()];
        for way in [&plain, &carried] {
            way.load(Duration::from_millis(300), size)?;
        }
        for _ in 0..ROUNDS {
            for (way, seen) in [&plain, &carried].into_iter().zip(&mut seen) {
                seen.push(way.load(run, size)?);
            }
        }
        for (name, seen) in ["plain", "carried"].iter().zip(&seen) {
            let of = |of: fn(&Sample) -> f64| median(seen.iter().map(of).collect());
            println!(
                "{size:<12} {name:<10} {:>10.0} {:>10.0} {:>10.0} {:>10.1}",
                of(|it| it.rate),
                of(|it| it.p50),
                of(|it| it.p99),
                of(|it| it.cpu)
            );
        }
    }
    Ok(())
}

struct Sample {
    rate: f64,
    p50: f64,
    p99: f64,
    cpu: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A gateway that is asked, and the one of the other host where there is one.
struct Way {
    _gateways: Vec<Gateway>,
    listens: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Way {
    fn begin(instance: SocketAddr, host: Option<&str>) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let environment: EnvironmentName = "bench".parse()?;
        let host: Option<HostName> = host.map(str::parse).transpose()?;
        let begin = |name: &str| -> Outcome<(Gateway, TableStore)> {
            let config = GatewayConfig { workers: NonZeroUsize::MIN, ..GatewayConfig::new(name) };
            let (gateway, store) = (Gateway::start(config)?, TableStore::new(folder.path().join(name)));
            gateway.keep_identity(&environment, &store, KEY_LIFE);
            Ok((gateway, store))
        };
        let [(asks, _), (has, store)] = [begin("asks")?, begin("has")?];
        let keys = |gateway: &Gateway| gateway.receipt(&environment).between.unwrap_or_default().keys;
        let between = match &host {
            None => None,
            Some(host) => {
                has.stand_on(&environment, [host.clone()]);
                let at = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
                let at = has.listen_between(&environment, at, &store)?;
                let instances = BTreeMap::from([("orders-1".parse()?, instance)]);
                let caller = BetweenGateway { keys: keys(&asks) };
                Some(Between {
                    callers: BTreeMap::from([("asks".to_owned(), caller)]),
                    known: Vec::new(),
                    hosts: BTreeMap::from([(host.clone(), BetweenHost { at, keys: keys(&has), instances })]),
                })
            }
        };
        let table = table(&environment, instance, host, between)?;
        has.apply(table.clone())?;
        asks.apply(table)?;
        let listens = asks.listen(&environment, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { _gateways: vec![asks, has], listens, _folder: folder })
    }

    fn load(&self, run: Duration, size: usize) -> Outcome<Sample> {
        let (over, listens) = (Arc::new(AtomicBool::new(false)), self.listens);
        let (before, begun) = (cpu()?, Instant::now());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let over = Arc::clone(&over);
                thread::spawn(move || client(listens, size, &over).map_err(|error| error.to_string()))
            })
            .collect();
        thread::sleep(run);
        over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().map_err(|_| "a client panicked")??);
        }
        let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu()? - before);
        all.sort_unstable();
        let at = |percent: usize| f64::from(all[(all.len() * percent / 100).min(all.len() - 1)]);
        let count = all.len() as f64;
        Ok(Sample { rate: count / took, p50: at(50), p99: at(99), cpu: cpu * 1e6 / count })
    }
}

/// Asks on one connection, and returns how long each answer took in microseconds.
fn client(listens: SocketAddr, size: usize, over: &AtomicBool) -> std::io::Result<Vec<u32>> {
    let mut stream = TcpStream::connect(listens)?;
    stream.set_nodelay(true)?;
    let (mut took, mut piece) = (Vec::new(), vec![0; 256 * 1024]);
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n")?;
        let (mut got, mut head) = (0, None);
        while head.is_none_or(|head: usize| got < head + size) {
            let read = stream.read(&mut piece[if head.is_none() { got } else { 0 }..])?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            got += read;
            if head.is_none() {
                head = piece[..got].windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4);
            }
        }
        took.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    Ok(took)
}

/// Processor time of the threads of gateways, in seconds.
fn cpu() -> Outcome<f64> {
    let mut ticks = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
        if let Some((_, rest)) = stat.split_once("(gateway-").and_then(|(_, rest)| rest.split_once(") ")) {
            let fields: Vec<&str> = rest.split(' ').collect();
            ticks += fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        }
    }
    Ok(ticks / TICKS)
}

fn instance(size: usize) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let answer =
        [format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes(), vec![b'x'; size]];
    let answer = Arc::new(answer.concat());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let (mut got, mut piece) = (Vec::new(), [0; 8_192]);
                while let Ok(read @ 1..) = stream.read(&mut piece) {
                    got.extend_from_slice(&piece[..read]);
                    if got.ends_with(b"\r\n\r\n") {
                        got.clear();
                        if stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(address)
}

fn table(
    environment: &EnvironmentName,
    instance: SocketAddr,
    through: Option<HostName>,
    between: Option<Between>,
) -> Outcome<RouteTable> {
    let endpoint = Endpoint { through, ..Endpoint::at("orders-1".parse()?, instance) };
    let routes = ServiceRoutes::of(vec![Split::of_all(VersionNumber::new(1, 0, 0), vec![endpoint])]);
    Ok(RouteTable { between, ..RouteTable::to_one(environment.clone(), "orders".parse()?, routes) })
}
