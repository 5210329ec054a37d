//! A program that holds sessions in memory and is polled for them, as socket.io is, with two instances.

use std::sync::Mutex;

use crate::affinity::{Client, write_service};
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::Repository;

use super::story::{Shape, Version};

/// Clients that hold a session.
const SESSIONS: usize = 12;
/// So often another version took over.
const MOVES: usize = 5;

pub(super) struct Chat {
    gateway: String,
    clients: Vec<Mutex<(Client, String)>>,
}

impl Shape for Chat {
    const SERVICES: &'static [&'static str] = &["chat"];

    fn begin(_: &Place, gateway: &str) -> Self {
        let clients = (0..SESSIONS).map(|_| Mutex::default()).collect();
        Self { gateway: gateway.to_owned(), clients }
    }

    fn write(&self, _: &str, repository: &Repository, version: Version) {
        write_service(repository, version.words(), "affinity = \"client\"");
        if version == Version::Bad {
            repository.write("service.py", "import sessions_of_another_library\n");
        }
    }

    fn is_deployed(&self, place: &Place) {
        place.run(&["scale", "chat", "2", "--env", ENVIRONMENT]);
    }

    fn ask(&self, number: u64) -> Result<(), String> {
        let mut client = self.clients[usize::try_from(number).unwrap() % SESSIONS].lock().unwrap();
        let failed = client.0.failed.len();
        client.1 = client.0.poll(&self.gateway).version;
        client.0.failed.get(failed).map_or(Ok(()), |answer| Err(answer.clone()))
    }

    fn at_work(&self) -> Option<String> {
        let versions: Vec<_> = self.clients.iter().map(|client| client.lock().unwrap().1.clone()).collect();
        versions.iter().all(|version| *version == versions[0]).then(|| versions[0].clone())
    }

    fn judge(&self, _: &Place, _: u64) {
        // With its version goes a session, and with nothing else.
        let lost: Vec<_> = self.clients.iter().map(|client| client.lock().unwrap().0.lost).collect();
        assert!(lost.iter().all(|lost| *lost == MOVES), "{lost:?}");
    }
}
