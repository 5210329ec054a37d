//! A mail server on loopback that keeps letters, and behaves as it is told.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fake;
use super::tls::{self, Identity};

/// How it behaves.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// Offers STARTTLS, and takes letters only behind it.
    pub(crate) starttls: bool,
    /// Speaks TLS from the start.
    pub(crate) implicit: bool,
    /// What it offers for a login; letters are taken only after one.
    pub(crate) auth: Option<&'static str>,
    /// What it answers to a command that begins so, in place of what it would.
    pub(crate) instead: Vec<(&'static str, &'static str)>,
    /// Closes the connection in place of an answer to a command that begins so; `.` is the end of a letter.
    pub(crate) hang_up_at: Option<&'static str>,
    /// Waits for ever in place of that answer.
    pub(crate) silent_at: Option<&'static str>,
    /// Sends more along with the answer to STARTTLS, as somebody in between would.
    pub(crate) inject: Option<&'static str>,
    /// Does not know EHLO.
    pub(crate) old: bool,
}

/// A letter as it was taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) login: Option<String>,
    pub(crate) was_tls: bool,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    pub(crate) pem: String,
    taken: Arc<Mutex<Vec<Taken>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Sink {
    pub(crate) fn start(manner: Manner) -> Self {
        let identity = tls::identity();
        let pem = identity.pem.clone();
        let (taken, heard) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let session = Session {
            manner,
            identity: Arc::new(identity),
            taken: Arc::clone(&taken),
            heard: Arc::clone(&heard),
        };
        let address = fake::listen(move |stream| session.serve(stream));
        Self { address, pem, taken, heard }
    }

    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// All that was said before TLS, and behind it.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

struct Session {
    manner: Manner,
    identity: Arc<Identity>,
    taken: Arc<Mutex<Vec<Taken>>>,
    heard: Arc<Mutex<Vec<String>>>,
}

/// What a conversation ended with.
enum End {
    Over,
    Starttls,
}

impl Session {
    fn serve(&self, stream: TcpStream) {
        if self.manner.implicit {
            let mut stream = BufReader::new(tls::accept(&self.identity.config, stream));
            self.greet(&mut stream);
            self.talk(&mut stream, true);
            return;
        }
        let mut plain = BufReader::new(stream.try_clone().unwrap());
        self.greet(&mut plain);
        if matches!(self.talk(&mut plain, false), End::Starttls) {
            assert!(plain.buffer().is_empty(), "a client that speaks ahead of TLS");
            let mut stream = BufReader::new(tls::accept(&self.identity.config, stream));
            self.talk(&mut stream, true);
        }
    }

    fn greet<S: Read + Write>(&self, stream: &mut BufReader<S>) {
        let greeting = self.instead("greeting").unwrap_or("220 sink ESMTP");
        say(stream, greeting);
    }

    fn instead(&self, command: &str) -> Option<&'static str> {
        self.manner.instead.iter().find(|(it, _)| command.starts_with(it)).map(|(_, answer)| *answer)
    }

    fn talk<S: Read + Write>(&self, stream: &mut BufReader<S>, is_tls: bool) -> End {
        let mut letter = Taken { was_tls: is_tls, ..Taken::default() };
        loop {
            let mut line = String::new();
            if !matches!(stream.read_line(&mut line), Ok(length) if length > 0) {
                return End::Over;
            }
            let line = line.strip_suffix("\r\n").expect("a line ends with CRLF").to_owned();
            self.heard.lock().unwrap().push(line.clone());
            if !self.goes_on(&line, stream) {
                return End::Over;
            }
            if let Some(answer) = self.instead(&line) {
                say(stream, answer);
                continue;
            }
            match line.as_str() {
                "STARTTLS" if self.manner.starttls && !is_tls => {
                    say(stream, &format!("220 go on{}", self.manner.inject.unwrap_or_default()));
                    return End::Starttls;
                }
                "DATA" => {
                    say(stream, "354 go on");
                    let Some(bytes) = read_letter(stream) else { return End::Over };
                    letter.bytes = bytes;
                    if !self.goes_on(".", stream) {
                        return End::Over;
                    }
                    let answer = self.instead(".").unwrap_or("250 taken");
                    if answer.starts_with('2') {
                        self.taken.lock().unwrap().push(letter.clone());
                    }
                    say(stream, answer);
                }
                "QUIT" => {
                    say(stream, "221 bye");
                    return End::Over;
                }
                _ => {
                    let answer = self.answer(&line, stream, &mut letter, is_tls);
                    say(stream, &answer);
                }
            }
        }
    }

    /// Tells whether the conversation goes on at this command.
    fn goes_on<S: Read + Write>(&self, command: &str, stream: &mut BufReader<S>) -> bool {
        if self.manner.silent_at.is_some_and(|it| command.starts_with(it)) {
            let _ = stream.read(&mut [0; 16]);
            return false;
        }
        !self.manner.hang_up_at.is_some_and(|it| command.starts_with(it))
    }

    fn answer<S: Read + Write>(
        &self,
        line: &str,
        stream: &mut BufReader<S>,
        letter: &mut Taken,
        is_tls: bool,
    ) -> String {
        let wants_login = self.manner.auth.is_some() && letter.login.is_none();
        match line.split_once([' ', ':']).unwrap_or((line, "")) {
            ("EHLO", _) if self.manner.old => "502 what?".into(),
            ("HELO", _) => "250 sink".into(),
            ("EHLO", _) => {
                let starttls = if self.manner.starttls && !is_tls { "250-STARTTLS\r\n" } else { "" };
                let auth = self.manner.auth.map(|it| format!("250-AUTH {it}\r\n")).unwrap_or_default();
                format!("250-sink\r\n{starttls}{auth}250 SIZE 1000000")
            }
            ("AUTH", how) => match how.split_once(' ') {
                Some(("PLAIN", given)) => login(letter, &text(given)),
                _ => {
                    say(stream, "334 VXNlcm5hbWU6");
                    let user = text(&next(stream));
                    say(stream, "334 UGFzc3dvcmQ6");
                    let password = text(&next(stream));
                    login(letter, &format!("\0{user}\0{password}"))
                }
            },
            ("MAIL", _) if self.manner.starttls && !is_tls => "530 must issue STARTTLS first".into(),
            ("MAIL", _) if wants_login => "530 authentication required".into(),
            ("MAIL", from) => {
                letter.from = from.to_owned();
                "250 ok".into()
            }
            ("RCPT", to) => {
                letter.to.push(to.to_owned());
                "250 ok".into()
            }
            _ => "500 what?".into(),
        }
    }
}

fn login(letter: &mut Taken, given: &str) -> String {
    if given != "\0user\0right" {
        return "535 no".into();
    }
    letter.login = Some("user".into());
    "235 ok".into()
}

fn text(base64: &str) -> String {
    String::from_utf8(STANDARD.decode(base64.trim()).unwrap()).unwrap()
}

fn next<S: Read + Write>(stream: &mut BufReader<S>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

fn read_letter<S: Read + Write>(stream: &mut BufReader<S>) -> Option<Vec<u8>> {
    let mut letter = Vec::new();
    loop {
        let mut line = Vec::new();
        if !matches!(stream.read_until(b'\n', &mut line), Ok(length) if length > 0) {
            return None;
        }
        assert!(line.ends_with(b"\r\n"), "a line ends with CRLF");
        if line == b".\r\n" {
            return Some(letter);
        }
        letter.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

fn say<S: Read + Write>(stream: &mut BufReader<S>, text: &str) {
    let _ = stream.get_mut().write_all(format!("{text}\r\n").as_bytes());
    let _ = stream.get_mut().flush();
}
