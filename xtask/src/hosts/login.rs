//! Logging in to a host, as somebody who has its address and the key would.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::set::{Place, Set};
use super::{boot, disk, folder, line, process};

/// Who may log in.
pub(crate) const USER: &str = "deploy";
/// How long a host may take until one can; it is a second or two on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long the process that boots it may take to appear.
const FIRST_SIGN: Duration = Duration::from_secs(5);
/// How long one try of them may take.
const TRY: Duration = Duration::from_secs(2);
/// The same for a person.
const CONNECT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until one can log in to a host.
pub(crate) fn wait(place: &Place) -> Result<()> {
    pin(&place.set)?;
    if line::state(place) == line::State::Cut {
        return Ok(());
    }
    let begin = Instant::now();
    while !succeeds(place)? {
        if begin.elapsed() > FIRST_SIGN && process::of(&place.machine()).is_empty() {
            bail!("{} ended while it booted: {}", place.host, boot::last_words(place));
        }
        if begin.elapsed() > PATIENCE {
            bail!(
                "nobody can log in to {} after {} s: {}",
                place.host,
                PATIENCE.as_secs(),
                boot::last_words(place)
            );
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Writes down the host keys of all hosts of a set.
fn pin(set: &Set) -> Result<()> {
    let subnet = set.subnet()?;
    let lines = set
        .hosts()
        .into_iter()
        .map(|place| Ok(format!("{} {}\n", place.host.address(subnet), disk::host_key(&place)?)));
    folder::replace(&set.known_hosts(), &lines.collect::<Result<String>>()?)
}

fn succeeds(place: &Place) -> Result<bool> {
    let mut command = ssh(place, TRY)?;
    command.arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().context("cannot run `ssh`")?.success())
}

/// Becomes a login on a host.
pub(crate) fn enter(place: &Place, words: &[String]) -> Result<()> {
    let error = ssh(place, CONNECT)?.args(words).exec();
    Err(error).context("cannot run `ssh`")
}

fn ssh(place: &Place, patience: Duration) -> Result<Command> {
    let address = place.host.address(place.set.subnet()?);
    let mut command = Command::new("ssh");
    command
        .args(arguments(&place.set))
        .arg("-o")
        .arg(format!("ConnectTimeout={}", patience.as_secs()))
        .arg(format!("{USER}@{address}"));
    Ok(command)
}

/// Nothing of the person's own: neither settings, nor keys, nor an agent.
fn arguments(set: &Set) -> Vec<String> {
    let key = set.key().display().to_string();
    let known_hosts = set.known_hosts().display().to_string();
    let options = [
        format!("UserKnownHostsFile={known_hosts}"),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        "BatchMode=yes".to_owned(),
        "LogLevel=ERROR".to_owned(),
    ];
    let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
    ["-F", "none", "-i", &key].map(str::to_owned).into_iter().chain(options).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_uses_the_key_of_the_set_and_nothing_of_the_person() {
        let text = arguments(&Set::new("try".parse().unwrap())).join(" ");
        assert!(text.starts_with("-F none -i /var/cache/lockstep-hosts/sets/try/key -o "), "{text}");
        for option in ["IdentityAgent=none", "IdentitiesOnly=yes", "StrictHostKeyChecking=yes"] {
            assert!(text.contains(option), "{text}");
        }
    }
}
