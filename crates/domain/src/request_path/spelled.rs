//! A path in both spellings: the form that is matched, and what is sent on.

use std::borrow::Cow;
use std::ops::Deref;

use super::{
    EscapedSlashes, PathForm, PathParameters, PathProblem, PathReading, Sign, decode, encode, hides,
    is_plain, normalize_path, signs,
};
use crate::routes::CALLER_PATH_PREFIX;

/// The path of a request: the form that is matched, which it stands for, and what is sent on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    matched: Cow<'a, str>,
    /// Where that is another spelling.
    sent: Option<Box<str>>,
    is_decoded: bool,
    is_moved: bool,
}

/// A path, or what is left of one, in both spellings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelled<'a> {
    /// In the form that is matched.
    pub matched: &'a str,
    /// As it is sent on.
    pub sent: &'a str,
}

impl<'a> Spelled<'a> {
    /// Returns a path that is sent on in the form that is matched.
    #[must_use]
    pub const fn alike(path: &'a str) -> Self {
        Self { matched: path, sent: path }
    }

    /// Returns what is left behind so many bytes of the form, as it is sent on: it never begins with two slashes.
    #[must_use]
    pub fn sent_after(&self, length: usize) -> &'a str {
        without_double_start(self.behind(length))
    }

    /// Returns the same with all the slashes that it begins with, to stand behind something.
    #[must_use]
    pub fn behind(&self, length: usize) -> &'a str {
        if self.is_alike() {
            return self.matched.get(length..).unwrap_or_default();
        }
        &self.sent[place_in(self.sent, length)..]
    }

    /// Tells whether it is sent on in the form that is matched.
    #[must_use]
    pub fn is_alike(&self) -> bool {
        self.sent == self.matched
    }

    /// Returns what is left behind so many bytes of the form.
    #[must_use]
    pub fn after(&self, length: usize) -> Self {
        Self { matched: self.matched.get(length..).unwrap_or_default(), sent: self.sent_after(length) }
    }
}

impl<'a> RequestPath<'a> {
    /// Reads a path (without its query); `reading` is asked only where more than one reading is possible.
    ///
    /// # Errors
    /// When it climbs out of the root, could be read in two ways, or is one that is not taken.
    pub fn read(path: &'a str, reading: impl FnOnce() -> PathReading) -> Result<Self, PathProblem> {
        if is_plain(path.as_bytes()) {
            return Ok(Self::of(Cow::Borrowed(path)));
        }
        let PathReading { form, escaped_slashes, parameters } = reading();
        if parameters == PathParameters::Refuse && has_parameters(path) {
            return Err(PathProblem::Parameters);
        }
        if escaped_slashes.is_keep() || !has_escaped_slash(path) {
            return Self::spell(Cow::Borrowed(path), form);
        }
        if escaped_slashes == EscapedSlashes::Refuse {
            return Err(PathProblem::EscapedSlash);
        }
        let read = Self::spell(Cow::Owned(with_slashes(path)), form)?;
        Ok(Self { is_decoded: true, is_moved: escaped_slashes == EscapedSlashes::Redirect, ..read })
    }

    /// Returns what is no path, and sent on as it is: `*`, which asks the gateway itself.
    #[must_use]
    pub const fn none(text: &'a str) -> Self {
        Self::of(Cow::Borrowed(text))
    }

    const fn of(matched: Cow<'a, str>) -> Self {
        Self { matched, sent: None, is_decoded: false, is_moved: false }
    }

    fn spell(path: Cow<'a, str>, form: PathForm) -> Result<Self, PathProblem> {
        let sent = match form {
            PathForm::Normalized => None,
            PathForm::KeepSlashes => Some(with_slashes_kept(&path)?),
            PathForm::AsSent => Some(as_sent(&path)?),
        };
        let matched = match path {
            Cow::Borrowed(path) => normalize_path(path)?,
            Cow::Owned(path) => Cow::Owned(normalize_path(&path)?.into_owned()),
        };
        // A token stands where it can be taken off, in whatever spelling it came.
        let has_token = |path: &str| path.starts_with(CALLER_PATH_PREFIX);
        let sent = sent.filter(|sent| *sent != *matched && has_token(sent) == has_token(&matched));
        Ok(Self { sent: sent.map(String::into_boxed_str), ..Self::of(matched) })
    }

    /// Returns it in both spellings.
    #[must_use]
    pub fn spelled(&self) -> Spelled<'_> {
        Spelled { matched: &self.matched, sent: self.sent() }
    }

    /// Returns it in the form that is matched.
    #[must_use]
    pub fn matched(&self) -> &str {
        &self.matched
    }

    /// Returns it as it is sent on.
    #[must_use]
    pub fn sent(&self) -> &str {
        self.sent.as_deref().unwrap_or(&self.matched)
    }

    /// Tells whether encoded slashes of it were decoded.
    #[must_use]
    pub const fn is_decoded(&self) -> bool {
        self.is_decoded
    }

    /// Tells whether who follows redirects is sent to where its slashes are decoded.
    #[must_use]
    pub const fn is_moved(&self) -> bool {
        self.is_moved
    }
}

