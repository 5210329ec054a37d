//! How paths of requests are read: one form that is matched, whatever the spelling, and the spelling that is sent on.
//!
//! A gateway matches on the form only, and a manifest's routes are kept in it. What is sent on is that form too, unless the environment says
//! otherwise ([`PathForm`]), and then it differs in what no rule can depend on: so no two programs behind each other can read a path
//! differently, and what is matched is what arrives.
//!
//! Invariants: the form of a form is itself; it has no empty, `.` or `..` segment, neither as it stands nor after its
//! encoded slashes and backslashes are decoded; so no part of it that begins with a slash begins with two, or climbs. The form of what is
//! sent on is what was matched, and what is sent on is sent on as it is when it is read again.

mod settings;
mod spelled;

use std::borrow::Cow;

use thiserror::Error;

use crate::routes::CALLER_PATH_PREFIX;

pub use settings::{
    EscapedSlashes, FORMAT_WITH_PATH_FORMS, PathForm, PathFormError, PathParameters, PathReading,
};
pub(crate) use spelled::without_double_start;
pub use spelled::{RequestPath, Spelled};

/// Why a path has no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathProblem {
    /// It is not an absolute path.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits.
    #[error("a percent sign in the path is not followed by two hexadecimal digits")]
    Escape,
    /// A NUL, which ends a text for some programs.
    #[error("the path contains an encoded NUL")]
    Nul,
    /// A character that no path contains, and that some programs take for a slash or the end.
    #[error(
        "the path contains a space, a backslash, a `#` or a control character; such a character is written percent-encoded"
    )]
    Character,
    /// It leaves the root.
    #[error("the path climbs out of the root with `..`")]
    Climbs,
    /// A program that decodes a slash or takes parameters off would see another path.
    #[error("the path hides an empty, `.` or `..` part behind an encoded slash or a semicolon")]
    Hidden,
    /// The environment takes none.
    #[error(
        "the path has an encoded slash or backslash, and this environment takes none (`escaped slashes: refuse`)"
    )]
    EscapedSlash,
    /// The environment takes none.
    #[error(
        "the path has parameters behind a semicolon, and this environment takes none (`path parameters: refuse`)"
    )]
    Parameters,
    /// What is sent on as it came cannot be resolved.
    #[error(
        "the path has a `.` or `..` part, which is not resolved where paths are sent on as they came (`path form: as-sent`)"
    )]
    Dots,
    /// Programs that merge slashes, and others, go up to different folders.
    #[error(
        "the path has `..` behind two slashes, which leads elsewhere where slashes are merged (`path form: keep-slashes`)"
    )]
    DotsBehindSlashes,
}

/// Returns the one form of a path (without its query): unreserved characters plain, other escapes in upper case, what may
/// not stand in a path encoded, repeated slashes merged, dot segments resolved.
///
/// # Errors
/// When it climbs out of the root, or could be read in two ways.
pub fn normalize_path(path: &str) -> Result<Cow<'_, str>, PathProblem> {
    if is_plain(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    if !path.starts_with('/') {
        return Err(PathProblem::NotAbsolute);
    }
    resolve(&decode(path)?).map(|resolved| Cow::Owned(with_plain_token(resolved)))
}

/// A token at the front is one however its `@` is written, so that it is taken off and reaches nobody.
fn with_plain_token(path: String) -> String {
    path.strip_prefix("/%40~").map(|rest| format!("{CALLER_PATH_PREFIX}{rest}")).unwrap_or(path)
}

/// Tells in one pass whether a path is surely in its form already; nearly every path is.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    path.first() == Some(&b'/')
        && path.iter().all(|&byte| {
            let starts_badly = after_slash && matches!(byte, b'/' | b'.');
            after_slash = byte == b'/';
            may_stand(byte) && byte != b';' && !starts_badly
        })
}

