//! Tests of what answers mean.

use super::*;

const NOW: u64 = 1_764_560_000_000;

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, date_ms: Some(NOW), pause_ms: None, body: body.into(), is_whole: true }
}

fn of(kind: Kind, status: u16, body: &str) -> Outcome {
    meaning(kind, &answer(status, body), NOW)
}

fn todo(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Never { todo, .. } => todo,
        other => panic!("{other} is not for a person"),
    }
}

fn not_before(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::TooFast { not_before_ms, .. } => *not_before_ms - NOW,
        other => panic!("{other} is not too fast"),
    }
}

#[test]
fn each_service_says_yes_in_its_own_way() {
    for (kind, status, body) in [
        (Kind::Slack, 200, "ok"),
        (Kind::Dingtalk, 200, r#"{"errcode":0,"errmsg":"ok"}"#),
        (
            Kind::Feishu,
            200,
            r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#,
        ),
        (Kind::Feishu, 200, r#"{"Extra":null,"StatusCode":0,"StatusMessage":"success"}"#),
        (Kind::Wecom, 200, r#"{"errcode":0,"errmsg":"ok"}"#),
        (Kind::Teams, 202, ""),
        (Kind::Teams, 200, "1"),
        (Kind::Pagerduty, 202, r#"{"status":"success","message":"Event processed","dedup_key":"x"}"#),
        (Kind::Alertmanager, 200, ""),
        (Kind::Webhook, 204, ""),
    ] {
        assert_eq!(of(kind, status, body), Outcome::Sent { note: None }, "{kind} {status} {body}");
    }
}

#[test]
fn too_fast_is_said_with_200_too_and_how_long_it_lasts() {
    for (kind, status, body, pause) in [
        (
            Kind::Dingtalk,
            200,
            r#"{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}"#,
            600_000,
        ),
        (Kind::Dingtalk, 200, r#"{"errcode":410100,"errmsg":"发送速度太快而限流"}"#, 600_000),
        (Kind::Dingtalk, 200, r#"{"errcode":130101,"errmsg":""}"#, 600_000),
        (Kind::Dingtalk, 200, r#"{"errcode":410100}"#, 600_000),
        (Kind::Feishu, 200, r#"{"code":11232,"msg":""}"#, 60_000),
        (Kind::Wecom, 200, r#"{"errcode":45009,"errmsg":""}"#, 60_000),
        (Kind::Dingtalk, 200, r#"{"errcode":660026,"errmsg":""}"#, 600_000),
        (Kind::Dingtalk, 200, r#"{"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"1"}"#, 5_000),
        (
            Kind::Feishu,
            200,
            r#"{"code":11232,"data":{},"msg":"frequency limited psm[lark.oapi.app_platform_runtime]appID[1500]"}"#,
            60_000,
        ),
        (Kind::Feishu, 400, r#"{"code":9499,"msg":"too many request","data":{}}"#, 60_000),
        (Kind::Wecom, 200, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#, 60_000),
        (
            Kind::Teams,
            200,
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x",
            30_000,
        ),
        (Kind::Slack, 429, "", 30_000),
        (Kind::Pagerduty, 429, "", 180_000),
    ] {
        assert_eq!(not_before(&of(kind, status, body)), pause, "{kind} {body}");
    }
    let asked = Answer { pause_ms: Some(7_000), ..answer(429, "") };
    assert_eq!(not_before(&meaning(Kind::Slack, &asked, NOW)), 7_000);
}

#[test]
fn what_waits_for_a_person_says_what_to_do() {
    for (kind, status, body, word) in [
        (Kind::Dingtalk, 200, r#"{"errcode":310000,"errmsg":"keywords not in content"}"#, "keyword ="),
        (
            Kind::Dingtalk,
            200,
            r#"{"errcode":310000,"errmsg":"description:关键词不匹配;solution:请联系群管理员"}"#,
            "keyword =",
        ),
        (Kind::Dingtalk, 200, r#"{"errcode":310000,"errmsg":"sign not match"}"#, "copy the secret"),
        (
            Kind::Dingtalk,
            200,
            r#"{"errcode":310000,"errmsg":"description:机器人发送签名不匹配;solution:请确认签名和生成签名的时间戳"}"#,
            "copy the secret",
        ),
        (
            Kind::Dingtalk,
            200,
            r#"{"errcode":310000,"errmsg":"ip 1.2.3.4 not in whitelist"}"#,
            "certain addresses",
        ),
        (Kind::Dingtalk, 200, r#"{"errcode":300005,"errmsg":"token is not exist"}"#, "the robot was removed"),
        (
            Kind::Feishu,
            200,
            r#"{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}"#,
            "copy the secret",
        ),
        (Kind::Feishu, 200, r#"{"code":19024,"msg":"Key Words Not Found"}"#, "keyword ="),
        (
            Kind::Feishu,
            200,
            r#"{"code":19001,"msg":"param invalid: incoming webhook access token invalid"}"#,
            "removed",
        ),
        (Kind::Feishu, 400, r#"{"code":9499,"msg":"Bad Request","data":{}}"#, "fault of Lockstep"),
        (Kind::Wecom, 200, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#, "removed"),
        (
            Kind::Wecom,
            200,
            r#"{"errcode":40058,"errmsg":"markdown.content exceed max length 4096"}"#,
            "fault of Lockstep",
        ),
        (Kind::Slack, 404, "no_service", "make a new one"),
        (Kind::Slack, 404, "channel_not_found", "another one"),
        (Kind::Slack, 410, "channel_is_archived", "another one"),
        (Kind::Slack, 403, "action_prohibited", "administrator"),
        (Kind::Slack, 200, "<html>", "one of Slack"),
        (Kind::Teams, 200, "Microsoft Teams endpoint returned HTTP error 403 with ContextId", "new workflow"),
        (Kind::Webhook, 410, "", "make a new address"),
        (Kind::Webhook, 302, "", "leads elsewhere"),
        (Kind::Alertmanager, 401, "", "keys"),
        (Kind::Teams, 413, "", "too long"),
    ] {
        let outcome = of(kind, status, body);
        assert!(todo(&outcome).contains(word), "{kind} {status} {body}: {outcome}");
    }
}

#[test]
fn a_wrong_clock_is_named_and_tried_again() {
    let hour = 3_700_000;
    for (kind, status, body) in [
        (
            Kind::Dingtalk,
            200,
            r#"{"errcode":310000,"errmsg":"description:机器人发送签名过期;solution:签名生成时间和发送时间请保持在 timestampms 以内"}"#,
        ),
        (Kind::Dingtalk, 200, r#"{"errcode":310000,"errmsg":"invalid timestamp"}"#),
        (
            Kind::Feishu,
            200,
            r#"{"code":19021,"msg":"sign match fail or timestamp is not within one hour from current time"}"#,
        ),
        (Kind::Webhook, 401, ""),
    ] {
        for (date, word) in [(NOW + hour, "1 h 1 min behind"), (NOW - hour, "1 h 1 min ahead")] {
            let outcome = meaning(kind, &Answer { date_ms: Some(date), ..answer(status, body) }, NOW);
            assert!(
                matches!(&outcome, Outcome::Later { why, .. } if why.contains(word) && why.contains("timedatectl")),
                "{outcome}"
            );
        }
    }
}

#[test]
fn what_passes_is_tried_again() {
    for (kind, status, body) in [
        (Kind::Slack, 500, "rollup_error"),
        (Kind::Slack, 503, "<html>"),
        (Kind::Dingtalk, 200, r#"{"errcode":-1,"errmsg":"系统繁忙"}"#),
        (Kind::Dingtalk, 200, "<html>log in to the guest network"),
        (Kind::Dingtalk, 502, "<html>"),
        (Kind::Wecom, 200, r#"{"errcode":-1,"errmsg":"system busy"}"#),
        (Kind::Pagerduty, 500, ""),
        (Kind::Webhook, 408, ""),
        (Kind::Teams, 200, "Microsoft Teams endpoint returned HTTP error 502"),
    ] {
        let outcome = of(kind, status, body);
        assert!(matches!(outcome, Outcome::Later { .. }), "{kind} {status} {body}: {outcome}");
    }
    let asked = meaning(Kind::Webhook, &Answer { pause_ms: Some(9_000), ..answer(503, "") }, NOW);
    assert!(matches!(asked, Outcome::Later { not_before_ms: Some(at), .. } if at == NOW + 9_000));
}

#[test]
fn an_answer_that_broke_off_says_neither_yes_nor_no() {
    for kind in [Kind::Dingtalk, Kind::Feishu, Kind::Wecom, Kind::Slack] {
        let cut = Answer { is_whole: false, ..answer(200, r#"{"errcode":0"#) };
        assert!(matches!(meaning(kind, &cut, NOW), Outcome::Unknown { .. }), "{kind}");
    }
}

#[test]
fn what_another_service_of_the_network_says_is_not_shown() {
    for kind in [Kind::Webhook, Kind::Alertmanager, Kind::Pagerduty, Kind::Slack, Kind::Teams, Kind::Dingtalk]
    {
        for status in [200, 400, 401, 404, 500] {
            let shown = of(kind, status, "AWS_SECRET_ACCESS_KEY=topsecret").to_string();
            assert!(!shown.contains("topsecret"), "{kind}: {shown}");
        }
    }
    let said = of(
        Kind::Pagerduty,
        400,
        r#"{"status":"invalid event","message":"Event object is invalid","errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#,
    );
    assert!(said.to_string().contains("routing_key"), "{said}");
}
