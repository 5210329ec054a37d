//! Servers that never end, say nothing, talk nonsense or lead elsewhere.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lockstep_notify::{Kind, MailTls, Outcome, Sender, Target};

use super::chats::one_of;
use super::fake::{Fake, Reply, listen, reply};
use super::letters::people;
use super::notices::{NOW, fault};

const LIMIT: Duration = Duration::from_millis(700);

async fn send(target: &Target) -> Outcome {
    let began = Instant::now();
    let outcome = Sender::new().with_limit(LIMIT).send(&fault(), target, NOW).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{outcome} after {:?}", began.elapsed());
    outcome
}

/// A server that reads a request, and then does something to the connection.
fn rude(then: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let address = listen(move |mut stream| {
        let mut seen = [0; 65_536];
        let _ = stream.read(&mut seen);
        then(&mut stream);
    });
    format!("http://{address}")
}

#[tokio::test]
async fn a_body_without_an_end_is_read_no_further_than_its_bound() {
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    let url = rude(move |stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
        while stream.write_all(chunk.as_bytes()).is_ok() && counted.load(Ordering::Relaxed) < 1 << 30 {
            counted.fetch_add(chunk.len(), Ordering::Relaxed);
        }
    });
    let outcome = send(&one_of(Kind::Dingtalk, &url)).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome}");
    assert!(
        written.load(Ordering::Relaxed) < 64 << 20,
        "{} bytes were taken",
        written.load(Ordering::Relaxed)
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_or_a_byte_now_and_then_is_left() {
    let silent = rude(|stream| {
        let _ = stream.read(&mut [0; 1]);
    });
    let outcome = send(&one_of(Kind::Slack, &silent)).await;
    assert!(
        matches!(&outcome, Outcome::Unknown { why } if why.contains("did not answer within")),
        "{outcome}"
    );
    let slow = rude(|stream| {
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" {
            if stream.write_all(&[*byte]).is_err() || stream.flush().is_err() {
                return;
            }
            // A slow server is what is tested here; nothing is waited for.
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let outcome = send(&one_of(Kind::Slack, &slow)).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome}");
}

#[tokio::test]
async fn nonsense_and_a_closed_connection_are_tried_again() {
    for nonsense in [
        "",
        "220 mail.example.org ESMTP\r\n",
        "\u{0}\u{1}\u{2}",
        "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"errcode\":0",
    ] {
        let url = rude(move |stream| _ = stream.write_all(nonsense.as_bytes()));
        for kind in [Kind::Dingtalk, Kind::Feishu] {
            let outcome = send(&one_of(kind, &url)).await;
            assert!(outcome.is_tried_again(), "{nonsense:?}: {outcome}");
        }
    }
    let head = rude(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        let field = format!("x: {}\r\n", "y".repeat(8_000));
        for _ in 0..10_000 {
            if stream.write_all(field.as_bytes()).is_err() {
                return;
            }
        }
    });
    let outcome = send(&one_of(Kind::Webhook, &head)).await;
    assert!(outcome.is_tried_again(), "{outcome}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let inner = Fake::start(|_| reply(200, "ok"));
    let leads_to = inner.url("/internal");
    for status in [301, 302, 303, 307, 308] {
        let leads_to = leads_to.clone();
        let outer = Fake::start(move |_| Reply {
            status,
            fields: vec![("location", leads_to.clone())],
            body: "ok".into(),
        });
        for kind in [Kind::Slack, Kind::Webhook, Kind::Alertmanager, Kind::Dingtalk] {
            let outcome = send(&one_of(kind, &outer.url(""))).await;
            assert!(
                matches!(&outcome, Outcome::Never { todo, .. } if todo.contains("leads elsewhere")),
                "{outcome}"
            );
        }
    }
    assert!(inner.seen().is_empty());
}

#[tokio::test]
async fn an_error_within_a_200_is_no_success() {
    for kind in [Kind::Dingtalk, Kind::Feishu, Kind::Wecom] {
        for body in [
            "",
            "ok",
            "null",
            "[]",
            "{}",
            r#"{"errcode":"0"}"#,
            r#"{"errcode":400105,"code":400105}"#,
            "<html>",
        ] {
            let fake = Fake::start(move |_| reply(200, body));
            let outcome = send(&one_of(kind, &fake.url(""))).await;
            assert!(!outcome.is_sent(), "{kind} {body}");
        }
    }
}

#[tokio::test]
async fn the_pause_that_is_asked_for_is_kept() {
    let fake = Fake::start(|_| Reply {
        status: 429,
        fields: vec![("retry-after", "17".into())],
        body: String::new(),
    });
    for kind in [Kind::Slack, Kind::Teams, Kind::Pagerduty, Kind::Webhook, Kind::Alertmanager] {
        let outcome = send(&one_of(kind, &fake.url(""))).await;
        assert!(
            matches!(outcome, Outcome::TooFast { not_before_ms, .. } if not_before_ms == NOW + 17_000),
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn feishu_says_by_a_field_of_its_own_how_long_to_wait() {
    let body = r#"{"code":99991400,"msg":"request trigger frequency limit"}"#;
    for status in [400, 429] {
        let fields = vec![("x-ogw-ratelimit-reset", "52".to_owned())];
        let fake = Fake::start(move |_| Reply { status, fields: fields.clone(), body: body.into() });
        let outcome = send(&one_of(Kind::Feishu, &fake.url(""))).await;
        assert!(
            matches!(outcome, Outcome::TooFast { not_before_ms, .. } if not_before_ms == NOW + 52_000),
            "{outcome}"
        );
    }
}

#[tokio::test]
async fn a_mail_server_without_an_end_is_left() {
    for (line, is_ended) in [("250-x\r\n", true), ("x", false), ("220-", false)] {
        let address = listen(move |mut stream| {
            let piece = line.repeat(1_000);
            let mut written = 0_usize;
            while stream.write_all(piece.as_bytes()).is_ok() && written < 1 << 30 {
                written += piece.len();
            }
            assert!(written < 64 << 20, "{written} bytes were taken");
        });
        let mut target = people();
        if let Target::Mail(it) = &mut target {
            it.port = Some(address.port());
            it.tls = MailTls::None;
        }
        let outcome = send(&target).await;
        assert!(
            matches!(&outcome, Outcome::Never { why, .. } if why.contains("no mail server")),
            "{is_ended}: {outcome}"
        );
    }
}

#[tokio::test]
async fn nobody_there_is_tried_again() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcome = send(&one_of(Kind::Webhook, &format!("http://{gone}"))).await;
    assert!(matches!(&outcome, Outcome::Later { why, .. } if why.contains("nobody answers")), "{outcome}");
}

#[tokio::test]
async fn a_server_that_says_again_what_it_was_sent_makes_no_secret_seen() {
    for kind in [Kind::Dingtalk, Kind::Feishu, Kind::Wecom] {
        let secret = "0f1e2d3c4b5a69788796a5b4";
        let fake = Fake::start(|request| {
            reply(
                200,
                &format!(
                    r#"{{"errcode":40035,"code":40035,"errmsg":"bad {0}","msg":"bad {0}"}}"#,
                    request.target
                ),
            )
        });
        let url = fake.url(&format!("/robot/send/{secret}?access_token={secret}"));
        let name = match kind {
            Kind::Dingtalk => "dingtalk",
            Kind::Feishu => "feishu",
            _ => "wecom",
        };
        let target: Target = toml::from_str(&format!("kind='{name}'\nurl='{url}'")).unwrap();
        let outcome = send(&target).await.to_string();
        assert!(!outcome.contains(secret) && outcome.contains("(a secret)"), "{outcome}");
    }
}

#[tokio::test]
async fn many_notices_go_out_at_once() {
    let fake = Fake::start(|_| reply(200, "ok"));
    let sender = Arc::new(Sender::new());
    let target = Arc::new(one_of(Kind::Slack, &fake.url("")));
    let tasks: Vec<_> = (0..30)
        .map(|number| {
            let (sender, target) = (Arc::clone(&sender), Arc::clone(&target));
            let notice = lockstep_monitor::Notice { id: format!("notice-{number}"), ..fault() };
            tokio::spawn(async move { sender.send(&notice, &target, NOW).await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().is_sent());
    }
    assert_eq!(fake.seen().len(), 30);
}
