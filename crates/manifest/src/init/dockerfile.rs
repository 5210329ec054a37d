//! What a Dockerfile says about how a program is started: only reading, nothing of it is run.
//!
//! Instructions that are not known are passed over. Of the stages, the last one counts, or the one that is asked for, with
//! what it inherits from the stages that it begins from.

use std::collections::BTreeMap;

use super::call::Call;

/// Most stages that one may inherit from: a file that names itself ends here.
const MAX_INHERITED: usize = 16;

/// What an image would know of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// What the first stage of its line begins from.
    pub(crate) base: String,
    /// Where relative paths begin.
    pub(crate) workdir: String,
    /// Variables that are set for the program.
    pub(crate) variables: BTreeMap<String, String>,
    /// Ports that it says it listens on, in their order.
    pub(crate) ports: Vec<u16>,
    /// The program.
    pub(crate) entrypoint: Option<Call>,
    /// Its arguments, or the program where there is no entrypoint.
    pub(crate) command: Option<Call>,
    /// What is asked for its health: the words after `CMD`, and options.
    pub(crate) health: Option<(BTreeMap<String, String>, Call)>,
    /// The signal that ends it.
    pub(crate) stop_signal: Option<String>,
    /// Folders that it keeps.
    pub(crate) volumes: Vec<String>,
    /// What is put where, in the order of the file.
    pub(crate) copies: Vec<Copied>,
    /// Commands that make it.
    pub(crate) steps: Vec<String>,
}

/// A `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Whether it comes out of another stage or image.
    pub(crate) from_stage: bool,
    /// What, as it is written.
    pub(crate) sources: Vec<String>,
    /// Where to, as an absolute path without `/` at its end unless it is the root.
    pub(crate) target: String,
    /// Whether the target is a folder that the sources are put in.
    pub(crate) into_folder: bool,
}

struct Stage {
    name: Option<String>,
    from: String,
    lines: Vec<(String, String)>,
}

impl Image {
    /// Reads the stage with a name, or the last one; `None` when there is no such stage.
    pub(crate) fn read(text: &str, target: Option<&str>) -> Option<Self> {
        let (arguments, stages) = stages(text);
        let at = match target {
            Some(target) => stages.iter().position(|stage| stage.is(target))?,
            None => stages.len().checked_sub(1)?,
        };
        let mut line = vec![at];
        while let Some(parent) =
            stages[..line[line.len() - 1]].iter().position(|s| s.is(&stages[line[line.len() - 1]].from))
            && line.len() < MAX_INHERITED
        {
            line.push(parent);
        }
        let mut image = Self { workdir: "/".into(), ..Self::default() };
        let mut known = arguments;
        for at in line.into_iter().rev() {
            image.base.clone_from(&stages[at].from);
            stages[at].lines.iter().for_each(|(word, rest)| image.take(word, rest, &mut known));
        }
        let first = stages.iter().position(|stage| stage.from == image.base);
        if let Some(first) = first {
            image.base.clone_from(&stages[first].from);
        }
        Some(image)
    }

    fn take(&mut self, word: &str, rest: &str, known: &mut BTreeMap<String, String>) {
        match word {
            "ARG" => assignments(rest).into_iter().for_each(|(name, value)| {
                known.entry(name).or_insert(value);
            }),
            "ENV" => {
                for (name, value) in assignments(rest) {
                    let value = filled(&value, known);
                    known.insert(name.clone(), value.clone());
                    self.variables.insert(name, value);
                }
            }
            "WORKDIR" => self.workdir = join(&self.workdir, &filled(unquoted(rest), known)),
            "EXPOSE" => self.ports.extend(ports(&filled(rest, known))),
            "CMD" => self.command = Call::read(rest),
            "ENTRYPOINT" => (self.entrypoint, self.command) = (Call::read(rest), None),
            "HEALTHCHECK" => self.health = health(rest),
            "STOPSIGNAL" => self.stop_signal = Some(rest.to_owned()),
            "VOLUME" => self.volumes.extend(volumes(&filled(rest, known))),
            "COPY" | "ADD" => self.copies.extend(copied(&filled(rest, known), &self.workdir)),
            "RUN" => self.steps.push(rest.to_owned()),
            _ => {}
        }
    }

    /// Returns where a path of the image is in the folder that it is built from, without `/` at its beginning.
    pub(crate) fn in_context(&self, path: &str) -> Option<String> {
        let path = join(&self.workdir, path);
        let found = self.copies.iter().rev().filter(|copied| !copied.from_stage);
        found.filter_map(|copied| copied.origin(&path)).next()
    }

