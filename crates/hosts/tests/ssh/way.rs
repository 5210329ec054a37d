//! The way from a gateway of a host to the server: what comes through, who is let in, and what ends when.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_domain::instance_ports::InstancePorts;
use lockstep_domain::{Instance, InstanceId};
use lockstep_hosts::gateway::HostGateway;
use lockstep_hosts::{Duplex, FromHost, HostState};
use lockstep_runtime::{Follow, InstanceSpec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::{PATIENCE, eventually, kill, pid_of, runs};
use crate::fixture::{Fixture, PROGRAM};

/// Answers gateways of a host as the first line says.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How many are answered at the moment, and the most that ever were.
    pub(crate) now: Arc<AtomicUsize>,
    pub(crate) most: Arc<AtomicUsize>,
}

impl FromHost for Answers {
    fn serve(&self, host: &str, stream: Box<dyn Duplex>) {
        assert_eq!(host, "web1");
        let (now, most) = (Arc::clone(&self.now), Arc::clone(&self.most));
        tokio::spawn(async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _ = answer(stream).await;
            now.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(mut stream: Box<dyn Duplex>) -> std::io::Result<()> {
    let mut word = [0; 5];
    stream.read_exact(&mut word).await?;
    let mut all = Vec::new();
    match &word {
        // Hears to the end, and only then says it all, and is gone at once.
        b"whole" => {
            stream.read_to_end(&mut all).await?;
            stream.write_all(&all).await?;
        }
        // Says much, whether anybody reads it or not.
        b"talks" => loop {
            stream.write_all(&[7; 64 * 1024]).await?;
        },
        // Says it and goes, while the other side may still say something.
        b"leave" => stream.write_all(&[7; 3_000_000]).await?,
        // Hears nothing.
        b"waits" => std::future::pending().await,
        // Says something first, is done with saying, and hears on.
        _ => {
            stream.write_all(b"first").await?;
            stream.shutdown().await?;
            stream.read_to_end(&mut all).await?;
        }
    }
    stream.shutdown().await
}

/// A host with a gateway.
struct Bench {
    fixture: Fixture,
    answers: Arc<Answers>,
    gateway: Instance,
}

impl Bench {
    async fn begin() -> Self {
        let mut fixture = Fixture::empty("");
        fixture.bring_program();
        let answers = Arc::new(Answers::default());
        fixture.from_host = Some(Arc::clone(&answers) as Arc<dyn FromHost>);
        fixture.open().await;
        let id = fixture.start(gateway(&fixture, "1").await).await;
        let gateway = fixture.wait_until(&id, |instance| instance.state.is_healthy()).await;
        Self { fixture, answers, gateway }
    }

    fn at(&self) -> SocketAddr {
        self.gateway.address.unwrap()
    }

    /// Says something to the server by the gateway, with the word first; nothing comes back where it is away.
    async fn says(&self, word: &str, more: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.at()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let saying = async {
            let _ = write.write_all(&[word.as_bytes(), more].concat()).await;
            let _ = write.shutdown().await;
        };
        let mut heard = Vec::new();
        let hearing = read.read_to_end(&mut heard);
        let both = async { tokio::join!(saying, hearing) };
        let (_, ended) = timeout(PATIENCE, both).await.expect("it comes through");
        if ended.is_err() { Vec::new() } else { heard }
    }

    async fn comes_through(&self) -> bool {
        self.says("whole", b"hello").await == b"hello"
    }
}

/// What passes connections on stands in the place of a gateway, at the port where that says how it is.
async fn gateway(fixture: &Fixture, unique: &str) -> InstanceSpec {
    let gateway = HostGateway {
        environment: "testing".parse().unwrap(),
        listen: "127.0.0.1:1".parse().unwrap(),
        ports: InstancePorts::Server,
        host: "web1".parse().unwrap(),
        between: None,
        outside: None,
        zone: None,
    };
    let mut spec = gateway.spec(&*fixture.facts().await, PROGRAM.digest(), unique);
    spec.run.health.probe = lockstep_domain::run::Probe::Tcp;
    spec
}

#[tokio::test]
async fn what_a_gateway_says_comes_to_the_server_whole_and_so_does_the_answer() {
    let bench = Bench::begin().await;
    let much: Vec<u8> = (0..6_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    assert!(bench.says("whole", &much).await == much, "each direction ends for itself");
    assert_eq!(bench.says("first", b"and more").await, b"first");
    for _ in 0..20 {
        let mut stream = TcpStream::connect(bench.at()).await.unwrap();
        stream.write_all(b"leave").await.unwrap();
        let mut heard = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut heard)).await.unwrap().unwrap();
        assert_eq!(heard.len(), 3_000_000, "it did not say that it is done");
    }
    // More at once than there may be.
    let one = Arc::new(bench);
    let all: Vec<_> = (0..200_u32)
        .map(|n| {
            let one = Arc::clone(&one);
            tokio::spawn(async move {
                let text = n.to_string().repeat(1_000);
                one.says("whole", text.as_bytes()).await == text.as_bytes()
            })
        })
        .collect();
    for said in all {
        assert!(said.await.unwrap());
    }
    let most = one.answers.most.load(Ordering::SeqCst);
    assert!((2..=128).contains(&most), "{most}");
}

#[tokio::test]
async fn who_reads_nothing_holds_up_nobody() {
    let bench = Bench::begin().await;
    let mut held = Vec::new();
    for word in ["talks", "waits"].repeat(20) {
        let mut stream = TcpStream::connect(bench.at()).await.unwrap();
        stream.write_all(word.as_bytes()).await.unwrap();
        if word == "waits" {
            // As much as it takes while nobody at the other end does.
            while timeout(std::time::Duration::from_millis(50), stream.write_all(&[1; 64 * 1024]))
                .await
                .is_ok()
            {}
        }
        held.push(stream);
    }
    assert!(bench.comes_through().await);
    let id = bench.gateway.id.clone();
    assert!(bench.fixture.port().log(&"testing".parse().unwrap(), &id, Follow::No).await.unwrap().is_some());
    // Who leaves is not kept.
    drop(held);
    let answers = Arc::clone(&bench.answers);
    eventually("those who talk are gone", || answers.now.load(Ordering::SeqCst) <= 20).await;
}

#[tokio::test]
async fn while_the_server_is_away_nobody_is_kept_waiting_and_afterwards_it_is_as_before() {
    let mut bench = Bench::begin().await;
    assert!(bench.comes_through().await);
    let mut open = TcpStream::connect(bench.at()).await.unwrap();
    open.write_all(b"waits").await.unwrap();
    let answers = Arc::clone(&bench.answers);
    eventually("it is heard", || answers.now.load(Ordering::SeqCst) > 0).await;
    let pid = pid_by_status(&bench.fixture, &bench.gateway.id);
    for agent in bench.fixture.agents() {
        kill(agent);
    }
    // What was open ends with the connection of the host.
    let ended = timeout(PATIENCE, open.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    bench.fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
    eventually_comes_through(&bench).await;

    // Nobody is there at all.
    bench.fixture.driver = None;
    bench.fixture.server.end();
    eventually("the agent ends", || bench.fixture.agents().is_empty()).await;
    assert!(!bench.comes_through().await);
    assert!(runs(pid), "the gateway goes on");
    bench.fixture.server.start();
    bench.fixture.begin("another run");
    bench.fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
    eventually_comes_through(&bench).await;
    assert_eq!(pid_by_status(&bench.fixture, &bench.gateway.id), pid);
    bench.fixture.stop(&bench.gateway.id.clone()).await;
}

/// Waits until requests wait at the agent again.
async fn eventually_comes_through(bench: &Bench) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !bench.comes_through().await {
        assert!(std::time::Instant::now() < deadline, "it does not come through");
    }
}

/// The main process of an instance.
fn pid_by_status(fixture: &Fixture, id: &InstanceId) -> i32 {
    let text = fs::read(fixture.folder(id).join("status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&text).unwrap();
    i32::try_from(status["process"]["pid"].as_i64().unwrap()).unwrap()
}

#[tokio::test]
async fn only_a_gateway_of_the_host_comes_in_and_only_at_the_socket_of_the_agent_that_works() {
    let mut bench = Bench::begin().await;
    let place = bench.fixture.host().join("way");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&place.join("socket"))), (0o700, 0o600));
    // Of the same user, and no gateway: the test itself.
    let mut stranger = UnixStream::connect(place.join("socket")).unwrap();
    let _ = stranger.write_all(b"whole");
    let mut heard = Vec::new();
    assert!(matches!(stranger.read_to_end(&mut heard), Ok(0) | Err(_)), "{heard:?}");
    assert_eq!(bench.answers.most.load(Ordering::SeqCst), 0);
    for _ in 0..3_000 {
        let _ = UnixStream::connect(place.join("socket"));
    }
    assert!(bench.comes_through().await, "those who were sent away hold up nobody");

    // What lies in its place is replaced: a socket of somebody else, a file, a folder.
    for left in 0..3 {
        bench.fixture.driver = None;
        eventually("the agent ends", || bench.fixture.agents().is_empty()).await;
        fs::remove_file(place.join("socket")).unwrap();
        let other = match left {
            0 => Some(UnixListener::bind(place.join("socket")).unwrap()),
            1 => fs::write(place.join("socket"), "").map(|()| None).unwrap(),
            _ => fs::create_dir_all(place.join("socket/in/the/way")).map(|()| None).unwrap(),
        };
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
        bench.fixture.begin("run");
        bench.fixture.state_where(|state| matches!(state, HostState::Here(_))).await;
        eventually_comes_through(&bench).await;
        assert!(fs::metadata(place.join("socket")).unwrap().file_type().is_socket());
        assert_eq!((mode(&place), mode(&place.join("socket"))), (0o700, 0o600));
        drop(other);
    }
}

#[tokio::test]
async fn a_service_of_the_host_is_no_gateway_whatever_it_is_called() {
    let mut bench = Bench::begin().await;
    bench.fixture.unpack().await;
    let service = bench.fixture.start_healthy(&[]).await;
    assert!(runs(pid_of(&service)));
    assert!(!lockstep_hosts::gateway::is_gateway(&service));
    assert!(lockstep_hosts::gateway::is_gateway(&bench.gateway));
    assert!(lockstep_hosts::gateway::is_of_program(&bench.gateway, PROGRAM.digest()));
    // Its program is not unpacked, and no release of it is kept or removed.
    assert_eq!(bench.fixture.port().releases().await.unwrap(), [bench.fixture.release()]);
    bench.fixture.stop(&service.id).await;
    bench.fixture.driver = None;
}
