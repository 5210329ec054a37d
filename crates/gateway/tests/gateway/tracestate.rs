//! The key in `tracestate`: believed from whom `baggage` is believed, and a way through services that pass on only their trace.

use std::collections::BTreeSet;

use crate::support::{Instance, Message, Running, answer, as_instance, canary, stable};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn traceparent() -> String {
    format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n")
}

/// Answers with its own trace, or with what stands for no field.
fn echo() -> Instance {
    Instance::start(|request, stream| {
        let field = |name: &str| request.header(name).unwrap_or("none").to_owned();
        let lines =
            ["traceparent", "tracestate", "baggage"].map(|name| format!("{name}: {}\r\n", field(name)));
        answer(stream, 200, lines.concat().as_bytes())
    })
}

/// What the instance got in `tracestate`.
fn state(answer: &Message) -> String {
    let text = answer.text();
    text.lines().find_map(|line| line.strip_prefix("tracestate: ")).unwrap_or_default().to_owned()
}

fn ask(running: &Running, path: &str, fields: &str) -> Message {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\n{fields}\r\n");
    running.client().ask(request).unwrap()
}

#[test]
fn the_key_goes_before_what_others_keep_in_the_trace() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let trace = traceparent();
    let got = |fields: String| state(&ask(&running, "/", &fields));
    assert_eq!(got("cookie: lockstep_key=ann=\r\n".into()), "lockstep=ann%3D");
    let two = format!("{trace}tracestate: dd=s:1\r\nx-lockstep-key: ann\r\nTraceState: es=s:1;x, a@b=2\r\n");
    assert_eq!(got(two), "lockstep=ann,dd=s:1,es=s:1;x,a@b=2");
    assert_eq!(got(format!("{trace}tracestate: dd=s:1\r\n")), "dd=s:1", "the key is the trace's id");
    assert_eq!(got(trace.clone()), "none");
    assert_eq!(got(String::new()), "none");
    let taken_off =
        format!("{trace}tracestate: dd=s:1\r\nconnection: tracestate\r\ncookie: lockstep_key=ann\r\n");
    assert_eq!(got(taken_off), "lockstep=ann");
    let full = format!("dd={}", "x".repeat(506));
    assert_eq!(got(format!("{trace}tracestate: {full}\r\ncookie: lockstep_key=ann\r\n")), full);
    let binary = ask(&running, "/", &format!("{trace}x-lockstep-key: ann\r\ntracestate: \u{fffd}=1\r\n"));
    assert_eq!(binary.status(), 200);
}

#[test]
fn a_stranger_is_not_believed_and_leaves_nothing_that_comes_back_from_an_instance() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let trace = traceparent();
    for claim in ["lockstep=eve", "lockstep =eve,a=1", "Lockstep=eve", "a=1,lockstep=eve,lockstep=eva"] {
        let fields = format!("{trace}tracestate: {claim}\r\n");
        let stranger = ask(&running, "/", &fields);
        assert!(!stranger.text().contains("ev"), "{claim}: {}", stranger.text());
        assert!(stranger.text().contains(&format!("baggage: lockstep.key={TRACE}")));
    }
    let instance = ask(&running, &as_instance("/"), &format!("{trace}tracestate: lockstep=eve\r\n"));
    assert!(instance.text().contains("baggage: lockstep.key=eve"), "{}", instance.text());
}

#[test]
fn baggage_comes_first_and_what_belongs_to_no_trace_is_not_believed() {
    let echo = echo();
    let running = Running::start(&[stable(0, &[("echo", echo.address)])]);
    let trace = traceparent();
    let key = |fields: String| {
        let text = ask(&running, &as_instance("/"), &fields).text();
        let baggage = text.lines().find_map(|line| line.strip_prefix("baggage: lockstep.key=")).unwrap();
        baggage.split(',').next().unwrap().to_owned()
    };
    let both = format!("{trace}tracestate: lockstep=ann\r\nbaggage: lockstep.key=bob\r\n");
    assert_eq!(key(both.clone()), "bob");
    assert_eq!(state(&ask(&running, &as_instance("/"), &both)), "lockstep=bob");
    let cookie = format!("{trace}tracestate: lockstep=ann\r\ncookie: lockstep_key=bob\r\n");
    assert_eq!(key(cookie), "ann");
    let unusable = format!("{trace}tracestate: lockstep=ann\r\nbaggage: lockstep.key=\r\n");
    assert_eq!(key(unusable), "ann");
    for broken in ["", "traceparent: 00-0-0-0\r\n", &format!("{trace}{trace}")] {
        let fields = format!("{broken}tracestate: lockstep=ann\r\nx-lockstep-key: bob\r\n");
        assert_eq!(key(fields), "bob", "{broken}");
    }
    let long = format!("{trace}tracestate: lockstep={}\r\n", "x".repeat(257));
    assert_eq!(key(long), TRACE);
}

#[test]
fn a_client_stays_on_its_side_behind_a_service_that_passes_on_only_its_trace() {
    let (old, new) = (echo(), echo());
    let running = Running::start(&canary(5_000, ("new", new.address), ("old", old.address)));
    let mut seen = BTreeSet::new();
    for n in 0..60 {
        let first = ask(&running, "/", &format!("cookie: lockstep_key=user {n}\r\n"));
        let mut hop = first.text();
        for _ in 0..3 {
            // A tracing library keeps the trace and gives it another parent.
            let trace: String =
                hop.lines().filter(|it| it.starts_with("trace")).map(|it| format!("{it}\r\n")).collect();
            let next = ask(&running, &as_instance("/"), &trace);
            assert_eq!(next.version(), first.version(), "user {n}");
            hop = next.text();
        }
        seen.insert(first.version().to_owned());
    }
    assert_eq!(seen.len(), 2, "both versions are met");
}
