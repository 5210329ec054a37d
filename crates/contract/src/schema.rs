//! Schemas of both sides of a comparison in one representation, and the question whether one allows all that another does.
//!
//! OpenAPI 3.0, OpenAPI 3.1 and JSON Schema are lowered, on demand, into alternatives of [`facts`]; cycles end because
//! schemas are numbers in an arena. Reading starts in [`lower`], comparing in [`relate`] and [`prove`], documents that
//! show a difference come from [`sample`] and are checked by [`evaluate`]. Every step is bounded; where a bound is met the answer is
//! "not decided", never "yes".

mod evaluate;
mod explain;
mod facts;
mod format;
mod heirs;
mod identical;
mod keywords;
mod lower;
mod meet;
mod notes;
mod number;
mod pattern;
mod prove;
mod relate;
pub(crate) mod report;
pub(crate) mod rules;
mod sample;
pub(crate) mod specification;
mod violation;

use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Map, Value};

pub(crate) use facts::NodeId;
use facts::{Facts, Type};
pub(crate) use format::range as range_of_format;
use pattern::Patterns;

pub(crate) use crate::dialect::{Dialect, ExclusiveBound, Medium, Side};
use crate::document::member;
use crate::library::{BaseId, Library, Target, push_token};
use crate::trial::SchemaPlace;
use crate::{Flow, UnknownFields};

/// How deep schemas may be nested through references before a comparison gives up: a stack frame each.
const MAX_NESTING: usize = 64;

/// How many schemas one comparison may meet in both flows: the largest public documents have some hundred thousand.
const MAX_NODES: usize = 1 << 22;

/// The keyword that keeps a property from travelling: read-only ones are not sent, write-only ones not received.
fn hidden_by(flow: Flow) -> Option<&'static str> {
    match flow {
        Flow::Request => Some("readOnly"),
        Flow::Response => Some("writeOnly"),
        Flow::Message | Flow::Storage => None,
    }
}

/// A schema as written, with its place.
#[derive(Debug, Clone)]
pub(crate) struct Raw<'l> {
    pub(crate) value: &'l Value,
    pub(crate) side: Side,
    pub(crate) document: usize,
    pub(crate) pointer: Rc<str>,
    base: BaseId,
}

#[derive(Debug, Clone)]
enum Node<'l> {
    Any,
    Never,
    Raw(Raw<'l>),
    /// All of these schemas at once.
    All(Rc<[NodeId]>),
    /// One alternative by itself.
    Facts(Rc<Facts>),
}

/// How many alternatives are compared in one comparison of contracts: real ones need some thousand.
const MAX_PROOF_WORK: usize = 1 << 18;

/// How many values are tried against schemas in one comparison, for witnesses and listed values.
const MAX_TRIALS: usize = 1 << 21;

/// How many samples are made in one comparison.
const MAX_SAMPLES_MADE: usize = 1 << 18;

/// How many samples are made for one pair of schemas, so that a hard one does not take the witnesses of the others.
const MAX_SAMPLES_HERE: usize = 1 << 11;

/// How many properties are merged for `allOf` in one comparison: real contracts need some hundred thousand.
const MAX_MERGED: usize = 1 << 23;

/// What a comparison has done so far; past a limit nothing more is proved and no more witnesses are looked for.
#[derive(Debug, Default)]
struct Work {
    proofs: usize,
    trials: usize,
    samples: usize,
    samples_here: usize,
    merged: usize,
    /// True while only an answer is wanted and no document that shows it.
    without_samples: bool,
}

impl Work {
    /// Counts one step of a proof; false when no more may be made.
    fn prove(&mut self) -> bool {
        self.proofs += 1;
        self.proofs <= MAX_PROOF_WORK
    }

    /// Counts one value tried; false when no more may be.
    fn try_value(&mut self) -> bool {
        self.trials += 1;
        self.trials <= MAX_TRIALS
    }

    /// Counts one sample made; false when no more may be.
    fn sample(&mut self) -> bool {
        self.samples += 1;
        self.samples_here += 1;
        !self.without_samples && self.samples <= MAX_SAMPLES_MADE && self.samples_here <= MAX_SAMPLES_HERE
    }

    /// Counts samples about to be made at once; false when no more may be.
    fn add_samples(&mut self, count: usize) -> bool {
        self.samples = self.samples.saturating_add(count);
        self.samples <= MAX_SAMPLES_MADE
    }

    /// Counts properties about to be merged; false when no more may be.
    fn merge(&mut self, properties: usize) -> bool {
        self.merged = self.merged.saturating_add(properties);
        self.merged <= MAX_MERGED
    }

    /// True when some limit was met, so that what was found may be less than there is.
    fn is_spent(&self) -> bool {
        self.proofs > MAX_PROOF_WORK
            || self.trials > MAX_TRIALS
            || self.samples > MAX_SAMPLES_MADE
            || self.merged > MAX_MERGED
    }

