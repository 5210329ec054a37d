//! What a gateway says of itself at `/-/metrics`: how large it is, and how long it takes, where many versions were asked.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use lockstep_domain::VersionNumber;
use lockstep_domain::routes::{
    Endpoint, FULL_WEIGHT, Route, RouteRule, RouteTable, ServiceRoutes, Split, SplitRole,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::load::{Backend, CONNECTIONS, read_answer};
use crate::measure::{Amount, percentile};
use crate::peers::start_with_admin;
use crate::proxies::free_port;
use crate::{Outcome, local};

const SERVICES: usize = 100;
/// Of a hundred requests, those for each version, the stable one last.
const SHARES: [(u32, SplitRole); 3] =
    [(20, SplitRole::Candidate), (30, SplitRole::Stable), (50, SplitRole::Stable)];
/// How many metrics are shown by their size.
const SHOWN: usize = 4;
const AIM_MS: f64 = 5.0;
const AIM_BYTES: usize = 1_000_000;
/// What stands in the answer for each version of which a request was counted.
const COUNT: &str = "lockstep_gateway_request_duration_seconds_count{";

pub(super) fn measure(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let instances = Backend::pair(runtime, 100)?;
    let admin = free_port()?;
    let proxy = start_with_admin(&table(instances)?, admin)?;
    runtime.block_on(ask_all(proxy.address, amount.requests))?;
    let before = proxy.cpu_micros()?;
    let mut took = Vec::with_capacity(amount.rounds);
    let mut text = String::new();
    for _ in 0..amount.rounds {
        let begun = Instant::now();
        text = runtime.block_on(read(local(admin)))?;
        took.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    let cpu_ms = (proxy.cpu_micros()? - before) / 1e3 / amount.rounds as f64;
    expect_whole(&text, amount.requests)?;
    show(amount, &text, &took, cpu_ms);
    Ok(())
}

fn table(instances: [SocketAddr; 2]) -> Outcome<RouteTable> {
    let mut table: Option<RouteTable> = None;
    for number in 0..SERVICES {
        let name = format!("service-{number}");
        let routes = ServiceRoutes { salt: name.clone(), ..ServiceRoutes::of(splits(number, instances)?) };
        let table = match &mut table {
            None => table.insert(RouteTable {
                routes: Vec::new(),
                ..RouteTable::to_one("bench".parse()?, name.parse()?, routes)
            }),
            Some(table) => {
                table.services.insert(name.parse()?, routes);
                table
            }
        };
        let rule = RouteRule { path: format!("/{name}"), ..RouteRule::default() };
        table.routes.push(Route { rule, service: name.parse()? });
    }
    Ok(table.ok_or("there is no service")?)
}

fn splits(number: usize, instances: [SocketAddr; 2]) -> Outcome<Vec<Split>> {
    let split = |(at, (share, role)): (usize, &(u32, SplitRole))| -> Outcome<Split> {
        let endpoint = |each: usize| -> Outcome<Endpoint> {
            Ok(Endpoint::at(format!("service-{number}-{at}-{each}").parse()?, instances[each]))
        };
        let split = Split::of_all(VersionNumber::new(1, at as u64, 0), vec![endpoint(0)?, endpoint(1)?]);
        Ok(Split { weight: share * FULL_WEIGHT / 100, role: *role, ..split })
    };
    SHARES.iter().enumerate().map(split).collect()
}

/// Asks all services, each by many clients, so that each version is asked.
async fn ask_all(address: SocketAddr, requests: usize) -> Outcome<()> {
    let each = requests / CONNECTIONS;
    let clients: Vec<_> =
        (0..CONNECTIONS).map(|number| tokio::spawn(client(address, number, each))).collect();
    for client in clients {
        client.await??;
    }
    Ok(())
}

async fn client(address: SocketAddr, number: usize, times: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1_024];
    for time in 0..times {
        let service = (number + time) % SERVICES;
        let request = format!(
            "GET /service-{service}/{time} HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: client-{number}-{time}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        read_answer(&mut stream, &mut buffer).await?;
    }
    Ok(())
}

/// Asks as Prometheus does, on a connection of its own; returns what is said.
async fn read(admin: SocketAddr) -> Outcome<String> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(format!("GET /-/metrics HTTP/1.1\r\nhost: {admin}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, text) = answer.split_once("\r\n\r\n").ok_or("an answer without an end of its head")?;
    if head.starts_with("HTTP/1.1 200 ") { Ok(text.to_owned()) } else { Err(head.to_owned().into()) }
}

/// Fails unless every version was asked, and all requests are counted.
fn expect_whole(text: &str, requests: usize) -> Outcome<()> {
    let counts = text.lines().filter(|line| line.starts_with(COUNT) && !line.contains("service_name=\"\""));
    let counts: Vec<usize> =
        counts.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).filter(|count| *count > 0).collect();
    let (versions, counted) = (counts.len(), counts.iter().sum::<usize>());
    let (expected, sent) = (SERVICES * SHARES.len(), requests / CONNECTIONS * CONNECTIONS);
    if (versions, counted) == (expected, sent) {
        return Ok(());
    }
    Err(format!("{counted} of {sent} requests to {versions} of {expected} versions are counted").into())
}

fn show(Amount { rounds, requests }: Amount, text: &str, took: &[u32], cpu_ms: f64) {
    let ms = |percent| f64::from(percentile(took.to_vec(), percent)) / 1e3;
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    let missed = |is_met: bool| if is_met { "" } else { "  missed" };
    println!(
        "/-/metrics of a gateway with {SERVICES} services of {} versions with 2 instances each, and a route each, after {requests} requests; {rounds} times",
        SHARES.len()
    );
    println!("{:<44} {:>10} {:>10}", "", "", "aim");
    println!("{:<44} {:>7.2} ms {AIM_MS:>7.0} ms{}", "an answer, median", ms(50), missed(ms(50) < AIM_MS));
    println!("{:<44} {:>7.2} ms", "an answer, 99 of 100", ms(99));
    println!("{:<44} {cpu_ms:>7.2} ms", "CPU time of the gateway for it");
    let (size, aim) = (text.len() as f64 / 1e6, AIM_BYTES as f64 / 1e6);
    println!("{:<44} {size:>7.2} MB {aim:>7.0} MB{}", "size", missed(text.len() < AIM_BYTES));
    println!("{:<44} {lines:>10}", "samples");
    for (family, bytes) in largest(text) {
        println!("  {family:<42} {:>7.2} MB", bytes as f64 / 1e6);
    }
}

/// The metrics that take most of it: their names and bytes.
fn largest(text: &str) -> Vec<(&str, usize)> {
    let mut families = BTreeMap::<&str, usize>::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        *families.entry(name).or_default() += line.len() + 1;
    }
    let mut families: Vec<_> = families.into_iter().collect();
    families.sort_by_key(|(_, bytes)| Reverse(*bytes));
    families.truncate(SHOWN);
    families
}
