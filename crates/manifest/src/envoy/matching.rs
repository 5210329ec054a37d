//! What a route of Envoy takes, as far as a route here can say it; and how two of them lie to each other.
//!
//! Invariant: a match is taken over as a whole or not at all: a condition that is left out would take requests of others.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_domain::routes::{PathType, RouteRule};
use toml::{Table, Value};

use super::Left;
use super::document::{Item, Message};

/// Which paths are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    /// A path and what is below it, by segments.
    Prefix(String),
    Exact(String),
    /// One with variables.
    Template(String),
}

/// Which requests are taken.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct When {
    pub(super) methods: BTreeSet<String>,
    pub(super) headers: BTreeMap<String, Value>,
    pub(super) query: BTreeMap<String, Value>,
}

impl When {
    /// Goes through what is asked for of fields and of the query.
    pub(super) fn conditions(&self) -> impl Iterator<Item = String> + '_ {
        let of = |kind: &'static str, all: &'_ BTreeMap<String, Value>| -> Vec<String> {
            all.iter().map(|(name, value)| format!("{kind} {name} {value}")).collect()
        };
        of("field", &self.headers).into_iter().chain(of("query", &self.query))
    }
}

/// What a route takes of the requests to its hosts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    pub(super) path: Path,
    pub(super) when: When,
}

/// What stands behind the prefix in a template of one that ends with a slash.
const REST: &str = "{rest...}";

impl Match {
    /// Reads a match.
    ///
    /// # Errors
    /// Where it says what no route here can say, and why.
    pub(super) fn read<'n>(message: &Message<'n>, left: &mut Vec<Left>) -> Result<Self, (Item<'n>, String)> {
        let path = path(message, left)?;
        let mut when = When::default();
        for item in message.list("headers") {
            header(&item, &mut when)?;
        }
        for item in message.list("query_parameters") {
            let condition = item.message();
            let name = condition.text("name").unwrap_or_default().to_owned();
            as_written(&condition, &item, &name)?;
            let value = value(&condition, &item)?;
            nothing_else(&condition)?;
            add(&mut when.query, &item, name, value)?;
        }
        if message.get("grpc").is_some() {
            let any = regex("application/grpc([+;].*)?".to_owned());
            add(&mut when.headers, &message.item, "content-type".to_owned(), any)?;
        }
        if let Some(item) = message.get("case_sensitive").filter(|item| !item.is_true()) {
            return Err((item, "paths are matched as they are written".to_owned()));
        }
        nothing_else(message)?;
        Ok(Self { path, when })
    }

    /// Writes it into a route.
    pub(super) fn write(&self, route: &mut Table) {
        let (kind, path) = match &self.path {
            Path::Prefix(path) => (None, path),
            Path::Exact(path) => (Some("exact"), path),
            Path::Template(path) => (Some("template"), path),
        };
        route.insert("path".into(), Value::from(path.as_str()));
        if let Some(kind) = kind {
            route.insert("path_type".into(), Value::from(kind));
        }
        if !self.when.methods.is_empty() {
            let methods: Vec<Value> = self.when.methods.iter().map(|it| Value::from(it.as_str())).collect();
            route.insert("methods".into(), Value::from(methods));
        }
        for (key, conditions) in [("headers", &self.when.headers), ("query", &self.when.query)] {
            if !conditions.is_empty() {
                let table: Table =
                    conditions.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                route.insert(key.into(), Value::from(table));
            }
        }
    }

    /// Tells whether every request of another one is taken by this one as well.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let all = |own: &BTreeMap<String, Value>, others: &BTreeMap<String, Value>| {
            own.iter().all(|(name, value)| others.get(name) == Some(value))
        };
        let (own, others) = (&self.when, &other.when);
        let methods =
            own.methods.is_empty() || (!others.methods.is_empty() && others.methods.is_subset(&own.methods));
        self.path.covers(&other.path)
            && methods
            && all(&own.headers, &others.headers)
            && all(&own.query, &others.query)
    }

    /// Returns what both take; `None` where no request is taken by both.
    ///
    /// # Errors
    /// When that cannot be said in one match.
    pub(super) fn both(&self, other: &Self) -> Result<Option<Self>, ()> {
        let (own, others) = (&self.when, &other.when);
        let Some(path) = self.path.both(&other.path)? else { return Ok(None) };
        let methods: BTreeSet<String> = match (own.methods.is_empty(), others.methods.is_empty()) {
            (true, _) => others.methods.clone(),
            (_, true) => own.methods.clone(),
            _ => own.methods.intersection(&others.methods).cloned().collect(),
        };
        if methods.is_empty() && !(own.methods.is_empty() && others.methods.is_empty()) {
            return Ok(None);
        }
        let (Some(headers), Some(query)) =
            (joined(&own.headers, &others.headers)?, joined(&own.query, &others.query)?)
        else {
            return Ok(None);
        };
        Ok(Some(Self { path, when: When { methods, headers, query } }))
    }

    /// Returns the rule that it becomes, as far as its place among others depends on it.
    fn rule(&self) -> RouteRule {
        let (path_type, path) = match &self.path {
            Path::Prefix(path) => (PathType::Prefix, path),
            Path::Exact(path) => (PathType::Exact, path),
            Path::Template(path) => (PathType::Template, path),
        };
        RouteRule { path: path.clone(), path_type, ..RouteRule::default() }
    }

    /// Returns its place in the order in which routes are asked here: the greater one is asked before, wherever it stands.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        let path = self.rule().precedence();
        (path, !self.when.methods.is_empty(), self.when.headers.len(), self.when.query.len())
    }
}

