//! The chapters about who is told: of a disk that is full, of an instance that is killed and of a bad version, of each once, and once that it is over.
//!
//! What is over is told a minute later, so the story goes on meanwhile, and looks at the end.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::chat::{Chat, Told};
use crate::installation::Show;
use crate::processes::{self, Signal};

use super::super::checks::wait_until;
use super::super::small_disk::SmallDisk;
use super::super::told::{Fault, expect_none_twice};
use super::Story;

/// How long it may take at the end until everything is told to be over: a minute after it is, and some.
const PATIENCE: Duration = Duration::from_secs(150);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How quickly it is seen what is started in the place of a process that was killed.
const HOLD_WITHIN: Duration = Duration::from_millis(2);
/// A rule by which the disk of this machine is too small, for machines that cannot have another. That it may be low besides is not told.
const SMALL_FOR_ALL: &str = r#"[[rule]]
name = "disk-small"
severity = "critical"
condition = { kind = "disk_low", below_free_percent = 90.0 }
[[rule]]
name = "disk-low"
enabled = false
condition = { kind = "disk_low", below_free_percent = 10.0 }
[[rule]]
name = "disk-full"
enabled = false
condition = { kind = "disk_low", below_free_percent = 3.0 }
"#;

/// What the summary says where no disk could be full.
const NO_DISK: &str = "nothing of a disk: none can be filled here, and that of this machine is nearly empty";

/// Who is told, and of what.
pub(super) struct Telling {
    pub(super) chat: Chat,
    /// What the shop's server has told, or is to tell.
    faults: Vec<Fault>,
    disk: Disk,
}

/// The disk that is full.
enum Disk {
    /// One of its own, with a server on it.
    Small(Box<SmallDisk>, Fault),
    /// That of this machine, by a rule that calls it full.
    ByRule,
    /// None could be.
    Impossible,
}

impl Story {
    pub(super) fn have_somebody_told(&mut self) -> Result<()> {
        self.heading("A chat is told of what is wrong: once, with the change that came before, and once when it is over");
        let chat = Chat::begin()?;
        chat.write_target(&self.installation.folder().join("chat.toml"))?;
        self.installation.run(&["notify", "add", "chat", "chat.toml"], Show::All)?;
        self.installation.run(&["notify", "test", "chat"], Show::All)?;
        let disk = self.fill_a_disk(&chat)?;
        self.telling = Some(Telling { chat, faults: Vec::new(), disk });
        self.kill_an_instance()?;
        self.expect_no_failures()
    }

    fn fill_a_disk(&self, chat: &Chat) -> Result<Disk> {
        let folder = self.installation.folder().join("small");
        std::fs::create_dir_all(&folder)?;
        match SmallDisk::begin(self.installation.program().to_owned(), folder)? {
            Some(disk) => fill(disk),
            None => self.call_the_disk_full(chat),
        }
    }

    /// Makes do with a rule where nobody may mount a disk.
    fn call_the_disk_full(&self, chat: &Chat) -> Result<Disk> {
        println!(
            "This machine lets nobody mount a disk for one program (unshare -Urm), so none is filled here."
        );
        let file = self.installation.folder().join("disk.toml");
        std::fs::write(&file, SMALL_FOR_ALL)?;
        println!(
            "In its place a rule of our own calls the disk of this machine full, with less than 90 % left:"
        );
        self.installation.run(&["alerts", "rules", "set", "disk.toml"], Show::Result(1))?;
        let fault = full_by_rule();
        let begin = Instant::now();
        while !fault.is_told(&chat.told()) {
            if begin.elapsed() > Duration::from_secs(10) {
                println!("  but more than 90 % of it is free, so nobody is told of a disk here");
                return Ok(Disk::Impossible);
            }
            thread::sleep(LOOK_EVERY);
        }
        println!("  told: {}", fault.expect_told_once(&chat.told())?);
        self.installation.run(&["alerts", "rules", "remove", "disk-small"], Show::Result(1))?;
        Ok(Disk::ByRule)
    }

    /// Kills an instance in staging, where no customer is, and holds what is started in its place.
    fn kill_an_instance(&mut self) -> Result<()> {
        let (service, environment) = ("storefront", "staging");
        println!(
            "An instance is killed in staging. It would be started again within a moment, so what is started is held:"
        );
        let instance = self.serving(environment, service, "1.1.2")?;
        let data = self.installation.data();
        let killed = processes::of_instance(&data, &instance)?;
        println!("$ kill -KILL {}", words(&killed));
        processes::signal(&killed, Signal::Kill)?;
        let held = hold(&data, &instance, &killed)?;
        println!("$ kill -STOP {}", words(&held));
        let fault = Fault {
            group: "staging/storefront",
            rule: "all-down",
            summary: "storefront@1.1.2",
            cause: "are down: ",
            change: "deploy".to_owned(),
        };
        self.expect_told(fault)?;
        self.expect_blamed(service, environment, "deploy")?;
        println!("$ kill -CONT {}", words(&held));
        processes::signal(&held, Signal::Continue)
    }

