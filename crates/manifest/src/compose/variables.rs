//! `${NAME:-default}` in a compose file, and the file `.env` beside it.

use std::collections::BTreeMap;

/// Reads lines such as `NAME=value`, `export NAME="value"` and comments, as Compose does: a quoted value may go over several lines, `\n`
/// between double quotes is a line break, and variables of lines above are put in where no single quotes forbid it.
pub(super) fn env_file(text: &str) -> BTreeMap<String, String> {
    let mut known = BTreeMap::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let Some((name, value)) = assignment(line) else {
            rest = after;
            continue;
        };
        let whole = rest.get(value..).unwrap_or_default();
        let (value, after) = match whole.chars().next().and_then(|quote| Some((quote, quoted(whole, quote)?)))
        {
            Some((quote, (inner, behind))) => {
                let inner =
                    if quote == '"' { filled(&unescaped(inner), &known).text } else { inner.to_owned() };
                (inner, behind.split_once('\n').map_or("", |(_, after)| after))
            }
            None => {
                let plain = whole.lines().next().unwrap_or_default();
                let plain = plain.split(" #").next().unwrap_or(plain).trim_end();
                (filled(plain, &known).text, after)
            }
        };
        known.insert(name, value);
        rest = after;
    }
    known
}

/// Finds the name in a line, and where the value begins.
fn assignment(line: &str) -> Option<(String, usize)> {
    let begin = line.trim_start();
    let begin = begin.strip_prefix("export ").unwrap_or(begin);
    let (name, value) = begin.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty()
        && !name.starts_with('#')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    is_name.then(|| (name.to_owned(), line.len() - value.trim_start().len()))
}

/// Returns what stands between quotes, and what follows.
fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(quote).filter(|_| matches!(quote, '"' | '\''))?;
    let mut is_escaped = false;
    for (at, c) in inner.char_indices() {
        if c == quote && !is_escaped {
            return Some((&inner[..at], &inner[at + 1..]));
        }
        is_escaped = c == '\\' && quote == '"' && !is_escaped;
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, rest.clone().next()) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some('r')) => out.push('\r'),
            ('\\', Some('t')) => out.push('\t'),
            ('\\', Some('$')) => out += "$$",
            ('\\', Some(next @ ('"' | '\\'))) => out.push(next),
            _ => {
                out.push(c);
                continue;
            }
        }
        rest.next();
    }
    out
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

    #[test]
    fn a_file_of_variables_is_read_as_compose_does() {
        let text = "A=one\n B = \"$A ${A}\" # said\nC='$A'\nD=$A#x #y\nE=\"a\\nb\\\"c\\$A\"\r\nF=\"line 1\nline 2\"\nG='x\ny'\nH=\"open\n#I=no\nJ=\nK=last";
        let known = env_file(text);
        let expected = [
            ("A", "one"),
            ("B", "one one"),
            ("C", "$A"),
            ("D", "one#x"),
            ("E", "a\nb\"c$A"),
            ("F", "line 1\nline 2"),
            ("G", "x\ny"),
            ("H", "\"open"),
            ("J", ""),
            ("K", "last"),
        ];
        assert_eq!(
            known.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(),
            expected
        );
    }

    proptest! {
        #[test]
        fn any_file_of_variables_is_read(text in "([A-B]=|[\"'$\\{}\\\\\n #ü]|x){0,40}") {
            let _ = env_file(&text);
        }

        #[test]
        fn any_text_is_read(text in "[${}A:\\-+? ü]*", env in ".*") {
            let _ = filled(&text, &env_file(&env));
        }
    }
}
