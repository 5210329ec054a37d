//! With real sockets: what is answered, what is cut, and who is told that there is no room.

use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::sync::mpsc;

use super::*;

/// A large answer: more than the kernel takes for a client that does not read.
const LARGE: usize = 32 * 1024 * 1024;

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    /// Says something for each request that is being answered.
    answering: mpsc::UnboundedReceiver<()>,
}

/// Serves `/` at once, `/large`, and `/never` without end.
async fn serve_here(limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, answering) = mpsc::unbounded_channel();
    let never = move || {
        tell.send(()).unwrap();
        std::future::pending::<StatusCode>()
    };
    let app = Router::new()
        .route("/", post(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route("/never", get(never));
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(listener, app, limits, stop.clone()));
    Served { address, stop, served, answering }
}

impl Served {
    async fn call(&self, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    async fn hang(&mut self) -> TcpStream {
        let stream = self.call("GET /never HTTP/1.1\r\nhost: x\r\n\r\n").await;
        self.answering.recv().await.unwrap();
        stream
    }
}

/// Reads to the end; a connection that was reset has ended too.
async fn all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_stop_closes_what_waits_and_lets_an_answer_reach_a_slow_reader() {
    let served = serve_here(Limits::of(8)).await;
    let silent = served.call("").await;
    let half = served.call("GET /never HTTP/1.1\r\nhost:").await;
    let mut kept = served.call("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    let mut head = [0; 15];
    kept.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut slow = served.call("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
    slow.read_exact(&mut head).await.unwrap();

    served.stop.cancel();
    for stream in [silent, half] {
        assert_eq!(all(stream).await, "");
    }
    let rest = all(kept).await;
    assert!(rest.contains("127.0.0.1:"), "the handler knows its caller: {rest:?}");
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody else is let in");
    assert!(!served.served.is_finished());
    let large = all(slow).await;
    assert_eq!(large.split_once("\r\n\r\n").unwrap().1.len(), LARGE);
    served.served.await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_after_the_grace() {
    let mut served = serve_here(Limits::of(8)).await;
    let hangs = served.hang().await;
    tokio::time::pause();
    let stopped = tokio::time::Instant::now();
    served.stop.cancel();
    served.served.await.unwrap();
    assert!(stopped.elapsed() >= GRACE);
    assert_eq!(all(hangs).await, "");
}

#[tokio::test]
async fn half_a_head_is_not_waited_for_for_ever() {
    let served = serve_here(Limits::of(8)).await;
    let half = served.call("GET /never HTTP/1.1\r\nhost:").await;
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(all(half).await, "");
    assert!(began.elapsed() < HEAD_TIMEOUT * 2, "after {:?}", began.elapsed());
}

#[tokio::test]
async fn when_all_requests_are_under_way_the_next_client_is_told_so_and_room_is_made_again() {
    let mut served = serve_here(Limits::of(4)).await;
    let (first, _second, _third) = (served.hang().await, served.hang().await, served.hang().await);
    let answer = all(served.call("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("connection: close") && answer.contains("\"unavailable\""), "{answer}");
    drop(first);
    // The server notices some time later that the first one is gone.
    loop {
        let stream =
            served.call("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let answer = all(stream.await).await;
        if answer.starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    }
}

#[tokio::test]
async fn idle_connections_go_for_new_ones() {
    let served = serve_here(Limits::of(4)).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(served.call("POST / HTT").await);
        let post = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let answer = all(served.call(post).await).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:?}");
    }
    assert_eq!(all(idle.swap_remove(0)).await, "");
}
