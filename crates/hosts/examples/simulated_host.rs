//! Stands for `ssh` and a host behind it, for `cargo xtask bench hosts --simulated N`: speaks to a server as an agent does, over the same
//! protocol and standard streams, and tells of instances that there are not. Each of them is healthy a moment after its start, and tells
//! once a second what it has done.
//!
//! What the server does is real, and what a host does costs next to nothing. No `ssh` encrypts anything, and no line is slow.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use lockstep_domain::work::Told;
use lockstep_domain::{Instance, InstanceId, InstanceState, Timestamp};
use lockstep_runtime::{InstanceSpec, own};
use serde_json::{Value, json};

/// How long a simulated start takes.
const STARTS_WITHIN: Duration = Duration::from_millis(50);
/// How often each instance tells of itself, as a worker whose counters are read.
const TELLS_EVERY: Duration = Duration::from_secs(1);
/// How much of one stream may be under way.
const WINDOW: u32 = 1024 * 1024;

/// Where the first port of an instance is.
const FIRST_PORT: u16 = 20_000;

/// What runs on the host, so to say.
#[derive(Default)]
struct Host(Mutex<BTreeMap<InstanceId, Simulated>>);

struct Simulated {
    instance: Instance,
    begun: Instant,
    told: Option<Told>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let (host, command) = match arguments.as_slice() {
        [.., dashes, host, command] if dashes == "--" => (host.clone(), command.clone()),
        _ => return Err(io::Error::other("it is called as the server calls ssh: ... -- HOST COMMAND")),
    };
    pin(&arguments, &host)?;
    arrive(&command)?;
    let streams = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size((1 << 31) - 1);
    let mut connection = builder.handshake::<_, Bytes>(streams).await.map_err(io::Error::other)?;
    let running = Arc::new(Host::default());
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(io::Error::other)?;
        tokio::spawn(answer(host.clone(), Arc::clone(&running), request, respond));
    }
    Ok(())
}

/// Writes down the key that a host would have shown, as `ssh` does when it sees it first.
fn pin(arguments: &[String], host: &str) -> io::Result<()> {
    let option = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name));
    let (Some(file), Some(alias)) = (option("UserKnownHostsFile="), option("HostKeyAlias=")) else {
        return Err(io::Error::other("no file for keys of hosts is named"));
    };
    let file = file.trim_matches('"').replace("%%", "%");
    if std::fs::read_to_string(&file).is_ok_and(|text| text.contains(alias)) {
        return Ok(());
    }
    let mut known = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
    let key: String = host.bytes().map(|byte| format!("{byte:02x}")).collect();
    writeln!(known, "{alias} ssh-ed25519 {:A<68}", &key[..key.len().min(64)])
}

/// Says what the script says that brings a program: it is there already.
fn arrive(command: &str) -> io::Result<()> {
    let mark = command.rsplit(' ').nth(4).unwrap_or_default().trim_matches('\'');
    let mut out = io::stdout().lock();
    writeln!(out, "{mark} host Linux {}", std::env::consts::ARCH)?;
    writeln!(out, "{mark} run")?;
    out.flush()?;
    Ok(())
}

async fn answer(
    host: String,
    running: Arc<Host>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let path = request.uri().path().to_owned();
    let answered = match path.as_str() {
        "/watch" => watch(&running, respond).await,
        // No gateway comes: what it would bring is not measured here.
        "/way" => std::future::pending().await,
        _ => whole(&host, &running, &path, request.into_body(), respond).await,
    };
    if let Err(error) = answered {
        eprintln!("{host}: {path}: {error}");
    }
}

async fn whole(
    host: &str,
    running: &Host,
    path: &str,
    body: RecvStream,
    mut respond: SendResponse<Bytes>,
) -> io::Result<()> {
    let said = match path {
        "/look" => {
            // Read first: a request that is not taken is reset.
            discard(body).await?;
            json!({
                "facts": facts(host), "owner": null, "free_ports": 10_000, "no_listening": null, "ends_at_logout": null
            })
        }
        "/hello" => {
            let hello = read(body).await?;
            let claim = &hello["claim"];
            let lease = json!({ "server": claim["server"], "number": 1, "token": claim["next"] });
            json!({ "protocol": hello["protocol"], "lease": lease, "facts": facts(host) })
        }
        "/call" => running.call(host, &read(body).await?),
        // An artifact: it is taken and forgotten.
        _ => {
            discard(body).await?;
            json!("done")
        }
    };
    let mut stream = respond.send_response(Response::new(()), false).map_err(io::Error::other)?;
    stream.send_data(said.to_string().into(), true).map_err(io::Error::other)
}

/// What the host is like.
fn facts(host: &str) -> Value {
    json!({
        "name": host, "kernel": "6.1.0", "architecture": std::env::consts::ARCH, "boot": host, "clock_ms": now().0,
        "user": 1000, "folder": "/home/deploy/.local/share/lockstep/host", "free_bytes": 20_u64 << 30, "processors": 2,
        "memory_bytes": 4_u64 << 30, "address": address(host), "not_after_boot": null, "unprotected": []
    })
}

