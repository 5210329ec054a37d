//! The small languages inside strings: durations, sizes, commands and names of environment variables.

use std::str::FromStr;

use lockstep_domain::reference;
use lockstep_domain::request_path::{PathProblem, normalize_path};
use thiserror::Error;

use crate::path::MAX_PATH_LENGTH;

/// Longest duration that can be written: a build or a wait that takes longer is a mistake.
pub(crate) const MAX_DURATION_MS: u64 = 7 * 24 * 60 * 60 * 1_000;
/// Largest size that can be written.
pub(crate) const MAX_SIZE_BYTES: u64 = 1 << 50;

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];
/// What a shell would act on; without one it would be handed to the program as an argument.
const SHELL_OPERATORS: [&str; 11] = ["&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1", "2>", "&>"];
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "busybox"];

/// Why a text is not a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ValueError {
    /// Not a number with a unit.
    #[error("`{text}` is not a {what}")]
    Quantity {
        /// The text, cut to a printable length.
        text: String,
        /// What it was meant to be.
        what: &'static str,
    },
    /// A number with a unit that is out of bounds.
    #[error("`{text}` is out of bounds: a {what} is more than 0 and at most {most}")]
    Bounds {
        /// The text, cut to a printable length.
        text: String,
        /// What it was meant to be.
        what: &'static str,
        /// The largest that is allowed.
        most: &'static str,
    },
    /// A command with nothing to run.
    #[error("the command is empty")]
    EmptyCommand,
    /// A quote that does not end.
    #[error("a quote in the command does not end")]
    OpenQuote,
    /// A character that no program can be handed.
    #[error("the text contains a NUL character")]
    Nul,
    /// Something that only a shell understands.
    #[error("`{word}` means something to a shell only, and commands are run without one")]
    Shell {
        /// The word.
        word: String,
    },
    /// Not the path of a URL.
    #[error("`{text}` is not a path: {why}")]
    UrlPath {
        /// The text, cut to a printable length.
        text: String,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Not a path that gateways match.
    #[error("`{text}` cannot be routed: {why}")]
    RoutePath {
        /// The text, cut to a printable length.
        text: String,
        /// The rule that it breaks.
        why: PathProblem,
    },
    /// Not the name of an environment variable.
    #[error("`{text}` is not the name of an environment variable")]
    Variable {
        /// The text, cut to a printable length.
        text: String,
    },
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Reads `10m` or `500ms` as milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, ValueError> {
    quantity(text, "duration", &DURATION_UNITS, MAX_DURATION_MS, "7d")
}

/// Longest time that messages are kept: ten years, for topics that are never cleaned up.
pub(crate) const MAX_RETENTION_MS: u64 = 3_650 * 24 * 60 * 60 * 1_000;

/// Reads how long messages are kept, as milliseconds.
pub(crate) fn retention_ms(text: &str) -> Result<u64, ValueError> {
    quantity(text, "retention", &DURATION_UNITS, MAX_RETENTION_MS, "3650d")
}

/// Reads `2GiB` or `500MB` as bytes.
pub(crate) fn size_bytes(text: &str) -> Result<u64, ValueError> {
    quantity(text, "size", &SIZE_UNITS, MAX_SIZE_BYTES, "1024TiB")
}

fn quantity(
    text: &str,
    what: &'static str,
    units: &[(&str, u64)],
    limit: u64,
    most: &'static str,
) -> Result<u64, ValueError> {
    let wrong = || ValueError::Quantity { text: cut(text), what };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(wrong)?;
    if number.is_empty() {
        return Err(wrong());
    }
    let value = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
    value.filter(|value| (1..=limit).contains(value)).ok_or_else(|| ValueError::Bounds {
        text: cut(text),
        what,
        most,
    })
}

/// Writes milliseconds with the largest unit that divides them.
pub(crate) fn write_duration(ms: u64) -> String {
    write_quantity(ms, &DURATION_UNITS)
}

/// Writes bytes with the largest unit that divides them.
pub(crate) fn write_size(bytes: u64) -> String {
    write_quantity(bytes, &SIZE_UNITS)
}

fn write_quantity(value: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().filter(|(_, factor)| value.is_multiple_of(*factor));
    let (unit, factor) = fitting.max_by_key(|(_, factor)| factor).unwrap_or(&units[0]);
    format!("{}{unit}", value / factor)
}

/// Splits a command as a shell would, and refuses what only a shell would understand.
pub(crate) fn split_command(text: &str) -> Result<Vec<String>, ValueError> {
    split_where(text, |word| word.contains('$'))
}

/// As [`split_command`], for a command in which references are filled in.
pub(crate) fn split_filled_command(text: &str) -> Result<Vec<String>, ValueError> {
    split_where(text, has_variable)
}

fn split_where(text: &str, has_variable: impl Fn(&str) -> bool) -> Result<Vec<String>, ValueError> {
    let words = shlex::split(text).ok_or(ValueError::OpenQuote)?;
    let shell = words.first().is_some_and(|program| is_shell(program));
    let meant_for_shell = |word: &&String| {
        SHELL_OPERATORS.contains(&word.as_str()) || !shell && (word.ends_with(';') || has_variable(word))
    };
    if let Some(word) = words.iter().find(meant_for_shell) {
        return Err(ValueError::Shell { word: cut(word) });
    }
    checked_command(words)
}

/// Tells whether a program is a shell, which reads variables of its own in its arguments.
pub(crate) fn is_shell(program: &str) -> bool {
    SHELLS.contains(&program.rsplit('/').next().unwrap_or(program))
}

/// Tells whether a word has a variable of a shell; references of ours are none, also misspelt ones.
fn has_variable(word: &str) -> bool {
    reference::fill(word, |_| Some(String::new())).is_ok_and(|rest| rest.contains('$'))
}

/// Checks the words of a command.
pub(crate) fn checked_command(words: Vec<String>) -> Result<Vec<String>, ValueError> {
    if words.first().is_none_or(String::is_empty) {
        Err(ValueError::EmptyCommand)
    } else if words.iter().any(|word| word.contains('\0')) {
        Err(ValueError::Nul)
    } else {
        Ok(words)
    }
}

/// Checks the path of a URL, with or without a query.
pub(crate) fn url_path(text: &str) -> Result<&str, ValueError> {
    let why = if !text.starts_with('/') {
        "it must start with /"
    } else if text.len() > MAX_PATH_LENGTH {
        "it is longer than 1024 bytes"
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        "only printable ASCII without spaces is allowed; encode the rest with %"
    } else if text.contains('#') {
        "a fragment (after #) is never sent to a server"
    } else {
        return Ok(text);
    };
    Err(ValueError::UrlPath { text: cut(text), why })
}

/// Brings the path prefix of a route into the form that gateways match, and takes off the slash at its end.
pub(crate) fn route_path(text: &str) -> Result<String, ValueError> {
    if text.contains('?') {
        let why = "a route does not look at the query (after ?)";
        return Err(ValueError::UrlPath { text: cut(text), why });
    }
    if text.len() > MAX_PATH_LENGTH {
        url_path(text)?;
    }
    let path = normalize_path(text).map_err(|why| ValueError::RoutePath { text: cut(text), why })?;
    Ok(if path == "/" { path.into_owned() } else { path.trim_end_matches('/').to_owned() })
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VariableName(pub(crate) String);

impl FromStr for VariableName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if starts_well && text.len() <= 255 && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::Variable { text: cut(text) })
        }
    }
}

