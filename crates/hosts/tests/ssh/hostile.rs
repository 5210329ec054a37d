//! A host that means harm: its agent opens as many connections to the server as it can, says garbage on them, and reads nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use lockstep_hosts::{
    ClaimFile, Connect, ConnectError, Connection, FromHost, Holds, HostState, RemoteDriver,
};
use lockstep_runtime::{Answer, Driver};
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::time::timeout;

use crate::common::{PATIENCE, eventually};
use crate::fixture::OPTIONS;
use crate::way::Answers;

#[derive(Debug)]
struct Hostile;

#[derive(Debug)]
struct Silent;

impl Holds for Silent {
    fn said(&self) -> String {
        String::new()
    }
}

impl Connect for Hostile {
    fn connect(&self) -> Answer<'_, Result<Connection, ConnectError>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(1024 * 1024);
            tokio::spawn(act(theirs));
            Ok(Connection::new(ours, Box::new(Silent)))
        })
    }
}

async fn act(streams: DuplexStream) {
    let mut connection = h2::server::handshake(streams).await.unwrap();
    let mut ways = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        ways += u32::from(request.uri().path() == "/way");
        tokio::spawn(answer(request, respond, ways));
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, ways: u32) {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    let (text, holds) = match path.as_str() {
        "/hello" => (welcome(&whole(&mut body).await).to_string(), false),
        "/watch" => ("\"all\"\n".to_owned(), true),
        "/call" => {
            whole(&mut body).await;
            (json!({ "releases": [] }).to_string(), false)
        }
        // One in three is ended before it began.
        _ if ways.is_multiple_of(3) => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
        _ => ("waits".repeat(10_000), true),
    };
    let Ok(mut to) = respond.send_response(Response::new(()), false) else { return };
    to.reserve_capacity(text.len());
    let _ = to.send_data(text.into(), !holds);
    if holds {
        std::future::pending::<()>().await;
    }
}

async fn whole(body: &mut RecvStream) -> Value {
    let mut text = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        text.extend_from_slice(&piece);
    }
    serde_json::from_slice(&text).unwrap()
}

fn welcome(hello: &Value) -> Value {
    json!({
        "protocol": 1,
        "lease": { "server": "testing", "number": 1, "token": hello["claim"]["next"] },
        "facts": {
            "name": "web1", "kernel": "", "architecture": "", "boot": "", "clock_ms": 0, "user": 0, "folder": "/",
            "free_bytes": 0, "processors": 0, "memory_bytes": 0, "address": null, "not_after_boot": null,
            "unprotected": [],
        },
    })
}

#[tokio::test]
async fn a_host_that_opens_all_it_can_is_bounded_and_works_no_less_than_before() {
    let folder = tempfile::tempdir().unwrap();
    let answers = Arc::new(Answers::default());
    let claim = ClaimFile::at(folder.path().join("claim.json"), "testing", "run");
    let from_host = Some(Arc::clone(&answers) as Arc<dyn FromHost>);
    let driver = RemoteDriver::open("web1", Arc::new(Hostile), claim, OPTIONS, Arc::default(), from_host);
    let mut state = driver.state();
    let is_here = |state: &HostState| matches!(state, HostState::Here(_));
    timeout(PATIENCE, state.wait_for(is_here)).await.unwrap().unwrap();
    let now = || answers.now.load(Ordering::SeqCst);
    eventually("it has all that it may have", || now() == 128).await;
    assert!(driver.releases().await.unwrap().is_empty());
    assert_eq!(answers.most.load(Ordering::SeqCst), 128);
}
