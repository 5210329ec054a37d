//! Checks that a gateway makes by itself: what it sees, and that none of it counts as a request of a customer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockstep_domain::check::{CHECK_MARK, Check, CheckSeen, Expect, FORMAT_WITH_CHECKS, TableCheck};
use lockstep_domain::entry::{Entry, EntrySettings, PlainHttp};
use lockstep_domain::routes::RouteTable;

use crate::support::*;

fn check(request: &str, expect: Expect) -> TableCheck {
    let check = Check {
        name: "customers".into(),
        request: request.parse().unwrap(),
        host: Some("shop.test".into()),
        every_ms: 1_000,
        expect,
    };
    TableCheck { service: "shop".parse().unwrap(), check }
}

const fn expect() -> Expect {
    Expect { status: None, within_ms: 5_000, contains: None }
}

fn checked(revision: u64, arms: &[ArmSpec<'_>], checks: Vec<TableCheck>) -> RouteTable {
    RouteTable { checks, ..table(revision, arms) }.in_its_format()
}

fn found(running: &Running) -> Option<CheckSeen> {
    running.gateway.receipt(&environment()).checks.pop()
}

/// Waits until a check was made as often as this, and returns what was found.
fn after_runs(running: &Running, runs: u64) -> CheckSeen {
    wait_until("the check ran", || found(running).is_some_and(|it| it.passed + it.failed >= runs));
    found(running).unwrap()
}

fn answering(status: u16, body: &'static str) -> (Instance, Arc<Mutex<Vec<Message>>>) {
    let heard = Arc::<Mutex<Vec<Message>>>::default();
    let kept = Arc::clone(&heard);
    let instance = Instance::start(move |request, stream| {
        use std::io::Write as _;
        kept.lock().unwrap().push(request.clone());
        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.get_mut().write_all(head.as_bytes())?;
        Ok(Then::Stay)
    });
    (instance, heard)
}

fn requests_counted(running: &Running) -> u64 {
    running
        .gateway
        .admin()
        .metrics()
        .lines()
        .filter(|line| line.contains("_requests_total{"))
        .map(value)
        .sum()
}

fn value(line: &str) -> u64 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_check_goes_the_way_of_a_client_and_counts_as_none() {
    let (instance, heard) = answering(200, "all up");
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    let contains = Some("up".to_owned());
    let checks = vec![check("GET /orders/7?x=1", Expect { contains, ..expect() })];
    running.gateway.apply(checked(2, &arms, checks)).unwrap();
    let seen = after_runs(&running, 2);
    assert_eq!((seen.failed, seen.failed_in_a_row), (0, 0), "{seen:?}");
    assert_eq!(seen.last.unwrap().version.as_deref(), Some("shop@1.0.0"));
    let request = heard.lock().unwrap()[0].clone();
    assert_eq!(request.start, "GET /orders/7?x=1 HTTP/1.1");
    let field = |name: &str| request.header(name).unwrap_or_default().to_owned();
    assert!(field("user-agent").starts_with("lockstep-check/"), "{request:?}");
    assert!(field("baggage").contains(&format!("lockstep.rules={CHECK_MARK}")), "{request:?}");
    assert_eq!((running.traffic(0).requests, requests_counted(&running)), (0, 0));
    assert!(
        running.gateway.receipt(&environment()).latencies.iter().all(|(_, it)| it.iter().sum::<u64>() == 0)
    );
    let metrics = running.gateway.admin().metrics();
    let passed = "lockstep_gateway_check_runs_total{deployment_environment_name=\"production\",service_name=\"shop\",check=\"customers\",result=\"passed\"}";
    assert!(metrics.lines().any(|line| line.starts_with(passed) && value(line) >= 2), "{metrics}");
}

#[test]
fn what_a_check_causes_in_the_chain_is_not_counted_and_what_a_client_claims_is() {
    let (instance, _) = answering(200, "");
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    running.gateway.apply(checked(2, &arms, vec![check("GET /", expect())])).unwrap();
    let ask = |path: &str| {
        let claim = format!("baggage: lockstep.rules={CHECK_MARK}\r\n");
        running.client().ask(format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{claim}\r\n")).unwrap()
    };
    assert_eq!(ask(&as_instance("/@shop/a")).status(), 200);
    assert_eq!(running.traffic(0).requests, 0, "an instance that was asked by a check");
    assert_eq!(ask("/a").status(), 200);
    assert_eq!(running.traffic(0).requests, 1, "a client who says that it is one");
}

#[test]
fn what_is_wrong_is_said_with_the_version_that_answered() {
    let (instance, _) = answering(500, "");
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    running.gateway.apply(checked(2, &arms, vec![check("GET /", expect())])).unwrap();
    let seen = after_runs(&running, 2);
    assert_eq!((seen.passed, seen.failed_in_a_row), (0, seen.failed as u32));
    let last = seen.last.unwrap();
    assert_eq!(last.fault.as_deref(), Some("was answered 500 instead of 200 to 299"));
    assert_eq!(last.version.as_deref(), Some("shop@1.0.0"));
    assert_eq!(running.traffic(0).failures, 0);
    // Nobody answers any more, and then the version has no check.
    running.gateway.apply(checked(3, &[stable(0, &[])], vec![check("GET /", expect())])).unwrap();
    wait_until("503", || {
        let last = found(&running).and_then(|it| it.last);
        last.is_some_and(|it| it.version.is_none() && it.fault.unwrap_or_default().contains("503"))
    });
    running.gateway.apply(checked(4, &arms, Vec::new())).unwrap();
    assert_eq!(found(&running), None);
}

#[test]
fn an_answer_that_comes_too_late_or_never_ends_fails_in_time() {
    let instance = Instance::start(|_, stream| {
        use std::io::Write as _;
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")?;
        Ok(Then::Stay)
    });
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    let checks = vec![check("GET /", Expect { within_ms: 50, ..expect() })];
    running.gateway.apply(checked(2, &arms, checks)).unwrap();
    let last = after_runs(&running, 1).last.unwrap();
    assert_eq!(last.fault.as_deref(), Some("was not answered within 50 ms"));
    assert!(Duration::from_millis(last.took_ms) >= Duration::from_millis(50));
}

#[test]
fn where_clients_come_by_https_a_check_does_too() {
    let (instance, heard) = answering(200, "");
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    let settings =
        EntrySettings { http: PlainHttp::Redirect, https_port: Some(443), ..EntrySettings::default() };
    let entry = Some(Entry { settings, ..Entry::default() });
    let table = RouteTable { entry, ..checked(2, &arms, vec![check("GET /", expect())]) };
    running.gateway.apply(table.in_its_format()).unwrap();
    assert_eq!(after_runs(&running, 1).failed, 0);
    assert_eq!(heard.lock().unwrap()[0].header("x-forwarded-proto"), Some("https"));
}

#[test]
fn a_service_without_a_route_is_checked_by_its_name() {
    let (instance, heard) = answering(200, "");
    let arms = [stable(0, &[("one", instance.address)])];
    let running = Running::start(&arms);
    running.gateway.apply(checked(2, &arms, vec![check("GET /@shop/inner", expect())])).unwrap();
    assert_eq!(after_runs(&running, 1).failed, 0);
    assert_eq!(heard.lock().unwrap()[0].start, "GET /inner HTTP/1.1");
}

#[test]
fn only_a_table_with_checks_needs_gateways_that_make_them() {
    assert_eq!(checked(1, &[], vec![check("GET /", expect())]).format, FORMAT_WITH_CHECKS);
    assert!(checked(1, &[], Vec::new()).format < FORMAT_WITH_CHECKS);
}
