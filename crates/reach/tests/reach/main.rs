//! Reaching real peers: who is believed, what is said of those who are not, and that nobody holds us for ever.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

mod peer;

use std::path::PathBuf;

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::body::Bytes;
use lockstep_reach::{PlainHttp, Reach, ReachError, Trust};
use rcgen::date_time_ymd;

use peer::{Authority, End, Identity, Peer};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const HOST: &str = "localhost";

fn reach(address: &str, ca: Option<PathBuf>) -> Reach {
    let trust = ca.map_or_else(Trust::in_system, |ca| Trust::new(Some(ca)));
    Reach::new(address.parse().unwrap(), trust, Some("secret-token"), PlainHttp::LoopbackOnly).unwrap()
}

async fn ask(reach: &Reach) -> Result<String, ReachError> {
    let response = reach.ask(Method::GET, "/api/v1/services", &[], Bytes::new()).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map_err(|error| reach.broke_off(error))?.to_bytes();
    reach.explain(status, &body).map_or_else(|| Ok(String::from_utf8_lossy(&body).into_owned()), Err)
}

/// Asks a peer over TLS as somebody who trusts an authority; returns the whole error and its hint.
async fn refusal(authority: &Authority, peer: &Peer) -> String {
    let reach = reach(&format!("https://{HOST}:{}", peer.address.port()), Some(authority.file()));
    told(&ask(&reach).await.unwrap_err())
}

fn told(error: &ReachError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    format!("{text} | {}", error.hint())
}

fn tls(identity: Identity) -> Peer {
    Peer::with_tls(identity.config(), OK, End::Told)
}

#[tokio::test]
async fn a_server_is_asked_over_tls_by_name_and_by_address() {
    let authority = Authority::new("ours");
    let peer = tls(authority.sign(&[HOST, "127.0.0.1"], |_| {}));
    for host in [HOST, "127.0.0.1", "LOCALHOST."] {
        let reach = reach(&format!("https://{host}:{}", peer.address.port()), Some(authority.file()));
        assert_eq!(ask(&reach).await.unwrap(), "hello", "{host}");
    }
}

