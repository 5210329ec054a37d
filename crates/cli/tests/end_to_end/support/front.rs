//! What ends TLS before a server, and can be killed and started again where it was: a front of our own, and nginx set up as
//! the guide says.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::eventually;
use super::place::Place;

/// The page whose nginx set-up is what the test runs.
const GUIDE: &str = include_str!("../../../../../docs/guides/operations.md");

/// Which program ends TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Own,
    Nginx,
}

/// A front of a server; its certificate is for `localhost` and signed by an authority in a file.
pub(crate) struct Front {
    kind: Kind,
    folder: String,
    server: String,
    port: u16,
    running: Option<Running>,
}

enum Running {
    Own(Runtime),
    Nginx(Child),
}

impl Front {
    /// Starts a front; `None` when its program is not installed.
    pub(crate) fn before(place: &Place, kind: Kind) -> Option<Self> {
        let folder = place.path("front");
        std::fs::create_dir(&folder).unwrap();
        make_certificates(Path::new(&folder));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut front = Self { kind, folder, server: place.address().to_owned(), port, running: None };
        front.start()?;
        Some(front)
    }

    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn authority(&self) -> String {
        format!("{}/ca.pem", self.folder)
    }

    /// Starts it where it was; `None` when its program is not installed.
    pub(crate) fn start(&mut self) -> Option<()> {
        let running = match self.kind {
            Kind::Own => Running::Own(self.own()),
            Kind::Nginx => Running::Nginx(self.nginx(&find("nginx")?)),
        };
        self.running = Some(running);
        eventually("the front listens", || std::net::TcpStream::connect(("127.0.0.1", self.port)).ok());
        Some(())
    }

    /// Ends it with everything that goes through it.
    pub(crate) fn kill(&mut self) {
        match self.running.take() {
            Some(Running::Own(runtime)) => runtime.shutdown_background(),
            Some(Running::Nginx(mut process)) => {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            None => {}
        }
    }

    fn own(&self) -> Runtime {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(Path::new(&self.folder))));
        let (server, address) = (self.server.clone(), ("127.0.0.1", self.port));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener =
            eventually("the port is free", || runtime.block_on(tokio::net::TcpListener::bind(address)).ok());
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(acceptor.clone(), stream, server.clone()));
            }
        });
        runtime
    }

    fn nginx(&self, program: &Path) -> Child {
        let folder = &self.folder;
        let server = nginx_in_guide()
            .replace("listen 443 ssl", &format!("listen 127.0.0.1:{} ssl", self.port))
            .replace("/etc/ssl/lockstep.pem", &format!("{folder}/cert.pem"))
            .replace("/etc/ssl/private/lockstep.key", &format!("{folder}/key.pem"))
            .replace("127.0.0.1:8470", &self.server);
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let places = places.map(|place| format!("{place}_temp_path {folder}/{place};\n")).concat();
        // One process, so that its end is the end of everything.
        let config = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr warn;\n\
             events {{ worker_connections 256; }}\nhttp {{ access_log off;\n{places}{server}}}\n"
        );
        std::fs::write(format!("{folder}/nginx.conf"), config).unwrap();
        let arguments = ["-e", "stderr", "-p", folder, "-c", "nginx.conf"];
        Command::new(program).args(arguments).stdin(Stdio::null()).spawn().unwrap()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn pass(acceptor: TlsAcceptor, client: TcpStream, server: String) {
    // Whoever leaves first, the other is told by the end of its connection.
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

fn nginx_in_guide() -> &'static str {
    let (_, rest) = GUIDE.split_once("```nginx\n").expect("the guide shows nginx");
    rest.split_once("```").expect("the example ends").0
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/local/sbin"]);
    folders.map(|folder| Path::new(folder).join(program)).find(|program| program.is_file())
}

fn make_certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "Authority of a test");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

fn server_config(folder: &Path) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.unwrap().with_no_client_auth().with_single_cert(chain.map(Result::unwrap).collect(), key).unwrap()
}
