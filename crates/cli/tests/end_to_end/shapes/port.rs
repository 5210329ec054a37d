//! A program that always listens on the same port: one ends before the other starts, and only then nobody answers.

use std::net::TcpListener;

use crate::support::place::Place;
use crate::support::repository::{Repository, manifest, service};

use super::story::{Shape, Version, answer};

pub(super) struct Fixed {
    gateway: String,
    port: u16,
}

impl Shape for Fixed {
    const SERVICES: &'static [&'static str] = &["legacy"];
    const GAP: Option<&'static str> = Some("nobody answers in between");

    fn begin(_: &Place, gateway: &str) -> Self {
        // Below the ports that the system gives to outgoing connections, and those of instances.
        let from = 10_000 + u16::try_from(std::process::id() % 9_000).unwrap();
        let port = (from..).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
        Self { gateway: gateway.to_owned(), port }
    }

    fn write(&self, name: &str, repository: &Repository, version: Version) {
        let toml = manifest(name, &format!("port = {}", self.port), "").replace("20s", "3s");
        repository.write("lockstep.toml", &toml);
        let port = if version == Version::Bad { "0".to_owned() } else { self.port.to_string() };
        let program = service(version.words()).replace("int(os.environ['PORT'])", &port);
        repository.write("service.py", &program);
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        answer(&self.gateway, "/legacy", number).map(drop)
    }

    fn at_work(&self) -> Option<String> {
        answer(&self.gateway, "/legacy", 0).ok()
    }
}
