//! Chats, pagers, Alertmanager and webhooks, at endpoints with their locks, limits and forms.

use lockstep_notify::{Kind, Outcome, Secret, Sender, Target, Webhook};

use super::fake::{Fake, Reply, Request, reply};
use super::notices::{NOW, fault, huge, recovery};
use super::strict::{self, Robot, hmac};

pub(crate) fn target(text: &str) -> Target {
    toml::from_str(text).unwrap()
}

/// A target of each kind that is spoken to by HTTP, with one person or group to call.
pub(crate) fn one_of(kind: Kind, base: &str) -> Target {
    target(&match kind {
        Kind::Slack => format!("kind='slack'\nurl='{base}/services/T/B/right'\nmention=['U1', 'S2', 'here']"),
        Kind::Dingtalk => format!(
            "kind='dingtalk'\nurl='{base}/robot/send?access_token=right'\nsecret='SECright'\nmention=['13800000000']"
        ),
        Kind::Feishu => format!(
            "kind='feishu'\nurl='{base}/open-apis/bot/v2/hook/right'\nsecret='right'\nmention=['ou_1']"
        ),
        Kind::Wecom => {
            format!("kind='wecom'\nurl='{base}/cgi-bin/webhook/send?key=right'\nmention=['zhangsan']")
        }
        Kind::Teams => {
            format!("kind='teams'\nurl='{base}/workflows/1?sig=right'\nmention=['ann@example.org']")
        }
        Kind::Pagerduty => format!(
            "kind='pagerduty'\nrouting_key='0123456789abcdef0123456789abcdef'\nurl='{base}/v2/enqueue'"
        ),
        Kind::Alertmanager => format!("kind='alertmanager'\nurl='{base}'\nlabels={{cluster='a'}}"),
        Kind::Webhook => {
            format!("kind='webhook'\nurl='{base}/in'\nsecret='whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'")
        }
        Kind::Mail => panic!("mail is sent by SMTP"),
    })
}

/// Answers as Slack, Teams, PagerDuty, Alertmanager or a receiver of webhooks does.
fn plain(kind: Kind, request: &Request) -> Reply {
    match (kind, strict::read(kind, &request.body)) {
        (Kind::Slack, Ok(_)) => reply(200, "ok"),
        (Kind::Slack, Err(_)) => reply(400, "invalid_payload"),
        (Kind::Pagerduty | Kind::Teams, Ok(_)) => reply(202, ""),
        (_, Ok(_)) => reply(200, ""),
        (_, Err(why)) => reply(400, &why),
    }
}

async fn send(target: &Target, notice: &lockstep_monitor::Notice) -> Outcome {
    Sender::new().send(notice, target, NOW).await
}

#[tokio::test]
async fn each_service_takes_a_fault_its_recovery_and_the_largest_notice() {
    for kind in [Kind::Slack, Kind::Teams, Kind::Pagerduty, Kind::Alertmanager, Kind::Webhook] {
        let fake = Fake::start(move |request| plain(kind, request));
        for notice in [fault(), recovery(), huge()] {
            let outcome = send(&one_of(kind, &fake.url("")), &notice).await;
            assert_eq!(outcome, Outcome::Sent { note: None }, "{kind}");
        }
        assert_eq!(fake.seen().len(), 3);
    }
}

#[tokio::test]
async fn robots_take_what_is_signed_and_within_their_limits() {
    for (kind, secret) in
        [(Kind::Dingtalk, Some("SECright")), (Kind::Feishu, Some("right")), (Kind::Wecom, None)]
    {
        let robot = Robot::new(kind, secret, None, NOW);
        let fake = Fake::start(move |request| robot.answer(request));
        for notice in [fault(), recovery(), huge()] {
            assert_eq!(
                send(&one_of(kind, &fake.url("")), &notice).await,
                Outcome::Sent { note: None },
                "{kind}"
            );
        }
    }
}

#[tokio::test]
async fn a_robot_closes_after_its_limit_and_says_so_in_a_200() {
    for (kind, most, pause) in
        [(Kind::Dingtalk, 20, 600_000), (Kind::Wecom, 20, 60_000), (Kind::Feishu, 100, 60_000)]
    {
        let robot = Robot::new(kind, None, None, NOW);
        let fake = Fake::start(move |request| robot.answer(request));
        let target = one_of(kind, &fake.url(""));
        for _ in 0..most {
            assert!(send(&target, &fault()).await.is_sent());
        }
        let outcome = send(&target, &fault()).await;
        assert!(
            matches!(outcome, Outcome::TooFast { not_before_ms, .. } if not_before_ms == NOW + pause),
            "{kind}: {outcome}"
        );
    }
}

