//! What services that somebody else runs say of their version: asked through their relays, kept in memory, and recorded when it is new.
//!
//! Invariant: nothing waits for the other side but the asking itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep_api::types::{ExternalStatus, OtherVersion, SaidChange};
use lockstep_domain::external::VersionQuestion;
use lockstep_domain::said_version::{self, as_number, changes_by_itself, means};
use lockstep_domain::service::Version;
use lockstep_domain::{Arm, Environment, EnvironmentName, ServiceName, VersionRef, World};
use lockstep_runtime::relayed;

use crate::{Control, lock, ourselves};

/// How often it is looked whom to ask.
const PAUSE: Duration = Duration::from_secs(1);
/// So often the same must be said before it is believed: behind one address may be several servers that are changed one by one.
const BELIEVED_AFTER: u32 = 2;

/// What was heard of each service of an environment.
#[derive(Debug, Default)]
pub(crate) struct SaidVersions(Mutex<BTreeMap<(EnvironmentName, ServiceName), Heard>>);

#[derive(Debug)]
struct Heard {
    arm: Arm,
    asked: Instant,
    /// One that hangs is not asked again meanwhile.
    is_asked: bool,
    answer: Option<Result<String, String>>,
    in_a_row: u32,
}

/// Whom to ask, and how.
struct Question {
    environment: EnvironmentName,
    arm: Arm,
    port: u16,
    question: VersionQuestion,
    interval: Duration,
    timeout: Duration,
}

impl SaidVersions {
    /// Notes that a service is asked now; `false` where it is too early for that.
    fn begin(&self, question: &Question) -> bool {
        let mut all = lock(&self.0);
        let key = (question.environment.clone(), question.arm.service.clone());
        match all.get_mut(&key).filter(|heard| heard.arm == question.arm) {
            Some(heard) if heard.is_asked || heard.asked.elapsed() < question.interval => false,
            Some(heard) => {
                (heard.is_asked, heard.asked) = (true, Instant::now());
                true
            }
            None => {
                let arm = question.arm.clone();
                let heard = Heard { arm, asked: Instant::now(), is_asked: true, answer: None, in_a_row: 0 };
                all.insert(key, heard);
                true
            }
        }
    }

    /// Notes an answer; tells whether it is to be believed.
    fn end(&self, question: &Question, answer: &Result<String, String>) -> bool {
        let mut all = lock(&self.0);
        let key = (question.environment.clone(), question.arm.service.clone());
        let Some(heard) = all.get_mut(&key).filter(|heard| heard.arm == question.arm) else { return false };
        let is_same = heard.answer.as_ref() == Some(answer);
        heard.in_a_row = if is_same { heard.in_a_row.saturating_add(1) } else { 1 };
        heard.answer = Some(answer.clone());
        heard.is_asked = false;
        heard.in_a_row >= BELIEVED_AFTER
    }

    /// Returns what was answered last.
    fn answer(&self, environment: &EnvironmentName, arm: &Arm) -> Option<Result<String, String>> {
        let all = lock(&self.0);
        let heard = all.get(&(environment.clone(), arm.service.clone()))?;
        heard.answer.clone().filter(|_| heard.arm == *arm)
    }
}

