//! A Python service, with or without packages from elsewhere.

use std::collections::BTreeMap;

use toml::Table;

use super::{Draft, RepositoryView, package, steps, tool, unit_tests, with_port};
use crate::model::Build;

const ENTRIES: [&str; 6] = ["server.py", "app.py", "main.py", "src/main.py", "service.py", "run.py"];
/// Where packages from elsewhere are put, so that they travel with the artifact.
const VENDOR: &str = "vendor";

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let entry = view.first(&ENTRIES);
    view.first(&["pyproject.toml", "requirements.txt", "setup.py", "manage.py"]).or(entry)?;
    let project: Table = view.text("pyproject.toml").and_then(|text| text.parse().ok()).unwrap_or_default();
    let text = |field: &str| project.get("project")?.get(field)?.as_str();
    let mut draft = Draft {
        name: text("name").map(str::to_owned),
        build: Build { tools: tool("python3", text("requires-python")), ..Build::default() },
        package: package(&["**"]),
        command: command(view, entry.unwrap_or("main.py")),
        tests: tests(view),
        ..Draft::default()
    };
    draft.assumptions.push(format!("`{}` runs the service", draft.command.join(" ")));
    if let Some(source) = packages(view) {
        draft.build.steps = steps(&[format!("python3 -m pip install --target {VENDOR} {source}")]);
        draft.variables = BTreeMap::from([("PYTHONPATH".into(), VENDOR.into())]);
        draft.assumptions.push(format!("packages go to {VENDOR}/ and into the artifact"));
    }
    if draft.tests.is_empty() {
        draft.assumptions.push("no tests were found, so nothing is tested".into());
    }
    Some(draft)
}

fn packages(view: &RepositoryView) -> Option<&'static str> {
    if view.has("requirements.txt") {
        Some("-r requirements.txt")
    } else if view.has("pyproject.toml") {
        Some(".")
    } else {
        None
    }
}

fn needs(view: &RepositoryView, package: &str) -> bool {
    let files = ["requirements.txt", "pyproject.toml", "requirements-dev.txt"];
    files.iter().filter_map(|file| view.text(file)).any(|text| text.to_ascii_lowercase().contains(package))
}

fn command(view: &RepositoryView, entry: &str) -> Vec<String> {
    let module = entry.trim_end_matches(".py").replace('/', ".");
    if needs(view, "uvicorn") || needs(view, "fastapi") {
        with_port(&format!("python3 -m uvicorn {module}:app --host 127.0.0.1 --port $PORT"))
    } else if needs(view, "gunicorn") {
        with_port(&format!("python3 -m gunicorn --bind 127.0.0.1:$PORT {module}:app"))
    } else if view.has("manage.py") {
        with_port("python3 manage.py runserver --noreload 127.0.0.1:$PORT")
    } else {
        vec!["python3".into(), "-u".into(), entry.into()]
    }
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
