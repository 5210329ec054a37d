//! What was in force when: from the history of an environment and its operations, as the server tells them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::service::NAMES;
use super::site::{PRODUCTION, Site};

/// A version with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arm {
    pub(super) service: String,
    pub(super) version: String,
    pub(super) config: u64,
}

impl Arm {
    /// Reads an arm as the API writes it, within something that belongs to a service.
    pub(super) fn read(service: &str, value: &Value) -> Option<Self> {
        let version = value["version"].as_str()?.to_owned();
        Some(Self { service: service.to_owned(), version, config: value["config"].as_u64()? })
    }
}

/// A time in which an arm may answer.
#[derive(Debug, Clone)]
struct InForce {
    arm: Arm,
    from: u64,
    until: u64,
}

/// What was in force in an environment, and what its versions look like from outside.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    times: Vec<InForce>,
    /// The value of `COLOUR` of each revision.
    colours: BTreeMap<(String, u64), String>,
    /// The mark of each version.
    marks: BTreeMap<(String, String), u64>,
    /// What the newest operations left by going back.
    pub(super) gone_back: BTreeSet<Arm>,
    /// The newest operation of all environments.
    pub(super) operations: u64,
}

/// Operations and histories are told with milliseconds, so a moment can lie on either side of one.
const GRAIN_MS: u64 = 2;

impl World {
    /// Asks the server.
    pub(super) fn ask(site: &Site) -> Result<Self> {
        let mut world = Self::default();
        // Operations come first: one that ends between the two questions is still under way, and its baseline is there. The
        // other way round its target would be in force for nobody.
        let operations = site.installation.ask("GET", "/operations", "")?;
        world.take_operations(operations.as_array().context("operations are no list")?);
        let history = site.installation.ask("GET", &format!("/environments/{PRODUCTION}/history"), "")?;
        world.take_history(&history);
        for (index, name) in NAMES.iter().enumerate() {
            for (version, mark) in site.versions(index)? {
                world.marks.insert(((*name).to_owned(), version), mark);
            }
            let path = format!("/environments/{PRODUCTION}/configurations/{name}");
            world.take_configurations(name, &site.installation.ask("GET", &path, "")?);
        }
        Ok(world)
    }

    /// Says whether a version with a configuration was in force at any moment of a time, and is what it says it is.
    pub(super) fn allows(
        &self,
        served: &super::caller::Served,
        began: u64,
        ended: u64,
    ) -> Result<(), String> {
        let mark = self.marks.get(&(served.service.clone(), served.version.clone()));
        if mark != Some(&served.mark) {
            return Err(format!(
                "{}@{} ran the code of mark {}",
                served.service, served.version, served.mark
            ));
        }
        let fits = |time: &&InForce| {
            let arm = &time.arm;
            let colour = self.colours.get(&(arm.service.clone(), arm.config)).map_or("", String::as_str);
            arm.service == served.service
                && arm.version == served.version
                && colour == served.colour
                && time.from <= ended + GRAIN_MS
                && began <= time.until.saturating_add(GRAIN_MS)
        };
        match self.times.iter().find(fits) {
            Some(_) => Ok(()),
            None => Err(format!(
                "{}@{} (colour `{}`) was not in force; {}",
                served.service,
                served.version,
                served.colour,
                self.around(&served.service, began, ended)
            )),
        }
    }

    /// Says in words what was in force of a service around a time.
    fn around(&self, service: &str, began: u64, ended: u64) -> String {
        let near = |time: &&InForce| {
            time.arm.service == service
                && time.from <= ended + 5_000
                && began <= time.until.saturating_add(5_000)
        };
        let words = self.times.iter().filter(near).map(|time| {
            let relative = |at: u64| i128::from(at) - i128::from(began);
            let until = if time.until == u64::MAX { "now".into() } else { relative(time.until).to_string() };
            format!("{} c{} from {} to {until} ms", time.arm.version, time.arm.config, relative(time.from))
        });
        words.collect::<Vec<_>>().join(", ")
    }

    fn take_history(&mut self, history: &Value) {
        let mut baselines: Vec<_> = history["baselines"].as_array().into_iter().flatten().collect();
        baselines.sort_by_key(|baseline| baseline["number"].as_u64());
        for (index, baseline) in baselines.iter().enumerate() {
            let from = baseline["at"].as_u64().unwrap_or(0);
            let until = baselines.get(index + 1).and_then(|next| next["at"].as_u64()).unwrap_or(u64::MAX);
            for (service, entry) in baseline["entries"].as_object().into_iter().flatten() {
                if let Some(arm) = Arm::read(service, entry) {
                    self.times.push(InForce { arm, from, until });
                }
            }
        }
    }

