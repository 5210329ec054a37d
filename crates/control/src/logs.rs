//! The logs of many instances as one: of a service or of all, of those that run and of those that have ended as long as their logs are kept.
//!
//! Nothing is stored for it: the logs are where the instances are, and are read when somebody asks. What is held of them is bounded.

mod follow;
mod newest;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockstep_api::Problem;
use lockstep_api::types::{LogEntry, LogQuery};
use lockstep_domain::log_line::{LogLine, understand};
use lockstep_domain::{EnvironmentName, Instance, InstanceId, ServiceName, Timestamp, VersionNumber, World};
use lockstep_runtime::{Driver as _, Follow, LogLines};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) use self::follow::Follower;
pub(crate) use self::newest::Last;
use self::newest::Newest;
use crate::{Control, environments, internal, not_found, services};

/// How many lines are shown to whoever does not say.
const USUAL: usize = 1_000;
/// Most lines of before that are shown.
const MAX_LINES: usize = 10_000;
/// How long one log may take to be read; it is left out then, for a line that hangs.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How many logs are read at the same time.
const AT_ONCE: usize = 8;
/// Lines that may wait for a slow reader before who reads logs waits for it.
const QUEUE: usize = 64;

/// Which lines are wanted, as it can be asked of each.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    environment: EnvironmentName,
    service: Option<ServiceName>,
    version: Option<VersionNumber>,
    since: Timestamp,
    /// In small letters.
    contains: Option<String>,
    trace: Option<String>,
}

impl Wanted {
    /// Wants all lines of an environment from a time on.
    pub(crate) fn all_of(environment: EnvironmentName, since: Timestamp) -> Self {
        Self { environment, service: None, version: None, since, contains: None, trace: None }
    }

    fn takes_instance(&self, instance: &Instance) -> bool {
        instance.environment == self.environment
            && instance.resource.is_none()
            && self.service.as_ref().is_none_or(|service| *service == instance.arm.service)
            && self.version.as_ref().is_none_or(|version| *version == instance.arm.version)
    }

    /// Makes an entry of a line, where it is wanted.
    fn entry(&self, instance: &Instance, line: &str) -> Option<LogEntry> {
        let line = LogLine::read(line).filter(|line| line.at >= self.since)?;
        if !self.contains.as_ref().is_none_or(|text| line.text.to_lowercase().contains(text.as_str())) {
            return None;
        }
        let said = understand(line.text).unwrap_or_default();
        let is_of = |trace: &String| said.trace.as_ref() == Some(trace) || line.text.contains(trace.as_str());
        if !self.trace.as_ref().is_none_or(is_of) {
            return None;
        }
        Some(LogEntry {
            at: line.at,
            service: instance.arm.service.clone(),
            version: instance.arm.version.clone(),
            instance: instance.id.clone(),
            job: instance.job.clone(),
            host: instance.host.clone(),
            source: line.source.to_owned(),
            text: line.text.to_owned(),
            level: said.level,
            message: said.message,
            trace: said.trace,
        })
    }
}

impl Control {
    /// Reads lines of an environment's logs: those of before in the order of their times, then, where it is asked for, what is written.
    ///
    /// # Errors
    /// When there is no such environment or service.
    pub async fn logs(
        self: &Arc<Self>,
        environment: &EnvironmentName,
        query: &LogQuery,
    ) -> Result<Receiver<LogEntry>, Problem> {
        let (now, world) = self.ledger.look();
        let wanted = wanted(&world, environment, query, now)?;
        let mut newest = Newest::new(query.newest.unwrap_or(USUAL).min(MAX_LINES));
        let mut waiting: Vec<_> = self.with_logs(&world, &wanted).await.into_values().collect();
        let mut reading = JoinSet::new();
        loop {
            while reading.len() < AT_ONCE
                && let Some(instance) = waiting.pop()
            {
                reading.spawn(timeout(READ_WITHIN, past(Arc::clone(self), wanted.clone(), instance)));
            }
            let Some(lines) = reading.join_next().await else { break };
            lines.into_iter().flatten().flatten().for_each(|entry| newest.take(entry));
        }
        let (sender, receiver) = channel(QUEUE);
        let follower = query.follow.then(|| Follower {
            control: Arc::clone(self),
            wanted,
            seen: newest.last_of_each(),
            began: now,
            sender: sender.clone(),
            ended: false,
        });
        tokio::spawn(send(newest, follower, sender));
        Ok(receiver)
    }

    /// Returns the instances whose logs are wanted, by their ids. A host that does not say in time what has ended there says nothing of it.
    async fn with_logs(&self, world: &World, wanted: &Wanted) -> BTreeMap<InstanceId, Instance> {
        let mut all = self.driver.ended().await.unwrap_or_default();
        let asked = self.hosts.ask_all(|driver| async move { driver.ended().await }).await;
        for (name, ended) in asked {
            let of_host = |instance| Instance { host: Some(name.clone()), ..instance };
            all.extend(ended.unwrap_or_default().into_iter().map(of_host));
        }
        all.extend(self.known_instances());
        let all = world.as_named_now(all).into_iter().filter(|instance| wanted.takes_instance(instance));
        all.map(|instance| (instance.id.clone(), instance)).collect()
    }

    /// Opens the log of an instance where it is.
    async fn log_of(&self, instance: &Instance, follow: Follow) -> Result<Box<dyn LogLines>, Problem> {
        let Some(link) = instance.host.as_ref().and_then(|host| self.hosts.link(host)) else {
            return self.instance_log(&instance.environment, &instance.id, follow).await;
        };
        let log = link.driver().log(&instance.environment, &instance.id, follow).await;
        log.map_err(internal)?
            .ok_or_else(|| not_found(format!("the log of `{}` is gone", instance.id), "lockstep status"))
    }
}

/// Reads the wanted lines of one log. One that cannot be read has none: its host is away, or it is gone.
async fn past(control: Arc<Control>, wanted: Wanted, instance: Instance) -> Vec<LogEntry> {
    let Ok(mut log) = control.log_of(&instance, Follow::No).await else { return Vec::new() };
    let mut newest = Newest::new(MAX_LINES);
    while let Ok(Some(line)) = log.next_line().await {
        if let Some(entry) = wanted.entry(&instance, &line) {
            newest.take(entry);
        }
    }
    newest.into_entries()
}

async fn send(newest: Newest, follower: Option<Follower>, sender: Sender<LogEntry>) {
    for entry in newest.into_entries() {
        if sender.send(entry).await.is_err() {
            return;
        }
    }
    if let Some(follower) = follower {
        follower.run().await;
    }
}

fn wanted(
    world: &World,
    environment: &EnvironmentName,
    query: &LogQuery,
    now: Timestamp,
) -> Result<Wanted, Problem> {
    environments::find(world, environment)?;
    let service = query.service.as_ref().map(|name| services::find(world, name)).transpose()?;
    Ok(Wanted {
        environment: environment.clone(),
        service: service.map(|service| service.name.clone()),
        version: query.version.clone(),
        since: Timestamp(query.within_ms.map_or(0, |ms| now.0.saturating_sub(ms))),
        contains: query.contains.as_ref().map(|text| text.to_lowercase()),
        trace: query.trace.clone(),
    })
}
