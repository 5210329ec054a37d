//! Finds lines in a JSON text that has been parsed already: a scanner that skips whatever is not wanted.

use std::borrow::Cow;

use memchr::memchr2;

use super::{newlines, trie::Trie};

/// Marks the wanted places in `trie`. The text must be valid JSON.
pub(super) fn locate(text: &str, trie: &mut Trie) {
    let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, counted: 0, line: 1 };
    scanner.value(Some(0), trie);
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    counted: usize,
    line: u32,
}

impl Scanner<'_> {
    fn line(&mut self) -> u32 {
        self.line += newlines(&self.bytes[self.counted..self.at]);
        self.counted = self.at;
        self.line
    }

    fn peek(&mut self) -> u8 {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn value(&mut self, node: Option<usize>, trie: &mut Trie) {
        let wanted = node.filter(|node| !trie.is_leaf(*node));
        match (self.peek(), wanted) {
            (b'{', Some(node)) => self.members(node, trie),
            (b'[', Some(node)) => self.items(node, trie),
            _ => self.skip(),
        }
    }

    fn members(&mut self, node: usize, trie: &mut Trie) {
        self.at += 1;
        while self.peek() == b'"' {
            let start = self.at;
            self.skip_string();
            let child = key(&self.bytes[start..self.at]).and_then(|key| trie.child(node, &key));
            if let Some(child) = child {
                let line = self.line();
                trie.mark(child, line);
            }
            self.peek();
            self.at += 1;
            self.value(child, trie);
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    fn items(&mut self, node: usize, trie: &mut Trie) {
        self.at += 1;
        let mut index = 0_usize;
        while !matches!(self.peek(), b']' | 0) {
            let child = trie.child(node, &index.to_string());
            if let Some(child) = child {
                let line = self.line();
                trie.mark(child, line);
            }
            self.value(child, trie);
            if self.peek() == b',' {
                self.at += 1;
            }
            index += 1;
        }
        self.at += 1;
    }

    /// Skips one value, counting brackets outside strings.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => self.skip_string(),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                Some(b'}' | b']' | b',') if depth == 0 => return,
                Some(_) => self.at += 1,
                None => return,
            }
            if depth == 0 && matches!(self.peek(), b',' | b'}' | b']' | 0) {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.at += 1;
        while let Some(length) = memchr2(b'\\', b'"', self.rest()) {
            self.at += length;
            if self.rest().first() == Some(&b'"') {
                break;
            }
            self.at += 2;
        }
        self.at = (self.at + 1).min(self.bytes.len());
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }
}

/// What stands between quotes; text without escapes as it is.
fn key(quoted: &[u8]) -> Option<Cow<'_, str>> {
    if quoted.contains(&b'\\') {
        return serde_json::from_slice(quoted).map(Cow::Owned).ok();
    }
    let text = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    std::str::from_utf8(text).map(Cow::Borrowed).ok()
}
