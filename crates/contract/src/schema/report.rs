//! From schemas at their places of use to differences with places, witnesses and the rule that names them.
//!
//! A [`Site`] is a use of a schema: a request body, a parameter, a message. Pairs of schemas reached from all sites
//! form a graph; each pair is compared once and reported once, however many operations use it.

mod graph;

use std::rc::Rc;

use serde_json::{Map, Value};

use super::evaluate::Truth;
use super::facts::NodeId;
use super::notes::{Note, Topic};
use super::relate::Step;
use super::rules::{Move, of_aspect, of_topic};
use super::sample::Filling;
use super::violation::{Aspect, Certainty, Violation};
use super::{Schemas, Side, hidden_by};
use crate::draft::{Draft, DraftNotChecked, Drafts, Spot};
use crate::library::push_token;
use crate::trial::{Between, Trial};
use crate::{Bump, Change, Flow, Level};
use graph::{Counted, Graph, Path, Reach};

/// How many uses of a schema are named in a message.
const NAMED_SITES: usize = 2;

/// A use of a schema on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) old: NodeId,
    pub(crate) new: NodeId,
    /// Where it is used, for a person: `the body of POST /pets`.
    pub(crate) label: String,
    /// The place of the use, for what has no place of its own.
    pub(crate) place: String,
    pub(crate) old_spot: Option<Spot>,
    pub(crate) new_spot: Option<Spot>,
    /// What a witness is wrapped in, and under which key it goes; without a key it stands alone.
    pub(crate) envelope: Map<String, Value>,
    pub(crate) slot: Option<&'static str>,
    pub(crate) presence: Presence,
}

/// Whether a value may be left out, so that its default counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Always,
    Optional,
}

/// Which set must hold the other for nobody to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// The new schema must allow all that the old one did: the old side writes.
    NewHoldsOld,
    /// The old schema must allow all that the new one does: the new side writes.
    OldHoldsNew,
}

impl Demand {
    fn reversed(self) -> Self {
        match self {
            Self::NewHoldsOld => Self::OldHoldsNew,
            Self::OldHoldsNew => Self::NewHoldsOld,
        }
    }

    /// How the set of documents moved when the demand is not met.
    fn failure(self) -> Move {
        match self {
            Self::NewHoldsOld => Move::Narrowed,
            Self::OldHoldsNew => Move::Widened,
        }
    }
}

/// Whether differences break somebody or are only told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Breaks,
    Told,
}

/// Compares the schemas of all sites of one flow and files what differs. `demand` says which failure breaks somebody when
/// going from old to new.
pub(crate) fn compare(
    schemas: &mut Schemas<'_>,
    flow: Flow,
    demand: Demand,
    sites: &[Site],
    drafts: &mut Drafts,
) {
    let breaking = Graph::explore(schemas, sites, demand);
    let told = Graph::explore(schemas, sites, demand.reversed());
    let mut reporter = Reporter { schemas, flow, sites };
    reporter.differences(&breaking, Role::Breaks, &mut drafts.deploy);
    reporter.differences(&told, Role::Told, &mut drafts.deploy);
    reporter.differences(&told, Role::Breaks, &mut drafts.roll_back);
    let forward = if demand == Demand::NewHoldsOld { &breaking } else { &told };
    reporter.notes(forward, drafts);
}

struct Reporter<'s, 'l> {
    schemas: &'s mut Schemas<'l>,
    flow: Flow,
    sites: &'s [Site],
}

impl Reporter<'_, '_> {
    fn differences(&mut self, graph: &Graph, role: Role, drafts: &mut crate::draft::Findings) {
        for pair in graph.differing() {
            let Some(path) = graph.path(pair) else { continue };
            let relation = graph.relation(pair);
            for violation in &relation.violations {
                let verdict = self.judge(graph, pair, &path, violation, role);
                match (verdict, role) {
                    (Verdict::Differs(witness), _) => {
                        drafts.changes.push(self.draft(graph, pair, &path, violation, role, witness));
                    }
                    (Verdict::Unknown, Role::Breaks) => {
                        let reason = self.undecided_text(violation);
                        drafts.not_checked.push(self.not_checked(graph, pair, &path, &reason));
                    }
                    (Verdict::Unknown, Role::Told) => {}
                }
            }
            if role == Role::Breaks {
                for reason in &relation.undecided {
                    drafts.not_checked.push(self.not_checked(graph, pair, &path, reason));
                }
            }
        }
    }

