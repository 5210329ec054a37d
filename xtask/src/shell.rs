//! Running a command and watching its output.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Says which step begins, so that a long silence has a name.
pub(crate) fn announce(command: &Command) {
    eprintln!("$ {}", words(command));
}

/// Runs a command with its output as it is; returns how it ended and how long it took.
pub(crate) fn run(command: &mut Command) -> Result<(ExitStatus, Duration)> {
    announce(command);
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot run `{}`", words(command)))?;
    Ok((status, start.elapsed()))
}

/// Runs a command, passes its output on and gives every line of it to `each`.
pub(crate) fn run_watched(
    command: &mut Command,
    mut each: impl FnMut(&str) + Send,
) -> Result<(ExitStatus, Duration)> {
    announce(command);
    let start = Instant::now();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run `{}`", words(command)))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, lines) = std::sync::mpsc::sync_channel::<String>(1024);
    std::thread::scope(|scope| {
        let of_stdout = sender.clone();
        scope.spawn(move || pass_on(stdout, std::io::stdout(), &of_stdout));
        scope.spawn(move || pass_on(stderr, std::io::stderr(), &sender));
        lines.iter().for_each(|line| each(&line));
    });
    let status = child.wait().with_context(|| format!("cannot wait for `{}`", words(command)))?;
    Ok((status, start.elapsed()))
}

fn pass_on(from: Option<impl Read>, mut to: impl Write, lines: &std::sync::mpsc::SyncSender<String>) {
    let Some(from) = from else { return };
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
        // A reader of our own output that went away must not stop the tests.
        let _ = to.write_all(&bytes).and_then(|()| to.flush());
        if lines.send(String::from_utf8_lossy(&bytes).trim_end().to_owned()).is_err() {
            return;
        }
        bytes.clear();
    }
}

fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program).chain(arguments).collect::<Vec<_>>().join(" ")
}
