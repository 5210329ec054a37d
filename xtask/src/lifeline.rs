//! The line between the command that was typed and the process that does the work.
//!
//! It is a pipe: a byte says "finish when you are done", its end says that the command is gone. No signal handlers are
//! needed, and there is no way to end the command that leaves processes behind.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context as _, Result};

use crate::installation;

/// What a process ends with after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Who says when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It ends by itself.
    ByItself,
    /// A person does, with a line or the end of input.
    WhenTold,
}

/// Starts what was typed once more on a lifeline, waits for its end, and ends as it ended.
pub(crate) fn hold(end: End) -> Result<()> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.args(std::env::args_os().skip(1)).arg("--on-lifeline");
    // A group of its own, so that Ctrl-C reaches only this process, and the other can end in good order.
    let mut child = command.process_group(0).stdin(Stdio::piped()).spawn().context("cannot start it")?;
    let mut line = child.stdin.take();
    if end == End::WhenTold {
        thread::spawn(move || {
            let mut typed = String::new();
            // The end of input, a line, or an input that cannot be read all mean the same here.
            let _ = std::io::stdin().read_line(&mut typed);
            if let Some(line) = &mut line {
                let _ = line.write_all(b"\n");
            }
            // The line stays whole until this process ends.
            std::mem::forget(line);
        });
    }
    let status = child.wait().context("what was started is lost")?;
    std::process::exit(status.code().unwrap_or(1))
}

/// The other end.
pub(crate) struct Lifeline {
    finish: Receiver<()>,
}

impl Lifeline {
    /// Watches the line. When it breaks, everything in the folder is ended and removed, and this process ends.
    pub(crate) fn watch(folder: PathBuf) -> Self {
        Self::watch_and(folder, || ())
    }

    /// The same, and does something more last of all.
    pub(crate) fn watch_and(folder: PathBuf, at_last: impl FnOnce() + Send + 'static) -> Self {
        let (sender, finish) = channel();
        thread::spawn(move || watch(&folder, &sender, at_last));
        Self { finish }
    }

    /// Waits until the person has seen enough.
    pub(crate) fn wait_for_the_end(&self) {
        // The sender lives as long as the process; if it were gone, nothing would be left to wait for.
        let _ = self.finish.recv();
    }
}

fn watch(folder: &Path, finish: &Sender<()>, at_last: impl FnOnce()) {
    let mut byte = [0];
    while matches!(std::io::stdin().read(&mut byte), Ok(1)) {
        if finish.send(()).is_err() {
            break;
        }
    }
    eprintln!("\ninterrupted: ending everything");
    let code = match installation::remove_folder(folder) {
        Ok(()) => INTERRUPTED,
        Err(error) => {
            eprintln!("error: {error:#}");
            1
        }
    };
    at_last();
    std::process::exit(code)
}
