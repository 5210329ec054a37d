//! Connections that a proxy hands on with a PROXY header.

use super::*;
use crate::support::Client;

const FROM: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n";

fn handing_on(network: &str) -> EntrySettings {
    EntrySettings { proxy_networks: vec![network.parse().unwrap()], ..EntrySettings::default() }
}

fn plain(entrance: &Entrance, header: &[u8]) -> io::Result<String> {
    let mut client = Client::connect(entrance.running.address);
    let request = b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n";
    Ok(client.ask([header, request].concat())?.text())
}

fn binary(client: [u8; 4]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend(client);
    header.extend([198, 51, 100, 1, 0x13, 0x88, 0x01, 0xbb]);
    header
}

#[test]
fn the_client_of_a_proxy_counts_for_everything() {
    let mirror = mirror();
    let entrance = Entrance::with(&mirror, Timeouts::default(), handing_on("127.0.0.0/8"));
    for header in [FROM.as_bytes().to_vec(), binary([192, 0, 2, 7])] {
        let told = plain(&entrance, &header).unwrap();
        assert!(
            told.contains("x-forwarded-for: 192.0.2.7\n") && told.contains("x-real-ip: 192.0.2.7\n"),
            "{told}"
        );
        assert!(told.contains("x-forwarded-port: 443\n"), "{told}");
        let mut socket = TcpStream::connect(entrance.address).unwrap();
        socket.write_all(&header).unwrap();
        let config = Hello::default().config(&entrance.authority);
        let told = Secured::on(socket, config, "shop.test").unwrap().get().unwrap();
        assert!(
            told.contains("x-forwarded-for: 192.0.2.7\n") && told.contains("x-forwarded-proto: https\n"),
            "{told}"
        );
    }
    let told = plain(&entrance, b"PROXY UNKNOWN\r\n").unwrap();
    assert!(told.contains("x-forwarded-for: 127.0.0.1\n"), "{told}");
}

#[test]
fn who_is_of_this_host_needs_no_header_and_from_other_networks_none_is_read() {
    let mirror = mirror();
    let timeouts = Timeouts { handshake: std::time::Duration::from_millis(300), ..Timeouts::default() };
    let entrance = Entrance::with(&mirror, timeouts, handing_on("127.0.0.0/8"));
    for network in ["127.0.0.0/8", "0.0.0.0/0"] {
        let revision = entrance.running.gateway.receipt(&environment()).revision + 1;
        entrance.apply(revision, &mirror, handing_on(network));
        let told = plain(&entrance, b"").unwrap();
        assert!(told.contains("x-forwarded-for: 127.0.0.1\n"), "it counts for itself: {told}");
        let request =
            format!("POST {} HTTP/1.1\r\nhost: shop.test\r\ncontent-length: 0\r\n\r\n", as_instance("/"));
        let mut instance = Client::connect(entrance.running.address);
        for byte in request.as_bytes() {
            instance.send([*byte]).unwrap();
        }
        assert_eq!(instance.read().unwrap().status(), 200, "an instance calls another");
        assert!(entrance.connect().get().unwrap().contains("x-forwarded-for: 127.0.0.1\n"));
    }
    assert!(plain(&entrance, b"PROXY TCP4 192.0.2.7 198.51.100.1 5000\r\n").is_err());
    wait_until("it is counted", || entrance.count("proxy_header") == 1);
    let silent = TcpStream::connect(entrance.running.address).unwrap();
    wait_until("who says nothing is cut off", || entrance.count("slow") == 1);
    drop(silent);
    entrance.apply(9, &mirror, handing_on("10.0.0.0/8"));
    let mut client = Client::connect(entrance.running.address);
    assert_eq!(client.ask(FROM).unwrap().status(), 505, "from others it is read as what it is not");
    assert!(plain(&entrance, b"").unwrap().contains("x-forwarded-for: 127.0.0.1\n"));
}

#[test]
fn a_header_may_come_in_pieces_and_with_the_request() {
    let mirror = mirror();
    let entrance = Entrance::with(&mirror, Timeouts::default(), handing_on("127.0.0.0/8"));
    for header in [FROM.as_bytes().to_vec(), binary([192, 0, 2, 7])] {
        let mut client = Client::connect(entrance.running.address);
        for byte in &header {
            client.send([*byte]).unwrap();
        }
        let told = client.get("/", "a").unwrap().text();
        assert!(told.contains("x-forwarded-for: 192.0.2.7\n"), "{told}");
        let again = client.get("/", "a").unwrap().text();
        assert!(again.contains("x-forwarded-for: 192.0.2.7\n"), "it holds for the whole connection: {again}");
    }
}
