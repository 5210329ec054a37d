//! What would happen to a request, and why: [`Desk::find_way`] on a table that nobody is served by, with what it decided by in words.
//!
//! Invariant: the outcome is what `find_way` returned. Words are made beside it and decide nothing.

mod connection;
mod question;
mod words;

use std::sync::Arc;

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::injection::Fault;
use lockstep_domain::routes::index::Verdict;
use lockstep_domain::routes::{CallerToken, FULL_WEIGHT, RouteTable, SplitRule, SplitTakes, caller_token};
use lockstep_domain::{EnvironmentName, ServiceName};
use serde::Serialize;
use thiserror::Error;

use super::{Desk, Notes, Routed};
use crate::config::Timeouts;
use crate::environment::{Environment, Place};
use crate::error::{ApplyError, StartError};
use crate::field::Field;
use crate::injection::{Met, may_meet};
use crate::lanes::LaneSeat;
use crate::maintenance;
use crate::problem::Problem;
use crate::request::{Request, fields};
use crate::request_id;
use crate::request_view::View;
use crate::table::{ServiceTargets, WorkerTable};
use crate::worker::Worker;

pub use connection::{ConnectionQuestion, explain_connection};
pub use question::{Question, QuestionError};

/// Why nothing can be said.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The table cannot be served.
    #[error(transparent)]
    Table(#[from] ApplyError),
    /// The system gave no thread.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// What would happen to a request, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The environment of the table.
    pub environment: EnvironmentName,
    /// The revision of the table.
    pub revision: u64,
    /// What is decided, in its order.
    pub steps: Vec<Step>,
    /// The routes in their order, and whether each takes the request; none where no route is asked.
    pub routes: Vec<Seen>,
    /// What it comes to.
    pub outcome: Outcome,
}

/// One thing that is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it is about: `request`, `path`, `caller`, `id`, `tls`, `route`, `fault`, `lane`, `key`, `version`, `instance`, `breaker`, `priority`, `limit`; of a connection `connection`, `port`.
    pub about: &'static str,
    /// What is decided, and why.
    pub says: String,
}

/// A route as a request sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Host, path and conditions.
    pub route: String,
    /// Its service.
    pub service: String,
    /// Whether it would take the request if no other came before.
    pub takes: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Outcome {
    /// An instance is asked.
    Served {
        /// The service.
        service: String,
        /// The version; none where it is drawn for each such request.
        version: Option<String>,
        /// The versions of the service, with their shares.
        versions: Vec<Share>,
        /// The path that the instance sees, without the query.
        path: String,
        /// The host that the instance sees.
        host: String,
    },
    /// A connection is given to an instance of a service that speaks TCP.
    Connected {
        /// The service.
        service: String,
        /// The version; none where it is drawn for each connection.
        version: Option<String>,
        /// The versions of the service, with their shares.
        versions: Vec<Share>,
        /// The port.
        port: u16,
    },
    /// The gateway answers, as a route or the environment says.
    Answered {
        /// The status.
        status: u16,
        /// What answers: `redirect`, `respond`, `preflight`, `https_only`, `escaped_slash`, `maintenance`.
        code: &'static str,
        /// Where the client is sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        location: Option<String>,
    },
    /// The gateway answers that it cannot be served.
    Refused {
        /// The status; 0 for a connection that is closed.
        status: u16,
        /// The code of the answer.
        code: &'static str,
        /// Why.
        detail: String,
    },
}

/// A version of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The version.
    pub version: String,
    /// Its share of the clients in 1/10,000.
    pub weight: u32,
    /// What its instances speak.
    pub protocol: &'static str,
    /// Its instances.
    pub instances: Vec<String>,
}

/// Says what a gateway that serves this table would do with a request. Nothing is sent to anybody; all instances count as healthy.
///
/// # Errors
/// When the table cannot be served, or the system gives no thread.
pub fn explain(table: RouteTable, question: &Question) -> Result<Explanation, ExplainError> {
    let (environment_name, revision) = (table.environment.clone(), table.revision);
    let place = Place { zone: question.zone.clone(), names: None };
    let environment = Arc::new(Environment::at(place, environment_name.clone(), 1));
    let (table, faults) = without_lots(table);
    environment.apply(table)?;
    let started = Worker::start(0, Timeouts::default(), None, None, None, None);
    let worker = started.map_err(|source| StartError::Worker { worker: 0, source })?;
    let desk = Desk { peer: question.peer(), environment, worker };
    let mut account = Account { steps: Vec::new(), routes: Vec::new(), faults };
    let outcome = account.outcome(&desk, question);
    desk.worker.end();
    let Account { steps, routes, .. } = account;
    Ok(Explanation { environment: environment_name, revision, steps, routes, outcome })
}

