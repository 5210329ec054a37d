//! What starts the instances of a host again after it has booted, with no server in sight: a unit of systemd, which every agent writes
//! anew with its own program.
//!
//! A host of root has a unit of the system. One of an ordinary user has a unit of the user, which starts at boot only where the user
//! lingers; that is asked for, and where it is refused, said.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lockstep_files::whole;

/// The name of the unit. A host has one folder of Lockstep for each user.
const UNIT: &str = "lockstep-host.service";
/// Where it is said that systemd runs this host.
const SYSTEMD: &str = "/run/systemd/system";
/// Who lingers.
const LINGER: &str = "/var/lib/systemd/linger";

/// Sees to it that instances start again after a boot, and says why they do not, where that is so.
pub(super) fn prepare(folder: &Path) -> Option<String> {
    if !Path::new(SYSTEMD).is_dir() {
        return Some(
            "systemd does not run this host: instances start again when the server is connected".into(),
        );
    }
    let unit = Unit::of_user();
    let written = unit.and_then(|unit| unit.write(folder).map(|()| unit));
    match written {
        Err(error) => Some(format!("the unit `{UNIT}` cannot be written: {error}")),
        Ok(unit) if unit.is_of_system => None,
        Ok(_) => lingers().err(),
    }
}

/// Says why instances would not start again after a boot, where that is so. Changes nothing.
pub(super) fn look() -> Option<String> {
    if !Path::new(SYSTEMD).is_dir() {
        return Some(
            "systemd does not run this host: instances start again when the server is connected".into(),
        );
    }
    if rustix::process::geteuid().is_root() {
        return None;
    }
    let name = user_name()?;
    let lingers = Path::new(LINGER).join(&name).exists();
    (!lingers).then(|| format!("`{name}` does not linger; as root: loginctl enable-linger {name}"))
}

/// Says why what a login has started ends when it logs out, where that is so.
pub(super) fn ends_at_logout() -> Option<String> {
    let dropped = fs::read_dir("/etc/systemd/logind.conf.d").into_iter().flatten().flatten();
    let files =
        std::iter::once(PathBuf::from("/etc/systemd/logind.conf")).chain(dropped.map(|file| file.path()));
    let kills = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| kills_at_logout(&text));
    let is_root = rustix::process::geteuid().is_root();
    let found = files.filter(|_| !is_root).find(kills)?;
    let found = found.display();
    Some(format!(
        "`{found}` says KillUserProcesses=yes: instances would end with each connection; as root: set it to no"
    ))
}

fn kills_at_logout(text: &str) -> bool {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("KillUserProcesses="));
    lines.last().is_some_and(|value| matches!(value.trim(), "yes" | "true" | "on" | "1"))
}

/// Where a unit stands.
struct Unit {
    folder: PathBuf,
    wanted_by: &'static str,
    is_of_system: bool,
}

impl Unit {
    fn of_user() -> io::Result<Self> {
        if rustix::process::geteuid().is_root() {
            let folder = PathBuf::from("/etc/systemd/system");
            return Ok(Self { folder, wanted_by: "multi-user.target", is_of_system: true });
        }
        let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let configuration = configuration.filter(|path| path.is_absolute()).or_else(home);
        let folder = configuration.ok_or_else(|| io::Error::other("the user has no home folder"))?;
        Ok(Self { folder: folder.join("systemd/user"), wanted_by: "default.target", is_of_system: false })
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        let text = text(&std::env::current_exe()?, folder, self);
        let (path, wants) = (self.folder.join(UNIT), self.folder.join(format!("{}.wants", self.wanted_by)));
        DirBuilder::new().recursive(true).mode(0o755).create(&wants)?;
        if fs::read_to_string(&path).is_ok_and(|found| found == text) && wants.join(UNIT).exists() {
            return Ok(());
        }
        whole::put(&path, text.as_bytes(), 0o644)?;
        match symlink(Path::new("..").join(UNIT), wants.join(UNIT)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes the unit. What it starts is left alone when the unit is stopped: instances are stopped one by one, by who decides that.
fn text(program: &Path, folder: &Path, unit: &Unit) -> String {
    let network =
        if unit.is_of_system { "Wants=network-online.target\nAfter=network-online.target\n" } else { "" };
    format!(
        "[Unit]\nDescription=Instances that Lockstep runs on this host\n{network}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nKillMode=process\n\
         ExecStart={} {} {}\n\n[Install]\nWantedBy={}\n",
        quoted(program),
        super::REVIVE,
        quoted(folder),
        unit.wanted_by
    )
}

/// Quotes a path for systemd, which fills in what stands behind `%` and `$`.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{plain}\"")
}

/// Asks that units of this user start at boot, where they do not yet.
fn lingers() -> Result<(), String> {
    let name = user_name().ok_or("it is not known what this user is called")?;
    let is_noted = || Path::new(LINGER).join(&name).exists();
    if is_noted() {
        return Ok(());
    }
    let mut command = Command::new("loginctl");
    command.args(["--no-ask-password", "enable-linger"]);
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match is_noted() {
        true => Ok(()),
        false => Err(format!(
            "`{name}` does not linger: instances start again when somebody logs in, or the server is connected; as root: loginctl enable-linger {name}"
        )),
    }
}

/// The name of the user of this process.
fn user_name() -> Option<String> {
    let number = rustix::process::geteuid().as_raw().to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = users.lines().find(|line| line.split(':').nth(2) == Some(&number));
    let told = || std::env::var("USER").ok().filter(|name| !name.contains('/'));
    found.and_then(|line| line.split(':').next()).map(str::to_owned).or_else(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_at_logout_is_read_as_logind_reads_it() {
        assert!(kills_at_logout("[Login]\nKillUserProcesses=yes\n"));
        for text in ["", "#KillUserProcesses=yes\n", "KillUserProcesses=yes\nKillUserProcesses=no\n"] {
            assert!(!kills_at_logout(text), "{text}");
        }
    }

    #[test]
    fn a_unit_starts_what_it_is_told_whatever_the_path_is_called_and_stops_nothing() {
        let unit = Unit { folder: "/x".into(), wanted_by: "default.target", is_of_system: false };
        let text = text(Path::new("/home/a b/100%/lockstep"), Path::new("/home/$x\"y"), &unit);
        assert!(
            text.contains("ExecStart=\"/home/a b/100%%/lockstep\" host-revive \"/home/$$x\\\"y\"\n"),
            "{text}"
        );
        assert!(text.contains("KillMode=process\n") && !text.contains("network"), "{text}");
        assert!(text.ends_with("WantedBy=default.target\n"), "{text}");
    }
}
