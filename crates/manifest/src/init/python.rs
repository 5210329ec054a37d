//! A Python service, with or without packages from elsewhere: by what its files say that they start.

use toml::Table;

use super::{Draft, RepositoryView, package, steps, tool, unit_tests, words};
use crate::model::Build;

/// Names that an entry usually has, the likeliest first.
const ENTRIES: [&str; 8] =
    ["server.py", "app.py", "main.py", "src/main.py", "service.py", "run.py", "wsgi.py", "asgi.py"];
/// Where packages from elsewhere are put, so that they travel with the artifact.
const VENDOR: &str = "vendor";
/// How deep an entry is looked for.
const MAX_DEPTH: usize = 4;

/// How a service is started.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// An application that a server of its kind calls: the module, and the name in it.
    Asgi(String, String),
    /// The same for the older kind of servers.
    Wsgi(String, String),
    /// Django's own program.
    Django(Option<String>),
    /// A file that starts by itself.
    File(String),
    /// A program that the package declares.
    Script(String),
}

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let project: Table = view.text("pyproject.toml").and_then(|text| text.parse().ok()).unwrap_or_default();
    let signs = ["pyproject.toml", "requirements.txt", "setup.py", "Pipfile", "manage.py"];
    let candidates = entries(view, &project);
    if view.first(&signs).is_none() && candidates.is_empty() {
        return None;
    }
    let text = |field: &str| project.get("project")?.get(field)?.as_str();
    let mut draft = Draft {
        name: text("name").map(str::to_owned),
        build: Build { tools: tool("python3", text("requires-python")), ..Build::default() },
        package: package(&["**"]),
        tests: tests(view),
        ..Draft::default()
    };
    if let Some((file, entry)) = candidates.first() {
        draft.command = command(view, file, entry, &mut draft);
        draft.assume(format!("`{}` runs the service", draft.command.join(" ")));
        let others: Vec<&str> = candidates.iter().skip(1).map(|(file, _)| file.as_str()).take(5).collect();
        if !others.is_empty() {
            draft.ask(
                "run.command",
                format!("Is {file} what runs the service? {} could be started as well.", others.join(", ")),
            );
        }
    }
    if let Some(source) = packages(view, &project) {
        draft.build.steps = steps(&[format!("python3 -m pip install --target {VENDOR} {source}")]);
        draft.python_path(VENDOR);
        draft.assume(format!("packages go to {VENDOR}/ and into the artifact"));
    }
    if draft.tests.is_empty() {
        draft.assume("no tests were found, so nothing is tested");
    }
    Some(draft)
}

/// Finds everything that could be started, the likeliest first.
fn entries(view: &RepositoryView, project: &Table) -> Vec<(String, Entry)> {
    let mut found: Vec<(usize, String, Entry)> = Vec::new();
    if view.has("manage.py") {
        found.push((0, "manage.py".into(), Entry::Django(wsgi_of_django(view))));
    }
    for (path, text) in view.texts().filter(|(path, _)| is_source(path) && !is_of_another(view, path)) {
        if let Some(entry) = entry(path, text) {
            found.push((rank(path, &entry), path.to_owned(), entry));
        }
    }
    found.extend(
        ENTRIES
            .iter()
            .enumerate()
            .filter(|(_, path)| view.has(path) && !found.iter().any(|(_, file, _)| file == *path))
            .map(|(at, path)| (60 + at, (*path).to_owned(), Entry::File((*path).to_owned())))
            .collect::<Vec<_>>(),
    );
    if let Some(script) = script(project) {
        found.push((30, format!("script {script}"), Entry::Script(script)));
    }
    found.sort_by(|one, other| (one.0, one.1.len(), &one.1).cmp(&(other.0, other.1.len(), &other.1)));
    let best = found.first().map_or(0, |(rank, ..)| *rank / 10);
    found.into_iter().filter(|(rank, ..)| rank / 10 == best).map(|(_, file, entry)| (file, entry)).collect()
}

fn is_source(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_aside = |part: &&str| {
        part.starts_with("test")
            || matches!(*part, "docs" | "examples" | "migrations" | "vendor" | "site-packages")
    };
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./".contains(&b));
    path.ends_with(".py")
        && plain
        && parts.len() <= MAX_DEPTH
        && !parts.iter().any(is_aside)
        && !path.ends_with("_test.py")
        && !path.ends_with("setup.py")
        && !path.ends_with("conftest.py")
}

/// Tells whether a folder on the way to a file describes itself, as the services of a monorepo do.
fn is_of_another(view: &RepositoryView, path: &str) -> bool {
    let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
    let signs =
        ["Dockerfile", "requirements.txt", "pyproject.toml", "package.json", "manage.py", "lockstep.toml"];
    folders.into_iter().any(|folder| signs.iter().any(|sign| view.has(&format!("{folder}/{sign}"))))
}

fn entry(path: &str, text: &str) -> Option<Entry> {
    let is_main = text.contains("__main__") && text.contains("__name__");
    if let Some(name) = made_by(text, &["FastAPI(", "Starlette(", "Litestar("]) {
        return Some(Entry::Asgi(module(path), name));
    }
    let tells_port = super::view::has_word(text, "PORT");
    match made_by(text, &["Flask("]) {
        Some(_) if is_main && tells_port => Some(Entry::File(path.into())),
        Some(name) => Some(Entry::Wsgi(module(path), name)),
        None if is_main || path.ends_with("__main__.py") => Some(Entry::File(path.into())),
        None => None,
    }
}

