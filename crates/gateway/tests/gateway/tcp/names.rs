//! Several services on one port, by the name that clients ask for within TLS; and clients that a proxy hands on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use lockstep_domain::entry::{Entry, EntrySettings};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::support::{Instance, Opened, open_with, over_tcp};
use crate::support::{stable, table, wait_until};

/// The first message of a client that asks for a name.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn each_name_has_its_service_and_its_first_message_comes_whole() {
    let tell = |name: &'static str| {
        Instance::start(move |mut stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(name.as_bytes()).unwrap();
            stream.write_all(&all).unwrap();
        })
    };
    let (shop, stock) = (tell("shop:"), tell("stock:"));
    let tcp = ["1=shop", "1/*.stock.test=stock"].map(|text| text.parse().unwrap()).into();
    let arms = [stable(0, &[("shop-1", shop.address)])];
    let Opened { running, port } = open_with(&arms, &EntrySettings { tcp, ..EntrySettings::default() });
    let mut both = over_tcp(&arms, running.table_entry(), 50);
    let mut other = over_tcp(&[stable(4, &[("stock-1", stock.address)])], Entry::default(), 1);
    both.services.insert("stock".parse().unwrap(), other.services.remove(&"shop".parse().unwrap()).unwrap());
    running.gateway.apply(both).unwrap();
    let ask = |pieces: &[&[u8]]| {
        let mut client = TcpStream::connect(port).unwrap();
        client.set_nodelay(true).unwrap();
        for piece in pieces {
            client.write_all(piece).unwrap();
        }
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        answer
    };
    let (named, unnamed) = (hello("A.stock.test"), hello("elsewhere.test"));
    for cut in [1, 5, 60, named.len() - 1] {
        assert_eq!(ask(&[&named[..cut], &named[cut..], b"more"]), [b"stock:", &named[..], b"more"].concat());
    }
    assert_eq!(ask(&[&unnamed]), [b"shop:", &unnamed[..]].concat());
    assert_eq!(ask(&[b"\x10\x0cMQTT"]), b"shop:\x10\x0cMQTT");
    assert_eq!(ask(&[]), b"shop:");
    assert_eq!(ask(&[&named[..20]]), [b"shop:", &named[..20]].concat(), "who ends before has asked for none");
}

#[test]
fn behind_a_proxy_the_address_that_it_tells_is_the_clients() {
    let echo = Instance::echo();
    let proxy_networks = vec!["127.0.0.0/8".parse().unwrap()];
    let settings = EntrySettings { proxy_networks, ..EntrySettings::default() };
    let Opened { running, port } = open_with(&[stable(0, &[("shop-1", echo.address)])], &settings);
    let mut client = TcpStream::connect(port).unwrap();
    client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 5555 5433\r\nhi").unwrap();
    let mut got = [0; 2];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hi", "the header is not passed on");
    let mut broken = TcpStream::connect(port).unwrap();
    broken.write_all(b"PROXY NONSENSE\r\nhi").unwrap();
    assert!(broken.read_exact(&mut got).is_err());
    wait_until("it is counted", || running.gateway.admin().metrics().contains("result=\"proxy_header\"} 1"));
}

#[test]
fn a_port_that_leads_to_what_is_not_there_or_is_no_service_of_tcp_resets_its_clients() {
    let echo = Instance::echo();
    let arms = [stable(0, &[("shop-1", echo.address)])];
    let Opened { running, port } = open_with(&arms, &EntrySettings::default());
    let mut http = table(50, &arms);
    http.entry = Some(running.table_entry());
    running.gateway.apply(http).unwrap();
    let mut client = TcpStream::connect(port).unwrap();
    let _ = client.write_all(b"GET / HTTP/1.1\r\n\r\n");
    assert!(client.read_exact(&mut [0]).is_err());
    wait_until("it is counted", || running.gateway.admin().metrics().contains("end=\"no_service\"} 1"));
    assert_eq!(echo.begun(), 0, "what is not looked at must not reach a service of HTTP");
}
