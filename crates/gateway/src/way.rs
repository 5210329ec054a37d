//! Finding the way of a request: who asks, which arm takes it, and which instance of it is asked first. The same for every
//! wire on which a request can come.

mod account;
mod arrive;
mod entry;
pub mod explain;
mod keep;
mod passage;
mod span;
mod turned;

use std::sync::Arc;
use std::time::Duration;

use lockstep_domain::check::CHECK_MARK;
use lockstep_domain::gateway_rules::{Caller, ViaField};
use lockstep_domain::priority::Priority;
use lockstep_domain::request_path::{PathReading, Spelled};
use lockstep_domain::routes::policy::Policy;
use lockstep_domain::routes::{Matched, RouteRule};
use lockstep_domain::switch::Admission;
use lockstep_domain::visit::Entered;
use lockstep_domain::{Arm, ServiceName};

use crate::access;
use crate::admission::{self, Admits, Admitted};
use crate::affinity::Affinity;
use crate::asking::{Asking, of_client};
use crate::balance::Pick;
use crate::calling::NamedCaller;
use crate::changes::{Asked, Changes};
use crate::counts::Counts;
use crate::environment::Environment;
use crate::framing::Body;
use crate::injection::{self, Met};
use crate::lanes::{self, Entering, LaneSeat};
use crate::leaving::Delivery;
use crate::limiter::Waiting;
use crate::maintenance;
use crate::peer::{Origin, Peer};
use crate::policy::Hedging;
use crate::priority::{self, Said};
use crate::problem::{Marks, Own, Problem, Status};
use crate::recent::Chosen;
use crate::request::{ASTERISK, Onward, Request};
use crate::request_id;
use crate::request_view::View;
use crate::room::Place;
use crate::seat::Seat;
use crate::spans::Noted;
use crate::table::{Asks, Choice, ServiceTargets, Target, WorkerTable};
use crate::trace::{made_id, new_traceparent};
use crate::trial::Class;
use crate::version_rules;
use crate::visit::{self, Door, Kept};
use crate::waits::Waits;
use crate::worker::Worker;

use arrive::Arrival;
use turned::{Turned, Why};

pub(crate) use account::Reporting;
pub(crate) use entry::ESCAPED_SLASH;
pub(crate) use passage::Passage;

/// How often a request is routed again because the table changed under it.
const MAX_TABLE_CHANGES: usize = 4;

/// What the requests of one client's connection have in common.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) peer: Peer,
    pub(crate) environment: Arc<Environment>,
    pub(crate) worker: Arc<Worker>,
}

/// What is noted of one request. A connection uses it again for the next one.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) key: Vec<u8>,
    /// Whether the key was made for this request alone.
    pub(crate) key_is_new: bool,
    /// The rules that take the request.
    pub(crate) rules: Vec<u64>,
    /// What its visit sees, where it is part of one.
    pub(crate) visit: Option<Box<Entered>>,
    /// What it was admitted under, where it was admitted here.
    admits: Option<Arc<Admits>>,
    /// What its route changes.
    pub(crate) changes: Option<Box<Changes>>,
    /// The one that was made; empty where the one goes on that the request came with.
    traceparent: String,
    /// Its span, where that may be sent.
    pub(crate) span: Option<Box<Noted>>,
    /// What the request was, for the access log; made only where there is one.
    pub(crate) asked: Option<Box<access::Asked>>,
    /// What only few requests have.
    rare: Option<Box<Rare>>,
    /// Which version calls, and what for; made only where an instance called on the connection.
    call: Option<Box<Call>>,
    /// What a client asks for; nothing where an instance calls.
    visited: Option<Box<str>>,
    /// The route that took it.
    seat: Option<Arc<Seat>>,
    /// Its number among the last requests; 0 where those are not kept.
    kept: u64,
    /// What chose its version.
    pub(crate) chosen: Option<Chosen>,
}

