//! The driver of another host: one connection that is kept, what was last seen there, and calls over it.
//!
//! A connection that ends says nothing about the host: its instances are shown as they were last seen, and [`HostState`] says since when
//! nobody knows better. Calls fail meanwhile, and may all be made again.

mod link;
mod log;
mod transfer;
mod way;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lockstep_domain::fault::Fault;
use lockstep_domain::instance_ports::PortRange;
use lockstep_domain::work::Told;
use lockstep_domain::{Digest, EnvironmentName, Instance, InstanceId, InstanceState};
use lockstep_files::whole::Room;
use lockstep_runtime::{
    Answer, BringError, Driver, Elsewhere, Follow, HeldAs, InstanceSpec, Instances, LogLines, RemoveError,
    StartError, StopError, Turns, Unpacked, Usage,
};
use tempfile::NamedTempFile;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep};

use self::link::Link;
pub use self::transfer::Transfer;
use self::transfer::{Progress, Transfers};
use crate::claim::ClaimFile;
use crate::difference::{Recipe, Recipes, write_rest};
use crate::protocol::{
    Artifact, Call, Hello, HostFacts, HostOptions, Look, LookRequest, Looked, MAX_ROWS, PROTOCOL, Row, Said,
    Seen, Welcome,
};
use crate::refusal::Refusal;

/// Pause before a host that could not be reached is tried again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Pause where only a person can change what is wrong; programs that look for break-ins count attempts.
const FOR_A_PERSON: Duration = Duration::from_secs(300);
/// An artifact is sent in part where no more than one of so many bytes of it is lacking: else the whole, which goes on where it broke off.
const WORTH: u64 = 2;
/// How long a host may take to show what it has done.
const SHOWN_WITHIN: Duration = Duration::from_secs(30);

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// Answers gateways that come from a host through its connection.
pub trait FromHost: Debug + Send + Sync {
    /// Takes a connection of a gateway of a host, and waits for nothing. It ends with the connection of the host at the latest. What comes
    /// on it is the host's, and may be anything.
    fn serve(&self, host: &str, stream: Box<dyn Duplex>);
}

/// What is held as long as a connection is.
pub trait Holds: Debug + Send + Sync {
    /// What was said beside the connection, such as an error.
    fn said(&self) -> String;
}

/// A connection to an agent that has not been greeted.
pub struct Connection {
    streams: Box<dyn Duplex>,
    held: Box<dyn Holds>,
}

impl Connection {
    /// Makes a connection of its two directions.
    #[must_use]
    pub fn new(streams: impl Duplex + 'static, held: Box<dyn Holds>) -> Self {
        Self { streams: Box::new(streams), held }
    }
}

impl Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("held", &self.held).finish_non_exhaustive()
    }
}

/// Makes connections to a host.
pub trait Connect: Debug + Send + Sync {
    /// Makes one, with an agent at its end.
    fn connect(&self) -> Answer<'_, Result<Connection, ConnectError>>;
}

/// Why there is no connection to a host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{fault}: {text}")]
pub struct ConnectError {
    /// What kind of thing it is.
    pub fault: ConnectFault,
    /// What was found.
    pub text: String,
}

impl ConnectError {
    pub(crate) fn new(fault: ConnectFault, text: String) -> Self {
        Self { fault, text }
    }
}

/// What kind of thing keeps a host from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum ConnectFault {
    /// There is no `ssh` here.
    #[error("no program `ssh`")]
    NoSsh,
    /// Nobody answers.
    #[error("it is not reached")]
    Unreachable,
    /// It shows another key than the one that is pinned.
    #[error("its key is not the one that is pinned")]
    HostKey,
    /// It does not let us in.
    #[error("it does not let us in")]
    Login,
    /// The user has no shell.
    #[error("its user has no login shell")]
    NoShell,
    /// It says what nobody understands.
    #[error("it says what is not understood")]
    Garbage,
    /// The folder cannot be made there.
    #[error("its folder cannot be made")]
    Folder,
    /// The program cannot be written there.
    #[error("the program cannot be written there")]
    Write,
    /// It is of another system or architecture.
    #[error("it is of another kind")]
    Architecture,
    /// The program does not run there.
    #[error("the program does not run there")]
    Program,
    /// Another server has it.
    #[error("it is refused")]
    Refused,
    /// The connection ended.
    #[error("the connection broke off")]
    Broken,
}

