//! A JavaScript or TypeScript service with a package.json.

use serde_json::Value;

use super::call::shell_words;
use super::{Draft, RepositoryView, listen, package, steps, tool, unit_tests, way, words};
use crate::model::Build;
use crate::value::split_command;

const ENTRIES: [&str; 9] = [
    "server.js",
    "server.mjs",
    "index.js",
    "index.mjs",
    "app.js",
    "src/index.js",
    "src/server.js",
    "src/app.js",
    "bin/www",
];
/// What makes pages out of sources; nothing of it runs later.
const BUILDERS: [&str; 4] = ["\"vite\"", "\"react-scripts\"", "\"@angular/cli\"", "\"@vue/cli-service\""];

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let source = view.text("package.json")?;
    let json: Value = serde_json::from_str(source).unwrap_or_default();
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
    let mut draft = Draft {
        name: text("/name").map(str::to_owned),
        build: Build { tools, steps: steps(&commands), ..Build::default() },
        tests: if tested { unit_tests(&format!("{manager} test"), None) } else { Vec::new() },
        package: package(&["**"]),
        ..Draft::default()
    };
    let is_site = BUILDERS.iter().any(|builder| source.contains(builder)) && view.first(&ENTRIES).is_none();
    let started = if is_site { None } else { command(view, &json, manager) };
    match started {
        Some((command, assumption)) => {
            draft.command = command;
            draft.assume(assumption);
        }
        None if is_site && text("/scripts/build").is_some() => site(source, &mut draft),
        // Tools of a site in another language, or a package that others use.
        None if text("/scripts/build").is_none() => return None,
        None => {}
    }
    listen::in_command(&mut draft.command, &[]);
    if !tested {
        draft.assume("package.json has no script test, so nothing is tested");
    }
    Some(draft)
}

/// Pages that a build makes.
fn site(source: &str, draft: &mut Draft) {
    let folder = if source.contains("\"react-scripts\"") { "build" } else { "dist" };
    draft.package = package(&[&format!("{folder}/**")]);
    draft.serve(folder, Some("index.html"));
    draft.assume(format!("the build makes pages in {folder}, and Lockstep serves them, the first one for every path that is no file"));
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
fn command(view: &RepositoryView, json: &Value, manager: &str) -> Option<(Vec<String>, String)> {
    let text = |path: &str| json.pointer(path).and_then(Value::as_str);
    let start = text("/scripts/start").filter(|script| !script.trim().is_empty());
    let built = text("/scripts/build").is_some();
    if let Some(script) = start {
        let plain =
            split_command(script).ok().filter(|command| command[0] == "node" || is_own(json, &command[0]));
        let is_there = |command: &Vec<String>| {
            built
                || command[0] != "node"
                || command.iter().skip(1).find(|word| !word.starts_with('-')).is_none_or(|file| {
                    view.has(file.trim_start_matches("./"))
                        || view.has(format!("{file}.js").trim_start_matches("./"))
                        || view.has_folder(file)
                })
        };
        if let Some(command) = plain.filter(is_there) {
            let command = way::on_host(shell_words(&command.join(" ")), view, &mut Draft::default());
            return Some((command, "the script start runs the service".into()));
        }
        let assumption =
            format!("`{manager} start` runs the service and passes signals on: better is node itself");
        return Some((words(&format!("{manager} start")), assumption));
    }
    let main = text("/main").filter(|main| view.has(main.trim_start_matches("./")));
    let entry = main.or_else(|| view.first(&ENTRIES))?;
    Some((vec!["node".into(), entry.to_owned()], format!("`node {entry}` runs the service")))
}

/// Tells whether a program is one of a package that is installed with it.
fn is_own(json: &Value, program: &str) -> bool {
    let has = |table: &str| json.get(table).and_then(|table| table.get(program)).is_some();
    has("dependencies") || has("devDependencies")
}
