//! The story that every shape goes through, and the load that goes on meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::gateway::StandaloneGateway;
use crate::support::place::{ENVIRONMENT, Place};
use crate::support::repository::Repository;
use crate::support::{eventually, get};

/// Clients that ask at the same time.
const CLIENTS: u64 = 2;
/// Pause of a client between two requests: enough of them for every moment of a move, few enough to leave the machine to it.
const PACE: Duration = Duration::from_millis(10);
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many requests are made after each move.
const AFTER_MOVE: u64 = 40;

/// A version of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    /// As good, and different to see.
    Two,
    /// Bad in the way in which this shape goes bad.
    Bad,
}

impl Version {
    /// What it says of itself.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Two => "two",
            Self::Bad => "bad",
        }
    }
}

/// A kind of system.
pub(super) trait Shape: Sync + Sized {
    /// What goes from version to version.
    const SERVICES: &'static [&'static str];
    /// What the plan of a move must say: that there is a gap.
    const GAP: Option<&'static str> = None;
    /// How the bad version is deployed besides.
    const BAD: &'static [&'static str] = &[];

    /// Makes what stands around it.
    fn begin(place: &Place, gateway: &str) -> Self;

    /// Writes one version of one service.
    fn write(&self, service: &str, repository: &Repository, version: Version);

    /// Releases a version whose files are written.
    fn release(&self, place: &Place, service: &str, _version: Version) -> String {
        place.release(service)
    }

    /// Does what belongs to it once its first version runs.
    fn is_deployed(&self, _place: &Place) {}

    /// Asks as a client does, in a way that no other request of the story does; an error is a failed request.
    fn ask(&self, _number: u64) -> Result<(), String> {
        Ok(())
    }

    /// Which version answers, or works.
    fn at_work(&self) -> Option<String>;

    /// Checks what must hold over the whole story besides; `asked` requests were made.
    fn judge(&self, _place: &Place, _asked: u64) {}
}

/// Tells the story of a shape.
pub(super) fn tell<S: Shape>() {
    let mut place = Place::begin();
    let gateway = StandaloneGateway::follow(&place);
    let url = format!("http://{}", gateway.address());
    place.run(&["environment", "set", ENVIRONMENT, "--gateway-url", &url]);
    let shape = S::begin(&place, gateway.address());
    let versions = Versions::release(&shape, &place);
    place.run(&versions.deploy(Version::One, &[]));
    shape.is_deployed(&place);
    let story = Story::default();
    thread::scope(|scope| {
        let _ends = Ends(&story);
        let (load, asked) = (&story, &shape);
        (0..CLIENTS).for_each(|client| drop(scope.spawn(move || load.ask(asked, client))));
        story.goes(&mut place, &shape, &versions);
    });
    story.no_request_failed::<S>();
    shape.judge(&place, story.asked.load(Ordering::SeqCst));
}

/// The versions of all services that move, as `service@number`.
struct Versions {
    all: Vec<(Version, Vec<String>)>,
}

impl Versions {
    fn release<S: Shape>(shape: &S, place: &Place) -> Self {
        let repositories: Vec<_> =
            S::SERVICES.iter().map(|service| (*service, place.repository(service))).collect();
        let release = |version: Version| {
            let each = repositories.iter().map(|(service, repository)| {
                shape.write(service, repository, version);
                repository.commit(&format!("feat: {}", version.words()));
                if version == Version::One {
                    place.run(&["service", "add", repository.folder()]);
                }
                shape.release(place, service, version)
            });
            (version, each.collect())
        };
        Self { all: [Version::One, Version::Two, Version::Bad].map(release).into() }
    }

    fn of(&self, wanted: Version) -> &[String] {
        let (_, versions) = self.all.iter().find(|(version, _)| *version == wanted).unwrap();
        versions
    }

    fn deploy<'a>(&'a self, version: Version, more: &[&'a str]) -> Vec<&'a str> {
        let versions = self.of(version).iter().map(String::as_str);
        let options = ["--env", ENVIRONMENT].into_iter().chain(more.iter().copied());
        std::iter::once("deploy").chain(versions).chain(options).collect()
    }
}

/// A request that failed.
#[derive(Debug)]
struct Failure {
    begun: Instant,
    why: String,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Story {
    asked: AtomicU64,
    over: AtomicBool,
    failures: Mutex<Vec<Failure>>,
    /// From when to when something moved.
    moves: Mutex<Vec<(Instant, Instant)>>,
}

struct Ends<'s>(&'s Story);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

impl Story {
    /// Asks until the story is over.
    fn ask(&self, shape: &impl Shape, client: u64) {
        for number in 0.. {
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            let begun = Instant::now();
            if let Err(why) = shape.ask(number * CLIENTS + client) {
                self.failures.lock().unwrap().push(Failure { begun, why });
            }
            self.asked.fetch_add(1, Ordering::SeqCst);
            thread::sleep(PACE);
        }
    }

