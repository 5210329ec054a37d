//! Which of the commits since a release count: what was taken back does not, what came back does.

use std::collections::BTreeMap;

use super::reverts::{self, Revert, Wording};
use super::{Bump, Change, Commit, subject_of};

/// Deepest chain of reverts of reverts that is followed; people lose their way before.
const MAX_DEPTH: usize = 16;

/// The commits since a release, with what is needed to tell which of them count.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The commits that changed the service, oldest first.
    pub commits: Vec<Commit>,
    /// Merges, and other commits that messages name.
    pub others: Vec<Other>,
}

/// A commit that is not one of those that are counted, or joins two lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// The commit.
    pub commit: Commit,
    /// What a merge brought that changed the service, oldest first.
    pub brought: Vec<Commit>,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a commit stands to the release that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is part of the release.
    Released,
    /// It came after.
    Since,
    /// It is in no history of the commit: it was rebased, or is of another branch.
    Elsewhere,
}

/// A commit that counts, with what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<'h> {
    /// The commit.
    pub commit: &'h Commit,
    /// What it does; several things when it brings a merge back.
    pub changes: Vec<Change>,
    /// Something that is released is taken back by it.
    pub takes_back_released: bool,
}

/// What a commit takes back, and what is known of that.
enum Found {
    Here(Vec<usize>),
    Released,
}

/// Whether something is done or taken back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Done,
    TakenBack,
}

impl From<Vec<Commit>> for History {
    fn from(commits: Vec<Commit>) -> Self {
        Self { commits, others: Vec::new() }
    }
}

/// Returns the bump that commits owe together.
#[must_use]
pub fn bump_owed(history: &History) -> Bump {
    counted(history).iter().flat_map(|one| &one.changes).map(Change::bump).max().unwrap_or_default()
}

/// Returns the ids that a message takes back: whoever asks git about them completes a [`History`].
#[must_use]
pub fn named_by(message: &str) -> Vec<&str> {
    reverts::revert(message).map(|revert| revert.ids).unwrap_or_default()
}

/// Tells whether a message takes something back.
#[must_use]
pub fn takes_back(message: &str) -> bool {
    reverts::revert(message).is_some()
}

/// Leaves out commits that a later one takes back, together with the one that does nothing else. The order stays.
#[must_use]
pub fn counted(history: &History) -> Vec<Counted<'_>> {
    let index = Index::of(history);
    let mut gone = vec![false; history.commits.len()];
    let mut counted = Vec::new();
    for (position, commit) in history.commits.iter().enumerate().rev() {
        if gone[position] {
            continue;
        }
        let revert = reverts::revert(&commit.message);
        let earlier = Earlier { history, index: &index, before: position, gone: &gone };
        let found = revert.as_ref().map_or_else(Vec::new, |revert| earlier.find(revert));
        let here = found.iter().flat_map(|found| match found {
            Found::Here(positions) => positions.as_slice(),
            Found::Released => &[],
        });
        here.for_each(|position| gone[*position] = true);
        let pure = revert.as_ref().is_some_and(|revert| revert.wording != Wording::Own);
        let whole = !found.is_empty() && found.iter().all(|found| matches!(found, Found::Here(_)));
        if pure && whole {
            continue;
        }
        counted.push(history.count(commit, pure, &found));
    }
    counted.reverse();
    counted
}

impl History {
    fn count<'h>(&'h self, commit: &'h Commit, pure: bool, found: &[Found]) -> Counted<'h> {
        let released = found.iter().any(|found| matches!(found, Found::Released));
        let (sign, changes) =
            if pure { self.meaning(&commit.message, 0) } else { (Sign::Done, vec![commit.change()]) };
        match sign {
            Sign::Done => Counted { commit, changes, takes_back_released: !pure && released },
            Sign::TakenBack => {
                Counted { commit, changes: vec![commit.change()], takes_back_released: released }
            }
        }
    }

    /// Says what a message does in the end: a revert of a revert does what was reverted first.
    fn meaning(&self, message: &str, depth: usize) -> (Sign, Vec<Change>) {
        let done = |message: &str| (Sign::Done, vec![Change::of(message)]);
        let Some(revert) = reverts::revert(message).filter(|revert| revert.wording != Wording::Own) else {
            return done(message);
        };
        if depth == MAX_DEPTH {
            return done(message);
        }
        let known = revert.ids.iter().find_map(|id| self.other(id));
        let (sign, changes) = match (known, revert.subject) {
            (Some(merge), _) if !merge.brought.is_empty() => {
                (Sign::Done, merge.brought.iter().map(Commit::change).collect())
            }
            (Some(other), _) => self.meaning(&other.commit.message, depth + 1),
            (None, Some(subject)) if revert.wording == Wording::Again => {
                return self.meaning(subject, depth + 1);
            }
            (None, Some(subject)) => self.meaning(subject, depth + 1),
            (None, None) => return done(message),
        };
        (if sign == Sign::Done { Sign::TakenBack } else { Sign::Done }, changes)
    }

