//! Sends a test notice to a target: `cargo run -p lockstep-notify --example send -- TARGET.toml [fault|recovered|digest|test]`.
//!
//! The file is what a person writes of a target, secrets included; nothing of it is shown. Exit code 0: sent; 1: not sent; 2: the
//! target is wrong.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_monitor::{Notice, NoticeAlert, NoticeChange, NoticeKind, Severity};
use lockstep_notify::{Sender, Target, check, limits};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let target =
        words.next().ok_or_else(|| "name a file: send TARGET.toml".to_owned()).and_then(|path| read(&path));
    let target = match target {
        Ok(target) => target,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(0));
    let notice = notice(kind(words.next().as_deref()), now_ms);
    println!("{}: {:?} at most", target.kind(), limits(target.kind()).rates);
    let outcome = Sender::new().send(&notice, &target, now_ms).await;
    println!("{outcome}");
    if outcome.is_sent() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(path: &str) -> Result<Target, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read `{path}`: {error}"))?;
    // The whole error shows the line, which may hold a secret.
    let target: Target = toml::from_str(&text).map_err(|error| format!("`{path}`: {}", error.message()))?;
    let found = check(&target);
    for warning in &found.warnings {
        eprintln!("warning: {warning}");
    }
    let faults: Vec<String> = found.faults.iter().map(ToString::to_string).collect();
    if faults.is_empty() { Ok(target) } else { Err(faults.join("\nerror: ")) }
}

fn kind(word: Option<&str>) -> NoticeKind {
    match word {
        Some("fault") => NoticeKind::Fault,
        Some("recovered") => NoticeKind::Recovered,
        Some("digest") => NoticeKind::Digest,
        _ => NoticeKind::Test,
    }
}

fn notice(kind: NoticeKind, now_ms: u64) -> Notice {
    let subject = [("environment", "production"), ("service", "orders"), ("version", "1.3.0")];
    let alert = NoticeAlert {
        fingerprint: "a-test".into(),
        rule: "errors".into(),
        severity: Severity::Info,
        subject: BTreeMap::from(subject.map(|(name, value)| (name.to_owned(), value.to_owned()))),
        summary: "nothing is wrong: this only shows how a message looks".into(),
        detail: Some("50.2 % of 1,204 requests within 1 min".into()),
        hint: Some("lockstep blame orders --env production --since 20m".into()),
        since_ms: now_ms.saturating_sub(40_000),
        ended_ms: (kind == NoticeKind::Recovered).then_some(now_ms),
    };
    let change = NoticeChange {
        what: "orders 1.2.0 -> 1.3.0".into(),
        who: Some("ann@example.org".into()),
        at_ms: now_ms.saturating_sub(100_000),
        undo: Some("lockstep rollback orders --to 1.2.0 --env production".into()),
    };
    Notice {
        id: format!("test-{now_ms}"),
        at_ms: now_ms,
        kind,
        severity: Severity::Info,
        group: "a-test".into(),
        environment: Some("production".into()),
        service: Some("orders".into()),
        title: "a test of Lockstep".into(),
        alerts: vec![alert],
        more: 0,
        change: Some(change),
        owners: vec!["team-shop".into()],
        link: None,
    }
}
