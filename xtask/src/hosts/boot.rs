//! Switching hosts on and off.
//!
//! `systemd-nspawn` boots the systemd that is on the disk, in namespaces of its own; a small keeper starts it again when the host reboots.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::set::Place;
use super::{control_group, disk, line, mounts, process};
use crate::processes::{Signal, signal};

const KEEPER: &str = include_str!("keeper.sh");
/// Where the tools of the machine are; nothing else of our environment is for a host.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a host may take to end in good order: services that do not end are killed by its systemd after a minute and a half.
const ENDING: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Says whether a host runs, whatever its line does.
pub(crate) fn is_up(place: &Place) -> bool {
    process::init_of(&place.machine()).is_some() && line::state(place) != line::State::None
}

/// Boots a host that is off, and does not wait for it.
pub(crate) fn start(place: &Place) -> Result<()> {
    if is_up(place) {
        return Ok(());
    }
    stop(place)?;
    disk::mount(place)?;
    line::plug(place)?;
    let groups = control_group::make(&place.machine())?;
    let console = File::create(place.console()).context("cannot make the console of a host")?;
    let mut command = command(place, &groups);
    command.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
    command.spawn().context("cannot run `sh`")?;
    Ok(())
}

fn command(place: &Place, groups: &[PathBuf]) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", KEEPER, "keeper"])
        .args(groups.iter().map(|group| group.join("cgroup.procs")))
        .arg("--");
    command.args(nspawn(&place.machine(), &place.host.to_string(), &place.root()));
    // A host is a modern one, with one hierarchy of control groups, whatever the machine is.
    command.env_clear().env("PATH", PATH).env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    // A group of its own, so that Ctrl-C in a terminal does not switch hosts off.
    command.current_dir("/").process_group(0);
    command
}

fn nspawn(machine: &str, hostname: &str, root: &Path) -> Vec<OsString> {
    let mut directory = OsString::from("--directory=");
    directory.push(root);
    let with_values = [
        process::argument(machine),
        format!("--hostname={hostname}"),
        format!("--network-namespace-path=/run/netns/{machine}"),
    ];
    // Without `CAP_NET_ADMIN` a host could not give its own interface an address.
    let words = "systemd-nspawn --quiet --boot --keep-unit --register=no --settings=no --link-journal=no \
                 --resolv-conf=off --timezone=off --console=pipe --capability=CAP_NET_ADMIN";
    let words = words.split_whitespace().map(OsString::from);
    words.chain(with_values.map(OsString::from)).chain([directory]).collect()
}

/// Powers a host off as if the plug was pulled: first its line goes, so that nobody hears a farewell, then all its processes at once.
///
/// What its programs wrote stays, also what they had not synced: the disk is in the memory of this machine, which goes on.
pub(crate) fn stop(place: &Place) -> Result<()> {
    line::unplug(place)?;
    process::kill(&[place.machine()])?;
    control_group::remove(&place.machine())?;
    line::remove(place)?;
    mounts::end_below(&place.root())
}

/// Asks the systemd of a host to boot again, and waits until it ended.
pub(crate) fn reboot(place: &Place) -> Result<()> {
    let before = init(place)?;
    signal(&[before], Signal::Interrupt)?;
    process::wait_until_gone(&[before], ENDING).with_context(|| format!("{} does not end", place.host))?;
    let begin = Instant::now();
    while process::init_of(&place.machine()).is_none() {
        if begin.elapsed() > ENDING {
            bail!("{} did not boot again: {}", place.host, last_words(place));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

fn init(place: &Place) -> Result<u32> {
    let host = place.host;
    process::init_of(&place.machine())
        .with_context(|| format!("{host} is off; `cargo xtask hosts start {host}` boots it"))
}

/// The end of what a host said on its console.
pub(crate) fn last_words(place: &Place) -> String {
    let text = fs::read_to_string(place.console()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

/// Becomes a command, or a shell, that runs in a host as root.
pub(crate) fn enter(place: &Place, words: &[String]) -> Result<()> {
    let init = init(place)?.to_string();
    let shell = ["bash".to_owned(), "-l".to_owned()];
    let words = if words.is_empty() { &shell[..] } else { words };
    let mut command = Command::new("nsenter");
    command
        .args(["--target", &init, "--all", "--root", "--wd", "--"])
        .args(words)
        .env_clear()
        .env("PATH", PATH);
    command.env("TERM", std::env::var_os("TERM").unwrap_or_default());
    Err(command.exec()).context("cannot run `nsenter`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_booted_with_nothing_of_the_machine_but_what_is_named() {
        let words = nspawn("lockstep-hosts-try-web1", "web1", Path::new("/s/try/web1/root"));
        let text = words.join(" ".as_ref()).into_string().unwrap();
        for expected in [
            "systemd-nspawn --quiet --boot --keep-unit --register=no",
            "--machine=lockstep-hosts-try-web1",
            "--network-namespace-path=/run/netns/lockstep-hosts-try-web1",
            "--directory=/s/try/web1/root",
        ] {
            assert!(text.contains(expected), "{text}");
        }
        assert!(!text.contains("--bind"), "{text}");
    }

    #[test]
    fn the_keeper_boots_again_exactly_when_it_is_asked_to() {
        let script = r#"n=$(cat "$1"); echo $((n + 1)) > "$1"; [ "$n" = 2 ] || exit 133; exit 7"#;
        let folder = tempdir();
        let (count, group) = (folder.join("count"), folder.join("group"));
        fs::write(&count, "0").unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&group).args(["--", "sh", "-c", script, "sh"]).arg(&count);
        assert_eq!(command.status().unwrap().code(), Some(7));
        assert_eq!(fs::read_to_string(&count).unwrap().trim(), "3");
        assert_eq!(fs::read_to_string(&group).unwrap().trim(), "0");
        fs::remove_dir_all(folder).unwrap();
    }

    fn tempdir() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("lockstep-xtask-keeper-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }
}
