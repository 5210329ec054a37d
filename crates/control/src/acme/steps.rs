//! Carrying out the steps of orders: one at a time for each certificate, each recorded before the next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_acme::{AcmeError, Authority, Followed, new_key};
use lockstep_api::{ErrorCode, Problem};
use lockstep_domain::acme::steps::{Step, kinds, next};
use lockstep_domain::acme::timing::Cost;
use lockstep_domain::acme::{Automatic, Order, OrderStage, Progress};
use lockstep_domain::certificate::CertificateFacts;
use lockstep_domain::{Environment, Event};
use lockstep_gateway::certificate::{ServerCertificate, bundle};

use super::errands::Whose;
use super::trust;
use crate::clock::wall;
use crate::entry::words;
use crate::{Control, ourselves, random};

/// How often it is looked whether something is due, when nothing is recorded.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a step may take: several requests, each of which has its own limit.
const LIMIT: Duration = Duration::from_secs(90);

/// What came of a step.
enum Came {
    /// The order is further.
    Further(Progress),
    /// It is under way, and is asked again later.
    Later(Option<Duration>),
    /// There is a certificate, kept under the name of a secret.
    Certificate(Box<CertificateFacts>, String),
}

/// Why a step did not come about.
enum Trouble {
    /// The authority did not do it.
    Authority(AcmeError),
    /// Something here is in the way, and the order is over.
    Here { why: String, cost: Cost },
}

impl From<AcmeError> for Trouble {
    fn from(error: AcmeError) -> Self {
        Self::Authority(error)
    }
}

impl Trouble {
    fn here(why: impl Into<String>) -> Self {
        Self::Here { why: why.into(), cost: Cost::Nothing }
    }

    /// Tells whether the same step may come about later.
    const fn is_passing(&self) -> bool {
        matches!(self, Self::Authority(error) if error.is_passing())
    }

    const fn after(&self) -> Option<Duration> {
        match self {
            Self::Authority(error) => error.after(),
            Self::Here { .. } => None,
        }
    }

    fn parts(&self) -> (String, Cost) {
        match self {
            Self::Authority(error) => (error.to_string(), Cost::Nothing),
            Self::Here { why, cost } => (why.clone(), *cost),
        }
    }
}