/// The call of an instance.
#[derive(Debug, Default)]
struct Call {
    /// Which version calls, where that is known.
    calling: Option<Arc<Arm>>,
    named: NamedCaller,
    /// What it asks for, where a version calls that is known.
    asking: Option<Asking>,
}

/// What is noted of few requests: a connection that is idle has no place for it.
#[derive(Debug, Default)]
struct Rare {
    /// The fault that it met.
    met: Option<Met>,
    /// The arm that turned it away, and what had chosen that.
    turned_by: Option<(Arc<Counts>, Chosen)>,
    /// How important it is, and who says that.
    priority: (Priority, Said),
    /// What it was admitted under, where an instance or its version says that.
    admission: Option<Box<str>>,
    /// The lane that it is in.
    lane: Option<Arc<LaneSeat>>,
    /// What it is found by in logs, where that is not the id of the trace that was made.
    request_id: Option<Box<str>>,
}

impl Notes {
    /// Returns what it was admitted under.
    fn admission(&self) -> &str {
        let said = self.rare.as_ref().and_then(|rare| rare.admission.as_deref());
        said.or(self.admits.as_ref().map(|admits| admits.text())).unwrap_or_default()
    }

    /// Returns what it is found by in logs; nothing for one that could not be read.
    pub(crate) fn request_id(&self) -> &str {
        let said = self.rare.as_ref().and_then(|rare| rare.request_id.as_deref());
        said.unwrap_or_else(|| made_id(&self.traceparent))
    }

    /// Tells whether a check caused it, so that it counts as no request of a customer.
    pub(crate) fn is_of_check(&self) -> bool {
        self.rules.contains(&CHECK_MARK)
    }

    /// Returns what an answer says of it: of one that the gateway makes for an arm, or for none.
    pub(crate) fn marks(&self, arm: Option<&Arm>) -> Marks<'_> {
        Marks { request_id: self.request_id(), lane: self.lane().map(|lane| lane.text(arm)) }
    }

    /// Returns what decides which arm it is given.
    pub(crate) fn asks(&self) -> Asks<'_> {
        Asks { key: &self.key, rules: &self.rules, visit: self.visit.as_deref(), admission: self.admission() }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Returns how important it is.
    pub(crate) fn priority(&self) -> Priority {
        self.rare.as_ref().map_or(Priority::Normal, |rare| rare.priority.0)
    }

    /// Notes how important it is, and who says that.
    fn is_said(&mut self, (priority, by): (Priority, Said)) {
        if by != Said::Nobody || self.rare.is_some() {
            self.rare().priority = (priority, by);
        }
    }

    /// Notes which fault it met, or that it met none after all.
    fn meets(&mut self, met: Option<Met>) {
        if met.is_some() || self.rare.is_some() {
            self.rare().met = met;
        }
    }

    /// Returns the lane that it is in.
    pub(crate) fn lane(&self) -> Option<&Arc<LaneSeat>> {
        self.rare.as_ref()?.lane.as_ref()
    }

    /// Returns the key that the request came with.
    fn given_key(&self) -> Option<&[u8]> {
        Some(self.key.as_slice()).filter(|_| !self.key_is_new)
    }

    /// Returns the fault that it met.
    pub(crate) fn met(&self) -> Option<Met> {
        self.rare.as_ref()?.met
    }
}

