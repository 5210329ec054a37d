//! Reads what a worker says of its jobs: a file in its working folder, or what its own port answers.
//!
//! It may be anything: a pipe or a link in the place of the file, a file of any size, an answer without an end. Invariant: a
//! reading takes bounded time and memory, never leaves the working folder, and what is not whole counts nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use lockstep_domain::work::exposition::{self, MAX_METRICS_BYTES, Read};
use lockstep_domain::work::{Metrics, MetricsPlace};
use lockstep_files::foreign;

use crate::talk;

/// Longest time that an answer may take as a whole.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// Longest head of an answer.
const MAX_HEAD: usize = 64 * 1024;

/// Reads what an instance says that works in a folder and listens on a port, if on any.
///
/// # Errors
///
/// Says why nothing can be made of it.
pub(crate) fn read(work: &Path, at: Option<SocketAddr>, metrics: &Metrics) -> Result<Read, String> {
    let text = match &metrics.place {
        MetricsPlace::File { path } => file(work, Path::new(path.as_str())),
        MetricsPlace::Http { path } => answer(at, path).map_err(in_words),
    };
    exposition::read(&text.map_err(|error| error.to_string())?, metrics)
}

fn file(work: &Path, path: &Path) -> io::Result<String> {
    let opened = foreign::open_below(work, path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(error.kind(), "it is not there"),
        _ => error,
    });
    whole(foreign::read_text(opened?, MAX_METRICS_BYTES)?)
}

/// Half a number is another number.
fn whole(text: String) -> io::Result<String> {
    if text.is_empty() || text.ends_with('\n') {
        Ok(text)
    } else {
        Err(io::Error::other("its last line has no end, as each line of metrics has"))
    }
}

fn answer(at: Option<SocketAddr>, path: &str) -> io::Result<String> {
    let at = at.ok_or_else(|| io::Error::other("it listens on no port"))?;
    let deadline = Instant::now() + ANSWERED_WITHIN;
    // To a client of this version nobody answers in chunks.
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {at}\r\nUser-Agent: lockstep\r\nAccept: text/plain\r\n\r\n");
    let mut stream = talk::connect(at, deadline)?;
    talk::send(&mut stream, request.as_bytes(), deadline)?;
    let mut bytes = Vec::new();
    let (head, body) = loop {
        if let Some(found) = head_of(&bytes)? {
            break found;
        }
        if more(&mut stream, &mut bytes, deadline)? == 0 {
            return Err(io::Error::other("its answer has no end of a head"));
        }
    };
    let length = head.length.unwrap_or(u64::MAX);
    while ((bytes.len() - body) as u64) < length && more(&mut stream, &mut bytes, deadline)? > 0 {
        if (bytes.len() - body) as u64 > MAX_METRICS_BYTES {
            return Err(io::Error::other(format!("its answer has more than {MAX_METRICS_BYTES} bytes")));
        }
    }
    let mut text = bytes.split_off(body);
    if head.length.is_some_and(|length| (text.len() as u64) < length) {
        return Err(io::Error::other("its answer was cut off"));
    }
    text.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    let text = String::from_utf8(text).map_err(|_| io::Error::other("its answer is not UTF-8 text"))?;
    // One that says how long it is was whole.
    if head.length.is_some() { Ok(text) } else { whole(text) }
}

struct Head {
    length: Option<u64>,
}

