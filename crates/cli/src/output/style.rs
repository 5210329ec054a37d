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

/// Takes away what could change a terminal: control characters other than line break and tab, and characters that
/// turn the direction of writing.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_unsafe) {
        Cow::Owned(text.replace(is_unsafe, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
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
    fn control_characters_are_taken_away() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{202e}c\n\td"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\n\td");
        assert!(matches!(printable("plain 三"), Cow::Borrowed("plain 三")));
    }
}
