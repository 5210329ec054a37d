//! A configuration that changes again and again under load: what fails, and how long requests take meanwhile.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::load::{Backend, CONNECTIONS, ask};
use crate::measure::{Amount, Latencies, median, percentile};
use crate::peers::{Setup, change, start_all};
use crate::proxies::Proxy;

/// Time between two changes.
const EVERY: Duration = Duration::from_millis(500);

pub(super) fn measure(runtime: &Runtime, amount: Amount) -> Outcome<()> {
    let instances = Backend::pair(runtime, 100)?;
    let setup = Setup { reloads: true, ..Setup::http1(instances) };
    let proxies = start_all(&setup)?;
    println!(
        "{} requests on {CONNECTIONS} connections while the shares change every {} ms, beside as many without a change;\n\
         failed: also those that were sent on a connection which the proxy closed just then, as most programs would send again",
        amount.requests,
        EVERY.as_millis()
    );
    println!("{:<24} {:>10} {:>10} {:>12} {:>8}", "proxy", "changes", "failed", "p99 us", "ratio");
    let mut rounds: Vec<Vec<Round>> = proxies.iter().map(|_| Vec::new()).collect();
    for _ in 0..amount.rounds {
        for (proxy, rounds) in proxies.iter().zip(&mut rounds) {
            let still = runtime.block_on(run(proxy.address, amount.requests))?;
            let (moved, changes) = runtime.block_on(changing(proxy, &setup, amount.requests))?;
            let p99 = f64::from(percentile(moved.took, 99));
            let ratio = p99 / f64::from(percentile(still.took, 99));
            rounds.push(Round { changes, failed: moved.failed, p99, ratio });
        }
    }
    for (proxy, rounds) in proxies.iter().zip(&rounds) {
        let sum = |of: fn(&Round) -> usize| rounds.iter().map(of).sum::<usize>();
        let (changes, failed) = (sum(|it| it.changes), sum(|it| it.failed));
        let (p99, ratio) = (median(rounds, |it| it.p99), median(rounds, |it| it.ratio));
        println!("{:<24} {changes:>10} {failed:>10} {p99:>12.0} {ratio:>8.2}", proxy.name);
    }
    println!("ratio: of the two p99 of one proxy; medians of {} rounds", amount.rounds);
    Ok(())
}

/// What one round measured.
struct Round {
    changes: usize,
    failed: usize,
    p99: f64,
    ratio: f64,
}

/// What became of requests.
#[derive(Default)]
struct Course {
    took: Latencies,
    failed: usize,
}

async fn changing(proxy: &Proxy, setup: &Setup, requests: usize) -> Outcome<(Course, usize)> {
    let mut load = std::pin::pin!(run(proxy.address, requests));
    let mut changes = 0;
    loop {
        tokio::select! {
            course = &mut load => return Ok((course?, changes)),
            () = tokio::time::sleep(EVERY) => {
                changes += 1;
                let new_percent = if changes % 2 == 1 { 50 } else { 10 };
                change(proxy, &Setup { new_percent, ..*setup })?;
            }
        }
    }
}

async fn run(address: SocketAddr, requests: usize) -> io::Result<Course> {
    let each = requests.div_ceil(CONNECTIONS);
    let clients: Vec<_> = (0..CONNECTIONS).map(|n| tokio::spawn(client(address, n, each))).collect();
    let mut all = Course::default();
    for client in clients {
        let one = client.await.map_err(io::Error::other)??;
        all.took.extend(one.took);
        all.failed += one.failed;
    }
    Ok(all)
}

/// Asks again and again, on a new connection when the one before broke in the middle of a request.
async fn client(address: SocketAddr, number: usize, times: usize) -> io::Result<Course> {
    let mut course = Course::default();
    while course.took.len() + course.failed < times {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            course.failed += 1;
            continue;
        };
        let left = times - course.took.len() - course.failed;
        if ask(&mut stream, number, left, &mut course.took).await.is_err() {
            course.failed += 1;
        }
    }
    Ok(course)
}
