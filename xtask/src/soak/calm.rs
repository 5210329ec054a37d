//! What must be true when nothing is under way: what runs is exactly what the world says, and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::processes::{Process, Role};
use super::site::{EDGES, PRODUCTION, STAGING, Site};
use super::world::{Arm, World};

/// How long it may take until all of it is true: longer than warm times, drains and the ends of instances together.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until everything is as it must be; returns what is not after the longest time.
pub(super) fn wait(site: &Site) -> Result<Vec<String>> {
    let begin = Instant::now();
    loop {
        let wrong = look(site)?;
        if wrong.is_empty() || begin.elapsed() > PATIENCE {
            return Ok(wrong);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Looks once.
fn look(site: &Site) -> Result<Vec<String>> {
    let environments = [site.status(STAGING)?, site.status(PRODUCTION)?];
    let mut wrong = Vec::new();
    for environment in &environments {
        operation(environment, &mut wrong);
        services(environment, &mut wrong);
    }
    gateways(&environments[1], &mut wrong);
    gone_back(&environments[1], &World::ask(site)?, &mut wrong);
    let instances = environments.iter().flat_map(instances).collect();
    processes(&site.processes(), &instances, &mut wrong);
    folders(&site.installation.data(), &instances, &mut wrong);
    Ok(wrong)
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

fn name(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// The instances of a service that are not over; those that are keep their place for a while, for their logs.
fn living(view: &Value) -> impl Iterator<Item = &Value> {
    let is_over =
        |instance: &&Value| matches!(instance["state"]["state"].as_str(), Some("stopped" | "failed"));
    items(view, "instances").filter(move |instance| !is_over(instance))
}

fn operation(environment: &Value, wrong: &mut Vec<String>) {
    if let Some(id) = environment["operation"]["id"].as_u64() {
        let phase = &environment["operation"]["phase"];
        wrong.push(format!("operation {id} of {} does not end: {phase}", name(&environment["name"])));
    }
}

/// Each service runs as often as it is wanted, and beside that only what is warm.
fn services(environment: &Value, wrong: &mut Vec<String>) {
    for view in items(environment, "services") {
        let service = name(&view["service"]);
        let wanted = Arm::read(service, &view["entry"]);
        let warm: BTreeSet<_> =
            items(view, "warm").filter_map(|warm| Arm::read(service, &warm["arm"])).collect();
        let mut running = 0;
        for instance in living(view) {
            let (id, state) = (name(&instance["id"]), &instance["state"]["state"]);
            let arm = Arm::read(service, &instance["arm"]);
            running += u64::from(arm == wanted);
            if state != "healthy" {
                wrong.push(format!("{id} is {state}"));
            }
            if arm != wanted && arm.is_none_or(|arm| !warm.contains(&arm)) {
                wrong.push(format!("{id} is neither wanted nor warm"));
            }
        }
        let replicas = view["replicas"].as_u64().unwrap_or(0);
        if wanted.is_some() && running != replicas {
            wrong.push(format!("{running} instances of {wanted:?} run instead of {replicas}"));
        }
    }
}

/// Every gateway serves the newest table and is believed.
fn gateways(environment: &Value, wrong: &mut Vec<String>) {
    let newest = items(environment, "gateways").filter_map(|gateway| gateway["revision"].as_u64()).max();
    for edge in EDGES {
        let reports: Vec<_> = items(environment, "gateways")
            .filter(|gateway| name(&gateway["gateway"]).starts_with(edge))
            .collect();
        let is_there =
            |gateway: &&Value| gateway["revision"].as_u64() == newest && gateway["problem"].is_null();
        if !reports.iter().any(is_there) {
            wrong.push(format!("{edge} does not serve table {newest:?}: {reports:?}"));
        }
    }
    for refused in items(environment, "gateways").filter(|gateway| !gateway["refused"].is_null()) {
        wrong.push(format!("a table was refused: {refused}"));
    }
}

fn gone_back(environment: &Value, world: &World, wrong: &mut Vec<String>) {
    for view in items(environment, "services") {
        let service = name(&view["service"]);
        for instance in living(view) {
            if Arm::read(service, &instance["arm"]).is_some_and(|arm| world.gone_back.contains(&arm)) {
                wrong.push(format!("{} runs although its version was gone back from", name(&instance["id"])));
            }
        }
    }
}

fn instances(environment: &Value) -> Vec<String> {
    let all = items(environment, "services").flat_map(living);
    all.map(|instance| name(&instance["id"]).to_owned()).collect()
}

/// One supervisor and one process for each instance, and none beside.
fn processes(processes: &[Process], instances: &BTreeSet<String>, wrong: &mut Vec<String>) {
    let mut seen: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for process in processes {
        match &process.role {
            Role::Supervisor(id) => seen.entry(id).or_default().0 += 1,
            Role::Instance(id) => seen.entry(id).or_default().1 += 1,
            role => wrong.push(format!("process {} ({role:?}) is left of a build", process.id)),
        }
    }
    for id in seen.keys().filter(|id| !instances.contains(**id)) {
        wrong.push(format!("processes of {id} run, which nobody knows: {:?}", seen[id]));
    }
    for id in instances {
        let found = seen.get(id.as_str()).copied().unwrap_or_default();
        if found != (1, 1) {
            wrong.push(format!("{id} has {} supervisors and {} processes", found.0, found.1));
        }
    }
}

/// Nothing is left of what was under way.
fn folders(data: &Path, instances: &BTreeSet<String>, wrong: &mut Vec<String>) {
    for folder in
        entries(&data.join("runtime/instances")).iter().filter(|folder| !instances.contains(*folder))
    {
        wrong.push(format!("runtime/instances/{folder} is left"));
    }
    for folder in ["scratch", "blobs/temporary"] {
        for left in entries(&data.join(folder)) {
            wrong.push(format!("{folder}/{left} is left"));
        }
    }
    for build in entries(&data.join("builds")) {
        let parts = entries(&data.join("builds").join(&build));
        for part in parts.iter().filter(|part| !matches!(part.as_str(), "build.json" | "log")) {
            wrong.push(format!("builds/{build}/{part} is left"));
        }
    }
}

/// Returns the names in a folder.
pub(super) fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_too_much_and_what_is_missing_is_found() {
        let instance = |id: &str, version: &str, state: &str| json!({"id": id, "arm": {"service": "a", "version": version, "config": 0}, "state": {"state": state}});
        let environment = |instances: Value| {
            json!({"name": "production", "services": [{"service": "a", "entry": {"version": "2.0.0", "config": 0},
                "replicas": 1, "instances": instances, "warm": [{"arm": {"version": "1.0.0", "config": 0}}]}]})
        };
        let found = |instances| {
            let mut wrong = Vec::new();
            services(&environment(instances), &mut wrong);
            wrong.len()
        };
        let good = instance("a-1", "2.0.0", "healthy");
        assert_eq!(found(json!([good, instance("a-2", "1.0.0", "healthy")])), 0);
        assert_eq!(found(json!([])), 1);
        assert_eq!(found(json!([good, good])), 1);
        assert_eq!(found(json!([good, instance("a-2", "0.9.0", "healthy")])), 1);
        assert_eq!(found(json!([instance("a-1", "2.0.0", "unhealthy")])), 1);
        assert_eq!(found(json!([good, instance("a-2", "0.9.0", "stopped")])), 0);
    }

    #[test]
    fn every_process_belongs_to_an_instance_and_every_instance_has_its_two() {
        let process = |id, role| Process { id, role };
        let of = |id: &str| [process(1, Role::Supervisor(id.into())), process(2, Role::Instance(id.into()))];
        let wrong = |found: &[Process], wanted: &[&str]| {
            let mut wrong = Vec::new();
            processes(found, &wanted.iter().map(|id| (*id).to_owned()).collect(), &mut wrong);
            wrong.len()
        };
        assert_eq!(wrong(&of("a"), &["a"]), 0);
        assert_eq!(wrong(&of("a"), &[]), 1);
        assert_eq!(wrong(&of("a")[..1], &["a"]), 1);
        assert_eq!(wrong(&[], &["a"]), 1);
        assert_eq!(wrong(&[process(3, Role::Guard), process(4, Role::Build)], &[]), 2);
    }
}
