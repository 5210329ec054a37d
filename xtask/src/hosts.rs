//! `cargo xtask hosts`: real Linux hosts on this machine, each with a systemd, an sshd, a disk and a network address of its own.
//!
//! A host is Debian's minimal system, booted by `systemd-nspawn` from an overlay over one cached root. What is there is asked of the machine
//! (processes, namespaces, mounts), never of a note about it: so a command that was killed half-way leaves nothing that the next does not find.
//! Everything carries the prefix [`name::PREFIX`], and nothing without it is touched. Hosts come in sets that do not know of each other.

mod able;
mod boot;
mod control_group;
mod description;
mod disk;
mod fleet;
mod folder;
mod line;
mod login;
mod mounts;
mod name;
mod network;
mod process;
mod root;
mod set;
mod subnet;
mod tool;

use std::fs::File;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

pub(crate) use able::{Impossible, SKIPPED};
pub(crate) use fleet::{Fleet, take_down_after_us};
pub(crate) use name::{Host, MOST, SetName};
use set::Set;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The set of hosts; sets have networks of their own and do not know of each other
    #[arg(long, global = true, default_value = "default")]
    set: SetName,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Boot the hosts web1 to webN, apart from those that are up, and wait until one can log in
    ///
    /// Ends with 77 where this machine cannot boot hosts, and says why.
    Up(Up),
    /// Take all hosts of the set down, with their disks and their network
    Down {
        /// Every set of this machine
        #[arg(long)]
        all: bool,
    },
    /// Show the hosts
    List {
        /// As the description that `up` writes
        #[arg(long)]
        json: bool,
    },
    /// Log in to a host as `deploy`, or run a command there
    Ssh(Inside),
    /// Run a command in a host as root, not by way of its network
    Root(Inside),
    /// Power a host off at once, as if the plug was pulled; its disk stays
    Stop { host: Host },
    /// Boot a host that is off, with the disk that it had
    Start { host: Host },
    /// Let a host boot again in good order
    Reboot { host: Host },
    /// Make the line of a host slow and lossy, or good again
    Netem(Netem),
    /// Drop everything from and to a host, without closing a connection
    Cut { host: Host },
    /// End what `cut` began
    Mend { host: Host },
}

#[derive(clap::Args)]
struct Up {
    /// How many
    #[arg(value_parser = clap::value_parser!(u8).range(1..=i64::from(name::MOST)))]
    count: u8,
    /// No lingering for `deploy` on the hosts that are made now: on all of them, or on those named
    #[arg(long, value_name = "HOST,..", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    no_linger: Option<Vec<Host>>,
    /// The set belongs to this process: the next command after its end takes the set down
    #[arg(long, value_name = "PID")]
    for_process: Option<u32>,
}

#[derive(clap::Args)]
struct Inside {
    host: Host,
    /// The command; none for a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(clap::Args)]
struct Netem {
    host: Host,
    #[arg(conflicts_with_all = ["delay", "loss"])]
    off: Option<Off>,
    /// By how much a round trip takes longer: half of it each way
    #[arg(long, value_parser = line::delay, default_value = "0ms")]
    delay: Duration,
    /// The share of packets that is lost, each way
    #[arg(long, value_parser = line::loss, default_value = "0%")]
    loss: line::Loss,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Off {
    /// No delay and no loss
    Off,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let set = Set::new(args.set.clone());
    match &args.verb {
        Verb::Up(up) => bring_up(&set, up),
        Verb::Down { all } => take_down(&set, *all),
        Verb::List { json } => list(&set, *json),
        Verb::Ssh(inside) => login::enter(&set.found(inside.host)?, &inside.command),
        Verb::Root(inside) => boot::enter(&set.found(inside.host)?, &inside.command),
        Verb::Stop { host } => change(&set, *host, boot::stop),
        Verb::Start { host } => {
            change(&set, *host, |place| boot::start(place).and_then(|()| login::wait(place)))
        }
        Verb::Reboot { host } => {
            change(&set, *host, |place| boot::reboot(place).and_then(|()| login::wait(place)))
        }
        Verb::Netem(netem) => change(&set, netem.host, |place| with_netem(place, netem)),
        Verb::Cut { host } => change(&set, *host, line::cut),
        Verb::Mend { host } => change(&set, *host, line::mend),
    }
}

fn bring_up(set: &Set, up: &Up) -> Result<()> {
    boot_all(set, up)?;
    let _lock = alone_and_able()?;
    show(set)
}

fn boot_all(set: &Set, up: &Up) -> Result<()> {
    let _lock = alone_and_able()?;
    set::sweep();
    let root = root::ready()?;
    set.prepare(up.for_process)?;
    let hosts: Vec<Host> = (1..=up.count).map(Host::numbered).collect();
    let off: Vec<Host> = hosts.into_iter().filter(|host| !boot::is_up(&set.place(*host))).collect();
    for host in &off {
        let place = set.place(*host);
        disk::make(&place, &root, lingering(up.no_linger.as_deref(), *host))?;
        boot::start(&place)?;
    }
    off.iter().try_for_each(|host| login::wait(&set.place(*host)))
}

/// Waits for other commands first: what is missing may be installed, and by one at a time.
fn alone_and_able() -> Result<File> {
    able::check_root()?;
    let lock = folder::lock()?;
    able::check()?;
    Ok(lock)
}

fn lingering(none_on: Option<&[Host]>, host: Host) -> disk::Lingering {
    match none_on {
        Some(named) if named.is_empty() || named.contains(&host) => disk::Lingering::Off,
        _ => disk::Lingering::On,
    }
}

fn take_down(set: &Set, all: bool) -> Result<()> {
    let _lock = alone_and_able()?;
    set::sweep();
    let sets = if all { set::all() } else { vec![set.clone()] };
    sets.iter().try_for_each(Set::tear_down)
}

fn list(set: &Set, json: bool) -> Result<()> {
    if !set.is_there() {
        bail!("no host is up in set `{}`; `cargo xtask hosts up 3` boots three", set.name());
    }
    let _lock = alone_and_able()?;
    if json {
        print!("{}", description::write(set)?);
        return Ok(());
    }
    show(set)
}

fn show(set: &Set) -> Result<()> {
    description::write(set)?;
    print!("{}", description::table(set)?);
    let subnet = set.subnet()?;
    println!("network {subnet}, where this machine is {}", subnet.of_machine());
    println!("described in {}", set.description().display());
    Ok(())
}

/// Does something to a host that is there, and describes the set anew.
fn change(set: &Set, host: Host, what: impl FnOnce(&set::Place) -> Result<()>) -> Result<()> {
    let _lock = alone_and_able()?;
    let place = set.found(host)?;
    what(&place)?;
    description::write(set).map(drop)
}

fn with_netem(place: &set::Place, netem: &Netem) -> Result<()> {
    ensure!(boot::is_up(place), "{} is off; `cargo xtask hosts start {}` boots it", place.host, place.host);
    match netem.off {
        Some(Off::Off) => line::quicken(place),
        None => line::slow_down(place, netem.delay, netem.loss),
    }
}
