//! Exchanging the key of callers without a gap: announced to every gateway first, given to instances then; what instances
//! carry already is recognised until they end.

use std::io;
use std::time::Duration;

use lockstep_api::types::{CallersKeyView, KeysView, RotateRequest, StaleInstance};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::{Actor, Digest, EnvironmentName, Event};
use lockstep_files::whole;
use tokio::time::Instant;

use super::{Callers, Key, Keys, former_path};
use crate::secrets::MODE;
use crate::{Control, lock, storage_problem};

/// How long the gateways may take to confirm a table with the next key: they report every second.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(30);
/// How often it is looked whether they have.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Callers {
    /// Makes the next key, unless there is one already; gateways are told of it with the next table.
    pub(super) fn announce(&self) -> io::Result<()> {
        let mut keys = lock(&self.keys);
        if keys.next.is_none() {
            let changed = Keys { next: Some(Key::make()?), ..keys.clone() };
            changed.put(&self.path)?;
            *keys = changed;
        }
        Ok(())
    }

    /// Tells whether the next key is among those that the gateways of an environment know.
    pub(super) fn is_announced(&self, environment: &EnvironmentName, known: &[Digest]) -> bool {
        lock(&self.keys).next.as_ref().is_none_or(|next| known.contains(&next.digest(environment)))
    }

    /// From here on instances are given tokens of the next key.
    pub(super) fn take_next(&self) -> io::Result<()> {
        let mut keys = lock(&self.keys);
        if let Some(next) = keys.next.clone() {
            // Written first: between the two it is the one in use, which is accepted anyway.
            whole::put(&former_path(&self.path), format!("{}\n", keys.used.0).as_bytes(), MODE)?;
            *lock(&self.former) = Some(keys.used.clone());
            let changed = Keys { used: next, next: None };
            changed.put(&self.path)?;
            *keys = changed;
        }
        Ok(())
    }

    fn has_next(&self) -> bool {
        lock(&self.keys).next.is_some()
    }
}

impl Control {
    /// Exchanges the key from which the tokens of instances come. Those that run keep theirs until they end.
    ///
    /// # Errors
    /// When a gateway does not confirm the new key in time, or it cannot be written; it goes on when it is asked for again.
    pub async fn rotate_callers(&self, actor: &Actor, request: &RotateRequest) -> Result<KeysView, Problem> {
        let unwritten = |error: io::Error| storage_problem("the key of callers", &error);
        tokio::task::block_in_place(|| self.callers.announce()).map_err(unwritten)?;
        self.confirmed_everywhere().await?;
        {
            // Whoever is being started has the former token, and is seen to carry it before that goes.
            let _no_start_meanwhile = self.unpacked.write().await;
            tokio::task::block_in_place(|| {
                let rotated = Event::CallersKeyRotated { reason: request.reason.clone() };
                self.ledger.note(actor, &rotated);
                self.callers.take_next()
            })
            .map_err(unwritten)?;
        }
        self.ledger.world().environments.keys().for_each(|name| self.wake(name));
        Ok(self.keys())
    }

    /// Waits until every gateway serves a table that knows the next key.
    async fn confirmed_everywhere(&self) -> Result<(), Problem> {
        let deadline = Instant::now() + CONFIRMED_WITHIN;
        for name in self.ledger.world().environments.keys() {
            self.wake(name);
            while !self.is_confirmed(name) {
                if self.stop.is_cancelled() || Instant::now() >= deadline {
                    return Err(self.unconfirmed(name));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    fn is_confirmed(&self, name: &EnvironmentName) -> bool {
        let (now, world) = self.ledger.look();
        let tables = self.registry.tables(name);
        let is_in_table =
            || tables.borrow().as_ref().is_some_and(|table| self.callers.is_announced(name, &table.callers));
        world.environment(name).is_none() || (is_in_table() && self.registry.is_applied(name, now))
    }

    fn unconfirmed(&self, name: &EnvironmentName) -> Problem {
        let behind = self.registry.behind(name, self.ledger.now()).join(", ");
        let detail = format!(
            "the key is not exchanged: not every gateway of `{name}` serves a table that knows the next one ({behind})"
        );
        Problem::new(ErrorCode::Unavailable, detail)
            .with_hint("lockstep gateway list; then run the command again: it goes on with the same key")
    }

    /// Shows which keys there are. None of them is in it.
    #[must_use]
    pub fn keys(&self) -> KeysView {
        let world = self.ledger.world();
        let mut stale = Vec::new();
        for name in world.environments.keys() {
            let instances = self.everything_of(&world, name);
            let behind = self.callers.behind(name, &instances, |id| self.call_url_told(id));
            let of = |instance: &&lockstep_domain::Instance| behind.contains(&instance.id);
            stale.extend(instances.iter().filter(of).map(|instance| StaleInstance {
                environment: name.clone(),
                service: instance.arm.service.clone(),
                instance: instance.id.clone(),
            }));
        }
        KeysView {
            callers: CallersKeyView {
                file: self.config.folder.join("secrets/callers.key").display().to_string(),
                is_being_exchanged: self.callers.has_next(),
                stale,
            },
            journal: self.config.journal_key.path_in(&self.config.folder).display().to_string(),
            gateways: self.gateways(),
            token: self.own_token_file.get().map(|file| file.display().to_string()),
        }
    }
}
