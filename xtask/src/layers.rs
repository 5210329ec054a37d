//! `cargo xtask layers`: the arrows between the crates, as ARCHITECTURE.md draws them, and the purity of the core.
//!
//! An arrow that is not in [`ARROWS`] is an error, so that a new one is a decision and not an accident.

use anyhow::{Result, bail};

use crate::purity;
use crate::workspace::{self, Kind, Package};

#[derive(clap::Args)]
pub(crate) struct Args {}

/// Which crate may use which; `testkit` may use anything, because only tests use it.
const ARROWS: &[(&str, &[&str])] = &[
    ("lockstep-archive", &[]),
    ("lockstep-confine", &[]),
    ("lockstep-files", &[]),
    ("lockstep-judge", &[]),
    ("lockstep-solver", &[]),
    ("lockstep-what-if", &["lockstep-solver"]),
    // The verdict on a step is part of deciding the next one, so the arrow goes from the domain to the judge. What would have to move is
    // part of planning, and its sentences are those of a fleet in a file.
    ("lockstep-domain", &["lockstep-judge", "lockstep-solver", "lockstep-what-if"]),
    ("lockstep-contract", &["lockstep-domain"]),
    ("lockstep-manifest", &["lockstep-domain"]),
    // It parts migrations as they are read when they are compared, so that what runs is what was judged.
    ("lockstep-migrate", &["lockstep-contract", "lockstep-domain", "lockstep-files"]),
    ("lockstep-store", &["lockstep-domain", "lockstep-files"]),
    ("lockstep-registry", &["lockstep-domain"]),
    ("lockstep-reach", &["lockstep-files"]),
    ("lockstep-series", &["lockstep-files"]),
    ("lockstep-telemetry", &["lockstep-reach"]),
    ("lockstep-acme", &["lockstep-domain", "lockstep-reach"]),
    ("lockstep-site", &["lockstep-domain"]),
    ("lockstep-relay", &["lockstep-domain", "lockstep-reach"]),
    ("lockstep-image", &["lockstep-archive", "lockstep-domain", "lockstep-files", "lockstep-reach"]),
    // A table that a person writes has routes as manifests have them, read by the same code.
    (
        "lockstep-gateway",
        &["lockstep-domain", "lockstep-judge", "lockstep-manifest", "lockstep-reach", "lockstep-telemetry"],
    ),
    (
        "lockstep-pipeline",
        &[
            "lockstep-archive",
            "lockstep-confine",
            "lockstep-contract",
            "lockstep-domain",
            "lockstep-files",
            "lockstep-image",
            "lockstep-manifest",
        ],
    ),
    (
        "lockstep-runtime",
        &["lockstep-archive", "lockstep-confine", "lockstep-domain", "lockstep-files", "lockstep-reach"],
    ),
    ("lockstep-hosts", &["lockstep-confine", "lockstep-domain", "lockstep-files", "lockstep-runtime"]),
    // What is seen goes in as plain numbers and names, so it needs none of ours.
    ("lockstep-monitor", &[]),
    ("lockstep-notify", &["lockstep-monitor", "lockstep-reach"]),
    ("lockstep-api", &["lockstep-domain", "lockstep-reach"]),
    (
        "lockstep-control",
        &[
            "lockstep-acme",
            "lockstep-api",
            "lockstep-contract",
            "lockstep-domain",
            "lockstep-files",
            "lockstep-gateway",
            "lockstep-hosts",
            "lockstep-judge",
            "lockstep-manifest",
            "lockstep-migrate",
            "lockstep-monitor",
            "lockstep-notify",
            "lockstep-pipeline",
            "lockstep-reach",
            "lockstep-registry",
            "lockstep-runtime",
            "lockstep-series",
            "lockstep-site",
            "lockstep-store",
            "lockstep-telemetry",
        ],
    ),
    (
        "lockstep-server",
        &[
            "lockstep-api",
            "lockstep-control",
            "lockstep-domain",
            "lockstep-files",
            "lockstep-gateway",
            "lockstep-hosts",
            "lockstep-store",
        ],
    ),
    // The binary: also the entry points of the supervisor (runtime) and the build guard (pipeline).
    (
        "lockstep-cli",
        &[
            "lockstep-api",
            "lockstep-confine",
            "lockstep-contract",
            "lockstep-domain",
            "lockstep-files",
            "lockstep-gateway",
            "lockstep-hosts",
            "lockstep-image",
            "lockstep-judge",
            "lockstep-manifest",
            "lockstep-migrate",
            "lockstep-pipeline",
            "lockstep-reach",
            "lockstep-relay",
            "lockstep-runtime",
            "lockstep-server",
            "lockstep-site",
            "lockstep-store",
            "lockstep-telemetry",
            "lockstep-what-if",
        ],
    ),
    ("xtask", &[]),
];

