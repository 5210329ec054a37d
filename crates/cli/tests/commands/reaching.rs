//! Where a token goes, and above all where it does not.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::fake::{FakeServer, Reply};
use crate::{code, err, lockstep};

const SERVICES: &str = "GET /api/v1/services";

/// Something that listens and answers nobody: a proxy or a server that must see nothing.
struct Bystander {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Bystander {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
        Self { address, connections }
    }

    fn saw_nothing(&self) -> bool {
        self.connections.load(Ordering::SeqCst) == 0
    }
}

fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(arguments)
        .env_clear()
        .env("LOCKSTEP_ACTOR", "ann@example.org")
        .env("LOCKSTEP_TOKEN", "secret-token")
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn no_proxy_of_the_environment_sees_anything() {
    let server = FakeServer::start(vec![(SERVICES, Reply::json(200, &json!([])))]);
    let proxy = Bystander::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{}", proxy.address);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        for url in [url.clone(), url.replace("http", "socks5")] {
            let output = with(&[(name, &url)], &["services", "--server", &server.url()]);
            assert_eq!(code(&output), 0, "{name}={url}: {}", err(&output));
            let output = with(&[(name, &url)], &["services", "--server", &format!("https://{closed}")]);
            assert_ne!(code(&output), 0, "{name}={url}");
        }
    }
    assert_eq!(server.count(SERVICES), 12);
    assert!(proxy.saw_nothing());
}

#[test]
fn a_redirect_is_an_error_that_says_where_it_leads() {
    let elsewhere = Bystander::start();
    let to = format!("http://{}/api/v1/services", elsewhere.address);
    for status in [301, 302, 303, 307, 308] {
        let server = FakeServer::start(vec![(SERVICES, Reply::Moved(status, to.clone()))]);
        let output = lockstep(&server.url(), &["services"]);
        let said = format!(
            "error: {} answered {status} and leads to {to}; nothing is sent there\nhint: if that is your server: --server http://{}\n",
            server.url(),
            elsewhere.address
        );
        assert_eq!((code(&output), err(&output)), (5, said));
    }
    // A change is not sent on either, also where HTTP would repeat it.
    let server = FakeServer::start(vec![("POST /api/v1/store/collect", Reply::Moved(307, to))]);
    assert_eq!(code(&lockstep(&server.url(), &["store", "gc"])), 5);
    assert!(elsewhere.saw_nothing());
}

#[test]
fn a_token_goes_beyond_loopback_by_tls_or_by_consent() {
    // Every address of this machine, and so reached here; but not one of loopback.
    let server = FakeServer::start_at("0.0.0.0:0", vec![(SERVICES, Reply::json(200, &json!([])))]);
    let url = server.url();
    let output = lockstep(&url, &["services"]);
    let said = format!(
        "error: no token or key is sent to {url}: without TLS everybody on the way could read it\n\
         hint: --server {}, with a proxy that ends TLS there; or --plain-http, where you trust the whole network\n",
        url.replace("http", "https")
    );
    assert_eq!((code(&output), err(&output)), (2, said));
    assert_eq!(server.count(SERVICES), 0);
    for (variable, arguments) in
        [("0", &["services", "--plain-http"][..]), ("1", &["services"]), ("true", &["services"])]
    {
        let variables = [("LOCKSTEP_SERVER", url.as_str()), ("LOCKSTEP_PLAIN_HTTP", variable)];
        assert_eq!(code(&with(&variables, arguments)), 0);
    }
    // Without a token there is nothing to lose.
    let variables = [("LOCKSTEP_SERVER", url.as_str()), ("LOCKSTEP_TOKEN", "")];
    assert_eq!(code(&with(&variables, &["services"])), 0);
    assert_eq!(server.asked(SERVICES).header("authorization"), Some("Bearer secret-token"));
    // So it is for the key of a gateway, which does not start then.
    let folder = tempfile::tempdir().unwrap();
    let (key, data) = (folder.path().join("key"), folder.path().join("data"));
    std::fs::write(&key, "lockstep-gateway-key").unwrap();
    let run = ["gateway", "run", "--env", "production", "--listen", "127.0.0.1:0", "--key-file"];
    let more = [key.to_str().unwrap(), "--data", data.to_str().unwrap(), "--server", &url];
    let output = with(&[], &[&run[..], &more].concat());
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("no token or key is sent to"), "{}", err(&output));
}

#[test]
fn authorities_that_cannot_be_read_are_named_before_anything_is_sent() {
    let server = Bystander::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let path = file.to_str().unwrap();
    let url = format!("https://{}", server.address);
    let ask = || with(&[("LOCKSTEP_CA", path), ("LOCKSTEP_SERVER", &url)], &["services", "--json"]);
    let failure = |output: &Output| -> Value { serde_json::from_str(&err(output)).unwrap() };
    let output = ask();
    assert_eq!(code(&output), 2);
    let told = failure(&output);
    assert_eq!(told["error"]["causes"][0], format!("cannot read the certificates in `{path}`"));
    assert_eq!(told["error"]["hint"], "name the file of the authority with --ca FILE");
    std::fs::write(&file, "no certificate").unwrap();
    let output = ask();
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("has no certificate in PEM form"), "{}", err(&output));
    // A system without authorities says what to install.
    let nowhere = [("SSL_CERT_FILE", path), ("LOCKSTEP_SERVER", &url)];
    let output = with(&nowhere, &["services"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("apt-get install ca-certificates"), "{}", err(&output));
    assert!(server.saw_nothing());
    // Nobody needs them for plain HTTP.
    let plain = FakeServer::start(vec![(SERVICES, Reply::json(200, &json!([])))]);
    let output = with(&[("LOCKSTEP_CA", path), ("LOCKSTEP_SERVER", &plain.url())], &["services"]);
    assert_eq!(code(&output), 0, "{}", err(&output));
}

#[test]
fn a_name_that_is_not_there_and_a_password_in_an_address_are_told() {
    let output = lockstep("https://ann:hidden@lockstep.example.org", &["services"]);
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("a token is given with --token-file"), "{}", err(&output));
}
