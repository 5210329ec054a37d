//! Asking a gateway as a client does.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::Method;
use hyper::header::HeaderName;
use lockstep_reach::{Reach, ServerAddress, Trust};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Each request is of a client of its own, so that every version of a split is met.
const KEY: HeaderName = HeaderName::from_static("x-lockstep-key");
/// Longest path that is asked for.
const MAX_PATH: usize = 8_000;

/// Answers to the requests for one path.
#[derive(Debug, Serialize)]
pub(super) struct Asked {
    pub(super) path: String,
    /// How often which status came, or why none did.
    pub(super) answers: BTreeMap<String, u32>,
}

impl Asked {
    pub(super) fn words(&self) -> String {
        let words: Vec<_> =
            self.answers.iter().map(|(answer, count)| format!("{count} x {answer}")).collect();
        words.join(", ")
    }
}

/// Reads a path, with a query if it has one.
pub(super) fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/')
        && text.len() <= MAX_PATH
        && text.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'#');
    if is_path { Ok(text.to_owned()) } else { Err("write a path such as /checkout?item=7".to_owned()) }
}

/// A client of a gateway.
#[derive(Debug)]
pub(super) struct Probe {
    reach: Reach,
    runtime: Runtime,
}

impl Probe {
    pub(super) fn new(address: ServerAddress, ctx: &Context) -> Result<Self, Failure> {
        let trust = Trust::new(ctx.globals.ca.clone());
        let reach = Reach::shared(address, std::sync::Arc::new(trust))?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Internal, "no connection can be made").caused_by(&error))?;
        Ok(Self { reach, runtime })
    }

    pub(super) fn address(&self) -> String {
        self.reach.address().to_string()
    }

    /// Asks for a path so many times, one after the other.
    pub(super) fn ask(&self, path: &str, times: u32) -> Asked {
        let mut answers = BTreeMap::new();
        for number in 0..times {
            let key = format!("propagation-check-{number}");
            *answers.entry(self.runtime.block_on(self.answer(path, &key))).or_default() += 1;
        }
        Asked { path: path.to_owned(), answers }
    }

    async fn answer(&self, path: &str, key: &str) -> String {
        let asking = async {
            let answer = self.reach.ask_once(Method::GET, path, &[(KEY, key)]).await?;
            let status = answer.status().as_u16();
            // What goes on after the head belongs to the request as well. What comes is looked at by nobody.
            let mut body = answer.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            Ok::<_, lockstep_reach::ReachError>(status.to_string())
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("none within {} s", PATIENCE.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_are_asked_for() {
        assert_eq!(path("/checkout?item=7").unwrap(), "/checkout?item=7");
        for bad in ["checkout", "http://shop.test/", "/a b", "/a\r\nb", "/a#b", ""] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }
}