    fn take_operations(&mut self, operations: &[Value]) {
        let mut operations: Vec<_> = operations.iter().collect();
        operations.sort_by_key(|operation| operation["id"].as_u64());
        self.operations = operations.last().and_then(|newest| newest["id"].as_u64()).unwrap_or(0);
        for operation in operations.iter().filter(|operation| operation["environment"] == PRODUCTION) {
            self.take_operation(operation);
        }
    }

    fn take_operation(&mut self, operation: &Value) {
        let from = operation["begun"].as_u64().unwrap_or(0);
        let phase = operation["phase"]["phase"].as_str().unwrap_or_default();
        let is_over = matches!(phase, "done" | "reverted");
        let until = operation["phase"]["at"].as_u64().filter(|_| is_over).unwrap_or(u64::MAX);
        let goes_back = matches!(
            operation["intent"]["intent"].as_str(),
            Some("undo" | "roll_back_service" | "roll_back_environment" | "remove")
        );
        let waves = operation["plan"]["waves"].as_array().into_iter().flatten();
        for step in waves.filter_map(Value::as_array).flatten() {
            let service = step["service"].as_str().unwrap_or_default();
            let [old, new] = ["from", "to"].map(|end| Arm::read(service, &step[end]));
            for arm in old.iter().chain(&new) {
                self.times.push(InForce { arm: arm.clone(), from, until });
            }
            let (left, reached) = if phase == "reverted" { (new, old) } else { (old, new) };
            if let Some(reached) = reached {
                self.gone_back.remove(&reached);
            }
            if let Some(left) = left.filter(|_| is_over && (goes_back || phase == "reverted")) {
                self.gone_back.insert(left);
            }
        }
    }

    fn take_configurations(&mut self, service: &str, view: &Value) {
        // Revision 0 is the empty one, which is not listed.
        for (index, revision) in view["revisions"].as_array().into_iter().flatten().enumerate() {
            let colour = revision["COLOUR"]["plain"].as_str().unwrap_or_default().to_owned();
            self.colours.insert((service.to_owned(), index as u64 + 1), colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::caller::Served;
    use super::*;

    fn world() -> World {
        let mut world = World::default();
        world.take_history(&json!({"baselines": [
            {"number": 2, "at": 2_000, "entries": {"back": {"version": "1.1.0", "config": 0}}},
            {"number": 1, "at": 1_000, "entries": {"back": {"version": "1.0.0", "config": 0}}},
        ]}));
        world.take_operations(&[json!({"id": 2, "environment": "production", "begun": 1_500,
            "intent": {"intent": "roll_back_service"}, "phase": {"phase": "done", "at": 2_000},
            "plan": {"waves": [[{"service": "back", "from": {"version": "1.0.0", "config": 0},
                                 "to": {"version": "1.1.0", "config": 0}}]]}})]);
        for (version, mark) in [("1.0.0", 1), ("1.1.0", 2)] {
            world.marks.insert(("back".into(), version.into()), mark);
        }
        world
    }

    fn served(version: &str, mark: u64) -> Served {
        Served { service: "back".into(), version: version.into(), mark, colour: String::new() }
    }

    #[test]
    fn a_version_may_answer_while_it_is_in_force_and_while_it_is_moved() {
        let world = world();
        for (version, mark, began, ended, allowed) in [
            ("1.0.0", 1, 1_100, 1_110, true),
            ("1.1.0", 2, 1_100, 1_110, false),
            ("1.1.0", 2, 1_600, 1_610, true),
            ("1.0.0", 1, 1_990, 2_200, true),
            ("1.0.0", 1, 2_010, 2_200, false),
            ("1.1.0", 1, 2_010, 2_200, false),
        ] {
            let answer = world.allows(&served(version, mark), began, ended);
            assert_eq!(answer.is_ok(), allowed, "{version} {began} {answer:?}");
        }
        let painted = Served { colour: "red".into(), ..served("1.1.0", 2) };
        assert!(world.allows(&painted, 2_010, 2_200).is_err());
    }

    #[test]
    fn what_was_left_by_going_back_is_known_until_it_comes_again() {
        let mut world = world();
        let left = Arm { service: "back".into(), version: "1.0.0".into(), config: 0 };
        assert_eq!(world.gone_back, [left].into());
        world.take_operation(&json!({"begun": 3_000, "intent": {"intent": "deploy"},
            "phase": {"phase": "done", "at": 3_100}, "plan": {"waves": [[{"service": "back",
            "from": {"version": "1.1.0", "config": 0}, "to": {"version": "1.0.0", "config": 0}}]]}}));
        assert!(world.gone_back.is_empty());
    }
}