    /// Tells whether a program is a file that was copied out of another stage, by its name.
    pub(crate) fn brings(&self, program: &str) -> bool {
        let is_it = |path: &str| file_name(path) == file_name(program);
        let mut of_stage = self.copies.iter().filter(|copied| copied.from_stage);
        of_stage.any(|copied| {
            is_it(&copied.target) || copied.into_folder && copied.sources.iter().any(|source| is_it(source))
        })
    }

    /// Tells whether a path of the image comes out of a stage that builds.
    pub(crate) fn is_built(&self, path: &str) -> bool {
        let path = join(&self.workdir, path);
        let covers = |copied: &Copied| within(&path, &copied.target).is_some();
        self.copies.iter().rev().find(|copied| covers(copied)).is_some_and(|copied| copied.from_stage)
    }
}

impl Stage {
    fn is(&self, name: &str) -> bool {
        self.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

impl Copied {
    fn origin(&self, path: &str) -> Option<String> {
        let rest = within(path, &self.target)?;
        let [source] = self.sources.as_slice() else {
            let named = self.sources.iter().find(|source| file_name(source) == rest);
            return named.map(|source| relative(source)).filter(|_| !rest.is_empty());
        };
        let source = relative(source);
        match (rest.is_empty(), source.is_empty()) {
            (_, true) => Some(rest.to_owned()),
            (true, false) => Some(source),
            (false, false) if file_name(&source) == rest && self.into_folder => Some(source),
            (false, false) => Some(format!("{source}/{rest}")),
        }
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn relative(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

/// Returns what follows a folder in a path, or nothing where it is not in it.
fn within<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    if folder == "/" {
        return path.strip_prefix('/');
    }
    let rest = path.strip_prefix(folder)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Puts a path behind a folder, unless it begins at the root, and takes `.` and `..` out.
pub(crate) fn join(folder: &str, path: &str) -> String {
    let all = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in all.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Takes the file apart into stages, and what is known before the first.
fn stages(text: &str) -> (BTreeMap<String, String>, Vec<Stage>) {
    let (mut known, mut stages) = (BTreeMap::new(), Vec::<Stage>::new());
    for (word, rest) in instructions(text) {
        match (word.as_str(), stages.last_mut()) {
            ("FROM", _) => {
                let words: Vec<_> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
                let from = filled(words.first().unwrap_or(&""), &known);
                let is_named = words.get(1).is_some_and(|word| word.eq_ignore_ascii_case("as"));
                let name = words.get(2).filter(|_| is_named).map(|name| (*name).to_owned());
                stages.push(Stage { name, from, lines: Vec::new() });
            }
            ("ARG", None) => known.extend(assignments(&rest)),
            (_, Some(stage)) => stage.lines.push((word, rest)),
            (_, None) => {}
        }
    }
    (known, stages)
}

/// Joins lines that go on, and leaves out comments and the texts of here-documents.
fn instructions(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let (mut logical, mut ends) = (String::new(), None::<String>);
    for line in text.lines() {
        if let Some(end) = &ends {
            if line.trim() == end {
                ends = None;
            }
            continue;
        }
        if line.trim_start().starts_with('#') {
            continue;
        }
        match line.trim_end().strip_suffix('\\') {
            Some(part) => logical += part,
            None => {
                logical += line;
                all.extend(instruction(&logical));
                ends = here_document(&logical);
                logical.clear();
            }
        }
        logical.push(' ');
    }
    all.extend(instruction(&logical));
    all
}

fn instruction(line: &str) -> Option<(String, String)> {
    let (word, rest) = line.trim().split_once(char::is_whitespace)?;
    Some((word.to_ascii_uppercase(), rest.trim().to_owned()))
}

fn here_document(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("<<")?;
    let rest = rest.trim_start_matches('-').trim_start_matches(['"', '\'']);
    let end: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!end.is_empty()).then_some(end)
}

fn unquoted(text: &str) -> &str {
    let text = text.trim();
    let inner = |quote| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// Reads `A=b C="d e"`, or the older `A b c`.
fn assignments(rest: &str) -> Vec<(String, String)> {
    let words = shlex::split(rest).unwrap_or_default();
    if !words.first().is_some_and(|word| word.contains('=')) {
        let Some((name, value)) = rest.split_once(char::is_whitespace) else {
            return vec![(rest.trim().to_owned(), String::new())];
        };
        return vec![(name.to_owned(), unquoted(value).to_owned())];
    }
    let pair = |word: &String| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    words.iter().filter_map(pair).collect()
}

/// Puts the values of variables in, where they are known; `${A:-b}` is `b` where not.
pub(crate) fn filled(text: &str, known: &BTreeMap<String, String>) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        out += &rest[..at];
        rest = &rest[at..];
        match variable(&rest[1..]) {
            Some((name, otherwise, length)) => {
                match known.get(name).filter(|value| !value.is_empty()).map(String::as_str).or(otherwise) {
                    Some(value) => out += value,
                    None => out += &rest[..=length],
                }
                rest = &rest[1 + length..];
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// Reads `NAME`, `{NAME}` or `{NAME:-value}`: the name, the value, and how many bytes it has.
fn variable(text: &str) -> Option<(&str, Option<&str>, usize)> {
    let name_length =
        |text: &str| text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let Some(inner) = text.strip_prefix('{') else {
        let length = name_length(text);
        return (length > 0).then(|| (&text[..length], None, length));
    };
    let (inner, _) = inner.split_once('}')?;
    let length = name_length(inner);
    let otherwise = inner[length..].strip_prefix(":-").or_else(|| inner[length..].strip_prefix('-'));
    (length > 0 && (length == inner.len() || otherwise.is_some()))
        .then(|| (&inner[..length], otherwise, inner.len() + 2))
}

fn ports(rest: &str) -> Vec<u16> {
    let port = |word: &str| word.split('/').next().and_then(|port| port.parse().ok());
    rest.split_whitespace().filter(|word| !word.ends_with("/udp")).filter_map(port).collect()
}

fn volumes(rest: &str) -> Vec<String> {
    let list = serde_json::from_str::<Vec<String>>(rest);
    list.unwrap_or_else(|_| rest.split_whitespace().map(str::to_owned).collect())
}

fn health(rest: &str) -> Option<(BTreeMap<String, String>, Call)> {
    let (mut options, mut rest) = (BTreeMap::new(), rest);
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace)?;
        let (name, value) = option.split_once('=')?;
        options.insert(name.to_owned(), value.to_owned());
        rest = after.trim_start();
    }
    let command = rest.strip_prefix("CMD").or_else(|| rest.strip_prefix("cmd"))?;
    Some((options, Call::read(command.trim())?))
}

fn copied(rest: &str, workdir: &str) -> Option<Copied> {
    let (mut from_stage, mut rest) = (false, rest);
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace)?;
        from_stage |= option.starts_with("from=");
        rest = after.trim_start();
    }
    let list = serde_json::from_str::<Vec<String>>(rest);
    let mut words = list.unwrap_or_else(|_| rest.split_whitespace().map(str::to_owned).collect());
    let target = words.pop().filter(|_| !words.is_empty())?;
    let into_folder = target.ends_with('/') || target == "." || words.len() > 1;
    Some(Copied { from_stage, sources: words, target: join(workdir, &target), into_folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_STAGES: &str = r#"
# syntax=docker/dockerfile:1
ARG PYTHON=3.12
FROM python:${PYTHON}-slim AS base
WORKDIR /app
ENV A=1 B="two words"
FROM golang AS build
RUN go build -o /out/server \
    # a comment in between
    ./cmd/server
FROM base AS final
COPY --from=build /out/server /usr/bin/server
COPY requirements.txt setup.py ./
COPY src/ ./
ENV OLD some value
EXPOSE 8000/tcp 9000/udp
HEALTHCHECK --interval=5s CMD curl -f http://localhost:8000/health || exit 1
ENTRYPOINT ["/usr/bin/server"]
CMD ["--port", "8000"]
"#;

    #[test]
    fn the_last_stage_counts_with_what_it_inherits() {
        let image = Image::read(TWO_STAGES, None).unwrap();
        assert_eq!((image.base.as_str(), image.workdir.as_str()), ("base", "/app"));
        assert_eq!(image.variables["B"], "two words");
        assert_eq!(image.variables["OLD"], "some value");
        assert_eq!(image.ports, [8000]);
        assert_eq!(image.entrypoint, Some(Call::Words(vec!["/usr/bin/server".into()])));
        assert!(image.is_built("/usr/bin/server") && !image.is_built("main.py"));
        assert_eq!(image.in_context("main.py").as_deref(), Some("src/main.py"));
        assert_eq!(image.in_context("/usr/bin/server"), None);
        assert_eq!(image.health.unwrap().0["interval"], "5s");
        assert_eq!(Image::read(TWO_STAGES, Some("build")).unwrap().steps.len(), 1);
        assert_eq!(Image::read(TWO_STAGES, Some("nobody")), None);
    }

    #[test]
    fn a_file_that_names_itself_ends() {
        assert!(Image::read("FROM a AS a\nFROM a AS a\nCMD x", None).is_some());
        assert_eq!(Image::read("", None), None);
    }

    #[test]
    fn a_folder_that_is_kept_may_be_named_by_a_variable() {
        let image = Image::read("FROM a\nENV DATA_DIR=/data\nVOLUME [\"$DATA_DIR\"]\n", None).unwrap();
        assert_eq!(image.volumes, ["/data"]);
    }
}
