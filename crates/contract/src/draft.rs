//! Changes on their way into a report: with places as pointers, before lines are looked up.
//!
//! Lines are found for all changes at once, because each look-up scans a whole document.

use std::collections::{BTreeMap, BTreeSet};

use crate::library::Library;
use crate::{Change, Comparison, Location, NotChecked};

/// A place in one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    document: usize,
    pointer: String,
    /// The place as it is told: the pointer, with the file before it when it is not the first one.
    pub(crate) place: String,
}

impl Spot {
    pub(crate) fn new(library: &Library<'_>, document: usize, pointer: String) -> Self {
        let place = if document == 0 {
            pointer.clone()
        } else {
            format!("{}#{pointer}", library.document(document).file)
        };
        Self { document, pointer, place }
    }
}

/// A change whose lines are not known yet.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) change: Change,
    pub(crate) old: Option<Spot>,
    pub(crate) new: Option<Spot>,
}

/// Something undecided whose lines are not known yet.
#[derive(Debug, Clone)]
pub(crate) struct DraftNotChecked {
    pub(crate) place: String,
    pub(crate) reason: String,
    pub(crate) old: Option<Spot>,
    pub(crate) new: Option<Spot>,
}

/// The findings of one direction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) changes: Vec<Draft>,
    pub(crate) not_checked: Vec<DraftNotChecked>,
}

impl Findings {
    /// Turns findings of new to old round, so that old is the old contract in both directions.
    pub(crate) fn turn(&mut self) {
        self.changes.iter_mut().for_each(|draft| std::mem::swap(&mut draft.old, &mut draft.new));
        self.not_checked.iter_mut().for_each(|draft| std::mem::swap(&mut draft.old, &mut draft.new));
    }
}

/// The findings of both directions; old is the old contract in both.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drafts {
    pub(crate) deploy: Findings,
    pub(crate) roll_back: Findings,
}

impl Drafts {
    /// Leaves both directions open where the documents differ: what a version that is not known means by its fields is not
    /// known, be they new or not.
    pub(crate) fn open_version(
        &mut self,
        place: &str,
        reason: String,
        (old, new): (&Library<'_>, &Library<'_>),
    ) {
        if old.entry().value == new.entry().value {
            return;
        }
        let spot = |library| Some(Spot::new(library, 0, place.to_owned()));
        let open = DraftNotChecked { place: place.to_owned(), reason, old: spot(old), new: spot(new) };
        self.roll_back.not_checked.push(open.clone());
        self.deploy.not_checked.push(open);
    }

    /// Looks up all lines.
    pub(crate) fn locate(self, old: &Library<'_>, new: &Library<'_>) -> Comparison {
        let old_lines = Lines::of(old, self.spots(|old, _| old));
        let new_lines = Lines::of(new, self.spots(|_, new| new));
        let finish = |findings: Findings| crate::Findings {
            changes: findings
                .changes
                .into_iter()
                .map(|draft| {
                    draft.change.at(old_lines.locate(old, draft.old), new_lines.locate(new, draft.new))
                })
                .collect(),
            not_checked: findings
                .not_checked
                .into_iter()
                .map(|draft| NotChecked {
                    place: draft.place,
                    reason: draft.reason,
                    old: old_lines.locate(old, draft.old),
                    new: new_lines.locate(new, draft.new),
                })
                .collect(),
        };
        Comparison { deploy: finish(self.deploy), roll_back: finish(self.roll_back) }
    }

    fn spots(
        &self,
        side: for<'s> fn(Option<&'s Spot>, Option<&'s Spot>) -> Option<&'s Spot>,
    ) -> BTreeSet<(usize, String)> {
        let mut spots = BTreeSet::new();
        for findings in [&self.deploy, &self.roll_back] {
            let changes = findings.changes.iter().map(|draft| (draft.old.as_ref(), draft.new.as_ref()));
            let undecided = findings.not_checked.iter().map(|draft| (draft.old.as_ref(), draft.new.as_ref()));
            for (old, new) in changes.chain(undecided) {
                spots.extend(side(old, new).map(|spot| (spot.document, spot.pointer.clone())));
            }
        }
        spots
    }
}

/// The lines of all places asked for in one library.
struct Lines(BTreeMap<(usize, String), u32>);

impl Lines {
    fn of(library: &Library<'_>, spots: BTreeSet<(usize, String)>) -> Self {
        let mut by_document: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (document, pointer) in spots {
            by_document.entry(document).or_default().push(pointer);
        }
        let mut lines = BTreeMap::new();
        for (document, pointers) in by_document {
            let found = library.document(document).lines(pointers.iter().map(String::as_str));
            lines.extend(pointers.into_iter().zip(found).map(|(pointer, line)| ((document, pointer), line)));
        }
        Self(lines)
    }

    fn locate(&self, library: &Library<'_>, spot: Option<Spot>) -> Option<Location> {
        let spot = spot?;
        let file = library.document(spot.document).file.clone();
        let line = self.0.get(&(spot.document, spot.pointer)).copied().unwrap_or(1);
        Some(Location { file, line })
    }
}