/// The way of a request.
#[derive(Debug)]
pub(crate) struct Routed {
    pub(crate) service: Arc<ServiceTargets>,
    pub(crate) affinity: Option<Box<Affinity>>,
    pub(crate) pick: Pick,
    /// How many bytes of the path are taken off.
    pub(crate) strip: usize,
    pub(crate) waits: Waits,
    /// What its route asks for.
    pub(crate) policy: Option<Arc<Policy>>,
    /// Counts it for its route, until it is over.
    pub(crate) place: Option<Place>,
    pub(crate) class: Class,
    /// Whether it says nothing of a split: a rule chose its arm, it stands in for the one that was drawn, a copy caused it, or it is late on purpose.
    pub(crate) ruled: bool,
    /// Whether a check caused it.
    pub(crate) is_of_check: bool,
    /// What chose its arm.
    pub(crate) chosen: Chosen,
    /// Whether a visit chose its arm that began at other shares.
    pub(crate) held: bool,
    /// How much later it is sent on, because of a fault that it met on purpose.
    pub(crate) delay: Option<Duration>,
    /// How it came past the breakers, where it did not simply pass.
    pub(crate) passage: Option<Box<Passage>>,
    /// Its place among those that wait for an answer of its arm, where these have a limit that adapts.
    pub(crate) waiting: Option<Box<Waiting>>,
    /// When another instance is asked as well, where its route says so and it is a read.
    pub(crate) hedge: Option<Arc<Hedging>>,
    /// Counts it for the table that it was admitted under, until it is over, where it was admitted here.
    pub(crate) admitted: Option<Admitted>,
    /// Whether something is being switched.
    switching: bool,
    caller: Caller,
    via: ViaField,
}

impl Routed {
    /// Lets no more come of a body than the route takes.
    pub(crate) fn limit(&self, body: &mut Body) {
        self.body_limit().into_iter().for_each(|limit| body.limit(limit));
    }

    /// Returns how many bytes of a body the route takes, where it says so.
    pub(crate) fn body_limit(&self) -> Option<u64> {
        self.policy.as_ref().and_then(|policy| policy.limits.body_bytes)
    }

    /// Begins to note how much of its answer the client takes, and which places it takes meanwhile.
    pub(crate) fn delivery(&self) -> Delivery {
        let degraded = self.passage.as_ref().and_then(|passage| passage.degraded.as_ref());
        Delivery::with(self.place.iter().chain(degraded.map(|degraded| &degraded.place)))
    }

    /// Returns the arm whose instance is asked first.
    pub(crate) fn target(&self) -> &Target {
        &self.service.targets[self.pick.target]
    }
}

impl Desk {
    /// Makes what one request after the other is noted in.
    pub(crate) fn notes(&self) -> Notes {
        Notes { asked: self.worker.access.as_ref().map(|_| Box::default()), ..Notes::default() }
    }

    /// Returns how paths of requests are read.
    pub(crate) fn path_reading(&self) -> PathReading {
        let table = self.environment.table(self.worker.index).load();
        table.as_ref().map(|table| table.routes.rules().path_reading()).unwrap_or_default()
    }

    /// Notes what is to be known of a request, and finds its way.
    pub(crate) fn find_way(&self, request: &Request<'_>, notes: &mut Notes) -> Result<Routed, Problem> {
        let origin = self.origin(request);
        let caller = origin.as_ref().map_or(Caller::Outside, |origin| origin.caller);
        notes.traceparent.clear();
        if let Some(spans) = &self.worker.spans {
            self.begin_span(spans, request, origin.as_ref(), notes);
        }
        if !request.traced && notes.traceparent.is_empty() {
            new_traceparent(&self.worker.random, &mut notes.traceparent);
        }
        self.remember(notes, request, origin.as_ref());
        self.note_caller(request, origin.as_ref().ok(), notes);
        let given = request.key(caller);
        notes.key_is_new = given.is_none();
        notes.key.clear();
        notes.key.extend_from_slice(given.unwrap_or_else(|| made_id(&notes.traceparent).as_bytes()));
        notes.visit = None;
        if let Some(table) = self.environment.table(self.worker.index).load().as_ref() {
            let entering = Entering { request, key: &notes.key, calling: calling_of(notes.call.as_deref()) };
            version_rules::note(&mut notes.rules, table, &entering, caller);
            notes.rules.extend(self.peer.is_check().then_some(CHECK_MARK));
            if table.entered.is_some() {
                notes.visit = visit::carried(request, caller).map(Box::new);
            }
        }
        (notes.changes, notes.seat, notes.rare) = (None, None, None);
        let said = Some(request).filter(|_| caller.is_trusted()).and_then(request_id::said).map(Into::into);
        let drawn = || request.traced.then(|| request_id::drawn(&self.worker.random));
        if let Some(id) = said.or_else(drawn) {
            notes.rare().request_id = Some(id);
        }
        let admitted = self.note_admission(request, caller, notes);
        let found = origin.as_ref().map_err(Problem::clone).and_then(|origin| {
            self.let_in(request, *origin)?;
            Self::send_to_its_form(request, origin.caller)?;
            self.route(request, *origin, notes)
        });
        let found = found.map(|routed| Routed { admitted, ..routed });
        if let (Some(noted), Ok(routed)) = (&mut notes.span, &found) {
            let changed = notes.changes.as_deref().and_then(Changes::path);
            noted.goes(changed.unwrap_or(request.path.spelled().sent_after(routed.strip)));
        }
        let turned_by = || notes.rare.as_ref()?.turned_by.as_ref().map(|(_, chosen)| *chosen);
        notes.chosen = found.as_ref().ok().map(|routed| routed.chosen).or_else(turned_by);
        if let Some(noted) = &mut notes.span {
            noted.chosen = notes.chosen;
        }
        if let Some(ring) = &self.worker.recent {
            self.keep(ring, request, origin.as_ref().ok(), notes, found.as_ref().ok());
        }
        found
    }

