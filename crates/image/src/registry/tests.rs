//! Registries made by hand, which want tokens, lead elsewhere, lie and break off; each on sockets of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use super::*;

/// What is answered: status, fields and body, by path without its query.
type Answers = BTreeMap<String, (u16, Vec<(String, String)>, Vec<u8>)>;

/// A server that answers as it is told, and keeps what it heard.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    answers: Arc<Mutex<Answers>>,
    heard: Arc<Mutex<Vec<String>>>,
    /// What has to be in a request that is answered, if anything.
    wants: Arc<Mutex<Option<(String, String)>>>,
}

impl Server {
    fn begin() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            answers: Arc::default(),
            heard: Arc::default(),
            wants: Arc::default(),
        };
        let this = server.clone();
        // It ends with the process of the test.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let head = head.join("\n");
                let _ = (&stream).write_all(&this.answer(&head));
                this.heard.lock().unwrap().push(head);
            }
        });
        server
    }

    fn answer(&self, head: &str) -> Vec<u8> {
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default();
        let challenge = self.wants.lock().unwrap().clone();
        let denied = |challenge: String| (401, vec![("www-authenticate".to_owned(), challenge)], Vec::new());
        let (status, fields, body) = match challenge {
            Some((wanted, challenge)) if !head.contains(&wanted) => denied(challenge),
            _ => self.answers.lock().unwrap().get(path).cloned().unwrap_or((404, Vec::new(), Vec::new())),
        };
        let mut answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\n");
        let has_length = fields.iter().any(|(name, _)| name == "content-length");
        for (name, value) in &fields {
            answer.push_str(&format!("{name}: {value}\r\n"));
        }
        if !has_length {
            answer.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        [answer.as_bytes(), b"\r\n", &body].concat()
    }

    fn says(&self, path: &str, status: u16, fields: &[(&str, &str)], body: &[u8]) {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.answers.lock().unwrap().insert(path.to_owned(), (status, fields, body.to_owned()));
    }

    fn wants(&self, wanted: &str, challenge: &str) {
        *self.wants.lock().unwrap() = Some((wanted.to_owned(), challenge.to_owned()));
    }

    fn heard(&self) -> String {
        self.heard.lock().unwrap().join("\n\n")
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn blob_path(blob: &[u8]) -> String {
        format!("/v2/team/a/blobs/sha256:{}", digest_of(blob))
    }

    fn blob(&self, blob: &[u8]) {
        self.says(&Self::blob_path(blob), 200, &[], blob);
    }
}

fn of(kind: &str, blob: &[u8]) -> serde_json::Value {
    json!({ "mediaType": kind, "digest": format!("sha256:{}", digest_of(blob)), "size": blob.len() })
}

/// An image with one layer, as its parts: manifest, configuration, layer.
fn image() -> [Vec<u8>; 3] {
    let layer = vec![0; 1024];
    let config = json!({
        "architecture": Platform::here().architecture, "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", digest_of(&layer))] },
    });
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": of("application/vnd.oci.image.config.v1+json", &config),
        "layers": [of("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    [serde_json::to_vec(&manifest).unwrap(), config, layer]
}

/// A registry with the image, under the tag `1`.
fn registry() -> (Server, [Vec<u8>; 3]) {
    let (server, parts) = (Server::begin(), image());
    server.says("/v2/team/a/manifests/1", 200, &[], &parts[0]);
    parts[1..].iter().for_each(|blob| server.blob(blob));
    (server, parts)
}

fn pulled_as(server: &Server, reference: &str, who: Option<Credentials>) -> Result<Pulled, String> {
    let folder = tempfile::tempdir().unwrap();
    let name: ImageName = format!("{}/team/a{reference}", server.address).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let here = Platform::here();
    let pulling = pull(&name, &here, who, PlainHttp::LoopbackOnly, folder.path(), Parts::All, |_| {});
    let pulled = runtime.block_on(pulling).map_err(|error| error.to_string())?;
    crate::open(folder.path(), None, &Platform::here()).map_err(|error| error.to_string())?;
    Ok(pulled)
}

fn ann() -> Option<Credentials> {
    Some(Credentials::new("ann".to_owned(), "s3cret".to_owned()))
}

#[test]
fn an_image_is_fetched_by_tag_and_by_digest() {
    let (server, [manifest, ..]) = registry();
    let digest = digest_of(&manifest);
    assert_eq!(pulled_as(&server, ":1", None).unwrap().digest, digest);
    server.says(&format!("/v2/team/a/manifests/sha256:{digest}"), 200, &[], &manifest);
    assert_eq!(pulled_as(&server, &format!("@sha256:{digest}"), None).unwrap().digest, digest);
    assert!(!server.heard().contains("authorization"), "{}", server.heard());
}

#[test]
fn of_an_index_the_image_for_the_platform_is_taken() {
    let (server, [manifest, ..]) = registry();
    let with = |mut one: serde_json::Value, os: &str, architecture: &str| {
        one["platform"] = json!({ "os": os, "architecture": architecture });
        one
    };
    let here = Platform::here().architecture;
    let other = of(MANIFEST, b"other");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        with(other.clone(), "linux", "s390x"), with(of(MANIFEST, &manifest), "linux", &here), with(other.clone(), "unknown", "unknown"),
    ]});
    server.says("/v2/team/a/manifests/2", 200, &[], index.to_string().as_bytes());
    server.says(&format!("/v2/team/a/manifests/sha256:{}", digest_of(&manifest)), 200, &[], &manifest);
    assert_eq!(pulled_as(&server, ":2", None).unwrap().digest, digest_of(index.to_string().as_bytes()));
    let index = json!({ "schemaVersion": 2, "manifests": [with(other, "linux", "s390x")] });
    server.says("/v2/team/a/manifests/3", 200, &[], index.to_string().as_bytes());
    let error = pulled_as(&server, ":3", None).unwrap_err();
    assert!(error.contains("but for linux/s390x"), "{error}");
}

