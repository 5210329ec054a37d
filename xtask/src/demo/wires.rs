//! Customers who come over TLS on every wire: a program of Node, with the clients that Node has (`customers.mjs`).
//!
//! Invariant: it ends with this process, however that ends, because its input does.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::workspace;

/// The host that customers look for; they look for it on this machine.
pub(super) const HOST: &str = "shop.test";
/// The wires, and which service is asked on each.
pub(super) const WIRES: [(&str, &str); 4] =
    [("HTTP/1.1", "catalog"), ("HTTP/2", "orders"), ("gRPC", "catalog"), ("WebSocket", "storefront")];

/// How often each of the versions did something.
pub(super) type Counts = BTreeMap<String, usize>;

/// What came on one wire since the last look.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Good answers, by the version that gave them.
    pub(super) answers: Counts,
    /// gRPC calls that ended with `UNAVAILABLE` and the HTTP status 200, by the version that said so.
    pub(super) unavailable: Counts,
    /// Everything else, by what was wrong.
    failed: Counts,
    /// Who gave the last answer, to a request that began after it was asked what came.
    last: String,
}

/// What came on all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(BTreeMap<String, Found>);

/// How many good answers came on each wire.
pub(super) type Answers = BTreeMap<&'static str, usize>;

/// The customers, until they are dropped.
pub(super) struct Wires {
    program: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    total: Answers,
}

impl Wires {
    /// Lets them begin to come, to a port of this machine. They believe one authority.
    pub(super) fn begin(gateway: SocketAddr, authority: &Path) -> Result<Self> {
        let mut node = Command::new("node");
        node.args(flags_of_node()?).arg(workspace::root().join("xtask/src/demo/customers.mjs"));
        node.args([HOST, &gateway.port().to_string()]);
        node.env("NODE_EXTRA_CA_CERTS", authority).env("NODE_NO_WARNINGS", "1").env_remove("NODE_OPTIONS");
        let mut program =
            node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot run node")?;
        let commands = program.stdin.take().context("node takes no input")?;
        let answers = BufReader::new(program.stdout.take().context("node writes nothing")?).lines();
        Ok(Self { program, commands, answers, total: Answers::new() })
    }

    /// Returns what came since the last look, and who answers now. Fails unless every wire was answered, and never in another
    /// way than well.
    pub(super) fn look(&mut self, unavailable: Unavailable) -> Result<Seen> {
        let seen = self.tell("look")?;
        let wires = seen.as_object().context("what was seen is no object")?;
        let seen = Seen(wires.iter().map(|(wire, found)| (wire.clone(), Found::read(found))).collect());
        seen.expect_good(unavailable)?;
        for (wire, _) in WIRES {
            *self.total.entry(wire).or_default() += seen.on(wire).answers.values().sum::<usize>();
        }
        Ok(seen)
    }

    /// Returns how often each wire was answered until the last look.
    pub(super) fn total(&self) -> &Answers {
        &self.total
    }

    /// Sends all further requests elsewhere, and returns when none is under way to where they went before.
    pub(super) fn redirect(&mut self, gateway: SocketAddr) -> Result<()> {
        self.tell(&format!("to {}", gateway.port())).map(|_| ())
    }

    fn tell(&mut self, command: &str) -> Result<Value> {
        let ended = "the customers over TLS are gone; what they wrote stands above";
        writeln!(self.commands, "{command}").context(ended)?;
        let answer = self.answers.next().context(ended)??;
        serde_json::from_str(&answer).context("the customers over TLS did not write JSON")
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        // Whoever is gone already needs no end.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Returns the arguments with which Node has its client of WebSockets, which it kept behind a flag before version 22.
///
/// # Errors
/// Without Node, or when it is too old to have one.
pub(super) fn flags_of_node() -> Result<&'static [&'static str]> {
    let script = "typeof WebSocket === 'function' ? 'none' \
                  : process.allowedNodeEnvironmentFlags.has('--experimental-websocket') ? 'flag' : process.version";
    let output = Command::new("node").args(["-p", script]).env_remove("NODE_OPTIONS").output();
    match String::from_utf8_lossy(&output.context("cannot run node")?.stdout).trim() {
        "none" => Ok(&[]),
        "flag" => Ok(&["--experimental-websocket"]),
        version => bail!("node {version} has no client of WebSockets; one of 20.10 or newer is needed"),
    }
}

impl Found {
    fn read(found: &Value) -> Self {
        let counts = |what: &str| found[what].as_object().into_iter().flatten();
        let count = |count: &Value| count.as_u64().and_then(|count| usize::try_from(count).ok());
        let read = |what| counts(what).map(|(by, all)| (by.clone(), count(all).unwrap_or(0))).collect();
        let last = found["last"].as_str().unwrap_or("nobody").to_owned();
        Self { answers: read("answers"), unavailable: read("unavailable"), failed: read("failed"), last }
    }
}

impl Seen {
    /// Returns what came on one wire.
    pub(super) fn on(&self, wire: &str) -> Found {
        self.0.get(wire).cloned().unwrap_or_default()
    }

