//! Serves the files of a version: the program that instances of a static service run.
//!
//! What is at a path, its type and its ranges are the business of `tower-http`. What is added here is what only we know: the tag of an
//! answer is that of the artifact and its configuration, because all files of an artifact are of one time and a time would call a changed
//! file unchanged; and how long an answer may be kept.

mod answer;
mod site;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub use self::site::Site;

/// The argument that makes the program of Lockstep this one.
pub const WORD: &str = "site";

/// Serves what the only argument says, on `HOST` and `PORT`, until it is told to end.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let site = arguments.next().ok_or_else(|| io::Error::other("what is served is not said"));
    match site.and_then(|text| Site::read(&text)).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the files cannot be served: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(site: Site) -> io::Result<()> {
    let address = address()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        let mut ends = signal(SignalKind::terminate())?;
        println!("{site} is served on {address}");
        let told = async move {
            ends.recv().await;
        };
        axum::serve(listener, router(site)).with_graceful_shutdown(told).await
    })
}

/// Makes what answers requests.
pub fn router(site: Site) -> Router {
    Router::new().fallback(answer::answer).with_state(Arc::new(site))
}

fn address() -> io::Result<SocketAddr> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|error| io::Error::other(format!("the variable {name}: {error}")))
    };
    let text = format!("{}:{}", variable("HOST")?, variable("PORT")?);
    text.parse().map_err(|error| io::Error::other(format!("`{text}` is no address: {error}")))
}