    /// Returns what the head for the instance has that the client's had not.
    pub(crate) fn onward<'a>(&'a self, routed: &Routed, notes: &'a Notes) -> Onward<'a> {
        Onward {
            strip: routed.strip,
            peer: &self.peer,
            caller: routed.caller,
            via: routed.via,
            key: &notes.key,
            rules: &notes.rules,
            priority: notes.priority(),
            visit: notes.visit.as_deref(),
            admission: notes.admission(),
            switching: routed.switching,
            changes: notes.changes.as_deref(),
            random: &self.worker.random,
            new_traceparent: Some(notes.traceparent.as_str()).filter(|it| !it.is_empty()),
            request_id: notes.request_id(),
            passes_b3: self.worker.spans.is_none(),
        }
    }

    /// Notes which version calls, by its listener or by the name behind its token, and what it asks for.
    fn note_caller(&self, request: &Request<'_>, origin: Option<&Origin>, notes: &mut Notes) {
        let token =
            origin.filter(|origin| origin.caller == Caller::Instance).map_or(0, |origin| origin.token);
        let point = self.peer.point();
        let is_client = point.is_none() && token == 0;
        notes.visited = is_client.then(|| of_client(request));
        if is_client {
            return notes.call.iter_mut().for_each(|call| (call.calling, call.asking) = (None, None));
        }
        let call = notes.call.get_or_insert_default();
        call.calling = match point {
            Some(point) => Some(point.caller.load_full()),
            None => {
                let slot = self.environment.table(self.worker.index).load();
                let table = slot.as_ref().map(|table| &table.routes);
                table.and_then(|table| call.named.read(&request.path, table))
            }
        };
        let is_instance = origin.is_some_and(|origin| origin.caller == Caller::Instance);
        let asks = is_instance && call.calling.is_some();
        call.asking = asks.then(|| Asking::of(request, token));
    }

    /// Notes what a request was admitted under: what an earlier hop says, what the version of the instance tells that calls, or what is.
    fn note_admission(&self, request: &Request<'_>, caller: Caller, notes: &mut Notes) -> Option<Admitted> {
        notes.admits = None;
        if let Some(carried) = admission::carried(request, caller) {
            notes.rare().admission = Some(carried.into());
            return None;
        }
        let slot = self.environment.table(self.worker.index);
        let (table, admitted) = admission::admit(|| slot.load_full())?;
        if let Some(known) = admission_of_caller(&table, calling_of(notes.call.as_deref())) {
            notes.rare().admission = Some(known.to_string().into());
        }
        notes.admits = Some(Arc::clone(&table.admits));
        Some(admitted)
    }

