//! How text looks: colours where they help, never where they would be in the way.

use std::borrow::Cow;

use lockstep_domain::Timestamp;

use super::times;

/// How text looks, and what time it is for "3 min ago".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    colored: bool,
    now: Timestamp,
}

impl Style {
    /// Makes a style as of now.
    pub(crate) fn new(colored: bool) -> Self {
        Self { colored, now: times::now() }
    }

    /// Makes a style without colours at the beginning of time, for tests.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { colored: false, now: Timestamp(0) }
    }

    /// Makes a style without colours at a point in time, for tests.
    #[cfg(test)]
    pub(crate) const fn at(now: Timestamp) -> Self {
        Self { colored: false, now }
    }

    /// Returns the point in time that the text is written for.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Writes how long ago a point in time is.
    pub(crate) fn ago(&self, at: Timestamp) -> String {
        times::ago(self.now, at)
    }

    /// Marks something good.
    pub(crate) fn good(&self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Marks something bad.
    pub(crate) fn bad(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Marks something to look at.
    pub(crate) fn warn(&self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Marks a heading.
    pub(crate) fn strong(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colored { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// The beginnings and the end of what [`Style`] paints.
const PAINT: [&str; 5] = ["\u{1b}[32m", "\u{1b}[1;31m", "\u{1b}[33m", "\u{1b}[1m", "\u{1b}[0m"];

/// Escapes what could change a terminal in a whole text of ours, and leaves our own colours. The net below everything
/// that is written; what foreign text can do in spite of it is to show in one of these colours.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return printable(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, from) = rest.split_at(at);
        shown.push_str(&printable(before));
        let own = PAINT.iter().find(|paint| from.starts_with(**paint));
        let length = own.map_or('\u{1b}'.len_utf8(), |paint| paint.len());
        let (sequence, after) = from.split_at(length);
        shown.push_str(&own.map_or_else(|| printable(sequence), |paint| Cow::Borrowed(*paint)));
        rest = after;
    }
    shown.push_str(&printable(rest));
    Cow::Owned(shown)
}

/// Takes the text from the beginning of a stream of bytes, and leaves a character of which the end has not come yet.
/// A line that ends as on Windows ends as everywhere.
pub(crate) fn take_text(bytes: &mut Vec<u8>) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    let whole = if bytes[..whole].ends_with(b"\r") { whole - 1 } else { whole };
    let rest = bytes.split_off(whole);
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    *bytes = rest;
    text
}

/// Escapes what could change a terminal: control characters other than line break and tab, and characters that
/// turn the direction of writing.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// The same of what stands in a line of its own: what somebody wrote in several lines is one.
pub(crate) fn one_line(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_only_where_asked_for() {
        assert_eq!(Style::new(false).bad("x"), "x");
        assert_eq!(Style::new(true).bad("x"), "\u{1b}[1;31mx\u{1b}[0m");
    }

    #[test]
    fn control_characters_are_shown_escaped() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{202e}c\n\td"), "a\\u{1b}[2Jb\\r\\u{202e}c\n\td");
        assert!(matches!(printable("plain 三"), Cow::Borrowed("plain 三")));
    }

    #[test]
    fn our_own_colours_stay_and_no_other_sequence() {
        let painted = Style::new(true).bad("no\u{1b}[8m \u{1b}]0;title\u{7}");
        assert_eq!(safe(&painted), "\u{1b}[1;31mno\\u{1b}[8m \\u{1b}]0;title\\u{7}\u{1b}[0m");
        for paint in ["good", "bad", "warn", "strong"] {
            let style = Style::new(true);
            let painted = match paint {
                "good" => style.good("x"),
                "bad" => style.bad("x"),
                "warn" => style.warn("x"),
                _ => style.strong("x"),
            };
            assert_eq!(safe(&painted), painted);
        }
    }

    #[test]
    fn text_is_taken_from_bytes_wherever_they_are_cut() {
        let whole = "a三\r\nb\u{1b}[2J\r\n".as_bytes();
        for cut in 0..=whole.len() {
            let (mut rest, mut text) = (Vec::new(), String::new());
            for part in [&whole[..cut], &whole[cut..]] {
                rest.extend_from_slice(part);
                text.push_str(&take_text(&mut rest));
            }
            assert!(rest.is_empty());
            assert_eq!(text, "a三\nb\u{1b}[2J\n", "cut at {cut}");
        }
        let mut wrong = b"\xff\xfea".to_vec();
        assert_eq!(take_text(&mut wrong), "\u{fffd}\u{fffd}a");
    }
}
