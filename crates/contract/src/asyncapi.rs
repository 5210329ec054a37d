//! AsyncAPI 2.0 to 2.6 and 3.0 as contracts of what an application sends and receives.
//!
//! Of what it sends, consumers have the older document; of what it receives, producers have. Payloads are compared by their own
//! format: JSON Schema, Avro or Protobuf.

mod compare;
mod format;
mod model;
mod rules;
pub(crate) mod specification;

use compare::{Comparer, Uses, Whole};
pub(crate) use model::key;
use model::{Major, exchanges};
pub use rules::RULES;

use crate::document::{Document, may_be_document};
use crate::draft::Drafts;
use crate::library::Library;
use crate::openapi::cursor::Cursor;
use crate::schema::report::{self, Demand};
use crate::schema::{Dialect, Schemas, Side};
use crate::{Comparison, Flow, InputError, Options, Source};

/// True when the entry is a document that says which AsyncAPI it is.
pub(crate) fn detect(source: &Source) -> bool {
    let Some((path, bytes)) = source.entry() else { return false };
    if !may_be_document(path, bytes) && !path.is_empty() && path.contains('.') {
        return false;
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        return text.contains("\"asyncapi\"")
            && Document::parse(path, bytes).is_ok_and(|document| document.value.get("asyncapi").is_some());
    }
    text.lines().any(|line| line.trim_start_matches(['"', '\'']).starts_with("asyncapi"))
}

/// A contract that has been read.
#[derive(Debug)]
pub(crate) struct Contract<'a> {
    library: Library<'a>,
    major: Major,
    /// The version that the document names, when it is not one that is known.
    unknown_version: Option<String>,
}

impl<'a> Contract<'a> {
    /// The documents of the contract.
    pub(crate) fn library(&self) -> &Library<'a> {
        &self.library
    }
}

/// Reads a contract of this format.
pub(crate) fn read(source: &Source) -> Result<Contract<'_>, Vec<InputError>> {
    let library = Library::load(source)?;
    let root = library.entry().value;
    let file = library.document(0).file.clone();
    if !root.is_object() {
        return Err(vec![InputError::new(file, "the document is not a mapping").on_line(1)]);
    }
    let Some(version) = root.get("asyncapi") else {
        let error = InputError::new(file, "the document does not say which AsyncAPI it is");
        return Err(vec![error.with_hint("begin it with asyncapi: 3.0.0, or 2.6.0")]);
    };
    let version = version.as_str().map_or_else(|| version.to_string(), str::to_owned);
    let is = |known: &str| version == known || version.starts_with(&format!("{known}."));
    let is_known = is("3.0") || (0..=6).any(|minor| is(&format!("2.{minor}")));
    let major = if version.starts_with('2') { Major::Two } else { Major::Three };
    Ok(Contract { library, major, unknown_version: (!is_known).then_some(version) })
}

/// Lists what is sent and received, as `send orders/{id}`.
pub(crate) fn operations(contract: &Contract<'_>) -> Vec<String> {
    let root = Cursor::root(&contract.library, Side::Old);
    exchanges(&root, contract.major).values().map(model::Exchange::title).collect()
}

/// True for an operation, as [`operations`] lists it, in which the application receives.
pub(crate) fn is_received(operation: &str) -> bool {
    operation.starts_with("receive ")
}

/// Compares two contracts of this format in both directions.
pub(crate) fn compare(old: &Contract<'_>, new: &Contract<'_>, options: &Options) -> Comparison {
    compare_in(old, new, options, &[])
}

/// Compares what the named operations of the old contract, or all, are in the new one, from old to new only.
pub(crate) fn fit(
    used: &Contract<'_>,
    operations: &[String],
    offered: &Contract<'_>,
    options: &Options,
) -> crate::Findings {
    compare_in(used, offered, options, operations).deploy
}

fn compare_in(old: &Contract<'_>, new: &Contract<'_>, options: &Options, selection: &[String]) -> Comparison {
    let unknown = old.unknown_version.clone().or_else(|| new.unknown_version.clone());
    let (from, to) = (&old.library, &new.library);
    let engine = || Schemas::new((from, to), [Dialect::Draft7; 2], Flow::Message, options.unknown_fields);
    let (mut sent, mut received) = (engine(), engine());
    let mut drafts = Drafts::default();
    let mut uses = Uses::default();
    let sides = [
        Whole { root: Cursor::root(from, Side::Old), major: old.major },
        Whole { root: Cursor::root(to, Side::New), major: new.major },
    ];
    Comparer {
        sent: &mut sent,
        received: &mut received,
        uses: Some(&mut uses),
        findings: &mut drafts.deploy,
        options,
        selection,
    }
    .whole(&sides[0], &sides[1]);
    Comparer {
        sent: &mut sent,
        received: &mut received,
        uses: None,
        findings: &mut drafts.roll_back,
        options,
        selection: &[],
    }
    .whole(&sides[1], &sides[0]);
    drafts.roll_back.turn();
    report::compare(&mut sent, Flow::Message, Demand::OldHoldsNew, &uses.sent, &mut drafts);
    report::compare(&mut received, Flow::Message, Demand::NewHoldsOld, &uses.received, &mut drafts);
    if let Some(version) = unknown {
        let reason = format!("`{version}` is no version of AsyncAPI that is known; 2.0 to 2.6 and 3.0 are");
        drafts.open_version("/asyncapi", reason, (from, to));
    }
    drafts.locate(from, to)
}
