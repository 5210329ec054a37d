//! HTTP/2 within TLS, when a client asks for it by ALPN.

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;

use super::*;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects and offers these protocols; returns the stream and what was agreed.
async fn connect(
    entrance: &Entrance,
    offered: &[&[u8]],
) -> io::Result<(tokio_rustls::client::TlsStream<tokio::net::TcpStream>, Option<Vec<u8>>)> {
    let mut config = ClientConfig::clone(&Hello::default().config(&entrance.authority));
    config.alpn_protocols = offered.iter().map(|it| it.to_vec()).collect();
    let socket = tokio::net::TcpStream::connect(entrance.address).await?;
    let name = ServerName::try_from("shop.test").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Ok((stream, agreed))
}

async fn ask(client: &mut SendRequest<Bytes>, path: &str) -> (u16, String) {
    let request = Request::get(format!("https://shop.test{path}")).body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let answer = answer.await.unwrap();
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    let mut text = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        body.flow_control().release_capacity(piece.len()).unwrap();
        text.extend_from_slice(&piece);
    }
    (status, String::from_utf8(text).unwrap())
}

#[test]
fn a_client_that_asks_for_http_2_gets_it_within_tls() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    runtime().block_on(async {
        let (stream, agreed) = connect(&entrance, &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        for number in 0..50 {
            let (status, told) = ask(&mut client, &format!("/{number}")).await;
            assert_eq!(status, 200);
            assert!(told.starts_with(&format!("GET /{number} HTTP/1.1\n")), "{told}");
            assert!(told.contains("x-forwarded-proto: https\n"), "{told}");
            assert!(told.contains(&format!("x-forwarded-port: {}\n", entrance.address.port())), "{told}");
        }
        drop(client);
        connection.await.unwrap().unwrap();
    });
}

#[test]
fn what_is_agreed_is_http_2_where_a_client_offers_it_at_all() {
    let mirror = mirror();
    let entrance = Entrance::start(&mirror);
    runtime().block_on(async {
        let agreed = async |offered: &[&[u8]]| connect(&entrance, offered).await.map(|(_, agreed)| agreed);
        assert_eq!(agreed(&[b"http/1.1"]).await.unwrap().as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(
            agreed(&[b"http/1.1", b"h2"]).await.unwrap().as_deref(),
            Some(&b"h2"[..]),
            "ours comes first"
        );
        assert_eq!(agreed(&[]).await.unwrap(), None);
        let refused = agreed(&[b"h3"]).await.unwrap_err().to_string();
        assert!(refused.contains("NoApplicationProtocol"), "{refused}");
    });
}

#[test]
fn plain_http_2_is_sent_to_https_as_well() {
    let mirror = mirror();
    let settings =
        EntrySettings { https_port: Some(443), http: PlainHttp::Redirect, ..EntrySettings::default() };
    let entrance = Entrance::with(&mirror, Timeouts::default(), settings);
    runtime().block_on(async {
        let socket = tokio::net::TcpStream::connect(entrance.running.address).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(connection);
        let mut client: SendRequest<Bytes> = client.ready().await.unwrap();
        let request = Request::get("http://shop.test/a?b=1").body(()).unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 308);
        assert_eq!(answer.headers()["location"], "https://shop.test/a?b=1");
    });
}
