//! Commands and replies of SMTP on a stream: a line out, a reply in, nothing read without end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::dial::Stream;
use crate::outcome::Outcome;
use crate::text::line;

/// Longest reply, with all its lines: that to EHLO has a kilobyte.
const MAX_REPLY: usize = 16 * 1_024;
/// Longest words of a server that are shown.
const MAX_SAID: usize = 200;

/// A conversation.
pub(super) struct Talk<S> {
    stream: S,
    /// What was read and not looked at.
    heard: Vec<u8>,
}

/// What a server said to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl<S: Stream> Talk<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, heard: Vec::new() }
    }

    /// Gives the stream back, for TLS. What was said ahead of that is not believed (CVE-2011-0411 and its kin).
    pub(super) fn into_stream(self) -> Result<S, Outcome> {
        match self.heard.is_empty() {
            true => Ok(self.stream),
            false => Err(Outcome::never(
                "the mail server went on in plain text after STARTTLS",
                "look who stands in between",
            )),
        }
    }

    pub(super) async fn greeting(&mut self) -> Result<(), Outcome> {
        self.reply().await?.expect(2, "the connection")
    }

    /// Says a line, and hears what is said to it.
    pub(super) async fn ask(&mut self, command: &str) -> Result<Reply, Outcome> {
        if command.contains(['\r', '\n']) {
            return Err(Outcome::never(
                "an address of the letter has a line break",
                "look at the addresses of the target",
            ));
        }
        self.say(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// Sends the letter itself, with its end.
    pub(super) async fn data(&mut self, bytes: &[u8]) -> Result<Reply, Outcome> {
        self.say(&stuffed(bytes)).await?;
        self.reply().await
    }

    /// Says that nothing more comes, and waits for no answer.
    pub(super) async fn leave(&mut self) {
        let _ = self.say(b"QUIT\r\n").await;
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), Outcome> {
        let said = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        said.await
            .map_err(|error| Outcome::later(format!("the connection to the mail server broke off: {error}")))
    }

    async fn reply(&mut self) -> Result<Reply, Outcome> {
        let mut lines = Vec::new();
        let mut length = 0;
        loop {
            let line = self.line().await?;
            length += line.len();
            let (code, is_last, text) = parted(&line).ok_or_else(no_smtp)?;
            lines.push(text);
            if length > MAX_REPLY {
                return Err(no_smtp());
            }
            if is_last {
                return Ok(Reply { code, lines });
            }
        }
    }

    async fn line(&mut self) -> Result<String, Outcome> {
        loop {
            if let Some(end) = self.heard.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.heard.len() > MAX_REPLY {
                return Err(no_smtp());
            }
            let mut piece = [0; 2_048];
            let read = self.stream.read(&mut piece).await;
            match read.map_err(|error| {
                Outcome::later(format!("the connection to the mail server broke off: {error}"))
            })? {
                0 => return Err(Outcome::later("the mail server closed the connection")),
                length => self.heard.extend_from_slice(&piece[..length]),
            }
        }
    }
}

fn no_smtp() -> Outcome {
    Outcome::never("what answers is no mail server", "look at host, port and tls of the target")
}

/// Parts a line of a reply into its code, whether it is the last one, and its text.
fn parted(line: &str) -> Option<(u16, bool, String)> {
    let code: u16 = line.get(..3)?.parse().ok().filter(|code| (200..600).contains(code))?;
    let text = line.get(4..).unwrap_or_default().to_owned();
    match line.as_bytes().get(3) {
        Some(b'-') => Some((code, false, text)),
        Some(b' ') | None => Some((code, true, text)),
        _ => None,
    }
}

/// Doubles a dot at the start of a line, and ends the letter (RFC 5321, 4.5.2). A lone CR or LF becomes a whole end of line: what one
/// server takes for an end and the next does not is how a letter is smuggled into another.
fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let text = bytes.strip_suffix(b"\r\n").unwrap_or(bytes);
    let mut rest = text;
    loop {
        let end = rest.iter().position(|it| matches!(it, b'\r' | b'\n'));
        let line = &rest[..end.unwrap_or(rest.len())];
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        let Some(end) = end else { break };
        let length = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
    }
    out.extend_from_slice(b".\r\n");
    out
}

pub(super) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

impl Reply {
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Tells whether its code is of that hundred.
    pub(super) const fn is(&self, hundred: u16) -> bool {
        self.code / 100 == hundred
    }

    /// Tells whether the command is not known.
    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.code, 500 | 502 | 504)
    }

    /// Returns what was said, on one line.
    pub(super) fn said(&self) -> String {
        line(&format!("{} {}", self.code, self.lines.join(" ")), MAX_SAID)
    }

    /// Goes on where the code is of that hundred.
    pub(super) fn expect(&self, hundred: u16, what: &str) -> Result<(), Outcome> {
        let why = format!("the mail server refused {what}: {}", self.said());
        match self.code {
            _ if self.is(hundred) => Ok(()),
            _ if self.is(4) => Err(Outcome::later(why)),
            530 => Err(Outcome::never(
                why,
                "it wants a login, or TLS before it: write user and password, or another tls",
            )),
            534 | 535 | 538 => Err(Outcome::never(why, "look at user and password of the target")),
            552 => Err(Outcome::never(why, "the letter is too long for it, or a mailbox is full")),
            550 | 551 | 553 => Err(Outcome::never(
                why,
                "look at the addresses of the target, and whether this machine may send there",
            )),
            _ => Err(Outcome::never(why, "look at host, port and addresses of the target")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn replies_are_read_and_nonsense_is_none() {
        assert_eq!(parted("250-SIZE 1"), Some((250, false, "SIZE 1".to_owned())));
        assert_eq!(
            (parted("250 ok"), parted("250")),
            (Some((250, true, "ok".to_owned())), Some((250, true, String::new())))
        );
        for bad in ["", "25", "HTTP/1.1 400", "999 x", "250x", "ü50 x", "100 x"] {
            assert_eq!(parted(bad), None, "{bad}");
        }
    }

    proptest! {
        /// Whatever is in a letter, the server sees its end at the end alone.
        #[test]
        fn a_letter_ends_once(text in "[a.\r\n]{0,60}") {
            let sent = String::from_utf8(stuffed(text.as_bytes())).unwrap();
            prop_assert!(sent.ends_with("\r\n.\r\n"));
            let lines: Vec<&str> = sent.split("\r\n").collect();
            prop_assert_eq!(lines.iter().filter(|line| **line == ".").count(), 1);
            prop_assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
            let unstuffed: Vec<&str> = lines[..lines.len() - 2].iter().map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
            let meant = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(unstuffed.join("\n"), meant.strip_suffix('\n').filter(|_| text.ends_with("\r\n")).unwrap_or(&meant));
        }
    }
}
