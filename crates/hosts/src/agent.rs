//! The agent: the program on the other side of a connection. It opens the driver of its host and does what it is asked, on its standard
//! input and output, and ends with the connection. What it has started goes on.

mod answers;
mod boot;
mod facts;
mod programs;
mod revive;
mod scope;
mod way;

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response, StatusCode};
use lockstep_runtime::fault::with_sources;
use lockstep_runtime::{LocalDriver, LocalDriverOptions, SupervisorCommand};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinSet, spawn_blocking};

use self::answers::Answers;
use self::way::Way;
use crate::artifact::Incoming;
use crate::lease;
use crate::place::HostFolder;
use crate::program::digest_of_self;
use crate::protocol::{Hello, LookRequest, PROTOCOL, Welcome};
use crate::refusal::Refusal;
use crate::wire;

/// The first argument of the program that makes it an agent.
pub const WORD: &str = "host-agent";
/// The first argument of the program that makes it start the instances of a host again, after a boot.
pub const REVIVE: &str = "host-revive";
/// Exit code when the program is not what the server has sent.
pub const EXIT_OTHER_PROGRAM: u8 = 70;

/// Runs an agent until its connection ends. The arguments are the digest that the program should have, and the folder of the host.
/// `supervisor` are the arguments with which this program is a supervisor.
pub fn main(mut arguments: impl Iterator<Item = OsString>, supervisor: &[&str]) -> ExitCode {
    let (Some(digest), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("an agent takes a digest and the folder of a host, and nothing else");
        return ExitCode::from(2);
    };
    // It may begin anew there.
    let scope = scope::enter(Path::new(&folder));
    match digest_of_self() {
        Ok(own) if digest == *own.to_string() => {}
        Ok(own) => {
            eprintln!("the program has the digest {own}, and not the one that was sent");
            return ExitCode::from(EXIT_OTHER_PROGRAM);
        }
        Err(error) => return failed(&error),
    }
    run(Path::new(&folder), supervisor, scope).unwrap_or_else(|error| failed(&error))
}

/// Starts the instances of a host again. The argument is the folder of the host; `supervisor` as for [`main`].
pub fn revive(mut arguments: impl Iterator<Item = OsString>, supervisor: &[&str]) -> ExitCode {
    let (Some(folder), None) = (arguments.next(), arguments.next()) else {
        eprintln!("this takes the folder of a host, and nothing else");
        return ExitCode::from(2);
    };
    // Where it cannot, instances start all the same, and say what does not hold them.
    let _ = scope::enter(Path::new(&folder));
    match command_of_self(supervisor).and_then(|command| revive::run(Path::new(&folder), command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &io::Error) -> ExitCode {
    eprintln!("the agent cannot work: {}", with_sources(error));
    ExitCode::FAILURE
}

fn run(folder: &Path, supervisor: &[&str], scope: Result<(), String>) -> io::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let folder = HostFolder::open(folder)?;
    let mut state = State::New(New { folder, supervisor: command_of_self(supervisor)?, scope });
    let ended = runtime.block_on(async {
        let streams = tokio::io::join(tokio::io::stdin(), tokio::io::stdout());
        serve(streams, &mut state).await
    });
    if let Err(error) = ended {
        failed(&error);
    }
    // Ended while the folder is held: what is still at work on threads does not meet the next agent. The standard input is read by a
    // thread that nothing ends.
    std::process::exit(0)
}

fn command_of_self(supervisor: &[&str]) -> io::Result<SupervisorCommand> {
    let program = std::env::current_exe()?.into_os_string();
    Ok(SupervisorCommand(std::iter::once(program).chain(supervisor.iter().map(OsString::from)).collect()))
}

/// Serves one connection.
///
/// # Errors
/// When the connection breaks off, or the first request is no greeting that is taken.
async fn serve<S>(streams: S, state: &mut State) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(wire::STREAM_WINDOW).initial_connection_window_size(wire::CONNECTION_WINDOW);
    builder.max_concurrent_streams(wire::MAX_STREAMS);
    let mut connection =
        builder.handshake::<_, Bytes>(wire::Heard::new(streams)).await.map_err(wire::as_io)?;
    let mut answering = JoinSet::new();
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(wire::as_io)?;
        while answering.try_join_next().is_some() {}
        match state {
            State::New(new) if request.uri().path() == "/look" => {
                answering.spawn(look(new.clone(), request, respond));
            }
            State::New(new) => {
                let greeting = greet(request, respond, new.clone());
                // The connection is driven while the driver opens.
                *state = State::Greeted(Arc::new(drive(&mut connection, greeting).await?));
            }
            State::Greeted(answers) => {
                answering.spawn(Arc::clone(answers).answer(request, respond));
            }
        }
    }
    Ok(())
}