    /// Returns the instance of a version that serves.
    fn serving(&self, environment: &str, service: &str, version: &str) -> Result<String> {
        let status = self.installation.json(&["status", environment])?;
        let all = status["services"].as_array().into_iter().flatten();
        let mut instances = all.flat_map(|it| it["instances"].as_array().into_iter().flatten());
        let is_it = |it: &&Value| {
            it["arm"]["service"] == service
                && it["arm"]["version"] == version
                && it["state"]["state"] == "healthy"
        };
        let id = instances.find(is_it).and_then(|it| it["id"].as_str());
        Ok(id
            .with_context(|| format!("no instance of {service}@{version} serves in {environment}"))?
            .to_owned())
    }

    /// Checks that the chat is told of the version of the catalog that was taken back, and that its promotion is blamed.
    pub(super) fn expect_told_of_bad_version(&mut self, version: &'static str) -> Result<()> {
        let newest = self.installation.ask("GET", "/operations", "")?;
        let operation = newest[0]["id"].as_u64().context("there is no operation")?;
        let change = format!("operation {operation}: promote");
        let fault = Fault {
            group: "production/catalog",
            rule: "canary-failed",
            summary: version,
            cause: " fails ",
            change: change.clone(),
        };
        self.expect_told(fault)?;
        self.expect_blamed("catalog", "production", &change)
    }

    fn expect_told(&mut self, fault: Fault) -> Result<()> {
        let telling = self.telling.as_mut().context("nobody is told yet")?;
        let chat = &telling.chat;
        wait_until("the chat to be told", || Ok(fault.is_told(&chat.told())))?;
        println!("  told: {}", fault.expect_told_once(&chat.told())?);
        telling.faults.push(fault);
        Ok(())
    }

    /// Checks that the likeliest cause of a fault is this change.
    fn expect_blamed(&self, service: &str, environment: &str, change: &str) -> Result<()> {
        let blame = ["blame", service, "--env", environment, "--since", "20m"];
        let blamed = self.installation.run(&blame, Show::Result(4))?;
        let first = blamed.lines.iter().find(|line| line.trim_start().starts_with("1. "));
        let is_it = first.is_some_and(|first| first.contains(change));
        ensure!(is_it, "`{change}` is not what is blamed first: {blamed:?}");
        Ok(())
    }

    /// Waits until everything is told to be over, and checks that each was told once.
    pub(super) fn expect_all_told(&mut self) -> Result<()> {
        self.heading("What the chat was told, and that all of it is over");
        let Telling { chat, faults, disk } = self.telling.take().context("nobody is told")?;
        let mut lines = match disk {
            Disk::Small(disk, fault) => over(&disk.chat, &[fault])?,
            Disk::ByRule => over(&chat, &[full_by_rule()])?,
            Disk::Impossible => vec![NO_DISK.to_owned()],
        };
        lines.extend(over(&chat, &faults)?);
        lines.iter().for_each(|line| println!("  {line}"));
        self.summary.told = lines;
        Ok(())
    }
}

/// Fills a small disk until its server tells it, and makes room again.
fn fill(mut disk: SmallDisk) -> Result<Disk> {
    println!(
        "A second server has its data on a disk of 64 MB, where versions that were replaced are to stay for longer:"
    );
    let set = ["environment", "set", "production", "--warm", "6h"];
    disk.installation.run(&set, Show::Result(1))?;
    println!("$ head -c 98% /dev/zero > DISK/filler");
    disk.fill()?;
    let change = "the settings of the environment".to_owned();
    let fault =
        Fault { group: "server", rule: "disk-full", summary: "the disk of the server", cause: "", change };
    let chat = disk.chat.clone();
    wait_until("the chat to be told of the disk", || Ok(fault.is_told(&chat.told())))?;
    println!("  told: {}", fault.expect_told_once(&chat.told())?);
    disk.installation.run_refused(&["alerts"], &[3])?;
    disk.empty()?;
    Ok(Disk::Small(Box::new(disk), fault))
}

fn full_by_rule() -> Fault {
    Fault {
        group: "server",
        rule: "disk-small",
        summary: "the disk of the server",
        cause: "",
        change: String::new(),
    }
}

/// Stops the process that is started in the place of those that were killed.
fn hold(data: &std::path::Path, instance: &str, killed: &[u32]) -> Result<Vec<u32>> {
    let begin = Instant::now();
    loop {
        let mut found = processes::of_instance(data, instance).unwrap_or_default();
        found.retain(|process| !killed.contains(process));
        if !found.is_empty() {
            processes::signal(&found, Signal::Stop)?;
            return Ok(found);
        }
        ensure!(begin.elapsed() < PATIENCE, "nothing is started in the place of {instance}");
        thread::sleep(HOLD_WITHIN);
    }
}

/// Waits until faults are told to be over, and says what was told of each.
fn over(chat: &Chat, faults: &[Fault]) -> Result<Vec<String>> {
    let begin = Instant::now();
    let is_over = |told: &[Told]| faults.iter().all(|fault| fault.is_told_over(told));
    while !is_over(&chat.told()) && begin.elapsed() < PATIENCE {
        thread::sleep(LOOK_EVERY);
    }
    let told = chat.told();
    expect_none_twice(&told)?;
    faults.iter().map(|fault| Ok(fault.expect_over(&told)?.to_string())).collect()
}

fn words(processes: &[u32]) -> String {
    processes.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}
