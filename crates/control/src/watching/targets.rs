//! Whom to tell: targets as people set them. Their secrets are in the secret store, and their names in the journal.

use lockstep_api::types::{GivenUpNotice, RemoveWatching, SetTarget, TakesNotices, TargetView, TestedTarget};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::watching::{KeptWatching, WatchingKind};
use lockstep_domain::{Actor, Event, Timestamp, WatchingName, World};
use lockstep_monitor::target::{Reader, Takes};
use lockstep_monitor::{Notice, NoticeKind, Severity, target};
use lockstep_notify::{Kind, Sender, Target, check, limits};
use serde::{Deserialize, Serialize};

use crate::random::random_hex;
use crate::{Control, internal, lock, not_found};

/// Most targets, silences or rules: more are a mistake.
pub(super) const MAX_OF_A_KIND: usize = 200;
/// Longest text of one.
const MAX_SETTINGS: usize = 64 * 1024;
/// A minute, in which a target takes so many.
const MINUTE_MS: u64 = 60_000;
const SECOND_MS: u64 = 1_000;

/// A target as it is kept: how it is reached, with the names of its secrets, and what it takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TargetSettings {
    pub(super) way: Target,
    #[serde(default)]
    pub(super) takes: Takes,
}

impl TargetSettings {
    /// Reads what is kept; nothing where an older release does not understand it.
    pub(super) fn read(kept: &KeptWatching) -> Option<Self> {
        serde_json::from_str(&kept.settings).ok()
    }

    /// What monitoring knows of it. One that is called as an owner of services, and of which nothing else is said, is told of these.
    pub(super) fn target(&self, name: &WatchingName, is_owner: bool) -> target::Target {
        let mut takes = self.takes.clone();
        if is_owner && takes == Takes::default() {
            takes.owners = vec![name.to_string()];
        }
        let kind = self.way.kind();
        target::Target {
            name: name.to_string(),
            reader: reader(kind),
            takes,
            limit_per_minute: per_minute(kind),
            limit_per_second: per_second(kind),
        }
    }
}

const fn reader(kind: Kind) -> Reader {
    match kind {
        Kind::Pagerduty | Kind::Alertmanager | Kind::Webhook => Reader::Program,
        _ => Reader::Person,
    }
}

/// The strictest of a target's limits, for a minute.
fn per_minute(kind: Kind) -> u32 {
    let rates = limits(kind).rates.iter();
    let a_minute = rates.map(|rate| u64::from(rate.count) * MINUTE_MS / rate.window_ms.max(1));
    u32::try_from(a_minute.min().unwrap_or(MINUTE_MS).max(1)).unwrap_or(u32::MAX)
}

/// Its limit for a second, where it has one.
fn per_second(kind: Kind) -> Option<u32> {
    limits(kind).rates.iter().find(|rate| rate.window_ms == SECOND_MS).map(|rate| rate.count)
}