/// Joins conditions; `None` where they exclude each other.
fn joined(
    own: &BTreeMap<String, Value>,
    others: &BTreeMap<String, Value>,
) -> Result<Option<BTreeMap<String, Value>>, ()> {
    let mut all = own.clone();
    for (name, value) in others {
        match all.get(name) {
            None => _ = all.insert(name.clone(), value.clone()),
            Some(known) if known == value => {}
            // Two different texts cannot both be there.
            Some(Value::String(_)) if value.is_str() => return Ok(None),
            Some(_) => return Err(()),
        }
    }
    Ok(Some(all))
}

/// Where a path lies among others.
pub(super) struct Place {
    /// Its parts before the first variable, and before what is open.
    pub(super) begin: Vec<String>,
    /// Whether more may follow, or a variable.
    pub(super) is_open: bool,
}

impl Path {
    /// Says where it lies. Two paths of which neither begins as the other one does take nothing both.
    pub(super) fn place(&self) -> Place {
        let (text, is_open) = match self {
            Self::Prefix(path) => (path.trim_end_matches('/'), true),
            Self::Exact(path) => (path.as_str(), false),
            Self::Template(path) => (path.as_str(), true),
        };
        let parts = text.split('/').skip(1).take_while(|part| !part.starts_with('{'));
        Place { begin: parts.map(str::to_owned).collect(), is_open }
    }

