//! Values that stand beside a compose file, in its `.env`: nobody commits those, so no manifest may have them.
//!
//! In what a container is started and asked with, such a value is a *mark* with its name until everything is written. Then a shell reads it
//! from a variable, which belongs to the environment.

use std::collections::BTreeMap;

use super::file::Setting;
use crate::init::way;
use crate::value::is_shell;
use crate::yaml::Node;

/// What stands around the name of a variable; nobody writes either.
const BEGIN: char = '\u{e0f0}';
const END: char = '\u{e0f1}';

/// What follows a name that means something else in the container.
const OTHER: &str = "_BESIDE";

/// Marks what is no number, no address of all of a machine, and no name of a service.
pub(super) fn marked(
    known: &BTreeMap<String, String>,
    services: &[String],
    environment: &[Setting],
) -> BTreeMap<String, String> {
    let is_taken = |name: &str, value: &str| {
        way::is_given(name) || environment.iter().any(|one| one.name == name && one.value != value)
    };
    let mark = |(name, value): (&String, &String)| {
        let other = if is_taken(name, value) { OTHER } else { "" };
        let is_plain = is_plain(value) || services.contains(value) || !way::is_variable(name);
        (name.clone(), if is_plain { value.clone() } else { format!("{BEGIN}{name}{other}{END}") })
    };
    known.iter().map(mark).collect()
}

/// The variables that a shell has to read, but for those that the container has anyway.
pub(super) fn settings(
    started: &Node,
    known: &BTreeMap<String, String>,
    environment: &[Setting],
) -> Vec<Setting> {
    let mut texts = Vec::new();
    all_texts(started, &mut texts);
    let mut all: BTreeMap<String, Setting> = BTreeMap::new();
    for (line, name) in
        texts.iter().flat_map(|(line, text)| names(text).into_iter().map(|name| (*line, name)))
    {
        let value = known.get(&name).or_else(|| known.get(name.strip_suffix(OTHER)?)).cloned();
        if let Some(value) = value.filter(|_| !environment.iter().any(|one| one.name == name)) {
            all.insert(name.clone(), Setting { line, name, value, is_own: false, beside: Vec::new() });
        }
    }
    all.into_values().collect()
}

fn all_texts<'n>(node: &'n Node, texts: &mut Vec<(usize, &'n str)>) {
    texts.extend(node.text().map(|text| (node.line, text)));
    node.items().iter().for_each(|item| all_texts(item, texts));
    node.entries().iter().for_each(|(_, item)| all_texts(item, texts));
}

/// What decides how a program is started, and tells nobody anything.
pub(super) fn is_plain(value: &str) -> bool {
    matches!(value, "" | "true" | "false" | "0.0.0.0" | "127.0.0.1" | "localhost" | "[::]" | "::")
        || value.len() <= 5
            && value.trim_end_matches(|c| "msh".contains(c)).bytes().all(|b| b.is_ascii_digit())
}

/// The names of the variables that are marked in a text.
pub(super) fn names(text: &str) -> Vec<String> {
    let inner = |part: &str| part.split_once(END).map(|(name, _)| name.to_owned());
    text.split(BEGIN).skip(1).filter_map(inner).collect()
}

/// A text for people.
pub(super) fn shown(text: &str) -> String {
    text.replace(BEGIN, "${").replace(END, "}")
}

/// Lets a shell read what is marked in a command.
pub(super) fn in_command(command: &mut Vec<String>) {
    if !command.iter().any(|word| word.contains(BEGIN)) {
        return;
    }
    if command.first().is_some_and(|program| is_shell(program)) {
        command.iter_mut().for_each(|word| *word = in_script(word));
        return;
    }
    let quote = |word: &String| {
        if word.contains(BEGIN) {
            return format!("\"{}\"", shown(&escaped(word)));
        }
        shlex::try_quote(word).map_or_else(|_| word.clone(), std::borrow::Cow::into_owned)
    };
    let script = command.iter().map(quote).collect::<Vec<_>>().join(" ");
    *command = vec!["sh".into(), "-c".into(), format!("exec {script}")];
}

/// Writes what has a meaning between double quotes so that it has none; references stay.
fn escaped(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let is_sign = matches!(c, '"' | '\\' | '`') || c == '$' && !rest.starts_with("${");
        if is_sign {
            out.push('\\');
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Between single quotes a shell reads no variable.
fn in_script(text: &str) -> String {
    let mut out = String::new();
    let (mut single, mut double) = (false, false);
    for c in text.chars() {
        match c {
            BEGIN if single => out += "'\"${",
            END if single => out += "}\"'",
            BEGIN => out += "${",
            END => out.push('}'),
            _ => {
                single ^= c == '\'' && !double;
                double ^= c == '"' && !single;
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Vec<String> {
        let known = BTreeMap::from([("T".to_owned(), "s3cr3t".to_owned()), ("P".into(), "8000".into())]);
        let marked = marked(&known, &[], &[]);
        let fill = |word: &&str| super::super::variables::filled(word, &marked).text;
        let mut words = words.iter().map(fill).collect();
        in_command(&mut words);
        words
    }

    #[test]
    fn a_shell_reads_what_is_beside() {
        for (words, new) in [
            (&["app", "--port", "$P"][..], "app|--port|8000"),
            (&["app", "--token", "${T}", "a b"], "sh|-c|exec app --token \"${T}\" 'a b'"),
            (&["app", "--a=\"${T}`$$"], "sh|-c|exec app \"--a=\\\"${T}\\`\\$\""),
            (&["sh", "-c", "app ${T} '${T}' \"it's ${T}\""], "sh|-c|app ${T} ''\"${T}\"'' \"it's ${T}\""),
        ] {
            assert_eq!(command(words).join("|"), new);
        }
    }
}
