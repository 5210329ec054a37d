//! `tls` and `proxy_protocol`: what comes before anything else on a connection to an instance.

use lockstep_domain::approach::{Approach, Believes, InstanceTls};
use lockstep_domain::run::Probe;

use crate::reader::Table;

const TLS: &str =
    "tls = { server_name = \"orders.internal\", ca_pem = \"\"\"-----BEGIN CERTIFICATE-----...\"\"\" }";
const PROXY: &str = "proxy_protocol = \"v2\"";
const NAMES: [(&str, &str); 2] = [("tls", TLS), ("proxy_protocol", PROXY)];

/// Reads both; `has_names` is whether every instance has the name of a host, which its certificate must be for where nothing else is said.
pub(crate) fn of(table: &Table<'_>, has_names: bool) -> Approach {
    let proxy_protocol = table.get("proxy_protocol", PROXY).and_then(|field| field.parse());
    let tls = table.table("tls", TLS).and_then(|tls| self::tls(&tls, has_names)).map(Box::new);
    Approach { proxy_protocol, tls }
}

fn tls(table: &Table<'_>, has_names: bool) -> Option<InstanceTls> {
    let text = |name, example| table.get(name, example).and_then(|field| Some(field.text()?.to_owned()));
    let any = table
        .get("accept_any_certificate", "accept_any_certificate = true")
        .and_then(|field| field.boolean());
    let tls = InstanceTls {
        server_name: text("server_name", "server_name = \"orders.internal\""),
        ca_pem: text("ca_pem", "ca_pem = \"\"\"-----BEGIN CERTIFICATE-----...\"\"\""),
        certificate: table.get("certificate", "certificate = \"gateway\"").and_then(|field| field.parse()),
        believes: if any == Some(true) { Believes::Everybody } else { Believes::Checked },
    };
    table.check_asked();
    let is_by_host = has_names && tls.server_name.is_none() && tls.believes == Believes::Checked;
    let checked = match is_by_host {
        true => InstanceTls { server_name: Some("host".to_owned()), ..tls.clone() }.check(),
        false => tls.check(),
    };
    checked.map_err(|error| table.contradicts(error)).ok().map(|()| tls)
}

/// Refuses both.
pub(super) fn refuse(table: &Table<'_>, why: &str) {
    for field in NAMES.iter().filter_map(|(name, example)| table.get(name, example)) {
        field.wrong_because(why, "remove it");
    }
}

/// Refuses checks of health that could not be made: a supervisor has no certificate to show.
pub(super) fn fits(table: &Table<'_>, approach: &Approach, probe: &Probe) {
    let is_shown = approach.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    let is_asked = matches!(probe, Probe::Grpc { .. } | Probe::Http { .. });
    if let (true, Some(field)) = (is_shown && is_asked, table.get("health", "")) {
        let hint = "ask by `tcp`, which shakes hands where there is TLS, or by `command`";
        field.wrong_because("it cannot be asked so: a check has no certificate to show", hint);
    }
}

#[cfg(test)]
mod tests {
    use lockstep_domain::approach::ProxyVersion;

    use super::*;
    use crate::parse::parse;

    const RUN: &str = "name = \"web\"\n[run]\ncommand = \"./serve\"\n";

    #[test]
    fn both_are_read_and_what_is_left_out_is_checked() {
        let pem = "-----BEGIN CERTIFICATE-----";
        let text = format!(
            "{RUN}proxy_protocol = \"v2\"\ntls = {{ server_name = \"a.test\", ca_pem = \"{pem}\", certificate = \"gateway\" }}"
        );
        let approach = parse(&text, "lockstep.toml").unwrap().run.approach;
        let tls = InstanceTls {
            server_name: Some("a.test".into()),
            ca_pem: Some(pem.into()),
            certificate: Some("gateway".parse().unwrap()),
            believes: Believes::Checked,
        };
        assert_eq!(approach, Approach { proxy_protocol: Some(ProxyVersion::V2), tls: Some(Box::new(tls)) });
        let any = format!("{RUN}tls = {{ accept_any_certificate = true }}");
        let any = parse(&any, "lockstep.toml").unwrap().run.approach;
        assert_eq!(any.tls.unwrap().believes, Believes::Everybody);
        assert!(parse(RUN, "lockstep.toml").unwrap().run.approach.is_plain());
    }

    #[test]
    fn health_is_asked_in_what_an_instance_speaks_behind_whatever_comes_before_it() {
        for more in ["proxy_protocol = \"v1\"", "protocol = \"h2c\"\ntls = { server_name = \"a\" }"] {
            for health in ["grpc = true", "http = \"/\""] {
                let text = format!("{RUN}{more}\nhealth = {{ {health} }}");
                assert!(parse(&text, "lockstep.toml").is_ok(), "{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_its_place() {
        for (run, field, why) in [
            ("command = \"x\"\ntls = {}", "run.tls", "the name that its certificate must be for"),
            (
                "command = \"x\"\ntls = { server_name = \"a\", verify = false }",
                "run.tls.verify",
                "unknown field",
            ),
            ("command = \"x\"\nproxy_protocol = \"v3\"", "run.proxy_protocol", "`v1` or `v2`"),
            (
                "command = \"x\"\nkind = \"worker\"\nproxy_protocol = \"v1\"",
                "run.proxy_protocol",
                "listens on no port",
            ),
            ("kind = \"static\"\nproxy_protocol = \"v1\"", "run.proxy_protocol", "served by Lockstep"),
            (
                "kind = \"external\"\naddress = \"http://x\"\nproxy_protocol = \"v1\"",
                "run.proxy_protocol",
                "somebody else",
            ),
            (
                "command = \"x\"\nhealth = { grpc = true }\ntls = { server_name = \"a\", certificate = \"b\" }",
                "run.health",
                "cannot be asked so",
            ),
            (
                "command = \"x\"\nhealth = { http = \"/\" }\ntls = { server_name = \"a\", certificate = \"b\" }",
                "run.health",
                "cannot be asked so",
            ),
        ] {
            let problems = parse(&format!("name = \"web\"\n[run]\n{run}"), "lockstep.toml").unwrap_err();
            let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(problems.len() == 1 && text.contains(field) && text.contains(why), "{run}: {text}");
        }
    }
}
