//! A name server that says what the test says, by UDP and TCP (RFC 1035).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is said of a name.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// Addresses, and for how many seconds they hold.
    Addresses(Vec<IpAddr>, u32),
    NoName,
    /// SERVFAIL.
    Fails,
    Nothing,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<BTreeMap<String, Say>>,
    asked: AtomicUsize,
    ends: AtomicBool,
}

pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl NameServer {
    pub(crate) fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let (address, shared) = (udp.local_addr().unwrap(), Arc::<Shared>::default());
        let by_udp = Arc::clone(&shared);
        thread::spawn(move || {
            let mut room = [0; 4_096];
            while let Ok((count, client)) = udp.recv_from(&mut room) {
                if by_udp.ends.load(Ordering::SeqCst) {
                    return;
                }
                if let Some(answer) = by_udp.answer(&room[..count], 1_200) {
                    udp.send_to(&answer, client).unwrap();
                }
            }
        });
        let by_tcp = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                if by_tcp.ends.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&by_tcp);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn say(&self, name: &str, say: Say) {
        self.shared.names.lock().unwrap().insert(name.to_owned(), say);
    }

    pub(crate) fn addresses(&self, name: &str, ips: &[&str], ttl: u32) {
        self.say(name, Say::Addresses(ips.iter().map(|ip| ip.parse().unwrap()).collect(), ttl));
    }

    /// How many questions came.
    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[0], self.address);
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let mut length = [0; 2];
        while stream.read_exact(&mut length).is_ok() {
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            if stream.read_exact(&mut question).is_err() {
                return;
            }
            let Some(answer) = self.answer(&question, 65_535) else { return };
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                return;
            }
        }
    }

    /// Answers a question; in part, and so marked, where it is longer than there is room.
    fn answer(&self, question: &[u8], room: usize) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (mut at, mut labels) = (12, Vec::new());
        while *question.get(at)? > 0 {
            let end = at + 1 + usize::from(question[at]);
            labels.push(String::from_utf8_lossy(question.get(at + 1..end)?).to_lowercase());
            at = end;
        }
        let kind = u16::from_be_bytes([*question.get(at + 1)?, *question.get(at + 2)?]);
        let asked = question.get(12..at + 5)?;
        let say = self.names.lock().unwrap().get(&labels.join(".")).cloned().unwrap_or(Say::NoName);
        let (code, ips, ttl) = match say {
            Say::Addresses(ips, ttl) => (0, ips, ttl),
            Say::NoName => (3, Vec::new(), 0),
            Say::Fails => (2, Vec::new(), 0),
            Say::Nothing => return None,
        };
        let fits = |ip: &&IpAddr| (kind == 1 && ip.is_ipv4()) || (kind == 28 && ip.is_ipv6());
        let (mut records, mut count, mut is_cut) = (Vec::new(), 0_u16, false);
        for ip in ips.iter().filter(fits) {
            let bytes = match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            if 12 + asked.len() + records.len() + 12 + bytes.len() > room {
                is_cut = true;
                break;
            }
            records.extend([0xc0, 12]);
            records.extend(kind.to_be_bytes());
            records.extend([0, 1]);
            records.extend(ttl.to_be_bytes());
            records.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
            records.extend(bytes);
            count += 1;
        }
        let flags = [0x84 | u8::from(is_cut) << 1 | (question[2] & 1), 0x80 | code];
        let counts = [[0, 1], count.to_be_bytes(), [0, 0], [0, 0]].concat();
        Some([&question[..2], &flags, &counts, asked, &records].concat())
    }
}
