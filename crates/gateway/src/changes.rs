//! What the route of a request does with it: answers of the gateway's own, and changes on the way there and back.
//!
//! Costs nothing where a route does none of it. Invariant: only fields that a route may change are changed
//! (`domain::routes::actions::is_reserved`), and all is decided before an instance is asked.

use std::sync::Arc;

use lockstep_domain::gateway_rules::Caller;
use lockstep_domain::request_path::Spelled;
use lockstep_domain::routes::RouteRule;
use lockstep_domain::routes::actions::{Actions, Redirect, Respond, Rewrite, Scheme, replaced, stands_once};
use lockstep_domain::routes::cors::Cors;

use crate::compress::Packing;
use crate::key;
use crate::outgoing::Pieces;
use crate::problem::{Own, Problem, Status};
use crate::request::Request;

/// What is changed of a request and of its answer.
#[derive(Debug)]
pub(crate) struct Changes {
    actions: Arc<Actions>,
    /// The path that the instance sees, without the query.
    path: Option<String>,
    answer: AnswerEdit,
}

/// What is changed of an answer.
#[derive(Debug, Default)]
pub(crate) struct AnswerEdit {
    drops: Vec<String>,
    /// Whether what the instance says of other origins is dropped.
    drops_cors: bool,
    gives: Vec<(String, String)>,
    /// What comes beside what the instance says.
    adds: Vec<(String, String)>,
    packing: Option<Packing>,
}

/// What a route is asked about.
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request<'a>,
    /// Whether the client came by TLS, as far as that is believed.
    pub(crate) https: bool,
    /// The path without the token of an instance.
    pub(crate) path: Spelled<'a>,
    pub(crate) caller: Caller,
    pub(crate) key: &'a [u8],
    /// The cookie of a visit that begins with it.
    pub(crate) visit: Option<&'a str>,
}

impl Changes {
    /// Decides what is done with a request that a rule takes.
    ///
    /// # Errors
    /// The answer that the gateway gives itself.
    pub(crate) fn of(rule: &RouteRule, asked: &Asked<'_>) -> Result<Option<Box<Self>>, Problem> {
        let Some(actions) = &rule.then else { return Ok(None) };
        let origin = origin(asked.request);
        if let (Some(cors), Some(origin)) = (&actions.cors, origin)
            && is_preflight(asked.request)
        {
            return Err(preflight(cors, origin));
        }
        let answer = AnswerEdit {
            packing: Packing::of(actions, asked.request),
            ..AnswerEdit::of(actions, asked, origin)
        };
        if let Some(redirect) = &actions.redirect {
            return Err(redirected(redirect, rule, asked)?.with_fields(answer.gives().cloned()));
        }
        if let Some(respond) = &actions.respond {
            return Err(responded(respond, "respond", answer.sets("content-type"))
                .with_fields(answer.gives().cloned()));
        }
        let replacement = actions.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_deref());
        let path = replacement.map(|new| replaced(rule, new, asked.path).ok_or_else(no_form)).transpose()?;
        Ok(Some(Box::new(Self { actions: Arc::clone(actions), path, answer })))
    }

    /// Returns the path that the instance sees, where it is another one.
    pub(crate) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Returns the host that the instance sees, where it is another one.
    pub(crate) fn host(&self) -> Option<&str> {
        self.actions.rewrite.as_ref().and_then(|Rewrite { host, .. }| host.as_deref())
    }

    /// Tells whether the instance does not see a field of the client.
    pub(crate) fn drops(&self, name: &str) -> bool {
        self.actions.request_headers.drops(name)
    }

    /// Goes through the fields that the instance sees beside those of the client; `has` tells whether the client sent one.
    pub(crate) fn gives(&self, has: impl Fn(&str) -> bool) -> impl Iterator<Item = (&str, &str)> {
        let changes = &self.actions.request_headers;
        let stays = move |name: &str| changes.set.contains_key(name) || (has(name) && !changes.drops(name));
        changes.sets().chain(changes.adds().filter(move |(name, _)| !stands_once(name) || !stays(name)))
    }

    /// Returns what is changed of the answer.
    pub(crate) fn answer(&self) -> &AnswerEdit {
        &self.answer
    }
}

