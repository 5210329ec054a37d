//! The step itself: confines this process and becomes the program.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use crate::launch::{Answer, Launch};
use crate::{apply, root};

/// Longest launch that is read; Linux itself allows 2 MiB of arguments and environment.
const MAX_LAUNCH_BYTES: u64 = 16 * 1024 * 1024;

/// Runs the step. Returns only when the program could not be started; why is told to whoever started the step.
#[must_use]
pub fn main() -> ExitCode {
    let channel = match channel() {
        Ok(channel) => channel,
        Err(error) => {
            eprintln!(
                "this is a step between Lockstep and a program that it starts, and no command: {error}"
            );
            return ExitCode::FAILURE;
        }
    };
    let error = become_program(&channel);
    let _ = tell(&channel, &Answer::failed(&error));
    ExitCode::FAILURE
}

/// Takes the channel from standard input, which the program gets empty.
fn channel() -> io::Result<UnixStream> {
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    channel.peer_addr()?;
    let nothing = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    Ok(channel)
}

fn become_program(channel: &UnixStream) -> io::Error {
    match prepare(channel) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

fn prepare(channel: &UnixStream) -> io::Result<Command> {
    let mut line = Vec::new();
    BufReader::new(channel.take(MAX_LAUNCH_BYTES)).read_until(b'\n', &mut line)?;
    let launch: Launch = serde_json::from_slice(&line)?;
    let user = match &launch.root {
        Some(root) => root::enter(root, launch.user)?,
        None => launch.user,
    };
    let confined = match &launch.root {
        Some(_) => apply::confine_in_root(),
        None => apply::confine(&launch.policy),
    };
    let confinement =
        confined.map_err(|error| io::Error::other(format!("it cannot be confined: {error}")))?;
    tell(channel, &Answer::Confined(confinement))?;
    let mut command = Command::new(launch.program);
    command.args(launch.arguments).env_clear().envs(launch.variables);
    if launch.root.is_some() {
        let folder =
            std::fs::create_dir_all(&launch.folder).and_then(|()| std::env::set_current_dir(&launch.folder));
        folder.map_err(|error| {
            io::Error::new(error.kind(), format!("`{}`: {error}", launch.folder.display()))
        })?;
        if let Some(user) = user {
            command.gid(user.group).uid(user.id);
        }
        return Ok(command);
    }
    match user {
        None => command.current_dir(launch.folder),
        // Into the folder before that: the way to it may be closed to the user.
        Some(user) => {
            std::env::set_current_dir(launch.folder)?;
            command.gid(user.group).uid(user.id)
        }
    };
    Ok(command)
}

fn tell(mut channel: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    channel.write_all(&line)
}