    /// The text before anything that is open, and whether more may follow: anything, or what begins with a slash.
    fn open_end(&self) -> Option<&str> {
        match self {
            Self::Prefix(path) => Some(path.trim_end_matches('/')),
            Self::Template(path) => {
                path.strip_suffix(REST).and_then(|path| path.strip_suffix('/')).filter(|it| !it.contains('{'))
            }
            Self::Exact(_) => None,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        let Some(base) = self.open_end() else { return false };
        let text = match other {
            Self::Prefix(path) => path.trim_end_matches('/'),
            Self::Exact(path) | Self::Template(path) => path.as_str(),
        };
        let is_itself = text == base && matches!(self, Self::Prefix(_));
        is_itself || text.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'))
    }

    fn both(&self, other: &Self) -> Result<Option<Self>, ()> {
        if self.covers(other) {
            return Ok(Some(other.clone()));
        }
        if other.covers(self) {
            return Ok(Some(self.clone()));
        }
        // The same base: one has it as well, the other only what is below.
        match (self, other) {
            (Self::Prefix(_), it @ Self::Template(_)) | (it @ Self::Template(_), Self::Prefix(_))
                if self.open_end() == other.open_end() =>
            {
                Ok(Some(it.clone()))
            }
            _ if self.is_apart_from(other) => Ok(None),
            _ => Err(()),
        }
    }

    /// Tells whether no path is taken by both, as far as it is seen from their segments.
    fn is_apart_from(&self, other: &Self) -> bool {
        let parts = |it: &Self| -> (Vec<String>, bool) {
            let (text, open) = match it {
                Self::Prefix(path) => (path.trim_end_matches('/'), true),
                Self::Exact(path) => (path.as_str(), false),
                Self::Template(path) => match path.strip_suffix(REST) {
                    Some(path) => (path.trim_end_matches('/'), true),
                    None => (path.as_str(), false),
                },
            };
            (text.split('/').skip(1).map(str::to_owned).collect(), open)
        };
        let ((own, own_open), (others, others_open)) = (parts(self), parts(other));
        // What ends with a slash takes only what is below.
        let is_below = |it: &Self, short: &[String], long: &[String], open: bool| {
            !open && short.len() <= long.len() && matches!(it, Self::Template(path) if path.ends_with(REST))
        };
        if is_below(self, &others, &own, others_open) || is_below(other, &own, &others, own_open) {
            return true;
        }
        let differs =
            |(one, two): (&String, &String)| one != two && !one.starts_with('{') && !two.starts_with('{');
        let is_longer = |long: &[String], short: &[String], open: bool| long.len() > short.len() && !open;
        own.iter().zip(&others).any(differs)
            || is_longer(&own, &others, others_open)
            || is_longer(&others, &own, own_open)
    }
}

fn path<'n>(message: &Message<'n>, left: &mut Vec<Left>) -> Result<Path, (Item<'n>, String)> {
    if let Some(item) = message.get("prefix") {
        let text = item.text().unwrap_or_default();
        return match text.strip_suffix('/') {
            Some("") => Ok(Path::Prefix("/".to_owned())),
            Some(base) => Ok(Path::Template(format!("{}/{REST}", plain(base, &item)?))),
            None => {
                let why = format!("taken over, but `{text}` ends at a segment: {text}x is not taken");
                item.leave(left, why);
                Ok(Path::Prefix(plain(text, &item)?))
            }
        };
    }
    if let Some(item) = message.get("path_separated_prefix") {
        return Ok(Path::Prefix(plain(item.text().unwrap_or_default(), &item)?));
    }
    if let Some(item) = message.get("path") {
        return Ok(Path::Exact(plain(item.text().unwrap_or_default(), &item)?));
    }
    if let Some(item) = message.get("safe_regex") {
        let text = item.message().text("regex").unwrap_or_default();
        return of_regex(text).ok_or_else(|| {
            (item, "an expression for paths: a template takes segments, such as /orders/{id}".to_owned())
        });
    }
    let why = "it says neither prefix, path, path_separated_prefix nor safe_regex";
    Err((message.item.clone(), why.to_owned()))
}

/// Returns a path that requests can have in the form in which they are matched.
fn plain<'n>(text: &str, item: &Item<'n>) -> Result<String, (Item<'n>, String)> {
    let is_plain = text.starts_with('/')
        && !text.contains(['{', '}', '?', '#', '*', ' ', '\\'])
        && !text.starts_with("/@")
        && !text.contains("//");
    match is_plain {
        true => Ok(text.to_owned()),
        false => {
            Err((item.clone(), "no request has such a path in the form in which it is matched".to_owned()))
        }
    }
}

