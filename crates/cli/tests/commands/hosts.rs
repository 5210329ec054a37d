//! Hosts: what is asked of a server for each command, what is shown, and what is waited for while one is drained.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::fake::{FakeServer, Reply};
use crate::fixtures::problem;
use crate::{code, err, lockstep, out};

const DIGEST: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn here() -> Value {
    json!({ "connection": "here" })
}

fn away() -> Value {
    json!({
        "connection": "away", "for_ms": 187_000, "why": "it is not reached: no route\nto it",
        "hint": "try it by hand: ssh web1 true",
    })
}

fn instance(id: &str, host: &str, state: &str) -> Value {
    json!({
        "id": id, "environment": "production", "state": { "state": state }, "address": "10.0.0.5:20000",
        "arm": { "service": "orders", "version": "1.4.0", "config": 0 }, "since": 1_000, "restarts": 0, "host": host,
    })
}

fn host(stance: &str, connection: &Value, instances: &[Value]) -> Value {
    named(("web1", stance), connection, instances)
}

fn named((name, stance): (&str, &str), connection: &Value, instances: &[Value]) -> Value {
    let mut view = json!({
        "name": name,
        "settings": {
            "ssh": "deploy@10.0.0.5", "address": "10.0.0.5", "labels": "role=web,zone=a",
            "environments": ["production", "staging"], "host_key": "ssh-ed25519 AAAA",
        },
        "fingerprint": format!("ssh-ed25519 {DIGEST}"),
        "stance": stance,
        "added": 1_000, "by": "ann@example.org",
        "instances": instances,
        "notes": ["after a boot without a server: no lingering"],
    });
    if stance != "open" {
        view["turned"] = json!({ "reason": "a new kernel", "since": 1_000, "by": "bob@example.org" });
    }
    if connection["connection"] == "here" {
        view["size"] = json!({
            "name": "web1", "kernel": "6.1.0", "architecture": "x86_64", "processors": 2,
            "memory_bytes": 4_294_967_296_u64, "free_bytes": 10_737_418_240_u64,
        });
    }
    view.as_object_mut().unwrap().extend(connection.as_object().unwrap().clone());
    view
}

fn environment(instances: &[Value]) -> Value {
    let mut view = crate::fixtures::environment(&json!({ "strategy": "all_at_once" }));
    view["services"] = json!([{
        "service": "orders", "entry": { "version": "1.4.0", "config": 0 }, "replicas": 2, "instances": instances,
        "arms": [], "warm": [],
    }]);
    view
}

const LIST: &str = "GET /api/v1/hosts";
const WEB1: &str = "GET /api/v1/hosts/web1";
const TURN: &str = "POST /api/v1/hosts/web1/turn";
const PRODUCTION: &str = "GET /api/v1/environments/production";

fn answering(line: &'static str, body: &Value) -> FakeServer {
    FakeServer::start(vec![(line, Reply::json(200, body))])
}

#[test]
fn a_host_is_added_as_it_was_typed_and_its_key_is_shown_to_be_compared() {
    let server = answering("POST /api/v1/hosts", &host("open", &here(), &[]));
    let add = ["host", "add", "web1", "--ssh", "deploy@10.0.0.5:2222"];
    let output = lockstep(&server.url(), &add);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(
        out(&output),
        format!(
            "done: web1 is a host, deploy@10.0.0.5; its instances listen on 10.0.0.5, and what goes there is not encrypted\n  \
             its key is ssh-ed25519 {DIGEST}; compare: on the host, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n  \
             it takes instances of production, staging\n  \
             note: after a boot without a server: no lingering\n"
        )
    );
    assert!(err(&output).contains("the server connects to deploy@10.0.0.5:2222"), "{}", err(&output));
    let asked = server.asked("POST /api/v1/hosts");
    assert_eq!(
        asked.json(),
        json!({ "name": "web1", "ssh": "deploy@10.0.0.5:2222", "network": "untrusted" })
    );
    assert_eq!(asked.header("lockstep-actor"), Some("ann@example.org"));

    let server = answering("POST /api/v1/hosts", &host("open", &here(), &[]));
    let shown = format!("256 {DIGEST} root@web1 (ED25519)");
    let options = [
        "--key",
        "keys/deploy",
        "--folder",
        "/srv/lockstep",
        "--address",
        "10.8.0.3",
        "--label",
        "zone=a",
        "--label",
        "role=web",
        "--env",
        "production,staging",
        "--fingerprint",
        &shown,
        "--json",
    ];
    let output = lockstep(&server.url(), &[&add[..], &options[..]].concat());
    assert_eq!((code(&output), err(&output).as_str()), (0, ""));
    let key = std::env::current_dir().unwrap().join("keys/deploy");
    assert_eq!(
        server.asked("POST /api/v1/hosts").json(),
        json!({
            "name": "web1", "ssh": "deploy@10.0.0.5:2222", "key": key, "folder": "/srv/lockstep",
            "address": "10.8.0.3", "labels": "role=web,zone=a", "environments": ["production", "staging"], "network": "untrusted",
            "fingerprint": DIGEST,
        })
    );
    let refused = lockstep(&answering("POST /api/v1/hosts", &host("open", &away(), &[])).url(), &add);
    let words =
        "  not used yet: it is away for 3 min 7 s: it is not reached: no route to it\n  next: try it by hand";
    assert!(out(&refused).contains(words), "{}", out(&refused));
    let document: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!((&document["name"], &document["connection"]), (&json!("web1"), &json!("here")));
}

