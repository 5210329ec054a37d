//! Bringing an artifact of 20 MiB to all hosts, and then one that is nearly the same, beside `rsync` of the same file to the same hosts.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::hosts::Fleet;
use crate::installation::{Installation, Show};

use super::super::figures::spread;
use super::super::operation::ENVIRONMENT;
use super::super::{repository, service};
use super::{DATA, manifest};

/// Bytes of what is sent; they compress to nothing less.
const BYTES: usize = 20 * 1024 * 1024;
/// How often each is measured.
const ROUNDS: u64 = 3;
/// The versions that are released last: each round makes two.
pub(super) const LAST_TWO: [&str; 2] = ["1.4.0", "1.5.0"];

/// One way of bringing something to all hosts.
#[derive(Debug, Clone, Copy)]
struct Sample {
    seconds: f64,
    /// To all hosts together.
    bytes: f64,
}

/// What was measured: whole artifacts and nearly equal ones, by Lockstep and by `rsync`.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    whole: [Vec<Sample>; 2],
    nearly_equal: [Vec<Sample>; 2],
}

/// Writes what makes the package large; nearly the same again where a kilobyte is `inserted`.
pub(super) fn write_data(repository: &Path, seed: u64, inserted: bool) -> Result<()> {
    let mut file = BufWriter::new(File::create(repository.join(DATA))?);
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for at in 0..BYTES / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
        if inserted && at == BYTES / 20 {
            file.write_all(&[seed as u8; 1_024])?;
        }
    }
    Ok(file.flush()?)
}

pub(super) fn measure(installation: &Installation, fleet: &Fleet, repository: &Path) -> Result<Transfers> {
    let mut transfers = Transfers::default();
    for round in 0..ROUNDS {
        for (inserted, into) in [(false, &mut transfers.whole), (true, &mut transfers.nearly_equal)] {
            write_data(repository, round, inserted)?;
            let number = 2 * round + u64::from(inserted);
            if number > 0 {
                repository::commit(repository, &manifest(), &format!("feat: data {number}"))?;
            }
            installation.run(&["release", service::NAME], Show::Result(1))?;
            into[0].push(prefetch(installation, &format!("{}@1.{number}.0", service::NAME))?);
            into[1].push(rsync(fleet, &repository.join(DATA), round)?);
        }
    }
    Ok(transfers)
}

fn prefetch(installation: &Installation, version: &str) -> Result<Sample> {
    let begin = Instant::now();
    let rows = installation.json(&["deploy", version, "--env", ENVIRONMENT, "--prefetch"])?;
    let seconds = begin.elapsed().as_secs_f64();
    let rows = rows.as_array().context("no rows")?;
    ensure!(rows.iter().all(|row| row["state"] == "here"), "{version} is not everywhere: {rows:?}");
    let bytes = rows.iter().filter_map(|row| row["sent"]["of"].as_u64()).sum::<u64>() as f64;
    Ok(Sample { seconds, bytes })
}

/// Sends the file to all hosts at the same time, and waits there until it is on the disk, as Lockstep does.
fn rsync(fleet: &Fleet, file: &Path, round: u64) -> Result<Sample> {
    let begin = Instant::now();
    let begun = fleet.hosts().into_iter().map(|host| {
        let to = format!("{}:rsync-{round}", fleet.login(host)?);
        let ssh = format!(
            "ssh -i {} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            fleet.key().display()
        );
        let mut command = Command::new("rsync");
        command.args(["--fsync", "--stats", "-e", &ssh]).arg(file).arg(to);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run rsync; on Debian: apt-get install rsync")
    });
    let begun: Vec<Child> = begun.collect::<Result<_>>()?;
    let mut bytes = 0.0;
    for child in begun {
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "rsync failed: {}", output.status);
        bytes += sent(&String::from_utf8_lossy(&output.stdout)).context("rsync says no bytes")?;
    }
    Ok(Sample { seconds: begin.elapsed().as_secs_f64(), bytes })
}

fn sent(stats: &str) -> Option<f64> {
    let line = stats.lines().find_map(|line| line.strip_prefix("Total bytes sent: "))?;
    line.replace(',', "").trim().parse().ok()
}

impl Transfers {
    pub(super) fn show(&self) {
        println!(
            "\n{} MiB to {} hosts, which write it to their disks; median of {ROUNDS} rounds",
            BYTES >> 20,
            super::HOSTS
        );
        println!("{:<46} {:>10} {:>10} {:>8} {:>12}", "", "lockstep", "rsync", "ratio", "sent, MiB");
        for (name, [ours, theirs]) in [("whole", &self.whole), ("1 KiB inserted", &self.nearly_equal)] {
            let [ours_took, theirs_took] = [ours, theirs].map(|all| median(all, |it| it.seconds));
            let [ours_sent, theirs_sent] =
                [ours, theirs].map(|all| median(all, |it| it.bytes) / f64::from(1 << 20));
            println!(
                "{name:<46} {ours_took:>8.2} s {theirs_took:>8.2} s {:>8.2} {ours_sent:>5.1}/{theirs_sent:>5.1}",
                ours_took / theirs_took
            );
        }
    }
}

fn median(samples: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    spread(samples.iter().map(figure).collect())[1]
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_rsync_sent_is_read() {
        assert_eq!(
            sent("Number of files: 1\nTotal bytes sent: 20,976,702\nTotal bytes received: 35\n"),
            Some(20_976_702.0)
        );
        assert_eq!(sent("nothing"), None);
    }

    #[test]
    fn what_is_nearly_equal_is_longer_by_what_was_inserted() {
        let folder = std::env::temp_dir().join(format!("lockstep-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let length = |inserted| {
            write_data(&folder, 1, inserted).unwrap();
            fs::metadata(folder.join(DATA)).unwrap().len()
        };
        assert_eq!((length(false), length(true)), (BYTES as u64, BYTES as u64 + 1_024));
        fs::remove_dir_all(folder).unwrap();
    }
}
