//! What an agent answers to requests, once it has greeted.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use lockstep_domain::{Instance, InstanceId};
use lockstep_files::whole::file_system_of;
use lockstep_runtime::{Follow, Instances, LocalDriver, LogReader};

use super::reply;
use super::way::Way;
use crate::artifact::Incoming;
use crate::place::Alone;
use crate::protocol::{ARTIFACT_FIELD, Artifact, Call, LogRequest, Row, Said, Seen};
use crate::refusal::Refusal;
use crate::wire;

/// What answers are made of.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) driver: LocalDriver,
    /// Where all of it is kept.
    pub(super) folder: PathBuf,
    pub(super) incoming: Incoming,
    pub(super) way: Way,
    pub(super) _alone: Alone,
}

impl Answers {
    /// Answers one request. What cannot be answered any more, because the other side is gone, is not.
    pub(super) async fn answer(self: Arc<Self>, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let path = request.uri().path().to_owned();
        if let Err(error) = self.answer_to(&path, request, respond).await {
            tracing::debug!(path, %error, "a request was not answered whole");
        }
    }

    async fn answer_to(
        &self,
        path: &str,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> io::Result<()> {
        match path {
            "/call" => {
                let said = match wire::read::<Call>(request.into_body()).await {
                    Ok(call) => self.call(call).await.unwrap_or_else(Said::Refused),
                    Err(error) => Said::Refused(Refusal::of(&error)),
                };
                reply(&mut respond, StatusCode::OK, &said)
            }
            "/watch" => self.show(begin(respond)?).await,
            "/log" => self.log(wire::read(request.into_body()).await?, respond).await,
            "/way" => self.way.carry(&self.driver, request.into_body(), respond).await,
            "/artifact" => {
                let said = self.artifact(request).await.map_or_else(Said::Refused, |()| Said::Done);
                reply(&mut respond, StatusCode::OK, &said)
            }
            "/rest" => {
                let said = self.rest(request).await.map_or_else(Said::Refused, |()| Said::Done);
                reply(&mut respond, StatusCode::OK, &said)
            }
            other => {
                let said = Said::Refused(Refusal::because(format!("`{other}` is nothing that is answered")));
                reply(&mut respond, StatusCode::NOT_FOUND, &said)
            }
        }
    }

    async fn call(&self, call: Call) -> Result<Said, Refusal> {
        match call {
            Call::Start(spec) => self.driver.start(*spec).await?,
            Call::Stop(id) => self.driver.stop(&id).await?,
            Call::Routed { id, routed } => {
                self.driver.tell_routed(&id, routed).map_err(|error| Refusal::of(&error))?;
            }
            Call::Remove(id) => self.driver.remove(&id).await?,
            Call::Look(release) => return Ok(Said::Looked(self.driver.unpacked(&release).await.into())),
            Call::Releases => {
                let releases = self.driver.releases().await.map_err(|error| Refusal::of(&error))?;
                return Ok(Said::Releases(releases));
            }
            Call::Ended => {
                let ended = self.driver.ended().await.map_err(|error| Refusal::of(&error))?;
                return Ok(Said::Ended(ended));
            }
            Call::Usage => {
                let used = self.driver.usage().await.map_err(|error| Refusal::of(&error))?;
                return Ok(Said::Usage(used));
            }
            Call::Room => {
                let room = file_system_of(&self.folder).map_err(|error| Refusal::of(&error))?;
                return Ok(Said::Room { free: room.free, size: room.size });
            }
            Call::RemoveRelease(release) => self.driver.remove_release(&release).await?,
            Call::Arrived(artifact) => return Ok(Said::Arrived(self.incoming.arrived(&artifact))),
            Call::Lacking { artifact, recipe, like } => {
                let lacking = self.incoming.lacking(&self.driver, artifact, *recipe, &like);
                return lacking.await.map(Said::Lacking);
            }
        }
        Ok(Said::Done)
    }

    async fn artifact(&self, request: Request<RecvStream>) -> Result<(), Refusal> {
        let artifact = announced(request.headers())?;
        self.incoming.take(&self.driver, &artifact, request.into_body()).await
    }

    async fn rest(&self, request: Request<RecvStream>) -> Result<(), Refusal> {
        let rest = announced(request.headers())?;
        self.incoming.take_rest(&self.driver, &rest, request.into_body()).await
    }

    /// Sends what is seen of all instances, and whatever changes.
    async fn show(&self, mut body: SendStream<Bytes>) -> io::Result<()> {
        let mut instances = self.driver.watch();
        let mut shown = BTreeMap::new();
        let mut last = Some(Seen::All);
        loop {
            let now = Instances::clone(&instances.borrow_and_update());
            for seen in self.news(&now, &mut shown).into_iter().chain(last.take()) {
                wire::send(&mut body, wire::line(&seen)?).await?;
            }
            if instances.changed().await.is_err() {
                return wire::end(&mut body);
            }
        }
    }

    fn news(&self, now: &Instances, shown: &mut BTreeMap<InstanceId, Row>) -> Vec<Seen> {
        let gone: Vec<_> = shown.keys().filter(|id| !now.contains_key(*id)).cloned().collect();
        shown.retain(|id, _| now.contains_key(id));
        let row = |instance: &Instance| {
            let before = shown.get(&instance.id).filter(|row| row.instance == *instance);
            let held = before.map_or_else(|| self.driver.held_of(instance), |row| row.held.clone());
            Row { instance: instance.clone(), told: self.driver.told(&instance.id), held }
        };
        let rows = now.values().map(row);
        let changed: Vec<Row> = rows.filter(|row| shown.get(&row.instance.id) != Some(row)).collect();
        shown.extend(changed.iter().map(|row| (row.instance.id.clone(), row.clone())));
        let changed = changed.into_iter().map(|row| Seen::Row(Box::new(row)));
        gone.into_iter().map(Seen::Gone).chain(changed).collect()
    }

    async fn log(&self, wanted: LogRequest, mut respond: SendResponse<Bytes>) -> io::Result<()> {
        let follow = if wanted.follow { Follow::Yes } else { Follow::No };
        match self.driver.log(&wanted.environment, &wanted.id, follow) {
            Some(log) => send_lines(log, begin(respond)?).await,
            None => {
                let text = format!("there is no log of instance `{}` on this host", wanted.id);
                reply(&mut respond, StatusCode::NOT_FOUND, &Refusal::because(text))
            }
        }
    }
}

async fn send_lines(mut log: LogReader, mut body: SendStream<Bytes>) -> io::Result<()> {
    while let Some(mut line) = log.next_line().await? {
        line.push('\n');
        wire::send(&mut body, line.into()).await?;
    }
    wire::end(&mut body)
}

/// Begins an answer whose body follows.
fn begin(mut respond: SendResponse<Bytes>) -> io::Result<SendStream<Bytes>> {
    respond.send_response(Response::new(()), false).map_err(wire::as_io)
}

fn announced(head: &HeaderMap) -> Result<Artifact, Refusal> {
    let field = head.get(ARTIFACT_FIELD).and_then(|value| value.to_str().ok());
    let read = field.and_then(|text| serde_json::from_str(text).ok());
    read.ok_or_else(|| Refusal::because(format!("the field `{ARTIFACT_FIELD}` says no artifact")))
}