#[tokio::test]
async fn a_wrong_secret_a_missing_word_and_a_wrong_address_each_say_what_to_do() {
    for (kind, secret, keyword, path, word) in [
        (Kind::Dingtalk, Some("SECother"), None, None, "copy the secret"),
        (Kind::Dingtalk, Some("SECright"), Some("a*<word>"), None, "keyword ="),
        (Kind::Dingtalk, None, None, Some("/robot/send?access_token=wrong"), "removed"),
        (Kind::Feishu, Some("other"), None, None, "copy the secret"),
        (Kind::Feishu, Some("right"), Some("a*<word>"), None, "keyword ="),
        (Kind::Feishu, None, None, Some("/open-apis/bot/v2/hook/wrong"), "removed"),
        (Kind::Wecom, None, None, Some("/cgi-bin/webhook/send?key=wrong"), "removed"),
    ] {
        let robot = Robot::new(kind, secret, keyword, NOW);
        let fake = Fake::start(move |request| robot.answer(request));
        let mut target = one_of(kind, &fake.url(""));
        if let Some(path) = path {
            let url = Secret::Value(fake.url(path));
            match &mut target {
                Target::Dingtalk(it) => it.url = url,
                Target::Feishu(it) => it.url = url,
                Target::Wecom(it) => it.url = url,
                _ => panic!(),
            }
        }
        let outcome = send(&target, &fault()).await;
        assert!(matches!(&outcome, Outcome::Never { todo, .. } if todo.contains(word)), "{kind}: {outcome}");
    }
}