    /// Keeps what the access log says of a request. Costs nothing where there is no log.
    fn remember(&self, notes: &mut Notes, request: &Request<'_>, origin: Result<&Origin, &Problem>) {
        if let Some(asked) = notes.asked.as_deref_mut() {
            let queries = self.worker.access.as_ref().is_some_and(|log| log.has_queries());
            let table = self.environment.table(self.worker.index).load();
            asked.baseline = table.as_ref().map_or(0, |table| table.routes.baseline);
            asked.remember(request, origin, &notes.traceparent, queries);
        }
    }

    fn origin(&self, request: &Request<'_>) -> Result<Origin, Problem> {
        let table = self.environment.table(self.worker.index).load();
        self.peer.origin(&table.as_ref().ok_or_else(no_table)?.routes, &request.path)
    }

    fn asked<'a>(
        &self,
        request: &'a Request<'_>,
        path: Spelled<'a>,
        caller: Caller,
        (key, visit): (&'a [u8], Option<&'a str>),
    ) -> Asked<'a> {
        Asked { request, path, caller, key, visit, https: self.is_https(request, caller) }
    }

    /// Goes on with the visit of a request whose route keeps visitors, or begins one; returns the cookie of one that begins.
    fn visit(
        &self,
        (table, rule): (&WorkerTable, &RouteRule),
        request: &Request<'_>,
        caller: Caller,
        notes: &mut Notes,
    ) -> Option<String> {
        let visit = rule.then.as_ref()?.visit.as_ref().filter(|_| request.is_of_visitor(caller))?;
        let keys = self.environment.visit_keys(table.routes.visits.as_ref());
        let environment = self.environment.name();
        let times = table.visit_times.get(&visit.cookie)?;
        let door = Door { visit, times, environment, keys: &keys, now_s: visit::now_s() };
        let kept = door.kept(request);
        notes.key_is_new = kept.is_none();
        let mut kept = kept.unwrap_or_else(|| Kept::new(visit::made_key(&self.worker.random)));
        let (entered, cookie) = match door.going(&kept) {
            Some(entered) => (entered.clone(), None),
            None => {
                let entered = table.entered.clone()?;
                (entered.clone(), door.begin(&mut kept, entered, self.is_https(request, caller)))
            }
        };
        let key = kept.key;
        notes.key.clear();
        notes.key.extend_from_slice(key.as_bytes());
        notes.visit = Some(Box::new(entered));
        // Its key is known only now.
        let entering = Entering { request, key: &notes.key, calling: None };
        lanes::decide_anew(&mut notes.rules, table, &entering, caller);
        cookie
    }

    fn route(
        &self,
        request: &Request<'_>,
        Origin { caller, token }: Origin,
        notes: &mut Notes,
    ) -> Result<Routed, Problem> {
        let (host, spelled) = (request.authority.host(), request.path.spelled().after(token));
        let spelled = if spelled.matched.is_empty() { Spelled::alike("/") } else { spelled };
        let path = spelled.matched;
        let slot = self.environment.table(self.worker.index);
        let mut turn = 0;
        loop {
            turn += 1;
            let table = slot.load();
            let Some(table) = table.as_ref() else { return Err(no_table()) };
            let matched = match self.peer.calls() {
                Some(service) => Matched::named(service, 0),
                None => {
                    let view = View { request, peer: &self.peer, caller, rules: table.routes.rules() };
                    let found = table.routes.find(&table.index, (host, path), caller, &view);
                    found.ok_or_else(|| {
                        if is_of_server(request) { of_the_gateway() } else { no_route(host, path) }
                    })?
                }
            };
            notes.is_said(priority::of(request, caller, matched.rule));
            notes.seat = matched.place.map(|place| Arc::clone(&table.seats[place]));
            if let Some(rule) = matched.rule.filter(|rule| rule.then.is_some()) {
                let cookie = self.visit((table, rule), request, caller, notes);
                let asked = self.asked(request, spelled, caller, (&notes.key, cookie.as_deref()));
                notes.changes = Changes::of(rule, &asked)?;
            }
            let Some(service) = table.services.get(matched.service) else {
                return Err(turned::no_instance(matched.service));
            };
            if service.speaks_tcp {
                return Err(speaks_tcp(&service.service));
            }
            if !service.faults.is_empty() {
                let (random, counts) = (&self.worker.random, self.environment.faults());
                notes.meets(injection::meet(&service.faults, request, random, counts));
                notes.met().and_then(Met::answer).map_or(Ok(()), Err)?;
            }
            let choice = service.choose(&notes.asks(), table.routes.switches.as_ref());
            let choice = choice.unwrap_or(Choice { target: 0, ruled: false, held: false, strayed: false });
            if choice.strayed {
                self.environment.stragglers().count();
            }
            if let Some(lane) = table.lane_in(&notes.rules) {
                notes.rare().lane = Some(Arc::clone(lane));
            }
            if !service.pages.is_empty() {
                let place = matched.rule.map(|_| (host, path));
                maintenance::look(service, place, choice.target, notes.changes.as_deref())?;
            }
            let arrival = Arrival {
                table,
                service,
                matched: &matched,
                choice,
                request,
                caller,
                strip: token + matched.strip,
                delay: notes.met().and_then(Met::delay),
            };
            match self.arrive(&arrival, notes) {
                Ok(Some(routed)) => return Ok(routed),
                // Those there were have just left the table, where there were any.
                Ok(None) if turn < MAX_TABLE_CHANGES => {}
                Ok(None) => {
                    return Err(self.turn_away(Turned::ByVersion(Why::NoInstance), &arrival, notes));
                }
                Err(turned) => return Err(self.turn_away(turned, &arrival, notes)),
            }
        }
    }
}