    fn goes<S: Shape>(&self, place: &mut Place, shape: &S, versions: &Versions) {
        let baseline = place.status()["baseline"].to_string();
        self.has_arrived(shape, Version::One);
        let forward = versions.deploy(Version::Two, &["--release-holds"]);
        let plan = place.told(&[&forward[..], &["--dry-run"]].concat());
        assert_eq!(S::GAP.is_some(), plan.contains("in between"), "{plan}");
        assert!(S::GAP.is_none_or(|gap| plan.contains(gap)), "{plan}");
        self.moves(|| drop(place.run(&forward)));
        self.has_arrived(shape, Version::Two);
        // What two versions cannot do at once is not kept ready by running.
        let status = place.status().to_string();
        assert_eq!(S::GAP.is_none(), status.contains("\"warm\":[{"), "{status}");
        let refused = self.moves(|| place.fail(&versions.deploy(Version::Bad, S::BAD), 1));
        assert!(refused.contains("was taken back"), "{refused}");
        self.has_arrived(shape, Version::Two);
        let back = ["rollback", ENVIRONMENT, "--to", &baseline];
        self.moves(|| drop(place.run(&back)));
        self.has_arrived(shape, Version::One);
        self.moves(|| killed(place, &forward, &Moment::Begun));
        self.has_arrived(shape, Version::Two);
        self.moves(|| killed(place, &back, &Moment::OldEnds));
        self.has_arrived(shape, Version::One);
        self.moves(|| killed(place, &forward, &Moment::NewRuns(versions.of(Version::Two))));
        self.has_arrived(shape, Version::Two);
    }

    fn moves<T>(&self, carry_out: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = carry_out();
        self.moves.lock().unwrap().push((begun, Instant::now()));
        done
    }

    /// Waits until a version is at work, and lets it work for a time.
    fn has_arrived(&self, shape: &impl Shape, version: Version) {
        let words = version.words();
        eventually(&format!("`{words}` is at work"), || (shape.at_work()? == words).then_some(()));
        let until = self.asked.load(Ordering::SeqCst) + AFTER_MOVE;
        eventually("clients go on", || (self.asked.load(Ordering::SeqCst) >= until).then_some(()));
        eventually("nobody else is at work", || shape.at_work().map(|who| assert_eq!(who, words)));
    }

    /// None failed, but for those that began in a gap of which a plan spoke, and were told so.
    fn no_request_failed<S: Shape>(&self) {
        let (failures, moves) = (self.failures.lock().unwrap(), self.moves.lock().unwrap());
        let is_told = |failure: &&Failure| {
            let in_a_move = moves.iter().any(|(begun, done)| (begun..=done).contains(&&failure.begun));
            S::GAP.is_some() && in_a_move && failure.why.starts_with("503 ")
        };
        let failed: Vec<_> = failures.iter().filter(|failure| !is_told(failure)).collect();
        assert!(failed.is_empty(), "{} of {:?}: {failed:#?}", failed.len(), self.asked);
    }
}

/// When the server is killed in the middle of a move.
enum Moment<'v> {
    /// As soon as it has answered that the move has begun.
    Begun,
    /// When an instance has been told to end, or the move is over.
    OldEnds,
    /// When a process of one of these versions runs, or the move is over.
    NewRuns(&'v [String]),
}

impl Moment<'_> {
    fn has_come(&self, place: &Place) -> bool {
        match self {
            Self::Begun => true,
            Self::OldEnds => place.status().to_string().contains("\"state\":\"stopping\""),
            Self::NewRuns(versions) => {
                let status = place.status().to_string();
                versions.iter().any(|version| status.contains(&format!("\"{}-", version.replace('@', "-"))))
            }
        }
    }
}

/// Begins a move, kills the server in the middle of it, and starts it again.
fn killed(place: &mut Place, change: &[&str], moment: &Moment<'_>) {
    let operation = place.begin_operation(change);
    eventually("the moment comes", || {
        let all = place.json(&["operations"]);
        let phase =
            all.as_array().unwrap().iter().find(|one| one["id"] == operation).unwrap()["phase"].clone();
        (moment.has_come(place) || phase["phase"] == "done").then_some(())
    });
    place.kill_server();
    place.start_server();
    let phase = place.settled(operation);
    assert_eq!(phase["phase"], "done", "{phase}");
}

/// Asks for a path as a client that others are not; anything but 200 is an error that begins with the status.
pub(super) fn answer(address: &str, path: &str, key: u64) -> Result<String, String> {
    match get(address, path, key)? {
        (200, body) => Ok(body),
        (status, body) => Err(format!("{status} {path}: {body}")),
    }
}

/// Sends a number to be kept; anything but 200 is an error that begins with the status.
pub(super) fn post(address: &str, path: &str, key: u64) -> Result<(), String> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nCookie: lockstep_key={key}\r\n");
        write!(stream, "{head}Content-Length: 0\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let rest = answer.strip_prefix("HTTP/1.1 ").unwrap_or(&answer);
    if rest.starts_with("200 ") { Ok(()) } else { Err(rest.to_owned()) }
}
