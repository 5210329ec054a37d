//! Redis: one server that keeps what it is told on disk, and lets in from this host whoever has the password.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::Command;

use lockstep_files::whole;

use super::programs;
use super::step::Task;

/// Makes the folder of the data where there is none, writes the configuration, and returns what it is to become.
pub(super) fn prepare(task: &Task) -> Result<Command, String> {
    let program = programs::redis()?;
    let make = |folder: &Path| DirBuilder::new().mode(0o700).create(folder);
    task.make(|folder| {
        make(folder).map_err(|error| format!("the folder of the data cannot be made: {error}"))
    })?;
    let path = task.folder.join("redis.conf");
    let written = whole::put(&path, configuration(task).as_bytes(), 0o600);
    written.map_err(|error| format!("`redis.conf` cannot be written: {error}"))?;
    let mut command = Task::command(&program);
    command.arg(path);
    Ok(command)
}

fn configuration(task: &Task) -> String {
    let Task { port, password, .. } = task;
    let data = task.data();
    let data = data.display();
    format!(
        "bind 127.0.0.1\nport {port}\nprotected-mode yes\nrequirepass {password}\ndir {data}\nappendonly yes\nsave \"\"\n\
         daemonize no\n"
    )
}
