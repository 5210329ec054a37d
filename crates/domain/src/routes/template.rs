//! Paths with variables: `/orders/{id}` takes one segment that is not empty for `{id}`, and `/files/{rest...}` everything below
//! `/files/`, also nothing.

use thiserror::Error;

/// Most segments of a template: what is longer is no address that a person wrote.
pub const MAX_SEGMENTS: usize = 32;

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// It is no absolute path.
    #[error("a template begins with a slash")]
    NotAbsolute,
    /// It has too many segments.
    #[error("a template has at most {MAX_SEGMENTS} parts")]
    TooLong,
    /// A variable is not a whole segment, or its name is none.
    #[error(
        "`{0}` is neither plain text nor one variable such as `{{id}}`, named with letters, digits and `_`"
    )]
    Segment(String),
    /// A variable with an open end is not the last segment.
    #[error("`{0}` takes all that follows, so nothing can follow it")]
    Open(String),
    /// Two variables have one name.
    #[error("the variable `{0}` is there twice")]
    Twice(String),
    /// A literal segment is not in the form that requests are matched in.
    #[error("no request has the part `{0}`: {1}")]
    Form(String, String),
}

/// One part of a template between two slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Itself.
    Literal(&'a str),
    /// Any one segment that is not empty.
    Variable(&'a str),
    /// All that follows.
    Rest(&'a str),
}

/// Goes through the segments of a template that was checked.
pub fn segments(template: &str) -> impl Iterator<Item = Segment<'_>> {
    template.split('/').skip(1).map(segment)
}

fn segment(text: &str) -> Segment<'_> {
    match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        None => Segment::Literal(text),
        Some(inner) => match inner.strip_suffix("...") {
            Some(name) => Segment::Rest(name),
            None => Segment::Variable(inner),
        },
    }
}

/// Checks a template.
///
/// # Errors
/// What is wrong with it first.
pub fn check(template: &str) -> Result<(), TemplateError> {
    if !template.starts_with('/') {
        return Err(TemplateError::NotAbsolute);
    }
    if template.split('/').count() > MAX_SEGMENTS + 1 {
        return Err(TemplateError::TooLong);
    }
    let mut names = Vec::new();
    let mut all = template.split('/').skip(1).peekable();
    while let Some(text) = all.next() {
        let is_last = all.peek().is_none();
        let name = match segment(text) {
            Segment::Literal(literal) => {
                check_literal(literal, is_last)?;
                continue;
            }
            Segment::Rest(_) if !is_last => return Err(TemplateError::Open(cut(text))),
            Segment::Rest(name) | Segment::Variable(name) => name,
        };
        if !is_name(name) {
            return Err(TemplateError::Segment(cut(text)));
        }
        if names.contains(&name) {
            return Err(TemplateError::Twice(name.to_owned()));
        }
        names.push(name);
    }
    Ok(())
}

fn check_literal(literal: &str, is_last: bool) -> Result<(), TemplateError> {
    if literal.contains(['{', '}']) {
        return Err(TemplateError::Segment(cut(literal)));
    }
    if literal.is_empty() {
        let merged = || TemplateError::Form(String::new(), "slashes that repeat arrive as one".into());
        return is_last.then_some(()).ok_or_else(merged);
    }
    let path = format!("/{literal}");
    match crate::request_path::normalize_path(&path) {
        Ok(form) if form == path => Ok(()),
        Ok(form) => Err(TemplateError::Form(cut(literal), format!("it arrives as `{form}`"))),
        Err(problem) => Err(TemplateError::Form(cut(literal), problem.to_string())),
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Tells whether a path in its one form is one of a template.
#[must_use]
pub fn takes(template: &str, path: &str) -> bool {
    values(template, path).is_some()
}

/// Returns the names and values of the variables of a template for a path that it takes.
#[must_use]
pub fn values<'a>(template: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let mut found = Vec::new();
    let mut rest = Some(path.strip_prefix('/')?);
    for wanted in segments(template) {
        let here = rest?;
        let (first, after) = match here.split_once('/') {
            Some((first, after)) => (first, Some(after)),
            None => (here, None),
        };
        match wanted {
            Segment::Rest(name) => {
                found.push((name, here));
                return Some(found);
            }
            Segment::Variable(_) if first.is_empty() => return None,
            Segment::Variable(name) => found.push((name, first)),
            Segment::Literal(literal) if literal != first => return None,
            Segment::Literal(_) => {}
        }
        rest = after;
    }
    rest.is_none().then_some(found)
}

/// Puts values in the place of variables; one that has no value becomes nothing.
#[must_use]
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value);
    segments(template).fold(String::new(), |mut path, segment| {
        path.push('/');
        path.push_str(match segment {
            Segment::Literal(text) => text,
            Segment::Variable(name) | Segment::Rest(name) => value(name),
        });
        path
    })
}