    /// Begins the work on another pair.
    fn begin(&mut self) {
        self.samples_here = 0;
    }
}

/// The arena of schemas of one comparison, and all that has been found out about them in one flow.
pub(crate) struct Schemas<'l> {
    old: &'l Library<'l>,
    new: &'l Library<'l>,
    dialects: [Dialect; 2],
    flow: Flow,
    unknown_fields: UnknownFields,
    nodes: Vec<Node<'l>>,
    by_value: FxHashMap<usize, NodeId>,
    by_parts: FxHashMap<Rc<[NodeId]>, NodeId>,
    tags: FxHashMap<(usize, usize), NodeId>,
    alternatives: FxHashMap<NodeId, Rc<Vec<Facts>>>,
    relations: FxHashMap<(NodeId, NodeId), Rc<relate::Relation>>,
    /// True once something was found out that may be otherwise in another flow, or when the search starts elsewhere.
    holds_only_here: bool,
    /// How often it was asked for a proof.
    questions: usize,
    lowering: FxHashSet<NodeId>,
    lowering_depth: usize,
    patterns: Patterns,
    identical: identical::Identical,
    heirs: heirs::Heirs,
    work: Work,
    proofs: prove::Proofs,
    strict_proofs: prove::Proofs,
    strict: bool,
    /// True while it is asked whether two variants overlap.
    is_asking_overlap: bool,
    medium: Medium,
}

impl<'l> Schemas<'l> {
    /// An empty arena for both sides.
    pub(crate) fn new(
        (old, new): (&'l Library<'l>, &'l Library<'l>),
        dialects: [Dialect; 2],
        flow: Flow,
        unknown_fields: UnknownFields,
    ) -> Self {
        Self {
            old,
            new,
            dialects,
            flow,
            unknown_fields,
            nodes: vec![Node::Any, Node::Never],
            by_value: FxHashMap::default(),
            by_parts: FxHashMap::default(),
            tags: FxHashMap::default(),
            alternatives: FxHashMap::default(),
            relations: FxHashMap::default(),
            holds_only_here: false,
            questions: 0,
            lowering: FxHashSet::default(),
            lowering_depth: 0,
            patterns: Patterns::default(),
            identical: identical::Identical::default(),
            heirs: heirs::Heirs::default(),
            work: Work::default(),
            proofs: prove::Proofs::default(),
            strict_proofs: prove::Proofs::default(),
            strict: false,
            is_asking_overlap: false,
            medium: Medium::Json,
        }
    }

    /// The same for documents that travel otherwise than as JSON.
    pub(crate) fn over(mut self, medium: Medium) -> Self {
        self.medium = medium;
        self
    }

    /// Goes on in another flow. What was found out is kept where it must be the same there.
    pub(crate) fn turn_to(&mut self, flow: Flow) {
        if self.holds_only_here || self.work.is_spent() || self.is_exhausted() {
            self.alternatives.clear();
            self.relations.clear();
            self.holds_only_here = false;
        }
        self.patterns.begin();
        (self.proofs, self.strict_proofs) = Default::default();
        (self.flow, self.work) = (flow, Work::default());
    }

    /// True when the schema allows arrays or objects.
    pub(crate) fn allows_composites(&mut self, id: NodeId) -> bool {
        self.alternatives(id)
            .iter()
            .any(|facts| facts.types.has(Type::Array) || facts.types.has(Type::Object))
    }

    /// True when the schema allows objects.
    pub(crate) fn allows_objects(&mut self, id: NodeId) -> bool {
        self.alternatives(id).iter().any(|facts| facts.types.has(Type::Object))
    }

    /// True when the schema allows nothing but objects whose properties are scalars or lists of scalars: what a form can hold as text.
    pub(crate) fn is_flat(&mut self, id: NodeId) -> bool {
        let alternatives = self.alternatives(id);
        alternatives.iter().all(|facts| {
            let parts = facts.object.properties.values().chain(facts.object.patterns.values()).copied();
            let parts: Vec<NodeId> = parts.chain(facts.object.rest).collect();
            facts.types == facts::Types::only(Type::Object)
                && parts.into_iter().all(|part| part == NodeId::NEVER || self.is_scalar_or_list(part))
        })
    }

    fn is_scalar_or_list(&mut self, id: NodeId) -> bool {
        let alternatives = self.alternatives(id);
        alternatives.iter().all(|facts| {
            let items: Vec<NodeId> = facts.array.prefix.iter().copied().chain([facts.array.rest()]).collect();
            !facts.types.has(Type::Object)
                && (!facts.types.has(Type::Array)
                    || items.into_iter().all(|item| item == NodeId::NEVER || !self.allows_composites(item)))
        })
    }

    fn library(&self, side: Side) -> &'l Library<'l> {
        match side {
            Side::Old => self.old,
            Side::New => self.new,
        }
    }

    fn dialect(&self, side: Side) -> Dialect {
        self.dialects[side as usize]
    }

