//! What tests read: a file with everything that one needs to reach the hosts of a set, by SSH and around it.

use anyhow::Result;
use serde_json::{Value, json};

use super::set::{Place, Set};
use super::subnet::Subnet;
use super::{boot, disk, folder, line, login, process};

/// The form of the file; what is added later has no new number.
const FORMAT: u64 = 1;
const PORT: u16 = 22;

/// Writes the description of a set and returns it.
pub(crate) fn write(set: &Set) -> Result<String> {
    let text = format!("{:#}\n", describe(set)?);
    folder::replace(&set.description(), &text)?;
    Ok(text)
}

fn describe(set: &Set) -> Result<Value> {
    let subnet = set.subnet()?;
    let hosts = set.hosts().iter().map(|place| describe_host(place, subnet)).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "format": FORMAT,
        "set": set.name().to_string(),
        "network": subnet.to_string(),
        "machine": subnet.of_machine().to_string(),
        "known_hosts": set.known_hosts().display().to_string(),
        "hosts": hosts,
    }))
}

fn describe_host(place: &Place, subnet: Subnet) -> Result<Value> {
    Ok(json!({
        "name": place.host.to_string(),
        "state": if boot::is_up(place) { "up" } else { "off" },
        "line": state(line::state(place)),
        "address": place.host.address(subnet).to_string(),
        "port": PORT,
        "user": login::USER,
        "lingering": disk::lingering(place) == disk::Lingering::On,
        "key_file": place.set.key().display().to_string(),
        "host_key": disk::host_key(place)?,
        "root": place.root().display().to_string(),
        "init": process::init_of(&place.machine()),
        "network_namespace": place.machine(),
        "console": place.console().display().to_string(),
    }))
}

fn state(line: line::State) -> &'static str {
    match line {
        line::State::Open => "open",
        line::State::Slow => "slow",
        line::State::Cut => "cut",
        line::State::None => "none",
    }
}

/// The same for a person.
pub(crate) fn table(set: &Set) -> Result<String> {
    let description = describe(set)?;
    let hosts = description["hosts"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(hosts.iter().map(row).collect())
}

fn row(host: &Value) -> String {
    let text = |field: &str| host[field].as_str().unwrap_or_default().to_owned();
    let lingering = if host["lingering"] == true { "lingering" } else { "no lingering" };
    let login = format!("{}@{}:{PORT}", text("user"), text("address"));
    format!("{:<6} {:<4} {login:<24} line {:<5} {lingering}\n", text("name"), text("state"), text("line"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_sees_where_to_log_in_and_how_the_host_is() {
        let host = json!({
            "name": "web1", "state": "up", "line": "cut", "user": "deploy", "address": "10.213.0.11", "lingering": false,
        });
        assert_eq!(row(&host), "web1   up   deploy@10.213.0.11:22    line cut   no lingering\n");
    }
}
