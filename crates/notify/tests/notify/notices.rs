//! Notices: an ordinary one, and such as a hostile service would have them.

use std::collections::BTreeMap;

use lockstep_monitor::{Notice, NoticeAlert, NoticeChange, NoticeKind, Severity};
use proptest::prelude::*;

/// Now, in the tests.
pub(crate) const NOW: u64 = 1_764_560_000_000;

/// What a chat, a mail program or a parser could fall over.
const TRICKS: [&str; 40] = [
    "<!channel>",
    "<!here|here>",
    "<@U0123456>",
    "<https://evil.test|click>",
    "@all",
    "@channel",
    "@13800000000",
    "<@all>",
    "<@zhangsan>",
    "<at id=all></at>",
    "<at user_id=\"all\">everybody</at>",
    "<at>ann@example.org</at>",
    "[click](https://evil.test)",
    "![x](https://evil.test/a.png)",
    "https://evil.test/login",
    "www.evil.test",
    "**bold** _it_ ~no~ `code` ```",
    "\n# heading\n- list\n> quote\n1. one\n---\n",
    "| a | b |\n|---|---|\n",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><b>",
    "' onmouseover='x",
    "&lt;&amp;&#60;&nbsp;",
    "\r\nBcc: all@evil.test\r\n\r\nbody",
    "\r\n.\r\nMAIL FROM:<x@evil.test>\r\n",
    "=?utf-8?q?=0D=0ABcc=3A_all=40evil.test?=",
    "\u{202e}reversed\u{202c}",
    "\u{200b}\u{feff}\u{2028}\u{2029}",
    "\u{0}\u{1b}[31m\u{7}\u{85}",
    "\\\\\" \\u0000 \\n {\"a\":1}",
    "漢字かな交じり文",
    "👩‍👩‍👧‍👦🇩🇪",
    "e\u{301}\u{302}\u{303}",
    "{{template}} ${env} %s %n",
    "</font><font color=\"warning\">",
    "--part",
    "orders_service and pay_service",
    "",
    " ",
];

/// Any text of tricks, long ones among them.
pub(crate) fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(TRICKS.to_vec()).prop_map(str::to_owned),
        2 => "\\PC{0,40}",
        1 => "(?s).{0,40}",
        1 => prop::sample::select(vec!["x", "漢", "<", "&", "\"", "\u{1}", "👩", " "]).prop_flat_map(|it| (1_usize..4_000).prop_map(move |many| it.repeat(many))),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|it| it.concat())
}

fn link() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just("https://lockstep.example.org/alerts/1".to_owned()),
        1 => Just("javascript:alert(1)".to_owned()),
        1 => Just("https://evil.test/)](x \"><b>".to_owned()),
        1 => text(),
    ]
}

fn kind() -> impl Strategy<Value = NoticeKind> {
    use NoticeKind::{Changed, Digest, Fault, Recovered, Test};
    prop::sample::select(vec![Fault, Changed, Recovered, Digest, Test])
}

fn severity() -> impl Strategy<Value = Severity> {
    prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Critical])
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![4 => NOW - 9_000_000..NOW, 1 => Just(0), 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn alert() -> impl Strategy<Value = NoticeAlert> {
    let texts = (text(), text(), text(), prop::option::of(text()), prop::option::of(text()));
    let subject = prop::collection::btree_map(text(), text(), 0..6);
    (texts, subject, severity(), time(), prop::option::of(time())).prop_map(
        |(texts, subject, severity, since_ms, ended_ms)| {
            let (fingerprint, rule, summary, detail, hint) = texts;
            NoticeAlert { fingerprint, rule, severity, subject, summary, detail, hint, since_ms, ended_ms }
        },
    )
}

fn change() -> impl Strategy<Value = NoticeChange> {
    (text(), prop::option::of(text()), time(), prop::option::of(text()))
        .prop_map(|(what, who, at_ms, undo)| NoticeChange { what, who, at_ms, undo })
}

/// Any notice.
pub(crate) fn any_notice() -> impl Strategy<Value = Notice> {
    let names = (text(), text(), text(), prop::option::of(text()), prop::option::of(text()));
    let parts = (
        prop::collection::vec(alert(), 0..22),
        prop::option::of(change()),
        prop::collection::vec(text(), 0..14),
        prop::option::of(link()),
    );
    (names, parts, kind(), severity(), time(), any::<u32>()).prop_map(
        |(names, parts, kind, severity, at_ms, more)| {
            let (id, group, title, environment, service) = names;
            let (alerts, change, owners, link) = parts;
            Notice {
                id,
                at_ms,
                kind,
                severity,
                group,
                environment,
                service,
                title,
                alerts,
                more,
                change,
                owners,
                link,
            }
        },
    )
}

/// An ordinary fault.
pub(crate) fn fault() -> Notice {
    let subject = [
        ("environment", "production"),
        ("service", "orders"),
        ("version", "1.3.0"),
        ("instance", "orders-1"),
    ];
    let alert = NoticeAlert {
        fingerprint: "f1".into(),
        rule: "errors".into(),
        severity: Severity::Critical,
        subject: BTreeMap::from(subject.map(|(name, value)| (name.to_owned(), value.to_owned()))),
        summary: "half of the requests fail".into(),
        detail: Some("50.2 % of 1,204 requests within 1 min".into()),
        hint: Some("lockstep blame orders --env production --since 20m".into()),
        since_ms: NOW - 40_000,
        ended_ms: None,
    };
    let change = NoticeChange {
        what: "orders 1.2.0 -> 1.3.0".into(),
        who: Some("ann@example.org".into()),
        at_ms: NOW - 100_000,
        undo: Some("lockstep rollback orders --to 1.2.0 --env production".into()),
    };
    Notice {
        id: "notice-1".into(),
        at_ms: NOW,
        kind: NoticeKind::Fault,
        severity: Severity::Critical,
        group: "production/orders".into(),
        environment: Some("production".into()),
        service: Some("orders".into()),
        title: "orders in production: half of the requests fail".into(),
        alerts: vec![alert],
        more: 0,
        change: Some(change),
        owners: vec!["team-shop".into()],
        link: Some("https://lockstep.example.org/alerts/1".into()),
    }
}

/// Its recovery.
pub(crate) fn recovery() -> Notice {
    let mut notice = fault();
    notice.id = "notice-2".into();
    notice.kind = NoticeKind::Recovered;
    notice.alerts[0].ended_ms = Some(NOW);
    notice
}

/// The largest that is ever made, with characters of four bytes.
pub(crate) fn huge() -> Notice {
    let mut notice = fault();
    notice.alerts[0].detail = Some("🦀".repeat(5_000));
    notice.alerts[0].summary = "漢".repeat(5_000);
    notice.alerts = vec![notice.alerts[0].clone(); 20];
    notice.more = 980;
    notice
}
