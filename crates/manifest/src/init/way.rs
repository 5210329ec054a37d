//! How something else starts the program, a Dockerfile for one, as a way to start it on a host.
//!
//! Paths in an image become paths of the artifact, programs that an image has in its `PATH` those that a host or the
//! packages of the service have, and addresses references.

use std::collections::BTreeMap;

use lockstep_domain::reference::{self, Reader, Scope};
use lockstep_domain::run::{HealthCheck, Probe, StopSignal};

use super::call::{Call, shell_words};
use super::dockerfile::{Image, join};
use super::draft::Draft;
use super::listen::{self, Told};
use super::{RepositoryView, is_program};
use crate::value::{VariableName, duration_ms, is_shell, url_path};

/// Programs of Python packages, and the module that is the same.
const PYTHON_PROGRAMS: [(&str, &str); 20] = [
    ("alembic", "alembic"),
    ("arq", "arq.cli"),
    ("celery", "celery"),
    ("daphne", "daphne"),
    ("django-admin", "django"),
    ("dramatiq", "dramatiq"),
    ("fastapi", "fastapi"),
    ("flask", "flask"),
    ("gunicorn", "gunicorn"),
    ("huey_consumer", "huey.bin.huey_consumer"),
    ("hypercorn", "hypercorn"),
    ("locust", "locust"),
    ("pip", "pip"),
    ("pytest", "pytest"),
    ("rq", "rq.cli"),
    ("sanic", "sanic"),
    ("streamlit", "streamlit"),
    ("uvicorn", "uvicorn"),
    ("waitress-serve", "waitress"),
    ("granian", "granian"),
];
/// Programs that wait until something answers and then start what follows: requirements do that here.
const WAITERS: [&str; 6] = ["wait-for-it.sh", "wait-for-it", "wait-for", "wait-for.sh", "dockerize", "wait"];
/// Interpreters, whose first argument is a file.
const INTERPRETERS: [&str; 7] = ["python", "python3", "node", "ruby", "php", "deno", "bun"];

/// Starts a draft with the words that an image is started with.
pub(crate) fn start(
    draft: &mut Draft,
    view: &RepositoryView,
    image: &Image,
    words: &[String],
    ports: &[u16],
) {
    let words = without_waiting(words, draft);
    let Some(program) = words.first().cloned() else { return };
    let words = escaped(&words);
    let makes = makes(draft, &path(&program, view, image));
    draft.command = if is_made(view, image, &words) && !makes && !draft.command.is_empty() {
        let arguments = words[arguments_at(&words)..].to_vec();
        let known = draft.command.join(" ");
        draft.assume(format!("`{program}` of the image is `{known}` here"));
        draft.command.iter().cloned().chain(arguments).collect()
    } else {
        if image.brings(&program) && !makes && !view.has(path(&program, view, image).trim_start_matches("./"))
        {
            draft.ask("run.command", format!("Which step makes `{program}`, and where is it then? A stage of the image makes it, and no step that was found does."));
        }
        on_host(words.iter().map(|word| path(word, view, image)).collect(), view, draft)
    };
    listen::in_command(&mut draft.command, ports);
}

/// Takes over the variables of an image; where it listens is told in another way.
pub(crate) fn variables(
    draft: &mut Draft,
    variables: &BTreeMap<String, String>,
    image: &Image,
    ports: &[u16],
) {
    for (name, value) in variables {
        if !is_variable(name) || value.contains('\0') || is_of_image(name) {
            continue;
        }
        if is_given(name) {
            continue;
        }
        let value = value.replace("${", "$${");
        let value = listen::in_variable(name, &value, ports).unwrap_or_else(|| in_folder(&value, image));
        draft.variables.insert(name.clone(), value);
    }
}

/// Tells whether a manifest could set a variable of that name.
pub(crate) fn is_variable(name: &str) -> bool {
    name.parse::<VariableName>().is_ok()
}

