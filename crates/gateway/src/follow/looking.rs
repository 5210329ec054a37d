//! When is looked again whether a gateway has what its table names, and what is said meanwhile.

use std::time::Duration;

use lockstep_domain::EnvironmentName;

/// How often is looked whether the table names others.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The pause after something that was not to be had; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pauses between looks, and what is wrong.
#[derive(Debug)]
pub(super) struct Looking<'a> {
    environment: &'a EnvironmentName,
    /// What it means that something is missing.
    means: &'static str,
    pause: Duration,
    said: String,
}

impl<'a> Looking<'a> {
    pub(super) fn new(environment: &'a EnvironmentName, means: &'static str) -> Self {
        Self { environment, means, pause: FIRST_PAUSE, said: String::new() }
    }

    /// Waits until it is time to look again; what is wrong is said once.
    pub(super) async fn rest(&mut self, looked: Result<(), String>) {
        let Err(why) = looked else {
            (self.pause, self.said) = (FIRST_PAUSE, String::new());
            return tokio::time::sleep(LOOK_EVERY).await;
        };
        if self.said != why {
            tracing::error!(environment = %self.environment, why, "{}", self.means);
        }
        self.said = why;
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
