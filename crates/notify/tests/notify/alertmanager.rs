//! A real Alertmanager takes what we send, and knows when it is over.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use lockstep_monitor::{Notice, NoticeKind};
use lockstep_notify::{Kind, Sender};
use serde_json::Value;

use super::chats::one_of;
use super::notices::{fault, huge, recovery};

/// The program; it ends with the test.
struct Alertmanager {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Alertmanager {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("alertmanager.yml");
        std::fs::write(&config, "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n").unwrap();
        let mut process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.path().display()))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
            .stderr(Stdio::piped())
            .spawn()
            .expect("apt-get install prometheus-alertmanager");
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|it| it.contains("Listening on")).expect("it says where it listens");
        let address = line.split("address=").nth(1).unwrap().to_owned();
        // Nobody reads it, and a full pipe would hold it up.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address, _folder: folder }
    }

    /// Returns the alerts that last.
    fn alerts(&self) -> Vec<Value> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let ask = "GET /api/v2/alerts HTTP/1.0\r\nhost: x\r\n\r\n";
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn a_real_alertmanager_shows_a_fault_once_and_drops_it_when_it_is_over() {
    let real = Alertmanager::start();
    let target = one_of(Kind::Alertmanager, &format!("http://{}", real.address));
    let send = async |notice: Notice| Sender::new().send(&notice, &target, now_ms()).await;
    for _ in 0..2 {
        assert!(send(fault()).await.is_sent());
    }
    let alerts = real.alerts();
    assert_eq!(alerts.len(), 1, "a second try is no second alert");
    assert_eq!(
        (&alerts[0]["labels"]["alertname"], &alerts[0]["labels"]["service"]),
        (&"errors".into(), &"orders".into())
    );
    assert_eq!(
        alerts[0]["annotations"]["takes_it_back"],
        "lockstep rollback orders --to 1.2.0 --env production"
    );
    assert!(send(recovery()).await.is_sent());
    assert_eq!(real.alerts(), Vec::<Value>::new());

    let over = Notice { kind: NoticeKind::Recovered, ..huge() };
    assert!(send(huge()).await.is_sent());
    assert_eq!(real.alerts()[0]["labels"]["alertname"], "lockstep");
    assert!(send(over).await.is_sent());
    assert_eq!(real.alerts(), Vec::<Value>::new());
}
