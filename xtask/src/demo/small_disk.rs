//! A second server whose data folder lies on a small disk of its own, so that a disk can be full and the one of this machine is not.
//!
//! The disk is in memory and mounted for this server alone: where a user may have name spaces, without root. Invariant: a shell stands between, and ends
//! the server when its input does, so both are gone with this process, and the disk with them.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::chat::Chat;
use crate::installation::{Installation, Talk};

use super::checks::wait_until;

/// How large the disk is: the server needs some megabytes.
const SIZE: &str = "64m";
/// Commands that give a program mounts of its own: as a user who has name spaces, and as root.
const WAYS: [&[&str]; 2] = [&["unshare", "-Urm"], &["unshare", "-m"]];
/// Mounts, runs the server, and does what it is told in lines. Of the disk a fiftieth is left, which is what `disk-full` is about, and the server can
/// still keep what it told.
const SCRIPT: &str = r#"data=$1; log=$2; shift 2
mount -t tmpfs -o "size=$SIZE" tmpfs "$data" || exit 1
"$@" </dev/null >/dev/null 2>>"$log" &
server=$!
while read -r word; do
  case $word in
    fill)
      set -- $(df -Pk "$data" | tail -n 1)
      head -c $((($4 - $2 / 50) * 1024)) /dev/zero > "$data/filler" ;;
    empty) rm "$data/filler" ;;
  esac
  echo "$word"
done
kill "$server"
wait "$server""#;

/// The server and its disk, until it is dropped.
pub(super) struct SmallDisk {
    shell: Child,
    commands: Option<ChildStdin>,
    done: Lines<BufReader<ChildStdout>>,
    /// Commands to its server.
    pub(super) installation: Installation,
    /// Who is told by it.
    pub(super) chat: Chat,
}

impl SmallDisk {
    /// Starts one; nothing where this machine lets nobody mount a disk for one program.
    pub(super) fn begin(program: PathBuf, folder: PathBuf) -> Result<Option<Self>> {
        let installation = Installation::new(program, folder, Talk::Silent)?;
        std::fs::create_dir_all(installation.data())?;
        let Some(way) = WAYS.into_iter().find(|way| can_mount(way, &installation)) else { return Ok(None) };
        let log = installation.log().display().to_string();
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["sh", "-c", SCRIPT, "sh"]).arg(installation.data()).arg(log);
        command.arg(installation.program()).args(installation.server_arguments()).env("SIZE", SIZE);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().context("cannot run unshare")?;
        let commands = shell.stdin.take();
        let done = BufReader::new(shell.stdout.take().context("the shell writes nothing")?).lines();
        let disk = Self { shell, commands, done, installation, chat: Chat::begin()? };
        disk.wait()?;
        Ok(Some(disk))
    }

    fn wait(&self) -> Result<()> {
        wait_until("the server on a small disk", || Ok(self.installation.ask("GET", "/health", "").is_ok()))?;
        self.chat.write_target(&self.installation.folder().join("chat.toml"))?;
        self.installation.run_quietly(&["notify", "add", "chat", "chat.toml"])
    }

    /// Fills the disk but for a fiftieth.
    pub(super) fn fill(&mut self) -> Result<()> {
        self.tell("fill")
    }

    /// Makes room again.
    pub(super) fn empty(&mut self) -> Result<()> {
        self.tell("empty")
    }

    fn tell(&mut self, word: &str) -> Result<()> {
        let commands = self.commands.as_mut().context("the shell takes no input")?;
        writeln!(commands, "{word}").context("the shell of the small disk is gone")?;
        let done = self.done.next().context("the shell of the small disk is gone")??;
        ensure!(done == word, "the shell of the small disk was told `{word}` and did `{done}`");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The end of its input is what it ends by.
        self.commands = None;
        let _ = self.shell.wait();
    }
}

/// Tells whether a program can be given a disk in this way.
fn can_mount(way: &[&str], installation: &Installation) -> bool {
    let mut command = Command::new(way[0]);
    command.args(&way[1..]).args(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(installation.data());
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
