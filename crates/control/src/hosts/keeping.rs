//! Artifacts that stay on hosts, so that going back needs neither a build nor the line to the host: those of the last baselines are there
//! before anybody asks, on every host where their instances may start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lockstep_api::types::{CollectedFolder, FolderReport, KeptFolder, Mode};
use lockstep_domain::host::{Host, Stance, artifacts};
use lockstep_domain::{Digest, World};
use lockstep_runtime::{Driver as _, RemoveError};
use tokio_util::task::AbortOnDropHandle;

use super::link::Link;
use crate::Control;

/// How often it is looked whether something is to be brought although nothing was recorded.
const LOOK: Duration = Duration::from_secs(30);

impl Control {
    /// Brings artifacts to hosts that are to have them.
    pub(crate) async fn look_after_artifacts(self: Arc<Self>) {
        let (mut changes, mut tended) = (self.hosts.changes(), BTreeMap::new());
        loop {
            changes.borrow_and_update();
            tended.retain(|_, (link, _): &mut (Arc<Link>, AbortOnDropHandle<()>)| self.is_current(link));
            for link in self.hosts.links() {
                let tend = || {
                    let task = tokio::spawn(Arc::clone(&self).tend(Arc::clone(&link)));
                    (Arc::clone(&link), AbortOnDropHandle::new(task))
                };
                tended.entry(link.name.clone()).or_insert_with(tend);
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = changes.changed() => {}
            }
        }
    }

    fn is_current(&self, link: &Arc<Link>) -> bool {
        self.hosts.link(&link.name).is_some_and(|current| Arc::ptr_eq(&current, link))
    }

    /// Brings artifacts to one host: none waits for another host, which may be slow.
    async fn tend(self: Arc<Self>, link: Arc<Link>) {
        let (mut recorded, mut changes) = (self.ledger.follow(), self.hosts.changes());
        loop {
            let world = recorded.borrow_and_update().clone();
            changes.borrow_and_update();
            self.bring_what_is_due(&world, &link).await;
            tokio::select! {
                _ = recorded.changed() => {}
                _ = changes.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Brings what a host lacks. One that cannot be brought keeps nothing else from it.
    async fn bring_what_is_due(&self, world: &World, link: &Link) {
        for digest in link.lacking(&self.wanted_on(world, link)) {
            if !link.is_here() {
                return;
            }
            let _not_removed_meanwhile = link.unpacked().read().await;
            let (place, brought) = (Some(link.name.clone()), self.bring(link, digest).await);
            let why_not = brought.as_ref().err().map(|error| error.reason().to_owned());
            self.hosts.ahead.note(place, digest, why_not);
            match brought {
                Ok(()) => link.note_artifact(digest),
                Err(error) => {
                    tracing::warn!(host = %link.name, %digest, why = error.reason(), "an artifact is not on the host");
                }
            }
        }
    }

    /// Removes artifacts from hosts that nothing needs there, or only looks.
    pub(crate) async fn collect_on_hosts(&self, mode: Mode, report: &mut FolderReport) {
        for link in self.hosts.links().into_iter().filter(|link| link.is_here()) {
            let listed = link.driver().releases().await;
            let Ok(listed) =
                listed.inspect_err(|error| tracing::warn!(host = %link.name, %error, "not collected"))
            else {
                continue;
            };
            for digest in listed {
                let name = format!("{digest} on {}", link.name);
                match self.why_kept_on(&link, &digest, mode).await {
                    None => report.goes.push(CollectedFolder { name, bytes: 0 }),
                    Some(why) => report.stays.push(KeptFolder { name, bytes: 0, reasons: vec![why] }),
                }
            }
        }
    }

    fn wanted_on(&self, world: &World, link: &Link) -> BTreeSet<Digest> {
        let host = world.hosts.get(&link.name).filter(|host| host.stance != Stance::Draining);
        let wanted = |host: &Arc<Host>| {
            let ahead = self.hosts.ahead.artifacts(&host.settings.environments);
            ahead.into_iter().chain(artifacts(world, host)).collect()
        };
        host.map(wanted).unwrap_or_default()
    }

    async fn why_kept_on(&self, link: &Link, digest: &Digest, mode: Mode) -> Option<String> {
        // It is not waited for: a line may be slow, and who waits would hold up what starts there.
        let Ok(_no_start_meanwhile) = link.unpacked().try_write() else {
            return Some("something is being sent or started there".to_owned());
        };
        let world = self.ledger.world();
        if self.wanted_on(&world, link).contains(digest) {
            return Some("a baseline that can be gone back to, or it was asked for ahead".to_owned());
        }
        if mode == Mode::DryRun {
            return None;
        }
        match link.driver().remove_release(digest).await {
            Ok(()) => {
                link.forget_artifact(digest);
                None
            }
            Err(RemoveError::ReleaseRuns { id, .. }) => Some(format!("instance {id}")),
            Err(error) => Some(error.to_string()),
        }
    }
}