impl ConnectFault {
    /// Tells whether only a person can change it.
    const fn is_for_a_person(self) -> bool {
        !matches!(self, Self::Unreachable | Self::Broken | Self::Refused | Self::Write)
    }
}

/// How it is with a host.
#[derive(Debug, Clone, PartialEq)]
pub enum HostState {
    /// It was not reached yet.
    Connecting,
    /// It is there.
    Here(Arc<HostFacts>),
    /// It is away.
    Away {
        /// Since when, on the clock that nobody sets.
        since: Instant,
        /// Why.
        error: ConnectError,
    },
}

/// Runs instances on another host.
#[derive(Debug)]
pub struct RemoteDriver {
    shared: Arc<Shared>,
    keeps: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    /// What the host is called, for people.
    name: String,
    claim: ClaimFile,
    /// How instances are kept there.
    options: HostOptions,
    instances: watch::Sender<Instances>,
    told: Mutex<BTreeMap<InstanceId, Told>>,
    held: Mutex<BTreeMap<InstanceId, HeldAs>>,
    state: watch::Sender<HostState>,
    sending: Turns<Digest>,
    transfers: Transfers,
    recipes: Arc<Recipes>,
    link: watch::Sender<Option<Link>>,
    /// Who answers its gateways.
    from_host: Option<Arc<dyn FromHost>>,
    again: Notify,
}

impl RemoteDriver {
    /// Returns how much there is of the disk of the host on which its agent keeps what it has.
    ///
    /// # Errors
    /// When the host cannot be asked.
    pub async fn room(&self) -> io::Result<Room> {
        match self.shared.call(Call::Room).await.map_err(as_io)? {
            Said::Room { free, size } => Ok(Room { free, size }),
            other => Err(unexpected(&other)),
        }
    }

    /// Says how an instance is held to its limits, and whom it runs as, where there is anything to say.
    #[must_use]
    pub fn held_of(&self, id: &InstanceId) -> Option<HeldAs> {
        self.shared.held().get(id).cloned()
    }

    /// Begins to connect to a host, and keeps a connection from then on; `recipes` are those of all hosts, `from_host` answers its gateways.
    /// Must be called in a tokio runtime.
    #[must_use]
    pub fn open(
        name: impl Into<String>,
        connect: Arc<dyn Connect>,
        claim: ClaimFile,
        options: HostOptions,
        recipes: Arc<Recipes>,
        from_host: Option<Arc<dyn FromHost>>,
    ) -> Self {
        let shared = Arc::new(Shared {
            name: name.into(),
            claim,
            options,
            instances: watch::Sender::default(),
            told: Mutex::default(),
            held: Mutex::default(),
            state: watch::Sender::new(HostState::Connecting),
            sending: Turns::default(),
            transfers: Transfers::default(),
            recipes,
            link: watch::Sender::new(None),
            from_host,
            again: Notify::new(),
        });
        let keeps = tokio::spawn(keep(Arc::clone(&shared), connect));
        Self { shared, keeps }
    }

    /// Follows how it is with the host.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<HostState> {
        self.shared.state.subscribe()
    }

    /// Tells how far the sending of an artifact has come; `None` when it was not sent by this server since it has the host.
    #[must_use]
    pub fn transfer(&self, artifact: &Digest) -> Option<Transfer> {
        self.shared.transfers.get(artifact)
    }

    /// Forgets what was sent of an artifact, unless it is being sent.
    pub fn forget_transfer(&self, artifact: &Digest) {
        if self.shared.sending.take_if_free(artifact).is_some() {
            self.shared.transfers.forget(artifact);
        }
    }

    /// Takes the host from whoever has it, with the next connection, which is tried at once: a person said so.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn take_over(&self) -> io::Result<()> {
        self.shared.claim.take_over()?;
        self.try_again();
        Ok(())
    }

    /// Tries at once to connect, where that was waited with.
    pub fn try_again(&self) {
        self.shared.again.notify_one();
    }
}

impl Drop for RemoteDriver {
    fn drop(&mut self) {
        self.keeps.abort();
    }
}

