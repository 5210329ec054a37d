//! Puts instances away that have ended, as soon as nothing of them lives, and looks after what is kept of them.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use lockstep_domain::{Instance, InstanceId};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::open::read_instance;
use super::{LocalDriver, Shared};
use crate::control_group;
use crate::ended::Left;

/// Pause before another try; it doubles each time. A supervisor that has said its last word is gone in milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest such pause: a disk that fails or a process that cannot be killed may be mended at any time.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often the age of what is kept is looked at: little against a week.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

impl LocalDriver {
    /// Puts an instance away that has ended, whenever that becomes possible.
    pub(super) fn put_away_later(&self, id: InstanceId) {
        let shared = Arc::clone(&self.shared);
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.spawn(async move { shared.put_away(&id).await });
    }

    /// Keeps what is left of ended instances below its limits.
    pub(super) fn look_after_ended(&self) {
        let shared = Arc::clone(&self.shared);
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.spawn(async move {
            loop {
                sleep(LOOK_EVERY).await;
                let shared = Arc::clone(&shared);
                // A look that fails is made again.
                let _ = spawn_blocking(move || shared.ended.look_after()).await;
            }
        });
    }
}

impl Shared {
    /// Puts an instance away, and tries until that is done.
    pub(super) async fn put_away(self: &Arc<Self>, id: &InstanceId) {
        let known = self.instances.borrow().get(id).cloned();
        let (mut pause, mut said) = (FIRST_PAUSE, String::new());
        loop {
            let why = match self.try_put_away(id, known.clone()).await {
                Ok(Left::Away) => return,
                Ok(Left::Alive(why)) => why.to_owned(),
                Err(error) => error.to_string(),
            };
            // What passes at once is not worth a line.
            if pause > FIRST_PAUSE && why != said {
                tracing::warn!(instance = %id, why, "the folder of an ended instance could not be put away yet");
                said = why;
            }
            sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    async fn try_put_away(self: &Arc<Self>, id: &InstanceId, known: Option<Instance>) -> io::Result<Left> {
        let _one_at_a_time = self.putting_away.lock().await;
        let (shared, folder) = (Arc::clone(self), self.folder(id));
        let put_away = move || {
            let instance = match known {
                Some(instance) => instance,
                None if !folder.path().exists() => return Ok(Left::Away),
                None => read_instance(&folder)?.0,
            };
            let spec = folder.read_spec().ok();
            let left = shared.ended.put_away(&folder, &instance)?;
            if let (Left::Away, Some(Err(error))) = (&left, spec.map(|spec| shared.give_again(&spec))) {
                tracing::warn!(instance = %instance.id, %error, "the data of a service could not be given to its user again");
            }
            if let (Left::Away, Some(group)) = (&left, shared.groups.of(&instance.id)) {
                control_group::remove(&group);
            }
            Ok(left)
        };
        spawn_blocking(put_away).await.map_err(io::Error::other).flatten()
    }
}
