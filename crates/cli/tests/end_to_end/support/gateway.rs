//! A gateway as a process of its own, which can be killed and started again where it was.

use std::process::{Child, Command, Stdio};

use super::announced;
use super::front::Front;
use super::place::{ENVIRONMENT, Place};

pub(crate) struct StandaloneGateway {
    process: Child,
    address: String,
    data: String,
    server: String,
    /// The file with the certificate of the authority, for a server behind TLS.
    authority: Option<String>,
    key: String,
    /// What else it was started with.
    more: Vec<String>,
}

impl StandaloneGateway {
    /// Starts a gateway that follows the server of a place.
    pub(crate) fn follow(place: &Place) -> Self {
        Self::begin(place, place.url(), None, &[])
    }

    /// Starts a gateway that follows the server of a place, with further options.
    pub(crate) fn follow_with(place: &Place, more: &[&str]) -> Self {
        Self::begin(place, place.url(), None, more)
    }

    /// Starts a gateway that follows the server of a place through what ends TLS before it.
    pub(crate) fn follow_through(place: &Place, front: &Front) -> Self {
        Self::begin(place, front.url(), Some(front.authority()), &[])
    }

    fn begin(place: &Place, server: String, authority: Option<String>, more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(|it| (*it).to_owned()).collect();
        let (data, key) = (place.path("gateway"), place.path("gateway.key"));
        place.run(&["gateway", "add", "edge", "--env", ENVIRONMENT, "--key-file", &key]);
        let (process, address) = start("127.0.0.1:0", &data, &server, authority.as_deref(), &key, &more);
        Self { process, address, data, server, authority, key, more }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Ends it in the ordinary way.
    pub(crate) fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        (self.process, _) =
            start(&self.address, &self.data, &self.server, self.authority.as_deref(), &self.key, &self.more);
    }
}

impl Drop for StandaloneGateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start(
    listen: &str,
    data: &str,
    server: &str,
    authority: Option<&str>,
    key: &str,
    more: &[String],
) -> (Child, String) {
    let mut gateway = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["gateway", "run", "--env", ENVIRONMENT, "--listen", listen, "--data", data])
        .args(["--server", server, "--key-file", key])
        .args(more)
        .args(authority.into_iter().flat_map(|file| ["--ca", file]))
        .env("ALL_PROXY", "http://127.0.0.1:9") // where nothing listens, and nothing may be asked
        .env_remove("LOCKSTEP_TOKEN")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let address = announced(gateway.stderr.take().unwrap(), "gateway");
    (gateway, address.unwrap_or_else(|log| panic!("the gateway did not start:\n{log}")))
}
