//! `lockstep contract registry`: a contract out of a schema registry, as one document.
//!
//! The registry is asked by the interface that Confluent gave it. Everything that comes from it is bounded: time, size, and how
//! many schemas one refers to.

mod bundle;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use lockstep_reach::{PlainHttp, Reach, ServerAddress, Trust};
use serde::Deserialize;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use bundle::Taken;

/// Longest time of one question: a registry answers out of memory.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// Largest answer: registries refuse schemas of more than a few MiB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Most schemas that one refers to, directly or not.
const MAX_SCHEMAS: usize = 200;

/// Prints a contract that a schema registry keeps.
///
/// The schema is printed as one document, with those that it refers to put into it: Avro, JSON Schema, or Protobuf without
/// references. A manifest takes a contract from a registry at each release by `registry` and `subject`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  lockstep contract registry http://127.0.0.1:8081 orders-value
  lockstep contract registry https://registry.example.org orders-value --version 3 --user-file registry.txt
  avro = { registry = \"http://127.0.0.1:8081\", subject = \"orders-value\", role = \"writer\" }   # in [contract]")]
pub(super) struct Args {
    /// The address of the registry.
    #[arg(value_name = "URL")]
    address: ServerAddress,
    /// The subject, such as orders-value.
    #[arg(value_name = "SUBJECT")]
    subject: String,
    /// The number of the version, or latest.
    #[arg(long, value_name = "VERSION", default_value = "latest", value_parser = version)]
    version: String,
    /// A file with USER:PASSWORD for the registry; sent by https, or to this machine.
    #[arg(long, value_name = "FILE")]
    user_file: Option<PathBuf>,
    /// A variable with USER:PASSWORD for the registry; for builds, which have no such file.
    #[arg(long, value_name = "NAME", conflicts_with = "user_file")]
    user_variable: Option<String>,
}

fn version(text: &str) -> Result<String, String> {
    let is_number = text.parse::<u32>().is_ok_and(|number| number > 0);
    if is_number || text == "latest" {
        Ok(text.to_owned())
    } else {
        Err("write a number from 1, or latest".into())
    }
}

/// What a registry says of one version of a subject.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    schema: String,
    /// Left out for Avro.
    #[serde(default)]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<ReferenceEntry>,
}

#[derive(Debug, Deserialize)]
struct ReferenceEntry {
    name: String,
    subject: String,
    version: u32,
}

impl Args {
    pub(super) fn run(self, ctx: &Context) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| {
            Failure::new(Exit::EndedBadly, "cannot wait for the registry").caused_by(&error)
        })?;
        let registry = self.registry(ctx)?;
        let taken = runtime.block_on(registry.take(&self.subject, &self.version))?;
        let document = bundle::one_document(&taken).map_err(|why| {
            Failure::new(
                Exit::EndedBadly,
                format!("`{}` cannot be printed as one document: {why}", self.subject),
            )
            .hint("keep the files in the repository, and name their folder")
        })?;
        ctx.out.text(&document)
    }

    fn registry(&self, ctx: &Context) -> Result<Registry, Failure> {
        let user = self.user_file.as_ref().map(|path| {
            let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
            Ok::<_, Failure>(text.trim_end_matches(['\r', '\n']).to_owned())
        });
        let user = match &self.user_variable {
            Some(name) => Some(of_variable(name)?),
            None => user.transpose()?,
        };
        let is_safe = self.address.is_tls() || self.address.loopback_port().is_some();
        if user.is_some() && !is_safe && !ctx.globals.plain_http {
            let detail = format!(
                "a password is not sent to {} by http, where everybody on the way can read it",
                self.address
            );
            return Err(Failure::usage(detail).hint("write https://, or allow it with --plain-http"));
        }
        let trust = Trust::new(ctx.globals.ca.clone());
        let reach = Reach::new(self.address.clone(), trust, None, PlainHttp::LoopbackOnly)?;
        Ok(Registry {
            reach,
            authorization: user.map(|user| format!("Basic {}", bundle::base64(user.as_bytes()))),
        })
    }
}

fn of_variable(name: &str) -> Result<String, Failure> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| {
        Failure::usage(format!("the variable `{name}` is not set, and the registry wants USER:PASSWORD from it")).hint(
            "name it under variables of [build], and let whoever runs the server allow it: lockstep server --build-variable",
        )
    })
}

/// A registry with the right to ask it.
struct Registry {
    reach: Reach,
    authorization: Option<String>,
}

impl Registry {
    /// Takes a version of a subject with everything it refers to.
    async fn take(&self, subject: &str, version: &str) -> Result<Taken, Failure> {
        let first = self.entry(subject, version).await?;
        let mut waiting: Vec<ReferenceEntry> = first.references;
        let mut others: BTreeMap<String, String> = BTreeMap::new();
        while let Some(next) = waiting.pop() {
            if others.contains_key(&next.name) {
                continue;
            }
            if others.len() >= MAX_SCHEMAS {
                return Err(self.failed(subject, &format!("it refers to more than {MAX_SCHEMAS} schemas")));
            }
            let entry = self.entry(&next.subject, &next.version.to_string()).await?;
            waiting.extend(entry.references);
            others.insert(next.name, entry.schema);
        }
        let kind = first.schema_type.unwrap_or_else(|| "AVRO".to_owned());
        Ok(Taken { kind, schema: first.schema, others })
    }

    async fn entry(&self, subject: &str, version: &str) -> Result<Entry, Failure> {
        let path = format!("/subjects/{}/versions/{version}", bundle::in_path(subject));
        let answer = tokio::time::timeout(ANSWER_TIME, self.ask(&path)).await;
        let (status, body) = answer.map_err(|_| {
            self.failed(subject, &format!("no answer within {} seconds", ANSWER_TIME.as_secs()))
        })??;
        match status {
            200 => serde_json::from_slice(&body).map_err(|error| {
                self.failed(subject, "its answer is not that of a schema registry").caused_by(&error)
            }),
            401 | 403 => Err(self
                .failed(subject, "it wants a user and a password, or others")
                .hint("give them with --user-file FILE")),
            404 => Err(self.failed(subject, &format!("it has no version {version} of this subject"))),
            status => Err(self.failed(subject, &format!("it answered {status}"))),
        }
    }

    async fn ask(&self, path: &str) -> Result<(u16, Vec<u8>), Failure> {
        let mut fields =
            vec![(hyper::header::ACCEPT, "application/vnd.schemaregistry.v1+json, application/json")];
        fields.extend(self.authorization.as_deref().map(|value| (hyper::header::AUTHORIZATION, value)));
        let response = self.reach.ask(hyper::Method::GET, path, &fields, hyper::body::Bytes::new()).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| Failure::from(self.reach.broke_off(error)))?;
        Ok((status, body.to_bytes().to_vec()))
    }

    fn failed(&self, subject: &str, why: &str) -> Failure {
        Failure::new(
            Exit::EndedBadly,
            format!("cannot take `{subject}` from the registry at {}: {why}", self.reach.address()),
        )
    }
}
