//! A process of the service with faults.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, PATIENCE};

/// A process, ended with the test.
pub(super) struct Process {
    fault: &'static str,
    port: u16,
    child: Child,
}

impl Process {
    pub(super) fn start(fault: &'static str) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Self { fault, port, child: spawn(fault, port) }
    }

    /// Starts it once more on its port.
    pub(super) fn start_again(&mut self) {
        self.end();
        self.child = spawn(self.fault, self.port);
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Waits until it answers; false when it ended.
    pub(super) fn is_ready(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if std::net::TcpStream::connect(self.address()).is_ok() {
                return Client::connect(self.address()).get("/health", "health").is_ok();
            }
            // A process that is about to listen tells nobody; asking on and on would slow it down.
            thread::sleep(Duration::from_millis(5));
        }
        panic!("`{}` neither answers nor ends", self.fault)
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(fault: &str, port: u16) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/faults/service.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(port.to_string()).arg(fault);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}
