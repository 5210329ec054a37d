//! Services that speak TCP: bytes pass as they come, a connection stays where it is, and what becomes of it is counted.

mod ends;
mod names;
mod seen;
pub(crate) mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use lockstep_domain::entry::{Entry, EntrySettings};
use lockstep_domain::listeners::{CallerListeners, Listeners, OpenedBy, nth};
use lockstep_domain::routes::FORMAT_WITH_TCP;
use lockstep_gateway::this_host;

use crate::support::{Running, as_instance, canary, environment, stable, wait_until};
use support::{Instance, Opened, open, open_with, over_tcp};

/// Bytes that differ from place to place and from connection to connection.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
fn no_byte_is_lost_or_mixed_in_either_direction() {
    let echo = Instance::echo();
    let Opened { running, port } = open(&[stable(0, &[("shop-1", echo.address)])]);
    let clients = (0..12_u64).map(|seed| {
        thread::spawn(move || {
            let mut stream = TcpStream::connect(port).unwrap();
            let sent = bytes(seed, 1_500_000 + seed as usize);
            let (mut writer, all) = (stream.try_clone().unwrap(), sent.clone());
            let writing = thread::spawn(move || {
                writer.write_all(&all).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            writing.join().unwrap();
            assert!(got == sent, "{seed}");
        })
    });
    clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().unwrap());
    wait_until("all are over", || running.in_flight() == 0);
    let all: usize = (0..12).map(|seed| 1_500_000 + seed).sum();
    let metrics = running.gateway.admin().metrics();
    let labels = "deployment_environment_name=\"production\",service_name=\"shop\",service_version=\"1.0.0\",config=\"0\"";
    for line in [
        format!("lockstep_gateway_tcp_connections_total{{{labels},end=\"client\"}} 12"),
        format!("lockstep_gateway_tcp_bytes_total{{{labels},direction=\"up\"}} {all}"),
        format!("lockstep_gateway_tcp_bytes_total{{{labels},direction=\"down\"}} {all}"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
    assert_eq!((running.traffic(0).requests, running.traffic(0).failures), (12, 0));
}

#[test]
fn the_end_of_one_direction_leaves_the_other_open() {
    let sums = Instance::start(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(format!("{} bytes", all.len()).as_bytes()).unwrap();
    });
    let says_first = Instance::start(|mut stream| {
        stream.write_all(b"220 hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"still here");
    });
    let Opened { running, port } = open(&[stable(0, &[("shop-1", sums.address)])]);
    let mut client = TcpStream::connect(port).unwrap();
    client.write_all(&bytes(1, 300_000)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "300000 bytes");
    let again = over_tcp(&[stable(0, &[("shop-2", says_first.address)])], running.table_entry(), 9);
    running.gateway.apply(again).unwrap();
    let mut client = TcpStream::connect(port).unwrap();
    let mut greeting = String::new();
    client.read_to_string(&mut greeting).unwrap();
    assert_eq!(greeting, "220 hello");
    client.write_all(b"still here").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    wait_until("it ended", || says_first.ended() == 1);
    wait_until("both are counted", || {
        let metrics = running.gateway.admin().metrics();
        metrics.contains("end=\"client\"} 1") && metrics.contains("end=\"instance\"} 1")
    });
}

#[test]
fn connections_are_split_by_weight_and_stay_where_they_are() {
    let (old, new) = (Instance::echo_after("old"), Instance::echo_after("new"));
    let arms = |weight| canary(weight, ("new", new.address), ("old", old.address));
    let Opened { running, port } = open(&arms(3_000));
    let connect = || {
        let (mut stream, mut name) = (TcpStream::connect(port).unwrap(), [0; 3]);
        stream.read_exact(&mut name).unwrap();
        (stream, name)
    };
    let connections: Vec<_> = (0..400).map(|_| connect()).collect();
    let news = connections.iter().filter(|(_, name)| name == b"new").count();
    // Five standard deviations of 400 draws.
    assert!((75..165).contains(&news), "{news}");
    running.gateway.apply(over_tcp(&arms(10_000), running.table_entry(), 9_000)).unwrap();
    assert_eq!(&connect().1, b"new");
    for (mut stream, name) in connections {
        stream.write_all(b"here").unwrap();
        let mut same = [0; 4 + 3];
        stream.read_exact(&mut same).unwrap();
        assert_eq!(same, *[b"here", &name[..]].concat());
    }
}

#[test]
fn an_instance_calls_by_host_and_port_and_each_of_its_connections_is_drawn() {
    let (old, new) = (Instance::named("old"), Instance::named("new"));
    let arms = canary(5_000, ("new", new.address), ("old", old.address));
    let running = Running::start(&arms);
    let ip = nth(u64::from(std::process::id()) << 5 | 17).into();
    let caller = CallerListeners {
        instance: "web-1".parse().unwrap(),
        arm: lockstep_domain::Arm {
            service: "web".parse().unwrap(),
            version: lockstep_domain::VersionNumber::new(3, 0, 0),
            config: lockstep_domain::ConfigRevision(0),
            process: None,
        },
        user: None,
        opened_by: OpenedBy::Run("test".into()),
        services: [("shop".parse().unwrap(), SocketAddr::new(ip, 17_000))].into(),
    };
    let user = rustix::process::getuid().as_raw();
    let listeners = Listeners { host: this_host(), user, callers: vec![caller] };
    let table = over_tcp(&arms, Entry::default(), 5).with_listeners(Some(listeners));
    assert_eq!(table.format, FORMAT_WITH_TCP);
    running.gateway.apply(table).unwrap();
    let mut counts = BTreeMap::<String, u64>::new();
    for _ in 0..100 {
        let mut name = String::new();
        TcpStream::connect((ip, 17_000)).unwrap().read_to_string(&mut name).unwrap();
        *counts.entry(name).or_default() += 1;
    }
    assert!(counts["old"] > 20 && counts["new"] > 20, "{counts:?}");
    for (minor, name) in [(0, "old"), (1, "new")] {
        let line = format!(
            "caller_config=\"0\",service_name=\"shop\",service_version=\"1.{minor}.0\",config=\"0\",class=\"tcp\"}} {}",
            counts[name]
        );
        wait_until(&line, || running.gateway.admin().metrics().contains(&line));
    }
}

#[test]
fn a_request_of_http_is_told_what_the_service_speaks() {
    let echo = Instance::echo();
    let Opened { running, .. } = open(&[stable(0, &[("shop-1", echo.address)])]);
    for path in ["/", &as_instance("/@shop/x")] {
        let answer = running.client().get(path, "ann").unwrap();
        assert_eq!(answer.status(), 502);
        assert!(answer.text().contains("speaks_tcp"), "{}", answer.text());
    }
    assert_eq!(echo.begun(), 0);
}

#[test]
fn a_port_that_another_program_has_is_said_and_taken_when_it_is_free() {
    let named = Instance::named("it");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap();
    let running = Running::start(&[stable(0, &[("shop-1", named.address)])]);
    let tcp = vec![format!("{}=shop", port.port()).parse().unwrap()];
    let entry = Entry { settings: EntrySettings { tcp, ..EntrySettings::default() }, ..Entry::default() };
    let table = over_tcp(&[stable(0, &[("shop-1", named.address)])], entry, 2);
    running.gateway.apply(table).unwrap();
    let closed = running.gateway.closed_ports(&environment());
    assert!(matches!(closed.as_slice(), [(at, why)] if *at == port && why.contains("in use")), "{closed:?}");
    assert!(
        running
            .gateway
            .admin()
            .metrics()
            .contains("tcp_ports_closed{deployment_environment_name=\"production\"} 1")
    );
    drop(taken);
    running.gateway.keep_listeners(&environment());
    assert_eq!(running.gateway.closed_ports(&environment()), []);
    let mut name = String::new();
    TcpStream::connect(port).unwrap().read_to_string(&mut name).unwrap();
    assert_eq!(name, "it");
    let table = over_tcp(&[stable(0, &[("shop-1", named.address)])], Entry::default(), 3);
    running.gateway.apply(table).unwrap();
    wait_until("the port is closed", || TcpStream::connect(port).is_err());
}

#[test]
fn a_silent_connection_ends_only_where_that_was_asked_for() {
    let echo = Instance::echo();
    let idle = EntrySettings { tcp_idle_ms: Some(1_000), ..EntrySettings::default() };
    let Opened { running, port } = open_with(&[stable(0, &[("shop-1", echo.address)])], &idle);
    let mut client = TcpStream::connect(port).unwrap();
    client.write_all(b"x").unwrap();
    let mut got = [0];
    client.read_exact(&mut got).unwrap();
    assert!(client.read_exact(&mut got).is_err(), "it is reset and not ended");
    wait_until("it is counted", || running.gateway.admin().metrics().contains("end=\"idle\"} 1"));
}
