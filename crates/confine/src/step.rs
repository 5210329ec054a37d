//! The step itself: confines this process and becomes the program.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::launch::{Answer, Launch, User};
use crate::{apply, root};

/// Longest launch that is read; Linux itself allows 2 MiB of arguments and environment.
const MAX_LAUNCH_BYTES: u64 = 16 * 1024 * 1024;

/// The first file that is not standard input, output or error.
const FIRST_BEYOND_STANDARD: i32 = 3;

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
        Ok(mut command) => {
            // Whoever started the server may have left something open to all that comes after it.
            close_fds::set_fds_cloexec(FIRST_BEYOND_STANDARD, &[]);
            command.exec()
        }
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
            become_user(user).map_err(|error| {
                io::Error::new(error.kind(), format!("it cannot become user {}: {error}", user.id))
            })?;
            &mut command
        }
    };
    Ok(command)
}

/// Becomes a user, with no right of root but the one that is asked for, for good. This process has one thread.
fn become_user(user: User) -> io::Result<()> {
    let kept = if user.binds { CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::empty() };
    for right in CapabilitySet::all().difference(kept).iter() {
        // One that this kernel does not know, or that is not here to be taken away.
        let _ = rustix::thread::remove_capability_from_bounding_set(right);
    }
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_keep_capabilities(user.binds)?;
    let (group, id) = (Gid::from_raw(user.group), Uid::from_raw(user.id));
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(id, id, id)?;
    let rights = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
    rustix::thread::set_capabilities(None, rights)?;
    if user.binds {
        rustix::thread::configure_capability_in_ambient_set(CapabilitySet::NET_BIND_SERVICE, true)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

fn tell(mut channel: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    channel.write_all(&line)
}
