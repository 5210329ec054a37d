//! A JavaScript or TypeScript service with a package.json.

use serde_json::Value;

use super::{Draft, RepositoryView, package, steps, tool, unit_tests, words};
use crate::model::Build;
use crate::value::split_command;

const ENTRIES: [&str; 6] = ["server.js", "server.mjs", "index.js", "index.mjs", "app.js", "src/index.js"];

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let json: Value = serde_json::from_str(view.text("package.json")?).unwrap_or_default();
    let text = |path: &str| json.pointer(path).and_then(Value::as_str);
    let manager = manager(view);
    let mut commands = Vec::new();
    if ["/dependencies", "/devDependencies"].iter().any(|path| json.pointer(path).is_some()) {
        commands.push(install(view, manager));
    }
    if text("/scripts/build").is_some() {
        commands.push(format!("{manager} run build"));
    }
    let mut tools = tool("node", text("/engines/node"));
    if !commands.is_empty() {
        tools.extend(tool(manager, None));
    }
    let tested = text("/scripts/test").is_some_and(|script| !script.contains("no test specified"));
    let (command, assumption) = command(view, &json, manager);
    let mut draft = Draft {
        name: text("/name").map(str::to_owned),
        build: Build { tools, steps: steps(&commands), ..Build::default() },
        tests: if tested { unit_tests(&format!("{manager} test"), None) } else { Vec::new() },
        package: package(&["**"]),
        command,
        assumptions: vec![assumption],
        ..Draft::default()
    };
    if !tested {
        draft.assumptions.push("package.json has no script test, so nothing is tested".into());
    }
    Some(draft)
}

fn manager(view: &RepositoryView) -> &'static str {
    match view.first(&["pnpm-lock.yaml", "yarn.lock"]) {
        Some("pnpm-lock.yaml") => "pnpm",
        Some(_) => "yarn",
        None => "npm",
    }
}

fn install(view: &RepositoryView, manager: &str) -> String {
    match manager {
        "npm" if view.has("package-lock.json") => "npm ci".into(),
        "npm" => "npm install".into(),
        _ => format!("{manager} install --frozen-lockfile"),
    }
}

/// Finds the command: node itself where that is possible, so that it gets the signals.
fn command(view: &RepositoryView, json: &Value, manager: &str) -> (Vec<String>, String) {
    let text = |path: &str| json.pointer(path).and_then(Value::as_str);
    let start = text("/scripts/start");
    let words_of_start = start.and_then(|script| split_command(script).ok());
    if let Some(command) = words_of_start.filter(|command| command[0] == "node") {
        return (command, "the script start runs the service".into());
    }
    if start.is_some() {
        let assumption =
            format!("`{manager} start` runs the service and passes signals on: better is node itself");
        return (words(&format!("{manager} start")), assumption);
    }
    let main = text("/main").filter(|main| !main.is_empty() && !main.contains('\0'));
    let entry = main.or_else(|| view.first(&ENTRIES)).unwrap_or("index.js");
    (vec!["node".into(), entry.to_owned()], format!("`node {entry}` runs the service"))
}
