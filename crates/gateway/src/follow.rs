//! Following a server: its tables come here, receipts go back, and the last table outlives both.
//!
//! A follower decides nothing. When the server is gone the gateway serves on, and after a restart it begins with the
//! tables on its disk.

mod certificates;
mod client;
mod looking;
mod parse;
mod store;
mod visit_keys;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_domain::EnvironmentName;
use lockstep_domain::routes::{GatewayReceipt, RouteTable};
use tokio_util::sync::CancellationToken;

use certificates::Tending;
pub use client::{Server, ServerError};
pub use parse::TableError;
pub(crate) use store::read_written;
pub use store::{StoreError, TableStore};

use crate::environment::Applied;
use crate::gateway::Gateway;
use crate::random::Random;

/// How long a server may hold a request for a table when nothing changes.
const WAIT: Duration = Duration::from_secs(25);
/// How long it takes until a table that could not be stored is tried to be stored again.
const KEPT_AGAIN: Duration = Duration::from_secs(5);
/// How often a receipt is sent; one more goes out after each change.
const RECEIPT_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first failed request to the server; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: a server that comes back is found within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where the certificates of a gateway that follows a server come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificatesFrom {
    /// From the server, or from the disk where they were stored before.
    Server,
    /// From elsewhere: what the table names is passed over.
    Elsewhere,
}

fn tending<'a>(
    gateway: &'a Gateway,
    environment: &'a EnvironmentName,
    server: Option<&'a Server>,
    store: &'a TableStore,
) -> Tending<'a> {
    Tending { gateway, environment, server, store }
}

/// Shows the certificates that the table names, before the first client is served: those of the disk, and what is missing from the
/// server unless that takes too long.
pub(crate) async fn first_certificates(
    gateway: &Gateway,
    environment: &EnvironmentName,
    server: &Server,
    store: &TableStore,
) {
    // Whoever follows says what is wrong.
    let _ = tending(gateway, environment, None, store).look().await;
    let _ =
        tokio::time::timeout(FIRST_TABLE, tending(gateway, environment, Some(server), store).look()).await;
}

/// Gets the keys that the table names for visits before the first client is served, unless that takes too long.
pub(crate) async fn first_visit_keys(
    gateway: &Gateway,
    environment: &EnvironmentName,
    server: &Server,
    store: &TableStore,
) {
    // Whoever follows says what is wrong.
    let of = |server| visit_keys::Tending { gateway, environment, server, store };
    let _ = of(None).look().await;
    let _ = tokio::time::timeout(FIRST_TABLE, of(Some(server)).look()).await;
}

/// How long a gateway that leaves waits for its server to take its last receipt.
const LAST_RECEIPT: Duration = Duration::from_secs(2);

/// How long a gateway that starts waits for a server that takes connections and says nothing.
const FIRST_TABLE: Duration = Duration::from_secs(2);

/// Reports to the server once and asks for its table, before the first client is served: what is on the disk may name
/// instances that ended while this gateway was away, and whose ports others have now. The report comes first, so that the
/// server waits for this gateway before it ends anything of the table that is then taken.
///
/// A server that is not there is not waited for.
pub(crate) async fn catch_up(
    gateway: &Gateway,
    environment: &EnvironmentName,
    server: &Server,
    store: &TableStore,
) {
    let asked = async {
        // Whoever follows says why a report is not taken.
        let _ = server.send_receipt(&gateway.receipt(environment)).await;
        let mut wait = Duration::ZERO;
        loop {
            let serving = gateway.receipt(environment).edition();
            let Some(table) = server.table(environment, &serving, wait).await? else { return Ok(()) };
            // One that is refused would be given again and again.
            let is_served = matches!(adopt(gateway, store, &table), Adoption::Served);
            if !is_served || gateway.environment(environment).neighbours().is_named_in(&table) {
                return Ok(());
            }
            // The next one names the key that was just said: without that no gateway of another host lets this one in.
            wait = FIRST_TABLE / 2;
        }
    };
    let asked: Result<Result<(), ServerError>, _> = tokio::time::timeout(FIRST_TABLE, asked).await;
    match asked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::info!(%environment, error, "the server has no newer table for us at the start");
        }
        Err(_) => tracing::warn!(%environment, "the server does not answer; starting with the stored table"),
    }
}

