//! `[run] protocol`: what the instances speak on their port.

use lockstep_domain::ServiceName;
use lockstep_domain::protocol::Protocol;
use lockstep_domain::run::Probe;

use super::{check, contract, static_files};
use crate::reader::{Field, Table};

const EXAMPLE: &str = "protocol = \"h2c\"; for services that speak HTTP/2 without TLS, as gRPC servers do, or \"tcp\" for what is not HTTP";

/// Reads what the instances speak, whose health is asked so and who have a port or not.
pub(super) fn of(table: &Table<'_>, probe: &Probe, listens: bool) -> Protocol {
    if static_files::is_one(table) {
        refuse(table, Some(probe), "the files of a `static` service are served over HTTP/1.1");
        return Protocol::Http1;
    }
    let Some(field) = table.get("protocol", EXAMPLE) else { return probe.usual_protocol() };
    if !listens {
        field.wrong_because("it listens on no port, so it speaks nothing", "remove it");
    }
    let protocol = read(&field).unwrap_or_default();
    if let (false, Probe::Http { .. } | Probe::Grpc { .. }, Some(field)) =
        (protocol.is_http(), probe, table.get("health", ""))
    {
        field.wrong_because(
            "who speaks TCP is not asked by requests",
            "ask by `tcp`, as when nothing is said, or by `command`",
        );
    }
    protocol
}

/// Refuses what only requests of HTTP can reach, where the service speaks something else.
pub(super) fn refuse_beside(root: &Table<'_>, name: Option<&ServiceName>) {
    let service = name.map_or("NAME", |name| name.as_str());
    for (name, example) in [("route", "[[route]]"), ("check", check::EXAMPLE)] {
        let Some(field) = root.get(name, example) else { continue };
        let hint = format!(
            "remove each {example}, and open a port for it: lockstep environment set ENV --tcp PORT={service}"
        );
        field.wrong_because("it speaks TCP, so no request can reach it", hint);
    }
    let Some(table) = root.table("contract", contract::EXAMPLE) else { return };
    for field in contract::ANSWERS.iter().filter_map(|name| table.get(name, contract::EXAMPLE)) {
        field.wrong_because("it speaks TCP, so it answers no request", "remove it");
    }
}

/// Refuses all but HTTP/1.1.
pub(super) fn refuse(table: &Table<'_>, probe: Option<&Probe>, why: &str) {
    if let Some(field) = table.get("protocol", EXAMPLE) {
        field.wrong_because(why, "remove it");
    }
    if let (Some(Probe::Grpc { .. }), Some(field)) = (probe, table.get("health", "")) {
        field.wrong_because(why, "ask by `http` or `tcp`");
    }
}

/// Reads what is spoken.
pub(crate) fn read(field: &Field<'_>) -> Option<Protocol> {
    let text = field.text()?;
    let known = Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == text);
    if known.is_none() {
        field.wrong("what a service speaks is `http1`, `h2c` or `tcp`");
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;

    fn reads(run: &str) -> (Protocol, Probe) {
        let manifest = parse(&format!("name = \"web\"\n[run]\n{run}"), "lockstep.toml").unwrap();
        (manifest.run.protocol, manifest.run.health.probe)
    }

    fn problem(run: &str) -> String {
        let problems = parse(&format!("name = \"web\"\n[run]\n{run}"), "lockstep.toml").unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].to_string()
    }

    #[test]
    fn who_is_asked_in_grpc_speaks_http2_where_nothing_else_is_said() {
        let all = Probe::Grpc { service: String::new() };
        let one = Probe::Grpc { service: "shop.v1.Catalog".into() };
        let run = "command = \"./serve\"\n";
        assert_eq!(reads(run), (Protocol::Http1, Probe::Tcp));
        assert_eq!(reads(&format!("{run}protocol = \"h2c\"")), (Protocol::H2c, Probe::Tcp));
        assert_eq!(reads(&format!("{run}protocol = \"tcp\"")), (Protocol::Tcp, Probe::Tcp));
        assert_eq!(reads(&format!("{run}health = {{ grpc = true }}")), (Protocol::H2c, all.clone()));
        assert_eq!(reads(&format!("{run}health = {{ grpc = \"shop.v1.Catalog\" }}")), (Protocol::H2c, one));
        assert_eq!(
            reads(&format!("{run}protocol = \"http1\"\nhealth = {{ grpc = true }}")),
            (Protocol::Http1, all)
        );
    }

    #[test]
    fn what_cannot_speak_it_is_refused_in_its_place() {
        for (run, field, why) in [
            ("command = \"x\"\nprotocol = \"h2\"", "run.protocol", "is `http1`, `h2c` or `tcp`"),
            (
                "command = \"x\"\nprotocol = \"tcp\"\nhealth = { http = \"/\" }",
                "run.health",
                "not asked by requests",
            ),
            (
                "command = \"x\"\nprotocol = \"tcp\"\nhealth = { grpc = true }",
                "run.health",
                "not asked by requests",
            ),
            ("command = \"x\"\nprotocol = \"tcp\"\n[[route]]\npath = \"/\"", "route", "--tcp PORT=web"),
            (
                "command = \"x\"\nprotocol = \"tcp\"\n[contract]\nopenapi = \"a.yaml\"",
                "contract.openapi",
                "answers no request",
            ),
            ("command = \"x\"\nkind = \"worker\"\nprotocol = \"h2c\"", "run.protocol", "listens on no port"),
            ("kind = \"static\"\nprotocol = \"h2c\"", "run.protocol", "served over HTTP/1.1"),
            ("kind = \"static\"\nhealth = { grpc = true }", "run.health", "served over HTTP/1.1"),
            (
                "kind = \"external\"\naddress = \"http://x\"\nprotocol = \"h2c\"",
                "run.protocol",
                "asked in HTTP/1.1",
            ),
            (
                "kind = \"external\"\naddress = \"http://x\"\nhealth = { grpc = true }",
                "run.health",
                "asked in HTTP/1.1",
            ),
            ("command = \"x\"\nhealth = { grpc = false }", "run.health.grpc", "nobody knows"),
            ("command = \"x\"\nhealth = { grpc = \"a..b\" }", "run.health.grpc", "is like `shop.v1.Catalog`"),
            ("command = \"x\"\nhealth = { grpc = \"/a\" }", "run.health.grpc", "is like `shop.v1.Catalog`"),
        ] {
            let problem = problem(run);
            assert!(problem.contains(field) && problem.contains(why), "{run}: {problem}");
        }
    }
}
