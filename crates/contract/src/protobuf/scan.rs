//! A look over `.proto` text before it is parsed: how deep it nests, and whether it names an edition.
//!
//! It knows strings and comments and nothing else of the language.

use crate::text::line_at;

/// Messages nest at most 32 deep in protobuf; option values seldom more than ten.
pub(super) const MAX_DEPTH: usize = 100;

/// What the text is fit for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// It may be parsed.
    Plain,
    /// Its first statement names an edition, which the parser does not know.
    Edition { line: u32, edition: String },
    /// It nests deeper than a recursive parser should be given.
    TooDeep { line: u32 },
}

/// Looks over the text of a file.
pub(super) fn scan(text: &str) -> Scan {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut first) = (0, 0_usize, true);
    while at < bytes.len() {
        let rest = &bytes[at..];
        if let Some(length) = comment_length(rest) {
            at += length;
        } else if matches!(bytes[at], b'"' | b'\'') {
            at += string_length(rest);
        } else if bytes[at].is_ascii_whitespace() {
            at += 1;
        } else {
            if first && rest.starts_with(b"edition") {
                return Scan::Edition { line: line_at(bytes, at), edition: quoted(&text[at..]) };
            }
            first = false;
            depth = match bytes[at] {
                b'{' | b'[' | b'<' => depth + 1,
                b'}' | b']' | b'>' => depth.saturating_sub(1),
                _ => depth,
            };
            if depth > MAX_DEPTH {
                return Scan::TooDeep { line: line_at(bytes, at) };
            }
            at += 1;
        }
    }
    Scan::Plain
}

fn comment_length(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    }
    rest.starts_with(b"/*").then(|| {
        let end = rest[2..].windows(2).position(|pair| pair == b"*/");
        end.map_or(rest.len(), |end| end + 4)
    })
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == rest[0] || byte == b'\n' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(text: &str) -> String {
    text.split(['"', '\'']).nth(1).unwrap_or("unknown").chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edition_is_found_behind_comments() {
        let text = "// a\n/* syntax = \"proto3\"; */\nedition = \"2023\";";
        assert_eq!(scan(text), Scan::Edition { line: 3, edition: "2023".into() });
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_nest() {
        let braces = "{".repeat(MAX_DEPTH * 2);
        assert_eq!(scan(&format!("option a = \"{braces}\"; // {braces}\n")), Scan::Plain);
        assert_eq!(scan(&format!("\n{braces}")), Scan::TooDeep { line: 2 });
    }
}
