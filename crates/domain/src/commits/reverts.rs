//! What a message says that its commit takes back: in the words of git, of forges, and of Conventional Commits.
//!
//! Only reading; which commit is meant is found out by [`super::standing`].

/// What a message takes back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Revert<'m> {
    pub(super) wording: Wording,
    /// Commits by their ids, or by the beginnings of these.
    pub(super) ids: Vec<&'m str>,
    /// Numbers of pull or merge requests.
    pub(super) requests: Vec<&'m str>,
    /// The subject of the commit that is meant.
    pub(super) subject: Option<&'m str>,
}

/// What a message says besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wording {
    /// Something of its own: the commit also does what it says.
    #[default]
    Own,
    /// Nothing but that something is taken back.
    Back,
    /// Nothing but that something that was taken back is there again; the subject names that.
    Again,
}

/// Shortest beginning of an id that names a commit.
const MIN_ID: usize = 7;
/// Most ids of one message: a person names few.
const MAX_IDS: usize = 100;
/// Words of git before an id.
const GIT: [&str; 2] = ["This reverts commit ", "This reverts commits "];
/// Footers of Conventional Commits with ids.
const FOOTERS: [&str; 3] = ["refs:", "reverts:", "ref:"];
/// Words of forges before the number of a request.
const FORGES: [&str; 3] = ["Reverts ", "This reverts merge request ", "This reverts pull request "];

/// Reads what a message takes back; `None` when it takes nothing back.
pub(super) fn revert(message: &str) -> Option<Revert<'_>> {
    let subject = super::subject_of(message);
    let (wording, named) = match (quoted(subject), conventional(subject)) {
        (Some((wording, named)), _) => (wording, Some(named)),
        (None, Some(named)) => (Wording::Back, Some(named)),
        (None, None) => (Wording::Own, None),
    };
    let body = message.trim_start().split_once('\n').map_or("", |(_, body)| body);
    let mut ids = ids_of_git(body);
    let mut requests = Vec::new();
    if wording != Wording::Own {
        ids.extend(ids_of_footers(body));
        requests = numbers(body);
    }
    ids.truncate(MAX_IDS);
    requests.truncate(MAX_IDS);
    let found = wording != Wording::Own || !ids.is_empty();
    found.then_some(Revert { wording, ids, requests, subject: named })
}

/// Reads `Revert "X"` and `Reapply "X"`, perhaps with the number of a request behind.
pub(super) fn quoted(subject: &str) -> Option<(Wording, &str)> {
    let subject = without_request(subject);
    let (wording, rest) = match subject.strip_prefix("Revert \"") {
        Some(rest) => (Wording::Back, rest),
        None => (Wording::Again, subject.strip_prefix("Reapply \"")?),
    };
    Some((wording, rest.strip_suffix('"')?))
}

/// Reads `revert: X`, with or without a scope.
fn conventional(subject: &str) -> Option<&str> {
    let (head, text) = subject.split_once(':')?;
    let head = head.strip_suffix('!').unwrap_or(head);
    let word = head.split_once('(').map_or(head, |(word, _)| word);
    (word.eq_ignore_ascii_case("revert") && !text.trim().is_empty()).then_some(text.trim())
}

/// Takes ` (#5)` or ` (!5)` off the end of a subject.
pub(super) fn without_request(subject: &str) -> &str {
    request_of(subject).map_or(subject, |(before, _)| before)
}

/// Splits a subject such as `feat: x (#5)`.
pub(super) fn request_of(subject: &str) -> Option<(&str, &str)> {
    let (before, number) = subject.strip_suffix(')')?.rsplit_once(['#', '!'])?;
    let before = before.strip_suffix('(')?;
    is_number(number).then_some((before.trim_end(), number))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn ids_of_git(body: &str) -> Vec<&str> {
    let after = GIT.iter().flat_map(|words| body.split(words).skip(1));
    after.flat_map(leading_ids).collect()
}

/// Ids in front of anything else: `1234567`, `1234567, 89abcde and f012345`.
fn leading_ids(text: &str) -> Vec<&str> {
    let words =
        text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty() && *word != "and");
    words
        .map(|word| (word, word.trim_end_matches('.')))
        .map_while(|(_, word)| is_id(word).then_some(word))
        .collect()
}

fn ids_of_footers(body: &str) -> Vec<&str> {
    let footer = |line: &'_ str| {
        let head =
            FOOTERS.iter().find(|head| line.get(..head.len()).is_some_and(|f| f.eq_ignore_ascii_case(head)));
        head.map(|head| head.len())
    };
    body.lines().filter_map(|line| footer(line).map(|length| &line[length..])).flat_map(leading_ids).collect()
}

fn is_id(word: &str) -> bool {
    word.len() >= MIN_ID && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Numbers of requests: `Reverts owner/name#5`, `This reverts merge request !5`.
fn numbers(body: &str) -> Vec<&str> {
    let number = |line: &'_ str| {
        let start = FORGES.iter().find(|words| line.starts_with(**words))?.len();
        let at = start + line[start..].find(['#', '!'])? + 1;
        let length = line[at..].bytes().take_while(u8::is_ascii_digit).count();
        (length > 0).then_some(at..at + length)
    };
    body.lines().filter_map(|line| number(line).map(|range| &line[range])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> (Wording, Vec<&str>, Vec<&str>, Option<&str>) {
        revert(message).map(|r| (r.wording, r.ids, r.requests, r.subject)).unwrap_or_default()
    }

    #[test]
    fn git_forges_and_the_convention_say_it_in_their_own_words() {
        use Wording::{Again, Back, Own};
        let id = "0123456789012345678901234567890123456789";
        let git = format!("Revert \"feat: y\"\n\nThis reverts commit {id}.");
        assert_eq!(read(&git), (Back, vec![id], vec![], Some("feat: y")));
        let merge = format!(
            "Revert \"Merge branch 'x'\"\n\nThis reverts commit {id}, reversing\nchanges made to {id}."
        );
        assert_eq!(read(&merge), (Back, vec![id], vec![], Some("Merge branch 'x'")));
        let again = format!("Reapply \"feat!: x\"\n\nThis reverts commit {id}.");
        assert_eq!(read(&again), (Again, vec![id], vec![], Some("feat!: x")));
        let button = "Revert \"feat: y (#5)\" (#6)\n\nReverts shop/orders#5";
        assert_eq!(read(button), (Back, vec![], vec!["5"], Some("feat: y (#5)")));
        let lab = "Revert \"Merge branch 'x' into 'main'\"\n\nThis reverts merge request !12";
        assert_eq!(read(lab), (Back, vec![], vec!["12"], Some("Merge branch 'x' into 'main'")));
        let footer = "revert(api): let us never speak of it\n\nRefs: 676104e, a215868";
        assert_eq!(
            read(footer),
            (Back, vec!["676104e", "a215868"], vec![], Some("let us never speak of it"))
        );
        let twice = "Revert \"Revert \"feat: y\"\"";
        assert_eq!(read(twice), (Back, vec![], vec![], Some("Revert \"feat: y\"")));
        let own = format!("fix: go back to the old parser\n\nThis reverts commit {id}.");
        assert_eq!(read(&own), (Own, vec![id], vec![], None));
        for nothing in
            ["feat: revert a payment", "reverted: x", "fix: x\n\nRefs: 676104e", "Revert everything", ""]
        {
            assert_eq!(revert(nothing), None, "{nothing}");
        }
    }
}
