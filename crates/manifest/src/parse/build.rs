//! `[build]` and `[[test]]`: how the files of a version come about, and what finds out whether it works.

use std::collections::BTreeMap;

use lockstep_domain::VersionRange;
use lockstep_domain::evidence::EvidenceKind;

use super::field::{command, duration, environment, size, variable_names};
use crate::cache::CacheFolder;
use crate::model::{Build, DEFAULT_TEST_TIMEOUT_MS, Elsewhere, Step, TestSuite};
use crate::reader::{Field, Table};

/// More folders than a build of several languages has.
const MAX_CACHES: usize = 10;

pub(super) fn build(table: Table<'_>) -> Build {
    let default = Build::default();
    let variables = table.get("variables", "variables = [\"NPM_TOKEN\"]");
    let optional = table.get("optional_variables", "optional_variables = [\"HTTP_PROXY\"]");
    let build = Build {
        tools: table.table("tools", "tools = { cargo = \">=1.80\" }").map_or(default.tools, |t| tools(&t)),
        variables: variables.as_ref().map_or_else(Vec::new, variable_names),
        optional_variables: optional.as_ref().map_or_else(Vec::new, variable_names),
        env: table.table("env", "env = { CI = \"true\" }").map_or(default.env, |table| environment(&table)),
        sources: table
            .get("sources", "sources = [\"libs/common\"]")
            .map_or_else(Vec::new, |field| field.parse_all()),
        cache: table.get("cache", "cache = [\"node_modules\"]").map_or_else(Vec::new, |field| cache(&field)),
        lfs: elsewhere(&table, "lfs", "pointers"),
        submodules: elsewhere(&table, "submodules", "empty"),
        steps: table.get("steps", "steps = [\"cargo build --release\"]").map_or(default.steps, |f| steps(&f)),
        timeout_ms: duration(&table, "timeout", "timeout = \"30m\"").unwrap_or(default.timeout_ms),
        log_limit_bytes: size(&table, "log_limit", "log_limit = \"16MiB\"")
            .unwrap_or(default.log_limit_bytes),
        disk_limit_bytes: size(&table, "disk_limit", "disk_limit = \"4GiB\"")
            .unwrap_or(default.disk_limit_bytes),
    };
    for field in [&variables, &optional].into_iter().flatten() {
        refuse_doubles(field, &build);
    }
    table.finish();
    build
}

/// Reads the folders that are kept between builds.
fn cache(field: &Field<'_>) -> Vec<CacheFolder> {
    let elements = field.list().unwrap_or_default();
    if elements.len() > MAX_CACHES {
        field.wrong(format_args!("at most {MAX_CACHES} folders are kept between builds"));
    }
    let mut folders: Vec<CacheFolder> = Vec::new();
    for element in &elements {
        let Some(folder) = element.parse::<CacheFolder>() else { continue };
        match folders.iter().find(|other| other.overlaps(&folder)) {
            Some(other) => element.wrong(format_args!("`{folder}` and `{other}` lie in each other")),
            None => folders.push(folder),
        }
    }
    folders
}

/// What becomes of something that is not in the repository: it is fetched, or what stands in its place is taken.
fn elsewhere(table: &Table<'_>, name: &'static str, left: &str) -> Elsewhere {
    let Some(field) = table.get(name, "lfs = \"fetch\", submodules = \"fetch\"") else {
        return Elsewhere::Refused;
    };
    match field.text() {
        Some("fetch") => return Elsewhere::Fetched,
        Some(word) if word == left => return Elsewhere::Left,
        Some(word) => field.wrong(format_args!("`{word}` is neither `fetch` nor `{left}`")),
        None => {}
    }
    Elsewhere::Refused
}

/// A variable is either demanded, taken when it is there, or fixed.
fn refuse_doubles(field: &Field<'_>, build: &Build) {
    for element in field.as_list().unwrap_or_default() {
        let Some(name) = element.as_text() else { continue };
        let demanded = build.variables.iter().any(|other| other == name);
        let taken = build.optional_variables.iter().any(|other| other == name);
        if build.env.contains_key(name) || demanded && taken {
            let message = format!("`{name}` is given in more than one way");
            element.wrong_because(message, "keep one of variables, optional_variables and env");
        }
    }
}

fn tools(table: &Table<'_>) -> BTreeMap<String, VersionRange> {
    let mut tools = BTreeMap::new();
    for (name, field) in table.entries("cargo = \">=1.80\"") {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
        if name.is_empty() || name.len() > 64 || name.starts_with(['-', '.']) || !name.bytes().all(allowed) {
            field.wrong_key("a tool is named by the program that is run, without a path");
        }
        if let Some(range) = field.parse() {
            tools.insert(name.to_owned(), range);
        }
    }
    tools
}

fn steps(field: &Field<'_>) -> Vec<Step> {
    field.list().unwrap_or_default().iter().filter_map(step).collect()
}

fn step(field: &Field<'_>) -> Option<Step> {
    let Some(table) = field.as_table() else {
        return command(field).map(|command| Step { command, folder: None });
    };
    let run = table.require("run", "run = \"npm ci\"").and_then(|field| command(&field));
    let folder = table.get("folder", "folder = \"web\"").and_then(|field| field.parse());
    table.finish();
    Some(Step { command: run?, folder })
}

pub(super) fn suite(table: Table<'_>) -> Option<TestSuite> {
    let kind = table.require("kind", "kind = \"unit\"").and_then(|field| kind(&field));
    let run = table.require("run", "run = \"cargo test\"").and_then(|field| command(&field));
    let folder = table.get("folder", "folder = \"web\"").and_then(|field| field.parse());
    let report = table.get("report", "report = \"target/junit.xml\"").and_then(|field| field.parse());
    let timeout_ms = duration(&table, "timeout", "timeout = \"10m\"").unwrap_or(DEFAULT_TEST_TIMEOUT_MS);
    table.finish();
    Some(TestSuite { kind: kind?, command: run?, folder, report, timeout_ms })
}

fn kind(field: &Field<'_>) -> Option<EvidenceKind> {
    let kind = field.parse::<EvidenceKind>()?;
    if kind.is_of_lockstep() {
        field.wrong(format_args!("`{kind}` is recorded by Lockstep itself"));
        return None;
    }
    Some(kind)
}
