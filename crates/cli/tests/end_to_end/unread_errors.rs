//! Standard error that nobody reads, or that cannot be written: what is said there is lost, and nothing else is.

use std::fs;
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal};

use super::support::eventually;

/// A gateway whose only route leads to a service where nobody listens, so that each second has something to be said.
struct Gateway {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Gateway {
    fn begin(errors: PipeWriter, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("table.toml");
        let text = "environment = \"production\"\n[service.away]\nversion = \"1.0.0\"\ninstances = [\"127.0.0.1:1\"]\n\
                    [[route]]\npath = \"/\"\nservice = \"away\"\n";
        fs::write(&table, text).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .arg("gateway")
            .arg("--table")
            .arg(&table)
            .args(["--listen", &address.to_string()])
            .args(arguments);
        let process = command.stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        eventually("the gateway listens", || TcpStream::connect(address).ok().map(drop));
        Self { process, address, _folder: folder }
    }

    fn ask(&self) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    fn ends_when_it_is_told(mut self) {
        let process = Pid::from_child(&self.process);
        rustix::process::kill_process(process, Signal::TERM).unwrap();
        let ended = eventually("the gateway ends", || self.process.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A pipe that takes nothing more, and the end that would be read.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4_096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn a_gateway_whose_errors_nobody_reads_serves_and_ends_all_the_same() {
    for arguments in [&[][..], &["--access-log", "-"]] {
        let (_reader, writer) = full();
        let gateway = Gateway::begin(writer, arguments);
        for _ in 0..50 {
            assert_eq!(gateway.ask(), "HTTP/1.1 503 Service Unavailable", "{arguments:?}");
        }
        gateway.ends_when_it_is_told();
    }
}

#[test]
fn a_gateway_whose_errors_cannot_be_written_serves_and_ends_all_the_same() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let gateway = Gateway::begin(writer, &["--access-log", "-"]);
    for _ in 0..50 {
        assert_eq!(gateway.ask(), "HTTP/1.1 503 Service Unavailable");
    }
    gateway.ends_when_it_is_told();
}
