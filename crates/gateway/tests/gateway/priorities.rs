//! Priorities of requests: who says them, how they go along a chain of calls, who is refused first, and where it is seen.

use lockstep_domain::priority::Priority;
use lockstep_gateway::explain::{Question, explain};
use lockstep_gateway::recent::RecentList;
use lockstep_gateway::{AccessLogConfig, AccessLogTarget, Applied, GatewayConfig};
use serde_json::{Value, json};

use crate::adaptive::{held, start};
use crate::policies::{asking, code, open};
use crate::seeing::{Asked, lines};
use crate::support::{Client, Instance, Message, Running, answer, as_instance, stable, table, wait_until};

/// Answers with what it was told of the priority.
fn echo() -> Instance {
    Instance::start(|request, stream| {
        let field = |name: &str| request.header(name).unwrap_or("none").to_owned();
        let told = ["lockstep-priority", "baggage", "tracestate"].map(field);
        answer(stream, 200, told.join("\n").as_bytes())
    })
}

fn ask(running: &Running, path: &str, fields: &str) -> Message {
    let request = format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\nx-lockstep-key: ann\r\n{fields}\r\n");
    running.client().ask(request).unwrap()
}

/// The field, and the members of `baggage` and `tracestate`, that an instance got.
fn told(message: &Message) -> [String; 3] {
    let text = message.text();
    let mut lines = text.lines();
    let field = lines.next().unwrap().to_owned();
    let mut member = |name: &str| {
        let list = lines.next().unwrap();
        let found = list.split(',').find_map(|it| it.trim().strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or("none").to_owned()
    };
    [field, member("lockstep.priority"), member("lockstep-priority")]
}

const TRACE: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

#[test]
fn only_who_is_believed_says_it_and_it_goes_along_the_chain() {
    let echo = echo();
    let running = open(&[stable(0, &[("echo", echo.address)])], &json!({ "priority": "low" }));
    let inside = as_instance("/a");
    let said = |word: &str| [word; 3].map(str::to_owned);
    let all = ["lockstep-priority: critical\r\n", "baggage: a=1,lockstep.priority=critical\r\n"];
    for claim in all.into_iter().chain(["lockstep_priority: critical\r\n", "Lockstep-Priority: bulk\r\n", ""])
    {
        assert_eq!(told(&ask(&running, "/a", claim)), said("low"), "from outside: {claim}");
    }
    let claim = format!("{TRACE}tracestate: lockstep-priority=critical,dd=1\r\n");
    assert_eq!(told(&ask(&running, "/a", &claim)), said("low"), "from outside");
    assert_eq!(told(&ask(&running, &inside, &claim)), said("critical"));
    for claim in all {
        assert_eq!(told(&ask(&running, &inside, claim)), said("critical"), "{claim}");
    }
    let both = "baggage: lockstep.priority=critical\r\nlockstep-priority: bulk\r\n";
    assert_eq!(told(&ask(&running, &inside, both)), said("bulk"), "its own word comes first");
    assert_eq!(
        told(&ask(&running, &inside, "lockstep-priority: normal\r\n")),
        said("none"),
        "before that of the route"
    );
    for none in
        ["lockstep-priority: highest\r\n", "lockstep-priority: LOW\r\n", "baggage: lockstep.priority=\r\n"]
    {
        assert_eq!(told(&ask(&running, &inside, none)), said("low"), "{none}");
    }
    let untraced = "tracestate: lockstep-priority=critical\r\n";
    assert_eq!(told(&ask(&running, &inside, untraced)), said("low"), "it belongs to a trace");
    let by_name = as_instance("/@shop/a");
    assert_eq!(told(&ask(&running, &by_name, "")), said("none"), "no route says anything of it");
}

fn waiting(running: &Running, held: &crate::adaptive::Held, priority: Priority) -> Client {
    let mut client = running.client();
    let (path, word) = (as_instance("/wait"), priority.word());
    client
        .send(format!("GET {path} HTTP/1.1\r\nhost: shop.test\r\nlockstep-priority: {word}\r\n\r\n"))
        .unwrap();
    held.arrived.recv_timeout(crate::support::PATIENCE).unwrap();
    client
}

#[test]
fn the_lower_ones_are_refused_first_and_those_that_are_critical_last() {
    let shares = json!({ "normal_percent": 75, "low_percent": 50, "bulk_percent": 25 });
    let adaptive = json!({ "least": 4, "start": 4, "most": 4 });
    let limits = [
        (json!({ "adaptive_limit": adaptive, "priorities": shares }), "overloaded"),
        (json!({ "max_requests": 4, "priorities": shares }), "busy"),
    ];
    for (policy, why) in limits {
        let held = held();
        let running = start(&[stable(0, &[("one", held.instance.address)])], &policy);
        let mut all = Vec::new();
        for (already, priority) in
            [Priority::Bulk, Priority::Low, Priority::Normal, Priority::Critical].into_iter().enumerate()
        {
            all.push(waiting(&running, &held, priority));
            // Now those of its own priority and of lower ones find no place, and the next higher ones do.
            for other in Priority::ALL {
                let field = format!("lockstep-priority: {}\r\n", other.word());
                wait_until("the others are over", || running.in_flight() == already as u64 + 1);
                let got = ask(&running, &as_instance("/"), &field);
                let expected = if other >= priority { 503 } else { 200 };
                assert_eq!(got.status(), expected, "{why}: {other:?} beside {}", already + 1);
                if expected == 503 {
                    assert_eq!(code(&got), why);
                }
            }
        }
        let metrics = running.gateway.admin().metrics();
        for (priority, count) in [("critical", 1), ("normal", 2), ("low", 3), ("bulk", 4)] {
            let labels = format!("code=\"{why}\",priority=\"{priority}\"}} {count}");
            let is_it = |line: &str| {
                line.starts_with("lockstep_gateway_turned_away_total{") && line.ends_with(&labels)
            };
            assert!(metrics.lines().any(is_it), "{labels}\n{metrics}");
        }
        assert_eq!(running.traffic(0).failures, 10, "{why}");
        all.iter().for_each(|_| held.go.send(()).unwrap());
        all.iter_mut().for_each(|client| assert_eq!(client.read().unwrap().status(), 200));
    }
}

#[test]
fn where_nothing_is_said_of_shares_the_lower_ones_have_less_and_nobody_is_refused_alone() {
    let held = held();
    let running = start(&[stable(0, &[("one", held.instance.address)])], &json!({ "max_requests": 1 }));
    let bulk = "lockstep-priority: bulk\r\n";
    assert_eq!(ask(&running, &as_instance("/"), bulk).status(), 200);
    let policy = json!({ "max_requests": 2 });
    let running = start(&[stable(0, &[("one", held.instance.address)])], &policy);
    let mut first = waiting(&running, &held, Priority::Critical);
    assert_eq!(ask(&running, &as_instance("/"), bulk).status(), 503);
    assert_eq!(ask(&running, "/", "").status(), 200);
    held.go.send(()).unwrap();
    assert_eq!(first.read().unwrap().status(), 200);
}

#[test]
fn it_is_seen_in_the_log_in_the_last_requests_and_before_a_request_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let access_log = Some(AccessLogConfig::new(AccessLogTarget::File(path.clone())));
    let echo = echo();
    let arms = [stable(0, &[("echo", echo.address)])];
    let running = Running::of(GatewayConfig { access_log, recent: 10, ..GatewayConfig::new("test") }, &arms);
    let mut prioritised = asking(table(2, &arms), &json!({ "priority": "bulk" }));
    for split in prioritised.services.values_mut().flat_map(|service| &mut service.splits) {
        split.policy = Some(serde_json::from_value(json!({ "max_requests": 7 })).unwrap());
    }
    assert_eq!(running.gateway.apply(prioritised.clone()).unwrap(), Applied::Now);
    ask(&running, "/a", "");
    ask(&running, &as_instance("/a"), "lockstep-priority: normal\r\n");
    let lines = lines(&path, 2);
    let logged: Vec<&Value> = lines.iter().map(|line| &line["priority"]).collect();
    assert_eq!(logged, [&json!("bulk"), &Value::Null]);
    let asked = Asked::serve(running.gateway.admin());
    let list: RecentList = serde_json::from_str(&asked.ask("/-/recent").1).unwrap();
    let mut kept: Vec<_> = list.requests.iter().map(|it| it.priority.as_deref()).collect();
    kept.sort_unstable();
    assert_eq!(kept, [None, Some("bulk")]);
    let question = Question::new("GET", "http://shop.test/a", &[], [127, 0, 0, 1].into()).unwrap();
    let explanation = explain(prioritised, &question).unwrap();
    let says = |about: &str| {
        let step = explanation.steps.iter().find(|step| step.about == about);
        step.map(|step| step.says.clone()).unwrap_or_default()
    };
    assert_eq!(says("priority"), "bulk, as its route says");
    let limit = "7 requests under way at each instance; more are answered 503 at once. critical requests may use all of it, normal ones 100 %, those of low priority 75 %, bulk 50 %";
    assert_eq!(says("limit"), limit);
}