/// Tells whether a byte stands for itself in a path: `pchar` of RFC 3986 without escapes, and the slash.
const fn may_stand(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let signs = b"-._~!$&'()*+,;=:@/";
        let mut at = 0;
        while at < 256 {
            table[at] = (at as u8).is_ascii_alphanumeric();
            at += 1;
        }
        at = 0;
        while at < signs.len() {
            table[signs[at] as usize] = true;
            at += 1;
        }
        table
    };
    TABLE[byte as usize]
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// A character of a path as it is written: plain, or behind a percent sign.
#[derive(Debug, Clone, Copy)]
struct Sign<'a> {
    byte: u8,
    escaped: bool,
    written: &'a [u8],
}

impl Sign<'_> {
    /// Tells whether it is written as itself in the form.
    fn is_plain(self) -> bool {
        is_unreserved(self.byte) || (!self.escaped && may_stand(self.byte))
    }
}

/// Goes through the characters of a path, bytes of others than ASCII one by one.
fn signs(path: &str) -> impl Iterator<Item = Result<Sign<'_>, PathProblem>> {
    let mut rest = path.as_bytes();
    std::iter::from_fn(move || {
        let length = if *rest.first()? == b'%' { 3 } else { 1 };
        let (written, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        rest = after;
        Some(sign(written))
    })
}

fn sign(written: &[u8]) -> Result<Sign<'_>, PathProblem> {
    let (byte, escaped) = match *written {
        [b'%', high, low] => (escape(high, low)?, true),
        [b'%', ..] | [] => return Err(PathProblem::Escape),
        [byte, ..] => (byte, false),
    };
    match byte {
        0 if escaped => Err(PathProblem::Nul),
        b'\\' | b'#' | 0..=b' ' | 0x7f if !escaped => Err(PathProblem::Character),
        _ => Ok(Sign { byte, escaped, written }),
    }
}

fn decode(path: &str) -> Result<String, PathProblem> {
    let mut decoded = String::with_capacity(path.len());
    for sign in signs(path) {
        let sign = sign?;
        if sign.is_plain() {
            decoded.push(char::from(sign.byte));
        } else {
            encode(&mut decoded, sign.byte);
        }
    }
    Ok(decoded)
}

fn escape(high: u8, low: u8) -> Result<u8, PathProblem> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (high, low) = (digit(high), digit(low));
    high.zip(low).map(|(high, low)| high * 16 + low).ok_or(PathProblem::Escape)
}