    /// Looks for a document that shows the violation, first at its own place, then at the use of the schema.
    fn judge(
        &mut self,
        graph: &Graph,
        pair: usize,
        path: &Path,
        violation: &Violation,
        role: Role,
    ) -> Verdict {
        let certain = path.certainty == Certainty::Surely && violation.certainty == Certainty::Surely;
        if certain && role == Role::Told {
            return Verdict::Differs(None);
        }
        self.schemas.work.begin();
        let (held, holding) = graph.nodes(pair);
        let fragment = self.fragment(held, holding, violation);
        let whole = fragment.as_ref().and_then(|fragment| self.embed(graph, path, fragment));
        match (fragment, whole) {
            (_, Some(whole)) => Verdict::Differs(Some(self.wrap(path, whole))),
            (_, None) if certain => Verdict::Differs(None),
            (Some(_), None) if path.certainty == Certainty::Surely => Verdict::Differs(None),
            _ => Verdict::Unknown,
        }
    }

    /// A document that the held schema allows and the holding one does not.
    fn fragment(&mut self, held: NodeId, holding: NodeId, violation: &Violation) -> Option<Value> {
        let shows = |schemas: &mut Schemas<'_>, value: &Value| {
            schemas.allows(held, value) == Truth::Yes && schemas.allows(holding, value) == Truth::No
        };
        let shown = violation.candidates.iter().find(|value| shows(self.schemas, value)).cloned();
        shown.or_else(|| {
            let samples = self.schemas.samples(held, 12);
            samples.into_iter().find(|value| shows(self.schemas, value))
        })
    }

    /// The whole document around a fragment, checked against both schemas in use.
    fn embed(&mut self, graph: &Graph, path: &Path, fragment: &Value) -> Option<Value> {
        // Values are dropped and written by recursion, and nobody reads deeper ones.
        if path.reach == Reach::Nearest {
            return None;
        }
        let (held, holding) = graph.nodes(path.root);
        [Filling::Least, Filling::All].into_iter().find_map(|filling| {
            let mut value = fragment.clone();
            for (parent, step) in path.steps.iter().rev() {
                value = self.schemas.embed(graph.nodes(*parent).0, step, &value, filling)?;
            }
            let shows = self.schemas.allows(held, &value) == Truth::Yes
                && self.schemas.allows(holding, &value) == Truth::No;
            shows.then_some(value)
        })
    }

    /// Between which schemas the whole document shows the difference.
    fn between(&self, graph: &Graph, path: &Path) -> Option<Between> {
        let (held, holding) = graph.nodes(path.root);
        let [held, holding] = [held, holding].map(|node| self.schemas.written_at(node));
        let (slot, medium) = (self.sites[path.sites[0]].slot, self.schemas.medium);
        Some(Between { held: held?, holding: holding?, slot, hides: hidden_by(self.flow), medium })
    }

    fn wrap(&self, path: &Path, value: Value) -> Value {
        let site = &self.sites[path.sites[0]];
        match site.slot {
            None => value,
            Some(slot) => {
                let mut map = site.envelope.clone();
                map.insert(slot.to_owned(), value);
                Value::Object(map)
            }
        }
    }

    fn draft(
        &self,
        graph: &Graph,
        pair: usize,
        path: &Path,
        violation: &Violation,
        role: Role,
        witness: Option<Value>,
    ) -> Draft {
        let moved = graph.demand.failure();
        let rule = of_aspect(violation.aspect, self.flow, moved);
        let (from, to) = match moved {
            Move::Narrowed => (&violation.held, &violation.holding),
            Move::Widened => (&violation.holding, &violation.held),
        };
        let detail = detail(violation.subject.as_deref(), from, to);
        let message = format!("{}: {detail}; {}", rule.summary, self.uses(path));
        let (level, bump) = match weight(role, violation.aspect, self.flow) {
            (Level::Error, _) if self.is_annotation(path, violation.aspect) => (Level::Warning, Bump::Minor),
            weight => weight,
        };
        let (place, old, new) = self.place(graph, pair, path, violation.subject.as_deref());
        let mut change =
            Change::new(rule, place, message).in_flow(self.flow).weighing(level, bump).with_witness(witness);
        if let Some(between) = self.between(graph, path).filter(|_| change.witness.is_some()) {
            change.trial = Trial::DueBetween(Box::new(between));
        }
        Draft { change, old, new }
    }

    /// True for what strings hold, where both drafts say that validators only tell of it.
    fn is_annotation(&self, path: &Path, aspect: Aspect) -> bool {
        let is_inside = path.steps.iter().any(|(_, step)| matches!(step, Step::Content));
        let is_told = self.schemas.dialects.iter().all(|dialect| dialect.annotates_contents());
        is_told && (aspect == Aspect::Content || is_inside)
    }

    fn undecided_text(&self, violation: &Violation) -> String {
        let rule = of_aspect(violation.aspect, self.flow, Move::Narrowed);
        let what = rule.id.split_once('-').map_or(rule.id, |(_, what)| what);
        let detail = detail(violation.subject.as_deref(), &violation.held, &violation.holding);
        format!(
            "{}: no proof that all stays allowed and no counter example ({detail})",
            what.replace('-', " ")
        )
    }

    fn not_checked(&self, graph: &Graph, pair: usize, path: &Path, reason: &str) -> DraftNotChecked {
        let (place, old, new) = self.place(graph, pair, path, None);
        DraftNotChecked { place, reason: format!("{reason}; {}", self.uses(path)), old, new }
    }

    fn notes(&mut self, graph: &Graph, drafts: &mut Drafts) {
        for pair in graph.compared() {
            let (old, new) = graph.nodes(pair);
            let notes = self.schemas.notes(old, new);
            let relation = graph.relation(pair);
            let subjects: Vec<&str> =
                relation.violations.iter().filter_map(|violation| violation.subject.as_deref()).collect();
            for note in notes
                .into_iter()
                .filter(|note| note.subject.as_deref().is_none_or(|name| !subjects.contains(&name)))
            {
                let Some(path) = graph.path(pair) else { continue };
                let draft = self.note(graph, pair, &path, &note);
                if breaks_on_the_way_back(&note, &draft) {
                    let change = draft.change.clone().weighing(Level::Error, Bump::Major);
                    drafts.roll_back.changes.push(Draft { change, ..draft.clone() });
                }
                drafts.deploy.changes.push(draft);
            }
        }
    }

    fn note(&self, graph: &Graph, pair: usize, path: &Path, note: &Note) -> Draft {
        let mut rule = of_topic(note.topic, self.flow);
        let (place, old, new) = self.place(graph, pair, path, note.subject.as_deref());
        let site = &self.sites[path.sites[0]];
        let may_be_left_out = site.presence == Presence::Optional && path.steps.is_empty();
        if may_be_left_out && note.topic == Topic::Default {
            rule = crate::openapi::rules::PARAMETER_DEFAULT_CHANGED;
        }
        let message = format!(
            "{}: {}; {}",
            rule.summary,
            detail(note.subject.as_deref(), &note.old, &note.new),
            self.uses(path)
        );
        Draft { change: Change::new(rule, place, message).in_flow(self.flow), old, new }
    }

    fn uses(&self, path: &Path) -> String {
        let labels: Vec<&str> =
            path.sites.iter().take(NAMED_SITES).map(|site| self.sites[*site].label.as_str()).collect();
        let more = path.sites.len().saturating_sub(NAMED_SITES);
        match (more, path.counted) {
            (0, Counted::All) => labels.join(" and "),
            (0, Counted::AtLeast) => format!("{} and more", labels.join(", ")),
            (more, Counted::All) => format!("{} and {more} more", labels.join(", ")),
            (more, Counted::AtLeast) => format!("{} and at least {more} more", labels.join(", ")),
        }
    }

    /// The place of a pair, as the new document names it when it is there, with its spot in both documents.
    fn place(
        &self,
        graph: &Graph,
        pair: usize,
        path: &Path,
        subject: Option<&str>,
    ) -> (String, Option<Spot>, Option<Spot>) {
        let site = &self.sites[path.sites[0]];
        let pairs: Vec<usize> = path.steps.iter().map(|(parent, _)| *parent).chain([pair]).collect();
        let spot = |side: Side| {
            pairs.iter().rev().find_map(|pair| {
                let (held, holding) = graph.nodes(*pair);
                [held, holding].into_iter().find_map(|node| {
                    self.spot(node, side, subject.filter(|_| *pair == pairs[pairs.len() - 1]))
                })
            })
        };
        let old = spot(Side::Old).or_else(|| site.old_spot.clone());
        let new = spot(Side::New).or_else(|| site.new_spot.clone());
        let exact = |side: Side| {
            let (held, holding) = graph.nodes(pair);
            [held, holding].into_iter().find_map(|node| self.spot(node, side, subject))
        };
        let place =
            exact(Side::New).or_else(|| exact(Side::Old)).or_else(|| new.clone()).or_else(|| old.clone());
        let place = place.map_or_else(|| site.place.clone(), |spot| spot.place);
        (place, old, new)
    }

    fn spot(&self, node: NodeId, side: Side, subject: Option<&str>) -> Option<Spot> {
        let raw = self.schemas.raw(node).filter(|raw| raw.side == side)?;
        let mut pointer = raw.pointer.to_string();
        let property =
            subject.filter(|name| raw.value.get("properties").is_some_and(|map| map.get(name).is_some()));
        if let Some(name) = property {
            push_token(&mut pointer, "properties");
            push_token(&mut pointer, name);
        }
        Some(Spot::new(self.schemas.library(side), raw.document, pointer))
    }
}

