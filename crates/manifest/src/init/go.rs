//! A Go service, with the files that it reads when it runs.

use std::collections::BTreeSet;

use super::{Draft, RepositoryView, at_least, package, service_name, steps, tool, unit_tests};
use crate::model::Build;

/// Calls that take the path of a file or a folder.
const READERS: [&str; 17] = [
    "Open(",
    "ReadFile(",
    "ReadDir(",
    "ParseFiles(",
    "ParseGlob(",
    "http.Dir(",
    "os.DirFS(",
    "LoadHTMLGlob(",
    "LoadHTMLFiles(",
    "Static(",
    "StaticFile(",
    "ServeFile(",
    "SendFile(",
    "SetConfigFile(",
    "AddConfigPath(",
    "godotenv.Load(",
    "WalkDir(",
];

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let text = view.text("go.mod")?;
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let name = service_name(field("module ").unwrap_or(&view.folder));
    let mains = main_packages(view);
    let source = mains.first()?;
    let file = format!("bin/{name}");
    let read = read_at_run_time(view);
    let include: Vec<&str> = std::iter::once(file.as_str()).chain(read.iter().map(String::as_str)).collect();
    let mut draft = Draft {
        name: Some(name.to_string()),
        build: Build {
            tools: tool("go", at_least(field("go ")).as_deref()),
            optional_variables: ["GOPATH", "GOPROXY", "GOCACHE"].map(str::to_owned).into(),
            steps: steps(&[format!("go build -trimpath -o {file} {source}")]),
            ..Build::default()
        },
        tests: unit_tests("go test ./...", None),
        package: package(&include),
        command: vec![format!("./{file}")],
        ..Draft::default()
    };
    draft.assume(format!("package {source} is the service"));
    if !read.is_empty() {
        draft
            .assume(format!("it reads {} when it runs", read.iter().cloned().collect::<Vec<_>>().join(", ")));
    }
    if mains.len() > 1 {
        draft.ask("build.steps", format!("Is {source} the service? There are also {}: each is a service of its own, with a manifest that is kept with it.", mains[1..].join(", ")));
    }
    Some(draft)
}

/// Finds the folders with a program: the root first, then those in `cmd/`.
fn main_packages(view: &RepositoryView) -> Vec<String> {
    let is_main = |text: &Option<String>| {
        text.as_deref()
            .is_none_or(|text| text.is_empty() || text.lines().any(|line| line.trim() == "package main"))
    };
    let in_root = view.files.iter().any(|(path, text)| {
        !path.contains('/') && path.ends_with(".go") && !path.ends_with("_test.go") && is_main(text)
    });
    let command = |(path, text): (&String, &Option<String>)| {
        let (folder, file) = path.rsplit_once('/')?;
        let plain = folder.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
        let is_program = file == "main.go" && is_main(text) && folder.split('/').count() <= 3;
        let is_aside = folder.split('/').any(|part| {
            matches!(part, "examples" | "example" | "internal" | "vendor" | "test" | "tools" | "hack")
        });
        (plain && is_program && !is_aside).then(|| format!("./{folder}"))
    };
    let mut all: Vec<String> = view.files.iter().filter_map(command).collect();
    all.sort_by_key(|folder| !folder.starts_with("./cmd/"));
    if in_root {
        all.insert(0, ".".into());
    }
    all.truncate(20);
    all
}

/// Finds the files of the repository that the source names where it opens something.
fn read_at_run_time(view: &RepositoryView) -> BTreeSet<String> {
    let sources = view.texts().filter(|(path, _)| path.ends_with(".go") && !path.ends_with("_test.go"));
    let lines = sources
        .flat_map(|(_, text)| text.lines())
        .filter(|line| READERS.iter().any(|reader| line.contains(reader)));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).filter_map(|text| there(view, text)).collect()
}

/// Returns the pattern of what a text names, if it is there.
fn there(view: &RepositoryView, text: &str) -> Option<String> {
    let path = text.trim_start_matches("./").trim_end_matches('/');
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./*".contains(&b));
    if path.is_empty() || !plain || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let folder = path.split('/').take_while(|part| !part.contains('*')).collect::<Vec<_>>().join("/");
    if view.has(path) && !path.ends_with(".go") {
        Some(path.to_owned())
    } else if path.contains('*') && !folder.is_empty() && view.has_folder(&folder) || view.has_folder(path) {
        Some(format!("{folder}/**"))
    } else {
        None
    }
}