    /// The schema at a place of a document.
    pub(crate) fn schema(&mut self, side: Side, target: Target<'l>) -> NodeId {
        let key = std::ptr::from_ref(target.value) as usize;
        if let Some(known) = self.by_value.get(&key) {
            return *known;
        }
        let Target { value, document, pointer, base } = target;
        let node = match value {
            Value::Bool(true) => return NodeId::ANY,
            Value::Bool(false) => return NodeId::NEVER,
            value => Node::Raw(Raw { value, side, document, pointer: pointer.into(), base }),
        };
        let id = self.push(node);
        self.by_value.insert(key, id);
        id
    }

    fn push(&mut self, node: Node<'l>) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(node);
        id
    }

    /// True when so many schemas were met that the comparison must end.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.nodes.len() > MAX_NODES || self.work.proofs > MAX_PROOF_WORK
    }

    /// The schema that demands all of these.
    fn all(&mut self, parts: impl IntoIterator<Item = NodeId>) -> NodeId {
        let mut flat = Vec::new();
        for part in parts {
            match &self.nodes[part.0 as usize] {
                Node::All(inner) => flat.extend_from_slice(inner),
                Node::Any => {}
                _ => flat.push(part),
            }
        }
        flat.sort_unstable();
        flat.dedup();
        match flat.as_slice() {
            [] => NodeId::ANY,
            [only] => *only,
            [first, ..] if *first == NodeId::NEVER => NodeId::NEVER,
            _ => {
                let key: Rc<[NodeId]> = flat.into();
                if let Some(known) = self.by_parts.get(&key) {
                    return *known;
                }
                let id = self.push(Node::All(Rc::clone(&key)));
                self.by_parts.insert(key, id);
                id
            }
        }
    }

    /// A schema that is one alternative.
    fn of_facts(&mut self, facts: Facts) -> NodeId {
        self.push(Node::Facts(Rc::new(facts)))
    }

    /// The schema of an object with these properties: name, whether it is required, and its schema.
    pub(crate) fn object_of<'n>(
        &mut self,
        fields: impl Iterator<Item = (&'n str, bool, Side, Target<'l>)>,
    ) -> NodeId {
        let mut facts = Facts { types: facts::Types::only(Type::Object), ..Facts::any() };
        for (name, required, side, target) in fields {
            let node = self.schema(side, target);
            let object = facts.object_mut();
            object.properties.insert(name.into(), node);
            if required {
                object.required.insert(name.into());
            }
        }
        self.of_facts(facts)
    }

    /// The schema as written, when the node is one; of several at once, the first.
    pub(crate) fn raw(&self, id: NodeId) -> Option<&Raw<'l>> {
        match &self.nodes[id.0 as usize] {
            Node::Raw(raw) => Some(raw),
            Node::All(parts) => parts.iter().find_map(|part| self.raw(*part)),
            Node::Any | Node::Never | Node::Facts(_) => None,
        }
    }

    /// Where a schema is written, when it is just that.
    pub(crate) fn written_at(&self, id: NodeId) -> Option<SchemaPlace> {
        let Node::Raw(raw) = &self.nodes[id.0 as usize] else { return None };
        let (document, pointer) = (raw.document, raw.pointer.to_string());
        Some(SchemaPlace { side: raw.side, dialect: self.dialect(raw.side), document, pointer })
    }

    /// The schema under a keyword of a schema, such as `["properties", "id"]`.
    fn child(&mut self, raw: &Raw<'l>, value: &'l Value, tokens: &[&str]) -> NodeId {
        if let Some(known) = self.by_value.get(&(std::ptr::from_ref(value) as usize)) {
            return *known;
        }
        let mut pointer = raw.pointer.to_string();
        let mut base = raw.base;
        let library = self.library(raw.side);
        for token in tokens {
            push_token(&mut pointer, token);
            base = library.embedded_base(raw.document, &pointer).unwrap_or(base);
        }
        self.schema(raw.side, Target { value, document: raw.document, pointer, base })
    }

    /// What a `$ref` in this schema leads to.
    fn follow(&mut self, raw: &Raw<'l>, reference: &str) -> Option<NodeId> {
        let target = self.library(raw.side).resolve(raw.base, reference)?;
        Some(self.schema(raw.side, target))
    }

    /// The keywords of a schema after following references that stand alone, for what is said about a schema and not in it.
    fn keywords(&mut self, id: NodeId) -> Option<&'l Map<String, Value>> {
        let mut at = id;
        for _ in 0..MAX_NESTING {
            let raw = self.raw(at)?.clone();
            let map = raw.value.as_object()?;
            match member(map, "$ref").and_then(Value::as_str) {
                Some(reference) if map.len() == 1 || self.dialect(raw.side).reference_stands_alone() => {
                    at = self.follow(&raw, reference)?;
                }
                _ => return Some(map),
            }
        }
        None
    }
}
