//! An authority of the test that speaks ACME (RFC 8555): it checks every nonce and signature, and looks at hosts as an authority does,
//! by connecting to where they are served. What it does wrong it is told to do.

mod faults;
mod jws;
mod looks;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::place::Place;
use super::secure::Authority;

pub(crate) use faults::Faults;
use jws::{Key, Signed};

/// The authority, which ends with the test.
pub(crate) struct AcmeServer {
    directory: String,
    state: Arc<Mutex<State>>,
}

/// Where it finds the hosts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    pub(crate) tls: u16,
}

pub(super) struct State {
    base: String,
    ports: Ports,
    pub(super) faults: Faults,
    signer: Authority,
    /// Those that were given and not used.
    nonces: BTreeSet<String>,
    used: BTreeSet<String>,
    counter: u64,
    accounts: BTreeMap<String, Key>,
    orders: Vec<Order>,
    /// What was asked, in order.
    asked: Vec<String>,
}

struct Order {
    account: String,
    hosts: Vec<String>,
    looks: Vec<Look>,
    /// How often it still says that it is at it.
    polls: u32,
    certificate: Option<String>,
    finalized: bool,
}

struct Look {
    token: String,
    status: &'static str,
    error: Option<Value>,
}

impl Order {
    fn status(&self) -> &'static str {
        match () {
            () if self.looks.iter().any(|look| look.status == "invalid") => "invalid",
            () if self.finalized && self.polls > 0 => "processing",
            () if self.finalized => "valid",
            () if self.looks.iter().all(|look| look.status == "valid") => "ready",
            () => "pending",
        }
    }
}

