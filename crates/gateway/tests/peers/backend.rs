//! A raw backend: it keeps every byte that it is sent, and says what it is told to.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::case::{End, Script, When};
use crate::reader::{STRICT, Seen, Step};

/// What requests are for that are no part of a case.
pub(crate) const AFTER: &str = "/after";
pub(crate) const VICTIM: &str = "/victim";
/// What a client asks for that leaves: it may come when the next case has begun.
pub(crate) const LEFT: &str = "/left";

/// A backend, which ends with the process.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What is said to the next request of a case.
    script: Option<Script>,
    /// What came since it was last taken, by connection.
    came: BTreeMap<usize, Vec<u8>>,
    open: BTreeMap<usize, TcpStream>,
    /// Connections that are within a request.
    within: BTreeMap<usize, bool>,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let own = backend.clone();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let backend = own.clone();
                backend.state().open.insert(number, stream.try_clone().unwrap());
                thread::spawn(move || {
                    backend.serve(number, stream);
                    backend.forget(number);
                });
            }
        });
        backend
    }

    /// Begins a case. What a request brought that is not whole yet is kept: it came from a client of the last case that has left, and
    /// without its beginning it would be read otherwise.
    pub(crate) fn begin(&self, script: Option<Script>) {
        let mut state = self.state();
        state.script = script;
        let State { came, within, .. } = &mut *state;
        came.retain(|number, _| within.get(number) == Some(&true));
    }

    /// Returns what each connection brought in this case. One within a request is closed: the next case begins between two.
    pub(crate) fn take(&self) -> Vec<Vec<u8>> {
        let mut state = self.state();
        state.script = None;
        let within: Vec<usize> =
            state.within.iter().filter(|(_, within)| **within).map(|(number, _)| *number).collect();
        for number in within {
            if let Some(stream) = state.open.remove(&number) {
                // It may have ended by itself. What it still has to be read is of no case.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        std::mem::take(&mut state.came).into_values().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn forget(&self, number: usize) {
        let mut state = self.state();
        state.open.remove(&number);
        state.within.remove(&number);
    }

    fn note(&self, number: usize, bytes: &[u8], within: bool) {
        let mut state = self.state();
        if state.open.contains_key(&number) {
            state.came.entry(number).or_default().extend_from_slice(bytes);
            state.within.insert(number, within);
        }
    }

    fn script(&self, when: When) -> Option<Script> {
        let mut state = self.state();
        if state.script.as_ref().is_some_and(|script| script.when == when) {
            state.script.take()
        } else {
            None
        }
    }

    fn serve(&self, number: usize, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        if let Some(script) = self.script(When::Connected) {
            let _ = play(&mut stream, &script);
        }
        let (mut waiting, mut piece) = (Vec::new(), vec![0; 64 * 1_024]);
        loop {
            let Ok(read @ 1..) = stream.read(&mut piece) else { return };
            waiting.extend_from_slice(&piece[..read]);
            self.note(number, &piece[..read], true);
            if self.answer(&mut stream, &mut waiting).is_none() {
                return;
            }
            self.note(number, b"", !waiting.is_empty());
        }
    }

    /// Answers all that is whole; `None` when the connection ends.
    fn answer(&self, stream: &mut TcpStream, waiting: &mut Vec<u8>) -> Option<()> {
        if STRICT.has_head(waiting)
            && !waiting.starts_with(b"GET /victim ")
            && let Some(script) = self.script(When::Head)
        {
            play(stream, &script)?;
        }
        loop {
            match STRICT.read(waiting) {
                Step::Whole(seen, used) => {
                    waiting.drain(..used);
                    self.say(stream, &seen)?;
                }
                Step::More => return Some(()),
                Step::Broken => {
                    let _ = stream.write_all(b"HTTP/1.1 400 Unreadable\r\ncontent-length: 0\r\n\r\n");
                    return None;
                }
            }
        }
    }

    fn say(&self, stream: &mut TcpStream, seen: &Seen) -> Option<()> {
        let is_own = seen.is_for(AFTER) || seen.is_for(VICTIM);
        if !is_own && let Some(script) = self.script(When::Request) {
            return play(stream, &script);
        }
        stream.write_all(&echo(seen)).ok()
    }
}

/// What is said to a request by default: what was understood of it.
fn echo(seen: &Seen) -> Vec<u8> {
    let mut body = b"echo ".to_vec();
    for part in [&seen.method, &b" ".to_vec(), &seen.target] {
        body.extend_from_slice(part);
    }
    body.extend_from_slice(format!(" {}", seen.body.len()).as_bytes());
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    let body: &[u8] = if seen.method == b"HEAD" { b"" } else { &body };
    [head.as_bytes(), body].concat()
}

/// Says what a case wants; `None` when the connection ends with it.
fn play(stream: &mut TcpStream, script: &Script) -> Option<()> {
    for piece in &script.pieces {
        stream.write_all(piece).ok()?;
    }
    match script.end {
        End::Stay => Some(()),
        End::Close => {
            // What is unread would make it a reset.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = std::io::copy(stream, &mut std::io::sink());
            None
        }
        End::Reset => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            None
        }
    }
}
