//! The chapter in which the server is killed, and the shop goes on.

use std::net::SocketAddr;
use std::process::Child;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::installation::Show;
use crate::load::{self, Kind, Target};
use crate::processes::{self, Signal};

use super::super::checks::{self, wait_until};
use super::super::shop::SERVICES;
use super::{SHOPPING, Story, with_catalog};

/// What customers do that needs no call from one service to another.
const LOOKING: &[Kind] = &[
    Kind { weight: 2, method: "GET", path: "/items", body: "", expected: 200 },
    Kind { weight: 1, method: "GET", path: "/items/tea", body: "", expected: 200 },
    Kind { weight: 1, method: "GET", path: "/orders?limit=5", body: "", expected: 200 },
];
/// How many requests the shop serves while the server is gone.
const WITHOUT_SERVER: usize = 200;

impl Story {
    pub(super) fn lose_the_server(&mut self) -> Result<()> {
        self.heading("The server is killed: instances and a gateway of its own go on");
        let mut alone = self.start_gateway()?;
        let before = checks::instances(&self.installation, "production")?;
        ensure!(before.len() >= SERVICES.len(), "only {} instances of production are healthy", before.len());
        self.installation.kill_server()?;
        self.serve_without_server()?;
        self.installation.start_server()?;
        wait_until("the instances to be adopted", || {
            Ok(checks::instances(&self.installation, "production")? == before)
        })?;
        println!("  all {} instances of production were adopted, none was restarted", before.len());
        self.expect_production(&with_catalog("1.3.1"))?;
        self.send_customers(
            Target { address: self.gateway, kinds: SHOPPING, served_by: load::version },
            self.installation.https()[0],
        )?;
        processes::signal(&[alone.id()], Signal::Terminate)?;
        alone.wait()?;
        self.expect_no_failures()
    }

    /// Starts a gateway of its own, and sends all customers to it.
    fn start_gateway(&mut self) -> Result<Child> {
        let (address, over_tls) = (self.installation.spare()[0], self.installation.https()[1]);
        let folder = self.installation.folder();
        let [key, data] = ["edge-1.key", "gateway"].map(|name| folder.join(name).display().to_string());
        let add = ["gateway", "add", "edge-1", "--env", "production", "--key-file", &key];
        self.installation.run(&add, Show::All)?;
        let serve = ["gateway", "run", "--env", "production", "--data", &data, "--key-file", &key];
        let listen = ["--listen", &address.to_string(), "--listen-tls", &over_tls.to_string()];
        let gateway = self.installation.spawn(&[&serve[..], &listen].concat())?;
        wait_until("the gateway", || {
            Ok(checks::visit(address, "/items").is_ok_and(|answer| answer.status == 200))
        })?;
        self.send_customers(Target { address, kinds: LOOKING, served_by: load::version }, over_tls)?;
        Ok(gateway)
    }

    fn send_customers(&mut self, target: Target, over_tls: SocketAddr) -> Result<()> {
        self.load()?.redirect(target)?;
        self.wires()?.redirect(over_tls)
    }

    fn serve_without_server(&mut self) -> Result<()> {
        let killed = Instant::now();
        let load = self.load()?;
        wait_until("requests without a server", || Ok(load.totals_after(killed).requests >= WITHOUT_SERVER))?;
        println!("  {} requests were served without a server", load.totals_after(killed).requests);
        self.expect_over_tls(&with_catalog("1.3.1"))
    }
}