/// Follows a server for one environment until `stop`: applies and stores each new table, and sends receipts. The last one says
/// that it is the last, so that what was counted since the one before is not lost, and the next run is believed from its beginning.
pub async fn follow(
    gateway: Arc<Gateway>,
    environment: EnvironmentName,
    (server, store): (Server, TableStore),
    (certificates, key_life): (CertificatesFrom, Duration),
    stop: CancellationToken,
) {
    let changed = tokio::sync::Notify::new();
    let tables = follow_tables(&gateway, &environment, &server, &store, &changed);
    let receipts = send_receipts(&gateway, &environment, &server, &changed);
    let tending = tending(&gateway, &environment, Some(&server), &store);
    let certificates = async {
        match certificates {
            CertificatesFrom::Server => tending.run().await,
            CertificatesFrom::Elsewhere => std::future::pending().await,
        }
    };
    let keys = visit_keys::Tending {
        gateway: &gateway,
        environment: &environment,
        server: Some(&server),
        store: &store,
    };
    let exchanging = async {
        loop {
            tokio::time::sleep(RECEIPT_EVERY).await;
            // Whoever leaves changes no keys: the process that has taken over has the same.
            if !gateway.is_leaving() && gateway.keep_identity(&environment, &store, key_life) {
                changed.notify_one();
            }
        }
    };
    tokio::select! {
        () = exchanging => {}
        () = keys.run() => {}
        () = certificates => {}
        () = tables => {}
        () = receipts => {}
        () = stop.cancelled() => {}
    }
    let last = GatewayReceipt { last: true, ..gateway.report(&environment) };
    // A server that is not there is not waited for; one of an older release does not know the word, and loses what it lost before.
    let _ = tokio::time::timeout(LAST_RECEIPT, server.send_receipt(&last)).await;
}

async fn follow_tables(
    gateway: &Gateway,
    environment: &EnvironmentName,
    server: &Server,
    store: &TableStore,
    changed: &tokio::sync::Notify,
) {
    let serving = || gateway.serving(environment).filter(|_| !is_stored(gateway, environment));
    let (mut pauses, mut unkept) = (Pauses::new(), serving().map(Arc::unwrap_or_clone));
    loop {
        let serving = gateway.receipt(environment).edition();
        unkept = unkept.filter(|table| !is_kept(gateway, store, table));
        let wait = if unkept.is_some() { KEPT_AGAIN } else { WAIT };
        match server.table(environment, &serving, wait).await {
            Ok(Some(table)) => match adopt(gateway, store, &table) {
                Adoption::Served => {
                    changed.notify_one();
                    pauses.reset(environment);
                    unkept = Some(table).filter(|_| !is_stored(gateway, environment));
                }
                Adoption::NotServed => pauses.rest().await,
            },
            Ok(None) => pauses.reset(environment),
            Err(error) => pauses.fail(environment, &error).await,
        }
    }
}

enum Adoption {
    Served,
    NotServed,
}

/// Applies a table, and stores it once it is served.
fn adopt(gateway: &Gateway, store: &TableStore, table: &RouteTable) -> Adoption {
    let (environment, revision) = (table.environment.clone(), table.edition());
    match gateway.apply(table.clone()) {
        Ok(Applied::Now) => {
            is_kept(gateway, store, table);
            tracing::info!(%environment, %revision, "table applied");
            Adoption::Served
        }
        Ok(Applied::NotNewer { serving }) => {
            tracing::warn!(%environment, %revision, %serving, "the server gave an older table; serving on");
            Adoption::NotServed
        }
        Err(error) => {
            tracing::error!(%environment, %revision, %error, "table refused");
            Adoption::NotServed
        }
    }
}

/// Stores a table that is served. A receipt says whether that was possible: with the one before, this gateway would not know what it has confirmed.
fn is_kept(gateway: &Gateway, store: &TableStore, table: &RouteTable) -> bool {
    let (environment, revision, saved) = (&table.environment, table.edition(), store.save(table));
    // Said once: it is tried again and again.
    if let Err(error) = saved.as_ref().map_err(|error| error as &dyn std::error::Error)
        && is_stored(gateway, environment)
    {
        tracing::error!(%environment, %revision, error, "the table is served but not stored");
    }
    gateway.environment(environment).neighbours().note_kept(saved.is_ok());
    saved.is_ok()
}

fn is_stored(gateway: &Gateway, environment: &EnvironmentName) -> bool {
    gateway.environment(environment).neighbours().is_kept()
}

async fn send_receipts(
    gateway: &Gateway,
    environment: &EnvironmentName,
    server: &Server,
    changed: &tokio::sync::Notify,
) {
    let mut refused = None;
    loop {
        gateway.keep_listeners(environment);
        // A receipt that was not taken is not repeated: the next one says the same and more.
        let report = gateway.report(environment);
        match server.send_receipt(&report).await {
            Ok(()) => refused = None,
            Err(error @ ServerError::Status { .. }) => {
                // Said once for each reason: a receipt goes out every second.
                let why = error.to_string();
                if refused.as_ref() != Some(&why) {
                    tracing::error!(%environment, error = &error as &dyn std::error::Error, "the server does not take our receipts: it does not wait for this gateway");
                    refused = Some(why);
                }
            }
            Err(error) => {
                gateway.take_back(report);
                tracing::debug!(%environment, error = &error as &dyn std::error::Error, "receipt not sent");
            }
        }
        let _ = tokio::time::timeout(RECEIPT_EVERY, changed.notified()).await;
    }
}

/// Growing pauses between attempts to reach a server, each drawn at random so that gateways do not come all at once.
struct Pauses {
    random: Random,
    failures: u32,
    since: Option<Instant>,
    /// What was logged last: another reason is worth another line, the same one is not.
    said: String,
}

impl Pauses {
    fn new() -> Self {
        Self { random: Random::new(usize::MAX), failures: 0, since: None, said: String::new() }
    }