#[test]
fn a_token_is_fetched_where_the_registry_says_and_shown_to_nobody_else() {
    let (server, [_, config, _]) = registry();
    let (tokens, elsewhere) = (Server::begin(), Server::begin());
    let challenge =
        format!("Bearer realm=\"{}/token\",service=\"r\",scope=\"repository:team/a:pull\"", tokens.url());
    server.wants("authorization: Bearer t0ken", &challenge);
    tokens.says("/token", 200, &[], br#"{"token":"t0ken"}"#);
    // A blob lies with somebody else, who learns nothing of us.
    let to = format!("{}/there?signed=1", elsewhere.url());
    server.says(&Server::blob_path(&config), 307, &[("location", &to)], b"");
    elsewhere.says("/there", 200, &[], &config);
    pulled_as(&server, ":1", ann()).unwrap();
    assert!(tokens.heard().contains("authorization: Basic YW5uOnMzY3JldA=="), "{}", tokens.heard());
    assert!(tokens.heard().contains("scope=repository:team/a:pull&service=r"), "{}", tokens.heard());
    assert!(!server.heard().contains("Basic"), "the registry wants a token: {}", server.heard());
    let heard = elsewhere.heard();
    assert!(heard.contains("/there?signed=1") && !heard.contains("authorization"), "{heard}");
}

#[test]
fn credentials_are_shown_where_they_are_asked_for_and_are_in_no_error() {
    let (server, _) = registry();
    server.wants("authorization: Basic YW5uOnMzY3JldA==", "Basic realm=\"r\"");
    pulled_as(&server, ":1", ann()).unwrap();
    let denied = pulled_as(&server, ":1", None).unwrap_err();
    assert!(denied.contains("without credentials"), "{denied}");
    server.wants("never", "Basic realm=\"r\"");
    let denied = pulled_as(&server, ":1", ann()).unwrap_err();
    assert!(denied.contains("with these credentials") && !denied.contains("s3cret"), "{denied}");
    // A token that is no token, and a realm that would be asked unencrypted by name.
    server.wants("never", "Bearer realm=\"http://tokens.example/token\"");
    let refused = pulled_as(&server, ":1", ann()).unwrap_err();
    assert!(!refused.contains("s3cret") && refused.contains("tokens.example"), "{refused}");
}

#[test]
fn what_lies_breaks_off_or_leads_in_circles_is_refused() {
    let (server, [manifest, config, layer]) = registry();
    let path = Server::blob_path(&layer);
    for (body, said) in [
        (vec![1; 1024], "is not what its digest says"),
        (vec![0; 2048], "larger"),
        (vec![0; 1000], "1000 of 1024 bytes came"),
    ] {
        server.says(&path, 200, &[], &body);
        let error = pulled_as(&server, ":1", None).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    // Cut off in the middle: tried again, and then given up.
    server.says(&path, 200, &[("content-length", "1024")], &[0; 10]);
    let before = server.heard().matches(&path).count();
    let error = pulled_as(&server, ":1", None).unwrap_err();
    assert!(error.contains("broke off"), "{error}");
    assert_eq!(server.heard().matches(&path).count() - before, MAX_TRIES);
    server.says(&path, 307, &[("location", &path)], b"");
    assert!(pulled_as(&server, ":1", None).unwrap_err().contains("again and again"));
    server.says(&path, 307, &[("location", "nonsense")], b"");
    assert!(pulled_as(&server, ":1", None).unwrap_err().contains("no address"));
    server.blob(&layer);
    server.says(&format!("/v2/team/a/manifests/sha256:{}", digest_of(&config)), 200, &[], &manifest);
    let pinned = format!("@sha256:{}", digest_of(&config));
    assert!(pulled_as(&server, &pinned, None).unwrap_err().contains("is not what its digest says"));
    server.says("/v2/team/a/manifests/1", 200, &[], &vec![b' '; 5 << 20]);
    assert!(pulled_as(&server, ":1", None).unwrap_err().contains("larger"));
    server.says("/v2/team/a/manifests/1", 200, &[], br#"{"schemaVersion":1}"#);
    assert!(pulled_as(&server, ":1", None).unwrap_err().contains("older than 2016"));
    let chart = json!({ "schemaVersion": 2, "config": of("application/vnd.cncf.helm.config.v1+json", b"{}"), "layers": [] });
    server.says("/v2/team/a/manifests/1", 200, &[], chart.to_string().as_bytes());
    assert!(pulled_as(&server, ":1", None).unwrap_err().contains("not the configuration of an image"));
    let huge = json!({ "schemaVersion": 2, "config": of("application/vnd.oci.image.config.v1+json", &config),
        "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{}", digest_of(&layer)), "size": u64::MAX }] });
    server.says("/v2/team/a/manifests/1", 200, &[], huge.to_string().as_bytes());
    assert!(pulled_as(&server, ":1", None).unwrap_err().contains("at most"));
}

