//! A Prometheus that is away, slow or hostile, and what is read of its answers.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const RANGE: Range = Range { from_ms: 10_000, until_ms: 30_000, step_ms: 10_000 };

fn prometheus(endpoint: &str, variables: &[(&str, &str)]) -> Result<Prometheus, String> {
    let get =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Prometheus::read(endpoint, &get).map_err(|error| error.to_string())
}

fn matrix(result: &str) -> Vec<u8> {
    format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"matrix\",\"result\":[{result}]}}}}")
        .into_bytes()
}

/// Answers each connection as it is told, and returns what was asked.
async fn answering(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let serves = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 8_192];
        let read = stream.read(&mut head).await.unwrap();
        // Who asked may have enough and leave.
        let _ = stream.write_all(&answer).await;
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    (endpoint, serves)
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

async fn asked(answer: Vec<u8>, variables: &[(&str, &str)]) -> (Result<Vec<Vec<Curve>>, AskError>, String) {
    let (endpoint, serves) = answering(answer).await;
    let answer = prometheus(&endpoint, variables).unwrap().ask(vec!["up{a=\"b\"}".into()], RANGE).await;
    (answer, serves.await.unwrap())
}

#[test]
fn what_is_said_of_a_prometheus_is_read_and_a_key_goes_nowhere_in_the_clear_and_is_shown_nowhere() {
    let key = ("LOCKSTEP_PROMETHEUS_HEADERS", "Authorization=Bearer%20s3cret-word");
    let labels = ("LOCKSTEP_PROMETHEUS_LABELS", "job=lockstep,instance=a%3A1");
    let it = prometheus("http://127.0.0.1:9090/prom", &[key, labels]).unwrap();
    assert!(!format!("{it:?}").contains("s3cret"), "{it:?}");
    assert_eq!(it.labels()[1], ("instance".to_owned(), "a:1".to_owned()));
    let said = prometheus("http://10.0.0.5:9090", &[key]).unwrap_err();
    assert!(said.contains("https://") && !said.contains("s3cret"), "{said}");
    for (endpoint, words) in [
        ("prometheus:9090", "write http://prometheus:9090"),
        ("http://:9090", "http://HOST:9090"),
        ("http://me:s3cret@a:9090", "LOCKSTEP_PROMETHEUS_HEADERS"),
    ] {
        let said = prometheus(endpoint, &[]).unwrap_err();
        assert!(said.contains("--prometheus") && said.contains(words) && !said.contains("s3cret"), "{said}");
    }
    for bad in ["lab el=x", "9a=x", "a", "a-b=x"] {
        let said = prometheus("http://a:1", &[("LOCKSTEP_PROMETHEUS_LABELS", bad)]).unwrap_err();
        assert!(said.contains("LOCKSTEP_PROMETHEUS_LABELS"), "{bad}: {said}");
    }
    let all = prometheus("x", &[("LOCKSTEP_PROMETHEUS_LABELS", "9=x"), ("LOCKSTEP_PROMETHEUS_HEADERS", "%")]);
    let all = all.unwrap_err();
    for name in ["--prometheus", "LOCKSTEP_PROMETHEUS_LABELS", "LOCKSTEP_PROMETHEUS_HEADERS"] {
        assert!(all.contains(name), "all that is wrong at once: {all}");
    }
}

#[test]
fn numbers_are_read_and_what_is_none_is_a_gap() {
    let body = matrix(
        "{\"metric\":{\"v\":\"1\"},\"values\":[[10,\"1.5\"],[20,\"NaN\"],[30,\"+Inf\"]]},{\"metric\":{},\"values\":[[10.0004,\"2e3\"]]},{\"metric\":{\"v\":\"2\"},\"histograms\":[]}",
    );
    let curves = answer::read(&body, RANGE).unwrap();
    assert_eq!(
        curves.iter().map(|it| it.points.clone()).collect::<Vec<_>>(),
        [vec![(10_000, 2_000.0)], vec![(10_000, 1.5)], vec![]]
    );
    assert!(answer::read(&matrix(""), RANGE).unwrap().is_empty());
}

