//! A command as others write it: words, or a text for a shell; and how it becomes a command of a manifest.

use crate::value::is_shell;

/// A command as others write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    /// Program and arguments.
    Words(Vec<String>),
    /// A text that a shell reads.
    Shell(String),
}

/// What only a shell understands.
const SHELL_SIGNS: [char; 14] = ['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '~', '\n', '{'];
/// Programs that only start another one, with how many words stand before it.
const WRAPPERS: [&str; 6] = ["tini", "dumb-init", "exec", "env", "--", "gosu"];

impl Call {
    /// Reads a JSON array of words, or a text for a shell; `None` where nothing is called.
    pub(crate) fn read(text: &str) -> Option<Self> {
        match serde_json::from_str::<Vec<String>>(text.trim()) {
            Ok(words) if words.is_empty() => None,
            Ok(words) => Some(Self::Words(words)),
            Err(_) => Some(text.trim()).filter(|text| !text.is_empty()).map(|text| Self::Shell(text.into())),
        }
    }

    /// Makes words of it, with a shell only where one is needed.
    pub(crate) fn words(&self) -> Vec<String> {
        match self {
            Self::Words(words) => unwrapped(words.clone()),
            Self::Shell(text) => shell_words(text),
        }
    }

    /// Puts arguments behind a program, as an entrypoint does; a text for a shell takes none.
    pub(crate) fn with(entrypoint: Option<&Self>, command: Option<&Self>) -> Option<Vec<String>> {
        match (entrypoint, command) {
            (Some(Self::Words(program)), Some(Self::Words(arguments))) => {
                Some(unwrapped(program.iter().chain(arguments).cloned().collect()))
            }
            (Some(Self::Words(program)), Some(Self::Shell(arguments))) => {
                let arguments = shlex::split(arguments).unwrap_or_default();
                Some(unwrapped(program.iter().cloned().chain(arguments).collect()))
            }
            (Some(program), _) => Some(program.words()),
            (None, command) => command.map(Self::words),
        }
    }
}

/// Makes words of a text for a shell, with a shell only where one is needed.
pub(crate) fn shell_words(text: &str) -> Vec<String> {
    let text = text.trim();
    let needs_shell =
        text.contains(SHELL_SIGNS) || text.split('=').next().is_some_and(is_variable) && text.contains('=');
    match shlex::split(text).filter(|words| !words.is_empty() && !needs_shell) {
        Some(words) => unwrapped(words),
        None => vec!["sh".into(), "-c".into(), text.to_owned()],
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Takes away what only starts another program, and a shell that has nothing to do.
fn unwrapped(mut words: Vec<String>) -> Vec<String> {
    while words.len() > 1 && is_wrapper(&words[0]) {
        words.remove(0);
    }
    match words.as_slice() {
        [shell, flag, text] if is_shell(shell) && matches!(flag.as_str(), "-c" | "-lc" | "-ec") => {
            let inner = text.trim().strip_prefix("exec ").unwrap_or(text);
            match shell_words(inner) {
                inner if inner.first().is_some_and(|program| is_shell(program)) => words,
                inner => inner,
            }
        }
        _ => words,
    }
}

fn is_wrapper(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or(word);
    WRAPPERS[..3].contains(&name) || name == "--"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_taken_only_where_one_is_needed() {
        let words = |text: &str| Call::read(text).unwrap().words().join("|");
        assert_eq!(words("python app.py --name 'a b'"), "python|app.py|--name|a b");
        assert_eq!(words("exec node x.js"), "node|x.js");
        assert_eq!(words("serve --port $PORT"), "sh|-c|serve --port $PORT");
        assert_eq!(words("A=1 serve"), "sh|-c|A=1 serve");
        assert_eq!(words(r#"["tini", "--", "node", "x.js"]"#), "node|x.js");
        assert_eq!(words(r#"["sh", "-c", "exec python -m app"]"#), "python|-m|app");
        assert_eq!(words(r#"["bash", "-c", "a && b"]"#), "bash|-c|a && b");
        assert_eq!(words("it's"), "sh|-c|it's");
        assert_eq!((Call::read("[]"), Call::read(" ")), (None, None));
    }

    #[test]
    fn an_entrypoint_takes_the_command_as_its_arguments() {
        let [entry, arguments] = [r#"["./run"]"#, r#"["--x"]"#].map(Call::read);
        assert_eq!(Call::with(entry.as_ref(), arguments.as_ref()).unwrap(), ["./run", "--x"]);
        assert_eq!(Call::with(Call::read("run a").as_ref(), arguments.as_ref()).unwrap(), ["run", "a"]);
        assert_eq!(Call::with(None, None), None);
    }
}
