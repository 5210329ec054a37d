//! The environment of build steps and tests: nothing is inherited, so that a build depends on what the manifest names.

use std::collections::BTreeMap;

use lockstep_manifest::Manifest;

use crate::check::Checked;
use crate::guard::MARK;
use crate::request::{BuildRequest, HostEnvironment, PASSED_ON};
use crate::workplace::Workplace;

/// What every command gets.
pub(crate) fn basic(host: &HostEnvironment, place: &Workplace<'_>) -> BTreeMap<String, String> {
    let passed_on =
        PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), host.get(name)?.to_owned())));
    let temporary = place.temporary().display().to_string();
    let fixed = [
        ("LANG", "C.UTF-8"),
        ("TZ", "UTC"),
        ("CI", "true"),
        ("TMPDIR", &temporary),
        // Not only for programs that look: the second net of the guard knows processes by it.
        (MARK, place.mark()),
    ];
    passed_on.chain(fixed.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// What steps and tests get.
pub(crate) fn of_steps(
    request: &BuildRequest,
    checked: &Checked,
    place: &Workplace<'_>,
) -> BTreeMap<String, String> {
    let mut env = checked.manifest.build.env.clone();
    env.extend(named(&checked.manifest, &request.host));
    let given: Vec<String> = env.keys().cloned().collect();
    let mut basic = basic(&request.host, place);
    basic.retain(|name, _| name == MARK || !given.contains(name));
    env.extend(basic);
    env.extend(facts(checked));
    env
}

fn facts(checked: &Checked) -> Vec<(String, String)> {
    let mut facts = vec![
        ("SOURCE_DATE_EPOCH".to_owned(), (checked.changed.0 / 1_000).to_string()),
        ("LOCKSTEP_SERVICE".to_owned(), checked.manifest.name.to_string()),
        ("LOCKSTEP_COMMIT".to_owned(), checked.changed_by.to_string()),
    ];
    facts.extend(checked.branch.clone().map(|branch| ("LOCKSTEP_BRANCH".to_owned(), branch)));
    facts
}

/// The variables that the manifest names and the host has.
pub(crate) fn named(manifest: &Manifest, host: &HostEnvironment) -> BTreeMap<String, String> {
    let names = manifest.build.variables.iter().chain(&manifest.build.optional_variables);
    names.filter_map(|name| Some((name.clone(), host.get(name)?.to_owned()))).collect()
}

/// The values that no log may show: those of the variables that the manifest only names.
pub(crate) fn secrets(manifest: &Manifest, host: &HostEnvironment) -> Vec<String> {
    named(manifest, host).into_values().collect()
}
