//! What instances write while somebody looks on, also those that start meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lockstep_api::types::LogEntry;
use lockstep_domain::{Instance, InstanceId, Timestamp};
use lockstep_runtime::{Follow, LogLines};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Wanted;
use super::newest::Last;
use crate::Control;

/// How often it is looked whether there are new instances.
const LOOK: Duration = Duration::from_secs(1);
/// Most logs that are followed for one reader.
const MAX_FOLLOWED: usize = 1_000;

/// Follows logs for one reader.
pub(crate) struct Follower {
    pub(crate) control: Arc<Control>,
    pub(crate) wanted: Wanted,
    /// How far logs were read that had wanted lines.
    pub(crate) seen: BTreeMap<InstanceId, Last>,
    /// What is older in the others was looked at.
    pub(crate) began: Timestamp,
    pub(crate) sender: Sender<LogEntry>,
    /// Whether logs of instances that have ended are read as well, once.
    pub(crate) ended: bool,
}

impl Follower {
    /// Sends what is written from now on until the reader leaves or the server stops.
    pub(crate) async fn run(mut self) {
        let (mut followed, mut readers) = (BTreeSet::new(), JoinSet::new());
        let mut read_whole = BTreeSet::new();
        let mut unseen = Timestamp(self.began.0.saturating_sub(1));
        loop {
            for instance in self.unfollowed(&followed, &mut read_whole) {
                followed.insert(instance.id.clone());
                if instance.state.is_over() {
                    read_whole.insert(instance.id.clone());
                }
                let from = self.seen.get(&instance.id).copied().unwrap_or((unseen, 0));
                let (control, wanted) = (Arc::clone(&self.control), self.wanted.clone());
                let sender = self.sender.clone();
                readers.spawn(async move {
                    let id = instance.id.clone();
                    (id, read(control, wanted, instance, from, sender).await)
                });
            }
            // One whose log broke off is followed anew, as long as it runs.
            while let Some(ended) = readers.try_join_next() {
                if let Ok((id, last)) = ended {
                    followed.remove(&id);
                    self.seen.insert(id, last);
                }
            }
            // Of one that starts later everything is new.
            unseen = Timestamp(0);
            tokio::select! {
                () = self.sender.closed() => return,
                () = self.control.stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Returns instances whose logs are to be followed and are not. `read_whole` has those that had ended when their log was read.
    fn unfollowed(
        &self,
        followed: &BTreeSet<InstanceId>,
        read_whole: &mut BTreeSet<InstanceId>,
    ) -> Vec<Instance> {
        let present = self.control.ledger.world().as_named_now(self.control.known_instances());
        let ids: BTreeSet<_> = present.iter().map(|it| &it.id).collect();
        read_whole.retain(|id| ids.contains(id));
        let is_wanted = |it: &Instance| match it.state.is_over() {
            true => self.ended && !read_whole.contains(&it.id),
            false => true,
        };
        let present = present.iter().filter(|it| self.wanted.takes_instance(it) && is_wanted(it));
        let room = MAX_FOLLOWED.saturating_sub(followed.len());
        present.filter(|it| !followed.contains(&it.id)).take(room).cloned().collect()
    }
}

/// Follows one log until it ends or breaks off; returns how far it came.
async fn read(
    control: Arc<Control>,
    wanted: Wanted,
    instance: Instance,
    from: Last,
    sender: Sender<LogEntry>,
) -> Last {
    let mut last = from;
    if let Ok(log) = control.log_of(&instance, Follow::Yes).await
        && let Err(error) = send(log, &wanted, &instance, &mut last, &sender).await
    {
        tracing::debug!(instance = %instance.id, %error, "a log broke off");
    }
    last
}

async fn send(
    mut log: Box<dyn LogLines>,
    wanted: &Wanted,
    instance: &Instance,
    last: &mut Last,
    sender: &Sender<LogEntry>,
) -> io::Result<()> {
    let (at, mut seen) = *last;
    while let Some(line) = log.next_line().await? {
        let Some(entry) = wanted.entry(instance, &line).filter(|entry| entry.at >= at) else { continue };
        if entry.at == at && seen > 0 {
            seen -= 1;
            continue;
        }
        *last = if entry.at == last.0 { (entry.at, last.1 + 1) } else { (entry.at, 1) };
        if sender.send(entry).await.is_err() {
            break;
        }
    }
    Ok(())
}
