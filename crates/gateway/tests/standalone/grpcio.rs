//! gRPC by Google's library on both sides, straight and through the gateway: deadlines, cancelling, large and many messages, errors.
//!
//! The library is Debian's `python3-grpcio`, so it is Debian's Python that runs it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lockstep_domain::protocol::Protocol;

use crate::process::Process;
use crate::table;

const PYTHON: &str = "/usr/bin/python3";
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/standalone/grpcio");

/// A process that ends with its owner.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn service() -> (Service, SocketAddr) {
    let script = Path::new(SCRIPTS).join("service.py");
    let child = Command::new(PYTHON).arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut service = Service(child);
    let mut port = String::new();
    BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let port = port.trim().parse().expect("the service says its port: is python3-grpcio installed?");
    (service, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// What the client says of its cases.
fn cases(address: SocketAddr) -> Vec<String> {
    let script = Path::new(SCRIPTS).join("client.py");
    let output = Command::new(PYTHON).arg(script).arg(address.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_googles_library_does_with_grpc_it_does_through_the_gateway() {
    let (_service, address) = service();
    let straight = cases(address);
    assert!(straight.len() > 20 && straight.iter().all(|it| it.starts_with("ok: ")), "{straight:#?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.json");
    let mut table = table(1, address);
    table.services.values_mut().flat_map(|it| &mut it.splits).for_each(|it| it.protocol = Protocol::H2c);
    std::fs::write(&path, serde_json::to_string(&table).unwrap()).unwrap();
    let gateway = Process::start(&path);
    assert_eq!(cases(gateway.address), straight);
}