#[tokio::test]
async fn a_word_that_a_robot_wants_is_in_each_message() {
    for kind in [Kind::Dingtalk, Kind::Feishu] {
        let robot = Robot::new(kind, None, Some("a*<word>"), NOW);
        let fake = Fake::start(move |request| robot.answer(request));
        let mut target = one_of(kind, &fake.url(""));
        match &mut target {
            Target::Dingtalk(it) => it.keyword = Some("a*<word>".into()),
            Target::Feishu(it) => it.keyword = Some("a*<word>".into()),
            _ => panic!(),
        }
        for notice in [fault(), recovery(), huge()] {
            assert!(send(&target, &notice).await.is_sent(), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_an_hour_is_named_and_not_given_up() {
    for (kind, secret) in [(Kind::Dingtalk, "SECright"), (Kind::Feishu, "right")] {
        for (clock, word) in [(NOW + 3_720_000, "1 h 2 min behind"), (NOW - 3_720_000, "1 h 2 min ahead")] {
            let robot = Robot::new(kind, Some(secret), None, clock);
            let fake = Fake::start(move |request| robot.answer(request));
            let outcome = send(&one_of(kind, &fake.url("")), &fault()).await;
            assert!(
                matches!(&outcome, Outcome::Later { why, .. } if why.contains(word)),
                "{kind}: {outcome}"
            );
        }
    }
}

#[tokio::test]
async fn a_webhook_is_verified_with_both_secrets_of_a_rotation_and_has_one_id_at_each_try() {
    let fake = Fake::start(|_| reply(204, ""));
    let (new, old) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let target = Target::Webhook(Webhook {
        url: Secret::Value(fake.url("/in")),
        secret: Some(new.into()),
        previous: Some(old.into()),
        way: lockstep_notify::Way::default(),
    });
    for later in [0, 60_000] {
        assert!(Sender::new().send(&fault(), &target, NOW + later).await.is_sent());
    }
    let seen = fake.seen();
    for request in &seen {
        let message = format!(
            "{}.{}.",
            request.field("webhook-id").unwrap(),
            request.field("webhook-timestamp").unwrap()
        );
        let message = [message.as_bytes(), &request.body].concat();
        let signed = |secret: &str| {
            use base64::Engine as _;
            let key = base64::engine::general_purpose::STANDARD.decode(&secret[6..]).unwrap();
            format!("v1,{}", hmac(&key, &message))
        };
        assert_eq!(request.field("webhook-signature").unwrap(), format!("{} {}", signed(new), signed(old)));
        assert!(request.field("content-type").unwrap().starts_with("application/cloudevents+json"));
        assert_eq!(request.json()["id"], "notice-1");
        assert_eq!(request.json()["data"], serde_json::to_value(fault()).unwrap());
    }
    assert_eq!(seen[0].field("webhook-id"), seen[1].field("webhook-id"));
    assert_ne!(seen[0].field("webhook-timestamp"), seen[1].field("webhook-timestamp"));
}

#[tokio::test]
async fn a_page_is_opened_and_closed_by_one_key_and_a_test_wakes_nobody() {
    let fake = Fake::start(|request| plain(Kind::Pagerduty, request));
    let target = one_of(Kind::Pagerduty, &fake.url(""));
    let mut test = fault();
    test.kind = lockstep_monitor::NoticeKind::Test;
    for notice in [fault(), recovery(), test] {
        assert!(send(&target, &notice).await.is_sent());
    }
    let seen = fake.seen();
    let [opened, closed, tried] = &seen[..] else { panic!() };
    assert_eq!(
        (&opened.json()["event_action"], &closed.json()["event_action"]),
        (&"trigger".into(), &"resolve".into())
    );
    assert_eq!(opened.json()["dedup_key"], closed.json()["dedup_key"]);
    assert_eq!((opened.target.as_str(), tried.target.as_str()), ("/v2/enqueue", "/v2/change/enqueue"));
}

#[tokio::test]
async fn an_alert_has_the_same_labels_when_it_is_over() {
    let fake = Fake::start(|request| plain(Kind::Alertmanager, request));
    let target = one_of(Kind::Alertmanager, &fake.url(""));
    for notice in [fault(), recovery()] {
        assert!(send(&target, &notice).await.is_sent());
    }
    let seen = fake.seen();
    let (began, over) = (&seen[0].json()[0], &seen[1].json()[0]);
    assert_eq!(began["labels"], over["labels"]);
    assert_eq!(
        (began["labels"]["alertname"].as_str(), began["labels"]["cluster"].as_str()),
        (Some("errors"), Some("a"))
    );
    assert!(began["endsAt"].as_str() > Some("2025-12-01T03:33:20"), "it lasts");
    assert_eq!(over["endsAt"], "2025-12-01T03:33:20.000Z");
    assert_eq!(seen[0].target, "/api/v2/alerts");
}

#[tokio::test]
async fn a_group_that_is_too_large_to_be_named_is_one_alert_that_ends_too() {
    let fake = Fake::start(|request| plain(Kind::Alertmanager, request));
    let target = one_of(Kind::Alertmanager, &fake.url(""));
    let mut over = huge();
    over.kind = lockstep_monitor::NoticeKind::Recovered;
    over.alerts.truncate(1);
    for notice in [huge(), over] {
        assert!(send(&target, &notice).await.is_sent());
    }
    let seen = fake.seen();
    let (began, over) = (seen[0].json(), seen[1].json());
    assert_eq!(began.as_array().unwrap().len(), 1);
    assert_eq!(began[0]["labels"]["alertname"], "lockstep");
    assert_eq!(over.as_array().unwrap().last().unwrap()["labels"], began[0]["labels"]);
    assert_eq!(over.as_array().unwrap().last().unwrap()["endsAt"], "2025-12-01T03:33:20.000Z");
}

#[tokio::test]
async fn a_fault_says_what_came_before_and_what_to_run() {
    for kind in [
        Kind::Slack,
        Kind::Dingtalk,
        Kind::Feishu,
        Kind::Wecom,
        Kind::Teams,
        Kind::Pagerduty,
        Kind::Alertmanager,
        Kind::Webhook,
    ] {
        let fake = Fake::start(|_| reply(200, r#"{"errcode":0,"code":0}"#));
        let _ = send(&one_of(kind, &fake.url("")), &fault()).await;
        let body = String::from_utf8(fake.seen()[0].body.clone()).unwrap();
        for word in [
            "half of the requests fail",
            "orders 1.2.0 ",
            "lockstep rollback orders --to 1.2.0 --env production",
            "lockstep blame orders",
            "ann@example.org",
        ] {
            assert!(body.contains(word), "{kind} has no `{word}`: {body}");
        }
    }
}

#[tokio::test]
async fn a_recovery_and_a_test_call_nobody() {
    let mut test = fault();
    test.kind = lockstep_monitor::NoticeKind::Test;
    for kind in [Kind::Slack, Kind::Dingtalk, Kind::Feishu, Kind::Wecom, Kind::Teams] {
        let fake = Fake::start(|_| reply(200, "ok"));
        for notice in [fault(), recovery(), test.clone()] {
            let _ = send(&one_of(kind, &fake.url("")), &notice).await;
        }
        let called: Vec<bool> =
            fake.seen().iter().map(|it| !strict::read(kind, &it.body).unwrap().called.is_empty()).collect();
        assert_eq!(called, [true, false, false], "{kind}");
    }
}

#[tokio::test]
async fn a_target_with_a_fault_or_a_missing_secret_sends_nothing() {
    let fake = Fake::start(|_| reply(200, "ok"));
    let mut target = one_of(Kind::Slack, &fake.url(""));
    if let Target::Slack(it) = &mut target {
        it.url = Secret::Stored("slack-of-shop".into());
    }
    let outcome = send(&target, &fault()).await;
    assert!(
        matches!(&outcome, Outcome::Never { why, .. } if why.contains("`url` is not at hand")),
        "{outcome}"
    );
    let abroad = one_of(Kind::Slack, "http://10.255.255.1");
    let outcome = send(&abroad, &fault()).await;
    assert!(matches!(&outcome, Outcome::Never { why, .. } if why.contains("without TLS")), "{outcome}");
    assert!(fake.seen().is_empty());
}