impl Control {
    /// Asks services that somebody else runs for their versions, again and again.
    pub(crate) async fn listen_for_versions(self: Arc<Self>) {
        loop {
            for question in self.questions().into_iter().filter(|it| self.said_versions.begin(it)) {
                let control = Arc::clone(&self);
                self.spawn(async move { control.ask_version(question).await });
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    fn questions(&self) -> Vec<Question> {
        let world = self.ledger.world();
        let asked = |environment: &Environment, version: &Version, arm: Arm| {
            let question = version.run.external.as_ref()?.version.clone()?;
            let instances = self.instances_of(&world, &environment.name);
            let healthy = instances.into_iter().find(|it| it.arm == arm && it.state.is_healthy())?;
            let health = &version.run.health;
            Some(Question {
                environment: environment.name.clone(),
                port: healthy.address?.port(),
                arm,
                question,
                interval: Duration::from_millis(health.interval_ms),
                timeout: Duration::from_millis(health.timeout_ms),
            })
        };
        let of = |environment: &Environment| {
            let live = environment.entries().iter();
            let live = live.filter_map(|(service, entry)| {
                asked(environment, world.find_version(service, &entry.version)?, entry.arm(service))
            });
            live.collect::<Vec<_>>()
        };
        world.environments.values().flat_map(|environment| of(environment)).collect()
    }

    async fn ask_version(&self, question: Question) {
        let (port, timeout) = (question.port, question.timeout);
        let VersionQuestion { path, field } = question.question.clone();
        let asked = move || {
            let answer = relayed::text(port, &path, timeout)?;
            said_version::read(&answer, field.as_deref())
                .map_err(|why| format!("what GET {path} was answered with: {why}"))
        };
        let answer = tokio::task::spawn_blocking(asked).await;
        let answer = answer.unwrap_or_else(|error| Err(format!("it could not be asked: {error}")));
        let believed = self.said_versions.end(&question, &answer);
        if let (true, Ok(said)) = (believed, answer) {
            self.hear(&question, &said);
        }
    }

    /// Records what the other side says, where that is new.
    fn hear(&self, question: &Question, said: &str) {
        let Question { environment, arm, .. } = question;
        let news = |world: &World, now| {
            let environment = world.environment(environment)?;
            let is_live =
                environment.entries().get(&arm.service).is_some_and(|it| it.arm(&arm.service) == *arm);
            if is_live { said_version::due(environment, arm, said, now) } else { None }
        };
        let (now, world) = self.ledger.look();
        if news(&world, now).is_none() {
            return;
        }
        let recorded = tokio::task::block_in_place(|| {
            self.ledger.commit(&ourselves(), |world, now| Ok((news(world, now).into_iter().collect(), ())))
        });
        // It is said again soon.
        if let Err(problem) = recorded {
            tracing::warn!(%environment, %arm, %problem, "what a service says of its version cannot be recorded");
        }
    }

    /// Says where a service is that somebody else runs, and which version it is.
    pub(crate) fn external_status(
        &self,
        world: &World,
        environment: &Environment,
        service: &ServiceName,
    ) -> Option<ExternalStatus> {
        let arm = environment.entries().get(service)?.arm(service);
        let external = world.version(&arm.version_ref())?.run.external.as_ref()?;
        let version = match external.version {
            None => OtherVersion::Told,
            Some(_) => self.asked(world, environment, &arm),
        };
        Some(ExternalStatus { address: external.address.clone(), version })
    }

    fn asked(&self, world: &World, environment: &Environment, arm: &Arm) -> OtherVersion {
        let known = environment.said.get(&arm.service).and_then(|known| known.last());
        let known = known.filter(|known| known.arm == *arm);
        let (heard, problem) = match self.said_versions.answer(&environment.name, arm) {
            Some(Ok(said)) => (Some(said), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let says = heard.or_else(|| known.map(|known| known.said.clone()));
        let since = known.filter(|known| Some(&known.said) == says.as_ref()).map(|known| known.at);
        let differs = says.as_ref().filter(|said| !means(said, &arm.version));
        let hint = differs.map(|said| next(world, environment, arm, said));
        OtherVersion::Asked { says, since, problem, differs: hint.is_some(), hint }
    }

    /// Lists what services that somebody else runs came to say without a change here, the oldest first.
    pub(crate) fn said_changes(environment: &Environment) -> Vec<SaidChange> {
        let of = |(service, known)| {
            let service: &ServiceName = service;
            changes_by_itself(known).into_iter().map(|(before, after)| SaidChange {
                service: service.clone(),
                runs: after.arm.version.clone(),
                before: before.said.clone(),
                says: after.said.clone(),
                at: after.at,
            })
        };
        let mut all: Vec<_> = environment.said.iter().flat_map(of).collect();
        all.sort_by_key(|change| change.at);
        all
    }
}

/// The commands that bring what runs here in line with what the other side says.
fn next(world: &World, environment: &Environment, arm: &Arm, said: &str) -> String {
    let Arm { service, .. } = arm;
    let Some(number) = as_number(said) else { return format!("lockstep show {service}") };
    let version = VersionRef { service: service.clone(), version: number };
    let deploy = format!("lockstep deploy {version} --env {}", environment.name);
    match world.version(&version) {
        Some(_) => deploy,
        None => format!("lockstep release {service} --version {} && {deploy}", version.version),
    }
}
