//! Metrics: a real Prometheus collects them and finds instances, and who may read them.

mod blaming;
mod checks;
mod delivery;
mod exporting;
mod history;
mod of_prometheus;
mod rules;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::support::place::{ENVIRONMENT, Place};
use super::support::repository::{manifest, misbehaving};
use super::support::secure::free_port;
use super::support::{self, eventually, get, processes};

/// The token of an operator.
const TOKEN: &str = "0123456789abcdef0123";

/// A Prometheus that collects by what `lockstep metrics prometheus` wrote; it ends with the test.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn of(place: &Place) -> Self {
        let token = place.path("scrape.token");
        fs::write(&token, place.run(&["metrics", "token"]).trim_end()).unwrap();
        let written = place.run(&["metrics", "prometheus"]);
        assert!(written.contains("/etc/prometheus/lockstep.token"), "{written}");
        Self::at(place, &written.replace("/etc/prometheus/lockstep.token", &token), free_port())
    }

    /// Starts it on a port, with what was written for it.
    fn at(place: &Place, written: &str, port: u16) -> Self {
        let (file, data) = (place.path("prometheus.yml"), place.path("prometheus"));
        let often = "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n";
        let written = written.replace("10s", "1s");
        fs::write(&file, format!("{often}{written}")).unwrap();
        let checked = Command::new("promtool").args(["check", "config", &file]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        let address = format!("127.0.0.1:{port}");
        let child = Command::new("prometheus")
            .args([&format!("--config.file={file}"), &format!("--storage.tsdb.path={data}")])
            .arg(format!("--web.listen-address={address}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    /// Asks until a query has a result, and returns the first one's labels and value.
    fn asks(&self, query: &str) -> (Value, f64) {
        let path = format!("/api/v1/query?query={}", encoded(query));
        let result = eventually(query, || {
            let (_, body) = get(&self.address, &path, 0).ok()?;
            let answer: Value = serde_json::from_str(body.trim()).ok()?;
            answer["data"]["result"].get(0).cloned()
        });
        let value = result["value"][1].as_str().unwrap().parse().unwrap();
        (result["metric"].clone(), value)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn prometheus_collects_what_the_server_and_its_gateways_count_and_finds_instances() {
    let place = Place::begin_with_token(TOKEN);
    place.deployed("orders");
    let prometheus = Prometheus::of(&place);
    let (labels, value) = prometheus.asks("lockstep_instances{state=\"healthy\"}");
    assert_eq!(labels["service_name"], "orders");
    assert!(labels["service_version"].is_string(), "{labels}");
    assert_eq!((labels["deployment_environment_name"].as_str(), value), (Some(ENVIRONMENT), 1.0));
    assert!(prometheus.asks("lockstep_instance_memory_bytes{service_name=\"orders\"}").1 > 1e6);
    assert!(prometheus.asks("lockstep_instance_cpu_seconds_total").1 > 0.0);
    assert!(prometheus.asks("process_resident_memory_bytes{job=\"lockstep\"}").1 > 1e6);
    assert!(prometheus.asks("lockstep_gateway_ready").1 >= 1.0, "of the gateway inside the server");
    // The service itself has no metrics: it is found all the same, and said to be down.
    let (labels, value) = prometheus.asks("up{job=\"lockstep-services\"}");
    assert_eq!((labels["service_name"].as_str(), value), (Some("orders"), 0.0));
}

/// The file for Grafana.
const DASHBOARD: &str = include_str!("../../../../examples/monitoring/grafana-dashboard.json");
/// Where all names of metrics stand.
const GUIDES: [&str; 2] = [
    include_str!("../../../../docs/guides/monitoring.md"),
    include_str!("../../../../docs/guides/gateway.md"),
];

/// Says whether a metric stands in a guide: by its whole name, or by its end behind the one beside it.
fn is_documented(name: &str) -> bool {
    let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '…');
    let words = GUIDES.iter().flat_map(|guide| guide.split(move |c| !is_part(c)));
    let is_it = |word: &str| match word.strip_prefix('…').or_else(|| word.starts_with('_').then_some(word))
    {
        Some(end) => end.len() > 4 && family.ends_with(end),
        None => word == family,
    };
    words.into_iter().any(is_it)
}

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.split(|c| !is_part(c));
    words
        .filter(|word| word.starts_with("lockstep_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_dashboard_asks_for_what_there_is_and_the_guides_name_all_of_it() {
    let place = Place::begin_with_token(TOKEN);
    place.deployed("orders");
    assert_eq!(place.ask("/orders").0, 200);
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let asked: Vec<_> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    let shown = place.run(&["metrics", "show"]);
    let samples: String =
        shown.lines().filter(|line| line.starts_with("# TYPE ")).collect::<Vec<_>>().join("\n");
    let undocumented: Vec<_> = names(&samples).into_iter().filter(|name| !is_documented(name)).collect();
    assert_eq!(undocumented, Vec::<String>::new(), "in no guide");
    let unknown: Vec<_> = names(&asked.join(" ")).into_iter().filter(|name| !is_documented(name)).collect();
    assert_eq!(unknown, Vec::<String>::new(), "asked for by the dashboard");
    let prometheus = Prometheus::of(&place);
    prometheus.asks("lockstep_instances");
    for expr in asked {
        let variables = [("$environment", ".*"), ("$service", ".*"), ("$__rate_interval", "1m")];
        let query = variables.iter().fold(expr.to_owned(), |query, (name, value)| query.replace(name, value));
        let answer =
            get(&prometheus.address, &format!("/api/v1/query?query={}", encoded(&query)), 0).unwrap().1;
        assert!(answer.contains("\"status\":\"success\""), "{query}: {answer}");
    }
}

/// Logs each request as JSON with the trace that it belongs to, and fails at `/fail`.
const LOGGING: &str = "
        import json
        trace = (self.headers.get('traceparent') or '0-0-0-0').split('-')[1]
        print(json.dumps({'level': 'error' if self.path == '/fail' else 'info', 'msg': 'asked for ' + self.path, 'trace_id': trace}), flush=True)
        answer = b'ok'";

#[test]
fn the_lines_of_all_instances_and_versions_are_one_log_and_a_trace_leads_to_its_lines() {
    let place = Place::begin_with_token(TOKEN);
    let repository = place.repository("orders");
    repository.write("lockstep.toml", &manifest("orders", "", ""));
    repository.write("service.py", &misbehaving("TEXT", "pass", LOGGING).replace("b'TEXT'", "answer"));
    let first = place.first_release(&repository, "orders");
    place.run(&["deploy", &first, "--env", ENVIRONMENT]);
    place.run(&["scale", "orders", "2", "--env", ENVIRONMENT]);
    (0..20).for_each(|at| assert_eq!(place.ask(&format!("/orders/{at}")).0, 200));
    repository.write("more.txt", "more");
    repository.commit("feat: more");
    let second = place.release("orders");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    assert_eq!(place.ask("/orders/second").0, 200);

    let all = place.run(&[
        "logs",
        "orders",
        "--env",
        ENVIRONMENT,
        "--all",
        "--since",
        "10m",
        "--grep",
        "ASKED FOR",
    ]);
    let lines: Vec<_> = all.lines().filter(|line| !line.contains("/health")).collect();
    assert_eq!(lines.len(), 21, "{all}");
    assert!(lines.iter().all(|line| line.contains(" INFO asked for ")), "{all}");
    assert!(lines.is_sorted(), "{all}");
    assert!(lines[0].contains(&first) && lines[20].contains(&second), "{all}");

    let entries = place.run(&["logs", "--all", "--env", ENVIRONMENT, "--json", "--grep", "second"]);
    let entry: Value = serde_json::from_str(entries.lines().next().unwrap()).unwrap();
    let trace = entry["trace"].as_str().unwrap();
    let of_trace = place.run(&["logs", "--env", ENVIRONMENT, "--trace", trace]);
    assert_eq!(of_trace.lines().count(), 1, "{of_trace}");
    assert!(of_trace.contains("second"), "{of_trace}");
    let wrong = place.fail(&["logs", "orders-1", "--grep", "x"], 2);
    assert!(wrong.contains("--all"), "{wrong}");
}

#[test]
fn events_say_in_words_what_was_decided_and_go_on_while_they_are_followed() {
    let place = Place::begin_with_token(TOKEN);
    place.deployed("orders");
    let events = place.run(&["events", "--env", ENVIRONMENT]);
    assert!(events.contains(": operation 1: deploy orders"), "{events}");
    assert!(events.contains("operation 1 is done: baseline 1"), "{events}");
    let of_service = place.json(&["events", "--service", "orders"]);
    let all = of_service.as_array().unwrap();
    assert!(all.iter().any(|it| it["event"] == "version_recorded"), "{of_service}");
    assert!(all.iter().any(|it| it["event"] == "operation_done"), "of the operation that names the service");
    let mut follow = place.command(&["events", "--follow", "--json", "--limit", "1"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    place.run(&["restart", "orders", "--env", ENVIRONMENT]);
    let later: Vec<Value> = lines
        .by_ref()
        .map(|line| serde_json::from_str(&line).unwrap())
        .take_while(|view: &Value| view["event"] != "operation_done")
        .collect();
    assert!(later.iter().any(|view| view["what"].as_str().unwrap().contains("restart")), "{later:?}");
    assert!(later.iter().all(|view| view["seq"].as_u64() > first["seq"].as_u64()));
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn promtool_finds_nothing_wrong_with_what_is_measured() {
    let place = Place::begin_with_token(TOKEN);
    place.deployed("orders");
    let text = place.run(&["metrics", "show"]);
    let mut checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    checked.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = checked.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn the_token_for_metrics_is_good_for_nothing_else() {
    let place = Place::begin_with_token(TOKEN);
    let token = place.run(&["metrics", "token"]);
    assert!(token.starts_with("lockstep-scrape-"), "{token}");
    let ask = |method: &str, path: &str, token: Option<&str>| {
        let mut command = Command::new("curl");
        command.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]);
        if method == "POST" {
            command.args(["-H", "content-type: application/json", "-d", "{}"]);
        }
        if let Some(token) = token {
            command.args(["-H", &format!("authorization: Bearer {}", token.trim())]);
        }
        let output = command.arg(format!("{}{path}", place.url())).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for path in ["/metrics", "/api/v1/metrics", "/api/v1/targets"] {
        assert_eq!(ask("GET", path, Some(&token)), "200", "{path}");
        assert_eq!(ask("GET", path, None), "401", "{path}");
        assert_eq!(ask("GET", path, Some("lockstep-scrape-0000000000000000")), "401", "{path}");
    }
    for path in ["/api/v1/services", "/api/v1/scrape-token", "/api/v1/health", "/api/v1/journal/export"] {
        assert_eq!(ask("GET", path, Some(&token)), "403", "{path}");
    }
    assert_eq!(ask("POST", "/api/v1/environments", Some(&token)), "403");
}

/// A program that takes notices; it notes each, and says that it has it.
struct Sink {
    address: String,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Sink {
    fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let bodies = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&bodies);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Some(body) = stream.ok().and_then(|stream| take(stream).ok()) else { continue };
                kept.lock().unwrap().push(body);
            }
        });
        Self { address, bodies }
    }

    /// Returns what came of a kind, such as `fault`.
    fn of(&self, kind: &str) -> Vec<Value> {
        let bodies = self.bodies.lock().unwrap();
        // The disk of the machine may be low all the same.
        let is_own = |data: &Value| data["environment"] == ENVIRONMENT || data["kind"] == "test";
        let is_of = |body: &&Value| body["data"]["kind"] == kind && is_own(&body["data"]);
        bodies.iter().filter(is_of).cloned().collect()
    }
}

fn take(mut stream: TcpStream) -> std::io::Result<Value> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
    Ok(serde_json::from_slice(&body)?)
}

#[test]
fn a_fault_is_told_once_with_the_change_before_it_and_once_when_it_is_over_whoever_is_killed_meanwhile() {
    let mut place = Place::begin_with_token(TOKEN);
    let sink = Sink::begin();
    fs::write(
        place.path("hook.toml"),
        format!("kind = \"webhook\"\nurl = \"http://{}/hook\"\n", sink.address),
    )
    .unwrap();
    // What is wrong with the machine that the test runs on is no matter of it.
    let added = place.run(&["notify", "add", "ops", &place.path("hook.toml"), "--env", ENVIRONMENT]);
    assert!(added.contains("lockstep notify test ops"), "{added}");
    place.run(&["notify", "test", "ops"]);
    eventually("the test arrives", || (sink.of("test").len() == 1).then_some(()));
    let kept = place.run(&["journal", "export"]);
    assert!(!kept.contains(&sink.address), "an address is a secret: it is not in the journal");

    let repository = place.deployed("orders");
    let first = place.status()["services"][0]["entry"]["version"].as_str().unwrap().to_owned();
    repository.write("service.py", &misbehaving("two", "pass", "pass"));
    repository.commit("feat: two");
    let second = place.release("orders");
    place.run(&["deploy", &second, "--env", ENVIRONMENT]);
    let output = place.command(&["alerts", "--env", ENVIRONMENT, "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The disk of the machine may be low all the same.
    let wrong =
        said["alerts"].as_array().unwrap().iter().filter(|it| it["subject"]["environment"] == ENVIRONMENT);
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&Value>::new());
    let instances = || processes::of_instances(&place.data());
    let serving = place.status()["services"][0]["instances"].as_array().unwrap().clone();
    let serving = serving.iter().find(|it| it["arm"]["version"] != *first).unwrap()["id"].as_str().unwrap();
    let process = instances()[serving];
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    eventually("the fault is told", || (!sink.of("fault").is_empty()).then_some(()));
    let fault = &sink.of("fault")[0]["data"];
    assert!(fault["title"].as_str().unwrap().contains("orders"), "{fault}");
    let change = &fault["change"];
    assert!(change["what"].as_str().unwrap().contains(&format!("deploy {second}")), "{fault}");
    let undo = format!("lockstep rollback orders --to {first} --env {ENVIRONMENT}");
    assert_eq!(change["undo"], undo.as_str());
    let alerts = place.json_ending(&["alerts", "--env", ENVIRONMENT], 3);
    let all_down = alerts["alerts"].as_array().unwrap().iter().find(|it| it["rule"] == "all-down").unwrap();
    assert_eq!(all_down["change"]["undo"], undo.as_str(), "{alerts}");
    let blamed = place.run(&["blame", "orders", "--env", ENVIRONMENT, "--since", "20m"]);
    let likeliest = blamed.lines().nth(1).unwrap();
    assert!(likeliest.contains(&format!("deploy {second}")), "{blamed}");
    assert!(blamed.contains(&undo), "{blamed}");

    place.kill_server();
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    place.start_server();
    // A minute without it, so that what comes and goes is not told again and again.
    let recovered = || (!sink.of("recovered").is_empty()).then_some(());
    support::next_minute("that it is over is told", recovered);
    assert_eq!((sink.of("fault").len(), sink.of("recovered").len()), (1, 1));
    assert_eq!(sink.of("fault")[0]["data"]["group"], sink.of("recovered")[0]["data"]["group"]);
    let listed = place.json(&["notify", "list"]);
    assert_eq!((listed[0]["waiting"].as_u64(), &listed[0]["error"]), (Some(0), &Value::Null), "{listed}");
}

#[test]
fn what_is_silenced_is_shown_and_told_to_nobody() {
    let place = Place::begin_with_token(TOKEN);
    let sink = Sink::begin();
    let file = place.path("hook.toml");
    fs::write(&file, format!("kind = \"webhook\"\nurl = \"http://{}/hook\"\n", sink.address)).unwrap();
    place.run(&["notify", "add", "ops", &file, "--env", ENVIRONMENT]);
    place.deployed("orders");
    let silenced = ["silence", "add", "service=orders", "--for", "1h", "--reason", "it is tried"];
    assert!(place.run(&silenced).contains("service=orders"));
    let (_, process) = processes::of_instances(&place.data()).pop_first().unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::STOP).unwrap();
    eventually("it is shown", || {
        let output = place.command(&["alerts", "--json"]).output().unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).ok()?;
        list["alerts"]
            .as_array()?
            .iter()
            .any(|it| it["rule"] == "all-down" && it["stage"] == "firing")
            .then_some(())
    });
    let list = place.json(&["silence", "list"]);
    assert_eq!(list[0]["silenced"].as_array().map(Vec::is_empty), Some(false), "{list}");
    rustix::process::kill_process(process, rustix::process::Signal::CONT).unwrap();
    place.run(&["notify", "test", "ops"]);
    eventually("the target is told of what is not silenced", || (!sink.of("test").is_empty()).then_some(()));
    assert_eq!(sink.of("fault"), Vec::<Value>::new());
    let wrong = place.fail(&["silence", "add", "srvice=orders", "--for", "1h", "--reason", "x"], 2);
    assert!(wrong.contains("`srvice`"), "{wrong}");
    let wrong = place.fail(&["silence", "add", "service=*", "--for", "40d", "--reason", "x"], 2);
    assert!(wrong.contains("everything") && wrong.contains("30 days"), "{wrong}");
    fs::write(&file, "kind = \"slack\"\nurl = \"http://169.254.169.254/x\"\n").unwrap();
    let wrong = place.fail(&["notify", "add", "bad", &file], 2);
    assert!(wrong.contains("url"), "{wrong}");
}