#[test]
fn only_a_registry_on_this_machine_is_asked_without_tls_unless_that_is_said() {
    let address = |host, plain| address_of(host, plain);
    assert_eq!(address("127.0.0.1:5000", PlainHttp::LoopbackOnly), "http://127.0.0.1:5000");
    assert_eq!(address("localhost", PlainHttp::LoopbackOnly), "http://localhost");
    assert_eq!(address("10.0.0.5:5000", PlainHttp::LoopbackOnly), "https://10.0.0.5:5000");
    assert_eq!(address("10.0.0.5:5000", PlainHttp::Everywhere), "http://10.0.0.5:5000");
}

#[test]
fn challenges_and_places_are_read() {
    let bearer = challenge_of("Bearer realm=\"https://a/t\",service=\"s\",scope=\"x:y:pull\"").unwrap();
    let expected = Challenge::Bearer {
        realm: "https://a/t".into(),
        service: Some("s".into()),
        scope: Some("x:y:pull".into()),
    };
    assert_eq!(bearer, expected);
    assert_eq!(challenge_of("Basic realm=\"x\""), Some(Challenge::Basic));
    assert_eq!(challenge_of("Negotiate"), None);
    let from: ServerAddress = "https://r.example".parse().unwrap();
    let split = |to| split(&from, to).map(|(server, path)| format!("{server} {path}"));
    assert_eq!(split("/a?b"), Some("https://r.example /a?b".into()));
    assert_eq!(split("https://s.example/x?y=1#z"), Some("https://s.example /x?y=1".into()));
    assert_eq!(split("https://s.example?y"), Some("https://s.example /?y".into()));
    assert_eq!([split("//evil/x"), split("x"), split("ftp://a/b"), split("")], [None, None, None, None]);
}