/// Makes a template of an expression that takes segments: plain text, `[^/]+` for one, `.*` at the end.
fn of_regex(text: &str) -> Option<Path> {
    let (mut rest, mut path, mut variables) = (text.strip_prefix('^').unwrap_or(text), String::new(), 0);
    rest = rest.strip_suffix('$').unwrap_or(rest);
    while !rest.is_empty() {
        if rest == ".*" && path.ends_with('/') {
            path.push_str(REST);
            return Some(Path::Template(path));
        }
        let ends_here = |after: &str| after.is_empty() || after.starts_with('/');
        if let Some(after) =
            rest.strip_prefix("[^/]+").filter(|after| path.ends_with('/') && ends_here(after))
        {
            variables += 1;
            path.push_str(&format!("{{part{variables}}}"));
            rest = after;
            continue;
        }
        let mut letters = rest.chars();
        let letter = match letters.next()? {
            '\\' => letters.next().filter(|it| matches!(it, '.' | '-' | '/' | '_'))?,
            it if it.is_ascii_alphanumeric() || matches!(it, '/' | '-' | '_' | '~') => it,
            _ => return None,
        };
        path.push(letter);
        rest = letters.as_str();
    }
    let is_path = path.starts_with('/') && !path.contains("//") && !path.starts_with("/@");
    is_path.then_some(if variables > 0 { Path::Template(path) } else { Path::Exact(path) })
}

fn header<'n>(item: &Item<'n>, when: &mut When) -> Result<(), (Item<'n>, String)> {
    let condition = item.message();
    let name = condition.text("name").unwrap_or_default().to_ascii_lowercase();
    let value = value(&condition, item)?;
    nothing_else(&condition)?;
    if name == ":method" {
        let methods: Option<Vec<String>> = match &value {
            Value::String(method) => Some(vec![method.clone()]),
            Value::Table(table) => table.get("regex").and_then(Value::as_str).and_then(alternatives),
            _ => None,
        };
        let methods = methods.ok_or_else(|| (item.clone(), "methods are named one by one".to_owned()))?;
        let methods: BTreeSet<String> = methods.into_iter().collect();
        // All conditions have to hold.
        let is_first = when.methods.is_empty();
        when.methods.retain(|method| methods.contains(method));
        match (is_first, when.methods.is_empty()) {
            (true, _) => when.methods = methods,
            (false, true) => {
                return Err((item.clone(), "no request has two methods, so it takes none".to_owned()));
            }
            (false, false) => {}
        }
        return Ok(());
    }
    if name.starts_with(':') || name == "host" {
        return Err((item.clone(), "of these fields only `:method` can be asked for".to_owned()));
    }
    if is_of_proxies(&name) {
        let why = "Envoy writes this field itself before it looks at it, and here what a client sends would be looked at: for the scheme, `http = \"redirect\"` in [entry]; for the client, `clients` of a route";
        return Err((item.clone(), why.to_owned()));
    }
    add(&mut when.headers, item, name, value)
}

/// Tells whether a proxy writes a field, so that what is looked at is its own.
fn is_of_proxies(name: &str) -> bool {
    let written = ["x-request-id", "x-real-ip", "forwarded", "via", "x-scheme"];
    written.contains(&name) || ["x-forwarded-", "x-envoy-", "lockstep-"].iter().any(|it| name.starts_with(it))
}

/// Refuses a condition on a query that means something else where it is decoded: Envoy compares what is written.
fn as_written<'n>(condition: &Message<'n>, item: &Item<'n>, name: &str) -> Result<(), (Item<'n>, String)> {
    let matcher = condition.get("string_match").map(|it| it.message());
    let texts = ["exact", "prefix", "suffix", "contains"];
    let texts = texts.into_iter().filter_map(|form| matcher.as_ref()?.text(form));
    let is_encoded = |text: &str| text.contains(['%', '+', ' ', '&', '#']) || !text.is_ascii();
    let regex =
        matcher.as_ref().and_then(|it| it.get("safe_regex")).and_then(|it| it.message().text("regex"));
    let is_wrong = is_encoded(name)
        || texts.into_iter().any(is_encoded)
        || regex.is_some_and(|it| it.contains(['%', ' ']));
    match is_wrong {
        true => Err((
            item.clone(),
            "Envoy compares a query as it is written, and here it is decoded: %20 is a space".to_owned(),
        )),
        false => Ok(()),
    }
}

