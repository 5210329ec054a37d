//! PostgreSQL: a cluster with one database and one ordinary user, who is let in from this host with a password and in no other way.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use lockstep_files::whole;

use super::USER;
use super::programs::{self, Postgresql};
use super::step::Task;

/// The superuser, who can connect in no way.
const SUPERUSER: &str = "lockstep";
/// Nobody else is let in, and nobody without the password. There is no socket in any folder.
const WHO_MAY: &str = "host all app 127.0.0.1/32 scram-sha-256\n";
/// What the cluster was given last: the name of the password.
const GIVEN: &str = "given";

/// Makes the cluster where there is none, gives it its password, and returns what it is to become.
pub(super) fn prepare(task: &Task) -> Result<Command, String> {
    let made_by = fs::read_to_string(task.data().join("PG_VERSION")).ok();
    let major = made_by.map(|text| text.trim().parse()).transpose();
    let programs = programs::postgresql(major.map_err(|_| "`PG_VERSION` of the data is no number")?)?;
    task.make(|folder| make(task, &programs, folder))?;
    let data = task.data();
    remove_stale_pid(&data);
    let given = task.folder.join(GIVEN);
    if fs::read_to_string(&given).ok().as_deref() != Some(task.secret.as_str()) {
        speak(&programs, &data, &format!("ALTER ROLE {USER} PASSWORD '{}'\n", task.password))?;
        let kept = whole::put(&given, task.secret.as_bytes(), 0o600);
        kept.map_err(|error| format!("what the database was given cannot be noted: {error}"))?;
    }
    let mut command = Task::command(&programs.folder.join("postgres"));
    command.arg("-D").arg(&data);
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={}", task.port),
        "unix_socket_directories=",
        "password_encryption=scram-sha-256",
        "logging_collector=off",
        "log_destination=stderr",
    ] {
        command.arg("-c").arg(setting);
    }
    Ok(command)
}

fn make(task: &Task, programs: &Postgresql, folder: &Path) -> Result<(), String> {
    let mut initdb = Task::command(&programs.folder.join("initdb"));
    initdb.arg("-D").arg(folder).args(["--auth=reject", "--no-locale", "--encoding=UTF8"]);
    initdb.arg(format!("--username={SUPERUSER}")).stdin(Stdio::null());
    let output = initdb.output().map_err(|error| format!("`initdb` cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("`initdb` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let written = whole::put(&folder.join("pg_hba.conf"), WHO_MAY.as_bytes(), 0o600);
    written.map_err(|error| format!("`pg_hba.conf` cannot be written: {error}"))?;
    let database = task.database.replace('"', "");
    speak(
        programs,
        folder,
        &format!("CREATE ROLE {USER} LOGIN CREATEDB\nCREATE DATABASE \"{database}\" OWNER {USER}\n"),
    )
}

/// Gives statements, one a line, to the cluster while it does not run. They are in no list of processes and in no log.
fn speak(programs: &Postgresql, data: &Path, statements: &str) -> Result<(), String> {
    let failed = |why: String| format!("the database could not be set up: {why}");
    let mut single = Task::command(&programs.folder.join("postgres"));
    single.args(["--single", "-D"]).arg(data);
    for setting in ["log_min_error_statement=panic", "exit_on_error=on", "password_encryption=scram-sha-256"]
    {
        single.arg("-c").arg(setting);
    }
    single.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = single.spawn().map_err(|error| failed(error.to_string()))?;
    // One that does not listen says why when it has ended.
    let _ = child.stdin.take().map(|mut input| input.write_all(statements.as_bytes()));
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let is_bad = |line: &&str| ["ERROR:", "FATAL:", "PANIC:"].iter().any(|word| line.contains(word));
    match said.lines().find(is_bad) {
        None if output.status.success() => Ok(()),
        bad => Err(failed(bad.unwrap_or_else(|| said.trim()).to_owned())),
    }
}

/// Removes the note of a process that is not at work there any more: its number may be somebody else's by now, after a start of
/// the host for example, and PostgreSQL would not start then. The lock of the folder says that nobody is at work.
fn remove_stale_pid(data: &Path) {
    let note = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&note) else { return };
    let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
    let works_here = pid.is_some_and(|pid| {
        let place = |path: &Path| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
        place(Path::new(&format!("/proc/{pid}/cwd"))).is_some_and(|there| Some(there) == place(data))
    });
    if !works_here {
        // Where it stays, PostgreSQL says so.
        let _ = fs::remove_file(&note);
    }
}