#[test]
fn what_was_not_asked_for_is_no_answer() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let point = |point: &str| matrix(&format!("{{\"metric\":{{}},\"values\":[{point}]}}"));
    for body in [
        b"".to_vec(),
        b"<html>".to_vec(),
        b"{}".to_vec(),
        b"{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}".to_vec(),
        b"{\"status\":\"error\",\"error\":\"no\"}".to_vec(),
        deep.clone().into_bytes(),
        matrix(&format!("{{\"metric\":{deep}}}")),
        matrix("{\"metric\":{}},{\"metric\":{}}"),
        matrix("{\"metric\":{\"a\":1}}"),
        point("[10,\"1\"],[10,\"2\"]"),
        point("[20,\"1\"],[10,\"2\"]"),
        point("[-1,\"1\"]"),
        point("[1e300,\"1\"]"),
        point("[41,\"1\"]"),
        point("[10,\"one\"]"),
        point("[10,1]"),
        point("[10,\"\"]"),
    ] {
        let said = answer::read(&body, RANGE);
        assert!(
            matches!(said, Err(AskError::Nonsense(_))),
            "{:.80}: {said:?}",
            String::from_utf8_lossy(&body)
        );
    }
    let many = "{\"metric\":{}},".repeat(3_000);
    assert!(matches!(answer::read(&matrix(many.trim_end_matches(',')), RANGE), Err(AskError::TooLarge)));
    let warned = b"{\"status\":\"success\",\"warnings\":[\"a store is away\"],\"data\":{\"resultType\":\"matrix\",\"result\":[]}}";
    assert!(matches!(answer::read(warned, RANGE), Err(AskError::Warns(_))), "part of an answer is none");
}

proptest! {
    #[test]
    fn nothing_that_is_read_is_out_of_the_range_or_no_number(
        values in prop::collection::vec((0_f64..50.0, prop_oneof!["[-+]?[0-9]{1,3}", "NaN|[+-]Inf|inf|1e999|x"]), 0..6),
    ) {
        let values: Vec<_> = values.iter().map(|(at, value)| format!("[{at},\"{value}\"]")).collect();
        let body = matrix(&format!("{{\"metric\":{{}},\"values\":[{}]}}", values.join(",")));
        if let Ok(curves) = answer::read(&body, RANGE) {
            for (at, value) in &curves[0].points {
                prop_assert!((0..=40_000).contains(at) && value.is_finite());
            }
            prop_assert!(curves[0].points.is_sorted_by(|one, next| one.0 < next.0));
        }
    }
}

#[tokio::test]
async fn a_range_is_asked_for_with_the_fields_that_were_given() {
    let key = ("LOCKSTEP_PROMETHEUS_HEADERS", "X-Scope-OrgID=shop");
    let (answer, head) = asked(http("200 OK", &matrix("")), &[key]).await;
    assert_eq!(answer.unwrap(), [vec![]]);
    assert!(head.starts_with("GET /api/v1/query_range?query=up%7Ba%3D%22b%22%7D&start=10.000&end=30.000&step=10.000&timeout=5s "), "{head}");
    assert!(head.to_lowercase().contains("x-scope-orgid: shop"), "{head}");
}

#[tokio::test]
async fn what_a_prometheus_refuses_is_said_in_its_words_without_what_it_was_sent() {
    let key = [("LOCKSTEP_PROMETHEUS_HEADERS", "Authorization=Bearer%20s3cret-word")];
    let body = b"{\"status\":\"error\",\"error\":\"bad s3cret-word\\u001b[2J here\"}";
    let said = asked(http("422 Unprocessable Entity", body), &key).await.0.unwrap_err().why();
    assert_eq!(said, "it answered 422 Unprocessable Entity: bad … [2J here");
    let said = asked(http("401 Unauthorized", b"<html>s3cret-word"), &key).await.0.unwrap_err();
    assert_eq!(said.why(), "it answered 401 Unauthorized", "what is no Prometheus is not repeated");
    assert!(said.hint().contains("LOCKSTEP_PROMETHEUS_HEADERS"));
    let moved =
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n".to_vec();
    assert!(matches!(asked(moved, &key).await.0, Err(AskError::Reach(ReachError::Redirect { .. }))));
}

#[tokio::test]
async fn an_answer_that_does_not_end_or_breaks_off_is_none() {
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let endless = [head, vec![b' '; MAX_ANSWER + 1]].concat();
    assert!(matches!(asked(endless, &[]).await.0, Err(AskError::TooLarge)));
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"status\"".to_vec();
    assert!(matches!(asked(cut, &[]).await.0, Err(AskError::Reach(ReachError::BrokeOff { .. }))));
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let away = prometheus(&endpoint, &[]).unwrap().ask(vec!["up".into()], RANGE).await.unwrap_err();
    assert!(away.why().starts_with(&format!("nobody takes a connection at {endpoint}: ")), "{}", away.why());
}

#[tokio::test]
async fn who_takes_connections_and_says_nothing_is_waited_for_a_few_seconds_whatever_was_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let holds = tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            held.push(listener.accept().await.unwrap());
        }
    });
    let it = prometheus(&endpoint, &[]).unwrap();
    // The clock goes ahead by itself where nothing else is to be done, so the test takes no five seconds.
    tokio::time::pause();
    let answer = it.ask(vec!["up".into(); 100], RANGE).await;
    assert!(matches!(answer, Err(AskError::Silent(LIMIT))), "{answer:?}");
    holds.abort();
}
