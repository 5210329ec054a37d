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
use std::thread::sleep;
use std::time::{Duration, Instant};

use lockstep_domain::Digest;
use lockstep_files::whole;
use sha2::{Digest as _, Sha256};

/// How long a program of systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether it has.
const PAUSE: Duration = Duration::from_millis(20);
const NO_SYSTEMD: &str = "systemd does not run this host: instances start again when the server is connected";
/// Where it is said that systemd runs this host.
const SYSTEMD: &str = "/run/systemd/system";
/// Who lingers.
const LINGER: &str = "/var/lib/systemd/linger";

/// Sees to it that instances start again after a boot, where that is `wanted`, and says why they do not, where that is so.
pub(super) fn prepare(folder: &Path, wanted: bool) -> Option<String> {
    if !Path::new(SYSTEMD).is_dir() {
        return Some(NO_SYSTEMD.to_owned());
    }
    let unit = match Unit::of(folder) {
        Ok(unit) => unit,
        Err(error) => return Some(format!("no unit can be written: {error}")),
    };
    if !wanted {
        unit.remove();
        return Some("that was not asked for".to_owned());
    }
    match unit.write(folder) {
        Err(error) => Some(format!("the unit `{}` cannot be written: {error}", unit.name)),
        Ok(()) if unit.is_of_system => None,
        Ok(()) => lingers().err(),
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

/// Says why what a login has started ends when it logs out, where that is so: logind is asked, because only it knows all its files.
pub(super) fn ends_at_logout() -> Option<String> {
    const ASKED: [&str; 5] = [
        "get-property",
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
        "KillUserProcesses",
    ];
    let is_root = rustix::process::geteuid().is_root();
    let said = if is_root { None } else { output_of(with("busctl", &ASKED)) };
    let kills = said.is_some_and(|said| said.trim() == "b true");
    kills.then(|| {
        "logind has KillUserProcesses=yes: instances would end with each connection; as root: set it to no in /etc/systemd/logind.conf"
            .to_owned()
    })
}

/// The systemd that makes units for this user: of the system for root, else that of the user, which has to outlast logins.
pub(super) struct Manager {
    is_of_system: bool,
    runtime: PathBuf,
}

/// Finds it.
///
/// # Errors
/// Says why there is none.
pub(super) fn manager() -> Result<Manager, String> {
    if !Path::new(SYSTEMD).is_dir() {
        return Err("systemd does not run this host".to_owned());
    }
    let user = rustix::process::geteuid();
    let told = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    let runtime = told.unwrap_or_else(|| PathBuf::from(format!("/run/user/{}", user.as_raw())));
    let manager = Manager { is_of_system: user.is_root(), runtime };
    match look() {
        _ if manager.is_of_system => Ok(manager),
        Some(why) => Err(why),
        None if manager.runtime.join("systemd/private").exists() => Ok(manager),
        None => Err("this user has no systemd of its own; is libpam-systemd installed?".to_owned()),
    }
}

impl Manager {
    /// How its programs are told that it is meant.
    pub(super) fn arguments(&self) -> &'static [&'static str] {
        if self.is_of_system { &[] } else { &["--user"] }
    }

    /// Where it is found.
    pub(super) fn runtime_folder(&self) -> Option<(&'static str, &Path)> {
        (!self.is_of_system).then_some(("XDG_RUNTIME_DIR", &self.runtime))
    }

    /// What one of its programs prints, when it ends well and soon enough.
    pub(super) fn run(&self, program: &str, arguments: &[String]) -> Option<String> {
        let mut command = Command::new(program);
        command.args(self.arguments()).args(arguments).envs(self.runtime_folder());
        output_of(command)
    }
}

/// What a program prints, when it ends well and soon enough.
fn output_of(mut command: Command) -> Option<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let output = child.wait_with_output().ok()?;
                return status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned());
            }
            Ok(None) if Instant::now() < deadline => sleep(PAUSE),
            _ => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn with(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// The unit of a folder, which has a name of its own.
struct Unit {
    name: String,
    folder: PathBuf,
    wanted_by: &'static str,
    is_of_system: bool,
}

impl Unit {
    fn of(folder: &Path) -> io::Result<Self> {
        let digest = Digest::from_bytes(Sha256::digest(folder.as_os_str().as_encoded_bytes()).into());
        let name = format!("lockstep-host-{}.service", digest.short());
        if rustix::process::geteuid().is_root() {
            let folder = PathBuf::from("/etc/systemd/system");
            return Ok(Self { name, folder, wanted_by: "multi-user.target", is_of_system: true });
        }
        let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let configuration = configuration.filter(|path| path.is_absolute()).or_else(home);
        let folder = configuration.ok_or_else(|| io::Error::other("the user has no home folder"))?;
        Ok(Self {
            name,
            folder: folder.join("systemd/user"),
            wanted_by: "default.target",
            is_of_system: false,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn wants(&self) -> PathBuf {
        self.folder.join(format!("{}.wants", self.wanted_by))
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        let (text, link) = (text(&std::env::current_exe()?, folder, self), self.wants().join(&self.name));
        DirBuilder::new().recursive(true).mode(0o755).create(self.wants())?;
        if fs::read_to_string(self.path()).is_ok_and(|found| found == text) && link.exists() {
            return Ok(());
        }
        whole::put(&self.path(), text.as_bytes(), 0o644)?;
        match symlink(Path::new("..").join(&self.name), link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes it; what cannot be removed is tried with the next connection.
    fn remove(&self) {
        for path in [self.wants().join(&self.name), self.path()] {
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes the unit. What it starts is left alone when the unit is stopped: instances are stopped one by one, by who decides that.
fn text(program: &Path, folder: &Path, unit: &Unit) -> String {
    let network =
        if unit.is_of_system { "Wants=network-online.target\nAfter=network-online.target\n" } else { "" };
    format!(
        "[Unit]\nDescription=Instances that Lockstep runs on this host\n{network}ConditionPathExists={}\n\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nKillMode=process\nTimeoutStartSec=infinity\n\
         ExecStart={} {} {}\n\n[Install]\nWantedBy={}\n",
        program.display().to_string().replace('%', "%%"),
        quoted(program),
        super::REVIVE,
        quoted(folder).replace('$', "$$"),
        unit.wanted_by
    )
}

/// Quotes a path for systemd, which fills in what stands behind `%`; behind `$` only in arguments.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{plain}\"")
}

/// Asks that units of this user start at boot, where they do not yet.
fn lingers() -> Result<(), String> {
    let name = user_name().ok_or("it is not known what this user is called")?;
    let is_noted = || Path::new(LINGER).join(&name).exists();
    if is_noted() {
        return Ok(());
    }
    output_of(with("loginctl", &["--no-ask-password", "enable-linger"]));
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
    fn a_unit_starts_what_it_is_told_whatever_the_path_is_called_and_stops_nothing() {
        let unit = Unit::of(Path::new("/home/$x\"y")).unwrap();
        let unit = Unit { is_of_system: false, wanted_by: "default.target", ..unit };
        let text = text(Path::new("/home/a $b/100%/lockstep"), Path::new("/home/$x\"y"), &unit);
        assert!(
            text.contains("ExecStart=\"/home/a $b/100%%/lockstep\" host-revive \"/home/$$x\\\"y\"\n"),
            "{text}"
        );
        assert!(text.contains("KillMode=process\n") && !text.contains("network"), "{text}");
        assert!(text.ends_with("WantedBy=default.target\n"), "{text}");
        assert_ne!(unit.name, Unit::of(Path::new("/home/other")).unwrap().name);
    }

    #[test]
    fn a_program_that_does_not_answer_is_not_waited_for() {
        assert_eq!(output_of(with("echo", &["b true"])).as_deref(), Some("b true\n"));
        assert_eq!(output_of(with("false", &[])), None);
        assert_eq!(output_of(with("/no/such/program", &[])), None);
    }
}