impl Control {
    /// Lists targets, without their secrets.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetView> {
        let world = self.ledger.world();
        world.watching.targets.iter().map(|(name, kept)| self.target_view(name, kept)).collect()
    }

    /// Sets a target. Its secrets are kept before it is recorded.
    ///
    /// # Errors
    /// With all that is wrong with it.
    pub fn set_target(&self, actor: &Actor, request: SetTarget) -> Result<TargetView, Problem> {
        let SetTarget { name, target, takes, reason } = request;
        let mut way: Target =
            serde_json::from_value(target).map_err(|error| invalid(&[error.to_string()]))?;
        // Whoever could name a secret of the store would have it sent to where they like.
        if way.clone().with_secrets(|_| None).is_err() {
            return Err(invalid(&["a secret is given itself, and not by a name".to_owned()]));
        }
        let faults: Vec<String> = check(&way).faults.iter().map(ToString::to_string).collect();
        let takes = takes_of(&takes).map_err(|why| invalid(&[why]))?;
        if !faults.is_empty() {
            return Err(invalid(&faults));
        }
        way.keep_secrets(|_, value| self.secrets.put(value)).map_err(internal)?;
        let settings = TargetSettings { way, takes };
        let text = serde_json::to_string(&settings).map_err(internal)?;
        match self.set_watching(actor, WatchingKind::Target, &name, &text, &reason) {
            Ok(before) => {
                self.forget_secrets(before.as_deref().and_then(TargetSettings::read));
                self.release_target(&name);
            }
            Err(problem) => {
                self.forget_secrets(Some(settings));
                return Err(problem);
            }
        }
        let world = self.ledger.world();
        let kept = find(&world, WatchingKind::Target, &name)?;
        Ok(self.target_view(&name, kept))
    }

    /// Tells a target no more.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn remove_target(
        &self,
        actor: &Actor,
        name: &WatchingName,
        request: &RemoveWatching,
    ) -> Result<Vec<TargetView>, Problem> {
        let before = self.remove_watching(actor, WatchingKind::Target, name, &request.reason)?;
        self.forget_secrets(TargetSettings::read(&before));
        Ok(self.targets())
    }

    /// Sends a notice to a target, to see whether it arrives: at once, past what waits.
    ///
    /// # Errors
    /// When there is none of that name.
    pub async fn test_target(&self, name: &WatchingName) -> Result<TestedTarget, Problem> {
        let (now, world) = self.ledger.look();
        let kept = find(&world, WatchingKind::Target, name)?;
        let settings = TargetSettings::read(kept)
            .ok_or_else(|| Problem::new(ErrorCode::Refused, "a newer release of Lockstep set this target"))?;
        let target = match self.with_secrets(settings.way) {
            Ok(target) => target,
            Err(what) => return Ok(TestedTarget { sent: false, what }),
        };
        let id = random_hex(8).map_err(internal)?;
        let outcome = Sender::new().send(&test_notice(id, now), &target, now.0).await;
        if outcome.is_sent() {
            tokio::task::block_in_place(|| self.release_target(name));
        }
        Ok(TestedTarget { sent: outcome.is_sent(), what: outcome.to_string() })
    }

    /// Sends what waits for a target that was mended.
    fn release_target(&self, name: &WatchingName) {
        self.watching.change(|known| {
            known.state.outbox.release(name.as_str());
            ((), true)
        });
        self.watching.wake.notify_one();
    }

    /// Puts the secrets of a target where their names stand.
    pub(super) fn with_secrets(&self, target: Target) -> Result<Target, String> {
        let target = target.with_secrets(|name| self.secrets.get(name).ok());
        target.map_err(|missing| missing.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    /// Removes the secrets of what holds no more; those that cannot be removed stay, and nothing names them.
    fn forget_secrets(&self, settings: Option<TargetSettings>) {
        let Some(settings) = settings else { return };
        let named = std::cell::RefCell::new(Vec::new());
        let _ = settings.way.with_secrets(|name| {
            named.borrow_mut().push(name.to_owned());
            Some(String::new())
        });
        for name in named.into_inner() {
            if let Err(error) = self.secrets.remove(&name) {
                tracing::warn!(%error, "a secret that nothing names could not be removed");
            }
        }
    }

    fn target_view(&self, name: &WatchingName, kept: &KeptWatching) -> TargetView {
        let settings = TargetSettings::read(kept);
        let known = lock(&self.watching.known);
        let outbox = &known.state.outbox;
        let sending = outbox.sending(name.as_str());
        let given_up = outbox.given_up().iter().filter(|it| it.target == name.as_str());
        TargetView {
            name: name.clone(),
            kind: settings.as_ref().map(|it| it.way.kind().to_string()).unwrap_or_default(),
            takes: settings.as_ref().map(|it| said(&it.takes)).unwrap_or_default(),
            by: kept.by.clone(),
            at: kept.at,
            warnings: settings
                .map(|it| check(&it.way).warnings.iter().map(ToString::to_string).collect())
                .unwrap_or_default(),
            waiting: outbox.entries().filter(|(_, entry)| entry.target == name.as_str()).count(),
            error: sending.and_then(|it| it.error.clone()),
            last_sent: sending.and_then(|it| it.sent_ms).map(Timestamp),
            given_up: given_up
                .map(|it| GivenUpNotice {
                    title: it.title.clone(),
                    at: Timestamp(it.at_ms),
                    why: it.why.clone(),
                })
                .collect(),
        }
    }

    /// Records that something was decided; returns what it replaces.
    pub(super) fn set_watching(
        &self,
        actor: &Actor,
        what: WatchingKind,
        name: &WatchingName,
        settings: &str,
        reason: &str,
    ) -> Result<Option<std::sync::Arc<KeptWatching>>, Problem> {
        let before = self.set_all_watching(actor, what, &[(name.clone(), settings.to_owned())], reason)?;
        Ok(before.into_iter().next().flatten())
    }

    /// Records that several things of a kind were decided, all or none; returns what each replaces.
    pub(super) fn set_all_watching(
        &self,
        actor: &Actor,
        what: WatchingKind,
        settings: &[(WatchingName, String)],
        reason: &str,
    ) -> Result<Vec<Option<std::sync::Arc<KeptWatching>>>, Problem> {
        if let Some((name, _)) = settings.iter().find(|(_, settings)| settings.len() > MAX_SETTINGS) {
            return Err(invalid(&[format!("`{name}` is longer than {MAX_SETTINGS} bytes")]));
        }
        let before = tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let all = world.watching.of(what);
                let new = settings.iter().filter(|(name, _)| !all.contains_key(name)).count();
                if new > 0 && all.len() + new > MAX_OF_A_KIND {
                    let detail = format!(
                        "at most {MAX_OF_A_KIND} {}s are kept, and there are {}",
                        what.word(),
                        all.len()
                    );
                    return Err(Problem::new(ErrorCode::Refused, detail));
                }
                let set = settings.iter().map(|(name, settings)| Event::WatchingSet {
                    what,
                    name: name.clone(),
                    settings: settings.clone(),
                    reason: reason.to_owned(),
                });
                let before = settings.iter().map(|(name, _)| all.get(name).cloned()).collect();
                Ok((set.collect(), before))
            })
        });
        self.watching.wake.notify_one();
        before
    }

    /// Records that something holds no more; returns what held.
    pub(super) fn remove_watching(
        &self,
        actor: &Actor,
        what: WatchingKind,
        name: &WatchingName,
        reason: &str,
    ) -> Result<std::sync::Arc<KeptWatching>, Problem> {
        let before = tokio::task::block_in_place(|| {
            self.ledger.commit(actor, |world, _| {
                let before = find(world, what, name)?.clone();
                let removed = Event::WatchingRemoved { what, name: name.clone(), reason: reason.to_owned() };
                Ok((vec![removed], before))
            })
        });
        self.watching.wake.notify_one();
        before
    }
}

