//! A gateway that leaves while answers are on their way to clients that take them slowly.

use std::io::{Read as _, Write as _};

use socket2::{Domain, Socket, Type};

use super::*;

const LONG: usize = 2_000_000;

/// A connection that has little room for what was sent and not taken.
fn narrow(address: std::net::SocketAddr) -> std::net::TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1_024).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn long() -> (Instance, Running) {
    let instance = Instance::start(|_, stream| answer(stream, 200, &vec![b'x'; LONG]));
    let running = Running::start(&[stable(0, &[("one", instance.address)])]);
    (instance, running)
}

#[test]
fn a_stream_that_its_client_takes_slowly_reaches_it_whole() {
    let (_instance, running) = long();
    runtime().block_on(async {
        let stream = narrow(running.address);
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        // It says again and again that it took some: what it says is what must not be left unread.
        let mut client = h2::client::Builder::new();
        client.initial_window_size(200_000).initial_connection_window_size(200_000);
        let (send, connection) = client.handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        let caller = Caller(send);
        let (response, _) = caller.begin(request("GET", "/").body(()).unwrap(), true).await.unwrap();
        let (_, mut body) = response.await.unwrap().into_parts();
        running.gateway.begin_to_leave();
        let mut got = 0;
        while let Some(piece) = body.data().await {
            let piece = piece.unwrap_or_else(|error| panic!("after {got} bytes: {error}"));
            got += piece.len();
            body.flow_control().release_capacity(piece.len()).unwrap();
        }
        assert_eq!(got, LONG);
    });
}

#[test]
fn an_answer_reaches_a_client_whole_that_has_asked_for_more() {
    let (_instance, running) = long();
    running.gateway.begin_to_leave();
    let mut client = narrow(running.address);
    client.write_all(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n").unwrap();
    let mut bytes = vec![0; 100];
    client.read_exact(&mut bytes).unwrap();
    // Its next requests come all the time, and nobody will read them.
    loop {
        let mut piece = [0; 4_096];
        match client.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
            Err(error) => panic!("after {} bytes: {error}", bytes.len()),
        }
        // Once the other side has closed it may refuse them.
        let _ = client.write(b"\r\n");
    }
    let head = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    assert_eq!(bytes.len() - head - 4, LONG);
}
