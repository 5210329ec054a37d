//! Tests of targets as a person writes them.

use super::*;

fn read(text: &str) -> Target {
    toml::from_str(text).unwrap()
}

fn faults(text: &str) -> Vec<String> {
    check(&read(text)).faults.iter().map(ToString::to_string).collect()
}

#[test]
fn each_kind_is_read_as_a_person_writes_it() {
    for text in [
        "kind = 'slack'\nurl = 'https://hooks.slack.com/services/T/B/x'\nmention = ['U1', 'S2', 'here']",
        "kind = 'dingtalk'\nurl = 'https://oapi.dingtalk.com/robot/send?access_token=1'\nsecret = 'SEC1'\nmention = ['13800000000']",
        "kind = 'feishu'\nurl = 'https://open.feishu.cn/open-apis/bot/v2/hook/1'\nsecret = { stored = 'feishu' }\nkeyword = 'shop'",
        "kind = 'wecom'\nurl = 'https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=1'\nmention = ['zhangsan']",
        "kind = 'teams'\nurl = 'https://prod-1.westeurope.logic.azure.com/workflows/1/triggers/manual/paths/invoke?sig=1'",
        "kind = 'mail'\nhost = 'mail.example.org'\nuser = 'u'\npassword = 'p'\nfrom = 'Lockstep <l@example.org>'\nto = ['ann@example.org']",
        "kind = 'mail'\nhost = '127.0.0.1'\nport = 2525\ntls = 'none'\nfrom = 'l@example.org'\nto = ['ann@example.org']",
        "kind = 'pagerduty'\nrouting_key = '0123456789abcdef0123456789abcdef'",
        "kind = 'alertmanager'\nurl = 'http://127.0.0.1:9093'\nlabels = { cluster = 'a' }",
        "kind = 'alertmanager'\nurl = 'http://10.0.0.5:9093'\nway = { plain = true }",
        "kind = 'webhook'\nurl = 'https://hooks.example.org/x'\nsecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'",
    ] {
        let found = check(&read(text));
        assert_eq!(found, Check::default(), "{text}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once_and_no_secret_with_it() {
    let found = faults(
        "kind = 'dingtalk'\nurl = 'http://oapi.dingtalk.com/robot/send?access_token=topsecret'\nsecret = 'top secret'\nkeyword = ''\nmention = ['ann', '<@all>']",
    );
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().all(|it| !it.contains("secret") || it.starts_with("secret:")), "{found:#?}");
    assert!(found.iter().all(|it| !it.contains("topsecret") && !it.contains("top secret")));
    let mail = faults(
        "kind = 'mail'\nhost = 'a b'\nport = 0\ntls = 'none'\nuser = 'u'\nfrom = 'x'\nto = ['y', \"z@e.org\\r\\nBcc: all@e.org\"]",
    );
    assert_eq!(mail.len(), 7, "{mail:#?}");
}

#[test]
fn an_address_that_no_target_leads_to_is_a_fault() {
    for host in ["169.254.169.254", "[::ffff:169.254.169.254]", "100.100.100.200", "[fe80::1]", "0.0.0.0"] {
        let found = faults(&format!("kind = 'webhook'\nurl = 'https://{host}/latest/meta-data'"));
        assert!(found.iter().any(|it| it.contains("is not asked")), "{host}: {found:?}");
    }
}

#[test]
fn the_host_of_another_service_is_a_warning() {
    let found = check(&read("kind = 'feishu'\nurl = 'https://hooks.slack.com/services/T/B/x'"));
    assert!(found.faults.is_empty() && found.warnings[0].what.contains("open.feishu.cn"), "{found:?}");
    let trap = check(&read("kind = 'slack'\nurl = 'https://hooks.slack.com.evil.test/services/T/B/x'"));
    assert_eq!(trap.warnings.len(), 1);
}

#[test]
fn secrets_are_stored_before_a_target_is_written_out() {
    let mut target = read(
        "kind = 'dingtalk'\nurl = 'https://oapi.dingtalk.com/robot/send?access_token=1'\nsecret = 'SEC1'",
    );
    assert!(serde_json::to_string(&target).is_err(), "a secret was written out");
    let mut store = BTreeMap::new();
    let kept: Result<(), ()> = target.keep_secrets(|field, value| {
        store.insert(format!("ops-{field}"), value.to_owned());
        Ok(format!("ops-{field}"))
    });
    kept.unwrap();
    let text = serde_json::to_string(&target).unwrap();
    assert!(!text.contains("SEC1") && !text.contains("access_token"), "{text}");
    let again: Target = serde_json::from_str(&text).unwrap();
    let missing =
        again.clone().with_secrets(|name| (name == "ops-url").then(|| "https://x".into())).unwrap_err();
    assert_eq!(missing[0].to_string(), "secret: no secret is stored as `ops-secret`");
    let whole = again.with_secrets(|name| store.get(name).cloned()).unwrap();
    assert!(
        matches!(whole, Target::Dingtalk(Dingtalk { secret: Some(Secret::Value(value)), .. }) if value == "SEC1")
    );
}

#[test]
fn an_unknown_field_is_refused() {
    assert!(
        toml::from_str::<Target>("kind = 'slack'\nurl = 'https://hooks.slack.com/x'\nchanel = 'x'").is_err()
    );
}