/// Counts the characters that are not of variables.
#[must_use]
pub fn literal(template: &str) -> usize {
    segments(template)
        .map(|segment| match segment {
            Segment::Literal(text) => 1 + text.len(),
            Segment::Variable(_) | Segment::Rest(_) => 1,
        })
        .sum()
}

/// Tells whether it takes all that follows its last slash.
#[must_use]
pub fn is_open(template: &str) -> bool {
    matches!(segments(template).last(), Some(Segment::Rest(_)))
}

/// Returns the template without the names of its variables: the same for two that take the same paths.
#[must_use]
pub fn nameless(template: &str) -> String {
    segments(template).fold(String::new(), |mut text, segment| {
        text.push('/');
        text.push_str(match segment {
            Segment::Literal(literal) => literal,
            Segment::Variable(_) => "{}",
            Segment::Rest(_) => "{...}",
        });
        text
    })
}

/// Returns what is before the first variable, without the slash at its end: every path that it takes lies there.
#[must_use]
pub fn base(template: &str) -> &str {
    let end = template.find("/{").unwrap_or(template.len());
    if end == 0 { "/" } else { &template[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_takes_whole_segments() {
        let table = [
            ("/orders/{id}", "/orders/7", true),
            ("/orders/{id}", "/orders/", false),
            ("/orders/{id}", "/orders", false),
            ("/orders/{id}", "/orders/7/", false),
            ("/orders/{id}", "/orders/7/items", false),
            ("/orders/{id}", "/orders/a%2Fb", true),
            ("/orders/{id}/items", "/orders/7/items", true),
            ("/files/{rest...}", "/files/", true),
            ("/files/{rest...}", "/files/a/b/", true),
            ("/files/{rest...}", "/files", false),
            ("/{a}/{b}", "/x/y", true),
            ("/", "/", true),
            ("/{rest...}", "/", true),
            ("/a/", "/a/", true),
            ("/a/", "/a", false),
        ];
        for (template, path, expected) in table {
            assert_eq!(check(template), Ok(()), "{template}");
            assert_eq!(takes(template, path), expected, "{template} {path}");
        }
        let found = values("/v1/{who}/{rest...}", "/v1/ann/a/b").unwrap();
        assert_eq!(found, [("who", "ann"), ("rest", "a/b")]);
        assert_eq!(fill("/v2/{rest...}", &found), "/v2/a/b");
        assert_eq!(fill("/v2/{who}/x", &found), "/v2/ann/x");
        assert_eq!((base("/a/{x}/b"), base("/{x}"), base("/a")), ("/a", "/", "/a"));
    }

    #[test]
    fn what_no_request_can_take_is_no_template() {
        for bad in [
            "",
            "a",
            "/{}",
            "/{a b}",
            "/a{b}",
            "/{a}{b}",
            "/{r...}/x",
            "/{a}/{a}",
            "/a//{b}",
            "/../{a}",
            "/ü/{a}",
            "/%61/{a}",
            "/{a",
            "/a}",
            "/a b/{c}",
            &"/a".repeat(33),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
