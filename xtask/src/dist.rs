//! `cargo xtask dist`: one static program, which runs on every Linux of its architecture, however old its libraries are.
//!
//! It is what a server should run that has hosts: the program brings itself to them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::installation::target_folder;
use crate::shell;
use crate::workspace::cargo;

/// A type of a part of a program: the path of what links it to libraries when it starts.
const INTERPRETER: u32 = 3;

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Result<()> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    have_target(&target)?;
    have_compiler()?;
    let variable = format!("CC_{}", target.replace('-', "_"));
    let mut build =
        cargo(&["build", "--release", "--locked", "--package", "lockstep-cli", "--target", &target]);
    let (status, elapsed) = shell::run(build.env(variable, "musl-gcc"))?;
    ensure!(status.success(), "lockstep does not build for {target}");
    let built = target_folder()?.join(&target).join("release/lockstep");
    let program = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    ensure!(
        is_static(&program).context("what was built is no program")?,
        "what was built needs libraries of the machine"
    );
    let path = keep(&built)?;
    let mebibytes = program.len() as f64 / f64::from(1 << 20);
    println!("{}: {mebibytes:.1} MiB, static, built in {:.0} s", path.display(), elapsed.as_secs_f64());
    Ok(())
}

fn have_target(target: &str) -> Result<()> {
    let found = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output()?;
    if Path::new(String::from_utf8_lossy(&found.stdout).trim()).is_dir() {
        return Ok(());
    }
    match shell::run(Command::new("rustup").args(["target", "add", target])) {
        Ok((status, _)) if status.success() => Ok(()),
        _ => bail!("Rust's library for {target} is missing; with rustup: rustup target add {target}"),
    }
}

fn have_compiler() -> Result<()> {
    let found =
        Command::new("musl-gcc").arg("--version").output().is_ok_and(|output| output.status.success());
    ensure!(
        found,
        "`musl-gcc` is needed for SQLite, zstd and jemalloc; on Debian: apt-get install musl-tools"
    );
    Ok(())
}

fn keep(built: &Path) -> Result<PathBuf> {
    let folder = target_folder()?.join("dist");
    fs::create_dir_all(&folder)?;
    let path = folder.join("lockstep");
    // One that runs is not written to: another takes its name.
    let new = folder.join("lockstep.new");
    fs::copy(built, &new).with_context(|| format!("cannot write {}", new.display()))?;
    fs::rename(&new, &path)?;
    Ok(path)
}

/// Tells whether a program of 64 bits needs nothing to be linked when it starts; `None` where it is none.
fn is_static(program: &[u8]) -> Option<bool> {
    let word = |at: usize| Some(u16::from_le_bytes(program.get(at..at + 2)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_le_bytes(program.get(at..at + 8)?.try_into().ok()?));
    if program.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (first, size, count) =
        (usize::try_from(long(32)?).ok()?, usize::from(word(54)?), usize::from(word(56)?));
    let kinds = (0..count).map(|index| {
        let at = first.checked_add(index * size)?;
        Some(u32::from_le_bytes(program.get(at..at.checked_add(4)?)?.try_into().ok()?))
    });
    let kinds = kinds.collect::<Option<Vec<u32>>>()?;
    Some(!kinds.contains(&INTERPRETER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_linked_when_it_starts_is_told_from_one_that_is_not() {
        let shell = fs::read("/bin/sh").unwrap();
        assert_eq!(is_static(&shell), Some(false));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(&shell[..60]), None);
        if let Ok(busybox) = fs::read("/bin/busybox") {
            assert!(is_static(&busybox).is_some());
        }
    }
}
