//! The root that all hosts share: Debian's minimal system with what a server has, made once by `debootstrap` out of the machine's own package sources.
//!
//! It is named by what it was made of, and never changed after: hosts lie over it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::{folder, mounts, set, tool};
use crate::programs;

/// The number of `deploy`, and of its group.
pub(crate) const DEPLOY_ID: u32 = 1000;
/// To be raised when the root is made in another way without another word below.
const EDITION: u32 = 1;
/// `rsync` is what transfers are compared with; `libpam-systemd` is what gives a login its own systemd; `nodejs` and `python3` are what the
/// services of the demonstration run on.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,iproute2,ca-certificates,nodejs,python3,rsync";
/// What a host does not need, and what would wake all hosts at the same second.
const MASKED: [&str; 11] = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "systemd-firstboot.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
];
/// Its end in good order takes the address away: from then on nobody answers, as with a machine that is off.
const ADDRESS_UNIT: &str = include_str!("address.service");
const JOURNAL: &str =
    "[Journal]\nStorage=persistent\nSystemMaxUse=8M\nSystemMaxFileSize=1M\nRuntimeMaxUse=4M\n";
/// What is of no use to a host.
const NEEDLESS: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/lib/dbus/machine-id",
];

/// A root that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root(PathBuf);

/// Where the packages come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Source {
    mirror: String,
    suite: String,
}

impl Root {
    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }
}

/// Returns the root; makes it when there is none of these parts.
pub(crate) fn ready() -> Result<Root> {
    let source = source()?;
    let folder = folder::roots().join(name(&source));
    if !folder.is_dir() {
        remove_others()?;
        make(&source, &folder)?;
    }
    Ok(Root(folder))
}

fn source() -> Result<Source> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.context("/etc/os-release names no release of Debian or one of its kin")?;
    let targets = tool::run(&[
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Created-By: Packages",
    ])?;
    source_among(&targets, suite.trim_matches('"')).with_context(|| {
        format!("no source of packages for `{suite}` is set up here (`apt-get indextargets`)")
    })
}

fn source_among(targets: &str, suite: &str) -> Option<Source> {
    let mirror = targets.lines().find_map(|line| line.strip_suffix(&format!(" {suite} main")))?;
    Some(Source { mirror: mirror.to_owned(), suite: suite.to_owned() })
}

fn name(source: &Source) -> String {
    let mut hasher = DefaultHasher::new();
    (source, EDITION, PACKAGES, MASKED, ADDRESS_UNIT, JOURNAL, NEEDLESS).hash(&mut hasher);
    format!("{}-{:016x}", source.suite, hasher.finish())
}

/// Removes roots that no disk lies over, and what is left of one that was not finished.
fn remove_others() -> Result<()> {
    let places = set::all().into_iter().flat_map(|set| set.hosts());
    let used: BTreeSet<PathBuf> = places
        .filter_map(|place| fs::read_to_string(place.folder().join("lower")).ok())
        .map(PathBuf::from)
        .collect();
    let all = fs::read_dir(folder::roots()).into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| path.is_dir() && !used.contains(path)).try_for_each(|path| mounts::remove_folder(&path))
}

