//! Recent requests as they are shown and sent.

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::routes::conditions::Sort;
use serde::{Deserialize, Serialize};

use super::facts::Asked;
use super::{Chosen, Ended, Passed, Slot, Way};

/// The last requests of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecentList {
    /// The gateway.
    pub gateway: String,
    /// The newest first.
    pub requests: Vec<Recent>,
}

/// A request: what is kept of it, where it went first and why, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// When its head had been read, RFC 3339 in UTC.
    pub time: String,
    /// The environment.
    pub environment: String,
    /// The address at the other end of the connection; where a proxy is believed and a route asks for the client's network, the client's.
    pub client: String,
    /// `outside`, `proxy` or `instance`.
    pub caller: String,
    /// Whether it came by https.
    pub https: bool,
    /// What it is where it is no request, but a connection to a service that speaks TCP; then method, host and path are empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpKnown>,
    /// Its method.
    pub method: String,
    /// The host that was asked for.
    pub host: String,
    /// Its path, without query and token.
    pub path: String,
    /// Whether host and path are here as a whole.
    pub whole: bool,
    /// What the table asks for of header fields, cookies and query parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Known>,
    /// Whether the client's address is what routes asked for.
    pub knows_client: bool,
    /// The route that took it; none for calls by name and answers before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The service of its route, or that was called by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The version that was chosen first; `ended.version` is that of the instance that was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What chose the version: `rule`, `key`, `chance` for a request without a key, `breaker` where another one is left alone, or `visit` for one that began at other shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_by: Option<String>,
    /// Where its key lies from 0 to 9,999, drawn for its service.
    pub place: u16,
    /// How important it is, where that is not `normal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// How it ended; nothing while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<EndedAs>,
}

/// A connection to a service that speaks TCP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpKnown {
    /// The port where it came.
    pub port: u16,
    /// What its client asked for within TLS, where that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Bytes that the instance took.
    pub bytes_up: u64,
    /// Bytes that the client took.
    pub bytes_down: u64,
}

/// A name that the table asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// `header`, `cookie` or `query`.
    pub of: String,
    /// Its name.
    pub name: String,
    /// Whether the request has it.
    pub present: bool,
    /// Its values, where the table asks for them and they are no credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndedAs {
    /// What the client got; 0 for nothing.
    pub status: u16,
    /// The code of an answer of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The instance that was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The version of that instance, where it is another one than was chosen first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// How many instances were asked.
    pub tries: u32,
    /// What came of asking another instance as well: `won`, `lost`, `no_budget`, `no_instance` or `left`; nothing where that was not wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hedged: Option<String>,
    /// Whether the stable version answered for one on trial.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shielded: bool,
    /// Whether the version stood in for one that is left alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// Whether a copy of it was sent to a version that is tried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mirrored: bool,
    /// The fault that it met on purpose: `delayed on purpose by 200 ms by fault 3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// `whole`, `client_left`, `broken_off` or `out_of_time`; of a TCP connection who ended it, as in the access log.
    pub end: String,
}

impl From<Slot> for Recent {
    fn from(Slot { at, way, facts, tcp, ended, .. }: Slot) -> Self {
        let known = facts.asked.as_deref().map(|asked| known(asked, &facts)).unwrap_or_default();
        let asks_clients = facts.asked.as_deref().is_some_and(|asked| asked.clients);
        let Way { environment, client, caller, https, seat, arm, place, priority } = way;
        let version = arm.as_ref().and_then(|(counts, _)| counts.arm.as_ref());
        let last = ended.as_ref().and_then(|ended| ended.arm.as_ref()?.arm.as_ref());
        let last = last.filter(|last| Some(*last) != version).map(|last| last.version.to_string());
        let named = tcp.as_ref().and_then(|passed| passed.service.as_ref()).map(ToString::to_string);
        let route_service = seat.as_ref().map(|seat| seat.service.to_string());
        Self {
            time: jiff::Timestamp::try_from(at).map(|at| format!("{at:.3}")).unwrap_or_default(),
            environment: environment.to_string(),
            client: client.to_string(),
            caller: word(caller).to_owned(),
            https,
            tcp: tcp.as_deref().map(TcpKnown::of),
            method: facts.method,
            host: facts.host,
            path: facts.path,
            whole: facts.is_whole,
            known,
            knows_client: caller != Caller::Proxy || asks_clients,
            route: seat.as_ref().map(|seat| seat.label.clone()),
            service: version.map(|arm| arm.service.to_string()).or(route_service).or(named),
            version: version.map(|arm| arm.version.to_string()),
            chosen_by: arm.as_ref().map(|(_, chosen)| chosen.word().to_owned()),
            place,
            priority: Some(priority.word().to_owned()).filter(|_| !priority.is_usual()),
            ended: ended.map(|ended| EndedAs { version: last, ..EndedAs::from(ended) }),
        }
    }
}

fn known(asked: &Asked, facts: &super::Facts) -> Vec<Known> {
    let one = |(number, name): (usize, &super::facts::AskedName)| {
        let found: Vec<_> = facts.found().filter(|(of, _)| *of == number).map(|(_, value)| value).collect();
        let text = |value: &Option<&[u8]>| Some(std::str::from_utf8((*value)?).ok()?.to_owned());
        let values = Some(&found).filter(|found| !found.is_empty());
        let values = values.and_then(|found| found.iter().map(text).collect());
        Known {
            of: word_of(name.sort).to_owned(),
            name: name.name.clone(),
            present: !found.is_empty(),
            values,
        }
    };
    asked.names.iter().enumerate().map(one).collect()
}

impl TcpKnown {
    fn of(passed: &Passed) -> Self {
        let (bytes_up, bytes_down) = passed.bytes;
        Self { port: passed.port, server_name: passed.name.clone(), bytes_up, bytes_down }
    }
}

impl From<Ended> for EndedAs {
    fn from(ended: Ended) -> Self {
        let Ended {
            status,
            code,
            instance,
            took,
            tries,
            hedged,
            shielded,
            degraded,
            mirrored,
            fault,
            end,
            arm: _,
        } = ended;
        Self {
            status,
            code: code.map(str::to_owned),
            instance: instance.map(|address| address.to_string()),
            version: None,
            ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            tries,
            hedged: hedged.map(|hedged| hedged.word().to_owned()),
            shielded,
            degraded,
            mirrored,
            fault: fault.map(|met| met.to_string()),
            end: end.to_owned(),
        }
    }
}

/// The word for who sent a request.
pub(crate) const fn word(caller: Caller) -> &'static str {
    match caller {
        Caller::Outside => "outside",
        Caller::Proxy => "proxy",
        Caller::Instance => "instance",
    }
}

/// The word for where a name is looked for.
pub(super) const fn word_of(sort: Sort) -> &'static str {
    match sort {
        Sort::Header => "header",
        Sort::Query => "query",
        Sort::Cookie => "cookie",
    }
}

impl Chosen {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Lane => "lane",
            Self::Key => "key",
            Self::Chance => "chance",
            Self::Breaker => "breaker",
            Self::Visit => "visit",
        }
    }
}