/// An answer: status, further fields, content.
struct Answer(u16, Vec<(&'static str, String)>, String);

impl Answer {
    fn json(status: u16, value: &Value) -> Self {
        Self(status, vec![("content-type", "application/json".into())], value.to_string())
    }

    fn problem(status: u16, kind: &str, detail: &str) -> Self {
        Self::json(status, &json!({"type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail}))
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.1.push((name, value.into()));
        self
    }
}

impl AcmeServer {
    /// Starts one that looks at hosts at these ports of loopback.
    pub(crate) fn start(place: &Place, ports: Ports, faults: Faults) -> Self {
        let signer = Authority::new(place, "acme");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let config = server_config(&signer);
        let state = State {
            base: base.clone(),
            ports,
            faults,
            signer,
            nonces: BTreeSet::new(),
            used: BTreeSet::new(),
            counter: 0,
            accounts: BTreeMap::new(),
            orders: Vec::new(),
            asked: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (config, state) = (Arc::clone(&config), Arc::clone(&shared));
                thread::spawn(move || serve(socket, config, &state));
            }
        });
        Self { directory: format!("{base}/dir"), state }
    }

    pub(crate) fn directory(&self) -> &str {
        &self.directory
    }

    /// The file with the certificate that the directory is believed by, and what it signs.
    pub(crate) fn ca(&self) -> String {
        self.state().signer.file()
    }

    pub(crate) fn client(&self) -> Arc<rustls::ClientConfig> {
        self.state().signer.client(None)
    }

    /// How often something was asked whose name begins so: `order`, `finalize`.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.starts_with(what)).count()
    }

    /// How many orders, and how many accounts there are.
    pub(crate) fn made(&self) -> (usize, usize) {
        let state = self.state();
        (state.orders.len(), state.accounts.len())
    }

    pub(crate) fn behave(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn server_config(signer: &Authority) -> Arc<ServerConfig> {
    let (chain, key) = signer.chain_for_address();
    let key = PrivateKeyDer::try_from(key).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

/// Answers one request; whoever leaves in the middle is let go.
fn serve(socket: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) -> Option<()> {
    socket.set_read_timeout(Some(super::REQUEST_TIMEOUT)).ok()?;
    let session = ServerConnection::new(config).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(session, socket));
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut field = String::new();
        stream.read_line(&mut field).ok()?;
        let Some((name, value)) = field.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let answer = answer(state, &method, &path, &body);
    let Answer(status, fields, content) = answer;
    let nonce = state.lock().unwrap().nonce();
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nreplay-nonce: {nonce}\r\n", content.len())
        .ok()?;
    fields.iter().try_for_each(|(name, value)| write!(stream, "{name}: {value}\r\n")).ok()?;
    let content = if method == "HEAD" { "" } else { &content };
    write!(stream, "connection: close\r\n\r\n{content}").ok()?;
    stream.conn.send_close_notify();
    stream.flush().ok()
}

fn answer(state: &Mutex<State>, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut held = state.lock().unwrap();
    held.asked.push(path.trim_start_matches('/').to_owned());
    if let Some(odd) = held.faults.instead_of(path) {
        return odd.into();
    }
    match (method, path) {
        ("GET", "/dir") => Answer::json(200, &held.directory()),
        ("HEAD" | "GET", "/nonce") => Answer(200, Vec::new(), String::new()),
        ("POST", _) => match held.verified(path, body) {
            Err(refused) => refused,
            Ok(signed) => match path.strip_prefix("/chall/") {
                Some(which) => {
                    let (order, look) = place_of(which);
                    let seen = held.look_begins(order, look);
                    drop(held);
                    looks::look(state, order, look, &seen);
                    let held = state.lock().unwrap();
                    Answer::json(200, &held.challenge(order, look))
                }
                None => held.post(path, &signed),
            },
        },
        _ => Answer::problem(405, "malformed", "no such thing"),
    }
}

/// Reads `3-1`: the second look of order 3.
fn place_of(which: &str) -> (usize, usize) {
    let (order, look) = which.split_once('-').unwrap();
    let look = look.split('/').next().unwrap();
    (order.parse().unwrap(), look.parse().unwrap())
}

impl State {
    fn nonce(&mut self) -> String {
        self.counter += 1;
        let nonce = format!("nonce-{}", self.counter);
        self.nonces.insert(nonce.clone());
        nonce
    }

    fn directory(&self) -> Value {
        let at = |path: &str| format!("{}/{path}", self.base);
        json!({
            "newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order"),
            "revokeCert": at("revoke"), "keyChange": at("key"),
            "meta": {
                "termsOfService": "https://acme.test/terms",
                "externalAccountRequired": self.faults.external_account.is_some()
            }
        })
    }

    /// Checks who asks, that nobody asks it again, and that it is asked here.
    fn verified(&mut self, path: &str, body: &[u8]) -> Result<Signed, Answer> {
        let refused = |kind: &str, why: String| Answer::problem(400, kind, &why);
        let signed = Signed::read(body).map_err(|why| refused("malformed", why))?;
        if self.faults.forgets_nonces() {
            self.nonces.remove(&signed.nonce);
        }
        if !self.nonces.remove(&signed.nonce) {
            let why = if self.used.contains(&signed.nonce) { "used already" } else { "not known" };
            return Err(refused("badNonce", why.to_owned()));
        }
        self.used.insert(signed.nonce.clone());
        if signed.url != format!("{}{path}", self.base) {
            return Err(refused("unauthorized", format!("signed for {}", signed.url)));
        }
        let key = match (&signed.key, &signed.account) {
            (Some(key), None) if path == "/account" => key.clone(),
            (None, Some(account)) => {
                let known = self.accounts.get(account).cloned();
                known.ok_or_else(|| refused("accountDoesNotExist", account.clone()))?
            }
            _ => return Err(refused("malformed", "either a key or an account".to_owned())),
        };
        key.verify(&signed).map_err(|why| refused("malformed", why))?;
        Ok(signed)
    }

    fn post(&mut self, path: &str, signed: &Signed) -> Answer {
        let mut parts = path.trim_start_matches('/').split('/');
        let (what, which) = (parts.next().unwrap_or_default(), parts.next());
        match (what, which) {
            ("account", None) => self.new_account(signed),
            ("order", None) => self.new_order(signed),
            ("authz", Some(which)) => {
                let (order, look) = place_of(which);
                Answer::json(200, &self.authorization(order, look))
            }
            (_, Some(which)) => {
                let order: usize = which.parse().unwrap();
                if signed.account.as_ref() != Some(&self.orders[order].account) {
                    return Answer::problem(403, "unauthorized", "the order is of another account");
                }
                self.of_order(what, order, signed)
            }
            _ => Answer::problem(404, "malformed", "no such thing"),
        }
    }

    fn new_account(&mut self, signed: &Signed) -> Answer {
        if signed.payload["termsOfServiceAgreed"] != true {
            return Answer::problem(403, "userActionRequired", "the terms are not accepted");
        }
        let key = signed.key.clone().unwrap();
        if let Some((name, secret)) = &self.faults.external_account {
            let bound = jws::is_bound(&signed.payload["externalAccountBinding"], (name, secret), &key);
            if !bound {
                return Answer::problem(403, "unauthorized", "the external account is not proved");
            }
        }
        let url = format!("{}/account/{}", self.base, self.accounts.len());
        self.accounts.insert(url.clone(), key);
        Answer::json(201, &json!({"status": "valid"})).with("location", url)
    }

    fn new_order(&mut self, signed: &Signed) -> Answer {
        let asked = signed.payload["identifiers"].as_array().unwrap();
        let hosts: Vec<String> = asked.iter().map(|it| it["value"].as_str().unwrap().to_owned()).collect();
        let looks = (0..hosts.len()).map(|index| Look {
            token: self.faults.token(self.orders.len(), index),
            status: "pending",
            error: None,
        });
        let order = Order {
            account: signed.account.clone().unwrap(),
            looks: looks.collect(),
            hosts,
            polls: self.faults.processing,
            certificate: None,
            finalized: false,
        };
        self.orders.push(order);
        let number = self.orders.len() - 1;
        Answer::json(201, &self.order(number)).with("location", format!("{}/order/{number}", self.base))
    }

    fn of_order(&mut self, what: &str, number: usize, signed: &Signed) -> Answer {
        match what {
            "order" => {
                let answer = Answer::json(200, &self.order(number));
                let order = &mut self.orders[number];
                order.polls -= u32::from(order.status() == "processing");
                answer
            }
            "finalize" if self.orders[number].status() == "ready" => {
                let csr = signed.payload["csr"].as_str().unwrap();
                let csr = URL_SAFE_NO_PAD.decode(csr).unwrap();
                match self.signer.sign_request(&csr, &self.orders[number].hosts, &self.faults) {
                    Ok(chain) => {
                        let order = &mut self.orders[number];
                        (order.certificate, order.finalized) = (Some(chain), true);
                        Answer::json(200, &self.order(number))
                    }
                    Err(why) => Answer::problem(400, "badCSR", &why),
                }
            }
            "finalize" => Answer::problem(403, "orderNotReady", self.orders[number].status()),
            "cert" if self.orders[number].status() == "valid" => {
                let chain = self.orders[number].certificate.clone().unwrap();
                Answer(200, vec![("content-type", "application/pem-certificate-chain".into())], chain)
            }
            _ => Answer::problem(404, "malformed", "no such thing"),
        }
    }

    fn order(&self, number: usize) -> Value {
        let order = &self.orders[number];
        let looks = (0..order.looks.len()).map(|look| format!("{}/authz/{number}-{look}", self.base));
        let mut value = json!({
            "status": order.status(),
            "identifiers": order.hosts.iter().map(|host| json!({"type": "dns", "value": host})).collect::<Vec<_>>(),
            "authorizations": looks.collect::<Vec<_>>(),
            "finalize": format!("{}/finalize/{number}", self.base),
        });
        if order.status() == "valid" {
            value["certificate"] = json!(format!("{}/cert/{number}", self.base));
        }
        value
    }

    fn authorization(&self, order: usize, look: usize) -> Value {
        let host = &self.orders[order].hosts[look];
        let mut challenges =
            vec![json!({"type": "dns-01", "status": "pending", "token": "x", "url": self.base})];
        let kinds = ["http-01", "tls-alpn-01"].into_iter().filter(|kind| self.faults.offers(kind));
        challenges.extend(kinds.map(|kind| {
            let mut value = self.challenge(order, look);
            value["type"] = json!(kind);
            value["url"] = json!(format!("{}/chall/{order}-{look}/{kind}", self.base));
            value
        }));
        json!({
            "identifier": {"type": "dns", "value": host},
            "status": self.orders[order].looks[look].status,
            "challenges": challenges,
        })
    }

    fn challenge(&self, order: usize, look: usize) -> Value {
        let Look { token, status, error } = &self.orders[order].looks[look];
        let mut value = json!({"type": "http-01", "url": self.base, "token": token, "status": status});
        if let Some(error) = error {
            value["error"] = error.clone();
        }
        value
    }
}