    fn other(&self, id: &str) -> Option<&Other> {
        self.others.iter().find(|other| other.commit.id.starts_with(id))
    }
}

/// Where commits stand, by everything that names them: a history of ten thousand reverts is read in no time as well.
struct Index<'h> {
    ids: BTreeMap<&'h str, usize>,
    subjects: BTreeMap<&'h str, Vec<usize>>,
    /// Subjects without the number of a request.
    plain: BTreeMap<&'h str, Vec<usize>>,
    requests: BTreeMap<&'h str, Vec<usize>>,
    merges: Vec<Merge<'h>>,
}

struct Merge<'h> {
    other: &'h Other,
    subject: &'h str,
    request: Option<&'h str>,
}

impl<'h> Index<'h> {
    fn of(history: &'h History) -> Self {
        let mut index = Self {
            ids: BTreeMap::new(),
            subjects: BTreeMap::new(),
            plain: BTreeMap::new(),
            requests: BTreeMap::new(),
            merges: Vec::new(),
        };
        for (position, commit) in history.commits.iter().enumerate() {
            let subject = subject_of(&commit.message);
            index.ids.insert(&commit.id, position);
            index.subjects.entry(subject).or_default().push(position);
            index.plain.entry(reverts::without_request(subject)).or_default().push(position);
            if let Some((_, number)) = reverts::request_of(subject) {
                index.requests.entry(number).or_default().push(position);
            }
        }
        let merges = history.others.iter().filter(|other| other.standing == Standing::Since);
        let merges = merges.filter(|other| !other.brought.is_empty());
        index.merges.extend(merges.map(|other| Merge {
            other,
            subject: subject_of(&other.commit.message),
            request: merged_request(&other.commit),
        }));
        index
    }
}

/// What came before a commit and was not taken back by a later one.
struct Earlier<'h, 'g> {
    history: &'h History,
    index: &'g Index<'h>,
    before: usize,
    gone: &'g [bool],
}

impl Earlier<'_, '_> {
    /// Finds what a revert means: by ids, else by the number of a request, else by the subject.
    fn find(&self, revert: &Revert<'_>) -> Vec<Found> {
        let by_id: Vec<_> = revert.ids.iter().filter_map(|id| self.by_id(id)).collect();
        if !by_id.is_empty() {
            return by_id;
        }
        let by_request: Vec<_> =
            revert.requests.iter().filter_map(|number| self.by_request(number)).collect();
        if !by_request.is_empty() {
            return by_request;
        }
        let subject = match (revert.wording, revert.subject) {
            (Wording::Again, Some(subject)) => Some(format!("Revert \"{subject}\"")),
            (_, subject) => subject.map(str::to_owned),
        };
        subject.and_then(|subject| self.by_subject(&subject)).into_iter().collect()
    }

    fn stands(&self, position: usize) -> Option<usize> {
        (position < self.before && !self.gone[position]).then_some(position)
    }

    fn last(&self, positions: Option<&Vec<usize>>) -> Option<usize> {
        positions?.iter().rev().find_map(|position| self.stands(*position))
    }

    fn by_id(&self, id: &str) -> Option<Found> {
        let (_, position) =
            self.index.ids.range(id..).next().filter(|(found, _)| found.starts_with(id)).unzip();
        let here = position.and_then(|position| self.stands(*position));
        match (here, self.history.other(id)) {
            (Some(position), other) => {
                let brought = other.map_or_else(Vec::new, |merge| self.brought(merge));
                Some(Found::Here(std::iter::once(position).chain(brought).collect()))
            }
            (None, Some(other)) => match other.standing {
                Standing::Since => Some(Found::Here(self.brought(other))),
                Standing::Released => Some(Found::Released),
                Standing::Elsewhere => self.by_subject(subject_of(&other.commit.message)),
            },
            (None, None) => None,
        }
    }