enum State {
    New(New),
    Greeted(Arc<Answers>),
}

/// What an agent has before it is greeted.
#[derive(Clone)]
struct New {
    folder: HostFolder,
    supervisor: SupervisorCommand,
    /// Why it has no part of the control groups, where that is so.
    scope: Result<(), String>,
}

/// Answers what the host is like.
async fn look(new: New, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let wanted = wire::read::<LookRequest>(request.into_body()).await;
    let looked = match wanted {
        Ok(LookRequest { ports, address }) => {
            spawn_blocking(move || facts::look(&new.folder, ports, address, &new.scope)).await
        }
        Err(error) => Ok(Err(error)),
    };
    let replied = match looked.map_err(io::Error::other).flatten() {
        Ok(looked) => reply(&mut respond, StatusCode::OK, &looked),
        Err(error) => reply(&mut respond, StatusCode::FORBIDDEN, &Refusal::of(&error)),
    };
    if let Err(error) = replied {
        tracing::debug!(%error, "what the host is like was not answered");
    }
}

type ServerConnection<S> = h2::server::Connection<S, Bytes>;

/// Drives a connection until something is done; who asks meanwhile is refused.
async fn drive<S, T>(
    connection: &mut ServerConnection<S>,
    done: impl Future<Output = io::Result<T>>,
) -> io::Result<T>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::pin!(done);
    loop {
        tokio::select! {
            result = &mut done => return result,
            accepted = connection.accept() => match accepted {
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
                Some(accepted) => {
                    let (_, mut respond) = accepted.map_err(wire::as_io)?;
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                }
            },
        }
    }
}

/// Takes the lease, ends the agent before, and opens the driver. A greeting that is refused is answered and ends the connection.
async fn greet(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    new: New,
) -> io::Result<Answers> {
    match begin(request, new).await {
        Ok((welcome, answers)) => {
            reply(&mut respond, StatusCode::OK, &welcome)?;
            Ok(answers)
        }
        Err(refused) => {
            reply(&mut respond, StatusCode::FORBIDDEN, &refused)?;
            // The connection stays until the server has read this, and goes.
            std::future::pending().await
        }
    }
}

async fn begin(request: Request<RecvStream>, new: New) -> Result<(Welcome, Answers), Refusal> {
    let New { folder, supervisor, scope } = new;
    let hello: Hello = wire::read(request.into_body()).await.map_err(|error| Refusal::of(&error))?;
    if hello.protocol != PROTOCOL {
        let text = format!("the server speaks protocol {}, and this agent {PROTOCOL}", hello.protocol);
        return Err(Refusal::because(text));
    }
    // Looked at first, so that nobody is ended for one who has no right to it.
    lease::look(folder.path(), &hello.claim).map_err(|error| Refusal::of(&error))?;
    let alone = folder.alone(&hello.claim).await.map_err(|error| Refusal::of(&error))?;
    let lease = lease::take(folder.path(), &hello.claim).map_err(|error| Refusal::of(&error))?;
    let mut options = LocalDriverOptions::new(supervisor);
    options.hidden = Some(folder.path().to_owned());
    options.log = hello.options.log;
    programs::open_for_services();
    let driver = LocalDriver::open_with(&folder.runtime(), options).await;
    let driver = driver.map_err(|error| Refusal::of(&error))?;
    let (path, wanted) = (folder.path().to_owned(), hello.options.starts_at_boot);
    let boot = spawn_blocking(move || {
        // Written first: what it names is never a program that went.
        let why = boot::prepare(&path, wanted);
        programs::clean(&path);
        why
    });
    let not_after_boot = boot.await.unwrap_or_else(|error| Some(error.to_string()));
    let means = facts::explained(driver.means(), &scope);
    let facts = facts::of(&folder, driver.unprotected(), not_after_boot, means);
    let incoming = Incoming::at(folder.incoming());
    let path = folder.path().to_owned();
    let answers = Answers { driver, folder: path, incoming, way: Way::open(folder).await, _alone: alone };
    Ok((Welcome { protocol: PROTOCOL, lease, facts }, answers))
}

/// Answers with a message.
fn reply<T: serde::Serialize>(
    respond: &mut SendResponse<Bytes>,
    status: StatusCode,
    value: &T,
) -> io::Result<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    let mut body = respond.send_response(response, false).map_err(wire::as_io)?;
    body.send_data(wire::message(value)?, true).map_err(wire::as_io)
}

/// Where a program of some arguments is an agent, for tests.
#[must_use]
pub fn arguments(digest: &str, folder: &Path) -> [OsString; 3] {
    [WORD.into(), digest.into(), PathBuf::from(folder).into()]
}