/// Each host has an address of its own: the one that it is called by.
fn address(host: &str) -> IpAddr {
    host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Host {
    fn call(&self, host: &str, call: &Value) -> Value {
        if let Some(spec) = call.get("start").cloned().and_then(|it| serde_json::from_value(it).ok()) {
            self.start(host, spec);
        } else if let Some(id) = call.get("stop").and_then(Value::as_str).and_then(|id| id.parse().ok()) {
            self.change(&id, |it| it.instance.state = InstanceState::Stopped);
        } else if let Some(id) = call.get("remove").and_then(Value::as_str) {
            self.lock().retain(|known, _| known.as_str() != id);
        } else if call.get("look").is_some() {
            return json!({ "looked": { "good": "/there" } });
        } else if call == "releases" {
            return json!({ "releases": [] });
        } else if call.get("arrived").is_some() {
            return json!({ "arrived": 0 });
        }
        json!("done")
    }

    fn start(&self, host: &str, spec: InstanceSpec) {
        let mut all = self.lock();
        let port = FIRST_PORT + u16::try_from(all.len()).unwrap_or_default();
        let is_gateway = spec.own.is_some();
        let instance = Instance {
            id: spec.id.clone(),
            environment: spec.environment,
            arm: spec.arm,
            state: InstanceState::Starting,
            address: Some(SocketAddr::new(spec.listen.unwrap_or_else(|| address(host)), port)),
            since: now(),
            restarts: 0,
            job: spec.job,
            resource: is_gateway.then(|| own::GATEWAY.parse().expect("it is a name")),
            host: None,
        };
        let told = (!is_gateway).then(Told::default);
        all.insert(spec.id, Simulated { instance, begun: Instant::now(), told });
    }

    fn change(&self, id: &InstanceId, change: impl FnOnce(&mut Simulated)) {
        if let Some(found) = self.lock().get_mut(id) {
            change(found);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, Simulated>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time go on, and returns the rows that have changed, as lines.
    fn news(&self, shown: &mut BTreeMap<InstanceId, String>, tells: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let mut all = self.lock();
        for (id, it) in all.iter_mut() {
            if it.instance.state == InstanceState::Starting && it.begun.elapsed() >= STARTS_WITHIN {
                (it.instance.state, it.instance.since) = (InstanceState::Healthy, now());
            }
            if let Some(told) = it.told.as_mut().filter(|_| tells && it.instance.state.is_healthy()) {
                (told.done, told.heard) = (told.done + 17, told.heard + 1);
            }
            let row = json!({ "row": { "instance": it.instance, "told": it.told } }).to_string();
            if shown.get(id) != Some(&row) {
                lines.push(row.clone());
                shown.insert(id.clone(), row);
            }
        }
        let gone: Vec<_> = shown.keys().filter(|id| !all.contains_key(*id)).cloned().collect();
        for id in gone {
            shown.remove(&id);
            lines.push(json!({ "gone": id }).to_string());
        }
        lines
    }
}

/// Tells of everything, and then of what changes.
async fn watch(running: &Host, mut respond: SendResponse<Bytes>) -> io::Result<()> {
    let mut stream = respond.send_response(Response::new(()), false).map_err(io::Error::other)?;
    let (mut shown, mut told) = (BTreeMap::new(), Instant::now());
    send(&mut stream, "\"all\"\n".to_owned()).await?;
    loop {
        let tells = told.elapsed() >= TELLS_EVERY;
        if tells {
            told = Instant::now();
        }
        for mut line in running.news(&mut shown, tells) {
            line.push('\n');
            send(&mut stream, line).await?;
        }
        tokio::time::sleep(STARTS_WITHIN).await;
    }
}

async fn send(stream: &mut SendStream<Bytes>, text: String) -> io::Result<()> {
    let mut piece = Bytes::from(text);
    while !piece.is_empty() {
        stream.reserve_capacity(piece.len());
        let room = poll_fn(|context| stream.poll_capacity(context)).await;
        let room =
            room.ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?.map_err(io::Error::other)?;
        let part = piece.split_to(room.min(piece.len()));
        stream.send_data(part, false).map_err(io::Error::other)?;
    }
    Ok(())
}

async fn read(mut body: RecvStream) -> io::Result<Value> {
    let mut text = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(io::Error::other)?;
        body.flow_control().release_capacity(piece.len()).map_err(io::Error::other)?;
        text.extend_from_slice(&piece);
    }
    serde_json::from_slice(&text).map_err(io::Error::other)
}

async fn discard(mut body: RecvStream) -> io::Result<()> {
    while let Some(piece) = body.data().await {
        let length = piece.map_err(io::Error::other)?.len();
        body.flow_control().release_capacity(length).map_err(io::Error::other)?;
    }
    Ok(())
}
