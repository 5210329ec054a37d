//! Looking whether things are as they must be: at what Lockstep says, and at what a customer gets.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::http::{Answer, Connection, request};
use crate::installation::Installation;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long something that must come about may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Asks as a customer does.
pub(super) fn visit(gateway: SocketAddr, path: &str) -> Result<Answer> {
    let request = request("GET", path, gateway, &["x-lockstep-key: visitor"], "");
    Connection::open(gateway, TIMEOUT)
        .and_then(|mut connection| connection.exchange(&request))
        .with_context(|| format!("GET http://{gateway}{path}"))
}

/// Places an order as a customer does, and returns who took part.
pub(super) fn order(gateway: SocketAddr) -> Result<String> {
    let headers = ["x-lockstep-key: visitor"];
    let request = request("POST", "/orders", gateway, &headers, r#"{"item":"honey"}"#);
    let answer = Connection::open(gateway, TIMEOUT)?.exchange(&request)?;
    let body = String::from_utf8_lossy(&answer.body);
    ensure!(answer.status == 201, "an order was answered {}: {body}", answer.status);
    let chain = answer.json()?["chain"].as_array().cloned().unwrap_or_default();
    Ok(chain.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" -> "))
}

/// Returns the greeting of the shop window.
pub(super) fn greeting(gateway: SocketAddr) -> Result<String> {
    let answer = visit(gateway, "/")?;
    ensure!(answer.status == 200, "the shop window answers {}", answer.status);
    Ok(answer.json()?["greeting"].as_str().unwrap_or("(none)").to_owned())
}

/// Checks that the shop window greets with these words, and shows them.
pub(super) fn expect_greeting(gateway: SocketAddr, words: &str) -> Result<()> {
    let found = greeting(gateway)?;
    ensure!(found == words, "the shop greets with `{found}` instead of `{words}`");
    println!("  GET / answers: \"greeting\": \"{found}\"");
    Ok(())
}

/// Checks that an environment runs exactly these versions, by its own word and by the answers of its gateway.
pub(super) fn expect_versions(
    installation: &Installation,
    environment: &str,
    gateway: SocketAddr,
    versions: &[(&str, &str)],
) -> Result<()> {
    let status = installation.json(&["status", environment])?;
    let expected: BTreeMap<_, _> =
        versions.iter().map(|(service, version)| ((*service).to_owned(), (*version).to_owned())).collect();
    let found = entries(&status);
    ensure!(found == expected, "{environment} runs {found:?} instead of {expected:?}");
    for (path, service) in [("/items", "catalog"), ("/orders", "orders"), ("/", "storefront")] {
        let label = format!("{service}@{}", expected.get(service).map_or("", String::as_str));
        let answer = visit(gateway, path)?;
        for header in ["lockstep-version", "x-served-by"] {
            let by = answer.header(header).unwrap_or("nobody");
            ensure!(by == label, "{path} is served by {by} ({header}) instead of {label}");
        }
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "{path} answers {} by {label}: {body}", answer.status);
    }
    let chain = order(gateway)?;
    for service in ["orders", "catalog", "payments"] {
        let label = format!("{service}@{}", expected.get(service).map_or("", String::as_str));
        ensure!(chain.split(" -> ").any(|by| by == label), "an order went {chain}, without {label}");
    }
    println!("  an order takes the way {chain}");
    Ok(())
}

/// Returns the versions in the current baseline of an environment.
fn entries(status: &Value) -> BTreeMap<String, String> {
    let services = status["services"].as_array().into_iter().flatten();
    services
        .filter_map(|service| {
            let version = service["entry"]["version"].as_str()?;
            Some((service["service"].as_str()?.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Returns the number of the current baseline.
pub(super) fn baseline(installation: &Installation, environment: &str) -> Result<u64> {
    let status = installation.json(&["status", environment])?;
    status["baseline"].as_u64().context("the status names no baseline")
}

/// Returns the address of an environment's gateway.
pub(super) fn gateway(installation: &Installation, environment: &str) -> Result<SocketAddr> {
    let status = installation.json(&["status", environment])?;
    let url = status["gateway"].as_str().context("the status names no gateway")?;
    url.trim_start_matches("http://").parse().with_context(|| format!("`{url}` is no address"))
}

/// Returns the held versions of an environment.
pub(super) fn held(installation: &Installation, environment: &str) -> Result<Vec<String>> {
    let holds = installation.json(&["hold", "list", environment])?;
    let holds = holds.as_array().context("holds are not a list")?;
    Ok(holds.iter().filter_map(|hold| hold["version"].as_str().map(str::to_owned)).collect())
}

/// Returns the released versions of a service.
pub(super) fn released(installation: &Installation, service: &str) -> Result<Vec<String>> {
    let view = installation.json(&["show", service])?;
    let versions = view["versions"].as_array().context("a service without versions")?;
    Ok(versions.iter().filter_map(|version| version["number"].as_str().map(str::to_owned)).collect())
}

/// The verdict on two versions, and what it rests on.
type Cell = (String, String);

/// Returns the answer for every version of a service with every version of another that it calls.
pub(super) fn pairs(
    installation: &Installation,
    consumer: &str,
    provider: &str,
) -> Result<BTreeMap<(String, String), Cell>> {
    let matrices = installation.json(&["compat", consumer, provider])?;
    let matrix = &matrices[0];
    ensure!(matrix["consumer"] == consumer && matrix["provider"] == provider, "the matrix is of others");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = BTreeMap::new();
    for row in matrix["rows"].as_array().context("the matrix has no rows")? {
        let providers = matrix["providers"].as_array().into_iter().flatten();
        for (provider, cell) in providers.zip(row["cells"].as_array().into_iter().flatten()) {
            let pair = (text(&row["version"]), text(provider));
            found.insert(pair, (text(&cell["verdict"]), text(&cell["basis"])));
        }
    }
    ensure!(!found.is_empty(), "the matrix is empty");
    Ok(found)
}

/// Returns the instances of an environment that serve or could at once, with where they are and how often they restarted.
pub(super) fn instances(installation: &Installation, environment: &str) -> Result<BTreeMap<String, String>> {
    let status = installation.json(&["status", environment])?;
    let services = status["services"].as_array().into_iter().flatten();
    let all = services.flat_map(|service| service["instances"].as_array().into_iter().flatten());
    let healthy = all.filter(|instance| instance["state"]["state"] == "healthy");
    let shown = |instance: &Value| {
        let [address, restarts] = ["address", "restarts"].map(|field| &instance[field]);
        Some((instance["id"].as_str()?.to_owned(), format!("at {address}, {restarts} restarts")))
    };
    Ok(healthy.filter_map(shown).collect())
}

/// Waits until something is so.
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !is_so()? {
        ensure!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