impl AnswerEdit {
    fn of(actions: &Actions, asked: &Asked<'_>, origin: Option<&str>) -> Self {
        let changes = &actions.response_headers;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let mut gives: Vec<(String, String)> = changes.sets().map(owned).collect();
        if let Some(cors) = &actions.cors {
            let allowed = origin.filter(|origin| cors.allows(origin));
            let fields = allowed.map(|origin| cors.answer_fields(origin)).unwrap_or_default();
            // What is decided for this origin takes the place of what is said for all.
            gives.retain(|(name, _)| !stands_once(name) || fields.iter().all(|(given, _)| given != name));
            gives.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
            gives.push(("vary".to_owned(), "Origin".to_owned()));
        }
        if let Some(seconds) = actions.sticky_s.filter(|_| is_visitor(asked)) {
            gives.extend(given_to_one(key::cookie(asked.key, seconds, asked.https)));
        }
        gives.extend(asked.visit.into_iter().flat_map(|cookie| given_to_one(cookie.to_owned())));
        let drops = changes.remove.iter().chain(changes.set.keys()).cloned().collect();
        let adds = changes.adds().map(owned).collect();
        Self { drops, drops_cors: actions.cors.is_some(), gives, adds, packing: None }
    }

    /// Goes through the fields that the client sees beside those of the instance.
    pub(crate) fn gives(&self) -> impl Iterator<Item = &(String, String)> {
        self.gives.iter().chain(&self.adds)
    }

    /// Returns what takes the place of what there was of a field.
    pub(crate) fn sets(&self, name: &str) -> Option<&str> {
        self.gives.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Tells whether the client does not see a field of the instance.
    pub(crate) fn drops(&self, name: &str) -> bool {
        let is_cors =
            |name: &str| name.get(..15).is_some_and(|it| it.eq_ignore_ascii_case("access-control-"));
        (self.drops_cors && is_cors(name)) || self.drops.iter().any(|it| it.eq_ignore_ascii_case(name))
    }

    /// Returns how the answer may be compressed.
    pub(crate) fn packing(&self) -> Option<&Packing> {
        self.packing.as_ref()
    }

    /// Changes a head of which status and fields are written.
    pub(crate) fn apply(&self, head: &mut impl Pieces) {
        head.drop_fields(&|name| self.drops(name));
        for (name, value) in &self.gives {
            head.field(name, value.as_bytes());
        }
        for (name, value) in &self.adds {
            if !stands_once(name) || head.values_of(name).is_empty() {
                head.field(name, value.as_bytes());
            }
        }
    }
}

/// Returns the fields that give a cookie to one visitor: a cache that several share must not give it to others (RFC 9111).
fn given_to_one(cookie: String) -> [(String, String); 2] {
    [("set-cookie".to_owned(), cookie), ("cache-control".to_owned(), "private".to_owned())]
}

/// Tells whether a request comes from somebody to whom a key can be given: not from a program that has one, nor from an instance.
fn is_visitor(asked: &Asked<'_>) -> bool {
    asked.caller != Caller::Instance && !asked.request.has_lasting_key(asked.caller)
}

fn origin<'a>(request: &'a Request<'_>) -> Option<&'a str> {
    request.fields_named("origin").next().and_then(|value| std::str::from_utf8(value).ok())
}

fn is_preflight(request: &Request<'_>) -> bool {
    request.method == "OPTIONS" && request.fields_named("access-control-request-method").next().is_some()
}

/// A page that may not is told nothing, which its browser takes for a no.
fn preflight(cors: &Cors, origin: &str) -> Problem {
    let fields = if cors.allows(origin) { cors.preflight_fields(origin) } else { Vec::new() };
    let varies = ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"].join(", ");
    let fields = fields.into_iter().chain([("vary", varies)]);
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Own::empty(204, "preflight").into_problem().with_fields(fields)
}

fn redirected(redirect: &Redirect, rule: &RouteRule, asked: &Asked<'_>) -> Result<Problem, Problem> {
    let scheme = if asked.https { Scheme::Https } else { Scheme::Http };
    let asked_for = (scheme, asked.request.authority.as_str());
    let location = redirect.location(rule, asked_for, (asked.path, asked.request.query));
    let location = location.ok_or_else(no_form)?;
    let field = ("location".to_owned(), location);
    Ok(Own::empty(redirect.status, "redirect").into_problem().with_fields([field]))
}

/// Makes the answer that a route says; `code` says why it is given, and `kind` what its body is where that is said beside it.
pub(crate) fn responded(respond: &Respond, code: &'static str, kind: Option<&str>) -> Problem {
    let Respond { status, body, content_type } = respond;
    let content_type = kind.unwrap_or(content_type).to_owned();
    Own { status: *status, code, body: body.clone(), content_type, fields: Vec::new() }.into_problem()
}

fn no_form() -> Problem {
    let detail = "the path cannot take the place that the route gives it";
    Problem::new(Status::BadRequest, "bad_path", detail)
}