/// Tells whether an instance is given the variable, so that a manifest cannot set it.
pub(crate) fn is_given(name: &str) -> bool {
    name == "PORT" || name == "HOST" || name.starts_with("LOCKSTEP_")
}

/// Variables that make sense in an image only.
pub(crate) fn is_of_image(name: &str) -> bool {
    matches!(name, "PATH" | "HOME" | "LANG" | "LC_ALL" | "DEBIAN_FRONTEND" | "VIRTUAL_ENV")
        || name.starts_with("PIP_")
        || name.starts_with("POETRY_")
}

/// Makes a path of an image, where it stands alone, one below the working folder.
fn in_folder(value: &str, image: &Image) -> String {
    let folder = image.workdir.trim_end_matches('/');
    match value.strip_prefix(folder).filter(|_| !folder.is_empty()) {
        Some("" | "/") => ".".into(),
        Some(rest) if rest.starts_with('/') => rest[1..].to_owned(),
        _ => value.to_owned(),
    }
}

/// Leaves `${` as text for whoever reads it; a script has variables of its own.
fn escaped(words: &[String]) -> Vec<String> {
    let is_script = words.first().is_some_and(|program| is_shell(program));
    let none = Scope::default();
    let reader = if is_script { Reader::Shell } else { Reader::Program };
    let escape = |word: &String| match reference::check(word, reader, &none) {
        Ok(found) if found.is_empty() => word.clone(),
        _ => word.replace("${", "$${"),
    };
    words.iter().map(|word| escape(word).replace('\0', "")).collect()
}

/// Takes away `wait-for-it db:5432 --`.
fn without_waiting(words: &[String], draft: &mut Draft) -> Vec<String> {
    let waits = words.first().is_some_and(|word| WAITERS.iter().any(|name| is_program(word, name)));
    match words.iter().position(|word| word == "--") {
        Some(at) if waits && at + 1 < words.len() => {
            draft.assume(format!("`{}` is left out: what is required is there when it starts", words[0]));
            words[at + 1..].to_vec()
        }
        _ => words.to_vec(),
    }
}

/// Tells whether the build of the draft makes a file of that very path.
fn makes(draft: &Draft, path: &str) -> bool {
    let path = path.trim_start_matches("./");
    let folder = |pattern: &crate::path::Pattern| pattern.as_str().strip_suffix("**").map(str::to_owned);
    let mut folders = draft.package.include.iter().filter_map(folder).filter(|folder| !folder.is_empty());
    folders.any(|folder| path.starts_with(&folder))
}

/// Tells whether the program is one that a build makes, so that it is found elsewhere here.
fn is_made(view: &RepositoryView, image: &Image, words: &[String]) -> bool {
    let of_folder = |word: &str| view.has(&path(word, view, image));
    let program = words[0].as_str();
    if program == "java" || program == "dotnet" {
        let file = words.iter().find(|word| word.ends_with(".jar") || word.ends_with(".dll"));
        return file.is_none_or(|file| !of_folder(file));
    }
    program.contains('/') && !is_system(program) && !of_folder(program)
        || image.is_built(program) && !INTERPRETERS.contains(&program) && program.contains('/')
}

fn is_system(program: &str) -> bool {
    ["/bin/", "/usr/bin/", "/usr/sbin/", "/sbin/"].iter().any(|folder| program.starts_with(folder))
        && ["sh", "bash", "env", "python3", "python", "node", "nginx"]
            .iter()
            .any(|name| is_program(program, name))
}

/// Returns where the arguments of the program itself begin.
fn arguments_at(words: &[String]) -> usize {
    let file = words.iter().position(|word| word.ends_with(".jar") || word.ends_with(".dll"));
    match words[0].as_str() {
        "java" | "dotnet" => file.map_or(words.len(), |at| at + 1),
        _ => 1,
    }
}

