//! `${NAME:-default}` in a compose file, and the file `.env` beside it.

use std::collections::BTreeMap;

/// Reads lines such as `NAME=value`, `export NAME="value"` and comments.
pub(super) fn env_file(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(assignment).collect()
}

fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty()
        && !name.starts_with('#')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    is_name.then(|| (name.to_owned(), unquoted(value.trim())))
}

fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote)
            && let Some((inner, _)) = rest.split_once(quote)
        {
            return inner.to_owned();
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end().to_owned()
}

/// A text after variables are put in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Variables that came from `.env`.
    pub(super) known: Vec<String>,
    /// Variables that nothing says, and what the file says about them.
    pub(super) missing: Vec<String>,
}

/// Puts variables in. `$$` is `$` itself.
pub(super) fn filled(text: &str, known: &BTreeMap<String, String>) -> Filled {
    let mut out = Filled::default();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.text += &rest[..at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.text.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = end_of(inner);
            out.variable(&inner[..end], known);
            rest = inner.get(end + 1..).unwrap_or_default();
        } else {
            let length = name_length(rest);
            if length == 0 {
                out.text.push('$');
            } else {
                out.variable(&rest[..length], known);
            }
            rest = &rest[length..];
        }
    }
    out.text += rest;
    out
}

fn name_length(text: &str) -> usize {
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

/// Finds the `}` that ends a variable, also where its default has variables.
fn end_of(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

impl Filled {
    fn variable(&mut self, inner: &str, known: &BTreeMap<String, String>) {
        let length = name_length(inner);
        let (name, rest) = inner.split_at(length);
        let value = known.get(name);
        let (colon, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
        let is_set = value.is_some_and(|value| !colon || !value.is_empty());
        match (rest.chars().next(), value.filter(|_| is_set)) {
            (Some('+'), Some(_)) => self.nested(&rest[1..], known),
            (Some('+'), None) => {}
            (_, Some(value)) => {
                self.text += value;
                self.known.push(name.to_owned());
            }
            (Some('-'), None) => self.nested(&rest[1..], known),
            (_, None) => self.missing.push(name.to_owned()),
        }
    }

    fn nested(&mut self, text: &str, known: &BTreeMap<String, String>) {
        // A default in a default in a default is deep enough for people.
        let inner = if text.matches('{').count() > 8 {
            Self { text: text.to_owned(), ..Self::default() }
        } else {
            filled(text, known)
        };
        self.text += &inner.text;
        self.known.extend(inner.known);
        self.missing.extend(inner.missing);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn variables_are_put_in_as_compose_does() {
        let known = env_file("A=1\nexport B=\"two words\"\n# C=3\nE=\nF=x # comment\n");
        for (text, value, missing) in [
            ("$A-${B}", "1-two words", 0),
            ("${C:-d}${C-e}", "de", 0),
            ("${E:-d}${E-e}", "d", 0),
            ("${A:+x}${C:+y}", "x", 0),
            ("${C:-${A}}", "1", 0),
            ("$$A $ ${C:?must} ${C}", "$A $  ", 2),
            ("${F}", "x", 0),
        ] {
            let filled = filled(text, &known);
            assert_eq!((filled.text.as_str(), filled.missing.len()), (value, missing), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "[${}A:\\-+? ü]*", env in ".*") {
            let _ = filled(&text, &env_file(&env));
        }
    }
}
