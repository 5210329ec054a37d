//! A Go service.

use super::{Draft, RepositoryView, at_least, package, service_name, steps, tool, unit_tests};
use crate::model::Build;

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let text = view.text("go.mod")?;
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let name = service_name(field("module ").unwrap_or(&view.folder));
    let source = main_package(view);
    let file = format!("bin/{name}");
    Some(Draft {
        name: Some(name.to_string()),
        build: Build {
            tools: tool("go", at_least(field("go ")).as_deref()),
            optional_variables: ["GOPATH", "GOPROXY", "GOCACHE"].map(str::to_owned).into(),
            steps: steps(&[format!("go build -trimpath -o {file} {source}")]),
            ..Build::default()
        },
        tests: unit_tests("go test ./...", None),
        package: package(&[&file]),
        command: vec![format!("./{file}")],
        assumptions: vec![format!("package {source} is the service")],
        ..Draft::default()
    })
}

/// Finds the folder with `main`: the root, else the first one in `cmd/`.
fn main_package(view: &RepositoryView) -> String {
    let command = |path: &String| {
        let folder = path.strip_prefix("cmd/")?.strip_suffix("/main.go")?;
        (!folder.contains('/') && !folder.contains(char::is_whitespace)).then(|| format!("./cmd/{folder}"))
    };
    let in_root = view.has("main.go");
    let found = if in_root { None } else { view.files.keys().find_map(command) };
    found.unwrap_or_else(|| ".".into())
}
