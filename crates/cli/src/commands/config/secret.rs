//! Values of secrets: from standard input, or typed on a terminal that does not show them.
//!
//! Invariant: a value is never written anywhere, and the terminal shows typing again however the command ends.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;
use crate::interrupt;
use crate::parse::assignment::variable;

/// Most bytes that are read; the server takes less.
const MAX_INPUT_BYTES: u64 = 1024 * 1024;

/// Checks that names of variables were given. What was given is not shown: it may hold the value.
pub(super) fn check_names(keys: &[String]) -> Result<(), Failure> {
    match keys.iter().find(|key| variable(key).is_err()) {
        Some(key) => {
            let what = "`--secret` takes the name of a variable, and its value comes from standard input (what was given is not shown)";
            let named = key.split_once('=').map(|(name, _)| name).filter(|name| variable(name).is_ok());
            let name = named.unwrap_or("API_KEY");
            Err(Failure::usage(what).hint(format!("lockstep config set SERVICE --secret {name} < FILE")))
        }
        None => Ok(()),
    }
}

/// Reads the value of each key.
pub(super) fn read_all(keys: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let hint = |key: &str| format!("lockstep config set SERVICE --secret {key} < FILE");
    Ok(keys.iter().cloned().zip(read(keys, &hint)?).collect())
}

/// Reads one secret, asking for it by a word where it is typed. `hint` is the command that gives it by a file.
pub(in crate::commands) fn read_one(word: &str, hint: &str) -> Result<String, Failure> {
    let values = read(&[word.to_owned()], &|_| hint.to_owned())?;
    Ok(values.into_iter().next().unwrap_or_default())
}

fn read(keys: &[String], hint: &dyn Fn(&str) -> String) -> Result<Vec<String>, Failure> {
    if io::stdin().is_terminal() {
        typed(keys, hint)
    } else {
        let mut input = String::new();
        io::stdin()
            .lock()
            .take(MAX_INPUT_BYTES)
            .read_to_string(&mut input)
            .map_err(|error| unreadable(&error))?;
        split(&input, keys, hint)
    }
}

/// One secret is all of the input without its last line break; several are a line each.
fn split(input: &str, keys: &[String], hint: &dyn Fn(&str) -> String) -> Result<Vec<String>, Failure> {
    let values: Vec<_> = match keys {
        [_] => vec![input.strip_suffix('\n').unwrap_or(input).to_owned()],
        _ => input.lines().map(str::to_owned).collect(),
    };
    if values.len() != keys.len() {
        let (lines, secrets) = (values.len(), keys.len());
        return Err(Failure::usage(format!("standard input has {lines} lines for {secrets} secrets")));
    }
    match keys.iter().zip(&values).find(|(_, value)| value.is_empty()) {
        Some((key, _)) => Err(Failure::usage(format!("the value of `{key}` is empty")).hint(hint(key))),
        None => Ok(values),
    }
}

fn typed(keys: &[String], hint: &dyn Fn(&str) -> String) -> Result<Vec<String>, Failure> {
    let _hidden = Hidden::begin()?;
    let mut lines = String::new();
    for key in keys {
        let mut err = io::stderr().lock();
        let _ = write!(err, "{key}: ").and_then(|()| err.flush());
        let read = io::stdin().read_line(&mut lines);
        let _ = writeln!(err);
        read.map_err(|error| unreadable(&error))?;
    }
    split(&lines, keys, hint)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::usage("the value of a secret cannot be read").caused_by(error)
}

/// A terminal that does not show what is typed.
struct Hidden {
    before: Termios,
}

impl Hidden {
    fn begin() -> Result<Self, Failure> {
        let fail = |error: rustix::io::Errno| unreadable(&error.into());
        let before = tcgetattr(io::stdin()).map_err(fail)?;
        let again = before.clone();
        interrupt::on_ctrl_c(move || show(&again))?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).map_err(fail)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        show(&self.before);
    }
}

fn show(before: &Termios) {
    let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_value_in_the_place_of_a_name_is_not_shown() {
        for given in ["API_KEY=sesame", "9=sesame", "sesame-open"] {
            let failure = format!("{:?}", check_names(&["FIRST".into(), given.into()]).unwrap_err());
            assert!(!failure.contains("sesame") && failure.contains("< FILE"), "{failure}");
        }
        assert!(check_names(&["FIRST".into(), "API_KEY".into()]).is_ok());
    }

    #[test]
    fn one_secret_may_have_several_lines() {
        assert_eq!(split("a\nb\n", &keys(&["K"]), &|_| String::new()), Ok(vec!["a\nb".to_owned()]));
    }

    #[test]
    fn several_secrets_take_a_line_each() {
        assert_eq!(
            split("a\nb\n", &keys(&["K", "L"]), &|_| String::new()),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        assert!(split("a\n", &keys(&["K", "L"]), &|_| String::new()).is_err());
    }

    #[test]
    fn an_empty_secret_is_a_mistake() {
        assert!(split("\n", &keys(&["K"]), &|_| String::new()).is_err());
        assert!(split("", &keys(&["K"]), &|_| String::new()).is_err());
    }
}
