//! How connections end that nobody ended in an orderly way, and what a version is judged by.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use lockstep_domain::entry::{Entry, EntrySettings};
use lockstep_domain::routes::RouteTable;
use lockstep_domain::watch::{AnswerChecks, Watch};
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, GatewayConfig};
use lockstep_judge::StatusClass;
use socket2::SockRef;

use super::support::{Instance, Opened, nobody, open, open_on, over_tcp};
use crate::support::{ArmSpec, canary, environment, stable, wait_until};

fn read(stream: &mut TcpStream) -> Result<String, ErrorKind> {
    let mut text = String::new();
    stream.read_to_string(&mut text).map(|_| text).map_err(|error| error.kind())
}

/// An instance that breaks each connection off, once it has taken something.
fn broken() -> Instance {
    Instance::start(|mut stream| {
        let _ = stream.read(&mut [0]);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
}

fn on_trial(arms: &[ArmSpec<'_>], entry: Entry, revision: u64) -> RouteTable {
    let mut table = over_tcp(arms, entry, revision);
    let statuses = [StatusClass::NO_ANSWER, StatusClass::SERVER_ERROR].map(|it| it.parse().unwrap());
    for routes in table.services.values_mut() {
        routes.watch = Some(Watch {
            trial: "operation 1".into(),
            operations: Vec::new(),
            statuses: statuses.clone().into(),
            latency_bounds_ms: Default::default(),
            answers: AnswerChecks::Off,
        });
    }
    table
}

#[test]
fn what_breaks_off_is_reset_on_the_other_side_and_never_looks_like_an_end() {
    let half = Instance::start(|mut stream| {
        stream.write_all(b"half of it").unwrap();
        let _ = stream.read(&mut [0]);
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let Opened { running, port } = open(&[stable(0, &[("shop-1", half.address)])]);
    let mut client = TcpStream::connect(port).unwrap();
    let mut got = [0; 10];
    client.read_exact(&mut got).unwrap();
    client.write_all(b"x").unwrap();
    assert_eq!(read(&mut client), Err(ErrorKind::ConnectionReset));
    let held = Instance::start(|mut stream| {
        stream.write_all(b"held").unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
    running
        .gateway
        .apply(over_tcp(&[stable(0, &[("shop-2", held.address)])], running.table_entry(), 50))
        .unwrap();
    let mut client = TcpStream::connect(port).unwrap();
    client.read_exact(&mut got[..4]).unwrap();
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    wait_until("both are counted", || {
        let metrics = running.gateway.admin().metrics();
        metrics.contains("end=\"instance_reset\"} 1") && metrics.contains("end=\"client_reset\"} 1")
    });
    wait_until("the instance was told", || held.ended() == 1);
}

#[test]
fn who_takes_no_connection_is_passed_over() {
    let named = Instance::named("it");
    let Opened { running, port } = open(&[stable(0, &[("shop-1", nobody()), ("shop-2", named.address)])]);
    for _ in 0..20 {
        assert_eq!(read(&mut TcpStream::connect(port).unwrap()).as_deref(), Ok("it"));
    }
    wait_until("all are over", || running.in_flight() == 0);
    assert_eq!(running.traffic(0).failures, 0, "no client has met it");
    let none = over_tcp(&[stable(0, &[("shop-1", nobody())])], running.table_entry(), 50);
    running.gateway.apply(none).unwrap();
    assert_eq!(read(&mut TcpStream::connect(port).unwrap()), Err(ErrorKind::ConnectionReset));
    wait_until("it is counted", || running.traffic(0).failures == 1);
    wait_until("it is said", || {
        let metrics = running.gateway.admin().metrics();
        metrics.contains("end=\"unreachable\"} 1") && metrics.contains("tcp_connect_failures_total")
    });
}

/// Tells what was counted for the verdict: of the candidate, and of the other.
fn judged(opened: &Opened) -> [(u64, u64); 2] {
    let receipt = opened.running.gateway.receipt(&environment());
    let of = |minor: u64| {
        let arms = receipt.watched.iter().flat_map(|watched| &watched.arms);
        let mine = arms.filter(|(arm, _)| arm.version.minor() == minor).map(|(_, counts)| &counts.total);
        let none = StatusClass::NO_ANSWER.parse::<StatusClass>().unwrap();
        mine.fold((0, 0), |(all, failed), counts| {
            (all + counts.requests, failed + counts.statuses.get(&none).map_or(0, |seen| seen.keys))
        })
    };
    [of(1), of(0)]
}

#[test]
fn a_version_on_trial_is_judged_by_connections_that_it_does_not_take_or_breaks_off_before_a_byte() {
    let old = Instance::start(|mut stream| {
        stream.read_exact(&mut [0]).unwrap();
        stream.write_all(b"old").unwrap();
    });
    for (revision, new) in [(10, nobody()), (20, broken().address)] {
        let opened = open(&canary(5_000, ("new", new), ("old", old.address)));
        let arms = canary(5_000, ("new", new), ("old", old.address));
        let table = on_trial(&arms, opened.running.table_entry(), revision);
        opened.running.gateway.apply(table).unwrap();
        let mut failed = 0;
        for _ in 0..60 {
            let mut client = TcpStream::connect(opened.port).unwrap();
            // Who is reset at once may not even get to say it.
            let _ = client.write_all(b"x");
            failed += u64::from(read(&mut client).is_err());
        }
        wait_until("all are over", || opened.running.in_flight() == 0);
        wait_until("all are counted", || judged(&opened).iter().map(|(all, _)| all).sum::<u64>() >= 60);
        let [new_seen, old_seen] = judged(&opened);
        assert_eq!(old_seen.1, 0);
        assert!(new_seen.0 > 8 && new_seen.0 == new_seen.1, "{new_seen:?}");
        let is_nobody = revision == 10;
        assert_eq!(
            failed,
            if is_nobody { 0 } else { new_seen.1 },
            "the old version serves whom the new one does not take"
        );
    }
}

#[test]
fn who_leaves_before_a_byte_says_nothing_of_the_version() {
    let silent = Instance::start(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let opened = open(&canary(5_000, ("new", silent.address), ("old", silent.address)));
    let arms = canary(5_000, ("new", silent.address), ("old", silent.address));
    opened.running.gateway.apply(on_trial(&arms, opened.running.table_entry(), 10)).unwrap();
    (0..20).for_each(|_| drop(TcpStream::connect(opened.port).unwrap()));
    wait_until("all are counted", || judged(&opened).iter().map(|(all, _)| all).sum::<u64>() == 20);
    assert_eq!(judged(&opened).map(|(_, failed)| failed), [0, 0]);
}

/// A client that has said something, and the instance knows.
fn greeted(port: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(port).unwrap();
    client.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    client.write_all(b"hi").unwrap();
    client.read_exact(&mut [0; 2]).unwrap();
    client
}

#[test]
fn an_instance_that_left_the_table_keeps_its_connections_for_the_drain_time_and_no_longer() {
    let (old, new) = (Instance::echo(), Instance::echo());
    let Opened { running, port } = open(&[stable(0, &[("old", old.address)])]);
    let mut stays = greeted(port);
    let after = |drain: u64, revision| {
        let entry = Entry { tcp_drain_ms: Some(drain), ..running.table_entry() };
        running.gateway.apply(over_tcp(&[stable(1, &[("new", new.address)])], entry, revision)).unwrap();
    };
    after(3_600_000, 50);
    drop(greeted(port));
    assert_eq!((old.begun(), new.begun()), (1, 1));
    stays.write_all(b"still").unwrap();
    stays.read_exact(&mut [0; 5]).unwrap();
    after(0, 51);
    assert_eq!(stays.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    wait_until("it is counted", || running.gateway.admin().metrics().contains("end=\"drained\"} 1"));
    wait_until("the instance has lost it", || old.ended() == 1);
    let mut back = greeted(port);
    running
        .gateway
        .apply(over_tcp(&[stable(0, &[("old", old.address)])], running.table_entry(), 52))
        .unwrap();
    running
        .gateway
        .apply(over_tcp(
            &[stable(1, &[("new", new.address)])],
            Entry { tcp_drain_ms: Some(3_600_000), ..running.table_entry() },
            53,
        ))
        .unwrap();
    back.write_all(b"on").unwrap();
    back.read_exact(&mut [0; 2]).unwrap();
}

#[test]
fn a_connection_that_the_end_of_the_gateway_cuts_has_a_line_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let access_log = Some(AccessLogConfig::new(AccessLogTarget::File(path.clone())));
    let config = GatewayConfig { access_log, ..GatewayConfig::new("test") };
    let echo = Instance::echo();
    let arms = [stable(0, &[("shop-1", echo.address)])];
    let Opened { running, port } = open_on(config, &arms, &EntrySettings::default());
    let mut client = TcpStream::connect(port).unwrap();
    client.write_all(b"hello").unwrap();
    client.read_exact(&mut [0; 5]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(running.gateway.shutdown(Duration::from_millis(10)));
    let log = std::fs::read_to_string(path).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&line["end"], &line["bytes_up"], &line["bytes_down"]), (&"cut".into(), &5.into(), &5.into()));
}