#[tokio::test]
async fn who_is_not_believed_is_told_why_and_what_to_do() {
    let authority = Authority::new("ours");
    let address = |peer: &Peer| format!("the certificate of https://localhost:{}", peer.address.port());
    let good = || authority.sign(&[HOST], |_| {});

    let peer = tls(Authority::new("theirs").sign(&[HOST], |_| {}));
    let said = refusal(&authority, &peer).await;
    assert!(
        said.starts_with(&format!("{} is signed by nobody that is trusted here", address(&peer))),
        "{said}"
    );
    assert!(said.contains("--ca FILE"), "{said}");
    // The system's authorities do not know ours, and those of the file are instead of them.
    let error =
        ask(&reach(&format!("https://localhost:{}", tls(good()).address.port()), None)).await.unwrap_err();
    assert!(
        told(&error).contains("is signed by nobody") || matches!(error, ReachError::Trust { .. }),
        "{error}"
    );

    // Whose name is trusted, but not the key, of the same kind or of another.
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    for forger in [Authority::new("ours"), Authority::with_key("ours", ed25519)] {
        let said = refusal(&authority, &tls(forger.sign(&[HOST], |_| {}))).await;
        assert!(
            said.contains("has not signed it") && said.contains("--ca older than the authority"),
            "{said}"
        );
    }

    let peer = tls(authority.sign(&["lockstep.test", "10.0.0.5"], |_| {}));
    let said = refusal(&authority, &peer).await;
    assert!(
        said.starts_with(&format!("{} is for `lockstep.test`, `10.0.0.5` only", address(&peer))),
        "{said}"
    );
    assert!(said.contains("subjectAltName `localhost`"), "{said}");

    let peer = tls(authority.sign(&[HOST], |params| params.not_after = date_time_ymd(2020, 5, 1)));
    let said = refusal(&authority, &peer).await;
    assert!(said.contains("has expired (2020-05-01T00:00:00Z; the clock of this machine says 20"), "{said}");
    assert!(said.contains("renew it"), "{said}");

    let peer = tls(authority.sign(&[HOST], |params| params.not_before = date_time_ymd(4000, 1, 1)));
    let said = refusal(&authority, &peer).await;
    assert!(said.contains("is not valid yet (only from 4000-01-01T00:00:00Z; the clock"), "{said}");
    assert!(said.contains("set the clock of this machine (timedatectl)"), "{said}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_its_own_authority_unless_it_says_that_it_is_one() {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cert.pem");
    for (is_ca, works) in
        [(IsCa::ExplicitNoCa, true), (IsCa::NoCa, true), (IsCa::Ca(BasicConstraints::Unconstrained), false)]
    {
        let mut params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(&file, certificate.pem()).unwrap();
        let peer = tls(Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() });
        let asked =
            ask(&reach(&format!("https://localhost:{}", peer.address.port()), Some(file.clone()))).await;
        match asked {
            Ok(answer) => assert!(works && answer == "hello"),
            Err(error) => {
                let said = told(&error);
                assert!(
                    !works && said.contains("is that of an authority") && said.contains("CA:FALSE"),
                    "{said}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_speaks_something_else_is_named() {
    let authority = Authority::new("ours");
    let plain = Peer::answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let port = plain.address.port();
    let said = refusal(&authority, &plain).await;
    assert_eq!(
        said,
        format!(
            "https://localhost:{port} speaks plain HTTP where TLS was expected | --server http://localhost:{port}, or the port where the right one listens"
        )
    );
    let said = refusal(&authority, &Peer::answering(b"SSH-2.0-OpenSSH_9.2\r\n")).await;
    assert!(said.contains("speaks something that is neither TLS nor HTTP"), "{said}");
    let said = refusal(&authority, &Peer::answering(b"")).await;
    assert!(said.contains("closed the connection before TLS began"), "{said}");
    // The alert that says: your version of the protocol is not mine.
    let said = refusal(&authority, &Peer::answering(b"\x15\x03\x03\x00\x02\x02\x46")).await;
    assert!(said.contains("refused the TLS connection: ProtocolVersion"), "{said}");
    let said = refusal(&authority, &Peer::answering(b"\x16\x03\x03\xff\xff garbage")).await;
    assert!(said.contains("broke off"), "{said}");
}

#[tokio::test]
async fn tls_where_plain_http_was_asked_is_named_whoever_ends_it() {
    let peers = [
        tls(Authority::new("ours").sign(&[HOST], |_| {})),
        Peer::answering(b"\x15\x03\x01\x00\x02\x02\x46"),
        Peer::answering(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<center>The plain HTTP request was sent to HTTPS port</center>"),
        Peer::answering(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"),
    ];
    for peer in peers {
        let port = peer.address.port();
        let said = told(&ask(&reach(&format!("http://localhost:{port}"), None)).await.unwrap_err());
        assert_eq!(
            said,
            format!(
                "http://localhost:{port} speaks TLS where plain HTTP was expected | --server https://localhost:{port}, or the port where the right one listens"
            )
        );
    }
    let mute = Peer::answering(b"");
    let said =
        told(&ask(&reach(&format!("http://localhost:{}", mute.address.port()), None)).await.unwrap_err());
    assert!(said.contains("closed the connection without an answer"), "{said}");
    assert!(
        said.contains(&format!("if TLS is spoken there: --server https://localhost:{}", mute.address.port())),
        "{said}"
    );
    let garbage = Peer::answering(b"220 mail.test ESMTP\r\n");
    let error = ask(&reach(&format!("http://{}", garbage.address), None)).await.unwrap_err();
    assert!(matches!(error, ReachError::NoHttp { .. }), "{error:?}");
}

#[tokio::test]
async fn an_answer_counts_when_it_is_whole_however_the_connection_ends() {
    let authority = Authority::new("ours");
    let ask_peer = async |answer: &'static [u8], end| {
        let peer = Peer::with_tls(authority.sign(&[HOST], |_| {}).config(), answer, end);
        ask(&reach(&format!("https://localhost:{}", peer.address.port()), Some(authority.file()))).await
    };
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let to_the_end = b"HTTP/1.1 200 OK\r\n\r\nhello";
    let cut_off = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello";
    for end in [End::Told, End::Untold] {
        assert_eq!(ask_peer(OK, end).await.unwrap(), "hello");
        assert_eq!(ask_peer(chunked, end).await.unwrap(), "hello");
        assert!(matches!(ask_peer(cut_off, end).await, Err(ReachError::BrokeOff { .. })));
    }
    // Without a length only the word of TLS says that nothing is missing.
    assert_eq!(ask_peer(to_the_end, End::Told).await.unwrap(), "hello");
    assert!(matches!(ask_peer(to_the_end, End::Untold).await, Err(ReachError::BrokeOff { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stalls_in_the_handshake_is_left() {
    let peer = Peer::silent();
    // Time is made to pass only when nothing else is left to do, so no second is really waited for.
    let said = refusal(&Authority::new("ours"), &peer).await;
    assert!(said.contains("did not finish the TLS handshake within 10 s"), "{said}");
}

#[tokio::test]
async fn a_redirect_is_told_and_never_followed() {
    let elsewhere = Peer::silent();
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let to = format!("http://{}/api/v1/services", elsewhere.address);
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        let peer = Peer::answering(Box::leak(answer.into_bytes().into_boxed_slice()));
        let said = told(&ask(&reach(&format!("http://{}", peer.address), None)).await.unwrap_err());
        assert_eq!(
            said,
            format!(
                "http://{} answered {} and leads to {to}; nothing is sent there | if that is your server: --server http://{}",
                peer.address,
                &status[..3],
                elsewhere.address
            )
        );
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn authorities_that_are_exchanged_are_seen_by_who_runs_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let file = old.file();
    let peer = tls(new.sign(&[HOST], |_| {}));
    let reach = reach(&format!("https://localhost:{}", peer.address.port()), Some(file.clone()));
    assert!(matches!(ask(&reach).await, Err(ReachError::Certificate { .. })));
    // Half-written, as another program may leave it for a moment: what was known stays.
    std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    assert!(matches!(ask(&reach).await, Err(ReachError::Certificate { .. })));
    std::fs::write(&file, old.pem() + &new.pem()).unwrap();
    assert!(matches!(ask(&reach).await, Err(ReachError::Certificate { .. })), "this one told it to look");
    assert_eq!(ask(&reach).await.unwrap(), "hello");
}
