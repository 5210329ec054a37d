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
            adopt(gateway, store, &table);
            if gateway.environment(environment).neighbours().is_named_in(&table) {
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
    let mut pauses = Pauses::new();
    loop {
        let serving = gateway.receipt(environment).edition();
        match server.table(environment, &serving, WAIT).await {
            Ok(Some(table)) => match adopt(gateway, store, &table) {
                Adoption::Served => {
                    changed.notify_one();
                    pauses.reset(environment);
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
            if let Err(error) = store.save(table) {
                tracing::error!(%environment, %revision, error = &error as &dyn std::error::Error, "the table is served but not stored");
            }
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
    use super::*;

    #[test]
    fn of_an_outage_each_new_reason_is_told_once() {
        let mut pauses = Pauses::new();
        let mut told = |why: &str| pauses.is_news(why.to_owned());
        assert_eq!(["refused", "refused", "expired", "expired"].map(&mut told), [true, false, true, false]);
        pauses.reset(&"production".parse().unwrap());
        assert!(pauses.is_news("expired".to_owned()));
    }
}
