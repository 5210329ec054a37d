//! The program of the other side by itself, for tests: an agent, a supervisor, the steps between it and what it runs, and in the place of a
//! gateway what passes connections of a port on to the server.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(lockstep_hosts::agent::WORD) => lockstep_hosts::agent::main(arguments, &["supervisor"]),
        Some(lockstep_hosts::agent::REVIVE) => lockstep_hosts::agent::revive(arguments, &["supervisor"]),
        Some("supervisor") => lockstep_runtime::supervisor::main(arguments),
        Some(lockstep_confine::WORD) => lockstep_confine::main(),
        Some("gateway") => pass_on().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Some("--version") => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}

/// Passes what comes to the port of an instance on to the socket that a gateway is told.
fn pass_on() -> io::Result<()> {
    let variable = |name| std::env::var(name).map_err(io::Error::other);
    let (port, server) = (variable("PORT")?.parse().map_err(io::Error::other)?, variable("LOCKSTEP_SERVER")?);
    let socket = server.strip_prefix("unix:").ok_or_else(|| io::Error::other("it is no socket"))?.to_owned();
    for client in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let (client, socket) = (client?, socket.clone());
        thread::spawn(move || pass(&client, &socket));
    }
    Ok(())
}

/// Who says nothing, as a check of the health does, is not passed on. A client that cannot be is closed.
fn pass(client: &TcpStream, socket: &str) -> io::Result<()> {
    let mut first = [0; 16 * 1024];
    let read = (&mut &*client).read(&mut first)?;
    if read == 0 {
        return Ok(());
    }
    let server = UnixStream::connect(socket)?;
    (&server).write_all(&first[..read])?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &server);
            let _ = server.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut &server, &mut &*client);
        let _ = client.shutdown(Shutdown::Write);
    });
    Ok(())
}
