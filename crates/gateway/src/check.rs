//! Checking the file of a table without serving it: what [`crate::Gateway::apply`] refuses, and what it would take though nobody can
//! have meant it.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_domain::ServiceName;
use lockstep_domain::routes::{RouteTable, ServiceRoutes, SplitRole};

use crate::by_hand::{Lines, Written};
use crate::environment::Environment;
use crate::error::ApplyError;
use crate::follow::{StoreError, read_written};
use crate::references;
pub use crate::table::TableProblem;

/// What is to be said of a table.
#[derive(Debug)]
pub struct Checked {
    /// The table as it stands.
    pub table: RouteTable,
    /// What it passes over.
    pub doubts: Vec<TableProblem>,
}

/// Reads a table as `gateway run --table` does, and checks it as a gateway does before it serves it.
///
/// # Errors
/// When the file cannot be read, is too long, is of a format that this program does not know, or is no table that a gateway serves: then
/// with all that is wrong.
pub fn check_file(path: &Path) -> Result<Checked, StoreError> {
    let Written { table, lines } = read_written(path)?;
    let applied = Environment::new(table.environment.clone(), 1).apply(table.clone());
    if let Err(error) = applied {
        let place = place_of(&error);
        let problems = vec![lines.place(TableProblem::new(place.to_owned(), error.to_string()))];
        return Err(StoreError::Wrong { path: path.to_path_buf(), problems });
    }
    let doubts = doubts(&table, &lines);
    Ok(Checked { table, doubts })
}

const fn place_of(error: &ApplyError) -> &'static str {
    match error {
        ApplyError::NewerFormat { .. } => "format",
        ApplyError::Invalid { .. } | ApplyError::Tls { .. } => "entry",
    }
}

/// Routes that take nothing, or lead nowhere; services that cannot do what they look like.
fn doubts(table: &RouteTable, lines: &Lines) -> Vec<TableProblem> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut doubts = Vec::new();
    let mut add = |index: usize, why: String| {
        let route = &table.routes[index];
        let detail = format!("route `{}` of `{}` {why}", route.rule, route.service);
        doubts.push(lines.place(TableProblem::new(format!("routes[{index}]"), detail)));
    };
    for (index, route) in table.routes.iter().enumerate() {
        let Some(rule) = route.rule.in_one_form() else {
            add(index, "is left out: no request has such a host or path".to_owned());
            continue;
        };
        let first = *seen.entry(rule.key()).or_insert(index);
        if first != index {
            add(index, format!("takes nothing: routes[{first}] takes the very same requests"));
        }
    }
    doubts.extend(unkept_cookies(table).map(|it| lines.place(it)));
    doubts.extend(references::problems(table).into_iter().map(|it| lines.place(it)));
    doubts.extend(
        table.services.iter().flat_map(|(name, routes)| of_service(name, routes)).map(|it| lines.place(it)),
    );
    doubts
}

/// Cookies of visits that browsers keep only by https, where nobody comes by that as far as the table says.
fn unkept_cookies(table: &RouteTable) -> impl Iterator<Item = TableProblem> + '_ {
    let by_https = table.entry.as_ref().is_some_and(|entry| entry.settings.https_port.is_some());
    let by_proxy = !table.rules().trusted_networks.is_empty();
    let routes = table.routes.iter().enumerate().filter(move |_| !by_https && !by_proxy);
    routes.filter_map(|(index, route)| {
        let visit = route.rule.then.as_ref()?.visit.as_ref().filter(|visit| visit.needs_https())?;
        let detail = format!(
            "route `{}` keeps visitors by the cookie `{}`, which browsers drop that do not come by https: every visit is lost, unless the gateway is run with --listen-tls",
            route.rule, visit.cookie
        );
        Some(TableProblem::new(format!("routes[{index}]"), detail))
    })
}

/// A version on trial that nothing is behind, and rules that take nothing.
fn of_service(name: &ServiceName, routes: &ServiceRoutes) -> Vec<TableProblem> {
    let mut doubts = Vec::new();
    let has = |role| routes.splits.iter().any(|split| split.role == role);
    if has(SplitRole::Candidate) && !has(SplitRole::Stable) {
        let detail = format!(
            "`{name}` has a version on trial and no stable one: nothing answers for it when it fails"
        );
        doubts.push(TableProblem::new(format!("services.{name}"), detail));
    }
    for (index, rule) in routes.version_rules.iter().enumerate() {
        let first = routes.version_rules[..index].iter().position(|known| known.takes == rule.takes);
        doubts.extend(first.map(|first| {
            let detail = format!(
                "rule {} of `{name}` takes nothing: rule {} takes the very same requests",
                rule.id,
                first + 1
            );
            TableProblem::new(format!("services.{name}.version_rules[{index}]"), detail)
        }));
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts_of(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.toml");
        std::fs::write(&path, text).unwrap();
        check_file(&path).unwrap().doubts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cookie_that_browsers_drop_is_told() {
        let table = |cookie: &str, entry: &str| {
            format!(
                "environment = \"e\"\n{entry}[service.a]\ninstances = []\n[[route]]\nservice = \"a\"\nsticky = {{ for = \"1h\", cookie = \"{cookie}\" }}\n"
            )
        };
        let told =
            |cookie, entry| doubts_of(&table(cookie, entry)).iter().any(|it| it.contains("browsers drop"));
        assert!(told("__Host-v", "") && told("__secure-v", "") && !told("visit", ""));
        assert!(!told("__Host-v", "[entry]\nhttps_port = 8443\n"));
        assert!(!told("__Host-v", "[rules]\ntrusted_networks = [\"10.0.0.0/8\"]\n"));
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_line() {
        let text = "environment = \"e\"\n[service.a]\n[[service.a.version]]\nnumber = \"1.0.0\"\nrole = \"candidate\"\n\
            instances = []\n[[service.a.rule]]\nversion = \"1.0.0\"\nheader = { x = \"y\" }\n[[service.a.rule]]\n\
            version = \"1.0.0\"\nheader = { X = \"y\" }\n[[route]]\nhost = [\"b.test\", \"b.test\"]\nservice = \"a\"\n";
        let found = doubts_of(text);
        for words in [
            "a version on trial and no stable one",
            "rule 2 of `a` takes nothing",
            "takes the very same requests",
        ] {
            assert!(
                found.iter().any(|it| it.starts_with("line ") && it.contains(words)),
                "{words}: {found:#?}"
            );
        }
    }
}