    fn by_request(&self, number: &str) -> Option<Found> {
        let squashed = self.last(self.index.requests.get(number));
        squashed
            .map(|position| Found::Here(vec![position]))
            .or_else(|| self.merge(|merge| merge.request == Some(number)))
    }

    fn by_subject(&self, subject: &str) -> Option<Found> {
        let exact = self.last(self.index.subjects.get(subject));
        let like = || self.last(self.index.plain.get(reverts::without_request(subject)));
        let here = exact.or_else(like).map(|position| Found::Here(vec![position]));
        here.or_else(|| self.merge(|merge| merge.subject == subject))
    }

    fn merge(&self, is: impl Fn(&Merge<'_>) -> bool) -> Option<Found> {
        let brought = self.brought(self.index.merges.iter().rev().find(|merge| is(merge))?.other);
        (!brought.is_empty()).then_some(Found::Here(brought))
    }

    /// What a merge brought, as far as it is among the commits and stands.
    fn brought(&self, merge: &Other) -> Vec<usize> {
        let position = |commit: &Commit| self.stands(*self.index.ids.get(commit.id.as_str())?);
        merge.brought.iter().filter_map(position).collect()
    }
}

/// The number of the request that a merge is of, in the words of forges.
fn merged_request(merge: &Commit) -> Option<&str> {
    let digits = |text: &'_ str| text.bytes().take_while(u8::is_ascii_digit).count();
    let after = |text: &'static str| merge.message.split_once(text).map(|(_, rest)| rest);
    let request = after("Merge pull request #").or_else(|| after("(pull request #"));
    let rest =
        request.or_else(|| after("See merge request ").and_then(|rest| Some(rest.split_once('!')?.1)))?;
    let length = digits(rest);
    (length > 0).then_some(&rest[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::Changelog;

    fn commit(id: &str, message: &str) -> Commit {
        Commit { id: id.repeat(8), message: message.into(), at: None }
    }

    fn revert(id: &str, of: &Commit) -> Commit {
        let subject = subject_of(&of.message);
        let words = subject
            .strip_prefix("Revert \"")
            .map_or_else(|| format!("Revert \"{subject}\""), |rest| format!("Reapply \"{rest}"));
        commit(id, &format!("{words}\n\nThis reverts commit {}.", of.id))
    }

    fn owed(commits: &[&Commit]) -> Bump {
        bump_owed(&History::from(commits.iter().map(|&commit| commit.clone()).collect::<Vec<_>>()))
    }

    #[test]
    fn what_was_taken_back_owes_nothing() {
        let feature = commit("a", "feat!: x");
        let back = revert("b", &feature);
        let again = revert("c", &back);
        let fix = commit("d", "fix: y");
        assert_eq!(owed(&[&feature, &back]), Bump::None);
        assert_eq!(owed(&[&feature, &fix, &back]), Bump::Patch);
        assert_eq!(owed(&[&feature, &back, &again]), Bump::Major);
        assert_eq!(owed(&[&back, &fix]), Bump::Patch, "what it takes back is older than these commits");
    }

    #[test]
    fn what_comes_back_owes_what_it_owed_first() {
        let feature = commit("a", "feat!: x");
        let back = revert("b", &feature);
        let again = revert("c", &back);
        assert_eq!(owed(&[&again]), Bump::Major, "git says Reapply");
        let old_words =
            commit("c", &format!("Revert \"Revert \"feat!: x\"\"\n\nThis reverts commit {}.", back.id));
        assert_eq!(owed(&[&old_words]), Bump::Major, "git before 2.43 said Revert twice");
        assert_eq!(owed(&[&again, &revert("d", &again)]), Bump::None);
        let footer = commit("a", "feat: x\n\nBREAKING CHANGE: y");
        let back = revert("b", &footer);
        let again = revert("c", &back);
        let released = |commit: Commit| Other { commit, brought: vec![], standing: Standing::Released };
        let history = History { commits: vec![again], others: vec![released(back), released(footer)] };
        assert_eq!(bump_owed(&history), Bump::Major, "the footer is in the message, not in the subject");
        let changelog = Changelog::of(&history);
        assert_eq!((changelog.breaking[0].text.as_str(), changelog.features[0].text.as_str()), ("y", "x"));
    }

    #[test]
    fn what_is_released_is_taken_back_by_a_patch_that_is_told() {
        let feature = commit("a", "feat: x");
        let back = revert("b", &feature);
        let other = Other { commit: feature, brought: vec![], standing: Standing::Released };
        let history = History { commits: vec![back], others: vec![other] };
        let counted = counted(&history);
        assert!(counted[0].takes_back_released);
        assert_eq!(bump_owed(&history), Bump::Patch);
    }

    #[test]
    fn a_forges_button_names_no_commit() {
        let squashed = commit("a", "feat: y (#5)");
        for words in [
            "Revert \"feat: y (#5)\" (#6)\n\nReverts shop/orders#5",
            "Revert \"feat: y (#5)\" (#6)",
            "Revert \"feat: y\" (#6)",
            "revert: feat: y (#5)",
        ] {
            assert_eq!(owed(&[&squashed, &commit("b", words)]), Bump::None, "{words}");
        }
        assert_eq!(owed(&[&squashed, &commit("b", "Revert \"feat: z\" (#6)")]), Bump::Minor);
        let again = commit("c", "Reapply \"feat: y (#5)\" (#7)");
        let back = commit("b", "Revert \"feat: y (#5)\" (#6)");
        assert_eq!(owed(&[&squashed, &back, &again]), Bump::Minor);
    }

    #[test]
    fn one_revert_takes_back_several_commits() {
        let (one, two) = (commit("a", "feat: one"), commit("b", "feat!: two"));
        let words = format!("revert: both\n\nRefs: {}, {}", &one.id[..7], two.id);
        assert_eq!(owed(&[&one, &two, &commit("c", &words)]), Bump::None);
        let half = format!("revert: one\n\nRefs: {}", one.id);
        assert_eq!(owed(&[&one, &two, &commit("c", &half)]), Bump::Major);
    }

    #[test]
    fn the_revert_of_a_merge_takes_back_what_it_brought() {
        let (one, two, three) =
            (commit("a", "feat!: one"), commit("b", "fix: two"), commit("c", "fix: three"));
        let merge = |words: &str| Other {
            commit: commit("d", words),
            brought: vec![one.clone(), two.clone()],
            standing: Standing::Since,
        };
        let git = format!(
            "Revert \"Merge branch 'x'\"\n\nThis reverts commit {}, reversing\nchanges made to 1.",
            "d".repeat(8)
        );
        let cases = [
            ("Merge branch 'x'", git.as_str()),
            ("Merge pull request #5 from ann/x\n\nx", "Revert \"x\" (#6)\n\nReverts shop/orders#5"),
            (
                "Merge branch 'x' into 'main'\n\nSee merge request shop/orders!5",
                "Revert \"y\"\n\nThis reverts merge request !5",
            ),
            ("Merge branch 'x' into 'main'", "Revert \"Merge branch 'x' into 'main'\""),
        ];
        for (merged, words) in cases {
            let commits = vec![one.clone(), two.clone(), three.clone(), commit("e", words)];
            let history = History { commits, others: vec![merge(merged)] };
            let texts: Vec<_> = counted(&history).iter().map(|one| one.commit.message.as_str()).collect();
            assert_eq!(texts, ["fix: three"], "{words}");
        }
        // Released, taken back, and there again.
        let released = Other { standing: Standing::Released, ..merge("Merge branch 'x'") };
        let back = commit("e", &git);
        let again = revert("f", &back);
        let gone = Other { commit: back, brought: vec![], standing: Standing::Released };
        let history = History { commits: vec![again], others: vec![released, gone] };
        assert_eq!(bump_owed(&history), Bump::Major);
    }

    #[test]
    fn a_commit_that_takes_back_and_says_something_of_its_own_does_both() {
        let feature = commit("a", "feat: x");
        let own = commit("b", &format!("fix: the old parser again\n\nThis reverts commit {}.", feature.id));
        assert_eq!(owed(&[&feature, &own]), Bump::Patch);
    }

    #[test]
    fn a_history_of_nothing_but_reverts_is_read_in_no_time() {
        let words = |n: usize| format!("revert: x\n\nRefs: {n:07}");
        let commits: Vec<_> =
            (0..10_000).map(|n| Commit { id: format!("{n:040}"), message: words(n), at: None }).collect();
        assert_eq!(counted(&History::from(commits)).len(), 10_000);
    }

    #[test]
    fn a_rebased_commit_is_found_by_its_subject() {
        let (old, new) = (commit("a", "feat: x"), commit("b", "feat: x"));
        let back = revert("c", &old);
        let elsewhere = Other { commit: old, brought: vec![], standing: Standing::Elsewhere };
        assert_eq!(bump_owed(&History { commits: vec![new, back], others: vec![elsewhere] }), Bump::None);
    }
}
