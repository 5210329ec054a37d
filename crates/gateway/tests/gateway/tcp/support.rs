//! Instances that speak TCP, and tables that lead a port to them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use lockstep_domain::entry::{Entry, EntrySettings};
use lockstep_domain::protocol::Protocol;
use lockstep_domain::routes::RouteTable;
use lockstep_gateway::{GatewayConfig, Timeouts};

use crate::support::{ArmSpec, PATIENCE, Running, environment, table};

/// A real server that does with each connection what the test says.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Instance {
    pub(crate) fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, serve) = (listener.local_addr().unwrap(), Arc::new(serve));
        let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let instance = Self { address, begun: Arc::clone(&begun), ended: Arc::clone(&ended) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                begun.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let (serve, ended) = (Arc::clone(&serve), Arc::clone(&ended));
                thread::spawn(move || {
                    serve(stream);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        instance
    }

    /// Sends back all that comes.
    pub(crate) fn echo() -> Self {
        Self::start(|mut stream| {
            let mut piece = vec![0; 30_000];
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                if stream.write_all(&piece[..read]).is_err() {
                    return;
                }
            }
            let _ = stream.shutdown(Shutdown::Write);
        })
    }

    /// Says its name, and again after all that comes.
    pub(crate) fn echo_after(name: &'static str) -> Self {
        Self::start(move |mut stream| {
            stream.write_all(name.as_bytes()).unwrap();
            let mut piece = vec![0; 100];
            while let Ok(read @ 1..) = stream.read(&mut piece) {
                let answer = [&piece[..read], name.as_bytes()].concat();
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        })
    }

    /// Says its name and ends.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::start(|mut stream| stream.write_all(name.as_bytes()).unwrap())
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A table whose arms speak TCP.
pub(crate) fn over_tcp(arms: &[ArmSpec<'_>], entry: Entry, revision: u64) -> RouteTable {
    let mut table = RouteTable { entry: Some(entry), ..table(revision, arms) };
    let splits = table.services.values_mut().flat_map(|routes| &mut routes.splits);
    splits.for_each(|split| split.protocol = Protocol::Tcp);
    table
}

/// A gateway that has a port for `shop`.
pub(crate) struct Opened {
    pub(crate) running: Running,
    pub(crate) port: SocketAddr,
}

pub(crate) fn open(arms: &[ArmSpec<'_>]) -> Opened {
    open_with(arms, &EntrySettings::default())
}

pub(crate) fn open_with(arms: &[ArmSpec<'_>], settings: &EntrySettings) -> Opened {
    open_on(GatewayConfig::new("test"), arms, settings)
}

pub(crate) fn open_on(config: GatewayConfig, arms: &[ArmSpec<'_>], settings: &EntrySettings) -> Opened {
    let timeouts = Timeouts { upstream_idle: Duration::from_millis(20), ..Timeouts::default() };
    let running = Running::of(GatewayConfig { timeouts, ..config }, arms);
    for revision in 2.. {
        let port = nobody();
        let mut settings = settings.clone();
        settings.tcp.iter_mut().for_each(|it| it.port = port.port());
        if settings.tcp.is_empty() {
            settings.tcp = vec![format!("{}=shop", port.port()).parse().unwrap()];
        }
        let entry = Entry { settings, ..Entry::default() };
        running.gateway.apply(over_tcp(arms, entry, revision)).unwrap();
        // Another test may have got the port meanwhile.
        if running.gateway.closed_ports(&environment()).is_empty() {
            return Opened { running, port };
        }
    }
    unreachable!()
}

impl Running {
    /// How clients come in by the table that is served.
    pub(crate) fn table_entry(&self) -> Entry {
        let table = self.gateway.serving(&environment()).unwrap();
        table.entry.clone().unwrap_or_default()
    }
}