impl Control {
    /// Gets and renews certificates until the control closes.
    pub(crate) async fn look_after_certificates(self: Arc<Self>) {
        let mut world = self.ledger.follow();
        loop {
            world.borrow_and_update();
            self.begin_steps();
            self.remove_spent_secrets();
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = world.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn begin_steps(self: &Arc<Self>) {
        let world = self.ledger.world();
        for environment in world.environments.values().filter(|it| !it.automatic.is_empty()) {
            for (name, automatic) in &environment.automatic {
                let whose = (environment.name.clone(), name.clone());
                let shown = environment.certificates.get(name).map(|it| &it.facts);
                let confirmed = self.answers_are_confirmed(environment, automatic);
                let step = next(automatic, shown, confirmed, wall());
                let waits = matches!(step, Step::Wait { .. } | Step::AwaitGateways);
                if !waits && self.errands.begin(&whose, Instant::now()) {
                    let (control, environment) = (Arc::clone(self), Arc::clone(environment));
                    let automatic = automatic.clone();
                    self.spawn(
                        async move { control.take_step(&whose, &environment, &automatic, step).await },
                    );
                }
            }
        }
    }

    /// Tells whether every gateway that reports serves what is to be answered.
    fn answers_are_confirmed(&self, environment: &Environment, automatic: &Automatic) -> bool {
        let answers = automatic.answers();
        if answers.is_empty() {
            return false;
        }
        let table = self.registry.tables(&environment.name).borrow().clone();
        let served = table.and_then(|table| table.entry).map(|entry| entry.challenges).unwrap_or_default();
        let all = answers.iter().all(|answer| served.contains(answer));
        all && self.registry.is_applied(&environment.name, self.ledger.now())
    }

    async fn take_step(&self, whose: &Whose, environment: &Environment, automatic: &Automatic, step: Step) {
        // What an earlier step recorded before it ended may be newer than what was looked at: it would be done twice.
        if !self.is_as_looked_at(whose, automatic) {
            return self.errands.end(whose);
        }
        let carried = self.carry_out(environment, automatic, &step);
        let came = tokio::time::timeout(LIMIT, carried).await.unwrap_or_else(|_| {
            let why = format!("the authority took more than {} s", LIMIT.as_secs());
            Err(Trouble::Authority(AcmeError::Later { why, after: None }))
        });
        let events = match came {
            Ok(Came::Later(after)) => return self.errands.pause(whose, after, Instant::now()),
            Ok(Came::Further(progress)) => vec![progressed(whose, progress)],
            Ok(Came::Certificate(facts, secret)) => got(whose, facts, secret),
            Err(trouble) if trouble.is_passing() && automatic.progress.order.is_some() => {
                let (environment, certificate) = whose;
                tracing::warn!(%environment, %certificate, why = trouble.parts().0, "an order comes no further for now");
                return self.errands.pause(whose, trouble.after(), Instant::now());
            }
            Err(trouble) => vec![progressed(whose, failed(whose, &automatic.progress, &trouble))],
        };
        self.record_step(whose, automatic, &events);
    }

    fn is_as_looked_at(&self, (name, certificate): &Whose, seen: &Automatic) -> bool {
        let world = self.ledger.world();
        world.environment(name).and_then(|it| it.automatic.get(certificate)) == Some(seen)
    }

    /// Records what came of a step, unless somebody asked for something else meanwhile.
    fn record_step(&self, whose: &Whose, seen: &Automatic, events: &[Event]) {
        let (name, certificate) = whose;
        let recorded = tokio::task::block_in_place(|| {
            self.ledger.commit(&ourselves(), |world, _| {
                let now = world.environment(name).and_then(|it| it.automatic.get(certificate));
                if now == Some(seen) {
                    Ok((events.to_vec(), ()))
                } else {
                    Err(Problem::new(ErrorCode::Conflict, "something else was asked for meanwhile"))
                }
            })
        });
        match recorded {
            Ok(()) => {
                self.wake(name);
                self.errands.end(whose);
            }
            Err(problem) => {
                tracing::warn!(environment = %name, %certificate, %problem, "what came of an order was not recorded");
                events.iter().for_each(|event| self.forget_unrecorded(event));
                self.errands.pause(whose, None, Instant::now());
            }
        }
    }

    /// Removes the secret that an event would have named.
    fn forget_unrecorded(&self, event: &Event) {
        if let Event::CertificateAdded { secret, .. } = event {
            // What stays is only a file too many.
            let _ = self.secrets.remove(secret);
        }
    }

    async fn carry_out(
        &self,
        environment: &Environment,
        automatic: &Automatic,
        step: &Step,
    ) -> Result<Came, Trouble> {
        let (request, progress) = (&automatic.request, &automatic.progress);
        if *step == Step::GiveUp {
            return Err(Trouble::here(self.why_late(environment, automatic)));
        }
        let cannot = |error: std::io::Error| Trouble::here(format!("its account cannot be read: {error}"));
        let account = tokio::task::block_in_place(|| self.secrets.get(&request.account)).map_err(cannot)?;
        let authority = Authority::at(&request.directory, trust(request.ca.as_ref()))?;
        match (step, &progress.order) {
            (Step::Place, _) => self.place(environment, automatic, (&authority, &account)).await,
            (Step::Ask, Some(order)) => {
                let entry = &environment.settings.entry;
                let kinds = kinds(
                    request.challenge,
                    environment.settings.gateway_port,
                    entry.https_port,
                    progress.failures,
                );
                let answers = authority.ask(&account, &order.url, &request.hosts, &kinds).await?;
                Ok(Came::Further(progress.answering(answers)))
            }
            (Step::Tell, Some(order)) => {
                authority.tell(&account, &order.url, automatic.answers()).await?;
                Ok(Came::Further(progress.told()))
            }
            (Step::Follow, Some(order)) => self.follow(automatic, order, (&authority, &account)).await,
            _ => Ok(Came::Later(None)),
        }
    }

    async fn place(
        &self,
        environment: &Environment,
        automatic: &Automatic,
        (authority, account): (&Authority, &str),
    ) -> Result<Came, Trouble> {
        // A gateway that would not answer costs no order.
        let able = self.check_answers_authorities(&environment.name);
        able.map_err(|problem| Trouble::here(problem.detail))?;
        // Before the order: one whose key cannot be kept would be for nothing.
        let key = new_key()?;
        let kept = tokio::task::block_in_place(|| self.secrets.put(&key));
        let key = kept.map_err(|error| Trouble::here(format!("its key cannot be kept: {error}")))?;
        let placed = authority.place(account, &automatic.request.hosts).await;
        if placed.is_err() {
            // What stays is only a file too many.
            let _ = self.secrets.remove(&key);
        }
        Ok(Came::Further(automatic.progress.placed(placed?, key, wall())))
    }

    async fn follow(
        &self,
        automatic: &Automatic,
        order: &Order,
        (authority, account): (&Authority, &str),
    ) -> Result<Came, Trouble> {
        let cannot = |error: std::io::Error| Trouble::here(format!("its key cannot be read: {error}"));
        let key = tokio::task::block_in_place(|| self.secrets.get(&order.key)).map_err(cannot)?;
        let hosts = &automatic.request.hosts;
        let chain = match authority.follow(account, &order.url, hosts, &key).await? {
            Followed::UnderWay { after } => return Ok(Came::Later(after)),
            Followed::Issued { chain } => chain,
        };
        let facts = usable(&chain, &key, hosts);
        let facts = facts.map_err(|why| Trouble::Here { why, cost: Cost::Issued })?;
        let kept = tokio::task::block_in_place(|| self.secrets.put(&bundle(&chain, &key, None)));
        // The authority has it for days: it is asked for it again until there is room.
        let secret = kept
            .map_err(|error| AcmeError::Later { why: format!("it cannot be kept: {error}"), after: None })?;
        Ok(Came::Certificate(Box::new(facts), secret))
    }

    /// Says for people why an order took too long.
    fn why_late(&self, environment: &Environment, automatic: &Automatic) -> String {
        let behind = self.registry.behind(&environment.name, self.ledger.now());
        let stage = automatic.progress.order.as_ref().map(|order| &order.stage);
        if matches!(stage, Some(OrderStage::Answering { .. })) && !behind.is_empty() {
            return format!("not all gateways answer the authority within an hour: {}", behind.join(", "));
        }
        "the authority gave no certificate within an hour".to_owned()
    }

    /// Removes the files of secrets that certificates needed, and nothing does any more.
    fn remove_spent_secrets(&self) {
        let names = self.ledger.world().removable_secrets(self.ledger.now());
        if names.is_empty() {
            return;
        }
        let removed = |name: &&String| tokio::task::block_in_place(|| self.secrets.remove(name)).is_ok();
        let secrets: Vec<String> = names.iter().filter(removed).cloned().collect();
        if secrets.is_empty() {
            return;
        }
        tracing::info!(secrets = secrets.len(), "secrets of former certificates were removed");
        let event = Event::CertificateSecretsRemoved { secrets };
        let recorded = tokio::task::block_in_place(|| {
            self.ledger.commit(&ourselves(), |_, _| Ok((vec![event.clone()], ())))
        });
        if let Err(problem) = recorded {
            tracing::error!(%problem, "it was not recorded that secrets were removed");
        }
    }
}

/// What is recorded of a certificate that came.
fn got(whose: &Whose, facts: Box<CertificateFacts>, secret: String) -> Vec<Event> {
    let (environment, certificate) = whose.clone();
    tracing::info!(%environment, %certificate, until = %facts.valid_until, "a certificate was got");
    let done = progressed(whose, Progress::done(&facts, wall()));
    vec![Event::CertificateAdded { environment, certificate, facts, secret }, done]
}

/// What is recorded of an order that failed.
fn failed(whose: &Whose, progress: &Progress, trouble: &Trouble) -> Progress {
    let (why, cost) = trouble.parts();
    let random = random::random_hex(4).ok().and_then(|it| u64::from_str_radix(&it, 16).ok()).unwrap_or(0);
    let asked = trouble.after().map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let next = progress.failed(&why, cost, asked, (wall(), random));
    let (environment, certificate) = whose;
    let (failures, again) = (next.failures, next.not_before);
    tracing::error!(%environment, %certificate, failures, %again, why, "a certificate was not got");
    next
}

fn progressed(whose: &Whose, progress: Progress) -> Event {
    let (environment, certificate) = whose.clone();
    Event::CertificateOrderProgressed { environment, certificate, progress: Box::new(progress) }
}

/// Looks at a certificate as at one that a person gives, and whether it is for what was ordered.
fn usable(chain: &str, key: &str, hosts: &[String]) -> Result<CertificateFacts, String> {
    let read = ServerCertificate::read(chain.as_bytes(), key.as_bytes(), None, wall());
    let read =
        read.map_err(|faults| format!("the certificate that was given cannot be used: {}", words(&faults)))?;
    let facts = read.certificate.facts().clone();
    let missing: Vec<&str> = hosts.iter().filter(|host| !facts.covers(host)).map(String::as_str).collect();
    if missing.is_empty() {
        Ok(facts)
    } else {
        Err(format!("the certificate that was given is not for {}", missing.join(", ")))
    }
}