/// What a difference weighs. Readers of responses hardly ever match what they get against its pattern, so a pattern that
/// allows more is a warning there.
fn weight(role: Role, aspect: Aspect, flow: Flow) -> (Level, Bump) {
    match (role, aspect, flow) {
        (Role::Told, ..) => (Level::Info, Bump::Minor),
        (Role::Breaks, Aspect::Pattern, Flow::Response) => (Level::Warning, Bump::Minor),
        (Role::Breaks, ..) => (Level::Error, Bump::Major),
    }
}

/// True for what hurts consumers of the new contract when the old one comes back: leaving a parameter out means something else
/// again, and a value that was added to a list is not known yet.
fn breaks_on_the_way_back(note: &Note, draft: &Draft) -> bool {
    draft.change.rule.id == crate::openapi::rules::PARAMETER_DEFAULT_CHANGED.id
        || (note.topic == Topic::ExtensibleValueAdded && draft.change.flow == Flow::Request)
}

enum Verdict {
    Differs(Option<Value>),
    Unknown,
}

fn detail(subject: Option<&str>, from: &str, to: &str) -> String {
    let short = |text: &str| -> String {
        if text.chars().count() > 160 {
            text.chars().take(157).chain("...".chars()).collect()
        } else {
            text.to_owned()
        }
    };
    match subject {
        Some(subject) => format!("`{}`: {} before, {} now", short(subject), short(from), short(to)),
        None => format!("{} before, {} now", short(from), short(to)),
    }
}

/// A way down from a use of a schema.
pub(super) type Steps = Vec<(usize, Step)>;

/// Shared so that a pair's relation is cloned cheaply.
pub(super) type Shared<T> = Rc<T>;