/// Prefers applications to files that start by themselves, usual names to others, and the root to folders.
fn rank(path: &str, entry: &Entry) -> usize {
    let base = match entry {
        Entry::Django(_) => 0,
        Entry::Asgi(..) | Entry::Wsgi(..) => 10,
        Entry::Script(_) => 30,
        Entry::File(_) => 20,
    };
    let is_usual = ENTRIES.contains(&path) || path.ends_with("__main__.py");
    base + if is_usual || base < 20 { 0 } else { 20 }
}

/// Finds the name that a call is given to: `app = Flask(__name__)`, also in a function `create_app`.
fn made_by(text: &str, calls: &[&str]) -> Option<String> {
    let mut factory = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("def ") {
            factory = rest.split('(').next();
        } else if !line.starts_with([' ', '\t']) && !line.is_empty() {
            factory = None;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = value.trim_start();
        let is_call = calls.iter().any(|call| {
            value.starts_with(call)
                || value.rsplit_once('.').is_some_and(|_| {
                    value
                        .split('(')
                        .next()
                        .is_some_and(|path| format!("{path}(").ends_with(&format!(".{call}")))
                })
        });
        let name = name.split(':').next().unwrap_or(name).trim();
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match (is_call && is_name, line.starts_with([' ', '\t']), factory) {
            (true, false, _) => return Some(name.to_owned()),
            (true, true, Some(function))
                if function.starts_with("create_") || function.starts_with("make_") =>
            {
                return Some(format!("{function}()"));
            }
            _ => {}
        }
    }
    None
}

fn module(path: &str) -> String {
    let path = path.trim_end_matches(".py").trim_end_matches("/__init__");
    path.replace('/', ".")
}

fn script(project: &Table) -> Option<String> {
    let scripts = project.get("project")?.get("scripts")?.as_table()?;
    let plain = |name: &&String| {
        name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !name.is_empty()
    };
    scripts.keys().filter(plain).min_by_key(|name| name.len()).cloned()
}

fn wsgi_of_django(view: &RepositoryView) -> Option<String> {
    let file = view.files.keys().find(|path| path.ends_with("/wsgi.py") && is_source(path))?;
    Some(module(file))
}

fn packages(view: &RepositoryView, project: &Table) -> Option<&'static str> {
    if view.has("requirements.txt") {
        Some("-r requirements.txt")
    } else if project.contains_key("build-system") || project.contains_key("project") || view.has("setup.py")
    {
        Some(".")
    } else {
        None
    }
}

fn needs(view: &RepositoryView, package: &str) -> bool {
    let files = ["requirements.txt", "pyproject.toml", "requirements-dev.txt", "Pipfile", "setup.py"];
    files.iter().filter_map(|file| view.text(file)).any(|text| text.to_ascii_lowercase().contains(package))
}

const LISTEN: &str = "${self.host}:${self.port}";

fn command(view: &RepositoryView, file: &str, entry: &Entry, draft: &mut Draft) -> Vec<String> {
    match entry {
        Entry::Asgi(module, name) => {
            let factory = if name.ends_with("()") { " --factory" } else { "" };
            let name = name.trim_end_matches("()");
            let place = source_root(view, module, draft);
            if !needs(view, "uvicorn") && !needs(view, "fastapi") {
                draft.ask("run.command", "Is uvicorn installed with the packages of the service? It is what calls the application here.");
            }
            words(&format!(
                "python3 -m uvicorn {place}:{name}{factory} --host ${{self.host}} --port ${{self.port}}"
            ))
        }
        Entry::Wsgi(module, name) => {
            let place = source_root(view, module, draft);
            if needs(view, "gunicorn") {
                return words(&format!("python3 -m gunicorn --bind {LISTEN} {place}:{name}"));
            }
            draft.assume("Flask's own server is for development: gunicorn among its packages would be taken");
            words(&format!(
                "python3 -m flask --app {place}:{} run --host ${{self.host}} --port ${{self.port}}",
                name.trim_end_matches("()")
            ))
        }
        Entry::Django(Some(wsgi)) if needs(view, "gunicorn") => {
            words(&format!("python3 -m gunicorn --bind {LISTEN} {wsgi}:application"))
        }
        Entry::Django(_) => {
            draft
                .assume("Django's own server is for development: gunicorn among its packages would be taken");
            words(&format!("python3 manage.py runserver --noreload {LISTEN}"))
        }
        Entry::Script(name) => words(&format!("python3 {VENDOR}/bin/{name}")),
        Entry::File(path) if path.ends_with("/__main__.py") && !path.starts_with("src/") => {
            words(&format!("python3 -u -m {}", module(path.trim_end_matches("/__main__.py"))))
        }
        Entry::File(_) => vec!["python3".into(), "-u".into(), file.into()],
    }
}

/// A module below `src/`, or below another folder that is no package, is found from there.
fn source_root(view: &RepositoryView, module: &str, draft: &mut Draft) -> String {
    let Some((root, rest)) = module.split_once('.') else { return module.to_owned() };
    if root == "src" && !view.has("src/__init__.py") && packages(view, &Table::new()) != Some(".") {
        draft.python_path("src");
        return rest.to_owned();
    }
    module.to_owned()
}

fn tests(view: &RepositoryView) -> Vec<crate::model::TestSuite> {
    let is_test = |path: &String| {
        let file = path.rsplit('/').next().unwrap_or_default();
        file.ends_with(".py") && (file.starts_with("test_") || file.ends_with("_test.py"))
    };
    if !view.files.keys().any(is_test) {
        Vec::new()
    } else if needs(view, "pytest") {
        unit_tests("python3 -m pytest --junit-xml=junit.xml", Some("junit.xml"))
    } else {
        unit_tests("python3 -m unittest", None)
    }
}