fn find<'a>(
    world: &'a World,
    what: WatchingKind,
    name: &WatchingName,
) -> Result<&'a std::sync::Arc<KeptWatching>, Problem> {
    let hint = match what {
        WatchingKind::Target => "lockstep notify list",
        WatchingKind::Silence => "lockstep silence list",
        WatchingKind::Rule => "lockstep alerts rules",
    };
    let missing = || not_found(format!("there is no {} `{name}`", what.word()), hint);
    world.watching.of(what).get(name).ok_or_else(missing)
}

fn invalid(what: &[String]) -> Problem {
    Problem::new(ErrorCode::BadRequest, what.join("; "))
}

fn takes_of(takes: &TakesNotices) -> Result<Takes, String> {
    let at_least = takes.at_least.as_ref().map(|word| severity(word)).transpose()?;
    let TakesNotices { environment, service, owners, .. } = takes.clone();
    Ok(Takes { environment, service, owners, at_least })
}

fn severity(word: &str) -> Result<Severity, String> {
    serde_json::from_value(word.into()).map_err(|_| format!("`{word}` is none of info, warning and critical"))
}

fn said(takes: &Takes) -> TakesNotices {
    let Takes { environment, service, owners, at_least } = takes.clone();
    TakesNotices { environment, service, owners, at_least: at_least.map(|severity| severity.to_string()) }
}

fn test_notice(id: String, now: Timestamp) -> Notice {
    Notice {
        group: format!("test-{id}"),
        id,
        at_ms: now.0,
        kind: NoticeKind::Test,
        severity: Severity::Info,
        environment: None,
        service: None,
        title: "A test of Lockstep: alerts arrive here".to_owned(),
        alerts: Vec::new(),
        more: 0,
        change: None,
        owners: Vec::new(),
        link: None,
    }
}