/// Takes out the faults that only some of the requests meet that they are for: what is drawn would be another answer each time.
fn without_lots(mut table: RouteTable) -> (RouteTable, Vec<Fault>) {
    let Some(rules) = &mut table.rules else { return (table, Vec::new()) };
    let drawn = rules.faults.extract_if(.., |fault| fault.share < FULL_WEIGHT).collect();
    (table, drawn)
}

struct Account {
    steps: Vec<Step>,
    routes: Vec<Seen>,
    /// Those that only some requests meet.
    faults: Vec<Fault>,
}

impl Account {
    fn say(&mut self, about: &'static str, says: impl Into<String>) {
        self.steps.push(Step { about, says: says.into() });
    }

    fn outcome(&mut self, desk: &Desk, question: &Question) -> Outcome {
        let (head, mut room) = (question.head(), fields());
        let request = match Request::read(head.as_bytes(), &mut room, || desk.path_reading()) {
            Ok(Some((_, request))) => request,
            Ok(None) => return refused(&words::no_head()),
            Err(problem) => return refused(&problem),
        };
        let mut notes = Notes::default();
        let found = desk.find_way(&request, &mut notes);
        let table = desk.environment.table(0).load();
        if let Some(table) = table.as_ref() {
            self.tell(desk, table, &request);
        }
        match found {
            Ok(routed) => {
                let lanes = table.as_ref().map_or(&[][..], |table| &table.lanes);
                self.served(&request, &routed, (&notes, lanes))
            }
            Err(problem) if problem.is_wanted() => {
                if let (Some(met), Some(table)) = (notes.met(), table.as_ref()) {
                    let faults = table.routes.rules.iter().flat_map(|rules| &rules.faults);
                    let fault = faults.into_iter().find(|fault| fault.number == met.number);
                    self.tell_faults(fault.map(|fault| &fault.service), &request, Some(met));
                }
                if problem.code() == maintenance::CODE {
                    self.say(maintenance::CODE, problem.detail());
                }
                answered(&problem)
            }
            Err(problem) => refused(&problem),
        }
    }

    /// Says what is decided before a version is chosen.
    fn tell(&mut self, desk: &Desk, table: &WorkerTable, request: &Request<'_>) {
        let host = request.authority.as_str();
        let token = caller_token(&request.path).map_or(0, |CallerToken { length, .. }| length);
        let shown = request.path.spelled().after(token);
        let (method, host) = (request.method, words::or_none(host));
        self.say("request", format!("{method} {} on host {host}", shown.matched));
        if let Some(says) = words::path(&request.path, shown) {
            self.say("path", says);
        }
        let Ok(origin) = desk.peer.origin(&table.routes, &request.path) else {
            return self.say("caller", "the token in the path is of no instance of this environment");
        };
        self.say("caller", words::caller(origin.caller, desk.peer.text()));
        if request.values(Field::RequestId).next().is_some() {
            self.say("id", words::id(request_id::said(request), origin.caller));
        }
        let sent = desk.let_in(request, origin);
        self.say(
            "tls",
            words::tls(
                desk.is_https(request, origin.caller),
                origin.caller,
                sent.as_ref().err().map(Problem::code),
            ),
        );
        if sent.is_err() || Desk::send_to_its_form(request, origin.caller).is_err() {
            return;
        }
        let path = &request.path[origin.token..];
        let path = if path.is_empty() { "/" } else { path };
        match table.routes.named(path, origin.caller) {
            Some(named) => {
                self.say("route", format!("the path names service {}; no route is asked", named.service));
            }
            None => self.tell_routes(desk, table, (request, path), origin.caller),
        }
    }

