//! The customers who come over TLS: how the shop is opened for them, and what they must have seen.

use anyhow::{Context as _, Result, bail};

use crate::installation::Show;

use super::super::certificate;
use super::super::wires::{HOST, Unavailable, WIRES, Wires};
use super::{OPENING, Story, UPGRADED};

impl Story {
    /// Gives production a certificate and a port for https, and lets customers come by it.
    pub(super) fn open_over_tls(&mut self) -> Result<()> {
        let certificate = certificate::make(self.installation.folder(), HOST)?;
        let address = self.installation.https()[0];
        let port = address.port().to_string();
        let set = ["environment", "set", "production", "--https-port", &port];
        self.installation.run(&set, Show::Result(1))?;
        let add = ["certificate", "add", "--cert", "shop.pem", "--key", "shop.key", "--env", "production"];
        self.installation.run(&add, Show::Result(1))?;
        println!("Others come over TLS by HTTP/1.1, HTTP/2, gRPC and WebSocket, with the clients of Node:");
        self.wires = Some(Wires::begin(address, &certificate.authority)?);
        self.expect_production(&OPENING)
    }

    pub(super) fn wires(&mut self) -> Result<&mut Wires> {
        self.wires.as_mut().context("nobody comes over TLS yet")
    }

    /// Says how a person asks over TLS.
    pub(super) fn ask_over_tls(&self) -> String {
        let (folder, address) = (self.installation.folder().display(), self.installation.https()[0]);
        let (port, host) = (address.port(), address.ip());
        format!("curl --cacert {folder}/ca.pem --resolve {HOST}:{port}:{host} https://{HOST}:{port}/items")
    }

    /// Checks that these versions answer on every wire, once there is anybody who asks.
    pub(super) fn expect_over_tls(&mut self, versions: &[(&str, &str)]) -> Result<()> {
        let Some(wires) = &mut self.wires else { return Ok(()) };
        let seen = wires.look(Unavailable::Failure)?;
        seen.expect_served_by(versions)?;
        println!("  over TLS answer {seen}");
        Ok(())
    }

    /// Checks that since the last look each wire was answered by the version before the upgrade and by the one after it.
    pub(super) fn expect_both_over_tls(&mut self) -> Result<()> {
        let seen = self.wires()?.look(Unavailable::Failure)?;
        println!("  over TLS meanwhile:");
        for (wire, service) in WIRES {
            let answers = seen.on(wire).answers;
            let labels = [OPENING, UPGRADED].map(|versions| {
                let version = versions.iter().find(|(name, _)| *name == service).map(|(_, version)| version);
                format!("{service}@{}", version.copied().unwrap_or_default())
            });
            let [Some(old), Some(new)] = labels.each_ref().map(|label| answers.get(label)) else {
                bail!("{wire} over TLS was not answered by both of {labels:?}: {answers:?}");
            };
            println!("    {wire:<10} {:<17} {old:>5}    {:<17} {new:>5}", labels[0], labels[1]);
        }
        Ok(())
    }
}
