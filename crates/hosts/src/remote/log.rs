//! A log that is read from another host.

use std::io;

use lockstep_runtime::{Answer, LogLines};

use crate::wire::Lines;

/// The lines of a log on another host.
#[derive(Debug)]
pub(super) struct RemoteLog(pub(super) Lines);

impl LogLines for RemoteLog {
    fn next_line(&mut self) -> Answer<'_, io::Result<Option<String>>> {
        Box::pin(async move {
            let line = self.0.next().await?;
            Ok(line.map(|line| String::from_utf8_lossy(&line).into_owned()))
        })
    }
}
