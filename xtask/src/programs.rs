//! The programs that the build and the tests need from the machine, and the Debian packages that have them.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail, ensure};

use crate::shell;

/// A program and what it is needed for.
struct Program {
    name: &'static str,
    package: &'static str,
    needed_for: &'static str,
}

const NEEDED: [Program; 6] = [
    Program { name: "cc", package: "build-essential", needed_for: "building SQLite, zstd and jemalloc" },
    Program { name: "git", package: "git", needed_for: "checkouts, versions and changelogs" },
    Program { name: "make", package: "build-essential", needed_for: "building jemalloc" },
    Program {
        name: "node",
        package: "nodejs",
        needed_for: "the sample services in JavaScript, and customers of the demonstration",
    },
    Program { name: "python3", package: "python3", needed_for: "the sample services in Python" },
    Program { name: "sh", package: "dash", needed_for: "build steps" },
];

/// What the tests need besides.
const FOR_TESTS: [Program; 14] = [
    Program { name: "busybox", package: "busybox-static", needed_for: "the tests of images" },
    Program { name: "docker-registry", package: "docker-registry", needed_for: "the tests of images" },
    Program {
        name: "grpc",
        package: "python3-grpcio",
        needed_for: "the tests of the gateway with Google's gRPC",
    },
    Program { name: "haproxy", package: "haproxy", needed_for: "the tests of the gateway beside its peers" },
    Program {
        name: "nginx",
        package: "nginx-light",
        needed_for: "the tests of compose files, and of the gateway beside its peers",
    },
    Program { name: "postgres", package: "postgresql", needed_for: "the tests of resources" },
    Program { name: "prometheus", package: "prometheus", needed_for: "the tests of metrics" },
    Program {
        name: "prometheus-alertmanager",
        package: "prometheus-alertmanager",
        needed_for: "the tests of notices",
    },
    Program { name: "psql", package: "postgresql-client", needed_for: "the tests of compose files" },
    Program { name: "redis-server", package: "redis-server", needed_for: "the tests of resources" },
    Program { name: "skopeo", package: "skopeo", needed_for: "the tests of images" },
    Program { name: "ssh", package: "openssh-client", needed_for: "the tests of hosts over SSH" },
    Program { name: "sshd", package: "openssh-server", needed_for: "the tests of hosts over SSH" },
    Program { name: "strip", package: "binutils", needed_for: "the tests of hosts over SSH" },
];

/// What hosts need besides, on a machine that can boot them.
const FOR_HOSTS: [Program; 10] = [
    Program { name: "debootstrap", package: "debootstrap", needed_for: "making the root of hosts" },
    Program { name: "ip", package: "iproute2", needed_for: "the network of hosts" },
    Program { name: "mount", package: "mount", needed_for: "the disks of hosts" },
    Program { name: "nsenter", package: "util-linux", needed_for: "working in a host" },
    Program { name: "python3", package: "python3", needed_for: "slow lines" },
    Program { name: "setpriv", package: "util-linux", needed_for: "making the root of hosts" },
    Program { name: "ssh", package: "openssh-client", needed_for: "logging in to hosts" },
    Program { name: "ssh-keygen", package: "openssh-client", needed_for: "the keys of hosts" },
    Program { name: "systemd-nspawn", package: "systemd-container", needed_for: "booting hosts" },
    Program { name: "unshare", package: "util-linux", needed_for: "making the root of hosts" },
];

/// Checks that every program is there that builds and the demonstration need. In continuous integration (`CI=true`) and as root, missing ones are installed;
/// everywhere else they are only named.
pub(crate) fn check() -> Result<()> {
    check_all(NEEDED.iter())
}

/// Checks the same for the tests.
pub(crate) fn check_for_tests() -> Result<()> {
    check_all(NEEDED.iter().chain(&FOR_TESTS))
}

/// Says in words which programs are missing that hosts need. In continuous integration and as root they are installed first.
pub(crate) fn missing_for_hosts() -> Result<Vec<String>> {
    let missing = || FOR_HOSTS.iter().filter(|program| !is_installed(program.name));
    let packages: Vec<&str> = missing().map(|program| program.package).collect();
    if !packages.is_empty() && may_install() {
        install(&packages)?;
    }
    let words = |program: &Program| {
        format!("`{}` is missing (Debian: apt-get install {})", program.name, program.package)
    };
    Ok(missing().map(words).collect())
}

fn check_all(needed: impl Iterator<Item = &'static Program>) -> Result<()> {
    let missing: Vec<&Program> = needed.filter(|program| !is_installed(program.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for program in &missing {
        eprintln!("missing: `{}`, needed for {}", program.name, program.needed_for);
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    if !may_install() {
        bail!("programs are missing; on Debian: apt-get install {}", packages.join(" "));
    }
    install(&packages)?;
    let still: Vec<&str> =
        missing.iter().map(|program| program.name).filter(|name| !is_installed(name)).collect();
    ensure!(still.is_empty(), "still missing after installing: {}", still.join(", "));
    Ok(())
}

/// Says whether a program is found on the search path, among those for administrators, or where Debian puts each version of PostgreSQL and the
/// modules of its Python.
fn is_installed(name: &str) -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = versions.map(|version| version.path().join("bin"));
    is_there(name)
        || Path::new("/usr/sbin").join(name).is_file()
        || Path::new("/usr/lib/python3/dist-packages").join(name).is_dir()
        || folders.any(|folder| folder.join(name).is_file())
}

/// Says whether a program is found on the search path.
pub(crate) fn is_there(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

fn may_install() -> bool {
    let continuous_integration = std::env::var("CI").is_ok_and(|value| value == "true");
    continuous_integration && is_root() && is_there("apt-get")
}

/// Says whether this process is root's.
pub(crate) fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

fn install(packages: &[&str]) -> Result<()> {
    for arguments in [vec!["update"], [&["install", "--yes", "--no-install-recommends"], packages].concat()] {
        let mut command = Command::new("apt-get");
        command.args(&arguments).env("DEBIAN_FRONTEND", "noninteractive");
        let (status, _) = shell::run(&mut command)?;
        ensure!(status.success(), "apt-get {} failed", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_on_the_path() {
        assert!(is_there("sh"));
        assert!(!is_there("no-such-program-of-lockstep"));
    }
}
