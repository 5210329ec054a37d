//! Connections as people see them: among the last requests, in `top`, and explained before they are opened.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use lockstep_domain::entry::EntrySettings;
use lockstep_domain::gateway_rules::GatewayRules;
use lockstep_gateway::GatewayConfig;
use lockstep_gateway::explain::{ConnectionQuestion, Explanation, Outcome, explain_connection};

use super::support::{Instance, Opened, nobody, open, open_on};
use crate::support::{canary, environment, stable, wait_until};

#[test]
fn connections_are_among_the_last_requests_and_in_top_with_their_bytes() {
    let echo = Instance::echo();
    let config = GatewayConfig { recent: 10, ..GatewayConfig::new("test") };
    let Opened { running, port } =
        open_on(config, &[stable(0, &[("shop-1", echo.address)])], &EntrySettings::default());
    let admin = running.gateway.admin();
    let mut client = TcpStream::connect(port).unwrap();
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let first = || admin.recent(10, None).requests.into_iter().find(|one| one.tcp.is_some()).unwrap();
    let under_way = first();
    assert_eq!((under_way.service.as_deref(), under_way.ended.is_none()), (Some("shop"), true));
    assert_eq!(admin.traffic().environments["production"].tcp["shop@1.0.0"].under_way, 1);
    drop(client);
    wait_until("it is over", || first().ended.is_some());
    let (one, tcp) = (first(), first().tcp.unwrap());
    assert_eq!((one.version.as_deref(), one.ended.unwrap().end.as_str()), (Some("1.0.0"), "client"));
    assert_eq!((tcp.port, tcp.bytes_up, tcp.bytes_down), (port.port(), 5, 5));
    let counted = admin.traffic().environments["production"].clone();
    assert!(!counted.versions.contains_key("shop@1.0.0"), "it has no requests");
    let counted = &counted.tcp["shop@1.0.0"];
    assert_eq!((counted.connections, counted.failures, counted.bytes_up, counted.bytes_down), (1, 0, 5, 5));
}

fn explained(running: &crate::support::Running, address: &str) -> Explanation {
    let table = (*running.gateway.serving(&environment()).unwrap()).clone();
    explain_connection(table, &ConnectionQuestion::new(address).unwrap()).unwrap()
}

fn service(explained: &Explanation) -> (&str, Option<&str>) {
    match &explained.outcome {
        Outcome::Connected { service, version, .. } => (service, version.as_deref()),
        Outcome::Refused { code, .. } => (code, None),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_would_happen_to_a_connection_is_told_by_port_and_by_name() {
    let Opened { running, port } = open(&[stable(0, &[("shop-1", nobody())])]);
    let by_address = explained(&running, &format!("tcp://{port}"));
    assert_eq!(service(&by_address), ("shop", Some("1.0.0")));
    assert!(by_address.steps.iter().any(|step| step.says.contains("leads to shop")), "{by_address:?}");
    assert_eq!(service(&explained(&running, &format!("tcp://any.test:{}", port.port()))).0, "shop");
    assert_eq!(service(&explained(&running, "tcp://127.0.0.1:1")).0, "no_service");
    let settings: EntrySettings = serde_json::from_value(serde_json::json!({
        "tcp": [{ "port": 1, "host": "mqtt.shop.test", "service": "shop" }]
    }))
    .unwrap();
    let arms = canary(3_000, ("new", nobody()), ("old", nobody()));
    let Opened { running, port } = open_on(GatewayConfig::new("test"), &arms, &settings);
    let named = explained(&running, &format!("tcp://MQTT.shop.test:{}", port.port()));
    assert_eq!(service(&named), ("shop", None), "it is drawn for each connection");
    assert_eq!(service(&explained(&running, &format!("tcp://{port}"))).0, "no_service", "without its name");
    assert_eq!(service(&explained(&running, &format!("tcp://other.test:{}", port.port()))).0, "no_service");
}

#[test]
fn a_connection_that_finds_nobody_is_told_to_be_closed_and_is() {
    let Opened { running, port } = open(&[stable(0, &[])]);
    let told = explained(&running, &format!("tcp://{port}"));
    assert_eq!(service(&told).0, "no_instance", "{told:?}");
    assert!(told.steps.iter().any(|step| step.about == "instance" && step.says.contains("has no instance")));
    assert_eq!(TcpStream::connect(port).unwrap().read(&mut [0]).unwrap_or(0), 0, "it is closed");
}

#[test]
fn a_connection_to_what_is_maintained_is_closed_and_goes_to_no_other_version() {
    let (new, old) = (Instance::echo(), Instance::echo());
    let config = || GatewayConfig { recent: 10, ..GatewayConfig::new("test") };
    for (version, closed) in [(None, "maintenance"), (Some("1.1.0"), "maintenance"), (Some("1.0.0"), "shop")]
    {
        let arms = canary(10_000, ("new", new.address), ("old", old.address));
        let Opened { running, port } = open_on(config(), &arms, &EntrySettings::default());
        let mut table = (*running.gateway.serving(&environment()).unwrap()).clone();
        let page =
            serde_json::from_value(serde_json::json!({ "number": 3, "service": "shop", "version": version,
            "respond": { "status": 503 } }));
        table.rules = Some(GatewayRules { maintenance: vec![page.unwrap()], ..GatewayRules::default() });
        table.revision += 1;
        running.gateway.apply(table.in_its_format()).unwrap();
        let told = explained(&running, &format!("tcp://{port}"));
        assert_eq!(service(&told).0, closed, "{version:?} {told:?}");
        if closed == "maintenance" {
            assert_eq!(TcpStream::connect(port).unwrap().read(&mut [0]).unwrap_or(0), 0, "{version:?}");
            let recent = || running.gateway.admin().recent(1, None).requests.pop();
            wait_until("it is told why", || {
                recent().and_then(|it| it.ended).is_some_and(|it| it.end == closed)
            });
        }
    }
}