    fn tell_routes(
        &mut self,
        desk: &Desk,
        table: &WorkerTable,
        (request, path): (&Request<'_>, &str),
        caller: Caller,
    ) {
        let view = View { request, peer: &desk.peer, caller, rules: table.routes.rules() };
        let routes = &table.routes.routes;
        let verdicts = table.index.verdicts(routes, request.authority.host(), path, &view);
        let seen = routes.iter().zip(&verdicts).map(|(route, verdict)| Seen {
            route: route.rule.to_string(),
            service: route.service.to_string(),
            takes: *verdict == Verdict::Takes,
            why: words::why_not(verdict),
        });
        self.routes = seen.collect();
        let Some(first) = verdicts.iter().position(|verdict| *verdict == Verdict::Takes) else {
            return self.say("route", format!("none of {} takes it", routes.len()));
        };
        let route = &routes[first];
        let place = format!("route {} of {}", first + 1, routes.len());
        self.say("route", format!("{place}, {}, takes it for {}", route.rule, route.service));
        for done in route.rule.told() {
            self.say("action", done);
        }
        if route.rule.strip() > 0 {
            self.say("action", format!("takes {} off the path", route.rule.path));
        }
    }

    /// Says what requests of a service meet on purpose; `met` is what each meets that none of the others before took.
    fn tell_faults(&mut self, service: Option<&ServiceName>, request: &Request<'_>, met: Option<Met>) {
        let comes_first = |fault: &Fault| met.is_none_or(|met| fault.number < met.number);
        let is_met = |fault: &&Fault| {
            Some(&fault.service) == service && comes_first(fault) && may_meet(fault, request)
        };
        let drawn: Vec<_> = self.faults.iter().filter(is_met).map(words::fault).collect();
        let which = if drawn.is_empty() { "each such request" } else { "each other such request" };
        drawn.into_iter().for_each(|says| self.say("fault", says));
        if let Some(met) = met {
            self.say("fault", format!("{which} is {met}"));
        }
    }

    fn served(
        &mut self,
        request: &Request<'_>,
        routed: &Routed,
        (notes, lanes): (&Notes, &[Arc<LaneSeat>]),
    ) -> Outcome {
        let service = &routed.service;
        self.tell_faults(Some(&service.service), request, notes.met());
        let is_said = |rule: &SplitRule| notes.rules.contains(&rule.id);
        let rule = service.routes.rule_for(is_said, &notes.key);
        let by_header = rule.filter(|rule| !matches!(rule.takes, SplitTakes::Places(_)));
        // A visit that begins with the request is drawn, whatever its trace is.
        let key = request.key(routed.caller).filter(|_| !notes.key_is_new);
        let by_lot = key.is_none() && lane_by_lot(service, lanes, request);
        match notes.lane() {
            _ if by_lot => self.say("lane", "by a place that is drawn for each such request"),
            Some(lane) => self.say("lane", words::lane(lane, service)),
            None => {}
        }
        self.say("key", words::key(key, request.key_place(routed.caller)));
        let fixed = !by_lot && (key.is_some() || by_header.is_some() || has_one(service));
        let rule = if key.is_some() { rule } else { by_header.filter(|_| !by_lot) };
        self.say("version", words::version(service, rule, key, fixed));
        let target = routed.target();
        if fixed {
            let chosen = service.choose(&notes.asks(), None).map(|choice| choice.target);
            self.say("instance", words::instance(service, chosen, routed));
        }
        if let Some(breaker) = words::breaker(service, routed) {
            self.say("breaker", breaker);
        }
        if let Some(priority) = words::priority(notes) {
            self.say("priority", priority);
        }
        if let Some(limit) = words::limit(routed) {
            self.say("limit", limit);
        }
        if let Some(copies) = words::copies(service, request, routed) {
            self.say("copy", copies);
        }
        let seen = notes.changes.as_ref().and_then(|changes| changes.path());
        let rest = request.path.spelled().sent_after(routed.strip);
        let path = seen.unwrap_or(if rest.is_empty() { "/" } else { rest }).to_owned();
        let host = notes.changes.as_ref().and_then(|changes| changes.host());
        Outcome::Served {
            service: service.service.to_string(),
            version: fixed.then(|| words::version_of(&target.label).to_owned()),
            versions: words::shares(service),
            path,
            host: host.unwrap_or(request.authority.as_str()).to_owned(),
        }
    }
}

/// Tells whether it depends on a key that is made for each request whether it is in a lane that gives something of the service.
fn lane_by_lot(service: &ServiceTargets, lanes: &[Arc<LaneSeat>], request: &Request<'_>) -> bool {
    let gives = |seat: &&Arc<LaneSeat>| service.routes.version_rules.iter().any(|rule| rule.id == seat.id());
    let is_decided = lanes.iter().any(|seat| seat.is_said(request));
    !is_decided && lanes.iter().filter(gives).any(|seat| seat.is_drawn())
}

/// Tells whether every key leads to the same version.
fn has_one(service: &ServiceTargets) -> bool {
    let shares = service.routes.version_rules.iter().any(|rule| matches!(rule.takes, SplitTakes::Places(_)));
    !shares && service.routes.splits.iter().filter(|split| split.weight > 0).count() <= 1
}

fn refused(problem: &Problem) -> Outcome {
    let detail = problem.detail().to_owned();
    Outcome::Refused { status: problem.status(), code: problem.code(), detail }
}

fn answered(problem: &Problem) -> Outcome {
    let location = problem.sends_to().map(str::to_owned);
    Outcome::Answered { status: problem.status(), code: problem.code(), location }
}
