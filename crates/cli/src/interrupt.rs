//! Ctrl-C while a command waits: say what goes on without it, then end.

use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::failure::Failure;

/// From now on Ctrl-C runs `last_words` and ends the process with [`Exit::Interrupted`].
pub(crate) fn on_ctrl_c(last_words: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let fail = |error: std::io::Error| {
        Failure::new(Exit::Internal, "the system gives no thread or signal handler").caused_by(&error)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(fail)?;
    // Registered before this returns, so that no signal after it is missed.
    let mut interrupts = {
        let _runtime = runtime.enter();
        signal(SignalKind::interrupt()).map_err(fail)?
    };
    let wait = move || {
        if runtime.block_on(interrupts.recv()).is_some() {
            last_words();
            std::process::exit(Exit::Interrupted.code().into());
        }
    };
    thread::Builder::new().name("ctrl-c".into()).spawn(wait).map(drop).map_err(fail)
}