/// Reads the head of an answer once it is whole, and tells where the body begins.
fn head_of(bytes: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        let is_long = bytes.len() > MAX_HEAD;
        return if is_long { Err(io::Error::other("the head of its answer is too long")) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if !(status.starts_with("HTTP/1.") && status.split(' ').nth(1) == Some("200")) {
        let shown: String = status.chars().filter(|c| !c.is_control()).take(60).collect();
        return Err(io::Error::other(format!("it answered `{shown}`")));
    }
    let fields = lines.filter_map(|line| line.split_once(':'));
    let fields: Vec<_> = fields.map(|(name, value)| (name.trim().to_lowercase(), value.trim())).collect();
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    if field("transfer-encoding").is_some() || field("content-encoding").is_some_and(|it| it != "identity") {
        return Err(io::Error::other("its answer is coded, though that was not asked for"));
    }
    let length = field("content-length").map(str::parse).transpose();
    let length = length.map_err(|_| io::Error::other("the length of its answer is no number"))?;
    Ok(Some((Head { length }, end + 4)))
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>, deadline: Instant) -> io::Result<usize> {
    let mut buffer = [0; 16 * 1024];
    let news = talk::read(stream, &mut buffer, deadline)?;
    bytes.extend_from_slice(news);
    Ok(news.len())
}

fn in_words(error: io::Error) -> io::Error {
    if talk::is_late(&error) {
        return io::Error::other(format!("its answer was not whole within {} s", ANSWERED_WITHIN.as_secs()));
    }
    error
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener};
    use std::os::unix::fs::symlink;
    use std::thread;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn metrics(place: MetricsPlace) -> Metrics {
        Metrics { place, done: "done".parse().unwrap(), failed: "failed".parse().unwrap() }
    }

    fn of_file(work: &Path, name: &str) -> Result<(u64, u64), String> {
        let read = read(work, None, &metrics(MetricsPlace::File { path: name.parse().unwrap() }))?;
        Ok((read.done.values().sum(), read.failed.values().sum()))
    }

    /// Answers one connection by what this writes.
    fn of_answer(
        write: impl FnOnce(&mut TcpStream) -> io::Result<()> + Send + 'static,
    ) -> Result<u64, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /metrics HTTP/1.0\r\nHost: 127.0.0.1:"));
            let _ = write(&mut stream);
        });
        let place = MetricsPlace::Http { path: "/metrics".to_owned() };
        Ok(read(Path::new("/"), Some(talk::instance(port)), &metrics(place))?.done.values().sum())
    }

    #[test]
    fn a_file_is_read_and_nothing_else_in_its_place() {
        let place = tempfile::tempdir().unwrap();
        let work = place.path().join("work");
        fs::create_dir(&work).unwrap();
        fs::write(place.path().join("outside"), "done 1\n").unwrap();
        fs::write(work.join("good"), "done 7\nfailed 2\n").unwrap();
        assert_eq!(of_file(&work, "good"), Ok((7, 2)));
        mknodat(CWD, work.join("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        symlink("../outside", work.join("link")).unwrap();
        symlink("/dev/zero", work.join("endless")).unwrap();
        File::create(work.join("huge")).unwrap().set_len(100 << 20).unwrap();
        fs::write(work.join("bytes"), [0xff, 0xfe]).unwrap();
        fs::write(work.join("half"), "failed 0\ndone 1").unwrap();
        fs::create_dir(work.join("folder")).unwrap();
        let why = |name| of_file(&work, name).unwrap_err();
        assert_eq!(why("missing"), "it is not there");
        assert_eq!(why("pipe"), "it is a pipe, not a file");
        assert_eq!(why("link"), "it leads out of its folder");
        assert_eq!(why("endless"), "it leads out of its folder");
        assert_eq!(why("huge"), "it has more than 4194304 bytes");
        assert_eq!(why("half"), "its last line has no end, as each line of metrics has");
        assert_eq!(why("bytes"), "it is not UTF-8 text");
        assert_eq!(why("folder"), "it is a folder, not a file");
    }

    #[test]
    fn an_answer_is_read_as_a_whole_or_not_at_all() {
        let text = |text: &'static str| move |stream: &mut TcpStream| stream.write_all(text.as_bytes());
        assert_eq!(of_answer(text("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ndone 4\nfailed")), Ok(4));
        assert_eq!(of_answer(text("HTTP/1.0 200 OK\r\n\r\ndone 5\n")), Ok(5));
        let why = |answer| of_answer(text(answer)).unwrap_err();
        assert_eq!(why("HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\ndone 4\n"), "its answer was cut off");
        assert_eq!(
            why("HTTP/1.0 200 OK\r\n\r\ndone 12"),
            "its last line has no end, as each line of metrics has"
        );
        assert_eq!(why("HTTP/1.1 503 Busy\r\n\r\ndone 4\n"), "it answered `HTTP/1.1 503 Busy`");
        assert_eq!(why("done 4\n"), "its answer has no end of a head");
        assert!(
            why("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndone 4\n\r\n0\r\n\r\n")
                .contains("coded")
        );
    }

    #[test]
    fn an_answer_without_an_end_is_given_up() {
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        let endless = of_answer(move |stream| {
            stream.write_all(head)?;
            loop {
                stream.write_all(&[b'\n'; 65_536])?;
            }
        });
        assert_eq!(endless.unwrap_err(), "its answer has more than 4194304 bytes");
        let silent = of_answer(move |stream| {
            stream.write_all(head)?;
            stream.read(&mut [0; 16]).map(drop)
        });
        assert_eq!(silent.unwrap_err(), "its answer was not whole within 2 s");
    }
}