/// Returns a table within another one of TOML, made where it is not there.
pub(crate) fn inner<'t>(table: &'t mut toml::Table, key: &str) -> &'t mut toml::Table {
    let value = table.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    if !value.is_table() {
        *value = toml::Value::Table(toml::Table::new());
    }
    value.as_table_mut().expect("it was made a table above")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_need_a_number_and_a_unit() {
        for (text, ms) in
            [("500ms", 500), ("2s", 2_000), ("10m", 600_000), ("1 h", 3_600_000), ("7d", MAX_DURATION_MS)]
        {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for bad in ["", "10", "m", "-1s", "1.5h", "10 minutes", "0s", "8d", "99999999999999999999s", "１s"] {
            assert!(duration_ms(bad).is_err(), "{bad}");
        }
        assert_eq!(size_bytes("2GiB"), Ok(2 << 30));
        assert_eq!(size_bytes("5MB"), Ok(5_000_000));
        assert!(size_bytes("2gib").is_err() && size_bytes("999999TiB").is_err());
    }

    #[test]
    fn commands_are_split_like_a_shell_would_and_never_need_one() {
        let words = |text| split_command(text).unwrap();
        assert_eq!(words("cargo build  --release"), ["cargo", "build", "--release"]);
        assert_eq!(
            words("sh -c 'cd web && npm ci; echo $PORT'"),
            ["sh", "-c", "cd web && npm ci; echo $PORT"]
        );
        assert_eq!(words("echo 'a b' \"c\""), ["echo", "a b", "c"]);
        for shell in ["cd web && npm ci", "a | b", "a; b", "serve --port $PORT", "x > y"] {
            assert!(matches!(split_command(shell), Err(ValueError::Shell { .. })), "{shell}");
        }
        assert_eq!(split_command("  "), Err(ValueError::EmptyCommand));
        assert_eq!(split_command("''"), Err(ValueError::EmptyCommand));
        assert_eq!(split_command("a 'b"), Err(ValueError::OpenQuote));
        assert_eq!(split_command("a \0"), Err(ValueError::Nul));
    }

    #[test]
    fn route_paths_are_prefixes_of_whole_parts() {
        let forms = [
            ("/", "/"),
            ("/orders", "/orders"),
            ("/a/b/", "/a/b"),
            ("/%6frders", "/orders"),
            ("//a//b/", "/a/b"),
            ("/a/../b", "/b"),
            ("/ü", "/%C3%BC"),
        ];
        for (text, path) in forms {
            assert_eq!(route_path(text).unwrap(), path);
        }
        for bad in ["", "orders", "/a b", "/a?x=1", "/a#b", "/..", "/a/..%2fb", "/a%", "/a\\b", "/..;/a"] {
            assert!(route_path(bad).is_err(), "{bad}");
        }
        assert!(url_path("/health?deep=1").is_ok());
    }

    proptest! {
        #[test]
        fn written_quantities_read_back(value in 1..=MAX_DURATION_MS) {
            prop_assert_eq!(duration_ms(&write_duration(value)), Ok(value));
            prop_assert_eq!(size_bytes(&write_size(value)), Ok(value));
        }

        #[test]
        fn values_never_panic(text in any::<String>()) {
            let _ = (duration_ms(&text), size_bytes(&text), split_command(&text), text.parse::<VariableName>(), route_path(&text));
        }
    }
}