/// Makes a path of the image one of the artifact, where a word is one.
fn path(word: &str, view: &RepositoryView, image: &Image) -> String {
    if word.starts_with('-') || word.is_empty() {
        return word.to_owned();
    }
    let absolute = join(&image.workdir, word);
    if let Some(found) = image.in_context(word).filter(|found| view.has(found) || view.has_folder(found)) {
        let is_run = word.starts_with("./") || word.starts_with('/');
        return if is_run && !found.contains('/') { format!("./{found}") } else { found };
    }
    let folder = if image.workdir == "/" { String::new() } else { image.workdir.clone() };
    match absolute.strip_prefix(&format!("{folder}/")).filter(|_| word.starts_with('/') && !folder.is_empty())
    {
        Some(below) if word != "/" => format!("./{below}"),
        _ => word.to_owned(),
    }
}

/// Names programs as a host, or the packages of the service, have them.
pub(crate) fn on_host(words: Vec<String>, view: &RepositoryView, draft: &mut Draft) -> Vec<String> {
    let Some((program, arguments)) = words.split_first() else { return words };
    let name = program.rsplit('/').next().unwrap_or(program);
    if is_shell(name) {
        return std::iter::once(name.to_owned())
            .chain(arguments.iter().map(|text| script(text, view)))
            .collect();
    }
    if view.has(program.trim_start_matches("./")) && !INTERPRETERS.contains(&name) {
        let file = program.trim_start_matches("./");
        let first = if program.contains('/') { program.clone() } else { format!("./{file}") };
        return std::iter::once(first).chain(arguments.iter().cloned()).collect();
    }
    if name == "nodemon" {
        // It starts node again when a file changes, which none of a version does.
        let file = arguments.iter().filter(|word| !word.starts_with('-')).cloned();
        return std::iter::once("node".to_owned()).chain(file).collect();
    }
    let new = program_on_host(name, program, view);
    if new[0] != *program && new.len() > 1 {
        draft.assume(format!("`{name}` is run as `{}`", new.join(" ")));
    }
    new.into_iter().chain(arguments.iter().cloned()).collect()
}

fn program_on_host(name: &str, program: &str, view: &RepositoryView) -> Vec<String> {
    let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    if name == "python" || name.starts_with("python3") || name.starts_with("python2") {
        return own(&["python3"]);
    }
    if let Some((_, module)) = PYTHON_PROGRAMS.iter().find(|(known, _)| *known == name) {
        return own(&["python3", "-m", module]);
    }
    let package = view.text("package.json").unwrap_or_default();
    if !program.contains('/')
        && package.contains(&format!("\"{name}\""))
        && !["node", "npm", "yarn", "pnpm", "npx"].contains(&name)
    {
        return vec![format!("./node_modules/.bin/{name}")];
    }
    if program.starts_with("/usr/") || program.starts_with("/bin/") || program.starts_with("/sbin/") {
        own(&[name])
    } else {
        own(&[program])
    }
}

