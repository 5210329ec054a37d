//! Metrics and lines of logs at collectors, which are spoken to as their documents say, and of which one is away for a while.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::super::support::eventually;
use super::super::support::place::Place;

/// A program that takes what is sent to it, or answers 503 while it is away.
struct Collector {
    address: String,
    away: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<Request>>>,
}

/// The path and the body of a request.
type Request = (String, Vec<u8>);

impl Collector {
    fn begin(away: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (away, taken) = (Arc::new(AtomicBool::new(away)), Arc::<Mutex<Vec<_>>>::default());
        let (is_away, kept) = (Arc::clone(&away), Arc::clone(&taken));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let is_away = is_away.load(Ordering::SeqCst);
                let Ok(request) = take(stream, is_away) else { continue };
                if !is_away {
                    kept.lock().unwrap().push(request);
                }
            }
        });
        Self { address, away, taken }
    }

    /// The bodies of a path, as they come unpacked.
    fn bodies(&self, path: &str) -> Vec<Vec<u8>> {
        let taken = self.taken.lock().unwrap();
        taken.iter().filter(|(of, _)| of == path).map(|(_, body)| body.clone()).collect()
    }

    /// The lines that Loki would have.
    fn lines(&self) -> Vec<String> {
        let bodies = self.bodies("/loki/api/v1/push");
        let lines = bodies.iter().flat_map(|body| {
            let sent: Value = serde_json::from_slice(body).unwrap();
            let streams = sent["streams"].as_array().unwrap().clone();
            streams.into_iter().flat_map(|stream| stream["values"].as_array().unwrap().clone())
        });
        lines.map(|line| line[1].as_str().unwrap().to_owned()).collect()
    }
}

fn take(mut stream: TcpStream, is_away: bool) -> std::io::Result<Request> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut line) = (Vec::new(), String::new());
    while reader.read_line(&mut line)? > 2 {
        head.push(line.trim().to_owned());
        line.clear();
    }
    let field = |name: &str| {
        let mut found = head.iter().filter_map(|line| line.split_once(": "));
        found.find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let status = if is_away { "503 Service Unavailable" } else { "200 OK" };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let body = if field("content-encoding").as_deref() == Some("gzip") { unpacked(&body) } else { body };
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    Ok((path, body))
}

fn unpacked(body: &[u8]) -> Vec<u8> {
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = gzip.stdin.take().unwrap();
    let body = body.to_vec();
    let writes = std::thread::spawn(move || stdin.write_all(&body));
    let out = gzip.wait_with_output().unwrap().stdout;
    writes.join().unwrap().unwrap();
    out
}

fn has(bodies: &[Vec<u8>], text: &str) -> bool {
    bodies.iter().any(|body| body.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[test]
fn metrics_and_lines_go_to_collectors_also_those_that_were_written_while_one_was_away_or_the_server_was() {
    let (otlp, loki) = (Collector::begin(false), Collector::begin(true));
    let arguments =
        ["--otlp-endpoint", &otlp.address, "--otlp-metrics", "--otlp-logs", "--loki", &loki.address];
    let variables = vec![("OTEL_METRIC_EXPORT_INTERVAL", "1000".to_owned())];
    let mut place = Place::begin_asking(&arguments, variables);
    place.deployed("orders");
    eventually("metrics are there", || has(&otlp.bodies("/v1/metrics"), "lockstep_instances").then_some(()));
    let said = "started process";
    let logged = place.run(&["logs", "orders", "--all"]);
    assert!(logged.contains(said), "{logged}");
    eventually("lines are there", || has(&otlp.bodies("/v1/logs"), said).then_some(()));
    assert!(has(&otlp.bodies("/v1/logs"), "service.instance.id"));
    assert_eq!(loki.lines(), Vec::<String>::new());

    // Who was away gets what was written meanwhile, also from a server that was killed meanwhile.
    place.kill_server();
    loki.away.store(false, Ordering::SeqCst);
    place.start_server();
    eventually("Loki has them", || loki.lines().iter().any(|line| line.contains(said)).then_some(()));
    let shown = place.run(&["metrics", "show"]);
    assert!(shown.contains("lockstep_exported_log_lines_total{result=\"sent\"}"), "{shown}");
    let refused = place.fail(&["server", "--data", &place.path("other"), "--otlp-logs"], 2);
    assert!(refused.contains("where logs go"), "{refused}");
}