fn alternatives(regex: &str) -> Option<Vec<String>> {
    let inner = regex.strip_prefix('(').and_then(|it| it.strip_suffix(')')).unwrap_or(regex);
    let all: Vec<String> = inner.split('|').map(str::to_owned).collect();
    all.iter().all(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_uppercase())).then_some(all)
}

fn add<'n>(
    conditions: &mut BTreeMap<String, Value>,
    item: &Item<'n>,
    name: String,
    value: Value,
) -> Result<(), (Item<'n>, String)> {
    match conditions.insert(name, value) {
        None => Ok(()),
        Some(_) => Err((item.clone(), "two conditions for one name".to_owned())),
    }
}

/// Reads what a value has to be.
fn value<'n>(condition: &Message<'n>, item: &Item<'n>) -> Result<Value, (Item<'n>, String)> {
    if let Some(turned) = condition.get("invert_match").filter(Item::is_true) {
        return Err((turned, "what must not be there cannot be asked for".to_owned()));
    }
    let present = || Value::from(Table::from_iter([("present".to_owned(), Value::from(true))]));
    if let Some(is_there) = condition.get("present_match") {
        return if is_there.is_true() {
            Ok(present())
        } else {
            Err((is_there, "what must not be there cannot be asked for".to_owned()))
        };
    }
    if let Some(exact) = condition.text("exact_match") {
        return Ok(Value::from(exact));
    }
    for (name, form) in [("prefix_match", 0), ("suffix_match", 1), ("contains_match", 2)] {
        if let Some(text) = condition.text(name) {
            return Ok(part(text, form));
        }
    }
    if let Some(text) = condition.message("safe_regex_match").and_then(|it| it.text("regex")) {
        return Ok(regex(text.to_owned()));
    }
    let Some(matcher) = condition.message("string_match") else {
        return match condition.others().is_empty() {
            true => Ok(present()),
            false => Err((item.clone(), "there is nothing like this condition".to_owned())),
        };
    };
    if let Some(case) = matcher.get("ignore_case").filter(Item::is_true) {
        return Err((case, "a regex with (?i) takes both cases: write it by hand".to_owned()));
    }
    let found = matcher
        .text("exact")
        .map(Value::from)
        .or_else(|| matcher.text("prefix").map(|text| part(text, 0)))
        .or_else(|| matcher.text("suffix").map(|text| part(text, 1)))
        .or_else(|| matcher.text("contains").map(|text| part(text, 2)))
        .or_else(|| {
            matcher.message("safe_regex").and_then(|it| it.text("regex").map(|text| regex(text.to_owned())))
        });
    nothing_else(&matcher)?;
    found.ok_or_else(|| (item.clone(), "there is nothing like this condition".to_owned()))
}

fn regex(text: String) -> Value {
    Value::from(Table::from_iter([("regex".to_owned(), Value::from(text))]))
}

/// An expression for a text at the beginning, at the end, or anywhere.
fn part(text: &str, form: u8) -> Value {
    let is_plain =
        |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '/' | ' ' | ':' | ',' | '=' | '@' | '%');
    let escaped: String =
        text.chars().flat_map(|it| if is_plain(it) { vec![it] } else { vec!['\\', it] }).collect();
    let (before, after) = (if form == 0 { "" } else { ".*" }, if form == 1 { "" } else { ".*" });
    regex(format!("{before}{escaped}{after}"))
}

/// A condition that is not known would be left out.
fn nothing_else<'n>(message: &Message<'n>) -> Result<(), (Item<'n>, String)> {
    match message.others().into_iter().next() {
        None => Ok(()),
        Some(item) => Err((item, "there is nothing like this condition".to_owned())),
    }
}