/// Names the programs of a script as a host has them, where a command begins.
fn script(text: &str, view: &RepositoryView) -> String {
    let mut begins = true;
    let mut each = |word: &str| {
        let name = word.rsplit('/').next().unwrap_or(word);
        let is_known = PYTHON_PROGRAMS.iter().any(|(known, _)| *known == word)
            || matches!(word, "python" | "python2" | "python3");
        let new =
            if begins && is_known { program_on_host(name, word, view).join(" ") } else { word.to_owned() };
        begins = matches!(word, "&&" | "||" | "|" | "exec" | "then" | "do" | "{")
            || word.ends_with(';')
            || begins && word.contains('=');
        new
    };
    text.split(' ')
        .map(|word| if word.is_empty() { String::new() } else { each(word) })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Takes over the health check of an image or of a compose file.
pub(crate) fn health(
    call: &Call,
    options: &BTreeMap<String, String>,
    view: &RepositoryView,
    image: &Image,
) -> Option<HealthCheck> {
    let text = match call {
        Call::Words(words) => words.join(" "),
        Call::Shell(text) => text.clone(),
    };
    let probe = match asked_path(&text) {
        Some(path) => Probe::Http { path },
        None if text.contains("localhost") || text.contains("127.0.0.1") => return None,
        None => {
            let words = match call {
                Call::Words(words) => words.clone(),
                Call::Shell(text) => shell_words(text.trim_end_matches("|| exit 1").trim()),
            };
            let words = escaped(&words).iter().map(|word| path(word, view, image)).collect();
            Probe::Command { command: on_host(words, view, &mut Draft::default()) }
        }
    };
    let mut check = HealthCheck::new(probe);
    let ms = |name: &str| options.get(name).and_then(|text| go_duration_ms(text));
    check.interval_ms = ms("interval").unwrap_or(check.interval_ms);
    check.timeout_ms = ms("timeout").unwrap_or(check.timeout_ms);
    let retries = options
        .get("retries")
        .and_then(|text| text.parse::<u32>().ok())
        .filter(|many| (1..=1_000).contains(many));
    check.unhealthy_after = retries.unwrap_or(check.unhealthy_after);
    let patience = ms("start-period")
        .unwrap_or(0)
        .saturating_add(check.interval_ms.saturating_mul(u64::from(check.unhealthy_after)));
    check.start_timeout_ms = check.start_timeout_ms.max(patience).min(7 * 86_400_000);
    Some(check)
}

/// Finds the path in a command that asks its own machine: `curl -f http://localhost:8000/health`.
fn asked_path(text: &str) -> Option<String> {
    let is_client = text.contains("curl") || text.contains("wget");
    let hosts = ["http://localhost", "http://127.0.0.1", "http://0.0.0.0"];
    let bare = [" localhost:", " 127.0.0.1:", " 0.0.0.0:", " localhost/", " 127.0.0.1/"];
    let after = |host: &&str| Some(text.find(*host)? + host.trim_end_matches(['/', ':']).len());
    let at = hosts.iter().find_map(after).or_else(|| bare.iter().filter(|_| is_client).find_map(after))?;
    let rest = text[at..].trim_start_matches(|c: char| c == ':' || c.is_ascii_digit());
    let end = rest.find(|c: char| c.is_whitespace() || "\"'`)>|;".contains(c)).unwrap_or(rest.len());
    let path = if rest[..end].is_empty() { "/" } else { &rest[..end] };
    url_path(path).is_ok().then(|| path.to_owned())
}

/// Reads a duration as Go writes it: `1m30s`, `500ms`, or a number of seconds.
pub(crate) fn go_duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000)).filter(|ms| *ms > 0);
    }
    let (mut rest, mut all) = (text, 0u64);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        if digits == 0 || letters == 0 {
            return None;
        }
        let (part, after) = rest.split_at(digits + letters);
        all = all.saturating_add(duration_ms(part).ok()?);
        rest = after;
    }
    Some(all).filter(|ms| (1..=7 * 86_400_000).contains(ms))
}

/// Reads a signal that a manifest may name.
pub(crate) fn signal(text: &str) -> Option<StopSignal> {
    match text.trim().trim_start_matches("SIG") {
        "TERM" | "15" => Some(StopSignal::Term),
        "INT" | "2" => Some(StopSignal::Int),
        "QUIT" | "3" => Some(StopSignal::Quit),
        "HUP" | "1" => Some(StopSignal::Hup),
        _ => None,
    }
}

/// Tells whether a command says where it listens.
pub(crate) fn told(words: &[String]) -> Told {
    let is_script = words.first().is_some_and(|program| is_shell(program));
    let says = |word: &String| {
        word.contains("${self.port}") || is_script && (word.contains("$PORT") || word.contains("${PORT"))
    };
    if words.iter().any(says) { Told::Port } else { Told::No }
}