    /// Fails unless these versions answer now, each on its wires.
    pub(super) fn expect_served_by(&self, versions: &[(&str, &str)]) -> Result<()> {
        for (wire, service) in WIRES {
            let version =
                versions.iter().find(|(name, _)| *name == service).map_or("", |(_, version)| version);
            let (label, last) = (format!("{service}@{version}"), self.on(wire).last);
            ensure!(last == label, "{wire} over TLS is served by {last} instead of {label}");
        }
        Ok(())
    }

    fn expect_good(&self, unavailable: Unavailable) -> Result<()> {
        for (wire, _) in WIRES {
            let Found { answers, unavailable: away, failed, .. } = self.on(wire);
            ensure!(failed.is_empty(), "{wire} over TLS failed, how often for which reason: {failed:#?}");
            ensure!(!answers.is_empty(), "{wire} over TLS was not answered");
            let is_expected = unavailable == Unavailable::Expected || away.is_empty();
            ensure!(is_expected, "{wire} over TLS ended with UNAVAILABLE: {away:#?}");
        }
        Ok(())
    }
}

/// Whether calls may end with `UNAVAILABLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unavailable {
    Expected,
    Failure,
}

impl fmt::Display for Seen {
    /// Says who answers now.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&WIRES.map(|(wire, _)| format!("{wire} {}", self.on(wire).last)).join(", "))
    }
}

/// Says how often each wire was answered.
pub(super) fn counted(answers: &Answers) -> String {
    let counted = |(wire, _)| format!("{wire} {}", answers.get(wire).copied().unwrap_or_default());
    WIRES.map(counted).join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(failed: &Value, unavailable: &Value) -> Seen {
        let good = |(wire, service): (&str, _)| {
            let (old, new) = (format!("{service}@1.0.0"), format!("{service}@1.1.0"));
            (wire.to_owned(), Found::read(&json!({ "answers": { old: 3, &new: 4 }, "last": new })))
        };
        let mut all: BTreeMap<_, _> = WIRES.into_iter().map(good).collect();
        let bad = json!({ "answers": { "a@1.0.0": 1 }, "unavailable": unavailable, "failed": failed });
        all.insert("gRPC".to_owned(), Found { last: "catalog@1.1.0".to_owned(), ..Found::read(&bad) });
        Seen(all)
    }

    #[test]
    fn one_failure_or_one_silent_wire_is_a_bad_end() {
        let good = seen(&json!({}), &json!({}));
        assert!(good.expect_good(Unavailable::Failure).is_ok());
        assert!(seen(&json!({ "late": 1 }), &json!({})).expect_good(Unavailable::Expected).is_err());
        let away = seen(&json!({}), &json!({ "catalog@1.4.0": 2 }));
        assert!(
            away.expect_good(Unavailable::Failure).is_err()
                && away.expect_good(Unavailable::Expected).is_ok()
        );
        let mut silent = good;
        silent.0.remove("WebSocket");
        assert!(silent.expect_good(Unavailable::Failure).is_err());
    }

    #[test]
    fn who_answers_now_must_be_who_runs() {
        let seen = seen(&json!({}), &json!({}));
        let versions = [("catalog", "1.1.0"), ("orders", "1.1.0"), ("storefront", "1.1.0")];
        assert!(seen.expect_served_by(&versions).is_ok());
        for place in 0..versions.len() {
            let mut others = versions;
            others[place].1 = "1.0.0";
            assert!(seen.expect_served_by(&others).is_err(), "{others:?}");
        }
    }
}
