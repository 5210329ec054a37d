//! What a server takes for many hosts at once: each is a process that speaks the agent's protocol and tells of workers that there are not.
//!
//! They stand where the server starts `ssh`, so everything on the side of the server is what it is with hosts; what they do costs the same
//! machine, and is counted apart.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::bench::operation::ENVIRONMENT;
use crate::bench::repository;
use crate::installation::{self, Installation, Show, Talk};
use crate::shell;
use crate::workspace::cargo;

/// Most hosts: each is a process of this machine.
pub(in crate::bench) const MOST: u8 = 250;
/// How many instances run on each: a service of as many instances as there are hosts puts one on each.
const SERVICES: usize = 20;
/// How long is measured.
const MEASURED: Duration = Duration::from_secs(60);
/// How long the server may take to see everything.
const PATIENCE: Duration = Duration::from_secs(300);
const ASK_EVERY: Duration = Duration::from_millis(500);
/// In how many parts a second is counted by the kernel for everybody.
const TICKS: f64 = 100.0;
const EXAMPLE: &str = "simulated_host";

/// What a server used.
struct Used {
    cpu_seconds: f64,
    resident_kib: u64,
}

pub(in crate::bench) fn measure(hosts: u8, program: PathBuf, folder: PathBuf) -> Result<()> {
    let built = ["build", "--quiet", "--release", "--package", "lockstep-hosts", "--example", EXAMPLE];
    let (status, _) = shell::run(&mut cargo(&built))?;
    ensure!(status.success(), "the simulated host does not build");
    let simulated = installation::target_folder()?.join("release/examples").join(EXAMPLE);
    run(hosts, program, folder, &simulated)
}

fn run(hosts: u8, program: PathBuf, folder: PathBuf, simulated: &std::path::Path) -> Result<()> {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs)?;
    symlink(simulated, programs.join("ssh"))?;
    let mut installation = Installation::new(program, folder, Talk::Aloud)?.with_programs(programs);
    installation.start_server()?;
    let server = installation.server_process().context("no server runs")?;
    let alone = over(server)?;
    for number in 1..=hosts {
        let (name, target) = (format!("sim{number}"), format!("10.99.0.{number}"));
        let add = ["host", "add", &name, "--ssh", &target, "--network", "trusted", "--env", ENVIRONMENT];
        installation.run_quietly(&add)?;
    }
    println!("{hosts} hosts are added");
    let connected = over(server)?;
    let begin = Instant::now();
    (0..SERVICES).try_for_each(|service| deploy(&installation, service, hosts))?;
    wait_for(&installation, usize::from(hosts) * SERVICES)?;
    println!(
        "{} instances are healthy after {:.1} s",
        usize::from(hosts) * SERVICES,
        begin.elapsed().as_secs_f64()
    );
    let reporting = over(server)?;
    let asked = Instant::now();
    installation.run(&["status", ENVIRONMENT], Show::Result(1))?;
    let answered = asked.elapsed();
    installation.remove()?;
    println!("\n| the server with | CPU of one core | memory |\n| --- | --- | --- |");
    for (what, used) in [
        ("no host".to_owned(), alone),
        (format!("{hosts} hosts, nothing on them"), connected),
        (
            format!("{hosts} hosts with {SERVICES} instances each, which tell something each second"),
            reporting,
        ),
    ] {
        let percent = 100.0 * used.cpu_seconds / MEASURED.as_secs_f64();
        println!("| {what} | {percent:.1} % | {} MiB |", used.resident_kib / 1024);
    }
    println!("\n`lockstep status` of all of it is answered after {} ms", answered.as_millis());
    Ok(())
}

fn deploy(installation: &Installation, number: usize, hosts: u8) -> Result<()> {
    let name = format!("worker{number}");
    let manifest = format!(
        "name = \"{name}\"\n[run]\nkind = \"worker\"\ncommand = \"./work\"\nhealth = {{ lives = \"1s\" }}\n\
         metrics = {{ file = \"metrics\", done = \"done\", failed = \"failed\" }}\n"
    );
    let folder = installation.folder().join(&name);
    repository::create(&folder, &manifest, "")?;
    installation.run_quietly(&["service", "add", &name])?;
    installation.run_quietly(&["release", &name])?;
    installation.run_quietly(&["deploy", &name, "--env", ENVIRONMENT])?;
    installation.run_quietly(&["scale", &name, &hosts.to_string(), "--env", ENVIRONMENT])
}

/// Waits until so many instances are healthy.
fn wait_for(installation: &Installation, wanted: usize) -> Result<()> {
    let begin = Instant::now();
    loop {
        let status = installation.json(&["status", ENVIRONMENT])?;
        let services = status["services"].as_array().map(Vec::as_slice).unwrap_or_default();
        let instances =
            services.iter().flat_map(|it| it["instances"].as_array().map(Vec::as_slice).unwrap_or_default());
        let is_healthy = |it: &&Value| it["state"]["state"] == "healthy";
        let healthy = instances.filter(is_healthy).count();
        if healthy == wanted {
            return Ok(());
        }
        ensure!(begin.elapsed() < PATIENCE, "{healthy} of {wanted} instances are healthy");
        thread::sleep(ASK_EVERY);
    }
}

/// What a process uses for a while from now on.
fn over(process: u32) -> Result<Used> {
    let before = cpu_of(process)?;
    thread::sleep(MEASURED);
    Ok(Used { cpu_seconds: cpu_of(process)? - before, resident_kib: resident_of(process)? })
}

fn cpu_of(process: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    // User and system time are the fields 14 and 15 of all.
    let both = ticks(11).zip(ticks(12)).context("the kernel says no time of the server")?;
    Ok((both.0 + both.1) / TICKS)
}

fn resident_of(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.context("the kernel says no memory of the server")
}