    fn reset(&mut self, environment: &EnvironmentName) {
        self.failures = 0;
        self.said.clear();
        if let Some(since) = self.since.take() {
            tracing::info!(%environment, gone_ms = since.elapsed().as_millis(), "the server is back");
        }
    }

    async fn fail(&mut self, environment: &EnvironmentName, error: &ServerError) {
        self.since.get_or_insert_with(Instant::now);
        if self.is_news(error.to_string()) {
            let hint = error.hint().unwrap_or_default();
            tracing::warn!(%environment, error = error as &dyn std::error::Error, hint, "the server cannot be reached; serving the last table");
        }
        self.rest().await;
    }

    /// Tells whether nothing, or something else, was said of this outage before.
    fn is_news(&mut self, why: String) -> bool {
        let is_news = self.said != why;
        self.said = why;
        is_news
    }

    async fn rest(&mut self) {
        let full = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        let half = full / 2;
        let jitter = self.random.below(usize::try_from(half.as_millis()).unwrap_or(usize::MAX).max(1));
        tokio::time::sleep(half + Duration::from_millis(jitter as u64)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn of_an_outage_each_new_reason_is_told_once() {
        let mut pauses = Pauses::new();
        let mut told = |why: &str| pauses.is_news(why.to_owned());
        assert_eq!(["refused", "refused", "expired", "expired"].map(&mut told), [true, false, true, false]);
        pauses.reset(&"production".parse().unwrap());
        assert!(pauses.is_news("expired".to_owned()));
    }

    fn environment() -> EnvironmentName {
        "production".parse().unwrap()
    }

    fn gateway(folder: &std::path::Path) -> (Gateway, TableStore) {
        let gateway = Gateway::start(crate::config::GatewayConfig::new("one")).unwrap();
        let store = TableStore::new(folder.join("tables"));
        gateway.keep_identity(&environment(), &store, crate::KEY_LIFE);
        (gateway, store)
    }

    fn table(between: lockstep_domain::between::Between) -> RouteTable {
        let routes = lockstep_domain::routes::ServiceRoutes::of(Vec::new());
        let table = RouteTable::to_one(environment(), "shop".parse().unwrap(), routes);
        RouteTable { between: Some(between), routes: Vec::new(), services: Default::default(), ..table }
    }

    /// A server that takes every receipt, gives the same table to whoever asks, and counts who does.
    fn giving(table: &RouteTable) -> (Server, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (text, asked) = (serde_json::to_string(table).unwrap(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut got, mut piece) = (Vec::new(), [0; 4_096]);
                let is_whole = |got: &[u8]| {
                    let text = String::from_utf8_lossy(got).to_lowercase();
                    let length =
                        text.split("content-length: ").nth(1).and_then(|it| it.lines().next()?.parse().ok());
                    text.split_once("\r\n\r\n")
                        .is_some_and(|(_, body)| body.len() >= length.unwrap_or(0_usize))
                };
                while !is_whole(&got) {
                    match stream.read(&mut piece).unwrap_or(0) {
                        0 => break,
                        read => got.extend_from_slice(&piece[..read]),
                    }
                }
                let is_question = got.starts_with(b"GET");
                counted.fetch_add(usize::from(is_question), Ordering::SeqCst);
                let body = if is_question { text.as_str() } else { "" };
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
            }
        });
        let trust = lockstep_reach::Trust::in_system();
        let plain = lockstep_reach::PlainHttp::LoopbackOnly;
        let reach = lockstep_reach::Reach::new(address.parse().unwrap(), trust, Some("secret"), plain);
        (Server::new(reach.unwrap()), asked)
    }

    #[tokio::test]
    async fn a_table_that_is_refused_is_not_asked_for_again_and_again_before_the_first_client() {
        use lockstep_domain::between::{Between, BetweenHost};
        let folder = tempfile::tempdir().unwrap();
        let (gateway, store) = gateway(folder.path());
        let elsewhere = BetweenHost {
            at: "10.0.0.5:18500".parse().unwrap(),
            keys: Vec::new(),
            instances: [("shop-1".parse().unwrap(), "10.0.0.5:22".parse().unwrap())].into(),
        };
        let refused = Between { hosts: [("web1".parse().unwrap(), elsewhere)].into(), ..Between::default() };
        let (server, asked) = giving(&table(refused));
        catch_up(&gateway, &environment(), &server, &store).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(gateway.serving(&environment()).is_none());
    }

    #[test]
    fn a_gateway_says_when_the_table_that_it_serves_is_not_on_its_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (gateway, store) = gateway(folder.path());
        let is_unkept = || gateway.receipt(&environment()).between.unwrap().unkept;
        let no_folder = folder.path().join("file");
        std::fs::write(&no_folder, "").unwrap();
        let full = TableStore::new(no_folder);
        let served = table(Default::default());
        adopt(&gateway, &full, &served);
        assert!(is_unkept());
        assert!(!is_kept(&gateway, &full, &served) && is_kept(&gateway, &store, &served) && !is_unkept());
    }
}