/// The crate of test tools: it may use everything, and the tests of every crate may use it.
const TESTKIT: &str = "lockstep-testkit";

/// Crates that only decide: no I/O, no clock, no tasks.
const PURE: [&str; 7] = [
    "lockstep-contract",
    "lockstep-domain",
    "lockstep-judge",
    "lockstep-manifest",
    "lockstep-monitor",
    "lockstep-solver",
    "lockstep-what-if",
];

pub(crate) fn run(_: &Args) -> Result<()> {
    let packages = workspace::packages()?;
    let mut problems = arrow_problems(&packages);
    for package in packages.iter().filter(|package| PURE.contains(&package.name.as_str())) {
        problems.extend(purity::problems(package)?);
    }
    for problem in &problems {
        eprintln!("error: {problem}");
    }
    match problems.len() {
        0 => {
            println!("layers: {} crates keep to their arrows", packages.len());
            Ok(())
        }
        count => bail!("layers: {count} problems; the arrows are in xtask/src/layers.rs and ARCHITECTURE.md"),
    }
}

fn arrow_problems(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(|package| problems_of(package, packages)).collect()
}

fn problems_of(package: &Package, packages: &[Package]) -> Vec<String> {
    let name = package.name.as_str();
    if name == TESTKIT {
        return Vec::new();
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
        return vec![format!("`{name}` has no place in the layers yet")];
    };
    let ours =
        package.dependencies.iter().filter(|to| packages.iter().any(|package| package.name == to.name));
    let forbidden = ours.filter(|to| !allowed.contains(&to.name.as_str()) && to.name != name);
    let forbidden = forbidden.filter(|to| !(to.name == TESTKIT && to.kind == Kind::Development));
    forbidden.map(|to| format!("`{name}` must not depend on `{}`", to.name)).collect()
}

#[cfg(test)]
mod tests {
    use crate::workspace::Dependency;

    use super::*;

    fn package(name: &str, dependencies: &[(&str, Kind)]) -> Package {
        let dependency = |(name, kind): &(&str, Kind)| Dependency { name: (*name).to_owned(), kind: *kind };
        let dependencies = dependencies.iter().map(dependency).collect();
        Package { name: name.to_owned(), folder: name.into(), dependencies }
    }

    #[test]
    fn arrow_against_the_layers_names_both_crates() {
        use Kind::{Development, Product};
        let packages = [
            package("lockstep-domain", &[("lockstep-store", Development), ("lockstep-testkit", Development)]),
            package(
                "lockstep-store",
                &[("lockstep-domain", Product), ("lockstep-testkit", Product), ("serde", Product)],
            ),
            package("lockstep-testkit", &[("lockstep-store", Product)]),
            package("lockstep-new", &[]),
        ];
        assert_eq!(
            arrow_problems(&packages),
            [
                "`lockstep-domain` must not depend on `lockstep-store`",
                "`lockstep-store` must not depend on `lockstep-testkit`",
                "`lockstep-new` has no place in the layers yet",
            ]
        );
    }

    #[test]
    fn arrows_have_no_circle() {
        let mut done: Vec<&str> = Vec::new();
        while done.len() < ARROWS.len() {
            let ready = |(_, to): &&(&str, &[&str])| to.iter().all(|to| done.contains(to));
            let new: Vec<&str> = ARROWS
                .iter()
                .filter(ready)
                .map(|(name, _)| *name)
                .filter(|name| !done.contains(name))
                .collect();
            assert!(!new.is_empty(), "a circle beyond {done:?}");
            done.extend(new);
        }
    }
}