fn encode(output: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    output.push('%');
    output.push(char::from(DIGITS[usize::from(byte >> 4)]));
    output.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// Merges slashes and resolves dot segments.
fn resolve(path: &str) -> Result<String, PathProblem> {
    let mut resolved = String::with_capacity(path.len());
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "" | "." => {}
            ".." => {
                let parent = resolved.rfind('/').ok_or(PathProblem::Climbs)?;
                resolved.truncate(parent);
            }
            _ if hides(segment, segments.peek().is_none()) => return Err(PathProblem::Hidden),
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    let is_folder = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
    if is_folder || resolved.is_empty() {
        resolved.push('/');
    }
    Ok(resolved)
}

/// Tells whether a program that decodes slashes, takes backslashes for slashes, or takes parameters off (`..;a`) would
/// read a segment as a way up, or as one that begins a path anew.
fn hides(segment: &str, is_last: bool) -> bool {
    if is_last && segment.starts_with(';') && !segment.contains("%2F") && !segment.contains("%5C") {
        // `/;jsessionid=1`: parameters of the folder itself.
        return false;
    }
    let mut parts = segment.split("%2F").flat_map(|part| part.split("%5C")).map(without_parameters);
    let first = parts.next().unwrap_or_default();
    let is_dots = |part: &str| matches!(part, "." | "..");
    first.is_empty() || is_dots(first) || parts.any(is_dots)
}

fn without_parameters(part: &str) -> &str {
    let end = [part.find(';'), part.find("%3B")].into_iter().flatten().min();
    &part[..end.unwrap_or(part.len())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn form(path: &str) -> Result<String, PathProblem> {
        normalize_path(path).map(Cow::into_owned)
    }

    #[test]
    fn every_way_of_writing_a_path_has_one_form() {
        let table = [
            ("/", "/"),
            ("/orders/7", "/orders/7"),
            ("/%6frders", "/orders"),
            ("/%6F%72ders/%7e", "/orders/~"),
            ("/a%2fb", "/a%2Fb"),
            ("/@scope%2Fname", "/@scope%2Fname"),
            ("/u/http%3a%2f%2fshop.test%2f", "/u/http%3A%2F%2Fshop.test%2F"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/a|b\"", "/a%7Cb%22"),
            ("//evil.test", "/evil.test"),
            ("/a//b///", "/a/b/"),
            ("/orders/../secret", "/secret"),
            ("/orders/%2e%2E/secret", "/secret"),
            ("/orders/.%2e/", "/"),
            ("/a//../b", "/b"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/..a/...", "/..a/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%252e%252e/x", "/%252e%252e/x"),
            ("/%40orders", "/%40orders"),
            ("/%40~token/x", "/@~token/x"),
            ("/%40%7Etoken", "/@~token"),
            ("/x/%40~token", "/x/%40~token"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/;jsessionid=1", "/;jsessionid=1"),
        ];
        for (path, expected) in table {
            assert_eq!(form(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_form() {
        use PathProblem::{Character, Climbs, Escape, Hidden, Nul};
        let table = [
            ("/..", Climbs),
            ("/orders/../../secret", Climbs),
            ("/%2e%2e/secret", Climbs),
            ("/a//../../b", Climbs),
            ("/orders/..%2fsecret", Hidden),
            ("/orders/%2e%2e%2fsecret", Hidden),
            ("/orders/..%5csecret", Hidden),
            ("/orders/a%2f..", Hidden),
            ("/orders/..;/secret", Hidden),
            ("/orders/..;a=1/secret", Hidden),
            ("/orders/..%3B/secret", Hidden),
            ("/;/a", Hidden),
            ("/%2fevil.test", Hidden),
            ("/%5cevil.test", Hidden),
            ("/orders/%2f%2fevil.test", Hidden),
            ("/a\\b", Character),
            ("/a#b", Character),
            ("/a%00", Nul),
            ("/a%", Escape),
            ("/a%4", Escape),
            ("/a%zz", Escape),
            ("/a%+1", Escape),
        ];
        for (path, problem) in table {
            assert_eq!(form(path), Err(problem), "{path}");
        }
        assert_eq!(form("orders"), Err(PathProblem::NotAbsolute));
        assert_eq!(form(""), Err(PathProblem::NotAbsolute));
    }

    fn paths() -> impl Strategy<Value = String> {
        let pieces = [
            "/", "/", "a", "b", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "%61", ";", "%3b", "%25",
            "%00", "@", "\\", "\u{e9}",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12)
            .prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    /// How a careless program behind the gateway might read a path: decoded, with backslashes as slashes and without
    /// parameters.
    fn careless(path: &str) -> Vec<String> {
        let slashes = path.replace("%2F", "/").replace("%5C", "/").replace("%3B", ";");
        slashes.split('/').skip(1).map(|part| part.split(';').next().unwrap().to_owned()).collect()
    }

    proptest! {
        #[test]
        fn a_form_is_its_own_form(path in paths()) {
            if let Ok(once) = form(&path) {
                let again = form(&once);
                prop_assert_eq!(again, Ok(once));
            }
        }

        #[test]
        fn nobody_climbs_and_nothing_begins_with_two_slashes(path in paths()) {
            if let Ok(form) = form(&path) {
                prop_assert!(careless(&form).iter().all(|part| part != "." && part != ".."), "{} {}", path, form);
                for (at, _) in form.match_indices('/') {
                    let rest = form[at + 1..].replace("%2F", "/").replace("%5C", "/");
                    prop_assert!(!rest.starts_with('/'), "{} {}", path, form);
                }
            }
        }

        #[test]
        fn anything_at_all_is_answered(path in "\\PC{0,40}") {
            let _ = form(&path);
        }

        #[test]
        fn the_quick_look_agrees_with_the_whole_work(path in paths()) {
            if is_plain(path.as_bytes()) {
                prop_assert_eq!(resolve(&decode(&path).unwrap()), Ok(path));
            }
        }
    }
}