#[test]
fn what_is_typed_wrong_is_said_before_anything_is_asked() {
    for (arguments, words) in [
        (&["host", "add", "Web1", "--ssh", "web1"][..], "start with a letter from a to z"),
        (&["host", "add", "web1"], "--ssh"),
        (&["host", "add", "web1", "--ssh=-oProxyCommand=x"], "begins with no -"),
        (&["host", "add", "web1", "--ssh", "web1", "--folder", "srv"], "absolute path"),
        (&["host", "add", "web1", "--ssh", "web1", "--key", "id.pub"], "public key"),
        (&["host", "add", "web1", "--ssh", "web1", "--label", "zone"], "NAME=VALUE"),
        (&["host", "add", "web1", "--ssh", "web1", "--label", "zone=a", "--label", "zone=b"], "twice"),
        (&["host", "add", "web1", "--ssh", "web1", "--address", "web1"], "IP address"),
        (&["host", "add", "web1", "--ssh", "web1", "--fingerprint", "MD5:aa"], "ssh-keygen -lf"),
        (&["host", "add", "web1", "--ssh", "web1", "--env", "production,"], "it is empty"),
        (&["host", "set", "web1", "--reason", "none"], "--ssh"),
        (&["host", "drain", "web1", "--no-wait", "--give-up-after", "1s"], "cannot be used with"),
    ] {
        let output = lockstep("http://127.0.0.1:1", arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn what_a_server_refuses_is_passed_on_with_what_to_do() {
    let server = FakeServer::start(vec![
        ("POST /api/v1/hosts", problem(422, "refused", "web1 cannot be used: no room", "make room")),
        (
            "POST /api/v1/hosts/web1/remove",
            problem(422, "refused", "orders-a runs there", "lockstep host drain web1"),
        ),
        (WEB1, problem(404, "not_found", "there is no host `web1`", "lockstep hosts")),
    ]);
    for (arguments, expected, words) in [
        (&["host", "add", "web1", "--ssh", "web1"][..], 3, "hint: make room"),
        (&["host", "remove", "web1"], 3, "hint: lockstep host drain web1"),
        (&["host", "show", "web1"], 4, "hint: lockstep hosts"),
    ] {
        let output = lockstep(&server.url(), arguments);
        assert_eq!((code(&output), out(&output).as_str()), (expected, ""), "{arguments:?}");
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
    }
    assert_eq!(server.asked("POST /api/v1/hosts/web1/remove").json(), json!({ "lost": false }));
}

#[test]
fn an_answer_that_breaks_off_leaves_nobody_in_the_dark() {
    let server = FakeServer::start(vec![("POST /api/v1/hosts", Reply::Hangup)]);
    let output = lockstep(&server.url(), &["host", "add", "web1", "--ssh", "web1"]);
    assert_eq!(code(&output), 5, "{}", err(&output));
    assert!(err(&output).contains("whether web1 was added is not known: lockstep hosts"), "{}", err(&output));
}

#[test]
fn hosts_are_listed_with_how_they_are() {
    let running = [instance("orders-a", "web1", "healthy"), instance("orders-b", "web1", "stopped")];
    let all = json!([
        host("open", &here(), &running),
        named(("web2", "draining"), &away(), &[]),
        named(("web3", "cordoned"), &json!({ "connection": "connecting" }), &[]),
    ]);
    let expected = "\
HOST  STATE                                   STANCE    ENVIRONMENTS         LABELS           ADDRESS   INSTANCES  FREE
web1  here                                    open      production, staging  role=web,zone=a  10.0.0.5  1          10.0 GiB
web2  away for 3 min 7 s: it is not reached:  draining  production, staging  role=web,zone=a  10.0.0.5  0
      no route to it
web3  connecting                              cordoned  production, staging  role=web,zone=a  10.0.0.5  0
";
    for arguments in [&["hosts"][..], &["host", "list"]] {
        let output = lockstep(&answering(LIST, &all).url(), arguments);
        assert_eq!(out(&output), expected, "{}", err(&output));
    }
    let output = lockstep(&answering(LIST, &json!([])).url(), &["hosts"]);
    assert!(out(&output).contains("lockstep host add NAME --ssh USER@HOST"), "{}", out(&output));
}

#[test]
fn a_host_is_shown_with_what_runs_there_and_what_to_do_when_it_is_away() {
    let view = host("cordoned", &away(), &[instance("orders-a", "web1", "healthy")]);
    let text = out(&lockstep(&answering(WEB1, &view).url(), &["host", "show", "web1"]));
    for wanted in [
        "web1  away for 3 min 7 s: it is not reached: no route to it, cordoned\n  next: try it by hand: ssh web1 true\n",
        "  ssh           deploy@10.0.0.5\n",
        &format!("  host key      ssh-ed25519 {DIGEST}\n"),
        "  cordoned      ",
        " by bob@example.org: a new kernel\n",
        "  INSTANCE  ENVIRONMENT  STATE    ADDRESS         SINCE",
        "  note: after a boot without a server: no lingering\n",
    ] {
        assert!(text.contains(wanted), "`{wanted}` is missing in {text}");
    }
    let text = out(&lockstep(&answering(WEB1, &host("open", &here(), &[])).url(), &["host", "show", "web1"]));
    assert!(text.contains("Linux 6.1.0 on x86_64, 2 processors, 4.0 GiB of memory, 10.0 GiB free"), "{text}");
    assert!(text.contains("nothing runs there\n"), "{text}");
}

#[test]
fn a_host_is_changed_turned_taken_over_and_removed() {
    let view = host("open", &here(), &[]);
    let change = "POST /api/v1/hosts/web1/change";
    let server = answering(change, &view);
    let output =
        lockstep(&server.url(), &["host", "set", "web1", "--label", "", "--key", "", "--reason", "why"]);
    assert!(out(&output).starts_with("done: web1 is changed\nweb1  here, open\n"), "{}", err(&output));
    assert_eq!(server.asked(change).json(), json!({ "key": "", "labels": "", "reason": "why" }));

    for (word, stance, words) in [
        (
            "cordon",
            "cordoned",
            "done: web1 is cordoned: no new instance starts there, and what runs there goes on\n",
        ),
        ("open", "open", "done: web1 is open: new instances start there\n"),
    ] {
        let server = answering(TURN, &host(stance, &here(), &[]));
        let output = lockstep(&server.url(), &["host", word, "web1", "--reason", "why"]);
        assert_eq!(out(&output), words, "{}", err(&output));
        assert_eq!(server.asked(TURN).json(), json!({ "stance": stance, "reason": "why" }));
    }
    let take_over = "POST /api/v1/hosts/web1/take-over";
    let refused = host("open", &away(), &[]);
    let server = FakeServer::start(vec![
        (WEB1, Reply::json(200, &refused)),
        (WEB1, Reply::json(200, &view)),
        (take_over, Reply::json(200, &refused)),
    ]);
    let output = lockstep(&server.url(), &["host", "take-over", "web1"]);
    assert_eq!(out(&output), "done: web1 is taken over, and here\n", "{}", err(&output));
    assert_eq!(server.count(take_over), 1);
    let output = lockstep(&server.url(), &["host", "take-over", "web1"]);
    assert_eq!(out(&output), "done: web1 is here already\n", "{}", err(&output));
    assert_eq!(server.count(take_over), 1, "the connection that is there would break off");

    let remove = "POST /api/v1/hosts/web1/remove";
    let server = answering(remove, &json!([]));
    let output = lockstep(&server.url(), &["host", "remove", "web1", "--lost"]);
    assert!(out(&output).contains("switch it off"), "{}", err(&output));
    assert_eq!(server.asked(remove).json(), json!({ "lost": true }));
}

#[test]
fn draining_waits_until_nothing_is_left_and_says_what_is() {
    let (a, b) = (instance("orders-a", "web1", "healthy"), instance("orders-b", "web1", "healthy"));
    let both = host("draining", &here(), &[a.clone(), b.clone()]);
    let server = FakeServer::start(vec![
        (TURN, Reply::json(200, &both)),
        (WEB1, Reply::json(200, &host("draining", &here(), std::slice::from_ref(&b)))),
        (WEB1, Reply::json(200, &host("draining", &here(), &[instance("orders-b", "web1", "stopped")]))),
        (PRODUCTION, Reply::json(200, &environment(&[a, b]))),
    ]);
    let output = lockstep(&server.url(), &["host", "drain", "web1"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(
        out(&output),
        "done: nothing runs on web1 any more\n  next: lockstep host open web1, or lockstep host remove web1\n"
    );
    assert_eq!(
        err(&output),
        "web1 is being drained: 2 instances are left: orders-a, orders-b\n\
         web1 is being drained: 1 instance is left: orders-b\n"
    );
    assert_eq!(server.asked(TURN).json(), json!({ "stance": "draining" }));

    let server = answering(TURN, &both);
    let output = lockstep(&server.url(), &["host", "evacuate", "web1", "--no-wait"]);
    assert_eq!(out(&output), "done: web1 is draining: 2 instances there are replaced elsewhere and end\n");
    assert_eq!(server.count(WEB1), 0);
}

#[test]
fn draining_ends_when_somebody_opens_the_host_and_when_nothing_happens() {
    let a = instance("orders-a", "web1", "healthy");
    let mut nowhere = instance("orders-b", "web1", "failed");
    nowhere["state"]["reason"] = json!("no host can take it: `web2` is cordoned");
    (nowhere["host"], nowhere["address"]) = (Value::Null, Value::Null);
    let draining = host("draining", &here(), std::slice::from_ref(&a));
    let server = |next: &Value| {
        FakeServer::start(vec![
            (TURN, Reply::json(200, &draining)),
            (WEB1, Reply::json(200, next)),
            (PRODUCTION, Reply::json(200, &environment(&[a.clone(), nowhere.clone()]))),
        ])
    };
    let opened = host("cordoned", &here(), std::slice::from_ref(&a));
    let output = lockstep(&server(&opened).url(), &["host", "drain", "web1"]);
    assert_eq!(code(&output), 1);
    let words = "web1 was turned to cordoned by bob@example.org: a new kernel; 1 instance there";
    assert!(err(&output).contains(words), "{}", err(&output));

    let output = lockstep(&server(&draining).url(), &["host", "drain", "web1", "--give-up-after", "1ms"]);
    assert_eq!(code(&output), 1);
    for words in [
        "nothing has happened on web1",
        "because: no host can take it: `web2` is cordoned",
        "lockstep host open web1",
    ] {
        assert!(err(&output).contains(words), "{words}: {}", err(&output));
    }
}

#[test]
fn a_lost_host_is_evacuated_when_all_that_served_there_was_told_to_end() {
    let (a, b) = (instance("orders-a", "web1", "healthy"), instance("orders-b", "web1", "healthy"));
    let mut warm = instance("orders-c", "web1", "healthy");
    warm["arm"]["version"] = json!("1.3.0");
    let gone = host("draining", &away(), &[a, b.clone(), warm.clone()]);
    let mut later = gone.clone();
    later["for_ms"] = json!(188_000);
    let told = |id: &str| instance(id, "web1", "stopping");
    let seen = |instances: &[Value]| {
        let mut view = environment(instances);
        view["services"][0]["warm"] = json!([{ "arm": warm["arm"], "until": 9_000 }]);
        Reply::json(200, &view)
    };
    let replies = |last: Reply| {
        FakeServer::start(vec![
            (TURN, Reply::json(200, &gone)),
            (WEB1, Reply::json(200, &later)),
            (PRODUCTION, seen(&[told("orders-a"), b.clone(), warm.clone()])),
            (PRODUCTION, seen(&[told("orders-a"), b.clone(), warm.clone()])),
            (PRODUCTION, last),
        ])
    };
    let server = replies(seen(&[told("orders-a"), told("orders-b"), warm.clone()]));
    let output = lockstep(&server.url(), &["host", "evacuate", "web1"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert_eq!(err(&output), "web1 is away: 1 instance is not replaced yet: orders-b\n");
    assert_eq!(
        out(&output),
        "done: what served on web1 is replaced; it is away, and 3 instances there may go on until it comes back\n  \
         next: lockstep host open web1 when it is back, or lockstep host remove web1 --lost\n"
    );
    let server = replies(seen(&[told("orders-a"), b.clone(), warm.clone()]));
    let output = lockstep(&server.url(), &["host", "evacuate", "web1", "--give-up-after", "1ms"]);
    assert_eq!(code(&output), 1, "{}", out(&output));
}

/// Runs the program where no `ssh` is found, so that what is looked at from here ends at once, and in its own way.
fn without_ssh(server: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(arguments).env_clear().env("PATH", "/nowhere").env("LOCKSTEP_SERVER", server);
    command.env("LOCKSTEP_ACTOR", "ann@example.org").output().unwrap()
}

#[test]
fn a_known_host_is_checked_by_the_server_and_everything_else_from_here() {
    let check = "POST /api/v1/hosts/web1/check";
    let found = |problems: Value| {
        json!({
            "usable": problems == json!([]), "round_trip_ms": 3, "clock_ahead_ms": 0, "problems": problems, "notes": [],
            "size": {
                "name": "web1", "kernel": "6.1.0", "architecture": "x86_64", "processors": 2,
                "memory_bytes": 4_294_967_296_u64, "free_bytes": 10_737_418_240_u64,
            },
        })
    };
    let server = answering(check, &found(json!([])));
    let output = lockstep(&server.url(), &["host", "check", "web1"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
    assert!(out(&output).starts_with("ok  web1 answers the server within 3 ms\n"), "{}", out(&output));
    let server = answering(check, &found(json!(["its clock is wrong"])));
    let output = lockstep(&server.url(), &["host", "check", "web1"]);
    assert_eq!(code(&output), 3, "{}", err(&output));
    assert!(err(&output).contains("instances cannot run on web1: its clock is wrong"), "{}", err(&output));

    let server =
        FakeServer::start(vec![(check, problem(404, "not_found", "there is no host", "lockstep hosts"))]);
    let nobody = "http://127.0.0.1:1".to_owned();
    for (server, arguments, words) in [
        (
            &server.url(),
            &["host", "check", "web1"][..],
            "no host is called web1: it is looked at from this machine",
        ),
        (&nobody, &["host", "check", "web1"], "no server is reached that could know web1"),
        (&nobody, &["host", "check", "deploy@web1"], "deploy@web1 cannot be used"),
        (&nobody, &["host", "check", "web1", "--ports", "1-2"], "web1 cannot be used"),
    ] {
        let output = without_ssh(server, arguments);
        assert_eq!(code(&output), 4, "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(words), "{arguments:?}: {}", err(&output));
    }
    assert_eq!(server.count(check), 1);
    let server =
        FakeServer::start(vec![(check, problem(401, "unauthorized", "a token is needed", "--token-file"))]);
    assert_eq!(code(&lockstep(&server.url(), &["host", "check", "web1"])), 7);
}

#[test]
fn the_status_of_an_environment_names_hosts_where_there_are_some() {
    let instances = [instance("orders-a", "web1", "healthy"), instance("orders-b", "web2", "healthy")];
    let status = |hosts: Value| {
        FakeServer::start(vec![
            (PRODUCTION, Reply::json(200, &environment(&instances))),
            (LIST, Reply::json(200, &hosts)),
        ])
    };
    let server = status(json!([host("open", &here(), &[]), named(("web2", "draining"), &away(), &[])]));
    let text = out(&lockstep(&server.url(), &["status", "production"]));
    assert!(text.contains("  INSTANCE  STATE    HOST  ADDRESS "), "{text}");
    assert!(text.contains("  orders-b  healthy  web2  10.0.0.5:20000"), "{text}");
    let away = "  host: web2 is away for 3 min 7 s: it is not reached: no route to it, draining (lockstep host show web2)\n";
    assert!(text.contains(away) && !text.contains("host: web1"), "{text}");
}