fn calling_of(call: Option<&Call>) -> Option<&Arm> {
    call.and_then(|call| call.calling.as_deref())
}

/// What the version tells that calls, while something is switched. Who says it wrongly finds one side of the switch, which he can ask directly
/// as well.
fn admission_of_caller(table: &WorkerTable, calling: Option<&Arm>) -> Option<Admission> {
    let calling = calling.filter(|_| table.is_switching())?;
    let routes = table.routes.services.get(&calling.service)?;
    Admission::of_caller(table.routes.switches.as_ref()?, routes, calling)
}

fn no_table() -> Problem {
    Problem::new(Status::Unavailable, "no_table", "the gateway has no route table of this environment yet")
        .hint("it gets one with the first deployment; see `lockstep status`")
}

fn speaks_tcp(service: &ServiceName) -> Problem {
    let detail = format!("`{service}` speaks TCP, and no request of HTTP");
    Problem::new(Status::BadGateway, "speaks_tcp", detail)
        .hint("instances call it by `${service.NAME.host}` and `.port`; from outside it has the port that `lockstep environment set ENV --tcp PORT=NAME` gives it")
}

fn is_of_server(request: &Request<'_>) -> bool {
    request.method == "OPTIONS" && &*request.path == ASTERISK
}

/// Answers `OPTIONS *`, which asks what the server itself can do (RFC 9110, 9.3.7) and is how some look whether one is there: it is about no
/// service, so none is asked, and no route is missed. What the methods are that something takes, only a service can say.
fn of_the_gateway() -> Problem {
    let allow = ("allow".to_owned(), "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS".to_owned());
    Own { fields: vec![allow], ..Own::empty(204, "options") }.into_problem()
}

fn no_route(host: Option<&str>, path: &str) -> Problem {
    let path: String = path.chars().take(200).collect();
    let detail = format!("no route takes `{path}` on host `{}`", host.unwrap_or_default());
    Problem::new(Status::NotFound, "no_route", detail)
        .hint("routes come from `[[route]]` in lockstep.toml; `/@SERVICE/` is for instances unless the environment opens it")
}