impl Deref for RequestPath<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.matched
    }
}

/// Tells whether a path has an encoded slash or backslash. No other escape has `%2f` in it: a percent sign is no digit.
fn has_escaped_slash(path: &str) -> bool {
    path.as_bytes().windows(3).any(is_escaped_slash)
}

fn has_parameters(path: &str) -> bool {
    path.contains(';') || path.as_bytes().windows(3).any(|sign| sign.eq_ignore_ascii_case(b"%3b"))
}

fn is_escaped_slash(sign: &[u8]) -> bool {
    sign.eq_ignore_ascii_case(b"%2f") || sign.eq_ignore_ascii_case(b"%5c")
}

fn with_slashes(path: &str) -> String {
    ["%2f", "%2F", "%5c", "%5C"].into_iter().fold(path.to_owned(), |path, sign| path.replace(sign, "/"))
}

/// Returns a path without all but one of the slashes that it begins with: where it is a link, two name a host.
pub(crate) fn without_double_start(path: &str) -> &str {
    let slashes = path.bytes().take_while(|&byte| byte == b'/').count();
    &path[slashes.saturating_sub(1)..]
}

/// Resolves dot segments where several slashes stay several, but at the beginning.
fn with_slashes_kept(path: &str) -> Result<String, PathProblem> {
    if !path.starts_with('/') {
        return Err(PathProblem::NotAbsolute);
    }
    let decoded = decode(path)?;
    let mut kept = String::with_capacity(decoded.len());
    let mut segments = decoded.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "" if is_last || kept.is_empty() => {}
            "." => {}
            ".." if kept.ends_with('/') => return Err(PathProblem::DotsBehindSlashes),
            ".." => kept.truncate(kept.rfind('/').ok_or(PathProblem::Climbs)?),
            _ if !segment.is_empty() && hides(segment, is_last) => return Err(PathProblem::Hidden),
            _ => {
                kept.push('/');
                kept.push_str(segment);
            }
        }
    }
    let is_folder = matches!(decoded.rsplit('/').next(), Some("" | "." | ".."));
    if is_folder || kept.is_empty() {
        kept.push('/');
    }
    Ok(kept)
}

/// Leaves a path as it is written: only what may not stand in a path is encoded, and it begins with one slash.
fn as_sent(path: &str) -> Result<String, PathProblem> {
    if decode(path)?.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(PathProblem::Dots);
    }
    let mut sent = String::with_capacity(path.len());
    for sign in signs(without_double_start(path)) {
        let Sign { byte, escaped, written } = sign?;
        match std::str::from_utf8(written) {
            Ok(written) if escaped || super::may_stand(byte) => sent.push_str(written),
            Ok(_) | Err(_) => encode(&mut sent, byte),
        }
    }
    Ok(sent)
}

