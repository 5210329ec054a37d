//! The fleet: eight services in four chains of four calls, and one in the middle of all of them that stays as it is.

use std::path::Path;

use anyhow::Result;

use crate::installation::{Installation, Show};

use super::super::operation::ENVIRONMENT;
use super::super::repository;
use super::hop;

/// How a service calls the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// By the address with its token.
    ByUrl,
    /// By a host and a port of its own.
    ByPort,
}

struct Service {
    name: &'static str,
    calls: Calls,
    needs: &'static [&'static str],
    forwards: &'static str,
}

const fn service(
    name: &'static str,
    calls: Calls,
    needs: &'static [&'static str],
    forwards: &'static str,
) -> Service {
    Service { name, calls, needs, forwards }
}

/// Which one stays.
const SHARED: &str = "hub";
/// Providers first. Two of them pass on nothing.
const SERVICES: [Service; 9] = [
    service("stock", Calls::ByUrl, &[], ""),
    service("ledger", Calls::ByUrl, &[], ""),
    service(SHARED, Calls::ByUrl, &["stock", "ledger"], "baggage"),
    service("cart", Calls::ByPort, &[SHARED], ""),
    service("tax", Calls::ByUrl, &[SHARED], "baggage traceparent tracestate"),
    service("report", Calls::ByUrl, &[SHARED], "baggage"),
    service("audit", Calls::ByPort, &[SHARED], ""),
    service("front", Calls::ByUrl, &["cart", "tax"], "baggage"),
    service("admin", Calls::ByUrl, &["report", "audit"], "baggage traceparent tracestate"),
];

/// The chains, as they are asked for: who begins, and who is called by whom.
pub(super) const CHAINS: [&str; 4] =
    ["/front/cart.hub.stock", "/front/tax.hub.stock", "/admin/report.hub.ledger", "/admin/audit.hub.ledger"];

/// The two versions of what moves.
pub(super) const OLD: &str = "1.0.0";
pub(super) const NEW: &str = "2.0.0";

/// Returns what a chain answers when all that moves is at one version.
pub(super) fn trail(chain: &str, version: &str) -> String {
    let names = chain.trim_start_matches('/').split(['/', '.']);
    let at = |name: &str| if name == SHARED { OLD } else { version }.to_owned();
    names.map(|name| format!("{name}@{}", at(name))).collect::<Vec<_>>().join(" ")
}

/// Returns what moves, at a version.
pub(super) fn moving(version: &str) -> Vec<String> {
    let moves = SERVICES.iter().filter(|service| service.name != SHARED);
    moves.map(|service| format!("{}@{version}", service.name)).collect()
}

impl Service {
    fn manifest(&self, generation: u32) -> String {
        let moves = |name: &str| name != SHARED && self.name != SHARED;
        let range = |name| if moves(name) { format!("^{generation}") } else { "*".to_owned() };
        let requires: String =
            self.needs.iter().map(|name| format!("{name} = \"{}\"\n", range(*name))).collect();
        let at = |name: &&str| {
            let upper = name.to_uppercase();
            format!(", AT_{upper} = \"${{service.{name}.host}}:${{service.{name}.port}}\"")
        };
        let at: String = self.needs.iter().filter(|_| self.calls == Calls::ByPort).map(at).collect();
        let Self { name, forwards, .. } = self;
        format!(
            r#"name = "{name}"
owner = "bench"

[build]
tools = {{ rustc = ">=1.85" }}
optional_variables = ["CARGO_HOME", "RUSTUP_HOME"]
steps = ["rustc --edition 2024 -O main.rs -o hop"]

[package]
include = ["hop"]

[run]
command = "./hop"
env = {{ NAME = "${{self.service}}@${{self.version}}", FORWARDS = "{forwards}"{at} }}
health = {{ http = "/health" }}

[[route]]
path = "/{name}"

[requires]
{requires}"#
        )
    }
}

/// Releases two versions of what moves, and deploys the first and then the second of all; the first stays warm.
pub(super) fn prepare(installation: &Installation) -> Result<()> {
    for service in &SERVICES {
        let folder = installation.folder().join(service.name);
        repository::create(&folder, &service.manifest(1), hop::SOURCE)?;
        installation.run_quietly(&["service", "add", service.name])?;
        installation.run(&["release", service.name], Show::Result(1))?;
        if service.name != SHARED {
            release_second(installation, service, &folder)?;
        }
    }
    let mut first = moving(OLD);
    first.push(format!("{SHARED}@{OLD}"));
    deploy(installation, &first)?;
    deploy(installation, &moving(NEW))
}

fn release_second(installation: &Installation, service: &Service, folder: &Path) -> Result<()> {
    repository::commit(folder, &service.manifest(2), "feat!: answer anew")?;
    installation.run(&["release", service.name], Show::Result(1))?;
    Ok(())
}

fn deploy(installation: &Installation, versions: &[String]) -> Result<()> {
    let versions = versions.iter().map(String::as_str);
    let arguments: Vec<_> =
        ["deploy", "--env", ENVIRONMENT, "--strategy", "all-at-once"].into_iter().chain(versions).collect();
    installation.run(&arguments, Show::Result(1))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chain_has_four_services_and_all_that_move_are_in_one() {
        let trails = CHAINS.map(|chain| trail(chain, NEW));
        assert!(trails.iter().all(|trail| trail.split(' ').count() == 4), "{trails:?}");
        assert!(trails.iter().all(|trail| trail.contains("hub@1.0.0")));
        let moving = moving(NEW);
        assert_eq!(moving.len(), 8);
        assert!(moving.iter().all(|it| trails.iter().any(|trail| trail.split(' ').any(|hop| hop == it))));
    }
}
