//! Sends a case through a proxy, and looks at what came out on both sides.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::backend::{AFTER, LEFT, VICTIM};
use crate::case::{Case, Then};
use crate::proxies::Lane;
use crate::reader::{STRICT, who_disagrees};
use crate::reply::{self, Replies, Reply};

/// Longer than any proxy waits: one that says nothing any more has failed.
const PATIENCE: Duration = Duration::from_secs(8);

/// What became of a case.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    /// What must never be, if it was.
    pub(crate) danger: Option<String>,
    /// What the client got, in short.
    pub(crate) told: String,
}

/// What a proxy does with a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It reaches the other side, which understood this.
    Passes(String),
    Fails,
}

/// Tries a case.
pub(crate) fn run(case: &Case, lane: &Lane) -> Outcome {
    lane.backend.begin(case.script.clone());
    let (got, ended) = ask(case, lane.entrance);
    let victim = ask_as_victim(lane.entrance);
    let came = lane.backend.take();
    let heads = |index: usize| case.head && index < case.answers;
    let replies = reply::read(&got, heads, ended == Ended::Cleanly);
    let danger = danger(case, &replies, &victim, &came);
    Outcome { verdict: verdict(case, &replies), danger, told: told(&replies) }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// With what was waited for.
    Enough,
    /// With the end of the connection.
    Cleanly,
    /// With a reset, or never.
    Broken,
}

/// Sends a case and returns all that came back.
fn ask(case: &Case, address: SocketAddr) -> (Vec<u8>, Ended) {
    let (mut stream, mut got) = (connect(address), Vec::new());
    // A proxy that refuses closes: what cannot be sent any more is no fault.
    for piece in &case.sent {
        let _ = stream.write_all(piece);
    }
    let ended = match case.then {
        Then::Stay => ask_again(case, &mut stream, &mut got),
        Then::EndSending => {
            let _ = stream.shutdown(Shutdown::Write);
            read_until(&mut stream, &mut got, |_| false)
        }
        Then::Leave(bytes) => read_until(&mut stream, &mut got, |got| got.len() >= bytes),
    };
    (got, ended)
}

/// Waits for the answers, then asks for something else on the same connection.
fn ask_again(case: &Case, stream: &mut TcpStream, got: &mut Vec<u8>) -> Ended {
    let heads = |index: usize| case.head && index < case.answers;
    let whole = |got: &[u8]| reply::read(got, heads, false).last.iter().filter(|it| it.whole).count();
    match read_until(stream, got, |got| whole(got) >= case.answers) {
        Ended::Enough => {
            let _ = stream.write_all(plain(AFTER).as_bytes());
            read_until(stream, got, |_| false)
        }
        ended => ended,
    }
}

fn plain(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n\r\n")
}

fn ask_as_victim(address: SocketAddr) -> Vec<u8> {
    let (mut stream, mut got) = (connect(address), Vec::new());
    let _ = stream.write_all(plain(VICTIM).as_bytes());
    read_until(&mut stream, &mut got, |_| false);
    got
}

/// Reads until there is enough, or nothing more comes.
fn read_until(stream: &mut TcpStream, got: &mut Vec<u8>, enough: impl Fn(&[u8]) -> bool) -> Ended {
    let mut piece = vec![0; 64 * 1_024];
    while !enough(got) {
        match stream.read(&mut piece) {
            Ok(0) => return Ended::Cleanly,
            Ok(read) => got.extend_from_slice(&piece[..read]),
            Err(_) => return Ended::Broken,
        }
    }
    Ended::Enough
}

fn verdict(case: &Case, replies: &Replies) -> Verdict {
    if !case.is_of_answers() {
        let passed = replies.last.iter().filter(|it| it.is_echo() && it.whole && !it.echoes(AFTER)).count();
        let passed = if case.head {
            replies.last.iter().take(1).filter(|it| it.status == 200).count()
        } else {
            passed
        };
        return if passed == 0 { Verdict::Fails } else { Verdict::Passes(passed.to_string()) };
    }
    match replies.last.first() {
        Some(reply) if reply.whole && !reply.blames_backend() && reply.status != 400 => {
            let body = String::from_utf8_lossy(&reply.body[..reply.body.len().min(40)]).into_owned();
            Verdict::Passes(format!("{} {body}", reply.status))
        }
        _ => Verdict::Fails,
    }
}

fn told(replies: &Replies) -> String {
    let of = |reply: &Reply| format!("{}{}", reply.status, if reply.whole { "" } else { " cut" });
    let all: Vec<String> = replies.last.iter().take(4).map(of).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

/// Says what must never be.
fn danger(case: &Case, replies: &Replies, victim: &[u8], came: &[Vec<u8>]) -> Option<String> {
    if let Some(reader) = came.iter().find_map(|bytes| who_disagrees(bytes)) {
        let sent: Vec<String> = came.iter().map(|it| it.escape_ascii().to_string()).collect();
        return Some(format!("what it sent on is read otherwise ({reader}): {}", shorten(&sent.join(" | "))));
    }
    let victims = reply::read(victim, |_| false, true);
    let is_own = matches!(&victims.last[..], [one] if one.echoes(VICTIM) || one.blames_backend());
    if !is_own || victims.garbage {
        return Some(format!(
            "the next client got what is not its own: {}",
            shorten(&victim.escape_ascii().to_string())
        ));
    }
    surplus(case, replies, came)
}

/// Answers that nobody asked for, and requests of which the client knows nothing.
fn surplus(case: &Case, replies: &Replies, came: &[Vec<u8>]) -> Option<String> {
    if case.then != Then::Stay {
        return None;
    }
    let seen = came.iter().flat_map(|bytes| STRICT.read_all(bytes).0);
    let seen = seen.filter(|it| ![AFTER, VICTIM, LEFT].iter().any(|target| it.is_for(target))).count();
    let behind = replies
        .last
        .iter()
        .skip(case.answers)
        .find(|it| it.status == 200 && !it.is_echo() && !it.echoes(AFTER));
    if let Some(reply) = behind {
        return Some(format!("an answer to nothing: {}", shorten(&reply.body.escape_ascii().to_string())));
    }
    let answered = replies.last.iter().filter(|it| !it.echoes(AFTER)).count();
    // A request may be repeated where its instance says nothing; one more than answers is another one.
    (case.script.is_none() && seen > answered.max(1))
        .then(|| format!("the backend saw {seen} requests, and the client got {answered} answers"))
}

fn shorten(text: &str) -> String {
    text.chars().take(600).collect()
}