/// Returns where in what is sent on stands what follows so many bytes of its form.
fn place_in(sent: &str, length: usize) -> usize {
    let (mut place, mut told, mut after_slash) = (0, 0, false);
    for sign in signs(sent).map_while(Result::ok) {
        let is_slash = !sign.escaped && sign.byte == b'/';
        let tells = match (is_slash && after_slash, sign.is_plain()) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 3,
        };
        if told + tells > length || told == length {
            break;
        }
        (place, told, after_slash) = (place + sign.written.len(), told + tells, is_slash);
    }
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMS: [PathForm; 3] = [PathForm::Normalized, PathForm::KeepSlashes, PathForm::AsSent];
    const SLASHES: [EscapedSlashes; 4] =
        [EscapedSlashes::Keep, EscapedSlashes::Refuse, EscapedSlashes::Decode, EscapedSlashes::Redirect];

    fn read(
        path: &str,
        form: PathForm,
        escaped_slashes: EscapedSlashes,
    ) -> Result<RequestPath<'_>, PathProblem> {
        RequestPath::read(path, || PathReading { form, escaped_slashes, ..PathReading::default() })
    }

    /// Returns what is matched and what is sent on, or why the path is refused.
    fn told(path: &str, form: PathForm, slashes: EscapedSlashes) -> Result<(String, String), PathProblem> {
        read(path, form, slashes).map(|it| (it.matched().to_owned(), it.sent().to_owned()))
    }

    #[test]
    fn slashes_are_kept_within_a_path_and_match_as_one() {
        let table = [
            ("/objects/a//b", "/objects/a/b", "/objects/a//b"),
            ("/resize/http://a.test/b.png", "/resize/http:/a.test/b.png", "/resize/http://a.test/b.png"),
            ("//admin", "/admin", "/admin"),
            ("/.//admin", "/admin", "/admin"),
            ("/x/..//admin", "/admin", "/admin"),
            ("/a//", "/a/", "/a//"),
            ("/a/./b//.", "/a/b/", "/a/b//"),
            ("/a//b/..", "/a/", "/a//"),
            ("/a//b/../c", "/a/c", "/a//c"),
            ("/%61//%2e/b", "/a/b", "/a//b"),
            ("/orders/7", "/orders/7", "/orders/7"),
        ];
        for (path, matched, sent) in table {
            let expected = Ok((matched.to_owned(), sent.to_owned()));
            assert_eq!(told(path, PathForm::KeepSlashes, EscapedSlashes::Keep), expected, "{path}");
        }
        for (path, problem) in [
            ("/public//../admin", PathProblem::DotsBehindSlashes),
            ("/a//%2e%2E/b", PathProblem::DotsBehindSlashes),
            ("/a/..//..", PathProblem::Climbs),
            ("/a//..;/b", PathProblem::Hidden),
            ("/a//%2e%2e%2fb", PathProblem::Hidden),
        ] {
            assert_eq!(told(path, PathForm::KeepSlashes, EscapedSlashes::Keep), Err(problem), "{path}");
        }
    }

    #[test]
    fn a_path_is_sent_on_as_it_came_when_nothing_of_it_has_to_be_resolved() {
        let table = [
            ("/%7euser/%41", "/~user/A", "/%7euser/%41"),
            ("/%61dmin//x", "/admin/x", "/%61dmin//x"),
            ("/a%2fb", "/a%2Fb", "/a%2fb"),
            ("//x", "/x", "/x"),
            ("/a|b\u{e9}", "/a%7Cb%C3%A9", "/a%7Cb%C3%A9"),
            ("/%252e/x", "/%252e/x", "/%252e/x"),
        ];
        for (path, matched, sent) in table {
            let expected = Ok((matched.to_owned(), sent.to_owned()));
            assert_eq!(told(path, PathForm::AsSent, EscapedSlashes::Keep), expected, "{path}");
        }
        for (path, problem) in [
            ("/a/../b", PathProblem::Dots),
            ("/%2e/b", PathProblem::Dots),
            ("/a/.%2E", PathProblem::Dots),
            ("/a%2f..", PathProblem::Hidden),
            ("/a\\b", PathProblem::Character),
            ("/%zz", PathProblem::Escape),
        ] {
            assert_eq!(told(path, PathForm::AsSent, EscapedSlashes::Keep), Err(problem), "{path}");
        }
    }

    #[test]
    fn encoded_slashes_are_kept_refused_decoded_or_redirected() {
        let told = |path, slashes| told(path, PathForm::Normalized, slashes).map(|(matched, _)| matched);
        let some = |path: &str| Ok(path.to_owned());
        assert_eq!(told("/admin%2fx", EscapedSlashes::Keep), some("/admin%2Fx"));
        assert_eq!(told("/admin%2fx", EscapedSlashes::Refuse), Err(PathProblem::EscapedSlash));
        assert_eq!(told("/admin%5cx", EscapedSlashes::Refuse), Err(PathProblem::EscapedSlash));
        for slashes in [EscapedSlashes::Decode, EscapedSlashes::Redirect] {
            assert_eq!(told("/admin%2fx", slashes), some("/admin/x"));
            assert_eq!(told("/a%2f..%5Cadmin", slashes), some("/admin"));
            assert_eq!(told("/%2Fevil.test", slashes), some("/evil.test"));
            assert_eq!(told("/%2f..", slashes), Err(PathProblem::Climbs));
            assert_eq!(told("/a%252fb", slashes), some("/a%252fb"));
        }
        let moved = |path, slashes| read(path, PathForm::Normalized, slashes).unwrap().is_moved();
        assert!(moved("/a%2Fb", EscapedSlashes::Redirect) && !moved("/a/b/", EscapedSlashes::Redirect));
        assert!(!moved("/a%2Fb", EscapedSlashes::Decode) && !moved("/a%2Fb", EscapedSlashes::Keep));
    }

    #[test]
    fn parameters_are_kept_or_refused() {
        let told = |path, parameters| {
            let reading = || PathReading { parameters, ..PathReading::default() };
            RequestPath::read(path, reading).map(|it| it.matched().to_owned())
        };
        for path in ["/admin;x", "/admin;", "/a;v=1/b", "/admin%3Bx", "/;x"] {
            assert!(told(path, PathParameters::Keep).is_ok(), "{path}");
            assert_eq!(told(path, PathParameters::Refuse), Err(PathProblem::Parameters), "{path}");
        }
        assert_eq!(told("/admin/x", PathParameters::Refuse), Ok("/admin/x".to_owned()));
    }

    #[test]
    fn what_is_taken_off_is_taken_off_in_the_spelling_that_is_sent_on() {
        let after = |path, form, length| {
            let path = read(path, form, EscapedSlashes::Keep).unwrap();
            let rest = path.spelled().after(length);
            (rest.matched.to_owned(), rest.sent.to_owned())
        };
        let pair = |matched: &str, sent: &str| (matched.to_owned(), sent.to_owned());
        assert_eq!(after("/files//a//b", PathForm::KeepSlashes, 6), pair("/a/b", "/a//b"));
        assert_eq!(after("/a//b/c//d", PathForm::KeepSlashes, 4), pair("/c/d", "/c//d"));
        assert_eq!(after("/%66iles/%41", PathForm::AsSent, 6), pair("/A", "/%41"));
        assert_eq!(after("/f%c3%bc/%41", PathForm::AsSent, 8), pair("/A", "/%41"));
        assert_eq!(after("/@~tok//x//y", PathForm::KeepSlashes, 6), pair("/x/y", "/x//y"));
        assert_eq!(after("/%40~tok//x//y", PathForm::AsSent, 6), pair("/x/y", "/x/y"));
        assert_eq!(after("/files//", PathForm::KeepSlashes, 6), pair("/", "/"));
    }

    fn paths() -> impl Strategy<Value = String> {
        let pieces = [
            "/", "/", "//", "a", "b", "admin", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "%61", "%7e",
            ";", "%3b", "%25", "%00", "@", "@~t", "\\", "\u{e9}", "%C3%A9", "%c0%af",
        ];
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12)
            .prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    fn readings() -> impl Strategy<Value = PathReading> {
        let parameters = vec![PathParameters::Keep, PathParameters::Refuse];
        let parts = (prop::sample::select(FORMS.to_vec()), prop::sample::select(SLASHES.to_vec()));
        (parts, prop::sample::select(parameters)).prop_map(|((form, escaped_slashes), parameters)| {
            PathReading { form, escaped_slashes, parameters }
        })
    }

    proptest! {
        #[test]
        fn what_is_matched_is_the_form_of_what_is_sent_on(path in paths(), reading in readings()) {
            if let Ok(read) = RequestPath::read(&path, || reading) {
                prop_assert_eq!(normalize_path(read.sent()), Ok(Cow::Borrowed(&*read)), "{}", path);
            }
        }

        #[test]
        fn what_is_sent_on_is_read_again_as_itself(path in paths(), reading in readings()) {
            if let Ok(once) = RequestPath::read(&path, || reading) {
                let sent = once.sent().to_owned();
                let again = RequestPath::read(&sent, || reading);
                prop_assert!(again.is_ok(), "{} {} {:?}", path, sent, again);
                let again = again.unwrap();
                prop_assert_eq!((&*again, again.sent(), again.is_moved()), (&*once, once.sent(), false), "{}", path);
            }
        }

        #[test]
        fn routes_see_the_same_under_every_form(path in paths(), reading in readings()) {
            let normalized = PathReading { form: PathForm::Normalized, ..reading };
            let read = RequestPath::read(&path, || reading).map(|it| it.matched().to_owned());
            let plain = RequestPath::read(&path, || normalized).map(|it| it.matched().to_owned());
            match (read, plain) {
                (Ok(read), plain) => prop_assert_eq!(Ok(read), plain, "{}", path),
                (Err(_), Ok(_)) => prop_assert!(reading.form != PathForm::Normalized),
                (Err(_), Err(_)) => {}
            }
        }

        #[test]
        fn nothing_that_is_sent_on_begins_with_two_slashes_or_has_dots(path in paths(), reading in readings()) {
            let Ok(read) = RequestPath::read(&path, || reading) else { return Ok(()) };
            let is_dots = |part: &str| matches!(decode(part).unwrap().as_str(), "." | "..");
            for at in (0..=read.len()).filter(|&at| at == 0 || read[at..].starts_with('/') || (at == read.len() && !read.ends_with('/'))) {
                let rest = read.spelled().after(at);
                prop_assert!(!rest.sent.starts_with("//"), "{} {} {}", path, at, rest.sent);
                prop_assert!(!rest.sent.split('/').any(is_dots), "{} {}", path, rest.sent);
                // Taking something off leaves what was matched behind it.
                let shown = |path: &str| if path.is_empty() { String::new() } else { normalize_path(path).unwrap().into_owned() };
                prop_assert_eq!(shown(rest.sent), shown(rest.matched), "{} {}", path, at);
            }
        }
    }
}
