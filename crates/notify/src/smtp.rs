//! One letter by SMTP (RFC 5321), with STARTTLS (RFC 3207) or TLS from the start (RFC 8314), and a login (RFC 4954).
//!
//! The conversation is ours and not a library's, for three things that decide what is tried again: which command failed, whether the
//! letter was out of our hands when the connection broke, and that nothing that a server says is read without end.
//! Invariants: no password goes over a line that everybody can read, unless the target says so; nothing that was said before TLS
//! is believed after it.

mod talk;

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dial::{self, Stream};
use crate::message::Letter;
use crate::outcome::Outcome;
use crate::target::{Mail, MailTls};

use talk::{Reply, Talk};

/// What a server can do, as it says itself.
#[derive(Debug, Default)]
struct Abilities {
    starttls: bool,
    plain: bool,
    login: bool,
}

/// Brings a letter to a mail server.
pub(crate) async fn send(
    mail: &Mail,
    password: Option<&str>,
    letter: &Letter,
    config: Option<Arc<ClientConfig>>,
    limit: Duration,
) -> Outcome {
    let tcp = match dial::tcp(&mail.host, mail.port()).await {
        Ok(tcp) => tcp,
        Err(outcome) => return outcome,
    };
    let mut is_out = false;
    let talked = timeout(limit, converse(tcp, mail, password, letter, config, &mut is_out)).await;
    match talked {
        Ok(Ok(outcome) | Err(outcome)) => outcome,
        Err(_) if is_out => Outcome::unknown(format!(
            "{} did not say within {} s whether it has the letter",
            mail.host,
            limit.as_secs()
        )),
        Err(_) => {
            Outcome::later(format!("{} did not take the letter within {} s", mail.host, limit.as_secs()))
        }
    }
}

async fn converse(
    tcp: TcpStream,
    mail: &Mail,
    password: Option<&str>,
    letter: &Letter,
    config: Option<Arc<ClientConfig>>,
    is_out: &mut bool,
) -> Result<Outcome, Outcome> {
    let name = tcp.local_addr().map_or_else(|_| "[127.0.0.1]".to_owned(), |at| literal(at.ip()));
    let (mut talk, abilities) = open(tcp, mail, config, &name).await?;
    log_in(&mut talk, mail, password, &abilities).await?;
    let refused = envelope(&mut talk, letter).await?;
    talk.ask("DATA").await?.expect(3, "the letter")?;
    *is_out = true;
    let reply = talk
        .data(&letter.bytes)
        .await
        .map_err(|_| Outcome::unknown("the connection broke off while the letter was sent"))?;
    reply.expect(2, "the letter")?;
    // It has the letter: nobody waits for what it says to this.
    talk.leave().await;
    Ok(Outcome::Sent { note: refused })
}

/// Writes our address as the name of a machine without one (RFC 5321, 4.1.3).
fn literal(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) => format!("[{ip}]"),
        std::net::IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

async fn open(
    tcp: TcpStream,
    mail: &Mail,
    config: Option<Arc<ClientConfig>>,
    name: &str,
) -> Result<(Talk<Box<dyn Stream>>, Abilities), Outcome> {
    match (mail.tls, config) {
        (MailTls::Implicit, Some(config)) => {
            let mut talk = Talk::new(dial::tls(&mail.host, config, tcp).await?);
            talk.greeting().await?;
            greet(talk, name).await
        }
        (MailTls::Starttls, Some(config)) => {
            greet(Talk::new(secured(tcp, mail, config, name).await?), name).await
        }
        _ => {
            let stream: Box<dyn Stream> = Box::new(tcp);
            let mut talk = Talk::new(stream);
            talk.greeting().await?;
            greet(talk, name).await
        }
    }
}

/// Goes over to TLS on a connection that began without.
async fn secured(
    tcp: TcpStream,
    mail: &Mail,
    config: Arc<ClientConfig>,
    name: &str,
) -> Result<Box<dyn Stream>, Outcome> {
    let mut talk = Talk::new(tcp);
    talk.greeting().await?;
    if !abilities(&talk.ask(&format!("EHLO {name}")).await?).starttls {
        return Err(Outcome::never(
            format!("{} offers no STARTTLS, so everybody on the way could read the letter", mail.host),
            "write tls = \"implicit\" with the port of TLS (465), or look who stands in between",
        ));
    }
    talk.ask("STARTTLS").await?.expect(2, "STARTTLS")?;
    dial::tls(&mail.host, config, talk.into_stream()?).await
}

async fn greet<S: Stream>(mut talk: Talk<S>, name: &str) -> Result<(Talk<S>, Abilities), Outcome> {
    let reply = talk.ask(&format!("EHLO {name}")).await?;
    if reply.is_refused() {
        talk.ask(&format!("HELO {name}")).await?.expect(2, "HELO")?;
        return Ok((talk, Abilities::default()));
    }
    let abilities = abilities(&reply);
    reply.expect(2, "EHLO")?;
    Ok((talk, abilities))
}

fn abilities(reply: &Reply) -> Abilities {
    let mut found = Abilities::default();
    for line in reply.lines() {
        let line = line.to_ascii_uppercase();
        let mut words = line.split([' ', '=']);
        match words.next() {
            Some("STARTTLS") => found.starttls = true,
            Some("AUTH") => {
                for word in words {
                    found.plain |= word == "PLAIN";
                    found.login |= word == "LOGIN";
                }
            }
            _ => {}
        }
    }
    found
}

async fn log_in<S: Stream>(
    talk: &mut Talk<S>,
    mail: &Mail,
    password: Option<&str>,
    abilities: &Abilities,
) -> Result<(), Outcome> {
    let (Some(user), Some(password)) = (&mail.user, password) else { return Ok(()) };
    let reply = match (abilities.plain, abilities.login) {
        (true, _) => {
            talk.ask(&format!("AUTH PLAIN {}", talk::base64(&format!("\0{user}\0{password}")))).await?
        }
        (_, true) => {
            talk.ask("AUTH LOGIN").await?.expect(3, "the login")?;
            talk.ask(&talk::base64(user)).await?.expect(3, "the login")?;
            talk.ask(&talk::base64(password)).await?
        }
        _ => {
            return Err(Outcome::never(
                format!("{} takes no login that we know (PLAIN, LOGIN)", mail.host),
                "leave out user and password, or name another port or server",
            ));
        }
    };
    reply.expect(2, "the login")
}

/// Says who writes to whom. Who is refused is named, and the others get the letter all the same.
async fn envelope<S: Stream>(talk: &mut Talk<S>, letter: &Letter) -> Result<Option<String>, Outcome> {
    talk.ask(&format!("MAIL FROM:<{}>", letter.from)).await?.expect(2, "the sender")?;
    let mut refused: Vec<(&str, Reply)> = Vec::new();
    for to in &letter.to {
        let reply = talk.ask(&format!("RCPT TO:<{to}>")).await?;
        if !reply.is(2) {
            refused.push((to, reply));
        }
    }
    if refused.len() < letter.to.len() {
        return Ok(note(&refused));
    }
    // One that may be taken later is worth another try.
    let passing = refused.iter().find(|(_, reply)| reply.is(4)).or(refused.first());
    passing.map_or(Ok(()), |(to, reply)| reply.expect(2, &format!("the recipient {to}")))?;
    Ok(None)
}

fn note(refused: &[(&str, Reply)]) -> Option<String> {
    let words: Vec<String> =
        refused.iter().map(|(to, reply)| format!("{to} was refused ({})", reply.said())).collect();
    (!words.is_empty()).then(|| crate::text::line(&words.join("; "), 500))
}