/// What a host is like, and what the connection to it is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLook {
    /// What its agent says.
    pub looked: Looked,
    /// How long a question takes there and back.
    pub round_trip: Duration,
    /// By how many milliseconds its clock is ahead of ours; negative when it is behind.
    pub clock_ahead_ms: i64,
}

/// Looks at a host without working on it. `ports` are those that instances would get, `address` is where they would listen, if that is known, `now_ms` is our clock in milliseconds since 1970.
///
/// # Errors
/// When it cannot be reached or used.
pub async fn look(
    connect: &dyn Connect,
    ports: PortRange,
    address: Option<IpAddr>,
    now_ms: impl Fn() -> i64,
) -> Result<HostLook, ConnectError> {
    let link = Link::open(connect.connect().await?).await?;
    // The first makes the connection ready; the second is measured, and quick: it has no ports to try.
    let mut looked: Looked = link.first("/look", &LookRequest { ports: Some(ports), address }).await?;
    let (begin, begun_ms) = (Instant::now(), now_ms());
    let again: Looked = link.first("/look", &LookRequest { ports: None, address: None }).await?;
    let round_trip = begin.elapsed();
    let half = i64::try_from(round_trip.as_millis()).unwrap_or(i64::MAX) / 2;
    let clock_ahead_ms = again.facts.clock_ms.saturating_sub(begun_ms.saturating_add(half));
    looked.facts.clock_ms = again.facts.clock_ms;
    Ok(HostLook { looked, round_trip, clock_ahead_ms })
}

/// Keeps a connection.
async fn keep(shared: Arc<Shared>, connect: Arc<dyn Connect>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = shared.work(connect.as_ref()).await;
        let was_here = shared.link.send_replace(None).is_some();
        tracing::warn!(host = %shared.name, %error, "the host is away");
        pause = match (was_here, error.fault.is_for_a_person()) {
            (true, _) => FIRST_PAUSE,
            (false, true) => FOR_A_PERSON,
            (false, false) => (pause * 2).min(LONGEST_PAUSE),
        };
        shared.away(error);
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.again.notified() => pause = FIRST_PAUSE,
        }
    }
}

impl Shared {
    /// Works with one connection until it ends, and says why it did.
    async fn work(&self, connect: &dyn Connect) -> ConnectError {
        match self.greet(connect).await {
            Err(error) => error,
            Ok((link, facts)) => match self.follow_and_answer(&link, facts).await {
                Ok(()) => ConnectError::new(ConnectFault::Broken, "the agent ended".to_owned()),
                Err(error) => ConnectError::new(ConnectFault::Broken, link.explain(&error)),
            },
        }
    }

    async fn greet(&self, connect: &dyn Connect) -> Result<(Link, Arc<HostFacts>), ConnectError> {
        let refused = |text: String| ConnectError::new(ConnectFault::Refused, text);
        let link = Link::open(connect.connect().await?).await?;
        let file = self.claim.clone();
        let begun = spawn_blocking(move || file.begin()).await.map_err(io::Error::other).flatten();
        let claim = begun.map_err(|error| refused(format!("our claim on it: {error}")))?;
        let hello = Hello { protocol: PROTOCOL, claim: claim.clone(), options: self.options };
        let Welcome { protocol, lease, facts } = link.first("/hello", &hello).await?;
        if protocol != PROTOCOL || !(lease.token == claim.next || claim.known.contains(&lease.token)) {
            let text =
                format!("its agent answers with protocol {protocol} and a lease that nobody asked for");
            return Err(ConnectError::new(ConnectFault::Garbage, text));
        }
        let file = self.claim.clone();
        let noted = spawn_blocking(move || file.granted(&lease)).await;
        noted.map_err(|error| refused(error.to_string()))?;
        Ok((link, Arc::new(facts)))
    }

    async fn follow_and_answer(&self, link: &Link, facts: Arc<HostFacts>) -> io::Result<()> {
        let follows = self.follow(link, facts);
        let Some(from_host) = &self.from_host else { return follows.await };
        tokio::select! {
            ended = follows => ended,
            never = way::keep(link, &self.name, from_host.as_ref()) => match never {},
        }
    }