fn make(source: &Source, folder: &Path) -> Result<()> {
    ensure!(
        programs::is_there("debootstrap"),
        "`debootstrap` is missing; on Debian: apt-get install debootstrap"
    );
    let begin = Instant::now();
    eprintln!(
        "making the root of all hosts ({} from {}), once: a minute or two",
        source.suite, source.mirror
    );
    let unfinished = folder.with_extension("unfinished");
    mounts::remove_folder(&unfinished)?;
    fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    debootstrap(source, &unfinished)?;
    furnish(&unfinished)?;
    fs::rename(&unfinished, folder).with_context(|| format!("cannot name {}", folder.display()))?;
    eprintln!("made in {:.0} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// In namespaces that end with this process, so that neither mounts nor processes are left when it is killed.
fn debootstrap(source: &Source, folder: &Path) -> Result<()> {
    let log = folder.with_extension("log");
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new("setpriv");
    command.args(
        "--pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc debootstrap".split(' '),
    );
    command
        .args(["--variant=minbase", &format!("--include={PACKAGES}"), &source.suite])
        .arg(folder)
        .arg(&source.mirror);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let status = command.status().context("cannot run `setpriv`")?;
    if !status.success() {
        let text = fs::read_to_string(&log).unwrap_or_default();
        bail!(
            "debootstrap failed: {} (all of it in {})",
            text.lines().last().unwrap_or("it said nothing"),
            log.display()
        );
    }
    Ok(())
}

/// Makes a server of a minimal system.
fn furnish(root: &Path) -> Result<()> {
    NEEDLESS.iter().try_for_each(|path| remove(&root.join(path)))?;
    remove_host_keys(root)?;
    let units = root.join("etc/systemd/system");
    MASKED.iter().try_for_each(|unit| link(Path::new("/dev/null"), &units.join(unit)))?;
    put(root, "etc/machine-id", "")?;
    put(root, "etc/systemd/journald.conf.d/small.conf", JOURNAL)?;
    put(root, "etc/systemd/system/address.service", ADDRESS_UNIT)?;
    link(Path::new("../address.service"), &units.join("multi-user.target.wants/address.service"))?;
    add_deploy(root)
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn remove_host_keys(root: &Path) -> Result<()> {
    let entries = fs::read_dir(root.join("etc/ssh")).context("the root has no sshd")?.flatten();
    let keys = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("ssh_host_"));
    keys.into_iter().try_for_each(|entry| remove(&entry.path()))
}

fn link(to: &Path, at: &Path) -> Result<()> {
    remove(at)?;
    at.parent().map_or(Ok(()), fs::create_dir_all)?;
    symlink(to, at).with_context(|| format!("cannot make {}", at.display()))
}

fn put(root: &Path, path: &str, text: &str) -> Result<()> {
    let path = root.join(path);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Adds the user who may log in with a key and by no other means, and is nobody else.
fn add_deploy(root: &Path) -> Result<()> {
    for (path, line) in [
        ("etc/passwd", format!("deploy:x:{DEPLOY_ID}:{DEPLOY_ID}::/home/deploy:/bin/bash\n")),
        ("etc/group", format!("deploy:x:{DEPLOY_ID}:\n")),
        ("etc/shadow", "deploy:*:19000:0:99999:7:::\n".to_owned()),
        ("etc/gshadow", "deploy:!::\n".to_owned()),
    ] {
        append(&root.join(path), &line)?;
    }
    let home = root.join("home/deploy");
    fs::create_dir_all(&home)?;
    for entry in fs::read_dir(root.join("etc/skel"))?.flatten() {
        let copy = home.join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        chown(&copy, Some(DEPLOY_ID), Some(DEPLOY_ID))?;
    }
    chown(&home, Some(DEPLOY_ID), Some(DEPLOY_ID)).context("cannot give deploy its home")
}

fn append(path: &Path, line: &str) -> Result<()> {
    let mut file =
        File::options().append(true).open(path).with_context(|| format!("cannot open {}", path.display()))?;
    file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_the_machines_own_for_its_release() {
        let targets = "http://security.example/debian bookworm-security main\n\
                       http://mirror.example/debian/ bookworm-updates main\n\
                       http://mirror.example/debian/ bookworm contrib\n\
                       http://mirror.example/debian/ bookworm main\n";
        let source = source_among(targets, "bookworm").unwrap();
        assert_eq!(source.mirror, "http://mirror.example/debian/");
        assert_eq!(source_among(targets, "trixie"), None);
    }

    #[test]
    fn another_source_makes_another_root() {
        let source = |suite: &str| Source { mirror: "http://m".to_owned(), suite: suite.to_owned() };
        assert_eq!(name(&source("bookworm")), name(&source("bookworm")));
        assert_ne!(name(&source("bookworm")), name(&source("trixie")));
        let other = Source { mirror: "http://n".to_owned(), suite: "bookworm".to_owned() };
        assert_ne!(name(&source("bookworm")), name(&other));
    }
}
