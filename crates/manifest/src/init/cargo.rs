//! A Rust service built by Cargo.

use toml::Table;

use super::{Draft, RepositoryView, at_least, package, steps, tool, unit_tests};
use crate::model::Build;

pub(super) fn read(view: &RepositoryView) -> Option<Draft> {
    let cargo: Table = view.text("Cargo.toml")?.parse().unwrap_or_default();
    if cargo.contains_key("workspace")
        && !cargo.contains_key("package")
        && view.files.keys().any(|path| path.ends_with("/Cargo.toml"))
    {
        return None;
    }
    let text = |field: &str| Some(cargo.get("package")?.get(field)?.as_str()?.to_owned());
    let name = text("name");
    let binary = first_binary(&cargo).or_else(|| name.clone()).unwrap_or_else(|| "service".into());
    let locked = if view.has("Cargo.lock") { " --locked" } else { "" };
    let file = format!("target/release/{binary}");
    let mut draft = Draft {
        build: Build {
            tools: tool("cargo", at_least(text("rust-version").as_deref()).as_deref()),
            optional_variables: vec!["CARGO_HOME".into(), "RUSTUP_HOME".into()],
            steps: steps(&[format!("cargo build --release{locked}")]),
            ..Build::default()
        },
        tests: unit_tests(&format!("cargo test{locked}"), None),
        package: package(&[&file]),
        command: vec![format!("./{file}")],
        name,
        ..Draft::default()
    };
    draft.assume(format!("the binary `{binary}` is the service"));
    if first_binary(&cargo).is_none() && !view.has("src/main.rs") && view.has("src/lib.rs") {
        return None;
    }
    if first_binary(&cargo).is_none() && !view.has("src/main.rs") {
        draft.ask("build.steps", "There is no src/main.rs: is there a binary at all?");
    }
    Some(draft)
}

fn first_binary(cargo: &Table) -> Option<String> {
    Some(cargo.get("bin")?.as_array()?.first()?.get("name")?.as_str()?.to_owned())
}
