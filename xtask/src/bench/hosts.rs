//! Booted hosts with a gateway each: bringing an artifact to all of them beside `rsync`, and going back on all of them at once.

mod rollback;
pub(super) mod simulated;
mod transfer;

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use crate::hosts::{Fleet, SetName};
use crate::installation::{Installation, Show, Talk};

use super::operation::ENVIRONMENT;
use super::{repository, service};

/// How many hosts boot: few enough for a small machine, and more than are sent to at once.
const HOSTS: u8 = 8;
/// What a package of the service has besides its program.
const DATA: &str = "data";

pub(super) fn measure(program: PathBuf, folder: PathBuf) -> Result<()> {
    // Not as something that is skipped: whoever typed this wants to see it.
    Fleet::check().map_err(|why| anyhow!("{why:#}"))?;
    let set: SetName = format!("bench{}", std::process::id()).parse().map_err(|why: String| anyhow!(why))?;
    println!("{HOSTS} hosts boot (set {set} of `cargo xtask hosts`)");
    let fleet = Fleet::boot(set, HOSTS)?;
    let mut installation = Installation::new(program, folder, Talk::Aloud)?;
    installation.start_server()?;
    add_hosts(&installation, &fleet)?;
    let repository = installation.folder().join("repository");
    std::fs::create_dir_all(&repository)?;
    transfer::write_data(&repository, 0, false)?;
    repository::create(&repository, &manifest(), service::SOURCE)?;
    installation.run(&["service", "add", "repository"], Show::Result(1))?;
    let transfers = transfer::measure(&installation, &fleet, &repository)?;
    let rollbacks = rollback::measure(&installation, &fleet, transfer::LAST_TWO)?;
    drop(fleet);
    installation.remove()?;
    transfers.show();
    rollbacks.show();
    Ok(())
}

/// The manifest of the service with what makes its package large.
fn manifest() -> String {
    service::MANIFEST.replace(r#"include = ["echo"]"#, &format!(r#"include = ["echo", "{DATA}"]"#))
}

fn add_hosts(installation: &Installation, fleet: &Fleet) -> Result<()> {
    let key = fleet.key().display().to_string();
    for host in fleet.hosts() {
        let (name, login) = (host.to_string(), fleet.login(host)?);
        let add = ["host", "add", &name, "--ssh", &login, "--key", &key, "--env", ENVIRONMENT];
        installation.run(&add, Show::Result(1))?;
    }
    Ok(())
}