    /// Takes in what is seen there. The host counts as there when all of it has been seen once.
    async fn follow(&self, link: &Link, facts: Arc<HostFacts>) -> io::Result<()> {
        let mut lines = link.watch().await?;
        let mut first = Some(Vec::new());
        while let Some(line) = lines.next().await? {
            match (serde_json::from_slice(&line)?, &mut first) {
                (Seen::Row(row), Some(rows)) if rows.len() < MAX_ROWS => rows.push(*row),
                (Seen::Row(row), None) if self.has_room() => self.take_in(*row),
                (Seen::Row(_), _) => return Err(io::Error::other(format!("more than {MAX_ROWS} instances"))),
                (Seen::Gone(id), _) => self.forget(&id),
                (Seen::All, rows) => {
                    self.replace(rows.take().unwrap_or_default());
                    self.link.send_replace(Some(link.clone()));
                    self.state.send_replace(HostState::Here(Arc::clone(&facts)));
                }
            }
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.instances.borrow().len() < MAX_ROWS
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Told>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<InstanceId, HeldAs>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in everything that there is.
    fn replace(&self, rows: Vec<Row>) {
        let told = rows.iter().filter_map(|row| Some((row.instance.id.clone(), row.told.clone()?)));
        *self.told() = told.collect();
        let held = rows.iter().filter_map(|row| Some((row.instance.id.clone(), row.held.clone()?)));
        *self.held() = held.collect();
        let all = rows.into_iter().map(|row| (row.instance.id.clone(), row.instance));
        self.instances.send_replace(Arc::new(all.collect()));
    }

    fn take_in(&self, row: Row) {
        let Row { instance, told, held } = row;
        self.held().remove(&instance.id);
        self.held().extend(held.map(|held| (instance.id.clone(), held)));
        self.told().extend(told.map(|told| (instance.id.clone(), told)));
        self.instances.send_modify(|all| {
            Arc::make_mut(all).insert(instance.id.clone(), instance);
        });
    }

    fn forget(&self, id: &InstanceId) {
        self.told().remove(id);
        self.held().remove(id);
        self.instances.send_modify(|all| {
            Arc::make_mut(all).remove(id);
        });
    }

    fn away(&self, error: ConnectError) {
        self.state.send_if_modified(|state| {
            let since = if let HostState::Away { since, .. } = state { *since } else { Instant::now() };
            let now = HostState::Away { since, error };
            let is_news = *state != now;
            *state = now;
            is_news
        });
    }

    fn link(&self) -> Result<Link, Elsewhere> {
        self.link.borrow().clone().ok_or_else(|| self.no_link())
    }

    fn no_link(&self) -> Elsewhere {
        let why = match &*self.state.borrow() {
            HostState::Away { error, .. } => format!(": {error}"),
            _ => String::new(),
        };
        Elsewhere { text: format!("host `{}` is not connected{why}", self.name), fault: Fault::Host }
    }

    async fn call(&self, call: Call) -> Result<Said, Refusal> {
        self.call_by(&self.link().map_err(Refusal::from)?, call).await
    }

    async fn call_by(&self, link: &Link, call: Call) -> Result<Said, Refusal> {
        match link.ask("/call", &call).await {
            Ok(Said::Refused(refusal)) => Err(refusal),
            Ok(said) => Ok(said),
            Err(error) => Err(Refusal::because(self.broke_off(link, &error))),
        }
    }

    fn broke_off(&self, link: &Link, error: &io::Error) -> String {
        format!("the connection to host `{}` broke off: {}", self.name, link.explain(error))
    }

    /// Waits until what was done over a connection is seen, or that has ended: then it is seen with the next one. A host that never
    /// shows it is not waited for without end.
    async fn until(&self, link: &Link, seen: impl Fn(&BTreeMap<InstanceId, Instance>) -> bool) {
        let (mut instances, mut present) = (self.instances.subscribe(), self.link.subscribe());
        let is_over = |now: &Option<Link>| now.as_ref().is_none_or(|now| !now.is(link));
        tokio::select! {
            _ = instances.wait_for(|all| seen(all)) => {}
            _ = present.wait_for(is_over) => {}
            () = sleep(SHOWN_WITHIN) => {}
        }
    }

    async fn start(&self, spec: InstanceSpec) -> Result<(), StartError> {
        let (id, link) = (spec.id.clone(), self.link()?);
        self.call_by(&link, Call::Start(Box::new(spec))).await.map_err(|refusal| refusal.of_start(&id))?;
        self.until(&link, |all| all.contains_key(&id)).await;
        Ok(())
    }

    async fn stop(&self, id: &InstanceId) -> Result<(), StopError> {
        let link = self.link()?;
        self.call_by(&link, Call::Stop(id.clone())).await.map_err(|refusal| refusal.of_stop(id))?;
        let is_told = |state: &InstanceState| *state == InstanceState::Stopping || state.is_over();
        self.until(&link, |all| all.get(id).is_none_or(|instance| is_told(&instance.state))).await;
        Ok(())
    }

    async fn remove(&self, id: &InstanceId) -> Result<(), RemoveError> {
        let link = self.link()?;
        self.call_by(&link, Call::Remove(id.clone())).await.map_err(|refusal| refusal.of_remove(Some(id)))?;
        self.until(&link, |all| !all.contains_key(id)).await;
        Ok(())
    }

    /// Sends an artifact, unless it is there and unchanged. One at a time of each, so that nobody sends it twice.
    async fn unpack(&self, digest: Digest, path: &Path, like: &[Digest]) -> Result<(), BringError> {
        let _one_at_a_time = self.sending.take(&digest).await;
        let link = self.link()?;
        let looked = self.call_by(&link, Call::Look(digest)).await.map_err(Refusal::elsewhere)?;
        if matches!(looked, Said::Looked(Look::Good(_))) {
            return Ok(());
        }
        let bytes = tokio::fs::metadata(path).await.map_err(|error| Refusal::of(&error).elsewhere())?.len();
        let whole = Artifact { digest, bytes, offset: 0 };
        let said = self.call_by(&link, Call::Arrived(whole)).await.map_err(Refusal::elsewhere)?;
        let offset = if let Said::Arrived(offset) = said { offset } else { 0 };
        let in_vain = self.transfers.get(&digest).is_some_and(|it| it.bytes < it.whole && it.sent < it.bytes);
        let progress = self.transfers.begin(digest, bytes);
        // What differs does not go on where it broke off, and the whole does.
        if offset == 0 && !in_vain && self.send_difference(&link, &whole, path, (like, &progress)).await {
            return Ok(());
        }
        progress.begin(offset, bytes);
        match link.send_file("/artifact", &Artifact { offset, ..whole }, path, &progress).await {
            Ok(Said::Refused(refusal)) => Err(refusal.elsewhere().into()),
            Ok(_) => Ok(()),
            Err(error) => Err(Refusal::because(self.broke_off(&link, &error)).elsewhere().into()),
        }
    }

    /// Sends what the host lacks of an artifact beside similar ones; tells whether it has it then. Whatever keeps it from that, the whole can be sent.
    async fn send_difference(
        &self,
        link: &Link,
        whole: &Artifact,
        path: &Path,
        (like, progress): (&[Digest], &Progress),
    ) -> bool {
        if like.is_empty() {
            return false;
        }
        let sent = self.try_to_send_difference(link, whole, path, (like, progress)).await;
        sent.unwrap_or_else(|why| {
            tracing::debug!(host = %self.name, artifact = %whole.digest, %why, "not sent in part");
            false
        })
    }

    async fn try_to_send_difference(
        &self,
        link: &Link,
        whole: &Artifact,
        path: &Path,
        (like, progress): (&[Digest], &Progress),
    ) -> io::Result<bool> {
        let recipe = self.recipes.of(whole.digest, path.to_owned()).await?;
        let (artifact, like) = (whole.digest, like.to_vec());
        let call = Call::Lacking { artifact, recipe: Box::new(Recipe::clone(&recipe)), like };
        let lacking = match self.call_by(link, call).await.map_err(as_io)? {
            Said::Lacking(lacking) => lacking.keys(&recipe),
            other => return Err(unexpected(&other)),
        };
        if recipe.bytes_of(&lacking) > recipe.bytes() / WORTH {
            return Ok(false);
        }
        let rest = NamedTempFile::new_in(path.parent().unwrap_or(path))?;
        let (artifact, file) = (path.to_owned(), rest.reopen()?);
        let written =
            spawn_blocking(move || write_rest(&artifact, &recipe, |key| lacking.contains(key), &file));
        written.await.map_err(io::Error::other).flatten()?;
        let bytes = rest.as_file().metadata()?.len();
        progress.begin(0, bytes);
        let announced = Artifact { digest: whole.digest, bytes, offset: 0 };
        match link.send_file("/rest", &announced, rest.path(), progress).await? {
            Said::Refused(refusal) => Err(as_io(refusal)),
            _ => Ok(true),
        }
    }

    async fn open_log(&self, wanted: crate::protocol::LogRequest) -> io::Result<Option<Box<dyn LogLines>>> {
        let link = self.link().map_err(io::Error::other)?;
        Ok(link.log(&wanted).await?.map(|log| Box::new(log) as Box<dyn LogLines>))
    }
}

fn as_io(refusal: Refusal) -> io::Error {
    io::Error::other(refusal.text)
}

fn unexpected(said: &Said) -> io::Error {
    io::Error::other(format!("the agent answered {said:?}, which is no answer to this"))
}

impl Driver for RemoteDriver {
    fn start(&self, spec: InstanceSpec) -> Answer<'_, Result<(), StartError>> {
        Box::pin(self.shared.start(spec))
    }

    fn stop<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Result<(), StopError>> {
        Box::pin(self.shared.stop(id))
    }

    fn tell_routed<'a>(&'a self, id: &'a InstanceId, routed: bool) -> Answer<'a, io::Result<()>> {
        let call = Call::Routed { id: id.clone(), routed };
        Box::pin(async move { self.shared.call(call).await.map(|_| ()).map_err(as_io) })
    }

    fn remove<'a>(&'a self, id: &'a InstanceId) -> Answer<'a, Result<(), RemoveError>> {
        Box::pin(self.shared.remove(id))
    }

    fn watch(&self) -> watch::Receiver<Instances> {
        self.shared.instances.subscribe()
    }

    fn told(&self, id: &InstanceId) -> Option<Told> {
        self.shared.told().get(id).cloned()
    }

    fn log<'a>(
        &'a self,
        environment: &'a EnvironmentName,
        id: &'a InstanceId,
        follow: Follow,
    ) -> Answer<'a, io::Result<Option<Box<dyn LogLines>>>> {
        let follow = follow == Follow::Yes;
        let wanted = crate::protocol::LogRequest { environment: environment.clone(), id: id.clone(), follow };
        Box::pin(self.shared.open_log(wanted))
    }

    fn unpack<'a>(
        &'a self,
        release: Digest,
        artifact: &'a Path,
        like: &'a [Digest],
    ) -> Answer<'a, Result<(), BringError>> {
        Box::pin(self.shared.unpack(release, artifact, like))
    }

    fn unpacked<'a>(&'a self, release: &'a Digest) -> Answer<'a, io::Result<Unpacked>> {
        Box::pin(async move {
            match self.shared.call(Call::Look(*release)).await.map_err(as_io)? {
                Said::Looked(look) => Ok(look.into()),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn releases(&self) -> Answer<'_, io::Result<Vec<Digest>>> {
        Box::pin(async move {
            match self.shared.call(Call::Releases).await.map_err(as_io)? {
                Said::Releases(releases) => Ok(releases),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn ended(&self) -> Answer<'_, io::Result<Vec<Instance>>> {
        Box::pin(async move {
            match self.shared.call(Call::Ended).await.map_err(as_io)? {
                Said::Ended(ended) => Ok(ended),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn usage(&self) -> Answer<'_, io::Result<BTreeMap<InstanceId, Usage>>> {
        Box::pin(async move {
            match self.shared.call(Call::Usage).await.map_err(as_io)? {
                Said::Usage(used) => Ok(used),
                other => Err(unexpected(&other)),
            }
        })
    }

    fn remove_release<'a>(&'a self, release: &'a Digest) -> Answer<'a, Result<(), RemoveError>> {
        let call = Call::RemoveRelease(*release);
        Box::pin(async move {
            self.shared.call(call).await.map(|_| ()).map_err(|refusal| refusal.of_remove(None))
        })
    }
}
