//! Follows one supervisor: takes in what it says, and replaces it when it dies before its instance is over.

use std::io::{self, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lockstep_domain::fault::Fault;
use lockstep_domain::{InstanceId, InstanceState};
use lockstep_files::foreign;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::{LocalDriver, Shared, SupervisorCommand};
use crate::folder::InstanceFolder;
use crate::logs;
use crate::process::handed_on;
use crate::status::{MAX_STATUS_BYTES, Status};

/// A supervisor that lived so long did not die of its start; it is replaced at once.
const STEADY: Duration = Duration::from_secs(1);
/// Pause before a supervisor that did not live long is replaced; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Supervisors in a row that may die young before an instance of which none has said a word counts as failed.
const MAX_SHORT_LIVES: u32 = 8;
/// Most of what a supervisor has said about itself that is shown.
const SHOWN_CHARACTERS: usize = 500;
/// How far back from the end that is looked for.
const SHOWN_BYTES: u64 = 8 * 1024;

/// A connection to a supervisor, and the supervisor when it was started by this process.
#[derive(Debug)]
pub(super) struct Connection {
    stream: std::os::unix::net::UnixStream,
    supervisor: Option<Child>,
}

/// Starts a supervisor, connected through its standard input.
pub(super) fn launch(folder: &InstanceFolder, supervisor: &SupervisorCommand) -> io::Result<Connection> {
    let (program, arguments) = supervisor
        .0
        .split_first()
        .ok_or_else(|| io::Error::other("the command of the supervisor is empty"))?;
    let (stream, theirs) = std::os::unix::net::UnixStream::pair()?;
    let errors = foreign::open_to_append(&folder.supervisor_log())?;
    let mut command = Command::new(program);
    command.args(arguments).arg(folder.path()).current_dir("/").env_clear().envs(handed_on());
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(errors);
    Ok(Connection { stream, supervisor: Some(command.spawn()?) })
}

fn connect(folder: &InstanceFolder) -> io::Result<Connection> {
    let stream = folder.connect()?;
    if folder.is_marked_stop() {
        // Who set the mark may have died before the supervisor knew.
        super::ask_to_stop(folder);
    }
    Ok(Connection { stream, supervisor: None })
}

impl LocalDriver {
    /// Follows an instance until it is over. `known` is let go when its supervisor has been heard.
    pub(super) fn follow(
        &self,
        id: InstanceId,
        connection: Option<Connection>,
        known: Option<oneshot::Sender<()>>,
    ) {
        let follower =
            Follower { folder: self.shared.folder(&id), shared: Arc::clone(&self.shared), id, known };
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        while followers.try_join_next().is_some() {}
        followers.spawn(async move {
            let (shared, id) = (Arc::clone(&follower.shared), follower.id.clone());
            follower.run(connection).await;
            shared.put_away(&id).await;
        });
    }
}

struct Follower {
    shared: Arc<Shared>,
    folder: InstanceFolder,
    id: InstanceId,
    known: Option<oneshot::Sender<()>>,
}

impl Follower {
    async fn run(mut self, mut first: Option<Connection>) {
        let mut short_lives = 0_u32;
        loop {
            let begin = Instant::now();
            let connected = match first.take() {
                Some(connection) => Ok(connection),
                None => {
                    connect(&self.folder).or_else(|_| launch(&self.folder, &self.shared.options.supervisor))
                }
            };
            let heard = match connected {
                Ok(connection) => self.listen(connection).await,
                Err(error) => Err(error),
            };
            if self.is_over() {
                return;
            }
            let is_steady = matches!(heard, Ok(true)) && begin.elapsed() > STEADY;
            short_lives = if is_steady { 0 } else { short_lives.saturating_add(1) };
            if short_lives > 0 {
                self.report(short_lives, heard.err());
                sleep(pause(short_lives)).await;
            }
        }
    }

    /// Takes in what a supervisor says until it is gone, and tells whether it said anything.
    async fn listen(&mut self, connection: Connection) -> io::Result<bool> {
        connection.stream.set_nonblocking(true)?;
        let mut lines = BufReader::new(UnixStream::from_std(connection.stream)?);
        let mut heard = false;
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut lines).take(MAX_STATUS_BYTES).read_until(b'\n', &mut line).await;
            let Ok(status) = serde_json::from_slice::<Status>(&line) else { break };
            heard = true;
            self.take_in(status);
            if read.is_err() {
                break;
            }
        }
        drop(lines);
        if let Some(mut supervisor) = connection.supervisor {
            supervisor.wait().await?;
        }
        Ok(heard)
    }

    fn take_in(&mut self, status: Status) {
        if !status.told.is_nothing() && self.shared.instances.borrow().contains_key(&self.id) {
            self.shared.told().insert(self.id.clone(), status.told);
        }
        self.shared.change(|all| {
            if let Some(instance) = all.get_mut(&self.id) {
                let told = instance.state == InstanceState::Stopping;
                instance.state = if told { status.state.once_told() } else { status.state };
                instance.since = status.since;
                instance.restarts = status.restarts;
            }
        });
        self.known = None;
    }

    /// Tells whether there is nothing to follow any more. A supervisor may have said its last word only to the file.
    fn is_over(&mut self) -> bool {
        let known = self.shared.instances.borrow().get(&self.id).map(|instance| instance.state.is_over());
        match known {
            None | Some(true) => return true,
            Some(false) => {}
        }
        match Status::read(&self.folder) {
            Ok(Some(status)) if status.state.is_over() => {
                self.take_in(status);
                true
            }
            _ => false,
        }
    }

    fn report(&self, short_lives: u32, error: Option<io::Error>) {
        let said = last_line(&self.folder.supervisor_log());
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        tracing::warn!(instance = %self.id, short_lives, error, said, "supervisor ended before its instance");
        if short_lives >= MAX_SHORT_LIVES && matches!(Status::read(&self.folder), Ok(None)) {
            let reason = format!("its supervisor does not work: {said}{error}");
            let mut status = Status::starting(logs::now());
            status.state = InstanceState::failed(reason, Fault::Host);
            // When it cannot be written either, the next attempt says the same.
            let _ = status.write(&self.folder);
        }
    }
}

/// Returns the end of what a supervisor has said about itself.
fn last_line(log: &Path) -> String {
    let read = || {
        let mut file = foreign::open_no_link(log)?;
        file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(SHOWN_BYTES)))?;
        foreign::read(file, SHOWN_BYTES)
    };
    let said = read().unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.lines().last().unwrap_or_default().chars().take(SHOWN_CHARACTERS).collect()
}

fn pause(short_lives: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1_u32.checked_shl(short_lives.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE)
}
